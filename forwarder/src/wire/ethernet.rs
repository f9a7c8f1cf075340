//! Ethernet II.
//!
//! ```text
//!  0         6         12     14
//! +---------+---------+------+---------
//! | destin. | source  | type | payload
//! +---------+---------+------+---------
//! ```

use super::field::{array_at, put, u16_at};
use super::{Error, require};

/// Octets of the header.
pub const HEADER_LEN: usize = 14;

/// EtherTypes that this program knows.
pub mod ethertype {
    /// IPv4.
    pub const IPV4: u16 = 0x0800;
    /// ARP.
    pub const ARP: u16 = 0x0806;
    /// 802.1Q customer tag.
    pub const VLAN: u16 = 0x8100;
    /// 802.1ad service tag.
    pub const QINQ: u16 = 0x88a8;
    /// IPv6.
    pub const IPV6: u16 = 0x86dd;
    /// MPLS unicast.
    pub const MPLS: u16 = 0x8847;
    /// NSH (RFC 8300 section 12.1).
    pub const NSH: u16 = 0x894f;
}

mod at {
    pub(super) const DESTINATION: usize = 0;
    pub(super) const SOURCE: usize = 6;
    pub(super) const TYPE: usize = 12;
}

/// A checked view.
#[derive(Debug, Clone, Copy)]
pub struct Packet<T>(T);

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks that the header is there.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        require("Ethernet", buffer.as_ref(), HEADER_LEN)?;
        Ok(Self(buffer))
    }

    /// Destination address.
    pub fn destination(&self) -> [u8; 6] {
        array_at(self.0.as_ref(), at::DESTINATION)
    }

    /// Source address.
    pub fn source(&self) -> [u8; 6] {
        array_at(self.0.as_ref(), at::SOURCE)
    }

    /// EtherType, or length for 802.3 frames.
    pub fn ethertype(&self) -> u16 {
        u16_at(self.0.as_ref(), at::TYPE)
    }

    /// What follows the header.
    pub fn payload(&self) -> &[u8] {
        &self.0.as_ref()[HEADER_LEN..]
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Writes the destination address.
    pub fn set_destination(&mut self, address: [u8; 6]) {
        put(self.0.as_mut(), at::DESTINATION, &address);
    }

    /// Writes the source address.
    pub fn set_source(&mut self, address: [u8; 6]) {
        put(self.0.as_mut(), at::SOURCE, &address);
    }

    /// Writes the EtherType.
    pub fn set_ethertype(&mut self, ethertype: u16) {
        put(self.0.as_mut(), at::TYPE, &ethertype.to_be_bytes());
    }

    /// What follows the header.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.0.as_mut()[HEADER_LEN..]
    }
}

/// The header's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Destination address.
    pub destination: [u8; 6],
    /// Source address.
    pub source: [u8; 6],
    /// EtherType.
    pub ethertype: u16,
}

impl Repr {
    /// Reads a header.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Self {
        Self {
            destination: packet.destination(),
            source: packet.source(),
            ethertype: packet.ethertype(),
        }
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the header.
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        packet.set_destination(self.destination);
        packet.set_source(self.source);
        packet.set_ethertype(self.ethertype);
    }
}
