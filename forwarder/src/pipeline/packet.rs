//! What the stages need to know of a frame, read once.

use crate::wire::flow::FlowKey;
use crate::wire::nsh::NextProtocol;
use crate::wire::summary::Summary;
use crate::wire::{ethernet, ipv4, vlan};
use std::net::IpAddr;

/// An IP packet inside a frame. Offsets count from the start of the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ip {
    /// IPv6 if true, IPv4 otherwise.
    pub(crate) v6: bool,
    /// Source address.
    pub(crate) source: IpAddr,
    /// Destination address.
    pub(crate) destination: IpAddr,
    /// Protocol behind all extension headers.
    pub(crate) protocol: u8,
    /// Where the IP header ends; for IPv6 the transport header starts there.
    pub(crate) l4: usize,
    /// Where the packet ends.
    pub(crate) end: usize,
    /// Whether this is a part of a datagram only.
    pub(crate) fragment: bool,
    /// Whether it is whole or the first part.
    pub(crate) first: bool,
    /// IPv4's "don't fragment"; always so in IPv6.
    pub(crate) dont_fragment: bool,
    /// Ports of TCP, UDP or SCTP, where the packet has them or its first fragment told.
    pub(crate) ports: Option<(u16, u16)>,
}

/// A frame's headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Packet {
    /// Octets in front of the network header: Ethernet and VLAN tags.
    pub(crate) l2_len: usize,
    /// VLAN identifier, 0 for none.
    pub(crate) vlan: u16,
    /// EtherType behind VLAN tags.
    pub(crate) ethertype: u16,
    /// False for what an NSH carried without Ethernet.
    pub(crate) is_ethernet: bool,
    /// Identity of the flow.
    pub(crate) flow: FlowKey,
    /// The IP packet, if there is one that makes sense.
    pub(crate) ip: Option<Ip>,
}

impl Packet {
    /// Reads an Ethernet frame; `None` when it is shorter than its header.
    pub(crate) fn parse(frame: &[u8]) -> Option<Self> {
        Self::plain(frame).or_else(|| Self::any(frame))
    }

