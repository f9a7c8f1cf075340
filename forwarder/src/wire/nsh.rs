//! Network Service Header (RFC 8300).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---+-+-+-----------+-----------+-------+-------+---------------+
//! |Ver|O|U|    TTL    |   Length  |U|U|U|U|MD Type| Next Protocol |
//! +---+-+-+-----------+-----------+-------+-------+---------------+
//! |          Service Path Identifier (SPI)        | Service Index |
//! +-----------------------------------------------+---------------+
//! |   MD type 1: 16 octets of context; MD type 2: TLVs …          |
//! +---------------------------------------------------------------+
//! ```

pub use super::context::{Context, Contexts};

use super::field::{array_at, put, u24_at};
use super::{Error, illegal, require};
use kc_forwarder_api::{Si, Spi, Ttl};

/// Octets of base header and service path header.
pub const BASE_LEN: usize = 8;

/// Octets of an MD type 1 header. Section 2.2: "The Length MUST be of value 0x6 for MD Type 0x1".
pub const MD1_LEN: usize = 24;

/// Longest header: the length field has 6 bits and counts words of 4 octets.
pub const MAX_LEN: usize = 63 * 4;

const MD_TYPE_1: u8 = 1;
const MD_TYPE_2: u8 = 2;

/// Kinds of metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MdType {
    /// Sixteen octets of context.
    One,
    /// Variable-length context headers.
    Two,
}

/// What NSH carries (section 2.2, IANA "NSH Next Protocol").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextProtocol {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
    /// Ethernet.
    Ethernet,
    /// Another NSH.
    Nsh,
    /// MPLS.
    Mpls,
    /// Something else.
    Other(u8),
}

impl From<u8> for NextProtocol {
    fn from(value: u8) -> Self {
        match value {
            1 => Self::Ipv4,
            2 => Self::Ipv6,
            3 => Self::Ethernet,
            4 => Self::Nsh,
            5 => Self::Mpls,
            other => Self::Other(other),
        }
    }
}

impl From<NextProtocol> for u8 {
    fn from(value: NextProtocol) -> Self {
        match value {
            NextProtocol::Ipv4 => 1,
            NextProtocol::Ipv6 => 2,
            NextProtocol::Ethernet => 3,
            NextProtocol::Nsh => 4,
            NextProtocol::Mpls => 5,
            NextProtocol::Other(other) => other,
        }
    }
}

