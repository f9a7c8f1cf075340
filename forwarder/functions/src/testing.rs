//! Frames for unit tests, written as a person would describe them.

use kc_forwarder::frame::{Checksum, Frame};
use kc_forwarder::wire::{checksum, ethernet, ipv4, ipv6, tcp, udp};
use std::net::{IpAddr, SocketAddr};

/// MAC addresses of the two ends.
pub(crate) const CLIENT: [u8; 6] = [2, 0, 0, 0, 0, 1];
pub(crate) const SERVER: [u8; 6] = [2, 0, 0, 0, 0, 2];

/// A frame from `source` to `destination` with `payload` behind IP; checksums of TCP and UDP are
/// filled in.
pub(crate) fn ip(source: IpAddr, destination: IpAddr, protocol: u8, payload: &[u8]) -> Frame {
    let length = u16::try_from(payload.len()).unwrap();
    let mut frame = Frame::with_capacity(2048);
    let v4 = source.is_ipv4();
    frame.resize(14);
    ethernet::Repr {
        destination: SERVER,
        source: CLIENT,
        ethertype: if v4 { 0x0800 } else { 0x86dd },
    }
    .emit(&mut ethernet::Packet::new_checked(frame.bytes_mut()).unwrap());
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            frame.resize(34);
            ipv4::Repr {
                source,
                destination,
                protocol,
                payload_len: length,
                ttl: 64,
                tos: 0,
                ident: 7,
                dont_fragment: true,
            }
            .emit(&mut frame.bytes_mut()[14..]);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            frame.resize(54);
            ipv6::Repr {
                source,
                destination,
                next_header: protocol,
                payload_len: length,
                hop_limit: 64,
                traffic_class: 0,
                flow_label: 0,
            }
            .emit(&mut frame.bytes_mut()[14..]);
        }
        _ => panic!("one family"),
    }
    frame.extend(payload);
    checksum::fill(&mut frame.bytes_mut()[14..]);
    frame.offload.checksum = Checksum::Complete;
    frame
}

/// A UDP datagram.
pub(crate) fn udp(source: &str, destination: &str, payload: &[u8]) -> Frame {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    let mut datagram = vec![0; 8];
    udp::Repr {
        source: source.port(),
        destination: destination.port(),
        payload_len: u16::try_from(payload.len()).unwrap(),
    }
    .emit(&mut datagram);
    datagram.extend(payload);
    ip(source.ip(), destination.ip(), 17, &datagram)
}

/// A TCP segment with sequence number and data.
pub(crate) fn tcp_with(
    source: &str,
    destination: &str,
    flags: u8,
    sequence: u32,
    data: &[u8],
) -> Frame {
    let (source, destination): (SocketAddr, SocketAddr) =
        (source.parse().unwrap(), destination.parse().unwrap());
    let mut segment = vec![0; 20];
    tcp::Repr {
        source: source.port(),
        destination: destination.port(),
        sequence,
        acknowledgment: if flags & tcp::flags::ACK != 0 {
            5000
        } else {
            0
        },
        flags,
        window: 64_000,
    }
    .emit(&mut segment);
    segment.extend(data);
    ip(source.ip(), destination.ip(), 6, &segment)
}

/// A TCP segment without data.
pub(crate) fn tcp(source: &str, destination: &str, flags: u8) -> Frame {
    tcp_with(source, destination, flags, 1000, &[])
}

/// An ICMP echo request (8) or reply (0).
pub(crate) fn echo(source: &str, destination: &str, kind: u8, ident: u16) -> Frame {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(ident.to_be_bytes());
    message.extend([0, 1, b'p', b'i', b'n', b'g']);
    let sum = !checksum::fold(checksum::sum(&message));
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    ip(
        source.parse().unwrap(),
        destination.parse().unwrap(),
        1,
        &message,
    )
}

/// Leaves only the pseudo-header's sum in the UDP checksum, as a sender's kernel does.
pub(crate) fn open_checksum(frame: &mut Frame) {
    let ip = &mut frame.bytes_mut()[14..];
    let length = ip.len() - 20;
    let sum = checksum::fold(checksum::pseudo_header(
        &ip[12..16],
        &ip[16..20],
        17,
        length,
    ));
    ip[26..28].copy_from_slice(&sum.to_be_bytes());
}

/// Asserts that every checksum in the frame is right.
pub(crate) fn assert_sound(frame: &Frame) {
    let ip = &frame.bytes()[14..];
    if ip[0] >> 4 == 4 {
        let packet = ipv4::Packet::new_checked(ip).unwrap();
        assert!(packet.verify_checksum(), "IPv4 header checksum");
        if packet.protocol() == 1 {
            assert_eq!(
                checksum::fold(checksum::sum(packet.payload())),
                0xffff,
                "ICMP checksum"
            );
        }
    }
    assert!(
        matches!(
            checksum::state(ip),
            checksum::State::Complete | checksum::State::NotApplicable
        ),
        "transport checksum"
    );
}
