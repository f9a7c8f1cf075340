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
        // A sum does not tell which end is which.
        let source = end(&self.source, self.source_port);
        let destination = end(&self.destination, self.destination_port);
        mix(source.wrapping_add(destination) ^ u64::from(self.protocol))
    }

    /// A hash that is the same for both directions, on every machine and in every version: for
    /// choices that several SFFs have to make alike.
    pub fn stable_hash(&self) -> u64 {
        let reversed = self.reversed();
        let key = if *self <= reversed { self } else { &reversed };
        let halves = [&key.source, &key.destination].map(|address| address.as_chunks::<8>().0);
        let halves = halves
            .into_iter()
            .flatten()
            .map(|half| u64::from_be_bytes(*half));
        let ports = u64::from(key.source_port) << 16 | u64::from(key.destination_port);
        let kind = u64::from(key.ethertype) << 8 | u64::from(key.protocol);
        halves
            .chain([kind << 32 | ports])
            .fold(0, |hash, word| mix(hash ^ word))
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

/// One end of a flow as a number.
fn end(address: &[u8; 16], port: u16) -> u64 {
    let [high, low] = [0, 8].map(|at| {
        let mut half = [0; 8];
        half.copy_from_slice(&address[at..at + 8]);
        u64::from_be_bytes(half)
    });
    let (high, low) = (high.rotate_left(32), low ^ (u64::from(port) << 32));
    mix(high.wrapping_add(low))
}

/// Every bit of the result depends on every bit of `x` (the finish of SplitMix64).
pub(crate) const fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
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
    fn the_stable_hash_is_the_same_everywhere_and_in_both_directions() {
        let key = FlowKey {
            source: [1; 16],
            destination: [2; 16],
            source_port: 40_000,
            destination_port: 80,
            ethertype: ethertype::IPV4,
            protocol: 6,
        };
        // SFFs of different versions spread flows alike: this must never change.
        assert_eq!(key.stable_hash(), 6_448_986_193_649_893_547);
        assert_eq!(key.reversed().stable_hash(), key.stable_hash());
        let other = FlowKey {
            source_port: 40_001,
            ..key
        };
        assert_ne!(other.stable_hash() % 8192, key.stable_hash() % 8192);
    }

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
