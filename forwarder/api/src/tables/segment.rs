//! Plain-VXLAN segments.

use super::virtual_address::VirtualAddress;
use crate::{MacAddr, PortName, Vni};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// A plain-VXLAN layer-2 segment: local ports and remote VTEPs, with a learning table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Segment {
    /// VNI on the wire.
    pub vni: Vni,
    /// Local members.
    #[serde(default)]
    pub ports: Vec<PortName>,
    /// Remote VTEPs: unknown, broadcast and multicast frames are replicated to each.
    #[serde(default)]
    pub peers: Vec<IpAddr>,
    /// Addresses that need no learning and never age.
    #[serde(default)]
    pub entries: Vec<StaticEntry>,
    /// Seconds after which a silent address is forgotten.
    #[serde(default = "default_ageing")]
    pub ageing_seconds: u32,
    /// Frames a second to unknown, broadcast and multicast addresses that are replicated in this
    /// segment, from whichever member; 0 for as many as come.
    #[serde(default = "default_bum")]
    pub bum_per_second: u32,
    /// Addresses that stand for several members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub virtuals: Vec<VirtualAddress>,
}

impl Segment {
    /// [`bum_per_second`](Self::bum_per_second) when it is not given.
    pub const BUM_PER_SECOND: u32 = 1000;
}

fn default_bum() -> u32 {
    Segment::BUM_PER_SECOND
}

fn default_ageing() -> u32 {
    300
}

/// A fixed place for one MAC address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case",
    untagged
)]
pub enum StaticEntry {
    /// Behind a local port.
    Local {
        /// The address.
        mac: MacAddr,
        /// The port.
        port: PortName,
    },
    /// Behind another VTEP.
    Remote {
        /// The address.
        mac: MacAddr,
        /// The VTEP.
        peer: IpAddr,
    },
}
