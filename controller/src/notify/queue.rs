//! What one receiver has yet to be told: of each alarm the newest, tried again after longer and longer
//! waits, for a while. Pure.

use std::collections::BTreeMap;

/// Between the first two tries.
const FIRST_MS: u64 = 1_000;
/// Between any two.
const LONGEST_MS: u64 = 300_000;
/// Tries; with the waits between them about an hour.
const TRIES: u32 = 20;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    body: Vec<u8>,
    due_ms: u64,
    tries: u32,
}

impl Queue {
    /// Something new of an alarm.
    pub(super) fn push(&mut self, alarm: String, body: Vec<u8>, now_ms: u64) {
        let entry = Entry {
            body,
            due_ms: now_ms,
            tries: 0,
        };
        self.waiting.insert(alarm, entry);
    }

    /// How long until something is to be told.
    pub(super) fn due_in(&self, now_ms: u64) -> Option<u64> {
        let due = self.waiting.values().map(|entry| entry.due_ms).min()?;
        Some(due.saturating_sub(now_ms))
    }

    /// What is to be told now, the longest due first.
    pub(super) fn next(&self, now_ms: u64) -> Option<(String, Vec<u8>)> {
        let due = self
            .waiting
            .iter()
            .filter(|(_, entry)| entry.due_ms <= now_ms);
        let (alarm, entry) = due.min_by_key(|(_, entry)| entry.due_ms)?;
        Some((alarm.clone(), entry.body.clone()))
    }

    /// It was told.
    pub(super) fn done(&mut self, alarm: &str) {
        self.waiting.remove(alarm);
    }

    /// It was not told. Whether it is tried again.
    pub(super) fn failed(&mut self, alarm: &str, now_ms: u64) -> bool {
        let Some(entry) = self.waiting.get_mut(alarm) else {
            return false;
        };
        let wait = FIRST_MS.checked_shl(entry.tries).unwrap_or(LONGEST_MS);
        entry.due_ms = now_ms.saturating_add(wait.min(LONGEST_MS));
        entry.tries += 1;
        if entry.tries >= TRIES {
            self.waiting.remove(alarm);
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_told_is_tried_again_more_and_more_slowly_for_about_an_hour() {
        let mut queue = Queue::default();
        queue.push("hot".into(), vec![1], 0);
        let mut now_ms = 0;
        let mut waits = Vec::new();
        while let Some(wait) = queue.due_in(now_ms) {
            now_ms += wait;
            waits.push(wait);
            assert!(queue.next(now_ms).is_some());
            queue.failed("hot", now_ms);
        }
        assert_eq!(waits[..5], [0, 1_000, 2_000, 4_000, 8_000]);
        assert_eq!(waits.len(), 20);
        assert!((2_700_000..4_500_000).contains(&now_ms), "{now_ms}");
    }

    #[test]
    fn the_newest_of_an_alarm_replaces_what_waits() {
        let mut queue = Queue::default();
        queue.push("hot".into(), vec![1], 0);
        queue.failed("hot", 0);
        assert_eq!(queue.next(500), None);
        queue.push("hot".into(), vec![2], 500);
        assert_eq!(queue.next(500), Some(("hot".into(), vec![2])));
        queue.push("cold".into(), vec![3], 400);
        assert_eq!(
            queue.next(500),
            Some(("cold".into(), vec![3])),
            "longer due"
        );
        queue.done("cold");
        queue.done("hot");
        assert_eq!(queue.due_in(500), None);
    }
}
