//! 802.1Q tag control information and what follows it.
//!
//! ```text
//!  0   3 4            16            32
//! +---+-+------------+-------------+
//! |PCP|D|    VID     |  EtherType  |
//! +---+-+------------+-------------+
//! ```

use super::ethernet::{self, ethertype};
use super::field::{put, u16_at};
use super::{Error, require};
use crate::frame::Frame;

/// Octets of a tag, its own EtherType not counted.
pub const HEADER_LEN: usize = 4;

/// A checked view of what follows EtherType 0x8100 or 0x88a8.
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks that the tag is there.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        require("VLAN", buffer.as_ref(), HEADER_LEN)?;
        Ok(Self(buffer))
    }

    /// Tag control information.
    pub fn tci(&self) -> u16 {
        u16_at(self.0.as_ref(), 0)
    }

    /// VLAN identifier.
    pub fn vid(&self) -> u16 {
        vid(self.tci())
    }

    /// EtherType of the payload.
    pub fn ethertype(&self) -> u16 {
        u16_at(self.0.as_ref(), 2)
    }
}

/// The tag's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Tag control information: priority, drop eligibility, identifier.
    pub tci: u16,
    /// EtherType of the payload.
    pub ethertype: u16,
}

impl Repr {
    /// Reads a tag.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Self {
        Self {
            tci: packet.tci(),
            ethertype: packet.ethertype(),
        }
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the tag into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        put(buffer, 0, &self.tci.to_be_bytes());
        put(buffer, 2, &self.ethertype.to_be_bytes());
    }
}

/// The identifier in `tci`.
pub const fn vid(tci: u16) -> u16 {
    tci & 0x0fff
}

/// Puts an 802.1Q tag behind the addresses of an Ethernet frame; shorter frames stay as they are.
pub fn push(frame: &mut Frame, tci: u16) {
    if frame.len() < ethernet::HEADER_LEN {
        return;
    }
    frame.push(HEADER_LEN);
    let bytes = frame.bytes_mut();
    bytes.copy_within(HEADER_LEN..HEADER_LEN + 12, 0);
    put(bytes, 12, &ethertype::VLAN.to_be_bytes());
    put(bytes, 14, &tci.to_be_bytes());
}

/// Takes the outermost 802.1Q or 802.1ad tag out of an Ethernet frame.
pub fn pull(frame: &mut Frame) -> Option<u16> {
    let bytes = frame.bytes_mut();
    if bytes.len() < ethernet::HEADER_LEN + HEADER_LEN
        || !matches!(u16_at(bytes, 12), ethertype::VLAN | ethertype::QINQ)
    {
        return None;
    }
    let tci = u16_at(bytes, 14);
    bytes.copy_within(0..12, HEADER_LEN);
    frame.pull(HEADER_LEN);
    Some(tci)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_goes_in_and_comes_out_again() {
        let plain: Vec<u8> = (0..60).collect();
        let mut frame = Frame::copy_of(&plain);
        push(&mut frame, 0x6007);
        assert_eq!(frame.len(), 64);
        assert_eq!(&frame.bytes()[12..16], &[0x81, 0x00, 0x60, 0x07]);
        assert_eq!(pull(&mut frame), Some(0x6007));
        assert_eq!(frame.bytes(), plain);
        assert_eq!(pull(&mut frame), None);
    }
}
