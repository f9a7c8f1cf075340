//! What an alarm watches for, as people write it: `cpu > 50% for 60s`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// CPU in percent: of a container's limit, of all cores of a box.
    Cpu,
    /// Memory in percent: of a container's limit, of a box.
    Memory,
    /// Disk in percent; boxes only.
    Disk,
    /// Hottest zone in degrees Celsius; boxes only.
    Temperature,
    /// Of what enters a chain, what does not come to its end, in percent; of a box, whether the other
    /// ends of its tunnels answer.
    Loss,
    /// How long a chain's links take one way, in milliseconds; of a box, each of its tunnels.
    Latency,
}

impl Metric {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Cpu,
        Self::Memory,
        Self::Disk,
        Self::Temperature,
        Self::Loss,
        Self::Latency,
    ];

    /// As written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Cpu => "cpu",
            Self::Memory => "memory",
            Self::Disk => "disk",
            Self::Temperature => "temperature",
            Self::Loss => "loss",
            Self::Latency => "latency",
        }
    }

    /// Behind its numbers.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::Cpu | Self::Memory | Self::Disk | Self::Loss => "%",
            Self::Temperature => "C",
            Self::Latency => "ms",
        }
    }

    /// Reads a level; the unit may be left out.
    ///
    /// # Errors
    /// The text is no level of this metric.
    pub fn level(self, text: &str) -> Result<Level, ConditionError> {
        level(self, text)
    }

    /// Whether containers have it.
    pub const fn of_containers(self) -> bool {
        matches!(self, Self::Cpu | Self::Memory)
    }

    /// Whether chains have it.
    pub const fn of_chains(self) -> bool {
        matches!(self, Self::Loss | Self::Latency)
    }
}

/// On which side of the threshold it is bad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Comparison {
    /// More is bad.
    Above,
    /// Less is bad.
    Below,
}

/// A number in tenths, so that what is written is what is compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Level(i32);

impl Level {
    /// The number.
    pub fn get(self) -> f32 {
        // Tenths of what is written with six digits at most: exact enough for any sample.
        #[expect(clippy::cast_precision_loss, reason = "six digits fit")]
        let tenths = self.0 as f32;
        tenths / 10.0
    }
}

/// See the module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Condition {
    /// What is measured.
    pub metric: Metric,
    /// Which side is bad.
    pub comparison: Comparison,
    /// The threshold, itself not bad.
    pub threshold: Level,
    /// How long it has to be bad before the alarm fires, milliseconds.
    pub window_ms: u64,
}

/// Text that is no condition.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Not of the form.
    #[error(
        "{0:?} must be METRIC > LEVEL or METRIC < LEVEL, then perhaps \"for 60s\": cpu > 50% for 60s"
    )]
    Form(String),
    /// Not something that is measured.
    #[error("there is no metric {0:?}; there are cpu, memory, disk, temperature, loss and latency")]
    Metric(String),
    /// Not a level.
    #[error("{0:?} is no level: write 50% or 60.5C, at most 99999.9")]
    Level(String),
    /// A unit that the metric does not have.
    #[error("{metric} is in {unit}, not in {written:?}")]
    Unit {
        /// The metric.
        metric: &'static str,
        /// Its unit.
        unit: &'static str,
        /// What was written.
        written: String,
    },
    /// Not a duration.
    #[error("{0:?} is no duration: write 30s, 5m or 1h")]
    Duration(String),
}

/// A number with at most one decimal, and what follows it.
fn number(text: &str) -> Option<(Level, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let (whole, tenth) = digits.split_once('.').unwrap_or((digits, "0"));
    let fits = (1..=5).contains(&whole.len()) && tenth.len() == 1 && !tenth.contains('.');
    let tenths: i32 = format!("{whole}{tenth}").parse().ok().filter(|_| fits)?;
    Some((Level(tenths), unit))
}

fn level(metric: Metric, text: &str) -> Result<Level, ConditionError> {
    let text = text.trim();
    let (level, unit) = number(text).ok_or_else(|| ConditionError::Level(text.to_owned()))?;
    let unit = unit.trim();
    if unit.is_empty() || unit == metric.unit() {
        return Ok(level);
    }
    Err(ConditionError::Unit {
        metric: metric.as_str(),
        unit: metric.unit(),
        written: unit.to_owned(),
    })
}

