//! Chains and their rendered paths as people ask about them.

use serde::{Deserialize, Serialize};

/// One chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ChainView {
    /// Name.
    pub name: String,
    /// `Ready`, `Installing`, `Switching`, `Waiting` …
    pub state: String,
    /// Why it is not ready, for people.
    pub reason: Option<String>,
    /// Since when it is on this path, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Types of functions, in order.
    pub functions: Vec<String>,
    /// How instances are chosen.
    pub scheduler: String,
    /// Where traffic enters: `node/interface`.
    pub from: String,
    /// Where traffic leaves: `node/interface`.
    pub to: String,
    /// Which traffic, for people; empty means all.
    pub matches: Vec<String>,
    /// Whether the way back takes the same instances.
    pub symmetric: bool,
    /// Service path in use.
    pub spi: Option<u32>,
    /// Service path of the way back.
    pub return_spi: Option<u32>,
    /// Instances on the path in use, as `instance@node`.
    pub path: Vec<String>,
    /// Members of the clusters on the path in use, those of one together.
    #[serde(default)]
    pub members: Vec<MemberView>,
    /// Packets that entered the path in use.
    pub packets: u64,
    /// Octets that entered it.
    pub bytes: u64,
    /// What does not answer on the path in use and its way back: `box1 -> box2`, `nat-1 on box3`.
    pub dead: Vec<String>,
    /// Every path installed for it: in use, coming, going.
    pub paths: Vec<PathView>,
    /// How the scheduler came to the path, a line each.
    pub explanation: Vec<String>,
}

/// A member of a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MemberView {
    /// Where on the path, from 0.
    pub place: usize,
    /// Type of the function.
    pub function: String,
    /// The instance.
    pub name: String,
    /// Its box.
    pub node: String,
    /// `active`, or `standby` for one that gets flows when the active one is dead.
    pub role: String,
    /// `Running`, `Starting` or `Down`.
    pub phase: String,
}

/// One rendered service path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PathView {
    /// Service path identifier.
    pub spi: u32,
    /// The chain it serves.
    pub chain: String,
    /// `forward` or `return`.
    pub direction: String,
    /// Phase of make-before-break.
    pub phase: String,
    /// Since when in this phase, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Largest inner IP packet, bytes.
    pub mtu: Option<u16>,
    /// Hop by hop.
    pub hops: Vec<HopView>,
}

/// One lookup of a path on one forwarder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct HopView {
    /// The box.
    pub node: String,
    /// Service index looked up.
    pub si: u8,
    /// Where it goes from there, for people: `firewall-1`, `-> box2`, `out server0`.
    pub to: String,
    /// Packets looked up since the forwarder's start; absent without a report.
    pub packets: Option<u64>,
    /// Their octets.
    pub bytes: Option<u64>,
}
