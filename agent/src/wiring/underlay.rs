//! Where tunnels leave the box: the address of the default route, and the MTU under it.

use super::WiringError;
use super::net::Net;
use std::net::{IpAddr, UdpSocket};

/// The local end of tunnels.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Underlay {
    /// Our address, when there is any.
    pub address: Option<IpAddr>,
    /// MTU of the interface that has it.
    pub mtu: u16,
}

/// Finds out what nobody has fixed.
pub async fn underlay(address: Option<IpAddr>, mtu: Option<u16>) -> Result<Underlay, WiringError> {
    let address = address.or_else(default_source);
    let links = Net::open()?.links().await?;
    let carries = |net: &ipnet::IpNet| Some(net.addr()) == address;
    let found = links
        .values()
        .find(|link| link.addresses.iter().any(carries))
        .map(|link| u16::try_from(link.mtu).unwrap_or(u16::MAX));
    let mtu = mtu.or(found).unwrap_or(1500);
    Ok(Underlay { address, mtu })
}

/// The address the kernel would use towards the world. Connecting a UDP socket sends nothing.
fn default_source() -> Option<IpAddr> {
    let reach = |bind: &str, to: &str| {
        let socket = UdpSocket::bind(bind).ok()?;
        socket.connect(to).ok()?;
        Some(socket.local_addr().ok()?.ip())
    };
    // Documentation prefixes (RFC 5737, RFC 3849): nobody's, so only a default route leads there.
    reach("0.0.0.0:0", "192.0.2.1:9").or_else(|| reach("[::]:0", "[2001:db8::1]:9"))
}
