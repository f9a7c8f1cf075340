//! (SPI, SI) to next hop: an open-addressing table whose probe is one cache line nearly always,
//! whatever the number of paths. RFC 8300 section 2.3.

use super::PortIndex;
use kc_forwarder_api::{Direction, Si, Spi};

/// Where a frame of a service path goes next, with names already resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// A local function.
    Function(u16, Direction),
    /// Another SFF.
    Tunnel(u16),
    /// One of several functions and SFFs.
    Group(u16, Direction),
    /// End of path at a port.
    Egress(PortIndex),
    /// End of path in a segment.
    Segment(u16),
}

/// One (SPI, SI).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hop {
    /// Service path and index as they stand in the NSH.
    pub(crate) key: u32,
    /// Place among all hops of the tables, in table order: its counter.
    pub(crate) number: u32,
    /// Next hop.
    pub(crate) target: Target,
    /// Whether a group of the return path wants to know where packets at this hop came from.
    pub(crate) teaches: bool,
}

/// SPI and SI as the NSH's service path header holds them.
pub(crate) const fn key(spi: Spi, si: Si) -> u32 {
    (spi.get() << 8) | si.get() as u32
}

/// SPI and SI of a service path header.
pub(crate) fn unpack(key: u32) -> (Spi, Si) {
    let [a, b, c, si] = key.to_be_bytes();
    let spi = Spi::new(u32::from_be_bytes([0, a, b, c])).unwrap_or(Spi::MIN);
    (spi, Si::new(si).unwrap_or(Si::MIN))
}

const EMPTY: u32 = u32::MAX;
const VACANT: Hop = Hop {
    key: 0,
    number: EMPTY,
    target: Target::Tunnel(u16::MAX),
    teaches: false,
};

/// All hops of the tables.
#[derive(Debug, Clone)]
pub(crate) struct Steering {
    /// Power-of-two many, at most half of them taken.
    slots: Vec<Hop>,
    shift: u32,
    len: usize,
}

impl Steering {
    /// A table for `hops` hops.
    pub(crate) fn with_capacity(hops: usize) -> Self {
        let size = (hops.max(4) * 2).next_power_of_two();
        Self {
            slots: vec![VACANT; size],
            shift: 32 - size.trailing_zeros().min(32),
            len: 0,
        }
    }

    fn home(&self, key: u32) -> usize {
        // Fibonacci hashing: neighbouring SPIs and SIs land far from each other.
        (key.wrapping_mul(0x9e37_79b9) >> self.shift) as usize
    }

    /// Adds a hop; `false` when (SPI, SI) is there already.
    pub(crate) fn insert(&mut self, hop: Hop) -> bool {
        let mask = self.slots.len() - 1;
        let mut place = self.home(hop.key);
        loop {
            let Some(slot) = self.slots.get_mut(place & mask) else {
                return false;
            };
            if slot.number == EMPTY {
                *slot = hop;
                self.len += 1;
                return true;
            }
            if slot.key == hop.key {
                return false;
            }
            place += 1;
        }
    }

    /// The hop of a service path header, if there is one.
    pub(crate) fn get(&self, key: u32) -> Option<&Hop> {
        let mask = self.slots.len() - 1;
        let mut place = self.home(key);
        loop {
            let slot = self.slots.get(place & mask)?;
            if slot.number == EMPTY {
                return None;
            }
            if slot.key == key {
                return Some(slot);
            }
            place += 1;
        }
    }

    /// How many hops there are.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All hops, in no particular order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Hop> {
        self.slots.iter().filter(|slot| slot.number != EMPTY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_hop_is_found_and_no_other() {
        let mut steering = Steering::with_capacity(30_000);
        for spi in 0..10_000 {
            for si in [255, 254, 0] {
                let key = key(Spi::new(spi * 7).unwrap(), Si::new(si).unwrap());
                let number = u32::try_from(steering.len()).unwrap();
                assert!(steering.insert(Hop {
                    key,
                    number,
                    target: Target::Segment(1),
                    teaches: false,
                }));
            }
        }
        assert_eq!(steering.len(), 30_000);
        assert_eq!(steering.iter().count(), 30_000);
        for number in 0..70_000 {
            for si in [255, 254, 253, 0] {
                let found = steering.get(key(Spi::new(number).unwrap(), Si::new(si).unwrap()));
                assert_eq!(
                    found.is_some(),
                    number < 69_994 && number % 7 == 0 && si != 253
                );
            }
        }
    }

    #[test]
    fn the_last_key_of_all_is_a_key_like_any_other() {
        let mut steering = Steering::with_capacity(1);
        let last = key(Spi::MAX, Si::MAX);
        assert!(steering.get(last).is_none());
        let hop = Hop {
            key: last,
            number: 0,
            target: Target::Tunnel(0),
            teaches: false,
        };
        assert!(steering.insert(hop) && !steering.insert(hop));
        assert_eq!(unpack(steering.get(last).unwrap().key), (Spi::MAX, Si::MAX));
    }
}
