//! Answers that a function writes in somebody else's name: TCP resets and ICMP "port
//! unreachable".

use super::reading::{Kind, Reading};
use kc_forwarder::frame::{Checksum, Frame};
use kc_forwarder::wire::tcp::flags;
use kc_forwarder::wire::{checksum, icmp, ipv4, ipv6, tcp};
use std::net::IpAddr;

/// A reset to the sender of a TCP segment, in the name of its receiver.
pub(crate) fn reset_back(frame: &Frame, reading: &Reading) -> Option<Frame> {
    let segment = segment(frame, reading)?;
    // RFC 9293 section 3.10.7.1: "If the ACK bit is off, sequence number zero is used,
    // <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>. If the ACK bit is on,
    // <SEQ=SEG.ACK><CTL=RST>".
    let (sequence, acknowledgment, flags) = if segment.flags() & flags::ACK == 0 {
        let phantom = segment.flags() & (flags::SYN | flags::FIN);
        let length = segment.payload().len() + phantom.count_ones() as usize;
        let length = u32::try_from(length).ok()?;
        (
            0,
            segment.sequence().wrapping_add(length),
            flags::RST | flags::ACK,
        )
    } else {
        (segment.acknowledgment(), 0, flags::RST)
    };
    let repr = tcp::Repr {
        source: segment.destination(),
        destination: segment.source(),
        sequence,
        acknowledgment,
        flags,
        window: 0,
    };
    reset(frame, reading, repr, true)
}

/// A reset to the receiver of a TCP segment that is not passed, in the name of its sender.
pub(crate) fn reset_onward(frame: &Frame, reading: &Reading) -> Option<Frame> {
    let segment = segment(frame, reading)?;
    let repr = tcp::Repr {
        source: segment.source(),
        destination: segment.destination(),
        sequence: segment.sequence(),
        acknowledgment: segment.acknowledgment(),
        flags: flags::RST | segment.flags() & flags::ACK,
        window: 0,
    };
    reset(frame, reading, repr, false)
}

/// The segment in `frame`, unless it is a reset itself, which is never answered.
fn segment<'a>(frame: &'a Frame, reading: &Reading) -> Option<tcp::Packet<&'a [u8]>> {
    if reading.summary.protocol != super::protocol::TCP || reading.kind != Kind::Packet {
        return None;
    }
    let segment = tcp::Packet::new_checked(reading.transport(frame.bytes())).ok()?;
    (segment.flags() & flags::RST == 0).then_some(segment)
}

fn reset(frame: &Frame, reading: &Reading, repr: tcp::Repr, back: bool) -> Option<Frame> {
    let (mut from, mut to) = reading.summary.addresses()?;
    if back {
        (from, to) = (to, from);
    }
    let mut answer = link_header(frame, reading, back)?;
    let l3 = answer.len();
    emit_ip(&mut answer, from, to, super::protocol::TCP, tcp::HEADER_LEN)?;
    let l4 = answer.len();
    answer.resize(l4 + tcp::HEADER_LEN);
    repr.emit(answer.bytes_mut().get_mut(l4..)?);
    checksum::fill(answer.bytes_mut().get_mut(l3..)?);
    Some(answer)
}

/// Ethernet header and tags of an answer.
fn link_header(frame: &Frame, reading: &Reading, back: bool) -> Option<Frame> {
    let bytes = frame.bytes();
    let mut answer = Frame::with_capacity(128);
    if back {
        answer.extend(bytes.get(6..12)?);
        answer.extend(bytes.get(..6)?);
    } else {
        answer.extend(bytes.get(..12)?);
    }
    answer.extend(bytes.get(12..reading.summary.l3)?);
    answer.offload.vlan = frame.offload.vlan;
    answer.offload.checksum = Checksum::Complete;
    Some(answer)
}

fn emit_ip(
    answer: &mut Frame,
    from: IpAddr,
    to: IpAddr,
    protocol: u8,
    payload: usize,
) -> Option<()> {
    let at = answer.len();
    let payload_len = u16::try_from(payload).ok()?;
    match (from, to) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            answer.resize(at + ipv4::HEADER_LEN);
            let header = ipv4::Repr {
                source,
                destination,
                protocol,
                payload_len,
                ttl: 64,
                tos: 0,
                ident: 0,
                dont_fragment: true,
            };
            header.emit(answer.bytes_mut().get_mut(at..)?);
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            answer.resize(at + ipv6::HEADER_LEN);
            let header = ipv6::Repr {
                source,
                destination,
                next_header: protocol,
                payload_len,
                hop_limit: 64,
                traffic_class: 0,
                flow_label: 0,
            };
            header.emit(answer.bytes_mut().get_mut(at..)?);
        }
        _ => return None,
    }
    Some(())
}

/// Whether an ICMP error may answer this packet.
///
/// RFC 1122 section 3.2.2: "An ICMP error message MUST NOT be sent as the result of receiving: an
/// ICMP error message, or a datagram destined to an IP broadcast or IP multicast address, or a
/// datagram sent as a link-layer broadcast, or a non-initial fragment, or a datagram whose source
/// address does not define a single host".
pub(crate) fn may_answer_error(reading: &Reading) -> bool {
    let group_mac = reading.summary.destination_mac[0] & 1 == 1;
    let single = |address: IpAddr| {
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        !(address.is_multicast() || address.is_unspecified() || broadcast)
    };
    reading.kind == Kind::Packet
        && !group_mac
        && single(reading.source())
        && single(reading.destination())
        && !reading.source().is_loopback()
}

/// ICMP "port unreachable" to the sender, in the name of the destination.
pub(crate) fn unreachable(frame: &Frame, reading: &Reading) -> Option<Frame> {
    let original = frame
        .bytes()
        .get(reading.summary.l3..reading.summary.l3_end)?;
    let mut answer = link_header(frame, reading, true)?;
    let at = answer.len();
    match reading.summary.addresses()? {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let error = icmp::ErrorV4 {
                source: to,
                destination: from,
                kind: icmp::kind::UNREACHABLE_V4,
                code: 3,
                mtu: 0,
                original,
            };
            answer.resize(at + error.buffer_len());
            error.emit(answer.bytes_mut().get_mut(at..)?);
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let error = icmp::ErrorV6 {
                source: to,
                destination: from,
                kind: icmp::kind::UNREACHABLE_V6,
                code: 4,
                mtu: 0,
                original,
            };
            answer.resize(at + error.buffer_len());
            error.emit(answer.bytes_mut().get_mut(at..)?);
        }
        _ => return None,
    }
    Some(answer)
}
