//! Super-frames: a veth peer with offloads on hands over up to 64 KiB at once. They are cut into
//! what the wire would have carried, so that functions see ordinary packets and every leg takes
//! them.

use kc_forwarder::frame::{Checksum, Frame, GsoKind, Pool};
use kc_forwarder::wire::summary::Summary;
use kc_forwarder::wire::tcp::flags;
use kc_forwarder::wire::{checksum, ipv4, tcp, udp};

/// Where a super-frame's headers are, and how long its pieces get.
#[derive(Debug, Clone, Copy)]
struct Plan {
    l3: usize,
    l4: usize,
    /// Octets of all headers.
    headers: usize,
    end: usize,
    v4: bool,
    tcp: bool,
    /// Payload octets of each piece.
    size: usize,
}

/// Cuts `frame` if it is a super-frame, or TCP and its IP packet longer than `mtu`; otherwise it
/// comes back alone.
///
/// # Errors
/// The frame itself, when it is a super-frame that cannot be cut.
pub(super) fn segment(frame: Frame, mtu: usize, pool: &mut Pool) -> Result<Vec<Frame>, Frame> {
    let gso = frame.offload.gso;
    if gso.is_none() && frame.len() <= mtu {
        return Ok(vec![frame]);
    }
    let summary = Summary::of(frame.bytes(), frame.offload.vlan);
    if gso.is_none() && (summary.l3_len() <= mtu || summary.protocol != 6) {
        return Ok(vec![frame]);
    }
    let size = gso
        .map(|gso| usize::from(gso.size))
        .filter(|&size| size > 0);
    let plan = match (gso.map(|gso| gso.kind), summary.protocol) {
        (None | Some(GsoKind::Tcp), 6) => plan_tcp(frame.bytes(), &summary, size, mtu),
        (Some(GsoKind::Udp), 17) => plan_udp(&summary, size),
        _ => None,
    };
    match plan.and_then(|plan| cut(frame.bytes(), &plan, pool)) {
        Some(mut pieces) => {
            for piece in &mut pieces {
                piece.offload.vlan = frame.offload.vlan;
                piece.offload.checksum = Checksum::Complete;
            }
            pool.give(frame);
            Ok(pieces)
        }
        None => Err(frame),
    }
}

fn plan_tcp(frame: &[u8], summary: &Summary, size: Option<usize>, mtu: usize) -> Option<Plan> {
    let (l3, l4) = (summary.l3, summary.l4?);
    let segment = tcp::Packet::new_checked(frame.get(l4..summary.l3_end)?).ok()?;
    if summary.fragment || segment.flags() & (flags::SYN | flags::RST) != 0 {
        return None;
    }
    let headers = l4 + segment.header_len();
    let room = mtu.checked_sub(headers - l3).filter(|&room| room > 0)?;
    Some(Plan {
        l3,
        l4,
        headers,
        end: summary.l3_end,
        v4: summary.is_ipv4(),
        tcp: true,
        size: size.map_or(room, |size| size.min(room)),
    })
}

fn plan_udp(summary: &Summary, size: Option<usize>) -> Option<Plan> {
    let l4 = summary.l4?;
    Some(Plan {
        l3: summary.l3,
        l4,
        headers: l4 + udp::HEADER_LEN,
        end: summary.l3_end,
        v4: summary.is_ipv4(),
        tcp: false,
        size: size?,
    })
}

fn cut(frame: &[u8], plan: &Plan, pool: &mut Pool) -> Option<Vec<Frame>> {
    let headers = frame.get(..plan.headers)?;
    let payload = frame.get(plan.headers..plan.end)?;
    let count = payload.len().div_ceil(plan.size);
    let mut pieces = Vec::with_capacity(count);
    for (number, part) in payload.chunks(plan.size).enumerate() {
        let mut piece = pool.take();
        piece.extend(headers);
        piece.extend(part);
        let ip = piece.bytes_mut().get_mut(plan.l3..)?;
        patch_transport(
            ip.get_mut(plan.l4 - plan.l3..)?,
            plan,
            number,
            number + 1 == count,
        )?;
        patch_ip(ip, plan, number)?;
        checksum::fill(ip);
        pieces.push(piece);
    }
    Some(pieces)
}

