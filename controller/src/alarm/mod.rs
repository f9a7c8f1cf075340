//! Alarms: a condition that is watched for, and how it stands. Pure: samples and `now` in, states
//! out. Who is watched, and what follows from it, is the planner's.
//!
//! A condition that is met makes its subject *pending*; when it has been met for the whole window,
//! *firing*; the level to clear, which may be another one, ends it. No sample is no news: it
//! changes nothing, because a box that is silent is neither well nor overloaded.

mod condition;
mod report;

pub use condition::{Comparison, Condition, ConditionError, Level, Metric};
pub use report::{AlarmReport, SubjectReport};

use crate::resource::Name;
use serde::{Deserialize, Serialize};
use std::fmt;

/// An alarm as a manifest has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AlarmSpec {
    /// Its name within the resource.
    pub name: Name,
    /// What it watches for.
    pub when: Condition,
    /// The level at which it ends, so that it does not flap; the threshold when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clear: Option<String>,
    /// Whose measure counts.
    #[serde(default)]
    pub of: Of,
    /// How bad it is.
    #[serde(default)]
    pub severity: Severity,
    /// Whether chains leave an instance that it fires for, when another can take them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub replace: bool,
    /// Webhooks that are told when it begins to fire and when it is over.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notify: Vec<String>,
}

impl AlarmSpec {
    /// The level at which it ends.
    ///
    /// # Errors
    /// What is written there is no level of the metric.
    pub fn clear_level(&self) -> Result<Level, ConditionError> {
        match &self.clear {
            Some(text) => self.when.metric.level(text),
            None => Ok(self.when.threshold),
        }
    }

    /// How a subject stands, whose measure is `value`, and when to look again though nothing new
    /// was measured.
    pub fn step(
        &self,
        before: Standing,
        value: Option<f32>,
        now_ms: u64,
    ) -> (Standing, Option<u64>) {
        let Some(value) = value else {
            return (before, None);
        };
        let clear = self.clear_level().unwrap_or(self.when.threshold).get();
        let threshold = self.when.threshold.get();
        let (is_met, is_over) = match self.when.comparison {
            Comparison::Above => (value > threshold, value <= clear),
            Comparison::Below => (value < threshold, value >= clear),
        };
        let due = |since: u64| since.saturating_add(self.when.window_ms);
        match before {
            Standing::Firing { .. } if is_over => (Standing::Ok, None),
            Standing::Firing { .. } => (before, None),
            Standing::Ok | Standing::Pending { .. } if !is_met => (Standing::Ok, None),
            Standing::Ok if self.when.window_ms == 0 => {
                (Standing::Firing { since_ms: now_ms }, None)
            }
            Standing::Ok => (Standing::Pending { since_ms: now_ms }, Some(due(now_ms))),
            Standing::Pending { since_ms } if now_ms >= due(since_ms) => {
                (Standing::Firing { since_ms: now_ms }, None)
            }
            // A clock that was set back must not hold an alarm for ever.
            Standing::Pending { since_ms } => {
                let since_ms = since_ms.min(now_ms);
                (Standing::Pending { since_ms }, Some(due(since_ms)))
            }
        }
    }
}

/// Judges the address of a webhook.
///
/// # Errors
/// What it has to look like.
pub fn webhook(text: &str) -> Result<(), String> {
    let uri: Option<hyper::Uri> = text.parse().ok();
    let fits = uri.is_some_and(|uri| {
        let web = matches!(uri.scheme_str(), Some("http" | "https"));
        web && uri.host().is_some_and(|host| !host.is_empty())
    });
    match fits {
        true => Ok(()),
        false => Err(format!(
            "{text:?} is no webhook: write http://host/path or https://host/path"
        )),
    }
}

/// Whose measure counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Of {
    /// Each instance is watched for itself, and one is enough.
    #[default]
    Any,
    /// The mean of all instances that are measured.
    Average,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// To be known.
    Info,
    /// To be looked at.
    #[default]
    Warning,
    /// To be looked at now.
    Critical,
}

/// How one subject stands. Ordered from good to bad.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(
    rename_all = "kebab-case",
    rename_all_fields = "camelCase",
    tag = "state"
)]
pub enum Standing {
    /// The condition is not met.
    #[default]
    Ok,
    /// It is met, but not for long enough.
    Pending {
        /// Since when.
        since_ms: u64,
    },
    /// It was met for the whole window, and has not ended.
    Firing {
        /// Since when.
        since_ms: u64,
    },
}

