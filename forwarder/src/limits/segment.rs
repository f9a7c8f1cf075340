//! Cuts super-frames as the kernel's segmentation offload would have: TCP into segments, UDP
//! into the datagrams that were handed over together.

use super::bytes::{get16, get32, put16, put32};
use super::sums;
use crate::frame::{Checksum, Frame, Pool};
use crate::pipeline::{Ip, Packet};
use crate::wire::checksum;
use crate::wire::tcp::flags::{CWR, FIN, PSH, RST, SYN};

/// Where a super-frame's headers are.
#[derive(Clone, Copy)]
struct Cut<'a> {
    frame: &'a [u8],
    l3: usize,
    ip: &'a Ip,
    /// Length of all headers.
    headers: usize,
    /// Payload octets of each piece.
    size: usize,
}

/// Cuts a TCP super-frame into segments whose IP packets are no longer than `mtu` and that carry
/// at most `gso` octets each, if that is known. `None`, with `pieces` possibly begun, when it cannot be done.
pub(crate) fn tcp(
    frame: &[u8],
    packet: &Packet,
    ip: &Ip,
    (mtu, gso): (u16, Option<u16>),
    pool: &mut Pool,
    pieces: &mut Vec<Frame>,
) -> Option<()> {
    let tcp = frame.get(ip.l4..ip.end)?;
    let flags = *tcp.get(13)?;
    let header = usize::from(*tcp.get(12)? >> 4) * 4;
    if ip.protocol != 6 || ip.fragment || flags & (SYN | RST) != 0 || header < 20 {
        return None;
    }
    let headers = ip.l4 + header;
    let room = usize::from(mtu)
        .checked_sub(headers - packet.l2_len)
        .filter(|&room| room > 0)?;
    let size = gso
        .filter(|&gso| gso > 0)
        .map_or(room, |gso| room.min(usize::from(gso)));
    let cut = Cut {
        frame,
        l3: packet.l2_len,
        ip,
        headers,
        size,
    };
    let sequence = get32(tcp, 4)?;
    cut.pieces(pool, pieces, |tcp, offset, first, last| {
        put32(tcp, 4, sequence.wrapping_add(offset))?;
        let mut kept = flags;
        if !first {
            kept &= !CWR;
        }
        if !last {
            kept &= !(FIN | PSH);
        }
        *tcp.get_mut(13)? = kept;
        Some(())
    })
}

/// Cuts a UDP super-frame into datagrams of `gso` octets.
pub(crate) fn udp(
    frame: &[u8],
    packet: &Packet,
    ip: &Ip,
    gso: u16,
    pool: &mut Pool,
    pieces: &mut Vec<Frame>,
) -> Option<()> {
    if ip.protocol != 17 || ip.fragment || gso == 0 {
        return None;
    }
    let headers = ip.l4 + 8;
    let cut = Cut {
        frame,
        l3: packet.l2_len,
        ip,
        headers,
        size: usize::from(gso),
    };
    cut.pieces(pool, pieces, |udp, _, _, _| {
        let length = u16::try_from(udp.len()).ok()?;
        put16(udp, 4, length)
    })
}

impl Cut<'_> {
    /// Makes the pieces; `patch` gets transport header and payload of each, the payload's offset,
    /// and whether it is the first and the last.
    fn pieces(
        self,
        pool: &mut Pool,
        pieces: &mut Vec<Frame>,
        mut patch: impl FnMut(&mut [u8], u32, bool, bool) -> Option<()>,
    ) -> Option<()> {
        let headers = self.frame.get(..self.headers)?;
        let payload = self.frame.get(self.headers..self.ip.end)?;
        let count = payload.len().div_ceil(self.size);
        let identification = get16(headers, self.l3 + 4)?;
        for (number, part) in payload.chunks(self.size).enumerate() {
            let mut piece = pool.take();
            piece.extend(headers);
            piece.extend(part);
            piece.offload.checksum = Checksum::Complete;
            let bytes = piece.bytes_mut();
            let offset = u32::try_from(number * self.size).ok()?;
            patch(
                bytes.get_mut(self.ip.l4..)?,
                offset,
                number == 0,
                number + 1 == count,
            )?;
            if self.ip.v6 {
                let length = u16::try_from(bytes.len() - self.l3 - 40).ok()?;
                put16(bytes, self.l3 + 4, length)?;
            } else {
                put16(
                    bytes,
                    self.l3 + 2,
                    u16::try_from(bytes.len() - self.l3).ok()?,
                )?;
                let step = u16::try_from(number).ok()?;
                put16(bytes, self.l3 + 4, identification.wrapping_add(step))?;
                sums::finish_ipv4(bytes.get_mut(self.l3..self.ip.l4)?)?;
            }
            checksum::fill(bytes.get_mut(self.l3..)?);
            pieces.push(piece);
        }
        Some(())
    }
}