/// A checked view of a header and what it carries.
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks version, MD type, length, and every variable-length context header.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let data = buffer.as_ref();
        require("NSH", data, BASE_LEN)?;
        // Section 2.2: "If a packet presumed to carry an NSH header is received at an SFF, and the
        // SFF does not understand the version of the protocol as indicated in the base header,
        // the packet MUST be discarded".
        if data[0] >> 6 != 0 {
            return Err(illegal("NSH", "version", u32::from(data[0] >> 6)));
        }
        let length = usize::from(data[1] & 0x3f) * 4;
        match data[2] & 0x0f {
            // Section 2.2: "The Length MUST be of value 0x6 for MD Type 0x1, and it MUST be of value
            // 0x2 or greater for MD Type 0x2."
            MD_TYPE_1 if length != MD1_LEN => {
                Err(illegal("NSH", "length", u32::from(data[1] & 0x3f)))
            }
            MD_TYPE_2 if length < BASE_LEN => {
                Err(illegal("NSH", "length", u32::from(data[1] & 0x3f)))
            }
            MD_TYPE_1 | MD_TYPE_2 => Ok(()),
            // Section 2.2: "Implementations SHOULD silently discard packets with MD Type 0x0", and
            // those "not explicitly configured to be part of an experiment SHOULD silently discard
            // packets with MD Type 0xF."
            other => Err(illegal("NSH", "MD type", u32::from(other))),
        }?;
        require("NSH", data, length)?;
        let packet = Self(buffer);
        if packet.md_type() == MdType::Two {
            let mut contexts = packet.contexts();
            while contexts.next().is_some() {}
            if let Some(rest) = contexts.broken() {
                return Err(illegal(
                    "NSH",
                    "context length",
                    u32::try_from(rest).unwrap_or(u32::MAX),
                ));
            }
        }
        Ok(packet)
    }

    /// The octets behind the view.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// O bit: an OAM packet.
    pub fn oam(&self) -> bool {
        self.0.as_ref()[0] & 0x20 != 0
    }

    /// TTL as it stands; 0 counts as 64 (see the SFF).
    pub fn ttl(&self) -> u8 {
        let data = self.0.as_ref();
        (data[0] & 0x0f) << 2 | data[1] >> 6
    }

    /// Octets of the header, context included.
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[1] & 0x3f) * 4
    }

    /// Kind of metadata.
    pub fn md_type(&self) -> MdType {
        if self.0.as_ref()[2] & 0x0f == MD_TYPE_1 {
            MdType::One
        } else {
            MdType::Two
        }
    }

    /// What is carried.
    pub fn next_protocol(&self) -> NextProtocol {
        self.0.as_ref()[3].into()
    }

    /// Service path.
    pub fn spi(&self) -> Spi {
        Spi::new(u24_at(self.0.as_ref(), 4)).unwrap_or(Spi::MAX)
    }

    /// Service index.
    pub fn si(&self) -> Si {
        Si::new(self.0.as_ref()[7]).unwrap_or(Si::MIN)
    }

    /// MD type 1's sixteen octets.
    pub fn fixed_context(&self) -> Option<[u8; 16]> {
        (self.md_type() == MdType::One).then(|| array_at(self.0.as_ref(), BASE_LEN))
    }

    /// MD type 2's context headers; nothing for MD type 1.
    pub fn contexts(&self) -> Contexts<'_> {
        let end = if self.md_type() == MdType::Two {
            self.header_len()
        } else {
            BASE_LEN
        };
        Contexts::new(&self.0.as_ref()[BASE_LEN..end])
    }

    /// The header, context included.
    pub fn header(&self) -> &[u8] {
        &self.0.as_ref()[..self.header_len()]
    }

    /// What is carried.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[self.header_len()..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes the TTL.
    pub fn set_ttl(&mut self, ttl: Ttl) {
        let data = self.0.as_mut();
        data[0] = data[0] & 0xf0 | ttl.get() >> 2;
        data[1] = data[1] & 0x3f | ttl.get() << 6;
    }

    /// Writes the service path.
    pub fn set_spi(&mut self, spi: Spi) {
        let [_, high, middle, low] = spi.get().to_be_bytes();
        put(self.0.as_mut(), 4, &[high, middle, low]);
    }

    /// Writes the service index.
    pub fn set_si(&mut self, si: Si) {
        self.0.as_mut()[7] = si.get();
    }
}

/// Metadata of a header that is written from nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetadataRepr<'a> {
    /// MD type 1.
    One([u8; 16]),
    /// MD type 2: whole context headers with their padding, a multiple of 4 octets.
    Two(&'a [u8]),
}

/// The header's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr<'a> {
    /// O bit.
    pub oam: bool,
    /// TTL.
    pub ttl: Ttl,
    /// What is carried.
    pub next: NextProtocol,
    /// Service path.
    pub spi: Spi,
    /// Service index.
    pub si: Si,
    /// Context.
    pub metadata: MetadataRepr<'a>,
}

impl<'a> Repr<'a> {
    /// Reads a header.
    pub fn parse<T: AsRef<[u8]> + ?Sized>(packet: &Packet<&'a T>) -> Self {
        let data = packet.0.as_ref();
        let metadata = match packet.fixed_context() {
            Some(context) => MetadataRepr::One(context),
            None => MetadataRepr::Two(&data[BASE_LEN..packet.header_len()]),
        };
        Self {
            oam: packet.oam(),
            ttl: Ttl::new(packet.ttl()).unwrap_or(Ttl::MAX),
            next: packet.next_protocol(),
            spi: packet.spi(),
            si: packet.si(),
            metadata,
        }
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        match self.metadata {
            MetadataRepr::One(_) => MD1_LEN,
            MetadataRepr::Two(contexts) => BASE_LEN + contexts.len(),
        }
    }

