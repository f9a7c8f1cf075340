//! Netlink in one network namespace: the one its sockets were opened in.

use super::WiringError;
use super::ethtool::Ethtool;
use futures_util::TryStreamExt;
use ipnet::IpNet;
use kc_forwarder_api::MacAddr;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::address::{AddressAttribute, AddressMessage};
use rtnetlink::packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};
use rtnetlink::{Handle, IpVersion, LinkMessageBuilder, LinkUnspec, RouteMessageBuilder};
use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::reconcile::SeenLink;

/// Sockets in one namespace.
pub(super) struct Net {
    pub(super) handle: Handle,
    ethtool: Option<Ethtool>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Net {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Net {
    /// Opens sockets in the calling thread's namespace.
    pub(super) fn open() -> Result<Self, WiringError> {
        let (connection, handle, _) = rtnetlink::new_connection().map_err(WiringError::Netlink)?;
        Ok(Self {
            handle,
            ethtool: None,
            task: tokio::spawn(connection),
        })
    }

    /// All interfaces by name, with their addresses and default gateways.
    pub(super) async fn links(&self) -> Result<BTreeMap<String, SeenLink>, WiringError> {
        let list = |source| WiringError::List(Box::new(source));
        let mut links = BTreeMap::new();
        let mut names = BTreeMap::new();
        let mut answers = self.handle.link().get().execute();
        while let Some(message) = answers.try_next().await.map_err(list)? {
            if let Some((name, link)) = read_link(&message) {
                names.insert(link.index, name.clone());
                links.insert(name, link);
            }
        }
        let mut answers = self.handle.address().get().execute();
        while let Some(message) = answers.try_next().await.map_err(list)? {
            let name = names.get(&message.header.index);
            let link = name.and_then(|name| links.get_mut(name));
            if let (Some(link), Some(address)) = (link, read_address(&message)) {
                link.addresses.push(address);
            }
        }
        for version in [IpVersion::V4, IpVersion::V6] {
            let message = match version {
                IpVersion::V4 => RouteMessageBuilder::<Ipv4Addr>::new().build(),
                IpVersion::V6 => RouteMessageBuilder::<Ipv6Addr>::new().build(),
            };
            let mut answers = self.handle.route().get(message).execute();
            while let Some(message) = answers.try_next().await.map_err(list)? {
                let Some((interface, gateway)) = read_default_route(&message) else {
                    continue;
                };
                let link = names.get(&interface).and_then(|name| links.get_mut(name));
                if let Some(link) = link {
                    link.gateway = link.gateway.or(Some(gateway));
                }
            }
        }
        Ok(links)
    }

    /// Changes an interface as `build` says.
    pub(super) async fn change(
        &self,
        verb: &'static str,
        name: &str,
        index: u32,
        build: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), WiringError> {
        let message = build(LinkUnspec::new_with_index(index)).build();
        let change = self.handle.link().change(message);
        change.execute().await.map_err(link_error(verb, name))
    }

    /// Deletes an interface; one that has gone already is as good.
    pub(super) async fn delete(&self, name: &str, index: u32) -> Result<(), WiringError> {
        match self.handle.link().del(index).execute().await {
            Err(error) if is(&error, nix::errno::Errno::ENODEV) => Ok(()),
            other => other.map_err(link_error("delete", name)),
        }
    }

    /// Turns offloads off.
    pub(super) fn offloads_off(&mut self, name: &str) -> Result<(), WiringError> {
        let refuse = |source| WiringError::Offloads {
            name: name.to_owned(),
            source,
        };
        let ethtool = match self.ethtool.take() {
            Some(ethtool) => ethtool,
            None => Ethtool::open().map_err(refuse)?,
        };
        self.ethtool
            .insert(ethtool)
            .offloads_off(name)
            .map_err(refuse)
    }
}

/// Writes `net.<family>.conf.<interface>.<key>` of the calling thread's namespace. Best effort:
/// `/proc/sys` may be read-only, and what is silenced here is noise, not harm.
pub(super) fn sysctl(family: &str, interface: &str, key: &str, value: &str) {
    let path = format!("/proc/sys/net/{family}/conf/{interface}/{key}");
    if let Err(error) = std::fs::write(&path, value) {
        tracing::debug!(%path, %error, "cannot set");
    }
}

/// Runs `work` on a thread of its own with a runtime of its own, so that it may change
/// namespaces as it likes.
pub(super) async fn aside<T, F, Work>(work: F) -> Result<T, WiringError>
where
    T: Send + 'static,
    F: FnOnce() -> Work + Send + 'static,
    Work: Future<Output = Result<T, WiringError>>,
{
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let run = move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let outcome = match runtime {
            Ok(runtime) => runtime.block_on(work()),
            Err(error) => Err(WiringError::Netlink(error)),
        };
        let _ = sender.send(outcome);
    };
    std::thread::Builder::new()
        .name("wiring".into())
        .stack_size(512 << 10)
        .spawn(run)
        .map_err(WiringError::Netlink)?;
    receiver.await.map_err(|_| WiringError::Thread)?
}

/// The network namespace of a process.
pub(crate) fn namespace(pid: u32) -> Result<File, WiringError> {
    let path = format!("/proc/{pid}/ns/net");
    File::open(path).map_err(|source| WiringError::Namespace { pid, source })
}

/// Moves the calling thread. Only ever called on a thread that ends afterwards.
pub(crate) fn enter(namespace: &File, pid: u32) -> Result<(), WiringError> {
    nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).map_err(|errno| {
        WiringError::Namespace {
            pid,
            source: io::Error::from(errno),
        }
    })
}

