//! `autoscale`: how many instances there are, decided by load. Types only; `crate::scaling` decides.

use super::{Name, Period};
use crate::alarm::{ConditionError, Level, Metric};
use serde::{Deserialize, Serialize};

/// Bounds, and what moves the number between them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct AutoscaleSpec {
    /// Never fewer.
    #[serde(default = "super::function::one")]
    pub min: u32,
    /// Never more.
    pub max: u32,
    /// Target tracking: as many as keep the mean near these. Of several the one that wants most wins.
    #[serde(default, skip_serializing_if = "Targets::is_empty")]
    pub target: Targets,
    /// Step policies: what an alarm of the same resource adds or removes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepPolicy>,
    /// How soon it grows.
    #[serde(default, skip_serializing_if = "Pace::is_default")]
    pub scale_out: Pace,
    /// How soon it shrinks.
    #[serde(default, skip_serializing_if = "Pace::is_default")]
    pub scale_in: Pace,
    /// How often it may turn round.
    #[serde(default, skip_serializing_if = "FlapBudget::is_default")]
    pub flap_budget: FlapBudget,
}

/// What the mean of all instances is kept near.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Targets {
    /// CPU, as in `60%`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<String>,
    /// Memory, as in `70%`; of the limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<String>,
}

impl Targets {
    /// Whether nothing is tracked.
    pub const fn is_empty(&self) -> bool {
        self.cpu.is_none() && self.memory.is_none()
    }

    /// What is tracked, with its key in the manifest.
    pub fn all(&self) -> impl Iterator<Item = (Metric, Result<Level, ConditionError>)> {
        let both = [(Metric::Cpu, &self.cpu), (Metric::Memory, &self.memory)];
        both.into_iter().filter_map(|(metric, text)| {
            let text = text.as_ref()?;
            Some((metric, metric.level(text)))
        })
    }
}

/// What an alarm adds while it fires, or removes; one of both.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct StepPolicy {
    /// An alarm of the same resource.
    pub alarm: Name,
    /// That many more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub add: Option<u32>,
    /// That many fewer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remove: Option<u32>,
}

/// How soon the number follows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Pace {
    /// How long after a change there is no other; out 15 s, in 60 s when absent. Growing waits for
    /// growth before it, shrinking for any change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cooldown: Option<Period>,
    /// For how long a target must have wanted as much (out: at least, in: at most); out 0 s, in 5 min
    /// when absent. Alarms have a window of their own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stabilization: Option<Period>,
}

impl Pace {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// How often growth may turn into shrinking or back. Where it is used up nothing shrinks: to stay
/// large is safe, and costs least.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct FlapBudget {
    /// Most turns.
    pub turns: u32,
    /// Within this time.
    pub within: Period,
}

impl Default for FlapBudget {
    fn default() -> Self {
        Self {
            turns: 6,
            within: Period::HOUR,
        }
    }
}

impl FlapBudget {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl AutoscaleSpec {
    /// Milliseconds after growth without more growth.
    pub fn out_cooldown_ms(&self) -> u64 {
        self.scale_out
            .cooldown
            .map_or(15_000, |p| p.millis().into())
    }

    /// Milliseconds after any change without shrinking.
    pub fn in_cooldown_ms(&self) -> u64 {
        self.scale_in.cooldown.map_or(60_000, |p| p.millis().into())
    }

    /// Milliseconds for which more must have been wanted.
    pub fn out_window_ms(&self) -> u64 {
        self.scale_out
            .stabilization
            .map_or(0, |p| p.millis().into())
    }

    /// Milliseconds for which no more must have been wanted.
    pub fn in_window_ms(&self) -> u64 {
        let window = self.scale_in.stabilization;
        window.map_or(300_000, |p| p.millis().into())
    }
}
