//! One pass over a frame: everything that classifying, hashing and limiting ask about.
//! Total: octets that make no sense leave the fields that could not be read at zero or `None`.

use super::ethernet::{self, ethertype};
use super::field::{array_at, u16_at};
use super::{icmp, ipv4, ipv6, vlan};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What a frame is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// Destination MAC address.
    pub destination_mac: [u8; 6],
    /// Source MAC address.
    pub source_mac: [u8; 6],
    /// Outermost VLAN tag, in the frame or taken out by the kernel.
    pub vlan: Option<u16>,
    /// EtherType behind all tags.
    pub ethertype: u16,
    /// Where the packet behind Ethernet and tags starts.
    pub l3: usize,
    /// Where the IP packet ends, without Ethernet padding; the frame's end for what is not IP.
    pub l3_end: usize,
    /// Source address: IPv6, or IPv4 in the last four octets. Zero when there is none.
    pub source: [u8; 16],
    /// Destination address in the same form.
    pub destination: [u8; 16],
    /// IP protocol behind all extension headers; 0 when there is none.
    pub protocol: u8,
    /// Where the transport header starts; `None` in later fragments and where it is not readable.
    pub l4: Option<usize>,
    /// Source port or echo identifier; 0 when there is none.
    pub source_port: u16,
    /// Destination port or echo identifier.
    pub destination_port: u16,
    /// TCP control bits.
    pub tcp_flags: u8,
    /// Whether this is a part of a datagram only.
    pub fragment: bool,
}

impl Summary {
    /// Reads an Ethernet frame. `stripped` is a VLAN tag that the kernel took out.
    pub fn of(frame: &[u8], stripped: Option<u16>) -> Self {
        let mut summary = Self {
            vlan: stripped,
            l3_end: frame.len(),
            ..Self::default()
        };
        if frame.len() < ethernet::HEADER_LEN {
            summary.l3 = frame.len();
            return summary;
        }
        summary.destination_mac = array_at(frame, 0);
        summary.source_mac = array_at(frame, 6);
        let mut kind = u16_at(frame, 12);
        let mut l3 = ethernet::HEADER_LEN;
        // Two tags at most; a third is payload.
        for _ in 0..2 {
            if !matches!(kind, ethertype::VLAN | ethertype::QINQ)
                || frame.len() < l3 + vlan::HEADER_LEN
            {
                break;
            }
            summary.vlan.get_or_insert(u16_at(frame, l3));
            kind = u16_at(frame, l3 + 2);
            l3 += vlan::HEADER_LEN;
        }
        summary.ethertype = kind;
        summary.l3 = l3;
        summary.read_ip(&frame[l3..]);
        summary
    }

    /// Reads an IP packet that has no Ethernet header.
    pub fn of_ip(packet: &[u8]) -> Self {
        let ethertype = match packet.first().map(|octet| octet >> 4) {
            Some(4) => ethertype::IPV4,
            Some(6) => ethertype::IPV6,
            _ => 0,
        };
        let mut summary = Self {
            ethertype,
            l3_end: packet.len(),
            ..Self::default()
        };
        summary.read_ip(packet);
        summary
    }

    fn read_ip(&mut self, data: &[u8]) {
        let l4 = match self.ethertype {
            ethertype::IPV4 => self.read_ipv4(data),
            ethertype::IPV6 => self.read_ipv6(data),
            _ => None,
        };
        if let Some(start) = l4 {
            let end = self.l3_end - self.l3;
            self.read_transport(&data[start..end], self.l3 + start);
        }
    }

    fn read_ipv4(&mut self, data: &[u8]) -> Option<usize> {
        let packet = ipv4::Packet::new_checked(data).ok()?;
        self.source[12..].copy_from_slice(&packet.source().octets());
        self.destination[12..].copy_from_slice(&packet.destination().octets());
        self.protocol = packet.protocol();
        self.fragment = packet.is_fragment();
        self.l3_end = self.l3 + packet.total_len();
        (packet.fragment_offset() == 0).then(|| packet.header_len())
    }

    fn read_ipv6(&mut self, data: &[u8]) -> Option<usize> {
        let packet = ipv6::Packet::new_checked(data).ok()?;
        self.source = packet.source().octets();
        self.destination = packet.destination().octets();
        self.l3_end = self.l3 + packet.total_len();
        let upper = packet.upper()?;
        self.protocol = upper.protocol;
        self.fragment = upper.fragment;
        upper.first.then_some(upper.offset)
    }

