//! When something that failed is tried again: 1 s, doubling to 60 s, with jitter so that boxes
//! that failed together do not retry together. The first restart of a container that had run
//! for a while is immediate.

use super::Lane;
use std::collections::BTreeMap;

/// First delay.
const FIRST_MS: u64 = 1_000;
/// Longest delay.
const LAST_MS: u64 = 60_000;
/// A container that ran this long starts with a clean record.
const STABLE_MS: u64 = 10_000;

/// The record of one lane.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backoff {
    /// Failures, or quick ends, in a row.
    pub failures: u32,
    /// Not before this.
    pub until_ms: u64,
    /// When it was last started.
    started_ms: u64,
}

/// All records.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Backoffs(BTreeMap<Lane, Backoff>);

impl Backoffs {
    /// Until when `lane` has to wait; `None` when it may go.
    pub fn waits(&self, lane: &Lane, now_ms: u64) -> Option<u64> {
        self.0
            .get(lane)
            .map(|backoff| backoff.until_ms)
            .filter(|until| *until > now_ms)
    }

    /// A try failed. `jitter` is 0..=1 and spreads the delay over its upper half.
    pub fn failed(&mut self, lane: Lane, now_ms: u64, jitter: f64) -> Backoff {
        let entry = self.0.entry(lane).or_default();
        entry.failures = entry.failures.saturating_add(1);
        entry.until_ms = now_ms.saturating_add(delay(entry.failures, jitter));
        *entry
    }

    /// A container was started again after an end. The next start may follow at once when this
    /// one lasts, and has to wait when it does not.
    pub fn restarted(&mut self, lane: Lane, now_ms: u64, jitter: f64) {
        let entry = self.0.entry(lane).or_default();
        let lasted = now_ms.saturating_sub(entry.started_ms.max(entry.until_ms)) >= STABLE_MS;
        entry.failures = if lasted {
            1
        } else {
            entry.failures.saturating_add(1)
        };
        entry.started_ms = now_ms;
        entry.until_ms = now_ms.saturating_add(delay(entry.failures, jitter));
    }

    /// It worked.
    pub fn succeeded(&mut self, lane: &Lane) {
        self.0.remove(lane);
    }

    /// Forgets everything: what was wrong may be right in a new document.
    pub fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets the waiting of every lane that `keep` refuses.
    pub fn retain(&mut self, keep: impl Fn(&Lane) -> bool) {
        self.0.retain(|lane, _| keep(lane));
    }
}

fn delay(failures: u32, jitter: f64) -> u64 {
    let doublings = failures.saturating_sub(1).min(16);
    let full = FIRST_MS.saturating_mul(1 << doublings).min(LAST_MS);
    let half = full / 2;
    // jitter in percent: no float arithmetic on times.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "clamped to 0..=100 first"
    )]
    let percent = (jitter.clamp(0.0, 1.0) * 100.0) as u64;
    half + half * percent / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane() -> Lane {
        Lane::Container("a".into())
    }

    #[test]
    fn delays_double_from_one_second_to_sixty() {
        let mut backoffs = Backoffs::default();
        let mut seen = Vec::new();
        for _ in 0..9 {
            seen.push(backoffs.failed(lane(), 0, 1.0).until_ms);
        }
        assert_eq!(seen, [1, 2, 4, 8, 16, 32, 60, 60, 60].map(|s| s * 1000));
        backoffs.succeeded(&lane());
        assert_eq!(backoffs.waits(&lane(), 0), None);
    }

    #[test]
    fn jitter_takes_at_most_half_away() {
        assert_eq!(delay(1, 0.0), 500);
        assert_eq!(delay(7, 0.0), 30_000);
        assert_eq!(delay(7, 7.0), 60_000);
    }

    #[test]
    fn the_first_restart_is_immediate_and_the_next_quick_one_waits() {
        let mut backoffs = Backoffs::default();
        assert_eq!(backoffs.waits(&lane(), 100_000), None);
        backoffs.restarted(lane(), 100_000, 1.0);
        assert_eq!(backoffs.waits(&lane(), 100_001), Some(101_000));
        backoffs.restarted(lane(), 101_000, 1.0);
        assert_eq!(backoffs.waits(&lane(), 101_001), Some(103_000));
        // It lasted: the record is clean again.
        assert_eq!(backoffs.waits(&lane(), 200_000), None);
        backoffs.restarted(lane(), 200_000, 1.0);
        assert_eq!(backoffs.waits(&lane(), 200_001), Some(201_000));
    }
}
