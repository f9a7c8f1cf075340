//! Our own end of all tunnels over UDP.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The local end of all tunnels over UDP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Underlay {
    /// Local VTEP addresses: one, or a list of one IPv4 and one IPv6 address.
    pub address: VtepAddresses,
    /// Largest outer IP packet in bytes.
    #[serde(default = "default_mtu")]
    pub mtu: u16,
    /// UDP port of VXLAN-GPE.
    #[serde(default = "default_gpe_port")]
    pub gpe_port: u16,
    /// UDP port of plain VXLAN.
    #[serde(default = "default_vxlan_port")]
    pub vxlan_port: u16,
    /// How datagrams are sent and received.
    #[serde(default, skip_serializing_if = "UnderlayBackend::is_auto")]
    pub backend: UnderlayBackend,
}

impl Underlay {
    /// An underlay of default MTU and ports.
    pub fn at(address: impl Into<VtepAddresses>) -> Self {
        Self {
            address: address.into(),
            mtu: default_mtu(),
            gpe_port: default_gpe_port(),
            vxlan_port: default_vxlan_port(),
            backend: UnderlayBackend::Auto,
        }
    }
}

/// How tunnels over UDP meet the kernel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnderlayBackend {
    /// The best that works here.
    #[default]
    Auto,
    /// A datagram at a time; outer checksums over IPv4 are zero.
    Udp,
    /// Datagrams of one length to one receiver together (UDP_SEGMENT, UDP_GRO); outer checksums
    /// are complete.
    UdpGso,
    /// As `udp-gso`, and over IPv4 out of a TPACKET_V3 ring while datagrams come faster than that.
    /// What comes out of the ring has not passed the machine's own firewall.
    Mmap,
}

impl UnderlayBackend {
    fn is_auto(&self) -> bool {
        *self == Self::Auto
    }
}

impl fmt::Display for UnderlayBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Udp => "udp",
            Self::UdpGso => "udp-gso",
            Self::Mmap => "mmap",
        })
    }
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

/// Local VTEP addresses, at most one of each family and at least one. Written as one address or
/// as a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "OneOrMany", into = "OneOrMany")]
pub struct VtepAddresses {
    v4: Option<Ipv4Addr>,
    v6: Option<Ipv6Addr>,
}

/// Addresses that no VTEP can have together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum VtepAddressError {
    /// An empty list.
    #[error("a VTEP needs an address; leave the underlay out where there is none")]
    None,
    /// Two of one family.
    #[error("a VTEP has one address of each family, not both {first} and {second}")]
    Family {
        /// One address.
        first: IpAddr,
        /// Another one of its family.
        second: IpAddr,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(IpAddr),
    Many(Vec<IpAddr>),
}

impl VtepAddresses {
    /// Checks `addresses`.
    ///
    /// # Errors
    /// There is none, or two of one family.
    pub fn new(addresses: impl IntoIterator<Item = IpAddr>) -> Result<Self, VtepAddressError> {
        let mut checked = Self { v4: None, v6: None };
        for address in addresses {
            let former = match address {
                IpAddr::V4(v4) => checked.v4.replace(v4).map(IpAddr::V4),
                IpAddr::V6(v6) => checked.v6.replace(v6).map(IpAddr::V6),
            };
            if let Some(first) = former {
                let second = address;
                return Err(VtepAddressError::Family { first, second });
            }
        }
        if checked.iter().next().is_none() {
            return Err(VtepAddressError::None);
        }
        Ok(checked)
    }

    /// The address, if there is one, that reaches `remote`: the one of its family.
    pub fn towards(&self, remote: IpAddr) -> Option<IpAddr> {
        match remote {
            IpAddr::V4(_) => self.v4.map(IpAddr::V4),
            IpAddr::V6(_) => self.v6.map(IpAddr::V6),
        }
    }

    /// All of them, IPv4 first.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let v4 = self.v4.map(IpAddr::V4).into_iter();
        v4.chain(self.v6.map(IpAddr::V6))
    }
}

impl From<IpAddr> for VtepAddresses {
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(v4) => Self {
                v4: Some(v4),
                v6: None,
            },
            IpAddr::V6(v6) => Self {
                v4: None,
                v6: Some(v6),
            },
        }
    }
}

impl TryFrom<OneOrMany> for VtepAddresses {
    type Error = VtepAddressError;
    fn try_from(value: OneOrMany) -> Result<Self, VtepAddressError> {
        match value {
            OneOrMany::One(address) => Ok(address.into()),
            OneOrMany::Many(addresses) => Self::new(addresses),
        }
    }
}

impl From<VtepAddresses> for OneOrMany {
    fn from(addresses: VtepAddresses) -> Self {
        let mut all = addresses.iter();
        match (all.next(), all.next()) {
            (Some(one), None) => Self::One(one),
            _ => Self::Many(addresses.iter().collect()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str) -> Result<Underlay, String> {
        toml::from_str(&format!("address = {address}")).map_err(|error| error.to_string())
    }

    #[test]
    fn one_address_or_one_of_each_family() {
        let one = read("\"192.168.50.1\"").unwrap();
        let (v4, v6) = ([192, 168, 50, 2].into(), "fd00::2".parse().unwrap());
        assert!(one.address.towards(v4).is_some() && one.address.towards(v6).is_none());
        let both = read("[\"fd00::1\", \"192.168.50.1\"]").unwrap();
        assert_eq!(both.address.towards(v6), "fd00::1".parse().ok());
        let json = serde_json::to_string(&both).unwrap();
        assert!(
            json.contains(r#""address":["192.168.50.1","fd00::1"]"#),
            "{json}"
        );
        let json = serde_json::to_string(&one).unwrap();
        assert!(json.contains(r#""address":"192.168.50.1""#), "{json}");
    }

    #[test]
    fn two_of_one_family_and_none_at_all_are_refused() {
        let error = read("[\"10.0.0.1\", \"10.0.0.2\"]").unwrap_err();
        assert!(error.contains("not both 10.0.0.1 and 10.0.0.2"), "{error}");
        assert!(read("[]").unwrap_err().contains("needs an address"));
    }
}
