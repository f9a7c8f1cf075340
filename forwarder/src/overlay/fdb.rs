//! The forwarding table of one segment: static entries, what was learned from source addresses
//! (RFC 7348 section 4.1), and how much may still go to everybody.

use crate::limits::Bucket;
use crate::pipeline::Recent;
use crate::tables::{CompiledSegment, Location};
use rustc_hash::FxHashMap;

/// Most addresses that are remembered in one segment.
const LIMIT: usize = 16_384;

/// Sets of the table that are looked through at each call of [`Fdb::expire`].
const SWEEP: usize = 256;

/// What became of a source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Learned {
    /// It is where it was.
    Known,
    /// It was not known.
    New,
    /// It was known elsewhere.
    Moved,
    /// Nobody lives at it: a group address or zero.
    Refused,
}

/// Forwarding table of one segment.
#[derive(Debug, Clone)]
pub(crate) struct Fdb {
    fixed: FxHashMap<[u8; 6], Location>,
    learned: Recent<[u8; 6], Location>,
    ageing_ms: u64,
    /// Frames to everybody, a second's worth at once.
    floods: Option<Bucket>,
}

/// A second's worth of what `segment` lets through to everybody.
fn floods(segment: &CompiledSegment) -> Option<Bucket> {
    let rate = u64::from(segment.bum_per_second);
    (rate != 0).then(|| Bucket::new(rate, rate))
}

impl Fdb {
    /// An empty table for `segment`.
    pub(crate) fn new(segment: &CompiledSegment) -> Self {
        Self {
            fixed: segment.entries.iter().copied().collect(),
            learned: Recent::new(LIMIT),
            ageing_ms: segment.ageing_ms,
            floods: floods(segment),
        }
    }

    /// Goes on under new tables: keeps what was learned, as far as `translate` still knows the
    /// place, and takes over static entries and ageing.
    pub(crate) fn adopt(
        mut self,
        segment: &CompiledSegment,
        translate: impl Fn(Location) -> Option<Location>,
    ) -> Self {
        self.fixed = segment.entries.iter().copied().collect();
        self.ageing_ms = segment.ageing_ms;
        // A rate that stays goes on from where it is, so that new tables are no new burst.
        let fresh = floods(segment);
        if fresh.as_ref().map(Bucket::rate) != self.floods.as_ref().map(Bucket::rate) {
            self.floods = fresh;
        }
        self.learned
            .retain(|_, location| match translate(*location) {
                Some(place) => {
                    *location = place;
                    true
                }
                None => false,
            });
        self
    }

    /// Learns that `mac` lives at `location`. A static entry wins over what frames claim.
    pub(crate) fn learn(&mut self, now_ms: u64, mac: [u8; 6], location: Location) -> Learned {
        let [first, ..] = mac;
        if first & 1 == 1 || mac == [0; 6] {
            return Learned::Refused;
        }
        if !self.fixed.is_empty() && self.fixed.contains_key(&mac) {
            return Learned::Known;
        }
        match self.learned.get(now_ms, &mac) {
            Some(known) if *known == location => Learned::Known,
            Some(known) => {
                *known = location;
                Learned::Moved
            }
            None => {
                self.learned.insert(now_ms, mac, location);
                Learned::New
            }
        }
    }

    /// Whether one more frame may go to everybody.
    pub(crate) fn may_flood(&mut self, now_ms: u64) -> bool {
        self.floods
            .as_mut()
            .is_none_or(|bucket| bucket.take(now_ms))
    }

    /// Where `mac` lives, unless that is unknown or forgotten by `now_ms`.
    pub(crate) fn find(&self, now_ms: u64, mac: [u8; 6]) -> Option<Location> {
        if let Some(location) = self.fixed.get(&mac) {
            return Some(*location);
        }
        let (location, used_ms) = self.learned.peek_used(&mac)?;
        let silent = now_ms.saturating_sub(used_ms);
        (self.ageing_ms == 0 || silent <= self.ageing_ms).then_some(*location)
    }

    /// Forgets silent addresses, a part of the table at each call.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        if self.ageing_ms != 0 {
            self.learned.expire(now_ms, self.ageing_ms, SWEEP);
        }
    }

    /// Addresses learned at present.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.learned.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::PortIndex;
    use kc_forwarder_api::Vni;

    const HOME: [u8; 6] = [2, 0, 0, 0, 0, 1];
    const FIXED: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn segment() -> CompiledSegment {
        CompiledSegment {
            vni: Vni::new(5).unwrap(),
            ports: vec![PortIndex(0), PortIndex(1)],
            peers: Vec::new(),
            flood: 0,
            outer: 0,
            entries: vec![(FIXED, Location::Peer(0))],
            ageing_ms: 1000,
            bum_per_second: 2,
            virtuals: None,
        }
    }

    #[test]
    fn an_address_is_learned_moves_and_is_forgotten() {
        let mut fdb = Fdb::new(&segment());
        let (here, there) = (Location::Port(PortIndex(0)), Location::Peer(3));
        assert_eq!(fdb.learn(0, HOME, here), Learned::New);
        assert_eq!(fdb.learn(100, HOME, here), Learned::Known);
        assert_eq!(fdb.learn(200, HOME, there), Learned::Moved);
        assert_eq!(fdb.find(1200, HOME), Some(there));
        assert_eq!(fdb.find(1201, HOME), None);
        (0..100).for_each(|_| fdb.expire(1201));
        assert_eq!(fdb.len(), 0);
    }

    #[test]
    fn a_static_entry_neither_moves_nor_ages() {
        let mut fdb = Fdb::new(&segment());
        assert_eq!(
            fdb.learn(0, FIXED, Location::Port(PortIndex(0))),
            Learned::Known
        );
        assert_eq!(fdb.find(u64::MAX, FIXED), Some(Location::Peer(0)));
    }

    #[test]
    fn nobody_lives_at_a_group_address() {
        let mut fdb = Fdb::new(&segment());
        for mac in [[0xff; 6], [1, 0, 0x5e, 0, 0, 1], [0; 6]] {
            assert_eq!(fdb.learn(0, mac, Location::Peer(0)), Learned::Refused);
        }
    }

    #[test]
    fn floods_are_limited_and_new_tables_are_no_new_burst() {
        let mut fdb = Fdb::new(&segment());
        let flooded = |fdb: &mut Fdb, now| (0..9).filter(|_| fdb.may_flood(now)).count();
        assert_eq!(flooded(&mut fdb, 0), 2);
        let mut fdb = fdb.adopt(&segment(), Some);
        assert_eq!(flooded(&mut fdb, 500), 1);
        let unlimited = CompiledSegment {
            bum_per_second: 0,
            ..segment()
        };
        assert_eq!(flooded(&mut fdb.adopt(&unlimited, Some), 500), 9);
    }

    #[test]
    fn what_was_learned_survives_new_tables_where_its_place_does() {
        let mut fdb = Fdb::new(&segment());
        let gone = [2, 0, 0, 0, 0, 2];
        fdb.learn(0, HOME, Location::Port(PortIndex(0)));
        fdb.learn(0, gone, Location::Port(PortIndex(1)));
        let fdb = fdb.adopt(&segment(), |place| match place {
            Location::Port(PortIndex(0)) => Some(Location::Port(PortIndex(7))),
            _ => None,
        });
        assert_eq!(fdb.find(1, HOME), Some(Location::Port(PortIndex(7))));
        assert_eq!(fdb.find(1, gone), None);
    }
}
