//! Variable-length context headers of NSH MD type 2 (RFC 8300 section 2.5.1).
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------------------------------+---------------+-+-------------+
//! |        Metadata Class         |      Type     |U|    Length   |
//! +-------------------------------+---------------+-+-------------+
//! |  value, padded to a multiple of 4 octets …                    |
//! +---------------------------------------------------------------+
//! ```

use super::field::u16_at;
use super::{Error, illegal, require};
use kc_forwarder_api::ContextHeader;

/// Octets in front of a value.
pub const HEADER_LEN: usize = 4;

/// Longest value: the length field has 7 bits.
pub const MAX_VALUE: usize = 127;

/// A checked view of one header and what follows it.
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks that the header is there, with its value and padding.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        require("NSH context", buffer.as_ref(), HEADER_LEN)?;
        let packet = Self(buffer);
        require("NSH context", packet.0.as_ref(), packet.total_len())?;
        Ok(packet)
    }

    /// Metadata class: who defines the type.
    pub fn class(&self) -> u16 {
        u16_at(self.0.as_ref(), 0)
    }

    /// Type within the class.
    pub fn kind(&self) -> u8 {
        self.0.as_ref()[2]
    }

    /// The value, without padding.
    pub fn value(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..HEADER_LEN + self.value_len()]
    }

    fn value_len(&self) -> usize {
        usize::from(self.0.as_ref()[3] & 0x7f)
    }

    /// Octets of the header with value and padding.
    pub fn total_len(&self) -> usize {
        // Section 2.5.1: "The receiver MUST round the Length field up to the nearest 4-byte-word
        // boundary to locate and process the next field in the packet. The receiver MUST access
        // only those bytes in the metadata indicated by the Length field".
        HEADER_LEN + self.value_len().next_multiple_of(4)
    }
}

/// One variable-length context header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context<'a> {
    /// Metadata class: who defines the type.
    pub class: u16,
    /// Type within the class.
    pub kind: u8,
    /// Its value, without padding.
    pub value: &'a [u8],
}

impl<'a> Context<'a> {
    /// Reads a header.
    pub fn parse<T: AsRef<[u8]> + ?Sized>(packet: &Packet<&'a T>) -> Self {
        let octets = packet.0.as_ref();
        Self {
            class: packet.class(),
            kind: packet.kind(),
            value: &octets[HEADER_LEN..HEADER_LEN + packet.value_len()],
        }
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN + self.value.len().next_multiple_of(4)
    }

    /// Writes the header into the first [`buffer_len`](Self::buffer_len) octets of `buffer`; a
    /// value longer than [`MAX_VALUE`] is refused.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<(), Error> {
        let length = u8::try_from(self.value.len()).unwrap_or(u8::MAX);
        if usize::from(length) > MAX_VALUE {
            return Err(illegal("NSH context", "length", u32::from(length)));
        }
        require("NSH context", buffer, self.buffer_len())?;
        // Section 2.5.1: the unassigned bit "MUST NOT be set by the sender and MUST be ignored by
        // the receiver"; padding "MUST be added" and has no meaning.
        let [high, low] = self.class.to_be_bytes();
        buffer[..HEADER_LEN].copy_from_slice(&[high, low, self.kind, length]);
        let (value, padding) = buffer[HEADER_LEN..self.buffer_len()].split_at_mut(self.value.len());
        value.copy_from_slice(self.value);
        padding.fill(0);
        Ok(())
    }
}

impl<'a> From<&'a ContextHeader> for Context<'a> {
    fn from(header: &'a ContextHeader) -> Self {
        Self {
            class: header.class,
            kind: header.kind,
            value: header.value.octets(),
        }
    }
}

/// Walks variable-length context headers.
#[derive(Debug, Clone)]
pub struct Contexts<'a> {
    data: &'a [u8],
}

impl<'a> Contexts<'a> {
    pub(super) const fn new(data: &'a [u8]) -> Self {
        Self { data }
    }

    /// Octets left that are no context header, after the walk.
    pub(super) fn broken(&self) -> Option<usize> {
        (!self.data.is_empty()).then_some(self.data.len())
    }
}

impl<'a> Iterator for Contexts<'a> {
    type Item = Context<'a>;

    fn next(&mut self) -> Option<Context<'a>> {
        let packet = Packet::new_checked(self.data).ok()?;
        let context = Context::parse(&packet);
        self.data = &self.data[packet.total_len()..];
        Some(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_survives_both_ways_whatever_its_padding() {
        for length in [0, 1, 3, 4, 5, 126, 127] {
            let value: Vec<u8> = (0..length).collect();
            let context = Context {
                class: 0x0101,
                kind: 0x85,
                value: &value,
            };
            let mut octets = vec![0xaa; context.buffer_len()];
            context.emit(&mut octets).unwrap();
            assert_eq!(octets.len() % 4, 0);
            octets[3] |= 0x80; // unassigned, ignored
            let packet = Packet::new_checked(&octets).unwrap();
            assert_eq!(Context::parse(&packet), context);
            assert_eq!(packet.value(), value);
            for cut in 0..octets.len() {
                assert!(
                    Packet::new_checked(&octets[..cut]).is_err(),
                    "{cut} of {length}"
                );
            }
        }
    }

    #[test]
    fn a_value_beyond_seven_bits_is_refused() {
        let context = Context {
            class: 1,
            kind: 1,
            value: &[0; 128],
        };
        assert!(context.emit(&mut [0; 200]).is_err());
    }
}
