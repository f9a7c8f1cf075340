//! How long an acknowledgement may take before what was sent is sent again. Pure: the time is passed
//! in, as time since the boot.

use std::time::Duration;

/// Doubles from one to the other: a controller that is away for a week is not to find the broker
/// busy with what nobody takes.
const WAITS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// A wait that doubles until somebody is heard.
#[derive(Debug)]
pub(super) struct Patience {
    wait: Duration,
    since: Option<Duration>,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            wait: WAITS.0,
            since: None,
        }
    }
}

impl Patience {
    /// Something was sent.
    pub(super) const fn begin(&mut self, now: Duration) {
        self.since = Some(now);
    }

    /// Whether it is time to send again; if so the next wait is longer.
    pub(super) fn over(&mut self, now: Duration) -> bool {
        let over = self
            .since
            .is_some_and(|since| now.saturating_sub(since) >= self.wait);
        if over {
            self.since = None;
            self.wait = (self.wait * 2).min(WAITS.1);
        }
        over
    }

    /// There is somebody: waits are short again.
    pub(super) const fn heard(&mut self) {
        self.wait = WAITS.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_ten_minutes_and_are_short_again_when_somebody_is_heard() {
        let mut patience = Patience::default();
        let second = Duration::from_secs;
        assert!(!patience.over(second(1_000)), "nothing was sent");
        for wait in [10, 20, 40, 80, 160, 320, 600, 600] {
            patience.begin(second(5));
            assert!(!patience.over(second(5 + wait - 1)), "{wait}");
            assert!(patience.over(second(5 + wait)), "{wait}");
            assert!(!patience.over(second(9_999)), "once");
        }
        patience.heard();
        patience.begin(second(0));
        assert!(patience.over(second(10)));
    }
}
