//! Lengths of time as people write them: `500ms`, `30s`, `5m`, `1h`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Text that is no length of time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no duration: write 500ms, 30s, 5m or 1h, at most 24h")]
pub struct PeriodError(String);

/// A length of time in milliseconds, a day at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Period(u32);

const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];
const LONGEST_MS: u64 = 24 * 3_600_000;

impl Period {
    /// A minute.
    pub const MINUTE: Self = Self(60_000);
    /// An hour.
    pub const HOUR: Self = Self(3_600_000);

    /// Milliseconds.
    pub const fn millis(self) -> u32 {
        self.0
    }
}

impl FromStr for Period {
    type Err = PeriodError;
    fn from_str(text: &str) -> Result<Self, PeriodError> {
        let refuse = || PeriodError(text.to_owned());
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = text.get(digits.len()..).unwrap_or_default();
        let unit = UNITS.iter().find(|(name, _)| *name == unit);
        let (_, factor) = unit.ok_or_else(refuse)?;
        let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        let number = digits.parse::<u64>().ok().filter(|_| plain);
        number
            .and_then(|number| number.checked_mul(*factor))
            .filter(|ms| *ms <= LONGEST_MS)
            .and_then(|ms| u32::try_from(ms).ok())
            .map(Self)
            .ok_or_else(refuse)
    }
}

impl TryFrom<String> for Period {
    type Error = PeriodError;
    fn try_from(text: String) -> Result<Self, PeriodError> {
        text.parse()
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = u64::from(self.0);
        let fitting = UNITS
            .iter()
            .rev()
            .find(|(_, unit)| ms.is_multiple_of(*unit));
        let (name, unit) = fitting.filter(|_| ms > 0).unwrap_or(&("s", 1_000));
        f.pad(&format!("{}{name}", ms / unit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_written_again() {
        for (text, ms, again) in [
            ("500ms", 500, "500ms"),
            ("90s", 90_000, "90s"),
            ("120s", 120_000, "2m"),
            ("24h", 86_400_000, "24h"),
            ("0s", 0, "0s"),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!((period.millis(), period.to_string().as_str()), (ms, again));
        }
    }

    #[test]
    fn what_is_no_duration_is_told_how_to_write_one() {
        for odd in [
            "",
            "5",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "5 s",
            "25h",
            "99999999999999999999s",
            "5d",
        ] {
            let error = odd.parse::<Period>().unwrap_err().to_string();
            assert!(error.contains("30s"), "{error}");
        }
    }
}
