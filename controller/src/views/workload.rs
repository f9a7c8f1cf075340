//! Functions, services and their instances as people ask about them.

use serde::{Deserialize, Serialize};

/// One service function.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FunctionView {
    /// Name.
    pub name: String,
    /// What chains call it.
    #[serde(rename = "type")]
    pub kind: String,
    /// Image; none where it is physical.
    pub image: String,
    /// How it is wired.
    pub attachment: String,
    /// Instances wanted.
    pub replicas: u32,
    /// Instances running.
    pub ready: u32,
    /// Chains that name its type.
    pub chains: Vec<String>,
    /// How load decides about the number, where it does.
    #[serde(default)]
    pub scaling: Option<String>,
    /// How far a change of its containers is, while there is one.
    #[serde(default)]
    pub update: Option<String>,
}

/// One service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServiceView {
    /// Name.
    pub name: String,
    /// Image.
    pub image: String,
    /// `overlay` or `host`.
    pub network: String,
    /// Its virtual address, behind which its replicas are; overlay services only.
    #[serde(default)]
    pub address: Option<String>,
    /// Ports.
    pub ports: Vec<u16>,
    /// Replicas wanted.
    pub replicas: u32,
    /// Replicas running.
    pub ready: u32,
    /// Where its replicas are.
    pub endpoints: Vec<EndpointView>,
    /// How load decides about the number, where it does.
    #[serde(default)]
    pub scaling: Option<String>,
    /// How far a change of its containers is, while there is one.
    #[serde(default)]
    pub update: Option<String>,
}

/// One replica of a service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EndpointView {
    /// Replica.
    pub instance: String,
    /// Box.
    pub node: Option<String>,
    /// Address on the overlay or of the box.
    pub address: Option<String>,
    /// Where it is in its life.
    pub phase: String,
}

/// One container the controller has placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct InstanceView {
    /// Name.
    pub name: String,
    /// `function` or `service`.
    pub role: String,
    /// The resource it belongs to.
    pub owner: String,
    /// Whether it is hardware, which no container runs.
    #[serde(default)]
    pub physical: bool,
    /// Box; absent while it has no place.
    pub node: Option<String>,
    /// Where it is in its life.
    pub phase: String,
    /// Why, for people.
    pub reason: Option<String>,
    /// Image.
    pub image: String,
    /// Docker's id.
    pub container: Option<String>,
    /// What its health check says, where it has one.
    #[serde(default)]
    pub health: Option<String>,
    /// Digest of the image it runs.
    #[serde(default)]
    pub digest: Option<String>,
    /// Address, where it has one.
    pub address: Option<String>,
    /// How often the engine restarted it.
    pub restarts: u64,
    /// CPU, percent of its limit; of hardware, its load in percent of what it can do.
    pub cpu_percent: Option<f32>,
    /// Memory in use, bytes.
    pub memory_bytes: Option<u64>,
    /// Its limit, bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Packets into it.
    pub rx_packets: Option<u64>,
    /// Packets out of it.
    pub tx_packets: Option<u64>,
    /// Chains whose path in use runs through it.
    pub chains: Vec<String>,
}
