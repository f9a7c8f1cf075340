//! A frame read for a function: headers, flow, and what kind of packet it is.

use super::protocol;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::ethernet::{self, ethertype};
use kc_forwarder::wire::flow::FlowKey;
use kc_forwarder::wire::summary::Summary;
use kc_forwarder::wire::{icmp, ipv4, ipv6, tcp, udp, vlan};
use std::net::IpAddr;

/// What a function has to tell apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Contradicts its own length.
    Malformed,
    /// ARP.
    Arp,
    /// IPv6 neighbour and router discovery (RFC 4861).
    Discovery,
    /// Neither IP nor ARP.
    NotIp,
    /// IP with a readable transport header, or of a protocol without one.
    Packet,
    /// An ICMP error that quotes a packet.
    IcmpError,
    /// A fragment without transport header.
    LaterFragment,
}

/// Identity of a fragmented datagram (RFC 791 section 3.2, RFC 8200 section 4.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FragmentId {
    vlan: u16,
    source: [u8; 16],
    destination: [u8; 16],
    protocol: u8,
    ident: u32,
}

/// A frame, read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    pub(crate) summary: Summary,
    pub(crate) kind: Kind,
    /// With the ports of a first fragment, which the summary leaves out.
    pub(crate) flow: FlowKey,
}

impl Reading {
    /// Reads `frame`.
    pub(crate) fn of(frame: &Frame) -> Self {
        let bytes = frame.bytes();
        let mut summary = Summary::of(bytes, frame.offload.vlan);
        let kind = kind(bytes, &summary);
        if summary.fragment
            && let Some(l4) = summary.l4
            && matches!(summary.protocol, protocol::TCP | protocol::UDP)
            && let Some([a, b, c, d]) = bytes
                .get(l4..l4 + 4)
                .and_then(|p| <[u8; 4]>::try_from(p).ok())
        {
            summary.source_port = u16::from_be_bytes([a, b]);
            summary.destination_port = u16::from_be_bytes([c, d]);
        }
        Self {
            summary,
            kind,
            flow: FlowKey::of(&summary),
        }
    }

    /// Identifier of the outermost VLAN tag; 0 without one.
    pub(crate) fn vlan(&self) -> u16 {
        self.summary.vlan.map_or(0, vlan::vid)
    }

    /// Source address; unspecified when this is not IP.
    pub(crate) fn source(&self) -> IpAddr {
        self.addresses().0
    }

    /// Destination address; unspecified when this is not IP.
    pub(crate) fn destination(&self) -> IpAddr {
        self.addresses().1
    }

    fn addresses(&self) -> (IpAddr, IpAddr) {
        let nowhere = IpAddr::from([0, 0, 0, 0]);
        self.summary.addresses().unwrap_or((nowhere, nowhere))
    }

    /// The transport header and what follows it, without Ethernet padding.
    pub(crate) fn transport<'a>(&self, frame: &'a [u8]) -> &'a [u8] {
        let start = self.summary.l4.unwrap_or(self.summary.l3_end);
        frame.get(start..self.summary.l3_end).unwrap_or_default()
    }

    /// TCP control bits, when this is TCP.
    pub(crate) fn tcp_flags(&self, frame: &[u8]) -> Option<u8> {
        let tcp = self.summary.protocol == protocol::TCP;
        tcp.then(|| self.transport(frame).get(13).copied().unwrap_or_default())
    }

    /// Identity of the datagram that this is a fragment of.
    pub(crate) fn fragment_id(&self, frame: &[u8]) -> Option<FragmentId> {
        if !self.summary.fragment {
            return None;
        }
        let ip = frame.get(self.summary.l3..self.summary.l3_end)?;
        let ident = if self.summary.is_ipv4() {
            u32::from(ipv4::Packet::new_checked(ip).ok()?.ident())
        } else {
            // The fragment header is the last one before what was cut.
            let end = ipv6::Packet::new_checked(ip).ok()?.upper()?.offset;
            let octets = ip.get(end.checked_sub(4)?..end)?;
            u32::from_be_bytes(octets.try_into().ok()?)
        };
        Some(FragmentId {
            vlan: self.vlan(),
            source: self.summary.source,
            destination: self.summary.destination,
            // The next header of a later IPv6 fragment need not be the transport protocol.
            protocol: if self.summary.is_ipv4() {
                self.summary.protocol
            } else {
                0
            },
            ident,
        })
    }
}

fn kind(bytes: &[u8], summary: &Summary) -> Kind {
    if bytes.len() < ethernet::HEADER_LEN {
        return Kind::Malformed;
    }
    let data = bytes.get(summary.l3..).unwrap_or_default();
    let readable = match summary.ethertype {
        ethertype::ARP => return Kind::Arp,
        ethertype::IPV4 => ipv4::Packet::new_checked(data).is_ok_and(|ip| ip.verify_checksum()),
        ethertype::IPV6 => ipv6::Packet::new_checked(data).is_ok_and(|ip| ip.upper().is_some()),
        _ => return Kind::NotIp,
    };
    if !readable {
        return Kind::Malformed;
    }
    let Some(l4) = summary.l4 else {
        return match summary.protocol {
            _ if summary.fragment && !is_first(data, summary) => Kind::LaterFragment,
            protocol::TCP | protocol::UDP | protocol::ICMP | protocol::ICMPV6 => Kind::Malformed,
            _ => Kind::Packet,
        };
    };
    let transport = bytes.get(l4..summary.l3_end).unwrap_or_default();
    let first = transport.first().copied().unwrap_or_default();
    match summary.protocol {
        protocol::TCP if tcp::Packet::new_checked(transport).is_err() => Kind::Malformed,
        // The length of a fragmented datagram reaches beyond its first part.
        protocol::UDP if !summary.fragment && udp::Packet::new_checked(transport).is_err() => {
            Kind::Malformed
        }
        protocol::ICMP if icmp::is_error(false, first) => Kind::IcmpError,
        protocol::ICMPV6 if icmp::is_error(true, first) => Kind::IcmpError,
        protocol::ICMPV6 if (133..=137).contains(&first) => Kind::Discovery,
        _ => Kind::Packet,
    }
}

fn is_first(ip: &[u8], summary: &Summary) -> bool {
    if summary.is_ipv4() {
        ipv4::Packet::new_checked(ip).is_ok_and(|ip| ip.fragment_offset() == 0)
    } else {
        let packet = ipv6::Packet::new_checked(ip);
        packet.is_ok_and(|ip| ip.upper().is_some_and(|upper| upper.first))
    }
}
