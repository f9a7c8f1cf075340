//! `Service`: replicas of one container, reachable over the overlay or the box's own network.

use super::workload::{spec, with_container_fields};
use crate::alarm::AlarmSpec;
use kc_agent_api::NodeName;
use kc_forwarder_api::Protocol;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

with_container_fields! {
    spec! {
        /// What is wanted of a service.
        pub struct ServiceSpec {
            /// How many replicas there are: `<name>-1` to `<name>-<replicas>`.
            #[serde(default = "super::function::one")]
            pub replicas: u32,
            /// Ports it serves.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub ports: Vec<ServicePort>,
            /// How replicas are on the network.
            #[serde(default)]
            pub network: ServiceNetwork,
            /// How long a replica that is to go may take to end what it has begun; it gets nothing new
            /// meanwhile.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub drain: Option<super::Period>,
            /// Where replicas may run.
            #[serde(default, skip_serializing_if = "PlacementSpec::is_default")]
            pub placement: PlacementSpec,
            /// Lets load decide how many there are; `replicas` is then where it begins.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub autoscale: Option<super::AutoscaleSpec>,
            /// What it is watched for.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub alarms: Vec<AlarmSpec>,
        }
    }
}

impl ServiceSpec {
    /// [`drain`](Self::drain) when it is not given.
    const DRAIN_MS: u32 = 10_000;

    /// Milliseconds for which a replica that is to go keeps the flows that it has.
    pub fn drain_ms(&self) -> u64 {
        self.drain
            .map_or(Self::DRAIN_MS, super::Period::millis)
            .into()
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
