//! `Service`: replicas of one container, reachable over the overlay or the box's own network.

use super::{FileSpec, HealthSpec, MountSpec, Name, Period, Requests, UpdateSpec, WorkloadSpec};
use crate::alarm::AlarmSpec;
use kc_agent_api::{NodeName, PullPolicy, Restart};
use kc_forwarder_api::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is wanted of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServiceSpec {
    /// Image reference.
    pub image: String,
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// How many replicas there are: `<name>-1` to `<name>-<replicas>`.
    #[serde(default = "super::function::one")]
    pub replicas: u32,
    /// Ports it serves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<ServicePort>,
    /// How replicas are on the network.
    #[serde(default)]
    pub network: ServiceNetwork,
    /// Services of which a replica must run before this one is placed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<Name>,
    /// Where replicas may run.
    #[serde(default, skip_serializing_if = "PlacementSpec::is_default")]
    pub placement: PlacementSpec,
    /// What one replica asks for and is limited to.
    #[serde(default)]
    pub resources: Requests,
    /// What it is watched for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<AlarmSpec>,
    /// Environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Small files mounted read-only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileSpec>,
    /// Paths of the box mounted into each replica.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountSpec>,
    /// Linux capabilities added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// When the image is pulled.
    #[serde(default, with = "super::function::pull")]
    pub pull: PullPolicy,
    /// What the engine does when the process ends.
    #[serde(default, with = "super::function::restart")]
    pub restart: Restart,
    /// How it is known that it works; the image's own check when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    /// How a change comes to replicas.
    #[serde(default, skip_serializing_if = "UpdateSpec::is_default")]
    pub update: UpdateSpec,
    /// How long it may take to end by itself; 3 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Period>,
}

impl ServiceSpec {
    /// The container of one replica.
    pub fn workload(&self) -> WorkloadSpec<'_> {
        WorkloadSpec {
            image: &self.image,
            args: &self.args,
            env: &self.env,
            files: &self.files,
            mounts: &self.mounts,
            capabilities: &self.capabilities,
            resources: self.resources,
            pull: self.pull,
            restart: self.restart,
            health: self.health.as_ref(),
            update: self.update,
            stop_timeout: self.stop_timeout,
        }
    }
}

/// A port a service serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ServicePort {
    /// The port, never 0.
    pub port: u16,
    /// TCP when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
}

/// How replicas are on the network.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ServiceNetwork {
    /// An address of its own in the cluster's segment.
    #[default]
    Overlay,
    /// The box's own network.
    Host,
}

/// Where containers may run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct PlacementSpec {
    /// Labels a node must have.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub node_selector: BTreeMap<String, String>,
    /// Whether siblings keep apart: nodes with the fewest of them come first.
    pub spread: bool,
    /// Exactly these: the first on the first node, and round again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeName>,
}

impl Default for PlacementSpec {
    fn default() -> Self {
        Self {
            node_selector: BTreeMap::new(),
            spread: true,
            nodes: Vec::new(),
        }
    }
}

impl PlacementSpec {
    /// Whether nothing was asked for.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
