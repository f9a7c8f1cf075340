//! Small answers.

use super::{InstanceView, NodeView};
use crate::execute::Snapshot;
use crate::scheduler::{Explanation, WhatIf};
use serde::{Deserialize, Serialize};

/// One line of a watch: something may look different now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WatchMark {
    /// Revision of the state.
    pub revision: u64,
    /// Id of the newest event.
    pub last_event: u64,
}

/// Load of everything, busiest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct TopView {
    /// Boxes.
    pub nodes: Vec<NodeView>,
    /// Containers.
    pub containers: Vec<InstanceView>,
}

/// Why a chain takes the path it takes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ExplainView {
    /// The chain.
    pub chain: String,
    /// How it is.
    pub state: String,
    /// Why it is not ready.
    pub reason: Option<String>,
    /// How instances are chosen.
    pub scheduler: String,
    /// Instances chosen, as `instance@node`.
    pub path: Vec<String>,
    /// How the scheduler came to it, a line each.
    pub lines: Vec<String>,
    /// The same for programs; absent before the first path.
    #[schema(value_type = Option<Object>)]
    pub explanation: Option<Explanation>,
    /// What would be chosen now if nothing were kept, and what would change that.
    #[schema(value_type = Option<Object>)]
    #[serde(default)]
    pub what_if: Option<WhatIf>,
}

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct VersionView {
    /// Program version.
    pub version: String,
    /// Administrative domain.
    pub domain: String,
    /// The broker's address.
    pub broker: String,
    /// Whether the broker is connected.
    pub connected: bool,
    /// Revision of the state.
    pub revision: u64,
}

/// What is planned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PlanView {
    /// Revision of the state.
    pub revision: u64,
    /// The document of each box.
    pub documents: Vec<DocumentView>,
    /// What is waited for, a line each; empty when everything is as it shall be.
    pub waiting: Vec<String>,
}

/// One box's document in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct DocumentView {
    /// The box.
    pub node: String,
    /// Its generation.
    pub generation: u64,
    /// Generation its forwarder has in force.
    pub acknowledged: u64,
    /// Containers in it.
    pub containers: usize,
    /// Path parts in it.
    pub paths: usize,
}

/// What is planned, out of a snapshot.
pub fn plan(moment: &Snapshot) -> PlanView {
    let documents: Vec<DocumentView> = moment
        .documents
        .iter()
        .map(|(node, document)| DocumentView {
            node: node.to_string(),
            generation: document.generation,
            acknowledged: moment.observed.acknowledged(node),
            containers: document.containers.len(),
            paths: document.forwarder.paths.len(),
        })
        .collect();
    let mut waiting: Vec<String> = documents
        .iter()
        .filter(|document| document.acknowledged < document.generation)
        .map(|d| {
            format!(
                "{} has generation {} of {}",
                d.node, d.acknowledged, d.generation
            )
        })
        .collect();
    for (name, instance) in &moment.state.instances {
        if let Some(why) = &instance.waiting {
            waiting.push(format!("{name} waits for a place: {why}"));
        }
    }
    for (name, chain) in &moment.state.chains {
        if let Some(reason) = chain.status.reason() {
            waiting.push(format!("chain {name} is {}: {reason}", chain.status.word()));
        }
    }
    PlanView {
        revision: moment.revision,
        documents,
        waiting,
    }
}
