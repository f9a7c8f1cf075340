//! UDP (RFC 768).
//!
//! ```text
//!  0        2        4        6        8
//! +--------+--------+--------+--------+
//! | source | destin.| length |checksum|
//! +--------+--------+--------+--------+
//! ```

use super::field::{put, u16_at};
use super::{Error, illegal, require};

/// Octets of the header.
pub const HEADER_LEN: usize = 8;

/// Offset of the checksum.
pub const CHECKSUM_AT: usize = 6;

/// A checked view. The length field is proven to lie within the buffer.
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks the header and its length field.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let data = buffer.as_ref();
        require("UDP", data, HEADER_LEN)?;
        let length = u16_at(data, 4);
        if usize::from(length) < HEADER_LEN {
            return Err(illegal("UDP", "length", u32::from(length)));
        }
        require("UDP", data, usize::from(length))?;
        Ok(Self(buffer))
    }

    /// Source port.
    pub fn source(&self) -> u16 {
        u16_at(self.0.as_ref(), 0)
    }

    /// Destination port.
    pub fn destination(&self) -> u16 {
        u16_at(self.0.as_ref(), 2)
    }

    /// Octets of header and payload.
    pub fn length(&self) -> usize {
        usize::from(u16_at(self.0.as_ref(), 4))
    }

    /// Checksum; zero means none over IPv4.
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), CHECKSUM_AT)
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..self.length()]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes the source port.
    pub fn set_source(&mut self, port: u16) {
        put(self.0.as_mut(), 0, &port.to_be_bytes());
    }

    /// Writes the destination port.
    pub fn set_destination(&mut self, port: u16) {
        put(self.0.as_mut(), 2, &port.to_be_bytes());
    }

    /// Writes the length. The caller keeps it within the buffer.
    pub fn set_length(&mut self, length: u16) {
        put(self.0.as_mut(), 4, &length.to_be_bytes());
    }

    /// Writes the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        put(self.0.as_mut(), CHECKSUM_AT, &checksum.to_be_bytes());
    }
}

/// The header's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Octets that follow the header.
    pub payload_len: u16,
}

impl Repr {
    /// Reads a header.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Self {
        Self {
            source: packet.source(),
            destination: packet.destination(),
            payload_len: u16_at(packet.0.as_ref(), 4) - 8,
        }
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header without a checksum into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        put(buffer, 0, &self.source.to_be_bytes());
        put(buffer, 2, &self.destination.to_be_bytes());
        put(buffer, 4, &self.payload_len.saturating_add(8).to_be_bytes());
        put(buffer, CHECKSUM_AT, &[0, 0]);
    }
}
