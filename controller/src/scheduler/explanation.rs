//! Why a path is the one it is.

use crate::latency::Latency;
use crate::resource::{Length, Name};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The whole reasoning.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Explanation {
    /// The scheduler and its parameters.
    pub scheduler: String,
    /// One entry per function type, in order.
    pub positions: Vec<Position>,
    /// Hops of the whole path as far as its ends are known.
    pub hops: Option<u32>,
    /// Its latency, where that is the length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

/// One choice.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Position {
    /// Function type.
    pub function: Name,
    /// What was chosen by, in words.
    pub rule: String,
    /// Instances of the type in name order; of very many only the best.
    pub candidates: Vec<Candidate>,
    /// How many more there are.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub more: usize,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// One instance that was looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Candidate {
    /// The instance.
    pub instance: String,
    /// Its SFF.
    pub sff: String,
    /// CPU load in percent, as last known.
    pub load: Option<f32>,
    /// Whether that is too old to be believed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Hops from the instance chosen before, or from the ingress SFF.
    pub hops: Option<u32>,
    /// The way from there, where latency is the length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Whether it was chosen.
    pub taken: bool,
    /// Why, in words.
    pub why: String,
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "scheduler {}", self.scheduler)?;
        if let Some(hops) = self.hops {
            write!(f, ", {} in all", Length::Hops.words(hops))?;
        }
        if let Some(latency) = self.latency {
            write!(f, ", {latency} in all")?;
        }
        writeln!(f)?;
        for position in &self.positions {
            writeln!(f, "{}: {}", position.function, position.rule)?;
            for candidate in &position.candidates {
                writeln!(f, "  {candidate}")?;
            }
            if position.more > 0 {
                writeln!(f, "    and {} more", position.more)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Candidate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.taken { '*' } else { ' ' };
        write!(f, "{mark} {} on {}", self.instance, self.sff)?;
        match self.load {
            Some(load) if self.stale => write!(f, ", load {load:.0}% long ago")?,
            Some(load) => write!(f, ", load {load:.0}%")?,
            None => write!(f, ", load unknown")?,
        }
        if let Some(hops) = self.hops {
            write!(f, ", {}", Length::Hops.words(hops))?;
        }
        if let Some(latency) = self.latency {
            write!(f, ", {latency}")?;
        }
        write!(f, ": {}", self.why)
    }
}

/// A distance as hops or as a latency, whichever it is.
pub(super) fn told(length: Length, distance: Option<u32>) -> (Option<u32>, Option<Latency>) {
    match length {
        Length::Hops => (distance, None),
        Length::Latency => (None, distance.map(Latency::from_tenths)),
    }
}
