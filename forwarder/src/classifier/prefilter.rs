//! Which prefix lengths can match an address at all. Rules of many different prefix lengths make
//! many groups; a few probes here spare most of the probes there.

use super::fields::Subject;
use ipnet::IpNet;
use rustc_hash::FxHashSet;
use std::net::IpAddr;

/// Fewer groups than this are asked directly.
const WORTHWHILE: usize = 24;

/// Prefixes of one side, by length: masked addresses.
#[derive(Debug, Clone, Default)]
struct Side {
    by_length: [Vec<(u8, FxHashSet<u128>)>; 2],
}

fn family_and_bits(address: IpAddr) -> (usize, u128) {
    match address {
        IpAddr::V4(v4) => (0, u128::from(v4.to_bits()) << 96),
        IpAddr::V6(v6) => (1, v6.to_bits()),
    }
}

fn lead(length: u8) -> u128 {
    u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0)
}

/// A set of prefix lengths; 127 and 128 share a bit.
fn bit(length: u8) -> u128 {
    1 << u32::from(length.min(127))
}

impl Side {
    fn add(&mut self, net: IpNet) {
        let (family, bits) = family_and_bits(net.trunc().addr());
        let length = net.prefix_len();
        let Some(lengths) = self.by_length.get_mut(family) else {
            return;
        };
        let place = lengths
            .iter()
            .position(|(known, _)| *known == length)
            .unwrap_or_else(|| {
                lengths.push((length, FxHashSet::default()));
                lengths.len() - 1
            });
        if let Some((_, prefixes)) = lengths.get_mut(place) {
            prefixes.insert(bits);
        }
    }

    fn possible(&self, address: IpAddr) -> u128 {
        let (family, bits) = family_and_bits(address);
        let lengths = self.by_length.get(family).map_or(&[][..], Vec::as_slice);
        let holds = |(length, prefixes): &&(u8, FxHashSet<u128>)| {
            prefixes.contains(&(bits & lead(*length)))
        };
        lengths
            .iter()
            .filter(holds)
            .fold(0, |set, (length, _)| set | bit(*length))
    }
}

/// All prefixes of all rules.
#[derive(Debug, Clone, Default)]
pub(super) struct Prefilter {
    source: Side,
    destination: Side,
}

/// Prefix lengths that can match one frame.
#[derive(Debug, Clone, Copy)]
pub(super) struct Possible {
    source: u128,
    destination: u128,
}

impl Possible {
    /// Whether a group of these prefix lengths can hold a match.
    pub(super) fn admits(self, (source, destination): (Option<u8>, Option<u8>)) -> bool {
        source.is_none_or(|length| self.source & bit(length) != 0)
            && destination.is_none_or(|length| self.destination & bit(length) != 0)
    }
}

impl Prefilter {
    /// Takes note of a rule's prefixes.
    pub(super) fn add(&mut self, source: Option<IpNet>, destination: Option<IpNet>) {
        if let Some(net) = source {
            self.source.add(net);
        }
        if let Some(net) = destination {
            self.destination.add(net);
        }
    }

    /// What can match `subject` among `groups` groups.
    pub(super) fn possible(&self, groups: usize, subject: &Subject) -> Possible {
        match subject.ip {
            _ if groups < WORTHWHILE => Possible {
                source: u128::MAX,
                destination: u128::MAX,
            },
            Some((source, destination, _)) => Possible {
                source: self.source.possible(source),
                destination: self.destination.possible(destination),
            },
            None => Possible {
                source: 0,
                destination: 0,
            },
        }
    }
}
