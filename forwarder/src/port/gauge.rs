//! When a ring is worth it: pure counting of full batches and of blocks with little in them.

use super::ring::Pace;
use std::time::Duration;

/// So many full batches one after the other are more than one by one can cope with.
const BUSY: u32 = 8;

/// A block that was handed over with fewer frames than this need not have been one.
const FEW: u32 = 24;

/// So many of these one after the other are quiet times.
const QUIET: u32 = 100;

/// A ring that nobody needed for so long is closed, and one that could not be had is not tried
/// again sooner.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// How many full batches, or blocks with little in them, came one after the other.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    streak: u32,
}

impl Gauge {
    /// A batch was taken one by one, and there was more than could be taken, or not. Whether a
    /// ring is wanted.
    pub(super) fn batch(&mut self, full: bool) -> bool {
        self.count(full, BUSY)
    }

    /// Blocks were taken, the last one for this reason. Whether the ring is wanted no longer.
    pub(super) fn block(&mut self, pace: Option<Pace>) -> bool {
        match pace {
            Some(Pace::Timed(frames)) => self.count(frames < FEW, QUIET),
            Some(Pace::Full) => self.count(false, QUIET),
            None => false,
        }
    }

    /// Whether the last batch was not full.
    pub(super) fn is_idle(&self) -> bool {
        self.streak == 0
    }

    fn count(&mut self, goes_on: bool, enough: u32) -> bool {
        self.streak = if goes_on { self.streak + 1 } else { 0 };
        let reached = self.streak >= enough;
        if reached {
            self.streak = 0;
        }
        reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_is_wanted_after_full_batches_without_a_pause() {
        let mut gauge = Gauge::default();
        let wanted = |gauge: &mut Gauge, full: &[bool]| full.iter().any(|&full| gauge.batch(full));
        assert!(!wanted(&mut gauge, &[true; 7]));
        assert!(!wanted(&mut gauge, &[false]) && gauge.is_idle());
        assert!(!wanted(&mut gauge, &[true; 7]));
        assert!(wanted(&mut gauge, &[true]));
    }

    #[test]
    fn it_is_wanted_no_longer_when_its_blocks_are_nearly_empty() {
        let mut gauge = Gauge::default();
        let quiet = |gauge: &mut Gauge, pace: Option<Pace>| (0..99).any(|_| gauge.block(pace));
        assert!(!quiet(&mut gauge, Some(Pace::Timed(3))));
        assert!(!quiet(&mut gauge, None), "nothing came: nothing is known");
        assert!(!quiet(&mut gauge, Some(Pace::Timed(FEW))));
        assert!(!quiet(&mut gauge, Some(Pace::Timed(FEW - 1))));
        assert!(gauge.block(Some(Pace::Timed(1))));
        assert!(!quiet(&mut gauge, Some(Pace::Full)));
    }
}