fn duration(text: &str) -> Result<u64, ConditionError> {
    let refuse = || ConditionError::Duration(text.to_owned());
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit: u64 = match text.get(digits.len()..) {
        Some("s") => 1_000,
        Some("m") => 60_000,
        Some("h") => 3_600_000,
        _ => return Err(refuse()),
    };
    let number: u32 = digits.parse().map_err(|_| refuse())?;
    Ok(u64::from(number) * unit)
}

impl FromStr for Condition {
    type Err = ConditionError;
    fn from_str(text: &str) -> Result<Self, ConditionError> {
        let form = || ConditionError::Form(text.to_owned());
        let at = text.find(['>', '<']).ok_or_else(form)?;
        let (word, rest) = text.split_at(at);
        let comparison = match rest.chars().next() {
            Some('>') => Comparison::Above,
            _ => Comparison::Below,
        };
        let rest = rest.get(1..).unwrap_or_default().trim();
        let word = word.trim();
        let metric = Metric::ALL
            .into_iter()
            .find(|metric| metric.as_str() == word);
        let metric = metric.ok_or_else(|| ConditionError::Metric(word.to_owned()))?;
        let (threshold, window) = match rest.split_once(" for ") {
            Some((threshold, window)) => (threshold, Some(window.trim())),
            None => (rest, None),
        };
        Ok(Self {
            metric,
            comparison,
            threshold: level(metric, threshold)?,
            window_ms: window.map_or(Ok(0), duration)?,
        })
    }
}

impl TryFrom<String> for Condition {
    type Error = ConditionError;
    fn try_from(text: String) -> Result<Self, ConditionError> {
        text.parse()
    }
}

impl From<Condition> for String {
    fn from(condition: Condition) -> Self {
        condition.to_string()
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 % 10 {
            0 => write!(f, "{}", self.0 / 10),
            tenth => write!(f, "{}.{tenth}", self.0 / 10),
        }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Above => ">",
            Self::Below => "<",
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (metric, unit) = (self.metric.as_str(), self.metric.unit());
        write!(f, "{metric} {} {}{unit}", self.comparison, self.threshold)?;
        match self.window_ms {
            0 => Ok(()),
            ms if ms % 3_600_000 == 0 => write!(f, " for {}h", ms / 3_600_000),
            ms if ms % 60_000 == 0 => write!(f, " for {}m", ms / 60_000),
            ms => write!(f, " for {}s", ms / 1_000),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_condition_reads_as_it_is_said() {
        let hot: Condition = "cpu > 50% for 60s".parse().unwrap();
        assert_eq!(hot.metric, Metric::Cpu);
        assert_eq!(hot.comparison, Comparison::Above);
        assert!((hot.threshold.get() - 50.0).abs() < f32::EPSILON);
        assert_eq!(hot.window_ms, 60_000);
        assert_eq!(hot.to_string(), "cpu > 50% for 1m");
        let terse: Condition = "temperature<4.5".parse().unwrap();
        assert_eq!(terse.to_string(), "temperature < 4.5C");
    }

    #[test]
    fn what_is_wrong_is_named() {
        let refusal = |text: &str| text.parse::<Condition>().unwrap_err().to_string();
        assert!(refusal("cpu 50%").contains("cpu > 50% for 60s"));
        assert!(refusal("cup > 50%").contains("no metric \"cup\"; there are cpu"));
        assert!(refusal("cpu > lots").contains("\"lots\" is no level"));
        assert!(refusal("cpu > 50C").contains("cpu is in %, not in \"C\""));
        assert!(refusal("cpu > 5% for ever").contains("\"ever\" is no duration"));
        assert!(refusal("cpu > 1.25%").contains("no level"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            metric in prop::sample::select(Metric::ALL.to_vec()),
            above in any::<bool>(),
            tenths in 0..999_999_i32,
            seconds in 0..100_000_u64,
        ) {
            let condition = Condition {
                metric,
                comparison: if above { Comparison::Above } else { Comparison::Below },
                threshold: Level(tenths),
                window_ms: seconds * 1000,
            };
            prop_assert_eq!(condition.to_string().parse(), Ok(condition));
        }

        #[test]
        fn noise_never_panics(text in ".*") {
            let _ = text.parse::<Condition>();
        }
    }
}
