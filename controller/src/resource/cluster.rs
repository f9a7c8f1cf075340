//! Clusters of a function: a chain through it gets several instances on different boxes, not one.

use serde::{Deserialize, Serialize};

/// A set of instances that a chain gets together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ClusterSpec {
    /// What the others do beside the first.
    pub mode: ClusterMode,
    /// How many instances a chain gets.
    #[serde(default = "two")]
    pub size: u32,
    /// What members are told when their role or their peers change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookSpec>,
}

/// A command in a member's container, where members reach each other by an interface of their own, `sync`. In
/// its environment are `CHAIN`, `ROLE` (`active`, `standby`, or `none` when it leaves), `SELF` and `PEERS`: the
/// member and the others as `name@box/address/role`, with spaces between.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct HookSpec {
    /// Program and arguments.
    pub command: Vec<String>,
}

const fn two() -> u32 {
    2
}

/// What the members of a cluster do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterMode {
    /// One has all flows; the others get them when it is dead.
    ActiveStandby,
    /// Flows are spread over all.
    ActiveActive,
}
