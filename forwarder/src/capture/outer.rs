//! Headers put in front of what the forwarder never sees them on, so that a capture is Ethernet
//! throughout and dissects by itself. Addresses, ports and traffic class are what the sockets told; MAC
//! addresses and TTL are not known: the former are zeroes, the latter is 64.

use super::record::Outer;
use crate::wire::checksum;
use crate::wire::{ethernet, ipv4, ipv6, udp};
use std::net::{IpAddr, SocketAddr};

/// What is shown for a TTL that nobody told: what a kernel sends with.
const TTL: u8 = 64;

/// Longest header made here: Ethernet, IPv6, UDP.
const LONGEST: usize = 14 + 40 + 8;

/// What is put in front of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Front {
    octets: [u8; LONGEST],
    length: usize,
}

impl Front {
    /// What belongs in front of a frame of `length` octets of which `kept` are known.
    pub(super) fn new(outer: Outer, length: u32, kept: [&[u8]; 2]) -> Self {
        let mut front = Self {
            octets: [0; LONGEST],
            length: 0,
        };
        match outer {
            Outer::Ethernet => {}
            Outer::Nsh => front.ethernet(ethernet::ethertype::NSH),
            Outer::Udp { from, to, class } => {
                // A datagram carries no more, and no frame that came or went in one is longer.
                let payload = usize::try_from(length).unwrap_or(usize::MAX).min(65_507);
                front.datagram((from, to), class, payload, kept);
            }
        }
        front
    }

    /// The octets.
    pub(super) fn octets(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }

    fn ethernet(&mut self, ethertype: u16) {
        if let Some(field) = self.octets.get_mut(12..14) {
            field.copy_from_slice(&ethertype.to_be_bytes());
        }
        self.length = ethernet::HEADER_LEN;
    }

    fn datagram(
        &mut self,
        (from, to): (SocketAddr, SocketAddr),
        class: u8,
        payload: usize,
        kept: [&[u8]; 2],
    ) {
        let payload_len = u16::try_from(payload).unwrap_or(u16::MAX);
        let udp_len = payload_len.saturating_add(8);
        let (ethertype, ip_len) = match (from.ip(), to.ip()) {
            (IpAddr::V4(source), IpAddr::V4(destination)) => {
                let repr = ipv4::Repr {
                    source,
                    destination,
                    protocol: 17,
                    payload_len: udp_len,
                    ttl: TTL,
                    tos: class,
                    ident: 0,
                    dont_fragment: true,
                };
                if let Some(header) = self.octets.get_mut(14..) {
                    repr.emit(header);
                }
                (ethernet::ethertype::IPV4, ipv4::HEADER_LEN)
            }
            (source, destination) => {
                let repr = ipv6::Repr {
                    source: six(source),
                    destination: six(destination),
                    next_header: 17,
                    payload_len: udp_len,
                    hop_limit: TTL,
                    traffic_class: class,
                    flow_label: 0,
                };
                if let Some(header) = self.octets.get_mut(14..) {
                    repr.emit(header);
                }
                (ethernet::ethertype::IPV6, ipv6::HEADER_LEN)
            }
        };
        self.ethernet(ethertype);
        let start = ethernet::HEADER_LEN + ip_len;
        self.length = start + udp::HEADER_LEN;
        let Some(header) = self.octets.get_mut(start..start + udp::HEADER_LEN) else {
            return;
        };
        let repr = udp::Repr {
            source: from.port(),
            destination: to.port(),
            payload_len,
        };
        repr.emit(header);
        // Over IPv4 we send none, as RFC 7348 has it; over IPv6 there must be one, which can be
        // told only where all that it covers was kept.
        let whole = kept.iter().map(|part| part.len()).sum::<usize>() == payload;
        if ip_len == ipv6::HEADER_LEN && whole {
            let ends = six(from.ip())
                .octets()
                .into_iter()
                .chain(six(to.ip()).octets());
            let ends: Vec<u8> = ends.collect();
            let pseudo = checksum::pseudo_header(&ends, &[], 17, usize::from(udp_len));
            let body: u64 = kept.iter().map(|part| checksum::sum(part)).sum();
            let total = checksum::fold(pseudo + checksum::sum(header) + body);
            // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
            let sum = if total == 0xffff { 0xffff } else { !total };
            if let Some(field) = header.get_mut(udp::CHECKSUM_AT..) {
                field.copy_from_slice(&sum.to_be_bytes());
            }
        }
    }
}

/// An address of either family, as IPv6.
fn six(address: IpAddr) -> std::net::Ipv6Addr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped(),
        IpAddr::V6(v6) => v6,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_put_in_front_of_ethernet() {
        let front = Front::new(Outer::Ethernet, 64, [&[0; 64], &[]]);
        assert!(front.octets().is_empty());
        let front = Front::new(Outer::Nsh, 64, [&[0; 64], &[]]);
        assert_eq!(
            front.octets(),
            [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x89, 0x4f]
        );
    }

    #[test]
    fn outer_headers_over_either_family_are_whole_and_right() {
        let payload = [7_u8; 9];
        for (from, to) in [
            ("192.0.2.1:49152", "192.0.2.2:4790"),
            ("[fd00::1]:0", "[fd00::2]:4789"),
        ] {
            let outer = Outer::Udp {
                from: from.parse().unwrap(),
                to: to.parse().unwrap(),
                class: 0xb8,
            };
            let front = Front::new(outer, 9, [&[], &payload]);
            let mut frame = front.octets().to_vec();
            frame.extend(payload);
            let state = checksum::state(&frame[14..]);
            if from.starts_with('[') {
                assert_eq!(
                    (frame.len(), state),
                    (14 + 40 + 8 + 9, checksum::State::Complete)
                );
            } else {
                assert!(
                    ipv4::Packet::new_checked(&frame[14..])
                        .unwrap()
                        .verify_checksum()
                );
                assert_eq!(state, checksum::State::NotApplicable);
            }
            let cut = Front::new(outer, 9, [&[], &payload[..3]]);
            assert_eq!(cut.octets().get(..54 - 20), front.octets().get(..54 - 20));
        }
    }
}
