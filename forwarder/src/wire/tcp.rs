//! TCP (RFC 9293), as far as a bump in the wire needs it.
//!
//! ```text
//! +-------------------------------+-------------------------------+
//! |          Source Port          |       Destination Port        |
//! +-------------------------------+-------------------------------+
//! |                        Sequence Number                        |
//! +---------------------------------------------------------------+
//! |                    Acknowledgment Number                      |
//! +-------+-------+---------------+-------------------------------+
//! | Offset| Rsrvd |     Flags     |            Window             |
//! +-------+-------+---------------+-------------------------------+
//! |            Checksum           |         Urgent Pointer        |
//! +-------------------------------+-------------------------------+
//! |                           Options …                           |
//! ```

use super::field::{put, u16_at, u32_at};
use super::{Error, checksum, illegal, require};

/// Octets of a header without options.
pub const HEADER_LEN: usize = 20;

/// Offset of the checksum.
pub const CHECKSUM_AT: usize = 16;

/// Control bits.
pub mod flags {
    /// No more data from sender.
    pub const FIN: u8 = 0x01;
    /// Synchronise sequence numbers.
    pub const SYN: u8 = 0x02;
    /// Reset the connection.
    pub const RST: u8 = 0x04;
    /// Push.
    pub const PSH: u8 = 0x08;
    /// Acknowledgment is significant.
    pub const ACK: u8 = 0x10;
    /// Urgent pointer is significant.
    pub const URG: u8 = 0x20;
    /// ECN echo.
    pub const ECE: u8 = 0x40;
    /// Congestion window reduced.
    pub const CWR: u8 = 0x80;
}

mod at {
    pub(super) const SEQUENCE: usize = 4;
    pub(super) const ACKNOWLEDGMENT: usize = 8;
    pub(super) const OFFSET: usize = 12;
    pub(super) const FLAGS: usize = 13;
    pub(super) const WINDOW: usize = 14;
}

mod option {
    pub(super) const END: u8 = 0;
    pub(super) const NOP: u8 = 1;
    pub(super) const MSS: u8 = 2;
}

/// A checked view of a segment: header, options and payload to the end of the buffer.
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks the header and its data offset.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let data = buffer.as_ref();
        require("TCP", data, HEADER_LEN)?;
        let header = usize::from(data[at::OFFSET] >> 4) * 4;
        if header < HEADER_LEN {
            return Err(illegal(
                "TCP",
                "data offset",
                u32::from(data[at::OFFSET] >> 4),
            ));
        }
        require("TCP", data, header)?;
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

    /// Sequence number.
    pub fn sequence(&self) -> u32 {
        u32_at(self.0.as_ref(), at::SEQUENCE)
    }

    /// Acknowledgment number.
    pub fn acknowledgment(&self) -> u32 {
        u32_at(self.0.as_ref(), at::ACKNOWLEDGMENT)
    }

    /// Octets of header and options.
    pub fn header_len(&self) -> usize {
        usize::from(self.0.as_ref()[at::OFFSET] >> 4) * 4
    }

    /// Control bits, see [`flags`].
    pub fn flags(&self) -> u8 {
        self.0.as_ref()[at::FLAGS]
    }

    /// Receive window.
    pub fn window(&self) -> u16 {
        u16_at(self.0.as_ref(), at::WINDOW)
    }

    /// Checksum.
    pub fn checksum(&self) -> u16 {
        u16_at(self.0.as_ref(), CHECKSUM_AT)
    }

    /// Options.
    pub fn options(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..self.header_len()]
    }

    /// Data.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[self.header_len()..]
    }

    /// Offset of the MSS option's value from the start of the segment, and the value.
    pub fn mss(&self) -> Option<(usize, u16)> {
        let options = self.options();
        let mut place = 0;
        while let Some(&kind) = options.get(place) {
            match kind {
                option::END => return None,
                option::NOP => place += 1,
                _ => {
                    let length = usize::from(*options.get(place + 1)?);
                    if length < 2 || place + length > options.len() {
                        return None;
                    }
                    if kind == option::MSS && length == 4 {
                        return Some((HEADER_LEN + place + 2, u16_at(options, place + 2)));
                    }
                    place += length;
                }
            }
        }
        None
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

    /// Writes the sequence number.
    pub fn set_sequence(&mut self, number: u32) {
        put(self.0.as_mut(), at::SEQUENCE, &number.to_be_bytes());
    }

    /// Writes the acknowledgment number.
    pub fn set_acknowledgment(&mut self, number: u32) {
        put(self.0.as_mut(), at::ACKNOWLEDGMENT, &number.to_be_bytes());
    }

    /// Writes the control bits.
    pub fn set_flags(&mut self, flags: u8) {
        self.0.as_mut()[at::FLAGS] = flags;
    }

    /// Writes the receive window.
    pub fn set_window(&mut self, window: u16) {
        put(self.0.as_mut(), at::WINDOW, &window.to_be_bytes());
    }

    /// Writes the checksum.
    pub fn set_checksum(&mut self, checksum: u16) {
        put(self.0.as_mut(), CHECKSUM_AT, &checksum.to_be_bytes());
    }

    /// Lowers the MSS option of a SYN to `limit`, checksum included. Whether it did.
    pub fn clamp_mss(&mut self, limit: u16) -> bool {
        if self.flags() & flags::SYN == 0 {
            return false;
        }
        let Some((place, mss)) = self.mss().filter(|&(_, mss)| mss > limit) else {
            return false;
        };
        put(self.0.as_mut(), place, &limit.to_be_bytes());
        // Options need not be aligned: an odd place swaps the octets of the checksum's words.
        let (old, new) = if place % 2 == 0 {
            (mss, limit)
        } else {
            (mss.swap_bytes(), limit.swap_bytes())
        };
        let sum = checksum::update(self.checksum(), old, new);
        self.set_checksum(sum);
        true
    }
}