    /// Reads the commonest frame of all: untagged, IPv4 without options, whole, with ports. `None`
    /// for any other; what both read, [`Summary`] reads alike.
    #[inline]
    fn plain(frame: &[u8]) -> Option<Self> {
        /// Ethernet, IPv4, ports and length or sequence number.
        const HEAD: usize = 42;
        let head: &[u8; HEAD] = frame.first_chunk()?;
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let four = |at: usize| [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let (length, fragment, protocol) = (usize::from(word(16)), word(20), head[23]);
        let (source, destination) = (four(26), four(30));
        let usual = word(12) == ethernet::ethertype::IPV4
            && head[14] == 0x45
            && matches!(protocol, 6 | 17 | 132)
            && (28..=frame.len() - ethernet::HEADER_LEN).contains(&length)
            && fragment & 0x3fff == 0
            && (source, destination) != ([0; 4], [0; 4]);
        if !usual {
            return None;
        }
        let padded = |address: [u8; 4]| {
            let mut octets = [0; 16];
            octets[12..].copy_from_slice(&address);
            octets
        };
        let ports = (word(34), word(36));
        Some(Self {
            l2_len: ethernet::HEADER_LEN,
            vlan: 0,
            ethertype: ethernet::ethertype::IPV4,
            is_ethernet: true,
            flow: FlowKey {
                source: padded(source),
                destination: padded(destination),
                source_port: ports.0,
                destination_port: ports.1,
                ethertype: ethernet::ethertype::IPV4,
                protocol,
            },
            ip: Some(Ip {
                v6: false,
                source: source.into(),
                destination: destination.into(),
                protocol,
                l4: ethernet::HEADER_LEN + 20,
                end: ethernet::HEADER_LEN + length,
                fragment: false,
                first: true,
                dont_fragment: fragment & 0x4000 != 0,
                ports: Some(ports),
            }),
        })
    }

    /// Reads any Ethernet frame.
    fn any(frame: &[u8]) -> Option<Self> {
        if frame.len() < ethernet::HEADER_LEN {
            return None;
        }
        let summary = Summary::of(frame, None);
        Some(Self {
            l2_len: summary.l3,
            vlan: summary.vlan.map_or(0, vlan::vid),
            ethertype: summary.ethertype,
            is_ethernet: true,
            flow: FlowKey::of(&summary),
            ip: Ip::of(frame, &summary),
        })
    }

    /// Reads what an NSH on the service path `path` carries; `None` when it is shorter than its
    /// own header.
    pub(crate) fn carried(next: NextProtocol, octets: &[u8], path: u32) -> Option<Self> {
        match next {
            NextProtocol::Ethernet => Self::parse(octets),
            NextProtocol::Ipv4 | NextProtocol::Ipv6 => {
                // What makes no sense to us may do so to its receiver.
                let packet = Self::bare(octets);
                Some(if packet.ip.is_some() {
                    packet
                } else {
                    Self::opaque(path)
                })
            }
            _ => Some(Self::opaque(path)),
        }
    }

    /// Reads a frame of the kind that this one is.
    pub(crate) fn like(&self, octets: &[u8]) -> Option<Self> {
        if self.is_ethernet {
            Self::parse(octets)
        } else {
            Some(Self::bare(octets))
        }
    }

    /// Reads an IP packet without Ethernet.
    fn bare(octets: &[u8]) -> Self {
        let summary = Summary::of_ip(octets);
        Self {
            l2_len: 0,
            vlan: 0,
            ethertype: summary.ethertype,
            is_ethernet: false,
            flow: FlowKey::of(&summary),
            ip: Ip::of(octets, &summary),
        }
    }

    /// Something that is neither Ethernet nor IP, on the service path `path`.
    pub(crate) fn opaque(path: u32) -> Self {
        let mut flow = FlowKey::of(&Summary::default());
        if let Some(place) = flow.source.last_chunk_mut() {
            *place = path.to_be_bytes();
        }
        Self {
            l2_len: 0,
            vlan: 0,
            ethertype: 0,
            is_ethernet: false,
            flow,
            ip: None,
        }
    }

    /// A piece of `whole`, and so of its flow.
    #[must_use]
    pub(crate) fn of_flow(mut self, whole: &Self) -> Self {
        self.flow = whole.flow;
        if let (Some(ip), Some(whole)) = (&mut self.ip, &whole.ip) {
            ip.ports = whole.ports;
        }
        self
    }

    /// Whether this is a part of a datagram only.
    pub(crate) fn is_fragment(&self) -> bool {
        self.ip.as_ref().is_some_and(|ip| ip.fragment)
    }

    /// For the outer source port: the same for all frames of a flow, in both directions.
    pub(crate) fn entropy(&self) -> u16 {
        self.flow.entropy()
    }
}

impl Ip {
    fn of(frame: &[u8], summary: &Summary) -> Option<Self> {
        let (source, destination) = summary.addresses()?;
        // The summary leaves both at zero when the header makes no sense.
        if source.is_unspecified() && destination.is_unspecified() {
            return None;
        }
        let header = frame.get(summary.l3..summary.l3_end)?;
        let v6 = summary.is_ipv6();
        let (l4, first, dont_fragment) = if v6 {
            let first = summary.l4.is_some() || !summary.fragment;
            (summary.l4.unwrap_or(summary.l3_end), first, true)
        } else {
            let ip = ipv4::Packet::new_checked(header).ok()?;
            (
                summary.l3 + ip.header_len(),
                ip.fragment_offset() == 0,
                ip.dont_fragment(),
            )
        };
        let has_ports = matches!(summary.protocol, 6 | 17 | 132);
        let ports = (has_ports && !summary.fragment && summary.l4.is_some())
            .then_some((summary.source_port, summary.destination_port));
        Some(Self {
            v6,
            source,
            destination,
            protocol: summary.protocol,
            l4,
            end: summary.l3_end,
            fragment: summary.fragment,
            first,
            dont_fragment,
            ports,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_short_way_reads_what_the_long_one_reads(
            mut frame in proptest::collection::vec(any::<u8>(), 40..100),
            length in 20_u16..90,
            flags in prop_oneof![Just(0_u16), Just(0x4000), any::<u16>()],
            protocol in prop_oneof![Just(6_u8), Just(17), Just(132), Just(1), any::<u8>()],
            zero in any::<bool>(),
        ) {
            frame[12..15].copy_from_slice(&[0x08, 0x00, 0x45]);
            frame[16..18].copy_from_slice(&length.to_be_bytes());
            frame[20..22].copy_from_slice(&flags.to_be_bytes());
            frame[23] = protocol;
            if zero {
                frame[26..34].fill(0);
            }
            let plain = Packet::plain(&frame);
            prop_assert!(plain.is_none() || plain == Packet::any(&frame));
            let usual = usize::from(length) <= frame.len() - 14
                && length >= 28 && flags & 0x3fff == 0 && [6, 17, 132].contains(&protocol) && !zero;
            prop_assert!(plain.is_some() || !usual || frame.len() < 42);
        }
    }
}
