//! What an agent observes on its box, published whenever it changes.

use crate::{Health, Payload};
use kc_forwarder_api::{HealthState, PortStatus, SfName, TunnelName, UnderlayStatus};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Observed state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeState {
    /// Newest document the agent has taken up.
    pub spec_generation: u64,
    /// Generation of the tables the forwarder has in force: the acknowledgement that
    /// make-before-break waits for.
    pub forwarder_generation: u64,
    /// Ours, in name order.
    pub containers: Vec<ContainerState>,
    /// Ports of the forwarder.
    pub ports: Vec<PortStatus>,
    /// How its tunnels over UDP are sent and received, where there are any.
    #[serde(default)]
    pub underlay: Option<UnderlayStatus>,
    /// Whether the other ends of tunnels answer.
    #[serde(default)]
    pub tunnels: BTreeMap<TunnelName, HealthState>,
    /// Whether functions answer their forwarder.
    #[serde(default)]
    pub functions: BTreeMap<SfName, HealthState>,
    /// What keeps the box from matching its document, for people.
    pub errors: Vec<String>,
}

impl Payload for NodeState {
    const NAME: &'static str = "state";
}

/// One container as the engine sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ContainerState {
    /// Name in the document.
    pub name: String,
    /// The engine's id, empty until created.
    pub id: String,
    /// Image reference it was made from.
    pub image: String,
    /// Where it is in its life.
    pub phase: ContainerPhase,
    /// Exit code of the last end.
    pub exit_code: Option<i64>,
    /// How often the engine has restarted it.
    pub restarts: u64,
    /// RFC 3339 time of the last start by the box's clock.
    pub started_at: Option<String>,
    /// What went wrong, for people.
    pub error: Option<String>,
    /// What its health check says, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<Health>,
    /// The registry's digest of the image it runs, `sha256:` and 64 digits; the engine's own where it
    /// came from no registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whether what runs was made from another entry than the document's: its successor is on the way,
    /// or did not get healthy.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub former: bool,
    /// Why the document's entry was given up for the former one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rolled_back: Option<String>,
    /// Whether it was changed and has yet to prove itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub on_trial: bool,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ContainerPhase {
    /// Wanted, not there yet.
    Pending,
    /// Its image is on the way.
    Pulling,
    /// Running and wired.
    Running,
    /// Ended; the engine may start it again.
    Exited,
    /// Could not be made; `error` says why, and it is tried again.
    Failed,
    /// A phase this version does not know.
    #[serde(other)]
    Unknown,
}
