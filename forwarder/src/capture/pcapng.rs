//! pcapng blocks (draft-ietf-opsawg-pcapng sections 4 and 3.5), little-endian, one section. Writes
//! only, into a growing buffer; knows nothing of who reads.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---------------------------------------------------------------+
//! |                          Block Type                           |
//! |                      Block Total Length                       |
//! /                          Block Body                           /
//! /              variable length, padded to 32 bits               /
//! |                      Block Total Length                       |
//! +---------------------------------------------------------------+
//!
//! Body of an Enhanced Packet Block, and an option behind it:
//! |                         Interface ID                          |
//! |                 Timestamp, upper 32 bits                      |
//! |                 Timestamp, lower 32 bits                      |
//! |                    Captured Packet Length                     |
//! |                    Original Packet Length                     |
//! /            Packet Data, padded to 32 bits                     /
//! |          Option Code          |         Option Length         |
//! /            Option Value, padded to 32 bits                    /
//! ```

/// Block type of a section header: the same in either byte order.
pub const SECTION: u32 = 0x0a0d_0d0a;
/// Block type of an interface description.
pub const INTERFACE: u32 = 1;
/// Block type of interface statistics.
pub const STATISTICS: u32 = 5;
/// Block type of an enhanced packet.
pub const PACKET: u32 = 6;

/// Option of any block: a comment.
const COMMENT: u16 = 1;
/// Section: the application that writes.
const SECTION_APPLICATION: u16 = 4;
/// Interface: its name.
const INTERFACE_NAME: u16 = 2;
/// Interface: its description.
const INTERFACE_DESCRIPTION: u16 = 3;
/// Interface: resolution of timestamps.
const INTERFACE_RESOLUTION: u16 = 9;
/// Packet: direction among others.
const PACKET_FLAGS: u16 = 2;
/// Packet: how many were lost since the one before on the same interface.
const PACKET_DROPS: u16 = 4;
/// Statistics: when the capture began.
const STATISTICS_START: u16 = 2;
/// Statistics: when it ended.
const STATISTICS_END: u16 = 3;
/// Statistics: packets that were there to be captured.
pub(super) const STATISTICS_RECEIVED: u16 = 4;
/// Statistics: packets lost for want of room.
pub(super) const STATISTICS_DROPPED: u16 = 5;

/// LINKTYPE_ETHERNET.
const ETHERNET: u16 = 1;

/// Longest option value: two octets hold the length, and the padded value stays below.
const LONGEST: usize = 0xfffc;

/// Which way a packet went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// Nothing is said.
    Unknown,
    /// Into the forwarder.
    Inbound,
    /// Out of the forwarder.
    Outbound,
}

impl Way {
    /// Bits 0 and 1 of `epb_flags`.
    const fn flags(self) -> u32 {
        match self {
            Self::Unknown => 0,
            Self::Inbound => 1,
            Self::Outbound => 2,
        }
    }
}

/// An enhanced packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    /// Number of its interface, in order of description.
    pub interface: u32,
    /// Nanoseconds since 1970.
    pub at_ns: u64,
    /// Its octets, as far as they were kept.
    pub octets: &'a [u8],
    /// Its length before it was cut.
    pub length: u32,
    /// Which way it went.
    pub way: Way,
    /// Packets lost on its interface since the one before.
    pub lost: u64,
    /// What is to be said of it.
    pub comment: &'a str,
}

/// Statistics of one interface, at the end.
#[derive(Debug, Clone, Copy)]
pub struct Statistics<'a> {
    /// Its number.
    pub interface: u32,
    /// When the capture began, in nanoseconds since 1970.
    pub start_ns: u64,
    /// When it ended.
    pub end_ns: u64,
    /// Packets that were there to be captured, lost ones included.
    pub received: u64,
    /// Lost ones.
    pub dropped: u64,
    /// What is to be said, unless empty.
    pub comment: &'a str,
}

/// Begins a section.
pub fn section(out: &mut Vec<u8>, application: &str) {
    block(out, SECTION, |out| {
        word(out, 0x1a2b_3c4d);
        half(out, 1);
        half(out, 0);
        // Length of the section: not known.
        out.extend_from_slice(&u64::MAX.to_le_bytes());
        option(out, SECTION_APPLICATION, application.as_bytes());
        end_of_options(out);
    });
}

/// Describes an Ethernet interface, whose packets have at most `snaplen` octets.
pub fn interface(out: &mut Vec<u8>, name: &str, description: &str, snaplen: u32) {
    block(out, INTERFACE, |out| {
        half(out, ETHERNET);
        half(out, 0);
        word(out, snaplen);
        option(out, INTERFACE_NAME, name.as_bytes());
        option(out, INTERFACE_DESCRIPTION, description.as_bytes());
        // 10^-9 seconds.
        option(out, INTERFACE_RESOLUTION, &[9]);
        end_of_options(out);
    });
}

/// Appends a packet.
pub fn packet(out: &mut Vec<u8>, packet: &Packet<'_>) {
    block(out, PACKET, |out| {
        word(out, packet.interface);
        time(out, packet.at_ns);
        word(out, u32::try_from(packet.octets.len()).unwrap_or(u32::MAX));
        word(out, packet.length);
        out.extend_from_slice(packet.octets);
        pad(out, packet.octets.len());
        option(out, COMMENT, packet.comment.as_bytes());
        if packet.way != Way::Unknown {
            option(out, PACKET_FLAGS, &packet.way.flags().to_le_bytes());
        }
        if packet.lost > 0 {
            option(out, PACKET_DROPS, &packet.lost.to_le_bytes());
        }
        end_of_options(out);
    });
}

