//! ARP for IPv4 over Ethernet (RFC 826).
//!
//! ```text
//!  0      2      4   5   6     8           14     18           24     28
//! +------+------+---+---+-----+-----------+------+-----------+------+
//! | htyp | ptyp |hln|pln| op  |sender MAC |s. IP |target MAC |t. IP |
//! +------+------+---+---+-----+-----------+------+-----------+------+
//! ```

use super::field::{array_at, put, u16_at, u32_at};
use super::{Error, illegal, require};
use std::net::Ipv4Addr;

/// Octets of an ARP packet for IPv4 over Ethernet.
pub const HEADER_LEN: usize = 28;

/// Request or reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Who has it?
    Request,
    /// I have it.
    Reply,
}

/// The packet's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Request or reply.
    pub operation: Operation,
    /// Sender's MAC address.
    pub sender_mac: [u8; 6],
    /// Sender's address.
    pub sender: Ipv4Addr,
    /// Target's MAC address, zero in requests.
    pub target_mac: [u8; 6],
    /// Target's address.
    pub target: Ipv4Addr,
}

impl Repr {
    /// Reads an ARP packet, which is what follows the Ethernet header.
    pub fn parse(data: &[u8]) -> Result<Self, Error> {
        require("ARP", data, HEADER_LEN)?;
        if u32_at(data, 0) != 0x0001_0800 {
            return Err(illegal(
                "ARP",
                "hardware and protocol type",
                u32_at(data, 0),
            ));
        }
        if u16_at(data, 4) != 0x0604 {
            return Err(illegal(
                "ARP",
                "address lengths",
                u32::from(u16_at(data, 4)),
            ));
        }
        let operation = match u16_at(data, 6) {
            1 => Operation::Request,
            2 => Operation::Reply,
            other => return Err(illegal("ARP", "operation", u32::from(other))),
        };
        Ok(Self {
            operation,
            sender_mac: array_at(data, 8),
            sender: Ipv4Addr::from(u32_at(data, 14)),
            target_mac: array_at(data, 18),
            target: Ipv4Addr::from(u32_at(data, 24)),
        })
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        HEADER_LEN
    }

    /// Writes the packet into the first [`HEADER_LEN`] octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        let operation: u16 = match self.operation {
            Operation::Request => 1,
            Operation::Reply => 2,
        };
        put(buffer, 0, &[0, 1, 8, 0, 6, 4]);
        put(buffer, 6, &operation.to_be_bytes());
        put(buffer, 8, &self.sender_mac);
        put(buffer, 14, &self.sender.octets());
        put(buffer, 18, &self.target_mac);
        put(buffer, 24, &self.target.octets());
    }
}
