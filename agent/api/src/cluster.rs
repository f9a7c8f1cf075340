//! What a container is in the clusters of chains, and who is told.

use crate::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// What a container is in clusters. It changes while the container runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Membership {
    /// Command that is run in the container after each change.
    pub hook: Vec<String>,
    /// Where its peers reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// By chain; of chains that are not here it carries nothing.
    pub chains: BTreeMap<String, Part>,
}

/// What a container is for one chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Part {
    /// What it does.
    pub role: ClusterRole,
    /// The others.
    pub peers: Vec<Peer>,
}

/// What a member does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClusterRole {
    /// It has flows.
    Active,
    /// It gets flows when the active one is dead.
    Standby,
    /// It is no member.
    None,
    /// A role this version does not know.
    #[default]
    #[serde(other)]
    Unknown,
}

impl ClusterRole {
    /// As hooks are told.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::None => "none",
            Self::Unknown => "unknown",
        }
    }
}

/// Another member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Peer {
    /// Its name.
    pub name: String,
    /// Its box.
    pub node: NodeName,
    /// Where it is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
    /// What it does.
    #[serde(default)]
    pub role: ClusterRole,
}

/// `name@box/address/role`, with `-` where there is no address.
impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}/", self.name, self.node)?;
        match self.address {
            Some(address) => write!(f, "{address}")?,
            None => f.write_str("-")?,
        }
        write!(f, "/{}", self.role.as_str())
    }
}
