//! IPv4 fragmentation. RFC 791 section 3.2.

use super::bytes::{get16, put16};
use super::sums;
use crate::frame::{Frame, Pool};
use crate::pipeline::{Ip, Packet};

const MORE: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Cuts `frame` into pieces whose IP packets are no longer than `mtu` and appends them to
/// `pieces`. `None`, with `pieces` as before, when it cannot be done.
pub(crate) fn fragment(
    frame: &[u8],
    packet: &Packet,
    ip: &Ip,
    mtu: u16,
    pool: &mut Pool,
    pieces: &mut Vec<Frame>,
) -> Option<()> {
    let l3 = packet.l2_len;
    let header = frame.get(l3..ip.l4)?;
    let payload = frame.get(ip.l4..ip.end)?;
    let field = get16(header, 6)?;
    let room = usize::from(mtu).checked_sub(header.len())? & !7;
    if room == 0 || header.len() < 20 {
        return None;
    }
    let l2 = frame.get(..l3)?;
    let count = payload.len().div_ceil(room);
    for (number, part) in payload.chunks(room).enumerate() {
        let last = number + 1 == count;
        let mut piece = pool.take();
        piece.extend(l2);
        if number == 0 {
            piece.extend(header);
        } else {
            copied_options(header, &mut piece)?;
        }
        let header_len = piece.len() - l3;
        piece.extend(part);
        let total = u16::try_from(header_len + part.len()).ok()?;
        // Offsets count in units of eight octets. What follows a fragment that was not the last
        // is more of the same datagram.
        let offset = (field & OFFSET) + u16::try_from(number * room / 8).ok()?;
        let more = if last { field & MORE } else { MORE };
        let ipv4 = piece.bytes_mut().get_mut(l3..l3 + header_len)?;
        *ipv4.first_mut()? = 0x40 | u8::try_from(header_len / 4).ok()?;
        put16(ipv4, 2, total)?;
        put16(ipv4, 6, more | (offset & OFFSET))?;
        sums::finish_ipv4(ipv4)?;
        pieces.push(piece);
    }
    Some(())
}

/// Appends the fixed header and those options that later fragments carry. RFC 791 section 3.1:
/// "The copied flag indicates that this option is copied into all fragments on fragmentation."
fn copied_options(header: &[u8], piece: &mut Frame) -> Option<()> {
    let start = piece.len();
    piece.extend(header.get(..20)?);
    let mut options = header.get(20..)?;
    while let Some(&kind) = options.first() {
        let length = match kind {
            0 => break,
            1 => 1,
            _ => usize::from(*options.get(1)?).max(2),
        };
        let option = options.get(..length)?;
        if kind & 0x80 != 0 {
            piece.extend(option);
        }
        options = options.get(length..)?;
    }
    while !(piece.len() - start).is_multiple_of(4) {
        piece.extend(&[0]);
    }
    Some(())
}
