//! SFC Active OAM header (RFC 9516 section 5, figure 2): what an NSH with its O bit set and next
//! protocol 0x07 carries.
//!
//! ```text
//!  0                   1                   2                   3
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//! +-------+-----------+-----------+-------------------------------+
//! |   V   | Msg Type  | Reserved  |            Length             |
//! +-------+-----------+-----------+-------------------------------+
//! |                 SFC Active OAM control packet …               |
//! +---------------------------------------------------------------+
//! ```

use super::field::{put, u16_at};
use super::{Error, illegal, require};

/// Octets of the header.
pub const HEADER_LEN: usize = 4;

/// NSH next protocol "SFC Active OAM" (RFC 9516 section 9.1).
pub const NEXT_PROTOCOL: u8 = 7;

/// "SFC Echo Request/Reply" (section 9.2.1).
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
        // Section 5: V is "a four-bit field that indicates the current version […]. The current
        // value is 0."
        if data[0] >> 4 != 0 {
            return Err(illegal("SFC OAM", "version", u32::from(data[0] >> 4)));
        }
        // Msg Type is "a six-bit field that identifies the OAM protocol". What is reserved behind
        // it "MUST be zeroed on transmission and ignored on receipt".
        let message = match data[0] << 2 & 0x3c | data[1] >> 6 {
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
        buffer[0] = message >> 2;
        buffer[1] = message << 6;
        put(buffer, 2, &self.length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Figure 2 of RFC 9516, for an echo of 16 octets: V is 0000, Msg Type 000001, Reserved
    /// 000000, Length 0x0010.
    const FIGURE_2: [u8; 4] = [0b0000_0000, 0b0100_0000, 0x00, 0x10];

    #[test]
    fn an_oam_header_is_that_of_figure_2() {
        let mut octets = FIGURE_2.to_vec();
        octets.extend([0xaa; 16]);
        let (header, message) = Repr::parse(&octets).unwrap();
        assert_eq!((header.message, header.length), (Message::Echo, 16));
        assert_eq!(message, [0xaa; 16]);
        let mut out = [0xff; 4];
        header.emit(&mut out);
        assert_eq!(out, FIGURE_2);
    }

    #[test]
    fn reserved_bits_and_what_is_behind_the_message_are_ignored() {
        let octets = [0x00, 0x7f, 0x00, 0x02, 0xaa, 0xbb, 0xcc];
        let (header, message) = Repr::parse(&octets).unwrap();
        assert_eq!(
            (header.message, header.length, message),
            (Message::Echo, 2, &[0xaa, 0xbb][..])
        );
    }

    #[test]
    fn every_message_type_has_its_six_bits() {
        for number in 0..64 {
            let message = match number {
                1 => Message::Echo,
                other => Message::Other(other),
            };
            let mut octets = [0xff; 4];
            Repr { message, length: 0 }.emit(&mut octets);
            let word = u16::from(number) << 6;
            assert_eq!(octets[..2], word.to_be_bytes());
            assert_eq!(Repr::parse(&octets).unwrap().0.message, message);
        }
    }

    #[test]
    fn versions_and_truncations_are_refused() {
        for version in 1..16 {
            assert!(Repr::parse(&[version << 4, 0x40, 0, 0]).is_err());
        }
        assert!(Repr::parse(&[0x00, 0x40, 0]).is_err());
        assert!(Repr::parse(&[0x00, 0x40, 0, 1]).is_err());
    }
}
