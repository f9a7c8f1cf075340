//! Presence of a node: who it is, what it has. Retained, and its last will says `offline`.

use crate::{BootId, NodeName, Payload, PublicKey, UpdateRecord};
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
    /// The newest update of the agent, where there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub update: Option<UpdateRecord>,
    /// What values for this box only are sealed to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<PublicKey>,
}

impl Payload for NodeStatus {
    const NAME: &'static str = "status";
}

/// Presence of the controller: agents need none, and say so when it has gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ControllerStatus {
    /// Whether it is connected.
    pub presence: Presence,
    /// Its version.
    pub version: String,
    /// Drawn at its start: which process this is.
    pub instance: u64,
    /// Grows with every connection of this process.
    pub session: u64,
}

impl Payload for ControllerStatus {
    const NAME: &'static str = "controller status";
}

impl ControllerStatus {
    /// Whether this, heard after `before`, is news. A last will of an earlier process or connection
    /// may come late; it says nothing of the one that is there now.
    pub fn replaces(&self, before: Option<&Self>) -> bool {
        let Some(before) = before else { return true };
        let same = (self.instance, self.session) == (before.instance, before.session);
        match self.presence {
            Presence::Online => self != before,
            Presence::Offline => same && before.presence == Presence::Online,
        }
    }
}

/// Whether an agent or a controller is connected.
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
