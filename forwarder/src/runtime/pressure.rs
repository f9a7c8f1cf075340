//! Whether the packet thread has more to do than one core does: pure counting of time.

use std::time::{Duration, Instant};

/// Time that is looked at together. Queues and rings hold more than comes in it.
const WINDOW: Duration = Duration::from_millis(10);

/// How much there is to do, window by window.
#[derive(Debug)]
pub(super) struct Pressure {
    began: Instant,
    slept: Duration,
    helped: Duration,
    high: bool,
}

impl Pressure {
    /// Nothing to do as of `now`.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            began: now,
            slept: Duration::ZERO,
            helped: Duration::ZERO,
            high: false,
        }
    }

    /// The packet thread had nothing to do from `from` to `to`.
    pub(super) fn slept(&mut self, from: Instant, to: Instant) {
        self.slept += to.saturating_duration_since(from);
        let passed = to.saturating_duration_since(self.began);
        if passed < WINDOW {
            return;
        }
        let worked = passed.saturating_sub(self.slept) + self.helped;
        self.high = match self.high {
            // Without help there is next to no time left.
            false => self.slept < passed / 8,
            // What all did together would leave one alone a good part of its time.
            true => worked > passed * 5 / 8,
        };
        (self.began, self.slept, self.helped) = (to, Duration::ZERO, Duration::ZERO);
    }

    /// Others have worked for so long in its place.
    pub(super) fn helped(&mut self, time: Duration) {
        self.helped += time;
    }

    /// Whether others should help.
    pub(super) fn is_high(&self) -> bool {
        self.high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Windows in which the packet thread works and others help, for so many milliseconds of ten;
    /// whether the pressure is high after each.
    fn after(windows: &[(u64, u64)]) -> Vec<bool> {
        let mut now = Instant::now();
        let mut pressure = Pressure::new(now);
        let step = |&(works, helped): &(u64, u64)| {
            pressure.helped(Duration::from_millis(helped));
            let sleeps = now + Duration::from_millis(works);
            now += WINDOW;
            pressure.slept(sleeps, now);
            pressure.is_high()
        };
        windows.iter().map(step).collect()
    }

    #[test]
    fn help_is_wanted_when_there_is_no_time_left_and_not_before() {
        assert_eq!(after(&[(0, 0), (8, 0), (9, 0)]), [false, false, true]);
    }

    #[test]
    fn it_is_wanted_as_long_as_one_alone_could_not_cope() {
        let windows = [(10, 0), (3, 9), (1, 6), (2, 4), (3, 9)];
        assert_eq!(after(&windows), [true, true, true, false, false]);
    }

    #[test]
    fn a_long_sleep_ends_it() {
        let begin = Instant::now();
        let mut pressure = Pressure::new(begin);
        pressure.slept(begin + WINDOW, begin + WINDOW);
        assert!(pressure.is_high());
        pressure.slept(begin + WINDOW, begin + 100 * WINDOW);
        assert!(!pressure.is_high());
    }
}
