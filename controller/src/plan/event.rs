//! What the planner tells: each thing once, in the plan that first knew it.

use crate::resource::ResourceId;
use kc_agent_api::NodeName;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Something that happened or was decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanEvent {
    /// What kind of thing.
    pub kind: PlanEventKind,
    /// The resource it is about.
    pub object: ResourceId,
    /// The node it is about, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// For people.
    pub message: String,
}

impl fmt::Display for PlanEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", self.kind, self.object, self.message)
    }
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlanEventKind {
    /// A box showed up for the first time.
    NodeJoined,
    /// A box is there again.
    NodeReady,
    /// A box is gone.
    NodeGone,
    /// A box tells another key than the one it is known by.
    NodeKeyChanged,
    /// An instance or replica was given a node.
    Placed,
    /// An instance or replica fits nowhere.
    Unplaced,
    /// An instance or replica runs.
    Running,
    /// An instance or replica no longer runs.
    Died,
    /// An instance or replica is no longer wanted.
    Retired,
    /// An instance or replica of a drained box has another in its place.
    Replaced,
    /// An instance or replica cannot leave a drained box.
    Stays,
    /// An instance or replica is changed.
    Updating,
    /// A change has come to all instances.
    UpdateFinished,
    /// A change was given up; who had not had its turn stays as it was.
    UpdateStopped,
    /// A path was chosen for a chain.
    PathChosen,
    /// A chain's traffic runs over a new path.
    PathActive,
    /// A former path is gone from every box.
    PathRemoved,
    /// A chain waits for something.
    ChainWaiting,
    /// A chain carries no traffic and cannot be mended at present.
    ChainBroken,
    /// A broken chain carries traffic again.
    ChainMended,
    /// A chain was removed.
    ChainRemoved,
    /// Load asked for more instances, and gets them.
    ScaledOut,
    /// Fewer instances are enough.
    ScaledIn,
    /// A condition was met for the whole of its window.
    AlarmFiring,
    /// A firing alarm has ended.
    AlarmCleared,
}

impl PlanEventKind {
    /// The kind's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NodeJoined => "node-joined",
            Self::NodeReady => "node-ready",
            Self::NodeGone => "node-gone",
            Self::NodeKeyChanged => "node-key-changed",
            Self::Placed => "placed",
            Self::Unplaced => "unplaced",
            Self::Running => "running",
            Self::Died => "died",
            Self::Retired => "retired",
            Self::Replaced => "replaced",
            Self::Stays => "stays",
            Self::Updating => "updating",
            Self::UpdateFinished => "update-finished",
            Self::UpdateStopped => "update-stopped",
            Self::PathChosen => "path-chosen",
            Self::PathActive => "path-active",
            Self::PathRemoved => "path-removed",
            Self::ChainWaiting => "chain-waiting",
            Self::ChainBroken => "chain-broken",
            Self::ChainMended => "chain-mended",
            Self::ChainRemoved => "chain-removed",
            Self::ScaledOut => "scaled-out",
            Self::ScaledIn => "scaled-in",
            Self::AlarmFiring => "alarm-firing",
            Self::AlarmCleared => "alarm-cleared",
        }
    }

    /// Whether somebody should look.
    pub const fn is_warning(self) -> bool {
        matches!(
            self,
            Self::NodeGone
                | Self::Unplaced
                | Self::Stays
                | Self::Died
                | Self::UpdateStopped
                | Self::ChainBroken
                | Self::AlarmFiring
        )
    }
}

impl fmt::Display for PlanEventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
