//! The steering state of one forwarder, whole: it arrives in one piece, is validated in one
//! piece and replaces the former one between two packets.

use super::{Function, Group, Path, Port, Rule, Segment, Tunnel, Underlay};
use crate::{FastPath, SffName};
use serde::{Deserialize, Serialize};

/// Everything a forwarder needs to know. The same structure is its TOML file. Lists have
/// [bounds](crate::bounds).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Tables {
    /// Grows with every change; a forwarder refuses to go back.
    pub generation: u64,
    /// What this forwarder calls itself in answers to echoes; its VTEP address when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<SffName>,
    /// Our own VTEP; without it the forwarder has no tunnels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub underlay: Option<Underlay>,
    /// Whether the kernel forwards what it can by itself.
    #[serde(skip_serializing_if = "FastPath::is_off")]
    pub fast_path: FastPath,
    /// Interfaces that frames enter and leave by.
    pub ports: Vec<Port>,
    /// Other SFFs.
    pub tunnels: Vec<Tunnel>,
    /// Service functions attached to this forwarder.
    pub functions: Vec<Function>,
    /// Next hops that share the flows of a path.
    pub groups: Vec<Group>,
    /// Classifier rules, first match wins.
    #[serde(deserialize_with = "super::exact")]
    pub rules: Vec<Rule>,
    /// Rendered service paths, as far as they concern this forwarder.
    #[serde(deserialize_with = "super::exact")]
    pub paths: Vec<Path>,
    /// Plain VXLAN segments.
    pub segments: Vec<Segment>,
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
            transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
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