    fn read_transport(&mut self, data: &[u8], start: usize) {
        match self.protocol {
            // TCP, UDP, SCTP: ports are the first four octets. A fragmented datagram's first part
            // has them and its later parts do not, so none of them counts: all take one way.
            6 | 17 | 132 if data.len() >= 8 => {
                self.l4 = Some(start);
                if !self.fragment {
                    self.source_port = u16_at(data, 0);
                    self.destination_port = u16_at(data, 2);
                    if self.protocol == 6 && data.len() >= 14 {
                        self.tcp_flags = data[13];
                    }
                }
            }
            1 | 58 if data.len() >= icmp::HEADER_LEN => {
                self.l4 = Some(start);
                let echo = match self.protocol {
                    1 => matches!(
                        data[0],
                        icmp::kind::ECHO_REPLY_V4 | icmp::kind::ECHO_REQUEST_V4
                    ),
                    _ => matches!(
                        data[0],
                        icmp::kind::ECHO_REPLY_V6 | icmp::kind::ECHO_REQUEST_V6
                    ),
                };
                if echo && !self.fragment {
                    self.source_port = u16_at(data, 4);
                    self.destination_port = self.source_port;
                }
            }
            _ => {}
        }
    }

    /// Whether a readable IP header was found.
    pub const fn is_ip(&self) -> bool {
        self.is_ipv4() || self.is_ipv6()
    }

    /// Whether the frame says that it carries IPv4.
    pub const fn is_ipv4(&self) -> bool {
        self.ethertype == ethertype::IPV4
    }

    /// Whether the frame says that it carries IPv6.
    pub const fn is_ipv6(&self) -> bool {
        self.ethertype == ethertype::IPV6
    }

    /// Source and destination addresses, `None` when this is not IP.
    pub fn addresses(&self) -> Option<(IpAddr, IpAddr)> {
        match self.ethertype {
            ethertype::IPV4 => {
                let v4 = |a: &[u8; 16]| IpAddr::from(Ipv4Addr::new(a[12], a[13], a[14], a[15]));
                Some((v4(&self.source), v4(&self.destination)))
            }
            ethertype::IPV6 => Some((
                Ipv6Addr::from(self.source).into(),
                Ipv6Addr::from(self.destination).into(),
            )),
            _ => None,
        }
    }

    /// Octets of the IP packet, padding not counted.
    pub const fn l3_len(&self) -> usize {
        self.l3_end.saturating_sub(self.l3)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged_datagram() -> Vec<u8> {
        let mut frame = vec![0; 18 + 28 + 10];
        frame[12..18].copy_from_slice(&[0x81, 0x00, 0x00, 0x07, 0x08, 0x00]);
        ipv4::Repr {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 0, 2].into(),
            protocol: 17,
            payload_len: 8,
            ttl: 64,
            tos: 0,
            ident: 0,
            dont_fragment: true,
        }
        .emit(&mut frame[18..]);
        super::super::udp::Repr {
            source: 1000,
            destination: 53,
            payload_len: 0,
        }
        .emit(&mut frame[38..]);
        frame
    }

    #[test]
    fn a_tagged_padded_datagram_is_read_in_one_pass() {
        let summary = Summary::of(&tagged_datagram(), None);
        assert_eq!(summary.vlan, Some(7));
        assert_eq!((summary.l3, summary.l3_end, summary.l4), (18, 46, Some(38)));
        assert_eq!((summary.source_port, summary.destination_port), (1000, 53));
    }

    #[test]
    fn fragments_of_one_datagram_have_one_key() {
        let mut first = tagged_datagram();
        let mut later = first.clone();
        ipv4::Packet::new_checked(&mut first[18..])
            .unwrap()
            .set_fragment(false, true, 0);
        ipv4::Packet::new_checked(&mut later[18..])
            .unwrap()
            .set_fragment(false, false, 8);
        let key = |frame: &[u8]| super::super::flow::FlowKey::of(&Summary::of(frame, None));
        assert_eq!(key(&first), key(&later));
    }

    #[test]
    fn every_truncation_gives_a_summary() {
        let frame = tagged_datagram();
        for length in 0..frame.len() {
            let summary = Summary::of(&frame[..length], None);
            assert!(summary.l3 <= length && summary.l3_end <= length);
        }
    }
}
