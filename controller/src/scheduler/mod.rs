//! Choosing one instance per function type for a chain: six schedulers behind one trait over
//! one topology. Each returns, beside the path, why every candidate was taken or left.

mod explanation;

pub use explanation::{Candidate, Explanation, Position};

use crate::resource::Name;
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
