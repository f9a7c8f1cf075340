//! Rendered service paths, as far as they concern one forwarder.

use crate::{GroupName, PortName, SfName, Si, Spi, TunnelName, Vni};
use serde::{Deserialize, Serialize};

/// Which way a path runs through a function.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Direction {
    /// From inside to outside.
    #[default]
    Forward,
    /// From outside to inside: a return path.
    Reverse,
}

/// The part of a rendered service path that this forwarder serves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Path {
    /// Service path.
    pub spi: Spi,
    /// Largest inner IP packet on the whole path, in bytes; MSS is clamped to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// The path that answers take: where this one ends, a flow's answers are put on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse: Option<Spi>,
    /// Paths of one affinity are alternatives, such as the former and the new path of a chain.
    /// When a rule moves from one to another, flows that are known stay where they are for as
    /// long as that path is in the tables: a function that keeps state keeps its flows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub affinity: Option<String>,
    /// Next hops by service index.
    #[serde(deserialize_with = "super::exact")]
    pub hops: Vec<Hop>,
}

/// What to do with (SPI, SI).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Hop {
    /// Service index.
    pub si: Si,
    /// Next hop.
    pub to: NextHop,
}

/// Where a frame of a service path goes next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum NextHop {
    /// A service function on this box; it comes back with SI one lower.
    Function {
        /// Instance.
        name: SfName,
        /// Which way through it.
        #[serde(default)]
        direction: Direction,
    },
    /// Another SFF.
    Tunnel {
        /// Tunnel.
        name: TunnelName,
    },
    /// One of several functions and SFFs, the same for all packets of a flow.
    Group {
        /// Group.
        name: GroupName,
        /// Which way through those of its members that are functions. Where it is reverse, a
        /// packet that answers a flow goes to the member which that flow came through, if it is
        /// known: behind a NAT no hash can tell.
        #[serde(default)]
        direction: Direction,
    },
    /// End of path: NSH is removed and the frame leaves by this port.
    Egress {
        /// Port.
        port: PortName,
    },
    /// End of path: NSH is removed and the frame is bridged in this segment.
    Segment {
        /// The segment's VNI.
        vni: Vni,
    },
}
