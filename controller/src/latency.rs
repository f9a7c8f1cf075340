//! How long links take, one way: as boxes measure it, smoothed so that noise moves nothing, in tenths
//! of a millisecond.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Text that is no latency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no latency: write 5ms or 0.3ms")]
pub struct LatencyError(String);

/// A time that a packet takes, in tenths of a millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Latency(u32);

/// The longest link that is believed: ten seconds.
const LONGEST: u32 = 100_000;

impl Latency {
    /// So many tenths of a millisecond.
    pub const fn from_tenths(tenths: u32) -> Self {
        Self(tenths)
    }

    /// Whether a link may take so long: a tenth of a millisecond to ten seconds.
    pub const fn is_of_a_link(self) -> bool {
        1 <= self.0 && self.0 <= LONGEST
    }

    /// Tenths of a millisecond.
    pub const fn tenths(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Latency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, tenths) = (self.0 / 10, self.0 % 10);
        match tenths {
            0 => f.pad(&format!("{whole}ms")),
            _ => f.pad(&format!("{whole}.{tenths}ms")),
        }
    }
}

impl FromStr for Latency {
    type Err = LatencyError;

    fn from_str(text: &str) -> Result<Self, LatencyError> {
        let tenths = || {
            let number = text.strip_suffix("ms")?;
            let (whole, tenth) = number.split_once('.').unwrap_or((number, "0"));
            let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            let plain = digits(whole) && digits(tenth) && tenth.len() == 1;
            let whole = whole.parse::<u32>().ok().filter(|_| plain)?;
            whole.checked_mul(10)?.checked_add(tenth.parse().ok()?)
        };
        tenths()
            .map(Self)
            .ok_or_else(|| LatencyError(text.to_owned()))
    }
}

impl TryFrom<String> for Latency {
    type Error = LatencyError;
    fn try_from(text: String) -> Result<Self, LatencyError> {
        text.parse()
    }
}

impl From<Latency> for String {
    fn from(latency: Latency) -> Self {
        latency.to_string()
    }
}

/// What is believed of one link: a mean that follows a sample by an eighth, and what is told of it,
/// which stays until the mean has left it clearly.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smoothed {
    mean_us: u32,
    told: Latency,
}

impl Smoothed {
    /// From a first round trip.
    pub fn new(rtt_us: u32) -> Self {
        Self {
            mean_us: rtt_us,
            told: one_way(rtt_us),
        }
    }

    /// Takes up another round trip. One that is far off counts as four times the mean: a box that was
    /// busy for a moment is no long cable.
    pub fn take(&mut self, rtt_us: u32) {
        let most = self.mean_us.saturating_mul(4).saturating_add(1000);
        let (sample, mean) = (i64::from(rtt_us.min(most)), i64::from(self.mean_us));
        // Away from zero, so that it arrives.
        let step = (sample - mean + (sample - mean).signum() * 7) / 8;
        self.mean_us = u32::try_from(mean + step).unwrap_or(0);
        let now = one_way(self.mean_us);
        let band = (self.told.0 / 4).max(1);
        if now.0.abs_diff(self.told.0) > band {
            self.told = now;
        }
    }

    /// One way.
    pub const fn told(&self) -> Latency {
        self.told
    }
}

fn one_way(rtt_us: u32) -> Latency {
    Latency(
        (rtt_us / 2)
            .saturating_add(50)
            .div_euclid(100)
            .clamp(1, LONGEST),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_latency_reads_as_it_is_written() {
        for (text, tenths) in [
            ("5ms", 50),
            ("0.3ms", 3),
            ("0ms", 0),
            ("12.5ms", 125),
            ("10000ms", 100_000),
        ] {
            assert_eq!(text.parse::<Latency>().unwrap().tenths(), tenths);
            assert_eq!(Latency::from_tenths(tenths).to_string(), text);
        }
        for odd in [
            "",
            "5",
            "ms",
            "1.25ms",
            "-1ms",
            "+1ms",
            "1s",
            ".5ms",
            "5.ms",
            "429496729.6ms",
        ] {
            assert!(odd.parse::<Latency>().is_err(), "{odd}");
        }
    }

    proptest! {
        #[test]
        fn noise_of_a_fifth_moves_nothing(
            base in 200_u32..1_000_000,
            noise in proptest::collection::vec(-100..=100_i64, 1..400),
        ) {
            let mut link = Smoothed::new(base);
            let told = link.told();
            for part in noise {
                let sample = i64::from(base) + i64::from(base) * part / 500;
                link.take(u32::try_from(sample).unwrap());
                prop_assert_eq!(link.told(), told);
            }
        }

        #[test]
        fn what_lasts_is_believed_whichever_way(from in 200_u32..1_000_000, to in 200_u32..1_000_000) {
            let mut link = Smoothed::new(from);
            (0..200).for_each(|_| link.take(to));
            let (told, right) = (link.told().tenths(), one_way(to).tenths());
            prop_assert!(told.abs_diff(right) <= (told / 4).max(1), "{} for {}", told, right);
        }
    }

    #[test]
    fn one_hiccup_is_no_long_cable() {
        let mut link = Smoothed::new(1000);
        link.take(3_000_000);
        assert!(link.told().tenths() <= 10, "{}", link.told());
        (0..40).for_each(|_| link.take(1000));
        assert!(link.told().tenths().abs_diff(5) <= 1, "{}", link.told());
    }
}
