//! When a ring is worth it: pure counting of full batches, of blocks with little in them, and of
//! the thread's time. A ring saves time, and its frames wait for a millisecond; who has time to
//! spare is better off without.

use super::ring::Pace;
use nix::time::{ClockId, clock_gettime};
use std::time::{Duration, Instant};

/// So many full batches one after the other are more than one by one can cope with.
const BUSY: u32 = 8;

/// A block that was handed over with fewer frames than this need not have been one.
const FEW: u32 = 24;

/// So many blocks one after the other that were not full tell what times these are.
const QUIET: u32 = 100;

/// A thread that works for less than one part of this many has time to fetch frames one by one,
/// which takes about three times as long.
const SPARE: u32 = 5;

/// A ring that nobody needed for so long is closed, and one that could not be had is not tried
/// again sooner.
pub(super) const LINGER: Duration = Duration::from_secs(10);

/// A moment, by the clock and by the time that this thread has worked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) worked: Duration,
}

impl Moment {
    /// This one.
    pub(super) fn read() -> Self {
        let worked = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
        Self {
            now: Instant::now(),
            // Without that clock the thread never has time to spare.
            worked: worked.map_or(Duration::MAX, Duration::from),
        }
    }
}

/// How many full batches, or blocks with little in them, came one after the other.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    streak: u32,
    /// Blocks that were not full, one after the other.
    timed: u32,
    /// When the first of these came.
    since: Option<Moment>,
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

    /// The same blocks: whether the thread did little while the last hundred of them came, so that
    /// it has the time to do without. Only for those who change over at once: who waits for the
    /// kernel's grace periods keeps frames waiting for longer than blocks do. `moment` is read once
    /// in a while.
    pub(super) fn has_spare_time(
        &mut self,
        pace: Option<Pace>,
        moment: impl Fn() -> Moment,
    ) -> bool {
        match pace {
            Some(Pace::Timed(_)) => self.timed += 1,
            Some(Pace::Full) => {
                (self.timed, self.since) = (0, None);
                return false;
            }
            None => return false,
        }
        if self.since.is_some() && self.timed < QUIET {
            return false;
        }
        let at = moment();
        let former = self.since.replace(at);
        self.timed = 0;
        former.is_some_and(|former| {
            let worked = at.worked.saturating_sub(former.worked);
            let passed = at.now.saturating_duration_since(former.now);
            at.worked < Duration::MAX && worked < passed / SPARE
        })
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

    /// After how many blocks of a millisecond, of which so many microseconds were work, it is
    /// wanted no longer; each tenth one is full where `full` says so.
    fn left_after(work_us: u32, full: bool) -> Option<u32> {
        let begin = Instant::now();
        let mut gauge = Gauge::default();
        (1..1000).find(|&number| {
            let moment = || Moment {
                now: begin + Duration::from_millis(1) * number,
                worked: Duration::from_micros(1) * work_us * number,
            };
            let pace = match full && number % 10 == 0 {
                true => Pace::Full,
                false => Pace::Timed(500),
            };
            gauge.has_spare_time(Some(pace), moment)
        })
    }

    #[test]
    fn it_is_wanted_no_longer_by_a_thread_with_time_to_spare() {
        assert_eq!(left_after(150, false), Some(QUIET + 1));
        assert_eq!(left_after(250, false), None);
        assert_eq!(left_after(150, true), None, "what is full does not wait");
    }
}
