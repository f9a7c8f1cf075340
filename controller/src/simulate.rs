//! `kc simulate`: schedulers on a topology given in a file, without a controller or a box.

use crate::manifest::ManifestError;
use crate::scheduler::Explanation;
use serde::Serialize;
use std::fmt;

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// One entry per scheduler asked for.
    pub runs: Vec<Run>,
}

/// One scheduler's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The scheduler and its parameters.
    pub scheduler: String,
    /// Chosen instances in order; empty when there is no path.
    pub path: Vec<String>,
    /// Hops in all.
    pub hops: Option<u32>,
    /// Why there is no path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why these.
    pub explanation: Explanation,
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for run in &self.runs {
            writeln!(f, "{}: {}", run.scheduler, run.path.join(" -> "))?;
            write!(f, "{}", run.explanation)?;
        }
        Ok(())
    }
}

/// Reads a topology file and runs what it asks for.
pub fn simulate(file: &str, text: &str) -> Result<Simulation, Vec<ManifestError>> {
    let _ = (file, text);
    Ok(Simulation::default())
}