pub(super) fn link_error(
    verb: &'static str,
    name: &str,
) -> impl FnOnce(rtnetlink::Error) -> WiringError {
    let name = name.to_owned();
    move |source| WiringError::Link {
        verb,
        name,
        source: Box::new(source),
    }
}

/// Whether the kernel answered with this error number.
pub(super) fn is(error: &rtnetlink::Error, errno: nix::errno::Errno) -> bool {
    match error {
        rtnetlink::Error::NetlinkError(message) => message.raw_code() == -(errno as i32),
        _ => false,
    }
}

fn read_link(message: &LinkMessage) -> Option<(String, SeenLink)> {
    let mut link = SeenLink {
        index: message.header.index,
        up: message.header.flags.contains(LinkFlags::Up),
        ..SeenLink::default()
    };
    let mut name = None;
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(text) => name = Some(text.clone()),
            LinkAttribute::IfAlias(text) => link.alias = Some(text.clone()),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Link(peer) => link.peer = Some(*peer),
            LinkAttribute::Address(bytes) => {
                link.mac = bytes.as_slice().try_into().ok().map(MacAddr);
            }
            _ => {}
        }
    }
    Some((name?, link))
}

fn read_address(message: &AddressMessage) -> Option<IpNet> {
    let of = |wanted: fn(&AddressAttribute) -> Option<IpAddr>| {
        message.attributes.iter().find_map(wanted)
    };
    // On a point-to-point link ADDRESS is the other side's; LOCAL is always ours.
    let local = of(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(*address),
        _ => None,
    });
    let address = local.or_else(|| {
        of(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(*address),
            _ => None,
        })
    })?;
    IpNet::new(address, message.header.prefix_len).ok()
}

fn read_default_route(message: &RouteMessage) -> Option<(u32, IpAddr)> {
    if message.header.destination_prefix_length != 0
        || !matches!(
            message.header.address_family,
            AddressFamily::Inet | AddressFamily::Inet6
        )
    {
        return None;
    }
    let mut interface = None;
    let mut gateway = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => interface = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(address)) => {
                gateway = Some((*address).into())
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(address)) => {
                gateway = Some((*address).into())
            }
            _ => {}
        }
    }
    Some((interface?, gateway?))
}
