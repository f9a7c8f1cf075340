//! A table with an upper bound and an expiry for each entry. When it is full, a few entries are
//! looked at in turn: expired ones go, then one that the caller thinks little of.

use rustc_hash::FxHashMap;
use std::collections::VecDeque;
use std::hash::Hash;

/// Entries looked at for each insertion, and for each one into a full table.
const GLANCE: usize = 2;
const SEARCH: usize = 64;

#[derive(Debug)]
struct Entry<V> {
    value: V,
    expires_ms: u64,
    serial: u64,
}

/// Keys to values that expire.
#[derive(Debug)]
pub(crate) struct Table<K, V> {
    entries: FxHashMap<K, Entry<V>>,
    /// Every entry once, in the order in which they are looked at; and entries that have gone.
    turns: VecDeque<(K, u64)>,
    limit: usize,
    serial: u64,
}

impl<K: Copy + Eq + Hash, V> Table<K, V> {
    /// A table of at most `limit` entries; memory is taken as it fills.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            entries: FxHashMap::default(),
            turns: VecDeque::new(),
            limit,
            serial: 0,
        }
    }

    /// The live entry of `key`.
    pub(crate) fn get(&self, now_ms: u64, key: &K) -> Option<&V> {
        let entry = self.entries.get(key)?;
        (entry.expires_ms > now_ms).then_some(&entry.value)
    }

    /// The live entry of `key`.
    pub(crate) fn get_mut(&mut self, now_ms: u64, key: &K) -> Option<&mut V> {
        let entry = self.entries.get_mut(key)?;
        (entry.expires_ms > now_ms).then_some(&mut entry.value)
    }

    /// Lets the entry of `key` live until `expires_ms`.
    pub(crate) fn keep_until(&mut self, key: &K, expires_ms: u64) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.expires_ms = expires_ms;
        }
    }

    /// Inserts or replaces. When the table is full of live entries, one that `dispensable` names
    /// makes room. Says whether the entry is in the table, and what had to go for it is handed
    /// to `gone`.
    pub(crate) fn insert(
        &mut self,
        now_ms: u64,
        key: K,
        value: V,
        expires_ms: u64,
        dispensable: impl Fn(&V) -> bool,
        mut gone: impl FnMut(K, V),
    ) -> bool {
        self.turn(now_ms, GLANCE, |_| false, &mut gone);
        if !self.entries.contains_key(&key) && self.entries.len() >= self.limit {
            self.turn(now_ms, SEARCH, |_| false, &mut gone);
            if self.entries.len() >= self.limit {
                self.turn(now_ms, SEARCH, dispensable, &mut gone);
            }
            if self.entries.len() >= self.limit {
                return false;
            }
        }
        self.serial += 1;
        self.turns.push_back((key, self.serial));
        let entry = Entry {
            value,
            expires_ms,
            serial: self.serial,
        };
        if let Some(former) = self.entries.insert(key, entry) {
            gone(key, former.value);
        }
        true
    }

    /// Removes the entry of `key`.
    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        self.entries.remove(key).map(|entry| entry.value)
    }

    /// Entries, expired ones included that nobody has looked at.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Looks at `count` entries in turn; at most one goes for being dispensable.
    fn turn(
        &mut self,
        now_ms: u64,
        count: usize,
        dispensable: impl Fn(&V) -> bool,
        gone: &mut impl FnMut(K, V),
    ) {
        let mut spared = true;
        for _ in 0..count {
            let Some((key, serial)) = self.turns.pop_front() else {
                return;
            };
            let Some(entry) = self
                .entries
                .get(&key)
                .filter(|entry| entry.serial == serial)
            else {
                continue;
            };
            let doomed = spared && dispensable(&entry.value);
            if entry.expires_ms > now_ms && !doomed {
                self.turns.push_back((key, serial));
                continue;
            }
            spared &= !doomed;
            if let Some(entry) = self.entries.remove(&key) {
                gone(key, entry.value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(table: &mut Table<u32, u32>, now: u64, key: u32, expires: u64) -> bool {
        table.insert(now, key, key, expires, |&value| value >= 1000, |_, _| {})
    }

    #[test]
    fn an_expired_entry_is_gone_at_once_and_makes_room() {
        let mut table = Table::new(2);
        assert!(put(&mut table, 0, 1, 10));
        assert!(put(&mut table, 0, 2, 100));
        assert_eq!(table.get(10, &1), None);
        assert!(put(&mut table, 10, 3, 100));
        assert_eq!(table.get(10, &2), Some(&2));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn live_entries_yield_only_when_they_are_dispensable() {
        let mut table = Table::new(2);
        assert!(put(&mut table, 0, 1, 100));
        assert!(put(&mut table, 0, 1000, 100));
        assert!(put(&mut table, 0, 2, 100));
        assert_eq!(table.get(0, &1000), None);
        assert!(!put(&mut table, 0, 3, 100));
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn coming_and_going_does_not_pile_up() {
        let mut table = Table::new(100);
        put(&mut table, 0, 7, u64::MAX);
        for round in 0..10_000 {
            put(&mut table, round, 8, u64::MAX);
            table.remove(&8);
        }
        assert!(table.turns.len() < 10, "{}", table.turns.len());
        assert_eq!(table.get(10_000, &7), Some(&7));
    }
}
