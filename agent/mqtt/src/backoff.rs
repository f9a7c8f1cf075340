//! How long to wait before the next connection attempt. Pure: randomness is passed in.

use std::time::Duration;

/// Doubling, jittered delays between 50 ms and 5 s.
///
/// Every delay is drawn from the whole range below a ceiling that doubles, so that many clients
/// that lost one broker at the same moment do not come back at the same moment. The first ceiling is a
/// second: a broker that is restarted is back before anybody has failed twice, and a thousand boxes
/// within 100 ms would be the storm that this is to prevent.
#[derive(Debug, Clone, Default)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Shortest delay.
    pub const SHORTEST: Duration = Duration::from_millis(50);
    /// Longest delay after the first failure.
    pub const FIRST: Duration = Duration::from_secs(1);
    /// Longest delay.
    pub const LONGEST: Duration = Duration::from_secs(5);
    /// A connection that lived this long forgives earlier failures.
    pub const STABLE: Duration = Duration::from_secs(10);

    /// The next delay; `random` is uniform in 0..1.
    pub fn next(&mut self, random: f64) -> Duration {
        let ceiling = Self::FIRST
            .saturating_mul(1 << self.failures.min(7))
            .min(Self::LONGEST);
        self.failures = self.failures.saturating_add(1);
        Self::SHORTEST + (ceiling - Self::SHORTEST).mul_f64(random.clamp(0.0, 1.0))
    }

    /// Tells how long the connection lived that has just ended.
    pub fn lived(&mut self, time: Duration) {
        if time >= Self::STABLE {
            self.failures = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_and_stay_within_bounds() {
        let mut backoff = Backoff::default();
        let ceilings: Vec<_> = (0..5).map(|_| backoff.next(1.0).as_millis()).collect();
        assert_eq!(ceilings, [1000, 2000, 4000, 5000, 5000]);
        assert_eq!(backoff.next(0.0), Backoff::SHORTEST);
    }

    #[test]
    fn only_a_stable_connection_forgives() {
        let mut backoff = Backoff::default();
        for _ in 0..6 {
            backoff.next(0.5);
        }
        backoff.lived(Duration::from_secs(1));
        assert_eq!(backoff.next(1.0), Backoff::LONGEST);
        backoff.lived(Backoff::STABLE);
        assert_eq!(backoff.next(1.0), Backoff::FIRST);
    }

    #[test]
    fn a_thousand_clients_do_not_return_together() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut attempts = Vec::new();
        for _ in 0..1000 {
            let mut backoff = Backoff::default();
            let mut now = Duration::ZERO;
            while now < Duration::from_secs(60) {
                now += backoff.next(random.f64());
                attempts.push(now);
            }
        }
        let busiest = |from: u64, to: u64| {
            (from..to)
                .map(|slot| {
                    let range =
                        Duration::from_millis(slot * 100)..Duration::from_millis(slot * 100 + 100);
                    attempts.iter().filter(|at| range.contains(at)).count()
                })
                .max()
                .unwrap_or(0)
        };
        // A broker that stays away for five seconds or more meets an even stream: 1000 clients
        // every 2.5 s on average are 40 in 100 ms.
        assert!(busiest(50, 590) < 150, "{}", busiest(50, 590));
        // And one that is back at once.
        assert!(busiest(0, 50) < 200, "{}", busiest(0, 50));
    }
}
