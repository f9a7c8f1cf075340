//! What others ask of the owner.

use crate::manifest::{ManifestError, Parameters, Source};
use crate::plan::{Change, DeleteError, Step};
use crate::resource::{Resource, ResourceId, Stack};
use crate::store::StoreError;
use crate::views::{EvacuationView, ManifestFile};
use kc_agent_api::NodeName;
use serde::Serialize;
use std::sync::Arc;
use tokio::sync::oneshot;

/// A change of what is wanted.
#[derive(Debug, Clone)]
pub enum Mutation {
    /// Take up manifests, all or none.
    Apply {
        /// The manifests.
        files: Vec<ManifestFile>,
        /// Values for parameters of stacks among them.
        parameters: Parameters,
        /// Whether stacks take over what belongs to none.
        adopt: bool,
    },
    /// Take back what manifests name, all or none.
    DeleteNamed {
        /// The manifests.
        files: Vec<ManifestFile>,
        /// Whether what does not exist is passed over.
        ignore_missing: bool,
    },
    /// Take one resource back.
    Delete(ResourceId),
    /// Seal to the key that a node has now.
    Trust(NodeName),
    /// Cordon, drain or free a node.
    Cordon {
        /// The node.
        node: NodeName,
        /// Nothing new comes.
        cordon: bool,
        /// What is there leaves.
        drain: bool,
    },
}

/// What a change did, or would do.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Revision of the state it speaks of.
    pub revision: u64,
    /// Resources before and after, in the order they were named.
    pub changed: Vec<Changed>,
    /// What is odd but not wrong.
    pub warnings: Vec<ManifestError>,
    /// What follows on the boxes.
    pub steps: Vec<Step>,
    /// What leaves a box that is to be drained, and what stays.
    pub evacuation: Option<EvacuationView>,
}

/// One resource before and after.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// Which.
    pub id: ResourceId,
    /// What happened; `None` when it was deleted.
    pub change: Option<Change>,
    /// As it was.
    pub before: Option<Shown>,
    /// As it is.
    pub after: Option<Shown>,
}

/// What can be shown as a manifest.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Shown {
    /// A resource.
    Resource(Box<Resource>),
    /// A stack, without its resources.
    Stack(Stack),
}

/// Why nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum MutationError {
    /// The manifests are wrong.
    #[error("{} in the manifests", count(.0.len()))]
    Manifest(Vec<ManifestError>),
    /// It cannot be deleted.
    #[error(transparent)]
    Delete(#[from] DeleteError),
    /// No such node.
    #[error("node {0} does not exist")]
    NoNode(NodeName),
    /// It could not be stored.
    #[error("the change could not be stored; nothing was changed")]
    Store(#[source] Arc<StoreError>),
    /// The state could not be written down.
    #[error("the change could not be encoded; nothing was changed")]
    Encode(#[source] Arc<serde_json::Error>),
    /// The controller is going down.
    #[error("the controller is shutting down")]
    Closed,
}

fn count(mistakes: usize) -> String {
    match mistakes {
        1 => "one mistake".to_owned(),
        many => format!("{many} mistakes"),
    }
}

/// A message to the owner.
#[derive(Debug)]
pub(super) enum Input {
    /// Change what is wanted.
    Mutate {
        mutation: Mutation,
        dry_run: bool,
        reply: oneshot::Sender<Result<Outcome, MutationError>>,
    },
}

/// Files as the reader of manifests takes them.
pub(super) fn sources(files: &[ManifestFile]) -> Vec<Source<'_>> {
    files
        .iter()
        .map(|file| Source {
            name: &file.name,
            text: &file.content,
        })
        .collect()
}
