//! The planner's clock: starts at wall time and then never jumps, so that a box without a clock
//! of its own, which learns the date minutes after boot, is not taken for a week of silence.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// A clock that only moves forward.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    base_ms: u64,
    started: Instant,
}

impl Clock {
    /// Starts at wall time, but never before `floor_ms`: what an earlier run has planned for
    /// later must not lie in a future that is decades away.
    pub fn start(floor_ms: u64) -> Self {
        Self {
            base_ms: wall_ms().max(floor_ms),
            started: Instant::now(),
        }
    }

    /// Planner's time, milliseconds.
    pub fn now_ms(&self) -> u64 {
        let passed = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.base_ms.saturating_add(passed)
    }

    /// How far the wall clock is ahead as it goes now, in whole seconds.
    pub fn wall_ahead_ms(&self) -> i64 {
        let ahead = i128::from(wall_ms()) - i128::from(self.now_ms());
        i64::try_from(ahead / 1_000 * 1_000).unwrap_or(0)
    }

    /// When that was by the wall clock as it goes now, milliseconds since 1970.
    pub fn wall(&self, planner_ms: u64) -> u64 {
        let (now, wall) = (self.now_ms(), wall_ms());
        if planner_ms <= now {
            wall.saturating_sub(now - planner_ms)
        } else {
            wall.saturating_add(planner_ms - now)
        }
    }
}

/// The wall clock, milliseconds since 1970.
pub(crate) fn wall_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_does_not_start_before_what_was_planned() {
        let far = wall_ms() + 1_000_000;
        let clock = Clock::start(far);
        assert!(clock.now_ms() >= far);
        let wall = clock.wall(clock.now_ms());
        assert!(
            wall.abs_diff(wall_ms()) < 1_000,
            "people still see the wall clock"
        );
    }
}