impl Standing {
    /// One word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Pending { .. } => "pending",
            Self::Firing { .. } => "firing",
        }
    }

    /// Since when it is not ok.
    pub const fn since_ms(self) -> Option<u64> {
        match self {
            Self::Ok => None,
            Self::Pending { since_ms } | Self::Firing { since_ms } => Some(since_ms),
        }
    }

    /// Whether it fires.
    pub const fn is_firing(self) -> bool {
        matches!(self, Self::Firing { .. })
    }

    /// The worse of two; of two that are as bad the one that is so for longer.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Firing { since_ms: a }, Self::Firing { since_ms: b }) => {
                Self::Firing { since_ms: a.min(b) }
            }
            (Self::Pending { since_ms: a }, Self::Pending { since_ms: b }) => {
                Self::Pending { since_ms: a.min(b) }
            }
            (a, b) => a.max(b),
        }
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Critical => "critical",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn alarm(when: &str, clear: Option<&str>) -> AlarmSpec {
        AlarmSpec {
            name: Name::new("hot").unwrap(),
            when: when.parse().unwrap(),
            clear: clear.map(str::to_owned),
            of: Of::Any,
            severity: Severity::Warning,
            replace: false,
            notify: Vec::new(),
        }
    }

    #[test]
    fn it_fires_after_its_window_and_ends_at_its_other_level() {
        let alarm = alarm("cpu > 50% for 60s", Some("40%"));
        let (pending, wake) = alarm.step(Standing::Ok, Some(51.0), 1_000);
        assert_eq!(
            (pending, wake),
            (Standing::Pending { since_ms: 1_000 }, Some(61_000))
        );
        assert_eq!(alarm.step(pending, Some(90.0), 60_999).0, pending);
        let (firing, _) = alarm.step(pending, Some(90.0), 61_000);
        assert_eq!(firing, Standing::Firing { since_ms: 61_000 });
        assert_eq!(
            alarm.step(firing, Some(45.0), 70_000).0,
            firing,
            "between the levels"
        );
        assert_eq!(alarm.step(firing, Some(40.0), 80_000).0, Standing::Ok);
    }

    #[test]
    fn a_dip_starts_the_window_anew_and_silence_does_nothing() {
        let alarm = alarm("cpu > 50% for 60s", None);
        let (pending, _) = alarm.step(Standing::Ok, Some(60.0), 0);
        assert_eq!(alarm.step(pending, Some(50.0), 30_000).0, Standing::Ok);
        assert_eq!(alarm.step(pending, None, 90_000).0, pending);
        let firing = Standing::Firing { since_ms: 5 };
        assert_eq!(alarm.step(firing, None, 90_000).0, firing);
    }

    #[test]
    fn below_is_the_mirror_of_above() {
        let alarm = alarm("memory < 10%", Some("20%"));
        let (firing, _) = alarm.step(Standing::Ok, Some(9.9), 7);
        assert_eq!(firing, Standing::Firing { since_ms: 7 });
        assert_eq!(alarm.step(firing, Some(15.0), 8).0, firing);
        assert_eq!(alarm.step(firing, Some(20.0), 9).0, Standing::Ok);
    }

    proptest! {
        /// Whatever is measured: an alarm fires only after a window in which every sample met its
        /// condition.
        #[test]
        fn it_never_fires_early(
            samples in prop::collection::vec((prop::option::of(0..100_u8), 1..40_u64), 1..60),
        ) {
            let alarm = alarm("cpu > 50% for 60s", Some("30%"));
            let (mut standing, mut now) = (Standing::Ok, 0);
            let mut met_since = None;
            for (value, seconds) in samples {
                now += seconds * 1000;
                let value = value.map(f32::from);
                match value {
                    Some(value) if value > 50.0 => { met_since.get_or_insert(now); }
                    Some(_) => met_since = None,
                    None => {}
                }
                let next = alarm.step(standing, value, now).0;
                if next.is_firing() && !standing.is_firing() {
                    prop_assert!(met_since.is_some_and(|since| now - since >= 60_000));
                }
                standing = next;
            }
        }
    }
}
