//! IPv4 (RFC 791).
//!
//! ```text
//!  0               1               2               3
//! +-------+-------+-----------+---+-------------------------------+
//! |Version|  IHL  |   DSCP    |ECN|         Total Length          |
//! +-------+-------+-----------+---+-----+-------------------------+
//! |         Identification        |Flags|    Fragment Offset      |
//! +---------------+---------------+-----+-------------------------+
//! |      TTL      |   Protocol    |        Header Checksum        |
//! +---------------+---------------+-------------------------------+
//! |                         Source Address                        |
//! +---------------------------------------------------------------+
//! |                      Destination Address                      |
//! +---------------------------------------------------------------+
//! |                           Options …                           |
//! ```

use super::field::{put, u16_at, u32_at};
use super::{Error, checksum, illegal, require};
use std::net::Ipv4Addr;

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;

mod at {
    pub(super) const TOS: usize = 1;
    pub(super) const LENGTH: usize = 2;
    pub(super) const IDENT: usize = 4;
    pub(super) const FRAGMENT: usize = 6;
    pub(super) const TTL: usize = 8;
    pub(super) const PROTOCOL: usize = 9;
    pub(super) const CHECKSUM: usize = 10;
    pub(super) const SOURCE: usize = 12;
    pub(super) const DESTINATION: usize = 16;
}

const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET_MASK: u16 = 0x1fff;

/// A checked view. The buffer may be longer than the packet (Ethernet padding).
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks version, header length and total length.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let data = buffer.as_ref();
        require("IPv4", data, HEADER_LEN)?;
        if data[0] >> 4 != 4 {
            return Err(illegal("IPv4", "version", u32::from(data[0] >> 4)));
        }
        let header = usize::from(data[0] & 0x0f) * 4;
        let total = usize::from(u16_at(data, at::LENGTH));
        if header < HEADER_LEN {
            return Err(illegal("IPv4", "header length", u32::from(data[0] & 0x0f)));
        }
        if total < header {
            return Err(illegal(
                "IPv4",
                "total length",
                u32::from(u16_at(data, at::LENGTH)),
            ));
        }
        require("IPv4", data, total)?;
        Ok(Self(buffer))
    }

    /// Octets of the header with its options.
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[0] & 0x0f) * 4
    }

    /// DSCP and ECN.
    pub fn tos(&self) -> u8 {
        self.0.as_ref()[at::TOS]
    }

    /// Octets of the packet.
    pub fn total_len(&self) -> usize {
        usize::from(u16_at(self.0.as_ref(), at::LENGTH))
    }

    /// Identification.
    pub fn ident(&self) -> u16 {
        u16_at(self.0.as_ref(), at::IDENT)
    }

    /// Whether routers must not fragment it.
    pub fn dont_fragment(&self) -> bool {
        u16_at(self.0.as_ref(), at::FRAGMENT) & DONT_FRAGMENT != 0
    }

    /// Whether more fragments follow.
    pub fn more_fragments(&self) -> bool {
        u16_at(self.0.as_ref(), at::FRAGMENT) & MORE_FRAGMENTS != 0
    }

    /// Place of this fragment in octets.
    pub fn fragment_offset(&self) -> usize {
        usize::from(u16_at(self.0.as_ref(), at::FRAGMENT) & OFFSET_MASK) * 8
    }

    /// Whether this is a part of a datagram only.
    pub fn is_fragment(&self) -> bool {
        u16_at(self.0.as_ref(), at::FRAGMENT) & (MORE_FRAGMENTS | OFFSET_MASK) != 0
    }

    /// Time to live.
    pub fn ttl(&self) -> u8 {
        self.0.as_ref()[at::TTL]
    }

    /// Upper protocol.
    pub fn protocol(&self) -> u8 {
        self.0.as_ref()[at::PROTOCOL]
    }

    /// Header checksum.
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), at::CHECKSUM)
    }

    /// Source address.
    pub fn source(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32_at(self.0.as_ref(), at::SOURCE))
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32_at(self.0.as_ref(), at::DESTINATION))
    }

    /// The header with its options.
    pub fn header(&self) -> &[u8] {
        &self.0.as_ref()[..self.header_len()]
    }

    /// What follows the header, without padding.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[self.header_len()..self.total_len()]
    }

    /// Whether the header checksum is right.
    pub fn verify_checksum(&self) -> bool {
        checksum::fold(checksum::sum(self.header())) == 0xffff
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes DSCP and ECN.
    pub fn set_tos(&mut self, tos: u8) {
        self.0.as_mut()[at::TOS] = tos;
    }

    /// Writes the total length. The caller keeps it within the buffer.
    pub fn set_total_len(&mut self, len: u16) {
        put(self.0.as_mut(), at::LENGTH, &len.to_be_bytes());
    }

    /// Writes the identification.
    pub fn set_ident(&mut self, ident: u16) {
        put(self.0.as_mut(), at::IDENT, &ident.to_be_bytes());
    }

    /// Writes flags and offset; `offset` is in octets, a multiple of 8.
    pub fn set_fragment(&mut self, dont: bool, more: bool, offset: usize) {
        let place = u16::try_from(offset / 8).unwrap_or(OFFSET_MASK) & OFFSET_MASK;
        let word =
            place | if dont { DONT_FRAGMENT } else { 0 } | if more { MORE_FRAGMENTS } else { 0 };
        put(self.0.as_mut(), at::FRAGMENT, &word.to_be_bytes());
    }

    /// Writes the time to live.
    pub fn set_ttl(&mut self, ttl: u8) {
        self.0.as_mut()[at::TTL] = ttl;
    }

    /// Writes the source address.
    pub fn set_source(&mut self, address: Ipv4Addr) {
        put(self.0.as_mut(), at::SOURCE, &address.octets());
    }

    /// Writes the destination address.
    pub fn set_destination(&mut self, address: Ipv4Addr) {
        put(self.0.as_mut(), at::DESTINATION, &address.octets());
    }

    /// Writes the header checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        put(self.0.as_mut(), at::CHECKSUM, &checksum.to_be_bytes());
    }

    /// Computes the header checksum.
    pub fn fill_checksum(&mut self) {
        self.set_checksum(0);
        let sum = !checksum::fold(checksum::sum(self.header()));
        self.set_checksum(sum);
    }

    /// What follows the header, without padding.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        let (start, end) = (self.header_len(), self.total_len());
        &mut self.0.as_mut()[start..end]
    }
}