/// The meaning of a header without options.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Source port.
    pub source: u16,
    /// Destination port.
    pub destination: u16,
    /// Sequence number.
    pub sequence: u32,
    /// Acknowledgment number.
    pub acknowledgment: u32,
    /// Control bits, see [`flags`].
    pub flags: u8,
    /// Receive window.
    pub window: u16,
}

impl Repr {
    /// Reads a header; options are skipped.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Self {
        Self {
            source: packet.source(),
            destination: packet.destination(),
            sequence: packet.sequence(),
            acknowledgment: packet.acknowledgment(),
            flags: packet.flags(),
            window: packet.window(),
        }
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header without a checksum into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        let header = &mut buffer[..HEADER_LEN];
        header.fill(0);
        header[at::OFFSET] = 0x50;
        let mut packet = Packet(header);
        packet.set_source(self.source);
        packet.set_destination(self.destination);
        packet.set_sequence(self.sequence);
        packet.set_acknowledgment(self.acknowledgment);
        packet.set_flags(self.flags);
        packet.set_window(self.window);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn syn(options: &[u8]) -> Vec<u8> {
        let mut segment = vec![0; HEADER_LEN];
        Repr {
            source: 1,
            destination: 2,
            sequence: 3,
            acknowledgment: 0,
            flags: flags::SYN,
            window: 9,
        }
        .emit(&mut segment);
        segment.extend(options);
        segment[at::OFFSET] = u8::try_from(segment.len() / 4).unwrap() << 4;
        let sum = !checksum::fold(checksum::sum(&segment));
        Packet::new_checked(&mut segment[..])
            .unwrap()
            .set_checksum(sum);
        segment
    }

    #[test]
    fn a_clamped_mss_leaves_the_checksum_right_at_any_alignment() {
        for options in [&[2, 4, 0x05, 0xb4][..], &[1, 2, 4, 0x05, 0xb4, 0, 0, 0][..]] {
            let mut segment = syn(options);
            let mut packet = Packet::new_checked(&mut segment[..]).unwrap();
            assert!(packet.clamp_mss(1300));
            assert_eq!(packet.mss().unwrap().1, 1300);
            assert!(!packet.clamp_mss(1300));
            assert_eq!(checksum::fold(checksum::sum(&segment)), 0xffff);
        }
    }

    #[test]
    fn broken_options_hide_the_mss_and_nothing_else() {
        for options in [
            &[2, 1, 0, 0][..],
            &[2, 40, 5, 5][..],
            &[8, 0, 0, 0][..],
            &[0, 2, 4, 5][..],
        ] {
            let segment = syn(options);
            assert_eq!(
                Packet::new_checked(&segment[..]).unwrap().mss(),
                None,
                "{options:?}"
            );
        }
    }
}
