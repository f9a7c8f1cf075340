//! Makes a damaged packet's checksums right, and its lengths, so that what a fuzzer changes is
//! looked at by more than the code that refuses it.

use kc_forwarder::wire::summary::Summary;
use kc_forwarder::wire::{checksum, ethernet, ipv4, ipv6};

/// Mends what an Ethernet frame carries.
pub(crate) fn frame(frame: &mut [u8], lengths: bool) {
    let l3 = Summary::of(frame, None).l3;
    packet(frame.get_mut(l3..).unwrap_or_default(), lengths);
}

/// Mends an IP packet.
pub(crate) fn packet(ip: &mut [u8], lengths: bool) {
    if lengths {
        mend_lengths(ip);
    }
    checksum::fill(ip);
    let message = match ip.first().map(|first| first >> 4) {
        Some(4) => {
            let Ok(mut packet) = ipv4::Packet::new_checked(&mut *ip) else {
                return;
            };
            packet.fill_checksum();
            (packet.protocol() == 1 && !packet.is_fragment())
                .then(|| (packet.header_len()..packet.total_len(), 0))
        }
        Some(6) => {
            let Ok(packet) = ipv6::Packet::new_checked(&*ip) else {
                return;
            };
            let upper = packet.upper().filter(|upper| upper.protocol == 58);
            upper.map(|upper| {
                let range = upper.offset..packet.total_len();
                let (source, destination) = (packet.source(), packet.destination());
                let (from, to) = (source.octets(), destination.octets());
                let pseudo = checksum::pseudo_header(&from, &to, 58, range.len());
                (range, pseudo)
            })
        }
        _ => None,
    };
    let Some((range, pseudo)) = message else {
        return;
    };
    if let Some([_, _, sum @ ..]) = ip.get_mut(range.clone())
        && sum.len() >= 2
    {
        sum[..2].fill(0);
        let total = !checksum::fold(pseudo + checksum::sum(&ip[range.clone()]));
        ip[range.start + 2..range.start + 4].copy_from_slice(&total.to_be_bytes());
    }
}

fn mend_lengths(ip: &mut [u8]) {
    let Ok(length) = u16::try_from(ip.len()) else {
        return;
    };
    let (start, protocol) = match ip.first().map(|first| first >> 4) {
        Some(4) if ip.len() >= ipv4::HEADER_LEN => {
            let start = usize::from(ip[0] & 0xf) * 4;
            ip[2..4].copy_from_slice(&length.to_be_bytes());
            (start, ip[9])
        }
        Some(6) if ip.len() >= ipv6::HEADER_LEN => {
            let payload = length - 40;
            ip[4..6].copy_from_slice(&payload.to_be_bytes());
            (ipv6::HEADER_LEN, ip[6])
        }
        _ => return,
    };
    if protocol == 17
        && let Some(datagram) = ip.get_mut(start..).filter(|it| it.len() >= 8)
    {
        let length = u16::try_from(datagram.len()).unwrap_or(u16::MAX);
        datagram[4..6].copy_from_slice(&length.to_be_bytes());
    }
}

/// Swaps source and destination: of Ethernet, and of IP, TCP and UDP if `all`.
pub(crate) fn turn(frame: &mut [u8], all: bool) {
    let summary = Summary::of(frame, None);
    if frame.len() >= ethernet::HEADER_LEN {
        frame[..12].rotate_left(6);
    }
    let l3 = summary.l3;
    match frame.get(l3).map(|first| first >> 4) {
        Some(4) if all && summary.is_ipv4() => frame[l3 + 12..l3 + 20].rotate_left(4),
        Some(6) if all && summary.is_ipv6() => frame[l3 + 8..l3 + 40].rotate_left(16),
        _ => return,
    }
    if let (6 | 17, Some(l4)) = (summary.protocol, summary.l4)
        && let Some(ports) = frame.get_mut(l4..l4 + 4)
    {
        ports.rotate_left(2);
    }
}
