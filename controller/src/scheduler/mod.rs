//! Choosing one instance per function type for a chain: six schedulers behind one trait over
//! one topology. Each returns, beside the path, why every candidate was taken or left.

mod adaptive;
mod explanation;
mod load_balance;
mod load_path_aware;
mod random;
mod round_robin;
mod shortest_path;
mod survey;
#[cfg(test)]
mod tests;

pub use adaptive::{Adaptive, worth};
pub use explanation::{Candidate, Explanation, Position};

pub use load_balance::LoadBalance;
pub use load_path_aware::LoadPathAware;
pub use random::Random;
pub use round_robin::RoundRobin;
pub use shortest_path::ShortestPath;

use crate::resource::{Algorithm, Name, SchedulerSpec};
use crate::topology::Topology;
use std::collections::BTreeMap;

/// What is to be scheduled.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// SFs, SFFs and links.
    pub topology: &'a Topology,
    /// Function types in order.
    pub functions: &'a [Name],
    /// SFF where traffic enters, when it is known.
    pub ingress: Option<&'a str>,
    /// SFF where traffic leaves, when it is known.
    pub egress: Option<&'a str>,
    /// Round robin: the instance of each type that was taken last.
    pub rotation: &'a BTreeMap<Name, String>,
    /// How often this chain was scheduled before.
    pub draws: u64,
}

/// A path, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Choice {
    /// Instances in order.
    pub path: Vec<String>,
    /// Why these.
    pub explanation: Explanation,
}

/// No path exists.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("no instance of {function} can be used: {}", self.reasons())]
pub struct NoPath {
    /// The first function type without a usable instance.
    pub function: Name,
    /// Why each of its instances was left.
    pub left: Vec<Candidate>,
}

impl NoPath {
    fn reasons(&self) -> String {
        if self.left.is_empty() {
            return "there is none".to_owned();
        }
        let each = self
            .left
            .iter()
            .map(|c| format!("{} {}", c.instance, c.why));
        each.collect::<Vec<_>>().join("; ")
    }
}

/// Something that chooses instances.
pub trait Scheduler {
    /// Its name and parameters, for people.
    fn name(&self) -> String;

    /// Chooses. Deterministic: the same request gives the same answer.
    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath>;
}

/// L_TH of a load/path-aware scheduler that names none; manifests must name one.
const DEFAULT_L_TH: u32 = 4;

/// The scheduler a chain asks for.
pub fn from_spec(spec: &SchedulerSpec) -> Box<dyn Scheduler> {
    match spec.algorithm {
        Algorithm::Random => Box::new(Random {
            seed: spec.seed.unwrap_or(0),
        }),
        Algorithm::RoundRobin => Box::new(RoundRobin),
        Algorithm::LoadBalance => Box::new(LoadBalance),
        Algorithm::ShortestPath => Box::new(ShortestPath),
        Algorithm::LoadPathAware => Box::new(LoadPathAware {
            l_th: spec.l_th.unwrap_or(DEFAULT_L_TH),
        }),
        Algorithm::Adaptive => Box::new(Adaptive),
    }
}
