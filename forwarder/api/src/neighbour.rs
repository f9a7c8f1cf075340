//! Stations on a LAN that next hops lead to, as the forwarder sees them at a moment.

use crate::{MacAddr, PortName, Vid, Word};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// State of one next hop whose MAC address has to be found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct NeighbourStatus {
    /// Its address.
    pub address: IpAddr,
    /// The port on its LAN.
    pub port: PortName,
    /// The LAN's 802.1Q tag, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vid>,
    /// Its MAC address, as far as it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// How far it is known.
    pub state: Word<NeighbourState>,
}

/// How far a neighbour is known (RFC 4861 section 7.3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NeighbourState {
    /// Nobody wanted anything of it.
    Idle,
    /// Asked, and frames wait for its answer.
    Incomplete,
    /// It answered lately.
    Reachable,
    /// It answered long ago, or told of itself; checked when it is used next.
    Stale,
    /// Used, and being checked.
    Probe,
    /// It does not answer.
    Failed,
}

impl fmt::Display for NeighbourState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Idle => "idle",
            Self::Incomplete => "incomplete",
            Self::Reachable => "reachable",
            Self::Stale => "stale",
            Self::Probe => "probe",
            Self::Failed => "failed",
        })
    }
}
