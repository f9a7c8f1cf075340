//! A box as people ask about it.

use super::UpdateView;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Whether a box can be counted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NodeCondition {
    /// Connected and reporting.
    Ready,
    /// Connected as far as the broker knows, but silent for too long.
    Unreachable,
    /// Gone, by its own word or by its last will.
    Offline,
    /// Named by a manifest, never seen.
    Unknown,
}

impl fmt::Display for NodeCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ready => "Ready",
            Self::Unreachable => "Unreachable",
            Self::Offline => "Offline",
            Self::Unknown => "Unknown",
        })
    }
}

/// An interface of a box's forwarder, or all its tunnels over UDP together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PacketIoView {
    /// The port's name, or `underlay`.
    pub name: String,
    /// The backend in use.
    pub backend: String,
    /// Why this one, or why there is none.
    pub reason: String,
}

/// One box.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct NodeView {
    /// Name.
    pub name: String,
    /// Whether it can be counted on.
    pub condition: NodeCondition,
    /// Since when, milliseconds since 1970 by the controller's clock.
    pub since_ms: Option<u64>,
    /// Whether nothing new is placed on it.
    pub cordoned: bool,
    /// Whether what runs on it is being moved away.
    pub draining: bool,
    /// Labels, its own and its manifest's.
    pub labels: BTreeMap<String, String>,
    /// CPU architecture.
    pub arch: Option<String>,
    /// Agent version.
    pub version: Option<String>,
    /// The newest update of its agent, and what became of it.
    #[serde(default)]
    pub update: Option<UpdateView>,
    /// Docker Engine version.
    pub engine: Option<String>,
    /// Address of its forwarder.
    pub vtep: Option<String>,
    /// MTU below the tunnels, bytes.
    pub underlay_mtu: Option<u16>,
    /// CPU it has, thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// CPU in use, percent of all cores.
    pub cpu_percent: Option<f32>,
    /// Memory in use, bytes.
    pub memory_used_bytes: Option<u64>,
    /// Memory it has, bytes.
    pub memory_total_bytes: Option<u64>,
    /// Disk in use, bytes.
    pub disk_used_bytes: Option<u64>,
    /// Disk it has, bytes.
    pub disk_total_bytes: Option<u64>,
    /// Hottest thermal zone, degrees Celsius.
    pub temperature_c: Option<f32>,
    /// Whether its firmware holds the clock back.
    pub throttled: Option<bool>,
    /// Seconds since its boot.
    pub uptime_s: Option<u64>,
    /// Containers its document asks for.
    pub containers_wanted: usize,
    /// Containers that run.
    pub containers_running: usize,
    /// Generation of the document it shall have.
    pub generation: u64,
    /// Generation its forwarder has in force.
    pub acknowledged: u64,
    /// Frames its forwarder has dropped, by reason.
    pub drops: BTreeMap<String, u64>,
    /// How its forwarder meets the kernel, the underlay first.
    pub packet_io: Vec<PacketIoView>,
    /// How long its links to other boxes take, one way, such as `box2: 0.4ms`.
    #[serde(default)]
    pub links: Vec<String>,
    /// Speed of its interfaces, such as `eth0: 1000 Mbit/s`, where the kernel tells it.
    #[serde(default)]
    pub speeds: Vec<String>,
    /// Tunnels and functions that its forwarder gets no answer from, such as `tunnel box2`.
    pub dead: Vec<String>,
    /// Why secrets are held back from it.
    #[serde(default)]
    pub secrets_held: Option<String>,
    /// What keeps it from matching its document.
    pub errors: Vec<String>,
    /// What leaves it and what stays, when it is drained.
    #[serde(default)]
    pub evacuation: Option<super::EvacuationView>,
}