    /// Writes the header into the first [`buffer_len`](Self::buffer_len) octets of `buffer`.
    /// Context beyond [`MAX_LEN`] is cut off.
    pub fn emit(&self, buffer: &mut [u8]) {
        let length = self.buffer_len().min(MAX_LEN);
        let words = u8::try_from(length / 4).unwrap_or(0x3f);
        // Section 2.2: "Unassigned bits MUST be set to zero upon origination, and they MUST be
        // ignored and preserved unmodified by other NSH supporting elements."
        buffer[0] = if self.oam { 0x20 } else { 0 } | self.ttl.get() >> 2;
        buffer[1] = self.ttl.get() << 6 | words;
        buffer[2] = match self.metadata {
            MetadataRepr::One(_) => MD_TYPE_1,
            MetadataRepr::Two(_) => MD_TYPE_2,
        };
        buffer[3] = self.next.into();
        put(
            buffer,
            4,
            &(self.spi.get() << 8 | u32::from(self.si.get())).to_be_bytes(),
        );
        match &self.metadata {
            MetadataRepr::One(context) => put(buffer, BASE_LEN, context),
            MetadataRepr::Two(contexts) => put(buffer, BASE_LEN, &contexts[..length - BASE_LEN]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sent by scapy 2.5: MD type 1, SPI 42, SI 255, TTL 63, Ethernet inside.
    const SCAPY_MD1: [u8; 24] = [
        0x0f, 0xc6, 0x01, 0x03, 0x00, 0x00, 0x2a, 0xff, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe,
        0xef, 0xde, 0xad, 0xbe, 0xef, 0xde, 0xad, 0xbe, 0xef,
    ];

    /// Sent by scapy 2.5: MD type 2 with one context header of 5 octets, padded to 8.
    const SCAPY_MD2: [u8; 20] = [
        0x0f, 0xc5, 0x02, 0x03, 0x00, 0x00, 0x09, 0xc8, 0x01, 0x01, 0x05, 0x05, 0x61, 0x62, 0x63,
        0x64, 0x65, 0x00, 0x00, 0x00,
    ];

    #[test]
    fn md_type_1_survives_both_ways() {
        let packet = Packet::new_checked(&SCAPY_MD1).unwrap();
        assert_eq!(
            (packet.spi().get(), packet.si().get(), packet.ttl()),
            (42, 255, 63)
        );
        assert_eq!(packet.next_protocol(), NextProtocol::Ethernet);
        let repr = Repr::parse(&packet);
        let mut out = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut out);
        assert_eq!(out, SCAPY_MD1);
    }

    #[test]
    fn md_type_2_names_its_contexts() {
        let packet = Packet::new_checked(&SCAPY_MD2).unwrap();
        let contexts: Vec<_> = packet.contexts().collect();
        assert_eq!(
            contexts,
            [Context {
                class: 0x0101,
                kind: 5,
                value: b"abcde"
            }]
        );
        let repr = Repr::parse(&packet);
        let mut out = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut out);
        assert_eq!(out, SCAPY_MD2);
    }

    #[test]
    fn what_the_rfc_forbids_is_refused_by_field() {
        let field = |place: usize, value: u8| {
            let mut octets = SCAPY_MD1;
            octets[place] = value;
            match Packet::new_checked(&octets).unwrap_err() {
                Error::Illegal { field, .. } | Error::Truncated { header: field, .. } => field,
            }
        };
        assert_eq!(field(0, 0x4f), "version");
        assert_eq!(field(1, 0xc5), "length");
        assert_eq!(field(2, 0x00), "MD type");
        assert_eq!(field(2, 0x0f), "MD type");
    }

    #[test]
    fn unassigned_bits_are_ignored_and_kept() {
        let mut octets = SCAPY_MD1;
        octets[0] |= 0x10;
        octets[2] |= 0xf0;
        let mut packet = Packet::new_checked(&mut octets[..]).unwrap();
        packet.set_ttl(Ttl::new(1).unwrap());
        packet.set_si(Si::new(254).unwrap());
        assert_eq!(packet.ttl(), 1);
        assert_eq!(packet.header()[0] & 0x10, 0x10);
        assert_eq!(packet.header()[2] & 0xf0, 0xf0);
    }
}
