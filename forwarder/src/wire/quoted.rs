//! The packet that an ICMP error is about: at least its IP header and eight octets of transport
//! (RFC 792), usually cut, so checked views refuse it.

use super::ethernet::ethertype;
use super::field::{array_at, u16_at};
use super::flow::FlowKey;
use super::{icmp, ipv4, ipv6};

/// A quoted packet and where it is in the frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quoted {
    /// Its flow, in the direction in which it was sent.
    pub flow: FlowKey,
    /// Where its IP header starts.
    pub start: usize,
    /// Where its transport header starts.
    pub l4: usize,
}

impl Quoted {
    /// Finds the packet that an ICMP error, or ICMPv6 error if `v6`, quotes. The error's message
    /// takes `message` in `frame`. `None` when this is no error, too little is quoted, or a later
    /// fragment.
    pub fn find(frame: &[u8], message: std::ops::Range<usize>, v6: bool) -> Option<Self> {
        let start = message.start + icmp::HEADER_LEN;
        let message = frame.get(message)?;
        if !icmp::is_error(v6, *message.first()?) {
            return None;
        }
        let packet = message.get(icmp::HEADER_LEN..)?;
        let (header, protocol, ethertype) = if v6 {
            if packet.len() < ipv6::HEADER_LEN || packet[0] >> 4 != 6 {
                return None;
            }
            (ipv6::HEADER_LEN, packet[6], ethertype::IPV6)
        } else {
            if packet.len() < ipv4::HEADER_LEN || packet[0] >> 4 != 4 {
                return None;
            }
            let header = usize::from(packet[0] & 0x0f) * 4;
            if header < ipv4::HEADER_LEN || u16_at(packet, 6) & 0x1fff != 0 {
                return None;
            }
            (header, packet[9], ethertype::IPV4)
        };
        let (source, destination) = if v6 {
            (array_at(packet, 8), array_at(packet, 24))
        } else {
            let padded = |at: usize| {
                let mut address = [0; 16];
                address[12..].copy_from_slice(&packet[at..at + 4]);
                address
            };
            (padded(12), padded(16))
        };
        let transport = packet.get(header..header + 8)?;
        let (source_port, destination_port) = match protocol {
            6 | 17 | 132 => (u16_at(transport, 0), u16_at(transport, 2)),
            1 | 58 => (u16_at(transport, 4), u16_at(transport, 4)),
            _ => return None,
        };
        Some(Self {
            flow: FlowKey {
                source,
                destination,
                source_port,
                destination_port,
                ethertype,
                protocol,
            },
            start,
            l4: start + header,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error() -> Vec<u8> {
        let mut original = vec![0; 28];
        ipv4::Repr {
            source: [10, 0, 0, 1].into(),
            destination: [10, 0, 3, 2].into(),
            protocol: 17,
            payload_len: 8,
            ttl: 64,
            tos: 0,
            ident: 0,
            dont_fragment: true,
        }
        .emit(&mut original);
        original[20..24].copy_from_slice(&[0x10, 0, 0, 53]);
        let mut message = vec![3, 4, 0, 0, 0, 0, 5, 0];
        message.extend(original);
        message
    }

    #[test]
    fn an_error_names_the_flow_it_is_about() {
        let message = error();
        let quoted = Quoted::find(&message, 0..message.len(), false).unwrap();
        assert_eq!((quoted.start, quoted.l4), (8, 28));
        assert_eq!(quoted.flow.source[12..], [10, 0, 0, 1]);
        assert_eq!(
            (quoted.flow.source_port, quoted.flow.destination_port),
            (0x1000, 53)
        );
    }

    #[test]
    fn what_quotes_too_little_or_nothing_names_none() {
        let message = error();
        for length in 0..message.len() {
            assert_eq!(Quoted::find(&message, 0..length, false), None, "{length}");
        }
        let mut ping = message.clone();
        ping[0] = 8;
        assert_eq!(Quoted::find(&ping, 0..ping.len(), false), None);
        assert_eq!(Quoted::find(&message, 0..message.len(), true), None);
    }
}