fn patch_transport(data: &mut [u8], plan: &Plan, number: usize, last: bool) -> Option<()> {
    if plan.tcp {
        let mut segment = tcp::Packet::new_checked(data).ok()?;
        let offset = u32::try_from(number * plan.size).ok()?;
        segment.set_sequence(segment.sequence().wrapping_add(offset));
        // RFC 3168 section 6.1.2: CWR is said once; FIN and PSH belong to the last octet.
        let once = if number > 0 { flags::CWR } else { 0 };
        let at_end = if last { 0 } else { flags::FIN | flags::PSH };
        segment.set_flags(segment.flags() & !once & !at_end);
    } else {
        let length = u16::try_from(data.len()).ok()?;
        data.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
    }
    Some(())
}

fn patch_ip(ip: &mut [u8], plan: &Plan, number: usize) -> Option<()> {
    let length = u16::try_from(ip.len()).ok()?;
    if !plan.v4 {
        let length = length.checked_sub(40)?;
        ip.get_mut(4..6)?.copy_from_slice(&length.to_be_bytes());
        return Some(());
    }
    // Written before the check, which refuses the length of the whole.
    ip.get_mut(2..4)?.copy_from_slice(&length.to_be_bytes());
    let mut header = ipv4::Packet::new_checked(ip).ok()?;
    header.set_ident(header.ident().wrapping_add(u16::try_from(number).ok()?));
    header.fill_checksum();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{tcp_with, udp};
    use kc_forwarder::frame::Gso;
    use kc_forwarder::wire::checksum::{State, state};

    fn super_frame(kind: GsoKind, size: u16, mut frame: Frame) -> Frame {
        frame.offload.gso = Some(Gso { size, kind });
        frame
    }

    #[test]
    fn a_tcp_super_frame_becomes_segments_in_order() {
        let data: Vec<u8> = (0..4000_u32).map(|n| n.to_le_bytes()[0]).collect();
        let flags = flags::ACK | flags::PSH;
        let whole = tcp_with("10.0.0.1:1000", "10.0.0.2:80", flags, 7000, &data);
        let whole = super_frame(GsoKind::Tcp, 1448, whole);
        let pieces = segment(whole, 1500, &mut Pool::default()).unwrap();
        assert_eq!(pieces.len(), 3);
        let mut joined: Vec<u8> = Vec::new();
        for (number, piece) in pieces.iter().enumerate() {
            let ip = &piece.bytes()[14..];
            assert_eq!(state(ip), State::Complete);
            assert!(ipv4::Packet::new_checked(ip).unwrap().verify_checksum());
            let segment = tcp::Packet::new_checked(&ip[20..]).unwrap();
            assert_eq!(
                segment.sequence(),
                7000 + u32::try_from(joined.len()).unwrap()
            );
            assert_eq!(segment.flags() & flags::PSH != 0, number == 2);
            joined.extend(segment.payload());
        }
        assert_eq!(joined, data);
    }

    #[test]
    fn udp_is_cut_where_its_sender_joined_it() {
        let whole = super_frame(
            GsoKind::Udp,
            100,
            udp("10.0.0.1:1", "10.0.0.2:2", &[7; 250]),
        );
        let pieces = segment(whole, 1500, &mut Pool::default()).unwrap();
        let lengths: Vec<usize> = pieces.iter().map(|piece| piece.len() - 42).collect();
        assert_eq!(lengths, [100, 100, 50]);
        assert!(
            pieces
                .iter()
                .all(|piece| state(&piece.bytes()[14..]) == State::Complete)
        );
    }

    #[test]
    fn an_ordinary_frame_comes_back_as_it_was() {
        let frame = udp("10.0.0.1:1", "10.0.0.2:2", &[7; 1472]);
        let before = frame.bytes().to_vec();
        let pieces = segment(frame, 1500, &mut Pool::default()).unwrap();
        assert_eq!(pieces.len(), 1);
        assert_eq!(pieces[0].bytes(), before);
    }

    #[test]
    fn what_cannot_be_cut_is_handed_back() {
        let frame = super_frame(GsoKind::Other, 100, udp("10.0.0.1:1", "10.0.0.2:2", b"x"));
        assert!(segment(frame, 1500, &mut Pool::default()).is_err());
    }
}
