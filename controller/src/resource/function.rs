//! `ServiceFunction`: a type of network function, how its instances run and are wired.

use super::workload::{spec, with_container_fields};
use super::{ClusterSpec, LivenessSpec, Name, PhysicalSpec, PlacementSpec};
use crate::alarm::AlarmSpec;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

with_container_fields! {
    spec! {
        /// What is wanted of a service function.
        pub struct FunctionSpec {
            /// The type chains name; the function's own name when absent.
            #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
            pub function_type: Option<Name>,
            /// How instances are wired.
            #[serde(default)]
            pub attachment: Wiring,
            /// Whether chains through one instance share its legs.
            #[serde(default, skip_serializing_if = "LegSharing::is_default")]
            pub legs: LegSharing,
            /// How many instances there are: `<name>-1` to `<name>-<replicas>`.
            #[serde(default = "super::function::one")]
            pub replicas: u32,
            /// Address on `eth0` of every instance; one-leg only.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub address: Option<IpNet>,
            /// Hardware that does the work instead of containers.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            pub physical: Vec<PhysicalSpec>,
            /// Has each chain get several instances together.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub cluster: Option<ClusterSpec>,
            /// How instances are asked whether they live.
            #[serde(default, skip_serializing_if = "LivenessSpec::is_default")]
            pub liveness: LivenessSpec,
            /// How many chains may run through one instance; no limit when absent.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pub max_chains: Option<u32>,
            /// Where instances may run.
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

pub(super) fn one() -> u32 {
    1
}

impl FunctionSpec {
    /// The type that chains name.
    pub fn type_name<'a>(&'a self, own: &'a Name) -> &'a Name {
        self.function_type.as_ref().unwrap_or(own)
    }

    /// How many instances there shall be.
    pub fn count(&self) -> u32 {
        match self.physical.len() {
            0 => self.replicas,
            hardware => u32::try_from(hardware).unwrap_or(u32::MAX),
        }
    }

    /// The piece of hardware of this name.
    pub fn hardware(&self, name: &str) -> Option<&PhysicalSpec> {
        self.physical.iter().find(|one| one.name.as_str() == name)
    }

    /// Whether its instances are told what they are in clusters, and can reach each other.
    pub fn is_told(&self) -> bool {
        let hook = self.cluster.as_ref().and_then(|one| one.hook.as_ref());
        hook.is_some()
    }

    /// Whether its instances know NSH.
    pub fn is_aware(&self) -> bool {
        self.attachment == Wiring::NshAware
    }

    /// Whether its forwarder can ask its containers whether they live: one leg is asked for its IPv4 address.
    pub fn can_be_asked(&self) -> bool {
        let address = self.address.filter(|address| address.addr().is_ipv4());
        self.liveness.asks() && (self.attachment != Wiring::OneLeg || address.is_some())
    }
}

/// How a function is wired to its SFF.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Wiring {
    /// Interfaces `inside` and `outside`; what enters by one leaves by the other.
    #[default]
    TwoLeg,
    /// Interface `eth0`; frames are addressed to it and come back by it.
    OneLeg,
    /// Interface `eth0`; frames carry NSH both ways.
    NshAware,
}

/// How several chains get through one instance.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LegSharing {
    /// Frames are as they were sent. What comes out is known by its flow; two chains whose flows
    /// a NAT makes alike are not told apart.
    #[default]
    Shared,
    /// The frames of each chain have a VLAN tag of their own on the legs. The function passes tags
    /// on and keeps its state by tag, as `kc-function` does.
    PerPath,
}

impl LegSharing {
    /// Whether it is what nobody needs to say.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
