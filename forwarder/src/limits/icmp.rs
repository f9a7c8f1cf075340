//! Tells a sender that its packet was too long: ICMP "fragmentation needed" (RFC 792, RFC 1191)
//! and ICMPv6 "packet too big" (RFC 4443 section 3.2). The message comes from the address the
//! packet was meant for, since a bump in the wire has none of its own.

use crate::frame::Frame;
use crate::pipeline::{Ip, Packet};
use crate::wire::{icmp, ipv6};
use std::net::IpAddr;

/// Whether a sender may be told about this packet at all.
pub(crate) fn may_answer(frame: &[u8], packet: &Packet, ip: &Ip) -> bool {
    // RFC 1122 section 3.2.2: "An ICMP error message MUST NOT be sent as the result of receiving:
    // an ICMP error message, or a datagram destined to an IP broadcast or IP multicast address, or
    // a datagram sent as a link-layer broadcast, or a non-initial fragment, or a datagram whose
    // source address does not define a single host".
    let group = packet.is_ethernet && frame.first().is_none_or(|octet| octet & 1 == 1);
    let alone = |address: IpAddr| {
        let everybody = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        !(address.is_multicast() || address.is_unspecified() || everybody)
    };
    if !ip.first || !alone(ip.source) || ip.source.is_loopback() {
        return false;
    }
    let kind = frame.get(ip.l4).copied().unwrap_or(0);
    if ip.v6 {
        // RFC 4443 section 2.4 (e) makes Packet Too Big the exception for groups, but it is sent
        // from the packet's destination here, which then must be an address of one host.
        let is_error = ip.protocol == 58 && (kind < 128 || kind == 137);
        alone(ip.destination) && !group && !is_error
    } else {
        let informational = matches!(kind, 0 | 8 | 9 | 10 | 13..=18);
        alone(ip.destination) && !group && (ip.protocol != 1 || informational)
    }
}

/// Writes into `answer`, an empty frame, that `frame` should have been no longer than `mtu`.
pub(crate) fn too_big(
    frame: &[u8],
    packet: &Packet,
    ip: &Ip,
    mtu: u16,
    answer: &mut Frame,
) -> Option<()> {
    let l3 = packet.l2_len;
    let original = frame.get(l3..ip.end)?;
    if packet.is_ethernet {
        answer.extend(frame.get(6..12)?);
        answer.extend(frame.get(..6)?);
        answer.extend(frame.get(12..l3)?);
    }
    match (ip.source, ip.destination) {
        (IpAddr::V4(destination), IpAddr::V4(source)) => {
            // RFC 792, RFC 1191: unreachable, fragmentation needed.
            let error = icmp::ErrorV4 {
                source,
                destination,
                kind: 3,
                code: 4,
                mtu,
                original,
            };
            answer.resize(l3 + error.buffer_len());
            error.emit(answer.bytes_mut().get_mut(l3..)?);
        }
        (IpAddr::V6(destination), IpAddr::V6(source)) => {
            // RFC 8200 section 5: "IPv6 requires that every link in the Internet have an MTU of 1280
            // octets or greater", and RFC 8201 section 4 has nodes reduce no estimate below that.
            let mtu = usize::from(mtu).max(ipv6::MIN_MTU);
            let (kind, mtu) = (icmp::kind::TOO_BIG_V6, u32::try_from(mtu).ok()?);
            let error = icmp::ErrorV6 {
                source,
                destination,
                kind,
                code: 0,
                mtu,
                original,
            };
            answer.resize(l3 + error.buffer_len());
            error.emit(answer.bytes_mut().get_mut(l3..)?);
        }
        _ => return None,
    }
    Some(())
}
