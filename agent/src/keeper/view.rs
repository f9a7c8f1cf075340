//! What the loop tells others.

use crate::reconcile::Seen;
use bollard::Docker;
use kc_agent_api::{EventKind, NodeSpec};
use std::path::PathBuf;
use std::sync::Arc;

/// Something happened. Numbering and sending are somebody else's work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Happened {
    /// What kind.
    pub kind: EventKind,
    /// The container, port or process it happened to.
    pub object: String,
    /// For people.
    pub message: String,
}

/// The box as the loop knows it, for those who measure and answer calls.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The document in force.
    pub spec: Arc<NodeSpec>,
    /// Our containers, pause containers among them.
    pub containers: Arc<Vec<Seen>>,
    /// A client of the engine, while it answers.
    pub docker: Option<Docker>,
    /// The engine's version, while it answers.
    pub engine: Option<String>,
    /// Where the engine keeps its data, once it has answered.
    pub data_root: Option<PathBuf>,
}
