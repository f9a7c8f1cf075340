//! Presence of a node: who it is, what it has. Retained, and its last will says `offline`.

use crate::{BootId, NodeName, Payload};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Presence of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeStatus {
    /// The node.
    pub node: NodeName,
    /// Whether its agent is connected.
    pub presence: Presence,
    /// Agent version.
    pub version: String,
    /// CPU architecture in Rust's terms: `x86_64`, `aarch64`, `arm`.
    pub arch: String,
    /// Which boot.
    pub boot: BootId,
    /// Grows with every connection of this agent process, so that a late last will of an earlier one is known for what it is.
    pub session: u64,
    /// Labels the box gives itself.
    pub labels: BTreeMap<String, String>,
    /// What the box has.
    pub capacity: Capacity,
    /// Address other boxes reach its forwarder at.
    pub vtep: Option<IpAddr>,
    /// MTU of the interface that carries tunnels, in bytes.
    pub underlay_mtu: u16,
    /// Docker Engine version, when it answers.
    pub engine: Option<String>,
}

impl Payload for NodeStatus {
    const NAME: &'static str = "status";
}

/// Whether an agent is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Presence {
    /// Connected.
    Online,
    /// Gone: by its own word, or by the broker's.
    Offline,
}

/// What a box has to give.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Capacity {
    /// CPU in thousandths of a core.
    pub cpu_millis: u32,
    /// Memory in bytes.
    pub memory_bytes: u64,
    /// Disk under Docker's data root in bytes.
    pub disk_bytes: u64,
}
