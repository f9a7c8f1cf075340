//! Making a leg, or putting it right. A pair is born with its inner end already inside the
//! namespace, under its final name and address: there is no half-moved state to clean up.

use super::WiringError;
use super::net::{Net, aside, enter, is, link_error, namespace, sysctl};
use crate::reconcile::{HOST_LEG_ALIAS, LOOPBACK, SeenLink};
use ipnet::IpNet;
use kc_agent_api::Leg;
use nix::errno::Errno;
use rtnetlink::packet_route::link::{
    AfSpecInet6, AfSpecUnspec, In6AddrGenMode, InfoData, InfoVeth, LinkAttribute,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;

/// Alias of outer ends that belong to containers.
const LEG_ALIAS: &str = "kcluster leg";

/// Makes the legs of a container, or puts them right, in the namespace of process `pid`.
pub async fn wire(pid: u32, legs: Vec<Leg>) -> Result<(), WiringError> {
    aside(move || async move {
        let namespace = namespace(pid)?;
        let mut here = Net::open()?;
        // Opened before anything moves: what exists inside decides what is missing.
        let inside = super::look::inside(vec![(String::new(), pid)]).await?;
        let inside = inside.into_values().next().unwrap_or_default();
        for leg in &legs {
            let inner = inside.get(leg.interface.as_str());
            let fd = LinkAttribute::NetNsFd(namespace.as_raw_fd());
            outer(&mut here, leg, inner, LEG_ALIAS, Some(fd)).await?;
        }
        enter(&namespace, pid)?;
        let mut there = Net::open()?;
        for leg in &legs {
            inner(&mut there, leg).await?;
        }
        Ok(())
    })
    .await
}

/// Makes a leg of the box itself, or puts it right.
pub async fn wire_host(leg: Leg) -> Result<(), WiringError> {
    aside(move || async move {
        let mut here = Net::open()?;
        let links = here.links().await?;
        let inside = links.get(leg.interface.as_str());
        let other = links.get(leg.port.as_str());
        let pair = |a: &SeenLink, b: &SeenLink| a.peer == Some(b.index) && b.peer == Some(a.index);
        if let Some(inside) = inside
            && !other.is_some_and(|other| pair(inside, other))
        {
            return Err(WiringError::Taken(leg.interface.to_string()));
        }
        outer(&mut here, &leg, inside, HOST_LEG_ALIAS, None).await?;
        inner(&mut here, &leg).await
    })
    .await
}

/// Removes a leg of the box itself by its outer end.
pub async fn unwire_host(port: String) -> Result<(), WiringError> {
    let here = Net::open()?;
    match here.links().await?.get(&port) {
        Some(link) if link.alias.as_deref() == Some(HOST_LEG_ALIAS) => {
            here.delete(&port, link.index).await
        }
        Some(_) => Err(WiringError::Taken(port)),
        None => Ok(()),
    }
}

/// Makes the pair when it is missing, and sets up the end that the forwarder reads.
async fn outer(
    here: &mut Net,
    leg: &Leg,
    inside: Option<&SeenLink>,
    alias: &str,
    namespace: Option<LinkAttribute>,
) -> Result<(), WiringError> {
    let port = leg.port.as_str();
    let mut links = here.links().await?;
    let old = links.remove(port);
    let whole = old.as_ref().is_some_and(|old| {
        inside
            .is_some_and(|inside| inside.peer == Some(old.index) && old.peer == Some(inside.index))
    });
    if !whole {
        if let Some(old) = old {
            let ours = matches!(old.alias.as_deref(), Some(LEG_ALIAS | HOST_LEG_ALIAS));
            if !ours {
                return Err(WiringError::Taken(port.to_owned()));
            }
            here.delete(port, old.index).await?;
        }
        create(here, leg, namespace).await?;
    }
    let index = match here.links().await?.get(port) {
        Some(link) => link.index,
        None => return Err(WiringError::Gone(port.to_owned())),
    };
    silence(port);
    here.offloads_off(port)?;
    // Without ARP the box's own kernel keeps out of what only the forwarder shall answer.
    here.change("set up", port, index, |link| {
        link.arp(false)
            .mtu(leg.mtu.into())
            .append_extra_attribute(LinkAttribute::IfAlias(alias.to_owned()))
            .append_extra_attribute(no_link_local())
    })
    .await?;
    here.change("set up", port, index, LinkMessageBuilder::up)
        .await
}

async fn create(
    here: &Net,
    leg: &Leg,
    namespace: Option<LinkAttribute>,
) -> Result<(), WiringError> {
    let port = leg.port.as_str();
    let mut peer = LinkUnspec::new_with_name(leg.interface.as_str())
        .address(leg.mac.0.to_vec())
        .mtu(leg.mtu.into());
    if let Some(namespace) = namespace {
        peer = peer.append_extra_attribute(namespace);
    }
    let pair = LinkVeth::new(port, leg.interface.as_str())
        .mtu(leg.mtu.into())
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.build())))
        .build();
    let add = here.handle.link().add(pair);
    add.execute().await.map_err(link_error("create", port))
}

