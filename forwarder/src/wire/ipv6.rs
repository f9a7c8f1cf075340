//! IPv6 (RFC 8200) and the walk over its extension headers.
//!
//! ```text
//! +-------+---------------+---------------------------------------+
//! |Version| Traffic Class |           Flow Label                  |
//! +-------+---------------+-------+---------------+---------------+
//! |         Payload Length        |  Next Header  |   Hop Limit   |
//! +-------------------------------+---------------+---------------+
//! |                    Source Address, 16 octets                  |
//! +---------------------------------------------------------------+
//! |                 Destination Address, 16 octets                |
//! +---------------------------------------------------------------+
//! ```

use super::field::{array_at, put, u16_at, u32_at};
use super::{Error, illegal, require};
use std::net::Ipv6Addr;

/// Octets of the fixed header.
pub const HEADER_LEN: usize = 40;

/// RFC 8200 section 5: the least MTU of a link.
pub const MIN_MTU: usize = 1280;

/// More extension headers than this end the walk.
const MAX_EXTENSIONS: usize = 8;

mod at {
    pub(super) const LENGTH: usize = 4;
    pub(super) const NEXT: usize = 6;
    pub(super) const HOP_LIMIT: usize = 7;
    pub(super) const SOURCE: usize = 8;
    pub(super) const DESTINATION: usize = 24;
}

mod extension {
    pub(super) const HOP_BY_HOP: u8 = 0;
    pub(super) const ROUTING: u8 = 43;
    pub(super) const FRAGMENT: u8 = 44;
    pub(super) const AUTHENTICATION: u8 = 51;
    pub(super) const DESTINATION: u8 = 60;
}

/// Where the upper protocol starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Upper {
    /// Upper protocol.
    pub protocol: u8,
    /// Its offset from the start of the packet.
    pub offset: usize,
    /// Whether this is a part of a datagram only.
    pub fragment: bool,
    /// Whether the upper header is here: false in every fragment but the first.
    pub first: bool,
    /// What fragments of one datagram share; zero where there is no fragment header.
    pub identification: u32,
}

/// A checked view. The buffer may be longer than the packet.
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks version and payload length.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let data = buffer.as_ref();
        require("IPv6", data, HEADER_LEN)?;
        if data[0] >> 4 != 6 {
            return Err(illegal("IPv6", "version", u32::from(data[0] >> 4)));
        }
        require(
            "IPv6",
            data,
            HEADER_LEN + usize::from(u16_at(data, at::LENGTH)),
        )?;
        Ok(Self(buffer))
    }

    /// DSCP and ECN.
    pub fn traffic_class(&self) -> u8 {
        let [class, ..] = (u32_at(self.0.as_ref(), 0) << 4).to_be_bytes();
        class
    }

    /// Flow label.
    pub fn flow_label(&self) -> u32 {
        u32_at(self.0.as_ref(), 0) & 0x000f_ffff
    }

    /// Octets after the fixed header.
    pub fn payload_len(&self) -> usize {
        usize::from(u16_at(self.0.as_ref(), at::LENGTH))
    }

    /// Octets of the packet.
    pub fn total_len(&self) -> usize {
        HEADER_LEN + self.payload_len()
    }

    /// First next header.
    pub fn next_header(&self) -> u8 {
        self.0.as_ref()[at::NEXT]
    }

    /// Hop limit.
    pub fn hop_limit(&self) -> u8 {
        self.0.as_ref()[at::HOP_LIMIT]
    }

    /// Source address.
    pub fn source(&self) -> Ipv6Addr {
        Ipv6Addr::from(array_at::<16>(self.0.as_ref(), at::SOURCE))
    }

    /// Destination address.
    pub fn destination(&self) -> Ipv6Addr {
        Ipv6Addr::from(array_at::<16>(self.0.as_ref(), at::DESTINATION))
    }

    /// What follows the fixed header, without padding.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..self.total_len()]
    }

    /// Walks the extension headers; `None` when they leave the packet or never end.
    pub fn upper(&self) -> Option<Upper> {
        let data = &self.0.as_ref()[..self.total_len()];
        let mut upper = Upper {
            protocol: self.next_header(),
            offset: HEADER_LEN,
            fragment: false,
            first: true,
            identification: 0,
        };
        for _ in 0..=MAX_EXTENSIONS {
            let length = match upper.protocol {
                extension::HOP_BY_HOP | extension::ROUTING | extension::DESTINATION => {
                    (usize::from(*data.get(upper.offset + 1)?) + 1) * 8
                }
                extension::AUTHENTICATION => (usize::from(*data.get(upper.offset + 1)?) + 2) * 4,
                extension::FRAGMENT => {
                    let header = data.get(upper.offset..upper.offset + 8)?;
                    let word = u16_at(header, 2);
                    upper.fragment |= word & 0xfff9 != 0;
                    upper.first = word & 0xfff8 == 0;
                    upper.identification = u32_at(header, 4);
                    8
                }
                _ => return Some(upper),
            };
            upper.protocol = *data.get(upper.offset)?;
            upper.offset += length;
            if upper.offset > data.len() {
                return None;
            }
            if !upper.first {
                return Some(upper);
            }
        }
        None
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes the payload length. The caller keeps it within the buffer.
    pub fn set_payload_len(&mut self, len: u16) {
        put(self.0.as_mut(), at::LENGTH, &len.to_be_bytes());
    }

    /// Writes the hop limit.
    pub fn set_hop_limit(&mut self, limit: u8) {
        self.0.as_mut()[at::HOP_LIMIT] = limit;
    }

    /// Writes the source address.
    pub fn set_source(&mut self, address: Ipv6Addr) {
        put(self.0.as_mut(), at::SOURCE, &address.octets());
    }

    /// Writes the destination address.
    pub fn set_destination(&mut self, address: Ipv6Addr) {
        put(self.0.as_mut(), at::DESTINATION, &address.octets());
    }
}

/// The meaning of the fixed header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Source address.
    pub source: Ipv6Addr,
    /// Destination address.
    pub destination: Ipv6Addr,
    /// Next header.
    pub next_header: u8,
    /// Octets that follow the fixed header.
    pub payload_len: u16,
    /// Hop limit.
    pub hop_limit: u8,
    /// DSCP and ECN.
    pub traffic_class: u8,
    /// Flow label, 20 bits.
    pub flow_label: u32,
}

impl Repr {
    /// Reads a header.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Self {
        Self {
            source: packet.source(),
            destination: packet.destination(),
            next_header: packet.next_header(),
            payload_len: u16_at(packet.0.as_ref(), at::LENGTH),
            hop_limit: packet.hop_limit(),
            traffic_class: packet.traffic_class(),
            flow_label: packet.flow_label(),
        }
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        let first = 6 << 28 | u32::from(self.traffic_class) << 20 | self.flow_label & 0x000f_ffff;
        put(buffer, 0, &first.to_be_bytes());
        put(buffer, at::LENGTH, &self.payload_len.to_be_bytes());
        buffer[at::NEXT] = self.next_header;
        buffer[at::HOP_LIMIT] = self.hop_limit;
        put(buffer, at::SOURCE, &self.source.octets());
        put(buffer, at::DESTINATION, &self.destination.octets());
    }
}
