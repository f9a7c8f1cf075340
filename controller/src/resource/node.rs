//! `Node`: what a user says about a box. Boxes register themselves; this adds to it.

use crate::alarm::AlarmSpec;
use kc_agent_api::NodeName;
use serde::{Deserialize, Serialize};

/// What is wanted of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct NodeResourceSpec {
    /// Nothing new is placed here and no new path runs through functions here.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub cordon: bool,
    /// Cordoned, and what can run elsewhere leaves.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub drain: bool,
    /// What it is watched for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<AlarmSpec>,
    /// Links of its SFF to others. Without any, it is linked to every SFF.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub links: Vec<LinkSpec>,
}

/// A link between two SFFs, both ways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LinkSpec {
    /// The other end.
    pub to: NodeName,
    /// How many hops it counts for.
    #[serde(default = "super::function::one")]
    pub hops: u32,
}
