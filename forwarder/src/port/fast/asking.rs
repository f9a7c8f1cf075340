//! Asks the kernel about routes, stations and interfaces; each answer is as of now.
#![expect(
    unsafe_code,
    reason = "ethtool's ioctl takes a pointer inside a C union"
)]

use super::super::Facts;
use crate::fast::netlink::{self, Answer};
use crate::fast::scene::{Interface, Route};
use kc_forwarder_api::VtepAddresses;
use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, SockaddrStorage, bind,
    recv, send, socket as open_socket,
};
use std::io;
use std::mem::zeroed;
use std::net::IpAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// ETHTOOL_GDRVINFO, ETHTOOL_GFLAGS and ETH_FLAG_RXVLAN of linux/ethtool.h.
const DRIVER_INFO: u32 = 0x03;
const FLAGS: u32 = 0x25;
const RX_VLAN: u32 = 1 << 8;

/// Netlink sockets to ask by.
#[derive(Debug)]
pub(crate) struct Asking {
    routes: OwnedFd,
    generic: Option<(OwnedFd, u16)>,
}

fn open(protocol: SockProtocol) -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = open_socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
    bind(socket.as_raw_fd(), &NetlinkAddr::new(0, 0))?;
    Ok(socket)
}

/// Sends a request and returns the first part of what is answered.
fn ask(socket: &OwnedFd, request: &[u8]) -> io::Result<Vec<u8>> {
    send(socket.as_raw_fd(), request, MsgFlags::empty())?;
    let mut answer = vec![0; 8192];
    // The kernel answers before the sending call returns.
    let length = recv(socket.as_raw_fd(), &mut answer, MsgFlags::MSG_DONTWAIT)?;
    answer.truncate(length);
    Ok(answer)
}

impl Asking {
    /// Opens its sockets in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel refused one.
    pub(crate) fn open() -> io::Result<Self> {
        // Kernels before 6.3 have no such family.
        let generic = open(SockProtocol::NetlinkGeneric).ok().and_then(|socket| {
            let answer = ask(&socket, &netlink::generic_family("netdev")).ok()?;
            Some((socket, netlink::read_family(&answer)?))
        });
        let routes = open(SockProtocol::NetlinkRoute)?;
        Ok(Self { routes, generic })
    }

    /// The route from `own` to `remote`, once its next hop is known.
    pub(crate) fn route(&self, own: IpAddr, remote: IpAddr) -> Option<Route> {
        let (found, next) = self.next_hop(own, remote)?;
        let mac = self.neighbour(next, found.ifindex)?.mac;
        let mtu = found
            .mtu
            .map_or(u16::MAX, |mtu| u16::try_from(mtu).unwrap_or(u16::MAX));
        let ifindex = found.ifindex;
        Some(Route { ifindex, mac, mtu })
    }

    fn neighbour(&self, address: IpAddr, ifindex: u32) -> Option<netlink::Neighbour> {
        let answer = ask(&self.routes, &netlink::neighbour(address, ifindex)).ok()?;
        netlink::read_neighbour(&answer)
    }

    fn next_hop(&self, own: IpAddr, remote: IpAddr) -> Option<(netlink::Found, IpAddr)> {
        let answer = ask(&self.routes, &netlink::route(own, remote)).ok()?;
        let found = netlink::read_route(&answer)?;
        Some((found, found.gateway.unwrap_or(remote)))
    }

    /// The interface by which `remote` is reached.
    pub(crate) fn interface_to(&self, own: IpAddr, remote: IpAddr) -> Option<u32> {
        self.next_hop(own, remote).map(|(found, _)| found.ifindex)
    }

    /// Tells the kernel that packets go from `own` to `remote` without its seeing them.
    pub(crate) fn used(&self, own: IpAddr, remote: IpAddr) {
        if let Some((found, next)) = self.next_hop(own, remote)
            && self
                .neighbour(next, found.ifindex)
                .is_none_or(|known| !known.fixed)
        {
            // Whatever comes of it is told as a change of the station.
            match ask(&self.routes, &netlink::used(next, found.ifindex)) {
                Ok(answer) if netlink::answer(&answer) == Some(Answer::Error(0)) => {}
                Ok(_) | Err(_) => tracing::debug!(%next, "the next hop cannot be asked for"),
            }
        }
    }

    /// What `name` is and does for XDP, if it exists, is up and carries Ethernet.
    pub(crate) fn interface(&self, name: &str) -> Option<Interface> {
        let facts = Facts::read(name).ok()?;
        let features = self.generic.as_ref().and_then(|(socket, family)| {
            let answer = ask(socket, &netlink::device(*family, facts.index)).ok()?;
            netlink::read_features(&answer)
        });
        let takes_frames = features.is_some_and(netlink::Features::takes_frames);
        let takes_fragments = features.is_some_and(netlink::Features::takes_fragments);
        // A veth sends back what its other end is ready to take, as with what is redirected.
        let sends_back = takes_frames || driver(name).is_some_and(|driver| driver != "veth");
        Some(Interface {
            name: name.to_owned(),
            index: facts.index,
            mac: facts.mac.0,
            mtu: facts.mtu,
            takes_frames,
            takes_fragments,
            sends_back,
            hides_tags: flags(name).is_none_or(|flags| flags & RX_VLAN != 0),
        })
    }

    /// Interfaces that have one of `addresses`.
    pub(crate) fn interfaces_with(addresses: &VtepAddresses) -> Vec<String> {
        let Ok(all) = getifaddrs() else {
            return Vec::new();
        };
        let ours = |address: Option<SockaddrStorage>| {
            let Some(address) = address else { return false };
            let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
            let v6 = address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip()));
            v4.or(v6)
                .is_some_and(|own| addresses.iter().any(|wanted| wanted == own))
        };
        let all = all.filter(|known| ours(known.address));
        let mut names: Vec<_> = all.map(|known| known.interface_name).collect();
        names.dedup();
        names
    }

    /// The name of an interface.
    pub(crate) fn name(ifindex: u32) -> Option<String> {
        let name = nix::net::if_::if_indextoname(ifindex).ok()?;
        name.into_string().ok()
    }
}

/// Asks ethtool with a structure of `N` octets whose first word is the command.
fn ethtool<const N: usize>(name: &str, command: u32) -> Option<[u8; N]> {
    let mut octets = [0_u8; N];
    octets
        .first_chunk_mut()
        .map(|word| *word = command.to_ne_bytes())?;
    // SAFETY: ifreq is plain data for which all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { zeroed() };
    for (place, octet) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *place = libc::c_char::from_ne_bytes([octet]);
    }
    request.ifr_ifru.ifru_data = octets.as_mut_ptr().cast();
    let flags = SockFlag::SOCK_CLOEXEC;
    let socket = open_socket(AddressFamily::Inet, SockType::Datagram, flags, None).ok()?;
    // SAFETY: both commands read and write a structure of `N` octets, `ethtool_value` of 8 and
    // `ethtool_drvinfo` of 196, which `octets` is; it outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCETHTOOL as _, &raw mut request) };
    (done == 0).then_some(octets)
}

fn flags(name: &str) -> Option<u32> {
    let answer: [u8; 8] = ethtool(name, FLAGS)?;
    Some(u32::from_ne_bytes(*answer.last_chunk()?))
}

fn driver(name: &str) -> Option<String> {
    // struct ethtool_drvinfo: command, then the driver's name in 32 octets.
    let answer: [u8; 196] = ethtool(name, DRIVER_INFO)?;
    let name = answer.get(4..36)?.split(|octet| *octet == 0).next()?;
    String::from_utf8(name.to_vec()).ok()
}
