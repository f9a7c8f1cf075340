//! What the first octets of a flow say it speaks. Total: any octets get an answer.

use super::names::Protocol;
use super::{dns, http, tls};

/// What can be said so far.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Guess {
    /// The protocol, and the host that was asked for where it says so.
    Known(Protocol, Option<String>),
    /// Not enough octets yet.
    More,
    /// None of the known ones.
    Unknown,
}

/// Ports of DNS and multicast DNS; anything may look like DNS, so it is looked for there only.
const DNS_PORTS: [u16; 2] = [53, 5353];

/// Judges the start of what the side that began a TCP connection says.
pub(super) fn from_client(data: &[u8], ports: [u16; 2]) -> Guess {
    if data.is_empty() {
        return Guess::More;
    }
    if is_dns(ports) {
        return dns_over_tcp(data);
    }
    let readings = [
        tls::recognise(data),
        http::recognise(data),
        ssh(data),
        mqtt(data),
    ];
    let mut more = false;
    for reading in readings {
        match reading {
            known @ Guess::Known(..) => return known,
            Guess::More => more = true,
            Guess::Unknown => {}
        }
    }
    if more { Guess::More } else { Guess::Unknown }
}

/// Judges the start of what the other side says; some servers speak first.
pub(super) fn from_server(data: &[u8]) -> Guess {
    match data {
        [b'S', b'S', b'H', b'-', ..] => Guess::Known(Protocol::Ssh, None),
        [b'H', b'T', b'T', b'P', b'/', ..] => Guess::Known(Protocol::Http, None),
        // ServerHello.
        [22, 3, _, _, _, 2, ..] => Guess::Known(Protocol::Tls, None),
        _ => Guess::Unknown,
    }
}

/// Judges one datagram.
pub(super) fn from_datagram(data: &[u8], ports: [u16; 2]) -> Guess {
    if is_dns(ports)
        && let Some(message) = dns::parse(data)
    {
        return Guess::Known(Protocol::Dns, message.name);
    }
    if is_quic(data) {
        Guess::Known(Protocol::Quic, None)
    } else {
        Guess::Unknown
    }
}

fn is_dns(ports: [u16; 2]) -> bool {
    ports.iter().any(|port| DNS_PORTS.contains(port))
}

fn dns_over_tcp(data: &[u8]) -> Guess {
    // RFC 1035 section 4.2.2: "The message is prefixed with a two byte length field".
    let Some((&[a, b], rest)) = data.split_first_chunk() else {
        return Guess::More;
    };
    let length = usize::from(u16::from_be_bytes([a, b]));
    match rest.get(..length).map(dns::parse) {
        Some(Some(message)) => Guess::Known(Protocol::Dns, message.name),
        None if length >= 17 => Guess::More,
        _ => Guess::Unknown,
    }
}

fn prefix(data: &[u8], expected: &[u8]) -> Option<bool> {
    let length = data.len().min(expected.len());
    let same = data.get(..length) == expected.get(..length);
    same.then_some(length == expected.len())
}

fn ssh(data: &[u8]) -> Guess {
    // RFC 4253 section 4.2: "SSH-protoversion-softwareversion".
    match prefix(data, b"SSH-") {
        Some(true) => Guess::Known(Protocol::Ssh, None),
        Some(false) => Guess::More,
        None => Guess::Unknown,
    }
}

/// CONNECT with the protocol's name (MQTT 3.1.1 section 3.1, MQTT 5 section 3.1).
fn mqtt(data: &[u8]) -> Guess {
    let Some((0x10, rest)) = data.split_first() else {
        return Guess::Unknown;
    };
    // Remaining length: at most four octets, all but the last with the high bit.
    let Some(last) = rest.iter().take(4).position(|octet| octet & 0x80 == 0) else {
        return if rest.len() < 4 {
            Guess::More
        } else {
            Guess::Unknown
        };
    };
    let name = rest.get(last + 1..).unwrap_or_default();
    let readings = [
        prefix(name, b"\x00\x04MQTT"),
        prefix(name, b"\x00\x06MQIsdp"),
    ];
    if readings.contains(&Some(true)) {
        Guess::Known(Protocol::Mqtt, None)
    } else if readings.contains(&Some(false)) {
        Guess::More
    } else {
        Guess::Unknown
    }
}

