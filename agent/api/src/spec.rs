//! The desired document of one node: which containers run, how they are wired, and the whole
//! forwarder table. It arrives retained, is kept in the agent's ledger, and is all an agent
//! needs to boot without a controller.

use crate::{
    Device, HealthCheck, Membership, Payload, PullSecret, SecretFile, Tmpfs, UpdatePolicy, Volume,
};
use ipnet::IpNet;
use kc_forwarder_api::{MacAddr, PortName, Tables};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

/// The desired document.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NodeSpec {
    /// Grows with every change; an agent refuses to go back.
    pub generation: u64,
    /// Containers that shall run, and no others of ours.
    #[serde(default)]
    pub containers: Vec<ContainerSpec>,
    /// Interfaces of the box itself into the forwarder: the inner end stays in the box's own
    /// network namespace, so that the box can reach overlay segments.
    #[serde(default)]
    pub host_legs: Vec<Leg>,
    /// The forwarder's tables; their generation is this document's.
    #[serde(default)]
    pub forwarder: Tables,
    /// Seconds between load reports.
    #[serde(default = "default_load_interval")]
    pub load_interval_s: u32,
}

fn default_load_interval() -> u32 {
    1
}

impl Payload for NodeSpec {
    const NAME: &'static str = "spec";
}

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ContainerSpec {
    /// Unique on the node; the Docker container is called `kc-<name>`.
    pub name: String,
    /// What the container is to the cluster.
    pub role: Role,
    /// Image reference.
    pub image: String,
    /// When the image is pulled.
    #[serde(default)]
    pub pull: PullPolicy,
    /// Replaces the image's entry point when not empty.
    #[serde(default)]
    pub entrypoint: Vec<String>,
    /// Arguments.
    #[serde(default)]
    pub args: Vec<String>,
    /// Environment.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Host paths mounted into the container.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Small files written by the agent and mounted read-only.
    #[serde(default)]
    pub files: Vec<File>,
    /// Resource limits.
    #[serde(default)]
    pub limits: Limits,
    /// What the engine does when the process ends.
    #[serde(default)]
    pub restart: Restart,
    /// Linux capabilities added, such as `NET_ADMIN`.
    #[serde(default)]
    pub capabilities: Vec<String>,
    /// How the container is on the network.
    #[serde(default)]
    pub network: Network,
    /// How it is known that it does its work; the image's own check when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub health: Option<HealthCheck>,
    /// What becomes of a change that does not get healthy.
    #[serde(default, skip_serializing_if = "UpdatePolicy::is_default")]
    pub update: UpdatePolicy,
    /// Seconds it has to end by itself; 3 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stop_timeout_s: Option<u16>,
    /// Where its process starts; what the image says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub working_dir: Option<String>,
    /// Who its process is, `user` or `user:group`, names or numbers; what the image says when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Groups its process is in besides, names of the image or numbers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub group_add: Vec<String>,
    /// What it takes its host for; its own name when absent, the box's name on the box's network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hostname: Option<String>,
    /// Whether nothing can be written but what is mounted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only_root: bool,
    /// File systems in memory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tmpfs: Vec<Tmpfs>,
    /// Storage of the box that outlives the container.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub volumes: Vec<Volume>,
    /// Devices of the box.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub devices: Vec<Device>,
    /// The user's own labels of the engine's container.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Functions and services of which a container has to be ready first, where one is on this box.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// Files that nobody else may read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretFile>,
    /// Who pulls its image, where not everybody may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pull_secret: Option<PullSecret>,
    /// What it is in clusters of chains, where it has a hook.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<Membership>,
    /// Kernel parameters of its namespaces.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sysctls: BTreeMap<String, String>,
}

/// What a container is to the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An instance of a service function.
    Function {
        /// The `ServiceFunction` it belongs to.
        function: String,
    },
    /// A replica of a service.
    Service {
        /// The `Service` it belongs to.
        service: String,
    },
}

impl Role {
    /// The function or service a container belongs to.
    pub fn owner(&self) -> &str {
        match self {
            Self::Function { function } => function,
            Self::Service { service } => service,
        }
    }
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PullPolicy {
    /// Only when it is not on the box.
    #[default]
    IfNotPresent,
    /// Before every creation.
    Always,
    /// Never; a missing image is an error.
    Never,
}

/// A host path in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Mount {
    /// Absolute path on the box.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may not write.
    #[serde(default)]
    pub read_only: bool,
}

/// A small file for a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct File {
    /// Absolute path in the container.
    pub path: String,
    /// Its text.
    pub content: String,
}

/// Limits of one container; absent means none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Limits {
    /// CPU in thousandths of a core.
    pub cpu_millis: Option<u32>,
    /// Memory in bytes.
    pub memory_bytes: Option<u64>,
}

/// What the engine does when the process ends.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Restart {
    /// Start it again, also after a reboot of the box.
    #[default]
    Always,
    /// Start it again unless it ended with 0.
    OnFailure,
    /// Leave it.
    Never,
}

/// How a container is on the network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Network {
    /// Shares the box's own network.
    Host,
    /// A namespace of its own, held by a pause container, with these interfaces.
    Legs(Vec<Leg>),
}

impl Default for Network {
    fn default() -> Self {
        Self::Legs(Vec::new())
    }
}

/// One veth pair: one end in the container (or the box itself), the other a port of the forwarder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Leg {
    /// Interface name inside the container.
    pub interface: PortName,
    /// Interface name on the box, which is also the forwarder's port.
    pub port: PortName,
    /// MAC address inside the container.
    pub mac: MacAddr,
    /// Addresses inside the container.
    #[serde(default)]
    pub addresses: Vec<IpNet>,
    /// Addresses that it shares with others: its own, and never spoken ARP for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtual_addresses: Vec<Ipv4Addr>,
    /// Default gateway inside the container.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// MTU of both ends in bytes.
    #[serde(default = "default_leg_mtu")]
    pub mtu: u16,
}

fn default_leg_mtu() -> u16 {
    1500
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{PayloadError, decode, encode};

    #[test]
    fn unknown_fields_are_ignored_and_unknown_versions_refused() {
        let spec = NodeSpec {
            generation: 3,
            ..NodeSpec::default()
        };
        let bytes = encode(&spec).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        assert!(text.starts_with(r#"{"v":1,"generation":3"#), "{text}");
        let newer = text.replace(r#""generation":3"#, r#""generation":3,"colour":"blue""#);
        assert_eq!(decode::<NodeSpec>(newer.as_bytes()).unwrap(), spec);
        let alien = text.replace(r#""v":1"#, r#""v":2"#);
        assert!(matches!(
            decode::<NodeSpec>(alien.as_bytes()),
            Err(PayloadError::Version { found: 2, .. })
        ));
    }
}
