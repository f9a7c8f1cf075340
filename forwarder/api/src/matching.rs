//! What a classifier rule matches on: RFC 7665 section 4.4 leaves the fields to us, so these
//! are the 5-tuple, the ingress port and the Ethernet header.

use crate::{MacAddr, PortName};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Conditions of one rule. An absent condition matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Match {
    /// Ingress port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// VLAN identifier, 1 to 4094; 0 matches only untagged frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
    /// Source MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_mac: Option<MacAddr>,
    /// Destination MAC address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_mac: Option<MacAddr>,
    /// EtherType behind any VLAN tag.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ethertype: Option<u16>,
    /// Source prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNet>,
    /// Destination prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpNet>,
    /// IP protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// TCP, UDP or SCTP source ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<PortRange>,
    /// TCP, UDP or SCTP destination ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_ports: Option<PortRange>,
}

/// Text that is neither a protocol nor a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MatchError {
    /// Not a protocol.
    #[error("protocol {0:?} must be tcp, udp, icmp, icmpv6, sctp or a number from 0 to 255")]
    Protocol(String),
    /// Not a port range.
    #[error("ports {0:?} must be a number such as 80 or a range such as 8000-8099")]
    Ports(String),
}

/// An IP protocol number, written by name where it has a common one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "String")]
pub struct Protocol(pub u8);

impl Protocol {
    /// IPv4's control messages.
    pub const ICMP: Self = Self(1);
    /// RFC 9293.
    pub const TCP: Self = Self(6);
    /// RFC 768.
    pub const UDP: Self = Self(17);
    /// IPv6's control messages.
    pub const ICMPV6: Self = Self(58);
    /// RFC 9260.
    pub const SCTP: Self = Self(132);

    const NAMES: [(&'static str, Self); 5] = [
        ("tcp", Self::TCP),
        ("udp", Self::UDP),
        ("icmp", Self::ICMP),
        ("icmpv6", Self::ICMPV6),
        ("sctp", Self::SCTP),
    ];
}

impl FromStr for Protocol {
    type Err = MatchError;
    fn from_str(text: &str) -> Result<Self, MatchError> {
        let named = Self::NAMES
            .iter()
            .find(|(name, _)| *name == text)
            .map(|&(_, p)| p);
        named
            .or_else(|| text.parse().ok().map(Self))
            .ok_or_else(|| MatchError::Protocol(text.to_owned()))
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Self::NAMES.iter().find(|(_, p)| p == self) {
            Some((name, _)) => f.pad(name),
            None => self.0.fmt(f),
        }
    }
}

impl From<Protocol> for String {
    fn from(protocol: Protocol) -> String {
        protocol.to_string()
    }
}

impl TryFrom<NumberOrText> for Protocol {
    type Error = MatchError;
    fn try_from(value: NumberOrText) -> Result<Self, MatchError> {
        value.text().parse()
    }
}

/// An inclusive range of transport ports, written `80` or `8000-8099`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "String")]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// `first..=last`; `None` when it is empty.
    pub const fn new(first: u16, last: u16) -> Option<Self> {
        if first <= last {
            Some(Self { first, last })
        } else {
            None
        }
    }

    /// The lowest port.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The highest port.
    pub const fn last(self) -> u16 {
        self.last
    }

    /// Whether `port` lies in the range.
    pub const fn contains(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for PortRange {
    type Err = MatchError;
    fn from_str(text: &str) -> Result<Self, MatchError> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        first
            .parse()
            .ok()
            .zip(last.parse().ok())
            .and_then(|(first, last)| Self::new(first, last))
            .ok_or_else(|| MatchError::Ports(text.to_owned()))
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

impl From<PortRange> for String {
    fn from(range: PortRange) -> String {
        range.to_string()
    }
}

impl TryFrom<NumberOrText> for PortRange {
    type Error = MatchError;
    fn try_from(value: NumberOrText) -> Result<Self, MatchError> {
        value.text().parse()
    }
}

/// People write `80` and `"80-90"`; both are welcome.
#[derive(Deserialize)]
#[serde(untagged)]
enum NumberOrText {
    Number(u64),
    Text(String),
}

impl NumberOrText {
    fn text(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_a_number_or_a_range() {
        let matches: Match = toml::from_str(
            "destination-ports = \"8000-8099\"\nsource-ports = 80\nprotocol = \"tcp\"",
        )
        .unwrap();
        assert!(matches.destination_ports.unwrap().contains(8099));
        assert_eq!(matches.source_ports.unwrap().last(), 80);
        assert_eq!(matches.protocol, Some(Protocol::TCP));
        for wrong in ["90-80", "x", "1-2-3", "65536", ""] {
            assert!(wrong.parse::<PortRange>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_condition_is_refused() {
        assert!(toml::from_str::<Match>("destinaton = \"10.0.0.0/8\"").is_err());
    }

    #[test]
    fn a_match_survives_json() {
        let matches = Match {
            protocol: Some(Protocol(47)),
            vlan: Some(7),
            source_ports: PortRange::new(1, 9),
            ..Match::default()
        };
        let text = serde_json::to_string(&matches).unwrap();
        assert_eq!(serde_json::from_str::<Match>(&text).unwrap(), matches);
    }
}