/// Sets up the end that the container, or the box, uses.
async fn inner(there: &mut Net, leg: &Leg) -> Result<(), WiringError> {
    let name = leg.interface.as_str();
    let links = there.links().await?;
    let Some(link) = links.get(name) else {
        return Err(WiringError::Gone(name.to_owned()));
    };
    let index = link.index;
    let speaks_v6 = leg
        .addresses
        .iter()
        .any(|address| matches!(address, IpNet::V6(_)));
    if speaks_v6 {
        // Docker switches IPv6 off in namespaces without a network of its own. Addresses come
        // from the document, and work from the first packet on.
        sysctl("ipv6", name, "disable_ipv6", "0");
        sysctl("ipv6", name, "accept_ra", "0");
        sysctl("ipv6", name, "accept_dad", "0");
    } else {
        silence(name);
    }
    there.offloads_off(name)?;
    if link.mac != Some(leg.mac) {
        there
            .change("set up", name, index, |link| {
                link.address(leg.mac.0.to_vec())
            })
            .await?;
    }
    there
        .change("set up", name, index, |link| {
            let link = link.mtu(leg.mtu.into());
            if speaks_v6 {
                link
            } else {
                link.append_extra_attribute(no_link_local())
            }
        })
        .await?;
    there
        .change("set up", name, index, LinkMessageBuilder::up)
        .await?;
    for address in &leg.addresses {
        let add = there
            .handle
            .address()
            .add(index, address.addr(), address.prefix_len());
        match add.replace().execute().await {
            Err(error) if is(&error, Errno::EEXIST) => {}
            other => other.map_err(link_error("address", name))?,
        }
    }
    share(there, leg).await?;
    match leg.gateway {
        Some(gateway) => default_route(there, leg, index, gateway).await,
        None => Ok(()),
    }
}

/// Gives what is inside the addresses that it shares with others: on the loopback interface, and
/// never in an ARP packet, because others have them too.
async fn share(there: &Net, leg: &Leg) -> Result<(), WiringError> {
    if leg.virtual_addresses.is_empty() {
        return Ok(());
    }
    let name = leg.interface.as_str();
    // Answers for addresses of this interface alone, and asks with one of them alone.
    sysctl("ipv4", name, "arp_ignore", "1");
    sysctl("ipv4", name, "arp_announce", "2");
    let links = there.links().await?;
    let Some(lo) = links.get(LOOPBACK) else {
        return Err(WiringError::Gone(LOOPBACK.to_owned()));
    };
    for address in &leg.virtual_addresses {
        let address = IpAddr::V4(*address);
        let add = there.handle.address().add(lo.index, address, 32);
        match add.replace().execute().await {
            Err(error) if is(&error, Errno::EEXIST) => {}
            other => other.map_err(link_error("address", LOOPBACK))?,
        }
    }
    Ok(())
}

async fn default_route(
    there: &Net,
    leg: &Leg,
    index: u32,
    gateway: IpAddr,
) -> Result<(), WiringError> {
    let onlink = !leg
        .addresses
        .iter()
        .any(|address| address.contains(&gateway));
    let message = match gateway {
        IpAddr::V4(gateway) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .gateway(gateway)
                .output_interface(index);
            if onlink {
                route.onlink().build()
            } else {
                route.build()
            }
        }
        IpAddr::V6(gateway) => {
            let route = RouteMessageBuilder::<Ipv6Addr>::new()
                .gateway(gateway)
                .output_interface(index);
            if onlink {
                route.onlink().build()
            } else {
                route.build()
            }
        }
    };
    let add = there.handle.route().add(message).replace();
    add.execute()
        .await
        .map_err(link_error("route through", leg.interface.as_str()))
}

/// No IPv6 of the kernel's own on an interface that has no IPv6 address: no neighbour
/// discovery, router solicitation or multicast reports where only a chain's frames belong.
fn silence(interface: &str) {
    sysctl("ipv6", interface, "disable_ipv6", "1");
}

fn no_link_local() -> LinkAttribute {
    LinkAttribute::AfSpecUnspec(vec![AfSpecUnspec::Inet6(vec![AfSpecInet6::AddrGenMode(
        In6AddrGenMode::None,
    )])])
}