/// The meaning of a header without options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Source address.
    pub source: Ipv4Addr,
    /// Destination address.
    pub destination: Ipv4Addr,
    /// Upper protocol.
    pub protocol: u8,
    /// Octets that follow the header.
    pub payload_len: u16,
    /// Time to live.
    pub ttl: u8,
    /// DSCP and ECN.
    pub tos: u8,
    /// Identification.
    pub ident: u16,
    /// Whether routers must not fragment it.
    pub dont_fragment: bool,
}

impl Repr {
    /// Reads an unfragmented packet; options are skipped.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self, Error> {
        if packet.is_fragment() {
            return Err(illegal(
                "IPv4",
                "fragment offset",
                u32::try_from(packet.fragment_offset()).unwrap_or(u32::MAX),
            ));
        }
        let payload = packet.total_len() - packet.header_len();
        Ok(Self {
            source: packet.source(),
            destination: packet.destination(),
            protocol: packet.protocol(),
            payload_len: u16::try_from(payload).unwrap_or(u16::MAX),
            ttl: packet.ttl(),
            tos: packet.tos(),
            ident: packet.ident(),
            dont_fragment: packet.dont_fragment(),
        })
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header with its checksum into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        let header = &mut buffer[..HEADER_LEN];
        header.fill(0);
        header[0] = 0x45;
        header[at::PROTOCOL] = self.protocol;
        let mut packet = Packet(header);
        packet.set_tos(self.tos);
        packet.set_total_len(self.payload_len.saturating_add(20));
        packet.set_ident(self.ident);
        packet.set_fragment(self.dont_fragment, false, 0);
        packet.set_ttl(self.ttl);
        packet.set_source(self.source);
        packet.set_destination(self.destination);
        packet.fill_checksum();
    }
}
