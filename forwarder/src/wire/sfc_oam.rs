//! SFC Active OAM header (RFC 9516 section 5.1): what an NSH with its O bit set and next
//! protocol 0x07 carries.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +---+-----------+---------------+-------------------------------+
//! | V | Msg Type  |   Reserved    |            Length             |
//! +---+-----------+---------------+-------------------------------+
//! |                 SFC Active OAM control packet …               |
//! +---------------------------------------------------------------+
//! ```

use super::field::{put, u16_at};
use super::{Error, illegal, require};

/// Octets of the header.
pub const HEADER_LEN: usize = 4;

/// NSH next protocol "SFC Active OAM" (RFC 9516 section 10.1).
pub const NEXT_PROTOCOL: u8 = 7;

const MESSAGE_ECHO: u8 = 1;

/// Kinds of messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Echo request or reply.
    Echo,
    /// Something else, 6 bits.
    Other(u8),
}

/// The header's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// What follows.
    pub message: Message,
    /// Octets that follow.
    pub length: u16,
}

impl Repr {
    /// Reads a header and returns it with the message behind it. Octets behind the message are
    /// padding of the link.
    pub fn parse(data: &[u8]) -> Result<(Self, &[u8]), Error> {
        require("SFC OAM", data, HEADER_LEN)?;
        if data[0] >> 6 != 0 {
            return Err(illegal("SFC OAM", "version", u32::from(data[0] >> 6)));
        }
        let message = match data[0] & 0x3f {
            MESSAGE_ECHO => Message::Echo,
            other => Message::Other(other),
        };
        let length = u16_at(data, 2);
        let end = HEADER_LEN + usize::from(length);
        require("SFC OAM", data, end)?;
        Ok((Self { message, length }, &data[HEADER_LEN..end]))
    }

    /// Writes the header into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        let message = match self.message {
            Message::Echo => MESSAGE_ECHO,
            Message::Other(other) => other & 0x3f,
        };
        buffer[0] = message;
        buffer[1] = 0;
        put(buffer, 2, &self.length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_names_what_follows_and_how_long_it_is() {
        let octets = [0x01, 0xee, 0x00, 0x02, 0xaa, 0xbb, 0xcc];
        let (header, message) = Repr::parse(&octets).unwrap();
        assert_eq!(
            (header.message, header.length, message),
            (Message::Echo, 2, &[0xaa, 0xbb][..])
        );
        let mut out = [0xff; 4];
        header.emit(&mut out);
        assert_eq!(out, [0x01, 0x00, 0x00, 0x02]);
    }

    #[test]
    fn versions_and_truncations_are_refused() {
        assert!(Repr::parse(&[0x41, 0, 0, 0]).is_err());
        assert!(Repr::parse(&[0x01, 0, 0]).is_err());
        assert!(Repr::parse(&[0x01, 0, 0, 1]).is_err());
    }
}
