//! The steering state of one forwarder, whole: it arrives in one piece, is validated in one
//! piece and replaces the former one between two packets.

use crate::{Backend, MacAddr, Match, PortName, SfName, Si, Spi, TunnelName, Vni};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// Everything a forwarder needs to know. The same structure is its TOML file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Tables {
    /// Grows with every change; a forwarder refuses to go back.
    pub generation: u64,
    /// Our own VTEP; without it the forwarder has no tunnels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<Underlay>,
    /// Interfaces that frames enter and leave by.
    pub ports: Vec<Port>,
    /// Other SFFs.
    pub tunnels: Vec<Tunnel>,
    /// Service functions attached to this forwarder.
    pub functions: Vec<Function>,
    /// Classifier rules, first match wins.
    pub rules: Vec<Rule>,
    /// Rendered service paths, as far as they concern this forwarder.
    pub paths: Vec<Path>,
    /// Plain VXLAN segments.
    pub segments: Vec<Segment>,
}

/// The local end of all tunnels.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Underlay {
    /// Local VTEP address.
    pub address: IpAddr,
    /// Largest outer IP packet in bytes.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
    /// UDP port of VXLAN-GPE.
    #[serde(default = "default_gpe_port")]
    pub gpe_port: u16,
    /// UDP port of plain VXLAN.
    #[serde(default = "default_vxlan_port")]
    pub vxlan_port: u16,
}

fn default_mtu() -> u16 {
    1500
}
fn default_gpe_port() -> u16 {
    4790
}
fn default_vxlan_port() -> u16 {
    4789
}

/// An interface the forwarder owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Port {
    /// Name used by rules, functions and counters.
    pub name: PortName,
    /// Kernel interface; the port's own name when absent. It may appear later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<PortName>,
    /// Which packet I/O to use.
    #[serde(default)]
    pub backend: Backend,
    /// Largest IP packet sent out of this port, in bytes; the interface's MTU when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
}

/// How a frame travels between two SFFs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encapsulation {
    /// NSH in VXLAN-GPE.
    #[default]
    VxlanGpe,
    /// Plain VXLAN; carries Ethernet only, so it cannot carry NSH.
    Vxlan,
}

/// The way to another SFF, always NSH in VXLAN-GPE for now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tunnel {
    /// Name used by next hops.
    pub name: TunnelName,
    /// Remote VTEP.
    pub remote: IpAddr,
    /// VNI written into what we send and expected in what we receive.
    pub vni: Vni,
    /// Remote UDP port; the underlay's GPE port when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
}

/// One local service function instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Function {
    /// Instance name.
    pub name: SfName,
    /// How it is wired.
    pub attachment: Attachment,
}

/// How a function is wired to its SFF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Attachment {
    /// Bump in the wire: what enters by one leg leaves by the other. NSH-unaware.
    TwoLeg {
        /// Leg towards the start of a forward path.
        inside: PortName,
        /// Leg towards the end of a forward path.
        outside: PortName,
    },
    /// A routed function: frames are addressed to its MAC and come back by the same leg. NSH-unaware.
    OneLeg {
        /// Its only leg.
        port: PortName,
        /// Its MAC address, written as destination.
        mac: MacAddr,
    },
    /// Understands NSH: Ethernet frames of type 0x894F go both ways; it decrements SI itself.
    NshAware {
        /// Its only leg.
        port: PortName,
        /// Its MAC address, written as destination.
        mac: MacAddr,
    },
}

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

/// One classifier rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Rule {
    /// Shown in counters and captures.
    pub name: String,
    /// Conditions.
    #[serde(rename = "match", default)]
    pub matches: Match,
    /// What happens to a frame that meets them.
    pub action: Action,
}

/// What a classifier rule does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Action {
    /// Send down a service path.
    Path {
        /// Service path.
        spi: Spi,
        /// Index to start with, usually 255.
        si: Si,
        /// NSH context put on by the classifier.
        #[serde(default)]
        metadata: Metadata,
    },
    /// Hand to an overlay segment.
    Segment {
        /// The segment's VNI.
        vni: Vni,
    },
    /// Send out of a port unchanged.
    Egress {
        /// The port.
        port: PortName,
    },
    /// Refuse, counted as `rule-drop`.
    Drop,
}

/// NSH context headers (RFC 8300 sections 2.4 and 2.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Metadata {
    /// MD type 1: sixteen octets, written as four words.
    Md1 {
        /// The fixed-length context header, most significant word first.
        context: [u32; 4],
    },
    /// MD type 2 without any variable-length header: the shortest NSH.
    Md2,
}

impl Default for Metadata {
    fn default() -> Self {
        Self::Md1 { context: [0; 4] }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_reads_as_a_person_would_write_it() {
        let text = r#"
            [underlay]
            address = "192.168.50.1"
            [[ports]]
            name = "client0"
            [[tunnels]]
            name = "box2"
            remote = "192.168.50.2"
            vni = 100
            [[functions]]
            name = "fw-1"
            attachment = { two-leg = { inside = "fw-1a", outside = "fw-1b" } }
            [[rules]]
            name = "web"
            match = { port = "client0", protocol = "tcp", destination-ports = 80 }
            action = { path = { spi = 100, si = 255 } }
            [[paths]]
            spi = 100
            hops = [
                { si = 255, to = { function = { name = "fw-1" } } },
                { si = 254, to = { tunnel = { name = "box2" } } },
            ]
        "#;
        let tables: Tables = toml::from_str(text).unwrap();
        assert_eq!(tables.underlay.as_ref().unwrap().gpe_port, 4790);
        assert_eq!(tables.paths[0].hops[1].si.get(), 254);
        let json = serde_json::to_string(&tables).unwrap();
        assert_eq!(serde_json::from_str::<Tables>(&json).unwrap(), tables);
    }
}
