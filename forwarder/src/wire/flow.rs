//! Identity of a flow: what stays the same in all its packets of one direction.

use super::ethernet::ethertype;
use super::summary::Summary;
use std::hash::{BuildHasher, Hash};

/// Key of a flow. Non-IP frames are told apart by EtherType and MAC addresses, IP packets by the
/// 5-tuple; an ICMP echo's identifier stands for both ports, and a fragment has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FlowKey {
    /// Source: IPv6 address, IPv4 address in its last four octets, or MAC address in its last six.
    pub source: [u8; 16],
    /// Destination, in the same form.
    pub destination: [u8; 16],
    /// Source port or echo identifier.
    pub source_port: u16,
    /// Destination port or echo identifier.
    pub destination_port: u16,
    /// EtherType behind any VLAN tag.
    pub ethertype: u16,
    /// IP protocol; 0 for what is not IP.
    pub protocol: u8,
}

impl FlowKey {
    /// The key of the frame that `summary` describes.
    pub fn of(summary: &Summary) -> Self {
        let (source, destination) = if summary.is_ip() {
            (summary.source, summary.destination)
        } else {
            (padded(summary.source_mac), padded(summary.destination_mac))
        };
        Self {
            source,
            destination,
            source_port: summary.source_port,
            destination_port: summary.destination_port,
            ethertype: summary.ethertype,
            protocol: summary.protocol,
        }
    }

    /// The key of the answer.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self {
            source: self.destination,
            destination: self.source,
            source_port: self.destination_port,
            destination_port: self.source_port,
            ..self
        }
    }

    /// A hash for tables within this process.
    pub fn hash(&self) -> u64 {
        rustc_hash::FxBuildHasher.hash_one(self)
    }

    /// A hash that is the same for both directions, for outer source ports and spreading.
    pub fn symmetric_hash(&self) -> u64 {
        let reversed = self.reversed();
        if *self <= reversed {
            self.hash()
        } else {
            reversed.hash()
        }
    }

    /// 16 bits of [`symmetric_hash`](Self::symmetric_hash), for an outer UDP source port.
    pub fn entropy(&self) -> u16 {
        let [a, b, ..] = self.symmetric_hash().to_be_bytes();
        u16::from_be_bytes([a, b])
    }

    /// Whether this is IP.
    pub const fn is_ip(&self) -> bool {
        matches!(self.ethertype, ethertype::IPV4 | ethertype::IPV6)
    }
}

fn padded(mac: [u8; 6]) -> [u8; 16] {
    let mut octets = [0; 16];
    octets[10..].copy_from_slice(&mac);
    octets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_the_same_symmetric_hash() {
        let key = FlowKey {
            source: [1; 16],
            destination: [2; 16],
            source_port: 40_000,
            destination_port: 80,
            ethertype: ethertype::IPV4,
            protocol: 6,
        };
        assert_ne!(key, key.reversed());
        assert_eq!(key, key.reversed().reversed());
        assert_eq!(key.symmetric_hash(), key.reversed().symmetric_hash());
        assert_eq!(key.entropy(), key.reversed().entropy());
    }
}
