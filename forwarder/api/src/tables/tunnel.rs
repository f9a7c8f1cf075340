//! The way to other SFFs. A tunnel has one transport; a path may use another at every hop.

use crate::{Liveness, MacAddr, PortName, TunnelName, Vid, Vni};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// How a frame travels between two SFFs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encapsulation {
    /// NSH in VXLAN-GPE.
    #[default]
    VxlanGpe,
    /// Plain VXLAN; carries Ethernet only, so it cannot carry NSH.
    Vxlan,
    /// NSH in Ethernet frames of type 0x894F (RFC 8300 section 9.1).
    Ethernet,
}

impl fmt::Display for Encapsulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::VxlanGpe => "vxlan-gpe",
            Self::Vxlan => "vxlan",
            Self::Ethernet => "ethernet",
        })
    }
}

/// The way to another SFF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Tunnel {
    /// Name used by next hops.
    pub name: TunnelName,
    /// What carries NSH there.
    pub transport: Transport,
    /// Whether and how its other end is asked if it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
}

/// What carries NSH between two SFFs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Transport {
    /// VXLAN-GPE over UDP. NSH is taken from this remote in return.
    VxlanGpe {
        /// Remote VTEP.
        remote: IpAddr,
        /// VNI written into what we send and expected in what we receive.
        vni: Vni,
        /// Remote UDP port; the underlay's GPE port when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        port: Option<u16>,
    },
    /// Ethernet frames of type 0x894F on a LAN. NSH that is addressed to the port's MAC address
    /// is taken from this LAN in return, whoever sends it: a MAC address proves nothing.
    Ethernet {
        /// The port on that LAN; it may be an access port for other EtherTypes.
        port: PortName,
        /// The other SFF.
        next_hop: Neighbour,
        /// 802.1Q tag of the LAN; untagged when absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<Vid>,
    },
}

impl Transport {
    /// VXLAN-GPE to `remote`, by the underlay's own UDP port.
    pub const fn gpe(remote: IpAddr, vni: Vni) -> Self {
        Self::VxlanGpe {
            remote,
            vni,
            port: None,
        }
    }

    /// The remote VTEP, where there is one.
    pub const fn vtep(&self) -> Option<IpAddr> {
        match self {
            Self::VxlanGpe { remote, .. } => Some(*remote),
            Self::Ethernet { .. } => None,
        }
    }
}

/// A station on a LAN, by an address that has to be resolved (ARP, RFC 826; neighbour discovery,
/// RFC 4861) or by its MAC address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Neighbour {
    /// IPv4 or IPv6 address.
    Ip(IpAddr),
    /// MAC address.
    Mac(MacAddr),
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            Self::Mac(address) => address.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Tunnels {
        tunnels: Vec<Tunnel>,
    }

    #[test]
    fn every_transport_reads_as_a_person_would_write_it() {
        let text = r#"
            [[tunnels]]
            name = "box2"
            transport = { vxlan-gpe = { remote = "fd00::2", vni = 100, port = 4791 } }
            [[tunnels]]
            name = "box3"
            transport = { ethernet = { port = "lan0", next-hop = "fe80::3", vlan = 7 } }
            [[tunnels]]
            name = "box4"
            transport = { ethernet = { port = "lan0", next-hop = "02:00:00:00:00:04" } }
        "#;
        let read: Tunnels = toml::from_str(text).unwrap();
        let next_hop = |place: usize| match read.tunnels[place].transport {
            Transport::Ethernet { next_hop, .. } => Some(next_hop),
            Transport::VxlanGpe { .. } => None,
        };
        assert_eq!(read.tunnels[0].transport.vtep(), "fd00::2".parse().ok());
        assert_eq!(next_hop(1), "fe80::3".parse().ok().map(Neighbour::Ip));
        let mac = MacAddr([2, 0, 0, 0, 0, 4]);
        assert_eq!(next_hop(2), Some(Neighbour::Mac(mac)));
        let json = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<Tunnels>(&json).unwrap(), read);
        let text = text.replace("vlan = 7", "vlan = 4095");
        let error = toml::from_str::<Tunnels>(&text).unwrap_err().to_string();
        assert!(error.contains("VLAN 4095 is outside 1..=4094"), "{error}");
    }
}