/// Appends the statistics of an interface.
pub fn statistics(out: &mut Vec<u8>, statistics: &Statistics<'_>) {
    block(out, STATISTICS, |out| {
        word(out, statistics.interface);
        time(out, statistics.end_ns);
        if !statistics.comment.is_empty() {
            option(out, COMMENT, statistics.comment.as_bytes());
        }
        for (code, at_ns) in [
            (STATISTICS_START, statistics.start_ns),
            (STATISTICS_END, statistics.end_ns),
        ] {
            half(out, code);
            half(out, 8);
            time(out, at_ns);
        }
        for (code, count) in [
            (STATISTICS_RECEIVED, statistics.received),
            (STATISTICS_DROPPED, statistics.dropped),
        ] {
            option(out, code, &count.to_le_bytes());
        }
        end_of_options(out);
    });
}

fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    word(out, kind);
    word(out, 0);
    body(out);
    let length = u32::try_from(out.len() - start + 4).unwrap_or(u32::MAX);
    word(out, length);
    if let Some(place) = out.get_mut(start + 4..start + 8) {
        place.copy_from_slice(&length.to_le_bytes());
    }
}

fn option(out: &mut Vec<u8>, code: u16, value: &[u8]) {
    let value = value.get(..LONGEST).unwrap_or(value);
    half(out, code);
    half(out, u16::try_from(value.len()).unwrap_or(u16::MAX));
    out.extend_from_slice(value);
    pad(out, value.len());
}

fn end_of_options(out: &mut Vec<u8>) {
    word(out, 0);
}

fn time(out: &mut Vec<u8>, at_ns: u64) {
    // The upper half first, each half in the section's byte order.
    word(out, u32::try_from(at_ns >> 32).unwrap_or(u32::MAX));
    word(out, u32::try_from(at_ns & 0xffff_ffff).unwrap_or(u32::MAX));
}

fn word(out: &mut Vec<u8>, value: u32) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn half(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

fn pad(out: &mut Vec<u8>, length: usize) {
    out.resize(out.len() + length.next_multiple_of(4) - length, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_header_has_the_octets_of_the_draft() {
        let mut out = Vec::new();
        section(&mut out, "kc 1");
        let golden: &[u8] = &[
            0x0a, 0x0d, 0x0d, 0x0a, 40, 0, 0, 0, // type, total length
            0x4d, 0x3c, 0x2b, 0x1a, 1, 0, 0, 0, // byte order, version 1.0
            0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, // section length not known
            4, 0, 4, 0, b'k', b'c', b' ', b'1', // shb_userappl
            0, 0, 0, 0, 40, 0, 0, 0, // end of options, total length
        ];
        assert_eq!(out, golden);
    }

    #[test]
    fn an_interface_has_name_description_and_nanoseconds() {
        let mut out = Vec::new();
        interface(&mut out, "c0", "x", 96);
        let golden: &[u8] = &[
            1, 0, 0, 0, 48, 0, 0, 0, 1, 0, 0, 0, 96, 0, 0, 0, // Ethernet, snaplen
            2, 0, 2, 0, b'c', b'0', 0, 0, 3, 0, 1, 0, b'x', 0, 0, 0, // name, description
            9, 0, 1, 0, 9, 0, 0, 0, 0, 0, 0, 0, 48, 0, 0, 0, // 10^-9 s
        ];
        assert_eq!(out, golden);
    }

    #[test]
    fn a_packet_is_padded_and_says_what_it_must() {
        let mut out = Vec::new();
        let shown = Packet {
            interface: 3,
            at_ns: 0x1_0000_0002,
            octets: &[0xaa, 0xaa, 0xaa, 0xbb, 0xbb],
            length: 99,
            way: Way::Outbound,
            lost: 7,
            comment: "drop",
        };
        packet(&mut out, &shown);
        let golden: &[u8] = &[
            6, 0, 0, 0, 72, 0, 0, 0, 3, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, // time: upper first
            5, 0, 0, 0, 99, 0, 0, 0, 0xaa, 0xaa, 0xaa, 0xbb, 0xbb, 0, 0, 0, // octets
            1, 0, 4, 0, b'd', b'r', b'o', b'p', 2, 0, 4, 0, 2, 0, 0, 0, // comment, outbound
            4, 0, 8, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 72, 0, 0, 0, // lost
        ];
        assert_eq!(out, golden);
    }

    #[test]
    fn statistics_name_received_and_dropped() {
        let mut out = Vec::new();
        let shown = Statistics {
            interface: 1,
            start_ns: 5,
            end_ns: 6,
            received: 9,
            dropped: 2,
            comment: "",
        };
        statistics(&mut out, &shown);
        let golden: &[u8] = &[
            5, 0, 0, 0, 76, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 6, 0, 0, 0, //
            2, 0, 8, 0, 0, 0, 0, 0, 5, 0, 0, 0, 3, 0, 8, 0, 0, 0, 0, 0, 6, 0, 0, 0, //
            4, 0, 8, 0, 9, 0, 0, 0, 0, 0, 0, 0, 5, 0, 8, 0, 2, 0, 0, 0, 0, 0, 0, 0, //
            0, 0, 0, 0, 76, 0, 0, 0,
        ];
        assert_eq!(out, golden);
    }
}
