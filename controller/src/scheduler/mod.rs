//! Choosing one instance per function type for a chain: schedulers behind one trait over one
//! topology. Six choose as their names say; *optimal* is the yardstick. Each returns, beside the path, why every candidate was taken or left.

mod adaptive;
mod explanation;
#[cfg(test)]
mod golden;
mod layers;
mod load_balance;
mod load_path_aware;
mod optimal;
mod random;
mod round_robin;
mod shortest_path;
mod survey;
#[cfg(test)]
mod tests;
mod what_if;

pub use adaptive::Adaptive;
pub use explanation::{Candidate, Explanation, Position};

pub use load_balance::LoadBalance;
pub use load_path_aware::LoadPathAware;
use optimal::points;
pub use optimal::{Optimal, cost, price};
pub use random::Random;
pub use round_robin::RoundRobin;
pub use shortest_path::ShortestPath;
pub use what_if::{CandidateWhatIf, PositionWhatIf, WhatIf, what_if};

use crate::resource::{Algorithm, Length, MissingLoad, Name, SchedulerSpec};
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
    /// By type: the instance that is healthy and stays.
    pub kept: &'a BTreeMap<Name, String>,
    /// By instance: why this chain may not take it, though others may.
    pub without: &'a BTreeMap<String, String>,
    /// What a load counts as that is unknown or too old.
    pub missing: MissingLoad,
}

impl<'a> Request<'a> {
    /// A request for `functions` that binds nothing else.
    pub fn new(topology: &'a Topology, functions: &'a [Name]) -> Self {
        const NO_NAMES: &BTreeMap<Name, String> = &BTreeMap::new();
        const NO_REASONS: &BTreeMap<String, String> = &BTreeMap::new();
        Self {
            topology,
            functions,
            ingress: None,
            egress: None,
            rotation: NO_NAMES,
            draws: 0,
            kept: NO_NAMES,
            without: NO_REASONS,
            missing: MissingLoad::default(),
        }
    }
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
    /// Why each of its instances was left; of very many only the first.
    pub left: Vec<Candidate>,
    /// How many more there are.
    pub more: usize,
}

impl NoPath {
    fn nobody(function: &Name) -> Self {
        Self {
            function: function.clone(),
            left: Vec::new(),
            more: 0,
        }
    }

    fn reasons(&self) -> String {
        if self.left.is_empty() {
            return "there is none".to_owned();
        }
        let each = self
            .left
            .iter()
            .map(|c| format!("{} {}", c.instance, c.why));
        let more = (self.more > 0).then(|| format!("and {} more", self.more));
        each.chain(more).collect::<Vec<_>>().join("; ")
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

/// Points of CPU that a hop counts as, where a manifest does not say.
pub const DEFAULT_HOP_WEIGHT: u32 = 5;

/// The scheduler a chain asks for. Its requests need a topology in the length that the chain says.
pub fn from_spec(spec: &SchedulerSpec) -> Box<dyn Scheduler> {
    let plain = plain(spec);
    match spec.length {
        Length::Hops => plain,
        Length::Latency => Box::new(Spelled {
            name: spec.to_string(),
            plain,
        }),
    }
}

/// One that is called as its chain says, since it cannot tell in what its parameters are.
struct Spelled {
    name: String,
    plain: Box<dyn Scheduler>,
}

impl Scheduler for Spelled {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        let mut choice = self.plain.schedule(request)?;
        choice.explanation.scheduler.clone_from(&self.name);
        Ok(choice)
    }
}

fn plain(spec: &SchedulerSpec) -> Box<dyn Scheduler> {
    match spec.algorithm {
        Algorithm::Random => Box::new(Random {
            seed: spec.seed.unwrap_or(0),
        }),
        Algorithm::RoundRobin => Box::new(RoundRobin),
        Algorithm::LoadBalance => Box::new(LoadBalance),
        Algorithm::ShortestPath => Box::new(ShortestPath),
        Algorithm::LoadPathAware => Box::new(LoadPathAware {
            l_th: spec
                .l_th
                .and_then(|l_th| l_th.of(spec.length))
                .unwrap_or(DEFAULT_L_TH * spec.length.parts()),
        }),
        Algorithm::Adaptive => Box::new(Adaptive),
        Algorithm::Optimal => Box::new(Optimal {
            hop_weight: spec.hop_weight.unwrap_or(DEFAULT_HOP_WEIGHT),
        }),
    }
}