/// A long header of QUIC version 1 (RFC 9000 section 17.2), version 2 (RFC 9369) or a version
/// negotiation.
fn is_quic(data: &[u8]) -> bool {
    let Some(&[first, a, b, c, d, length]) = data.first_chunk() else {
        return false;
    };
    let version = u32::from_be_bytes([a, b, c, d]);
    let known = matches!(version, 0 | 1 | 0x6b33_43cf);
    // "Fixed Bit: The next bit (0x40) of byte 0 is set to 1, unless the packet is a Version
    // Negotiation packet"; a connection ID "MUST NOT exceed 20 bytes".
    let fixed = first & 0xc0 == 0xc0 || version == 0 && first & 0x80 != 0;
    known && fixed && length <= 20 && data.len() > 7 + usize::from(length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ANY: [u16; 2] = [40_000, 9999];

    fn client(data: &[u8]) -> Guess {
        from_client(data, ANY)
    }

    #[test]
    fn protocols_are_told_by_their_first_octets() {
        assert_eq!(
            client(b"SSH-2.0-OpenSSH_9.2\r\n"),
            Guess::Known(Protocol::Ssh, None)
        );
        assert_eq!(
            client(b"\x10\x10\x00\x04MQTT\x04"),
            Guess::Known(Protocol::Mqtt, None)
        );
        assert_eq!(
            client(b"\x10\x80\x01\x00\x06MQIsdp\x03"),
            Guess::Known(Protocol::Mqtt, None)
        );
        assert_eq!(
            client(b"GET / HTTP/1.0\r\n\r\n"),
            Guess::Known(Protocol::Http, None)
        );
        assert_eq!(client(b"\x00\x01\x02\x03"), Guess::Unknown);
        assert_eq!(
            from_server(b"SSH-2.0-dropbear"),
            Guess::Known(Protocol::Ssh, None)
        );
    }

    #[test]
    fn a_beginning_that_may_become_one_asks_for_more() {
        for part in [
            &b"S"[..],
            b"SSH",
            b"\x10",
            b"\x10\x80",
            b"\x10\x10\x00\x04MQ",
            b"\x16",
            b"PO",
        ] {
            assert_eq!(client(part), Guess::More, "{part:?}");
        }
    }

    #[test]
    fn dns_is_known_over_udp_and_tcp() {
        let query = dns::tests::query("a.example");
        let known = Guess::Known(Protocol::Dns, Some("a.example".to_owned()));
        assert_eq!(from_datagram(&query, [40_000, 53]), known);
        assert_eq!(from_datagram(&query, ANY), Guess::Unknown);
        let mut stream = u16::try_from(query.len()).unwrap().to_be_bytes().to_vec();
        stream.extend(query);
        assert_eq!(from_client(&stream, [40_000, 53]), known);
        assert_eq!(from_client(&stream[..9], [40_000, 53]), Guess::More);
    }

    #[test]
    fn quic_is_known_by_its_long_header() {
        let mut initial = vec![0xc3, 0, 0, 0, 1, 8];
        initial.resize(1200, 0);
        assert_eq!(
            from_datagram(&initial, ANY),
            Guess::Known(Protocol::Quic, None)
        );
        initial[4] = 9;
        assert_eq!(from_datagram(&initial, ANY), Guess::Unknown);
    }

    proptest! {
        #[test]
        fn any_octets_get_an_answer(data in proptest::collection::vec(any::<u8>(), 0..200), first in 0_u8..32) {
            let mut data = data;
            if let Some(octet) = data.first_mut() {
                *octet = first;
            }
            client(&data);
            from_client(&data, [53, 1]);
            from_server(&data);
            from_datagram(&data, [53, 1]);
        }
    }
}
