//! `struct virtio_net_hdr`, which PACKET_VNET_HDR puts in front of every frame, in both
//! directions, and VLAN tags that travel beside the frame instead of in it.
//!
//! ```text
//! flags:8 | gso_type:8 | hdr_len:16 | gso_size:16 | csum_start:16 | csum_offset:16
//! ```
//! All fields are in the machine's byte order.

use crate::frame::{Checksum, Frame, Gso, GsoKind, Offload};

/// Octets of the header.
pub(super) const VNET_HEADER: usize = 10;

/// A header that says: this frame is finished.
pub(super) const FINISHED: [u8; VNET_HEADER] = [0; VNET_HEADER];

/// VIRTIO_NET_HDR_F_NEEDS_CSUM.
const NEEDS_CHECKSUM: u8 = 1;

/// EtherType of a VLAN tag (IEEE 802.1Q).
const CUSTOMER_TAG: u16 = 0x8100;

/// Reads what the kernel says about the frame behind `header`.
pub(super) fn parse(header: &[u8; VNET_HEADER]) -> Offload {
    let [
        flags,
        gso_type,
        _,
        _,
        size_0,
        size_1,
        start_0,
        start_1,
        offset_0,
        offset_1,
    ] = *header;
    let checksum = if flags & NEEDS_CHECKSUM != 0 {
        Checksum::Partial {
            start: u16::from_ne_bytes([start_0, start_1]),
            offset: u16::from_ne_bytes([offset_0, offset_1]),
        }
    } else {
        Checksum::Complete
    };
    // The highest bit only says that CWR is set in the first segment (RFC 3168).
    let kind = match gso_type & 0x7f {
        0 => None,
        1 | 4 => Some(GsoKind::Tcp),
        5 => Some(GsoKind::Udp),
        _ => Some(GsoKind::Other),
    };
    let size = u16::from_ne_bytes([size_0, size_1]);
    Offload {
        vlan: None,
        checksum,
        gso: kind.map(|kind| Gso { size, kind }),
        outer_class: 0,
    }
}

/// A frame that nobody may forward, for the pipeline to count: the kernel could not describe it,
/// or it was longer than any buffer.
pub(super) fn refused(mut frame: Frame) -> Frame {
    frame.offload.gso = Some(Gso {
        size: 0,
        kind: GsoKind::Other,
    });
    frame
}

/// Notes a tag that the kernel took out: a customer tag goes beside the frame, any other kind
/// back into it, since only the former has a place there.
pub(super) fn note_tag(frame: &mut Frame, tpid: u16, tci: u16) {
    if tpid == CUSTOMER_TAG {
        frame.offload.vlan = Some(tci);
        return;
    }
    if insert_tag(frame, tpid, tci)
        && let Checksum::Partial { start, .. } = &mut frame.offload.checksum
    {
        *start = start.saturating_add(4);
    }
}

/// Writes a tag that travels beside the frame into it.
pub(super) fn write_tag(frame: &mut Frame) {
    if let Some(tci) = frame.offload.vlan.take() {
        insert_tag(frame, CUSTOMER_TAG, tci);
    }
}

/// Inserts a tag behind the addresses; a frame without room for addresses stays as it is.
fn insert_tag(frame: &mut Frame, tpid: u16, tci: u16) -> bool {
    if frame.len() < 12 {
        return false;
    }
    frame.push(4);
    let bytes = frame.bytes_mut();
    bytes.copy_within(4..16, 0);
    if let Some(tag) = bytes.get_mut(12..16) {
        tag[..2].copy_from_slice(&tpid.to_be_bytes());
        tag[2..].copy_from_slice(&tci.to_be_bytes());
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(flags: u8, gso_type: u8, size: u16, start: u16, offset: u16) -> [u8; VNET_HEADER] {
        let mut header = [0; VNET_HEADER];
        header[0] = flags;
        header[1] = gso_type;
        header[4..6].copy_from_slice(&size.to_ne_bytes());
        header[6..8].copy_from_slice(&start.to_ne_bytes());
        header[8..10].copy_from_slice(&offset.to_ne_bytes());
        header
    }

    #[test]
    fn an_open_checksum_and_a_super_frame_are_told() {
        let offload = parse(&header(1, 0x81, 1448, 34, 16));
        assert_eq!(
            offload.checksum,
            Checksum::Partial {
                start: 34,
                offset: 16
            }
        );
        assert_eq!(
            offload.gso,
            Some(Gso {
                size: 1448,
                kind: GsoKind::Tcp
            })
        );
    }

    #[test]
    fn a_zero_header_is_a_finished_frame() {
        let offload = parse(&FINISHED);
        assert_eq!((offload.checksum, offload.gso), (Checksum::Complete, None));
    }

    #[test]
    fn a_tag_beside_the_frame_is_written_behind_the_addresses() {
        let mut frame = Frame::copy_of(b"ddddddssssss\x08\x00rest");
        note_tag(&mut frame, 0x8100, 0x6007);
        assert_eq!(frame.offload.vlan, Some(0x6007));
        write_tag(&mut frame);
        assert_eq!(frame.bytes(), b"ddddddssssss\x81\x00\x60\x07\x08\x00rest");
        assert_eq!(frame.offload.vlan, None);
    }

    #[test]
    fn a_service_tag_goes_back_into_the_frame_and_moves_the_checksum() {
        let mut frame = Frame::copy_of(b"ddddddssssss\x08\x00rest");
        frame.offload.checksum = Checksum::Partial {
            start: 34,
            offset: 6,
        };
        note_tag(&mut frame, 0x88a8, 5);
        assert_eq!(frame.bytes(), b"ddddddssssss\x88\xa8\x00\x05\x08\x00rest");
        assert_eq!(
            frame.offload.checksum,
            Checksum::Partial {
                start: 38,
                offset: 6
            }
        );
    }

    #[test]
    fn a_runt_gets_no_tag() {
        let mut frame = Frame::copy_of(b"short");
        frame.offload.vlan = Some(7);
        write_tag(&mut frame);
        assert_eq!(frame.bytes(), b"short");
    }
}
