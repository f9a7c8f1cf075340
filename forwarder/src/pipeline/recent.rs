//! A bounded table of things seen lately: eight-way sets, the hash tags of a set in half a cache
//! line. It grows while it is well filled, up to its limit, and then forgets the one of eight
//! that was silent longest. Whoever sends it random keys costs memory once and time never.

use std::hash::{BuildHasher, Hash};

const WAYS: usize = 8;
const FIRST_SETS: usize = 8;
const FREE: u32 = 0;

#[derive(Debug, Clone)]
struct Slot<K, V> {
    key: K,
    value: V,
    used_ms: u64,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Recent<K, V> {
    tags: Vec<[u32; WAYS]>,
    slots: Vec<Option<Slot<K, V>>>,
    len: usize,
    limit_sets: usize,
    /// A table with a full set grows when more than one slot of so many is taken.
    one_of: usize,
    cursor: usize,
}

fn tag_of<K: Hash>(key: &K) -> u32 {
    let hash = rustc_hash::FxBuildHasher.hash_one(key);
    // FxHash leaves neighbouring keys near each other; one more round spreads them.
    let mixed = (hash ^ (hash >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    u32::try_from(mixed >> 32).unwrap_or(0).max(FREE + 1)
}

impl<K: Hash + Eq, V> Recent<K, V> {
    /// A table for at most about `limit` entries.
    pub(crate) fn new(limit: usize) -> Self {
        Self::growing(limit, 3)
    }

    /// A table that spends more memory, so that nothing is forgotten while it can still grow, and
    /// next to nothing before it is a third full.
    pub(crate) fn roomy(limit: usize) -> Self {
        Self::growing(limit, 64)
    }

    fn growing(limit: usize, one_of: usize) -> Self {
        let limit_sets = (limit / WAYS).max(FIRST_SETS).next_power_of_two();
        let mut table = Self {
            tags: Vec::new(),
            slots: Vec::new(),
            len: 0,
            limit_sets,
            one_of,
            cursor: 0,
        };
        table.allocate(FIRST_SETS);
        table
    }

    fn allocate(&mut self, sets: usize) {
        self.tags = vec![[FREE; WAYS]; sets];
        self.slots = std::iter::repeat_with(|| None).take(sets * WAYS).collect();
        self.len = 0;
    }

    fn set_of(&self, tag: u32) -> usize {
        tag as usize & (self.tags.len() - 1)
    }

    /// The tag of `key`, for those who look it up more than once.
    pub(crate) fn tag(key: &K) -> u32 {
        tag_of(key)
    }

    /// Reads where the tags of a key with `tag` are, for nothing but to have them in the cache
    /// soon. Of many keys, all tags first and then all slots: so their misses overlap.
    #[inline]
    pub(crate) fn warm_tags(&self, tag: u32) -> u64 {
        let tags = self.tags.get(self.set_of(tag));
        tags.map_or(0, |[first, ..]| u64::from(*first))
    }

    /// As [`warm_tags`](Self::warm_tags), for the slot.
    #[inline]
    pub(crate) fn warm_slot(&self, tag: u32) -> u64 {
        let set = self.set_of(tag);
        let tags = self.tags.get(set);
        let way = tags.and_then(|tags| tags.iter().position(|held| *held == tag));
        let slot = way.and_then(|way| self.slots.get(set * WAYS + way)?.as_ref());
        slot.map_or(0, |slot| slot.used_ms)
    }

    fn find(&self, key: &K, tag: u32) -> Option<usize> {
        let set = self.set_of(tag);
        let tags = self.tags.get(set)?;
        let matches = |way: &usize| {
            tags.get(*way) == Some(&tag)
                && matches!(self.slots.get(set * WAYS + way), Some(Some(slot)) if slot.key == *key)
        };
        (0..WAYS).find(matches).map(|way| set * WAYS + way)
    }

    /// The value of `key`; does not count as use.
    pub(crate) fn peek(&self, key: &K) -> Option<&V> {
        self.peek_used(key).map(|(value, _)| value)
    }

    /// The value of `key` and when it was last used.
    pub(crate) fn peek_used(&self, key: &K) -> Option<(&V, u64)> {
        let place = self.find(key, tag_of(key))?;
        self.slots
            .get(place)?
            .as_ref()
            .map(|slot| (&slot.value, slot.used_ms))
    }

    /// The value of `key`, used now.
    pub(crate) fn get(&mut self, now_ms: u64, key: &K) -> Option<&mut V> {
        self.get_tagged(now_ms, key, tag_of(key))
    }

    /// As [`get`](Self::get), of a key whose tag is known.
    pub(crate) fn get_tagged(&mut self, now_ms: u64, key: &K, tag: u32) -> Option<&mut V> {
        let place = self.find(key, tag)?;
        let slot = self.slots.get_mut(place)?.as_mut()?;
        slot.used_ms = now_ms;
        Some(&mut slot.value)
    }

    /// Puts `value` under `key`, in the place of an older one, and says whether some other key
    /// had to be forgotten for it.
    pub(crate) fn insert(&mut self, now_ms: u64, key: K, value: V) -> bool {
        match self.get(now_ms, &key) {
            Some(held) => {
                *held = value;
                false
            }
            None => self.add(now_ms, key, value).is_some(),
        }
    }

    /// Puts `value` under `key`, which is not there yet, and returns what had to be forgotten for it.
    pub(crate) fn add(&mut self, now_ms: u64, key: K, value: V) -> Option<(K, V)> {
        let tag = tag_of(&key);
        let full = |table: &Self| {
            table
                .tags
                .get(table.set_of(tag))
                .is_none_or(|tags| !tags.contains(&FREE))
        };
        while full(self)
            && self.len * self.one_of > self.slots.len()
            && self.tags.len() < self.limit_sets
        {
            self.grow();
        }
        let used_ms = now_ms;
        let slot = Slot {
            key,
            value,
            used_ms,
        };
        self.place(tag, slot).map(|slot| (slot.key, slot.value))
    }

    fn place(&mut self, tag: u32, slot: Slot<K, V>) -> Option<Slot<K, V>> {
        let set = self.set_of(tag);
        let age = |way: &usize| {
            let held = self.slots.get(set * WAYS + way).and_then(Option::as_ref);
            held.map_or(0, |held| held.used_ms.saturating_add(1))
        };
        let way = (0..WAYS).min_by_key(age).unwrap_or(0);
        if let Some(held) = self.tags.get_mut(set).and_then(|tags| tags.get_mut(way)) {
            *held = tag;
        }
        let forgotten = self.slots.get_mut(set * WAYS + way)?.replace(slot);
        self.len += usize::from(forgotten.is_none());
        forgotten
    }

    fn grow(&mut self) {
        let sets = self.tags.len() * 2;
        let tags = std::mem::take(&mut self.tags);
        let slots = std::mem::take(&mut self.slots);
        self.allocate(sets);
        for (tag, slot) in tags.into_iter().flatten().zip(slots) {
            if let Some(slot) = slot {
                self.place(tag, slot);
            }
        }
    }

    fn vacate(&mut self, place: usize) {
        if let Some(slot) = self.slots.get_mut(place)
            && slot.take().is_some()
        {
            self.len -= 1;
        }
        if let Some(tag) = self
            .tags
            .get_mut(place / WAYS)
            .and_then(|tags| tags.get_mut(place % WAYS))
        {
            *tag = FREE;
        }
    }

    /// Keeps the entries for which `keep` says so.
    pub(crate) fn retain(&mut self, mut keep: impl FnMut(&K, &mut V) -> bool) {
        for place in 0..self.slots.len() {
            if let Some(Some(slot)) = self.slots.get_mut(place)
                && !keep(&slot.key, &mut slot.value)
            {
                self.vacate(place);
            }
        }
    }

    /// Forgets what has been silent for longer than `idle_ms` in the next `sets` sets; called
    /// again and again, it comes round to all.
    pub(crate) fn expire(&mut self, now_ms: u64, idle_ms: u64, sets: usize) {
        self.sweep(sets, |_, _, used_ms| {
            now_ms.saturating_sub(used_ms) > idle_ms
        });
    }

    /// As [`expire`](Self::expire), of those that are `over` by key, value and when they were last
    /// used.
    pub(crate) fn sweep(&mut self, sets: usize, mut over: impl FnMut(&K, &V, u64) -> bool) {
        for _ in 0..sets.min(self.tags.len()) {
            self.cursor = (self.cursor + 1) & (self.tags.len() - 1);
            if self.tags.get(self.cursor) == Some(&[FREE; WAYS]) {
                continue;
            }
            for place in self.cursor * WAYS..(self.cursor + 1) * WAYS {
                let is_over = matches!(
                    self.slots.get(place),
                    Some(Some(slot)) if over(&slot.key, &slot.value, slot.used_ms)
                );
                if is_over {
                    self.vacate(place);
                }
            }
        }
    }

    /// Forgets everything and gives the memory back.
    pub(crate) fn clear(&mut self) {
        self.allocate(FIRST_SETS);
    }

    /// Entries held.
    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_remembers_nearly_everything_while_there_is_room() {
        let mut table = Recent::new(65_536);
        let mut forgotten = 0;
        for key in 0..20_000_u32 {
            forgotten += u32::from(table.insert(u64::from(key), key, key * 2));
        }
        let found = (0..20_000)
            .filter(|key| table.peek(key) == Some(&(key * 2)))
            .count();
        assert!(
            forgotten <= 100,
            "{forgotten} forgotten for want of a place"
        );
        assert_eq!(found, table.len());
        assert!(table.peek(&20_000).is_none());
    }

    #[test]
    fn a_roomy_one_forgets_nothing_while_it_can_grow() {
        let mut table = Recent::roomy(262_144);
        let forgotten = (0..40_000_u32).filter(|key| table.insert(0, *key, ()));
        assert_eq!(forgotten.count(), 0);
        assert!(table.slots.len() <= 262_144);
    }

    #[test]
    fn it_never_grows_beyond_its_limit_and_forgets_the_silent_first() {
        let mut table = Recent::new(1024);
        table.insert(0, u32::MAX, 0);
        for key in 0..100_000_u32 {
            table.insert(u64::from(key), key, key);
            table.get(u64::from(key), &u32::MAX);
        }
        assert!(table.len() <= 1024);
        assert!(table.peek(&u32::MAX).is_some(), "what is in use stays");
        assert!(table.peek(&99_999).is_some(), "what is new stays");
    }

    #[test]
    fn silence_is_forgotten_in_steps() {
        let mut table = Recent::new(1024);
        for key in 0..500_u32 {
            table.insert(u64::from(key), key, ());
        }
        for _ in 0..1024 / WAYS {
            table.expire(700, 450, 1);
        }
        assert_eq!(table.len(), 250);
        assert!(table.peek(&250).is_some() && table.peek(&249).is_none());
    }

    #[test]
    fn a_key_is_replaced_not_doubled() {
        let mut table = Recent::new(64);
        assert!(!table.insert(1, "a", 1) && !table.insert(2, "a", 2));
        assert_eq!((table.len(), table.peek_used(&"a")), (1, Some((&2, 2))));
        table.retain(|_, _| false);
        assert_eq!(table.len(), 0);
    }
}
