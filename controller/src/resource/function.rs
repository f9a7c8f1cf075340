//! `ServiceFunction`: a type of network function, how its instances run and are wired.

use super::{HealthSpec, Name, Period, PlacementSpec, Requests, UpdateSpec};
use crate::alarm::AlarmSpec;
use ipnet::IpNet;
use kc_agent_api::{PullPolicy, Restart};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What is wanted of a service function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FunctionSpec {
    /// The type chains name; the function's own name when absent.
    #[serde(rename = "type", default, skip_serializing_if = "Option::is_none")]
    pub function_type: Option<Name>,
    /// Image reference.
    pub image: String,
    /// Arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub args: Vec<String>,
    /// How instances are wired.
    #[serde(default)]
    pub attachment: Wiring,
    /// Whether chains through one instance share its legs.
    #[serde(default, skip_serializing_if = "LegSharing::is_default")]
    pub legs: LegSharing,
    /// How many instances there are: `<name>-1` to `<name>-<replicas>`.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Address on `eth0` of every instance; one-leg only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpNet>,
    /// How many chains may run through one instance; no limit when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_chains: Option<u32>,
    /// Where instances may run.
    #[serde(default, skip_serializing_if = "PlacementSpec::is_default")]
    pub placement: PlacementSpec,
    /// What one instance asks for and is limited to.
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
    /// Paths of the box mounted into each instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<MountSpec>,
    /// Linux capabilities added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// When the image is pulled.
    #[serde(default, with = "pull")]
    pub pull: PullPolicy,
    /// What the engine does when the process ends.
    #[serde(default, with = "restart")]
    pub restart: Restart,
    /// How it is known that it works; the image's own check when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthSpec>,
    /// How a change comes to instances.
    #[serde(default, skip_serializing_if = "UpdateSpec::is_default")]
    pub update: UpdateSpec,
    /// How long it may take to end by itself; 3 s when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout: Option<Period>,
}

pub(super) fn one() -> u32 {
    1
}

impl FunctionSpec {
    /// The type that chains name.
    pub fn type_name<'a>(&'a self, own: &'a Name) -> &'a Name {
        self.function_type.as_ref().unwrap_or(own)
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

/// A small file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileSpec {
    /// Absolute path in the container.
    pub path: String,
    /// Its text.
    pub content: String,
}

/// A path of the box in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MountSpec {
    /// Absolute path on the box.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may not write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// The container part that functions and services have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WorkloadSpec<'a> {
    /// Image reference.
    pub image: &'a str,
    /// Arguments.
    pub args: &'a [String],
    /// Environment.
    pub env: &'a BTreeMap<String, String>,
    /// Small files.
    pub files: &'a [FileSpec],
    /// Mounts.
    pub mounts: &'a [MountSpec],
    /// Added capabilities.
    pub capabilities: &'a [String],
    /// Requests and limits.
    pub resources: Requests,
    /// When the image is pulled.
    pub pull: PullPolicy,
    /// What the engine does when the process ends.
    pub restart: Restart,
    /// How it is known that it works.
    pub health: Option<&'a HealthSpec>,
    /// What becomes of a change that does not get healthy.
    pub update: UpdateSpec,
    /// How long it may take to end by itself.
    pub stop_timeout: Option<Period>,
}

impl FunctionSpec {
    /// The container of one instance.
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

/// `IfNotPresent`, `Always`, `Never`: the spelling users know.
pub(super) mod pull {
    use kc_agent_api::PullPolicy;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Pull {
        IfNotPresent,
        Always,
        Never,
    }

    pub(in crate::resource) fn serialize<S: Serializer>(
        policy: &PullPolicy,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match policy {
            PullPolicy::IfNotPresent => Pull::IfNotPresent,
            PullPolicy::Always => Pull::Always,
            PullPolicy::Never => Pull::Never,
        }
        .serialize(serializer)
    }

    pub(in crate::resource) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PullPolicy, D::Error> {
        Ok(match Pull::deserialize(deserializer)? {
            Pull::IfNotPresent => PullPolicy::IfNotPresent,
            Pull::Always => PullPolicy::Always,
            Pull::Never => PullPolicy::Never,
        })
    }
}

/// `Always`, `OnFailure`, `Never`.
pub(super) mod restart {
    use kc_agent_api::Restart as Policy;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Restart {
        Always,
        OnFailure,
        Never,
    }

    pub(in crate::resource) fn serialize<S: Serializer>(
        policy: &Policy,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match policy {
            Policy::Always => Restart::Always,
            Policy::OnFailure => Restart::OnFailure,
            Policy::Never => Restart::Never,
        }
        .serialize(serializer)
    }

    pub(in crate::resource) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Policy, D::Error> {
        Ok(match Restart::deserialize(deserializer)? {
            Restart::Always => Policy::Always,
            Restart::OnFailure => Policy::OnFailure,
            Restart::Never => Policy::Never,
        })
    }
}
