//! Physical functions: hardware that is plugged into boxes. It is there, or it is not; nobody makes,
//! moves, multiplies or changes it.

use super::{LivenessSpec, Name, Window};
use kc_agent_api::NodeName;
use kc_forwarder_api::{Attachment, MacAddr, PortName, Vid};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

/// One piece of hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct PhysicalSpec {
    /// What it is called among instances.
    pub name: Name,
    /// The box it is plugged into.
    pub node: NodeName,
    /// The box's interface towards the start of forward paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inside: Option<PortName>,
    /// The box's interface towards the end of forward paths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outside: Option<PortName>,
    /// The box's only interface to it, where it has one leg or two VLANs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// Its MAC address, where it has one leg.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<MacAddr>,
    /// Its address, where it has one leg: asked for by ARP to see whether it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// Two VLANs of one port are its legs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlans: Option<VlanLegs>,
    /// What a load of 100 % is.
    #[serde(default, skip_serializing_if = "CapacitySpec::is_default")]
    pub capacity: CapacitySpec,
    /// When it is not to be used.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub maintenance: Vec<Window>,
}

/// VLANs of one port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VlanLegs {
    /// Towards the start of forward paths.
    pub inside: Vid,
    /// Towards the end of forward paths.
    pub outside: Vid,
}

/// What hardware can do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct CapacitySpec {
    /// How many chains.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chains: Option<u32>,
    /// How much traffic, both directions together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic: Option<BitRate>,
}

impl CapacitySpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl PhysicalSpec {
    /// How its box's forwarder reaches it; nothing where it is not said.
    pub fn attachment(&self, aware: bool) -> Option<Attachment> {
        let vlan = None;
        match (
            &self.inside,
            &self.outside,
            &self.port,
            self.mac,
            self.vlans,
        ) {
            (Some(inside), Some(outside), None, None, None) if !aware => Some(Attachment::TwoLeg {
                inside: inside.clone(),
                outside: outside.clone(),
                vlan,
            }),
            (None, None, Some(port), Some(mac), None) => {
                let port = port.clone();
                Some(match aware {
                    true => Attachment::NshAware { port, mac, vlan },
                    false => Attachment::OneLeg { port, mac, vlan },
                })
            }
            (None, None, Some(port), None, Some(vlans)) if !aware => Some(Attachment::VlanPair {
                port: port.clone(),
                inside: vlans.inside,
                outside: vlans.outside,
            }),
            _ => None,
        }
    }

    /// The box's interfaces that lead to it.
    pub fn ports(&self) -> impl Iterator<Item = &PortName> {
        [&self.inside, &self.outside, &self.port]
            .into_iter()
            .flatten()
    }

    /// Whether its forwarder can ask it if it lives.
    pub fn can_be_asked(&self, aware: bool, liveness: LivenessSpec) -> bool {
        let one_leg = self.mac.is_some() && !aware;
        liveness.asks() && (!one_leg || self.address.is_some())
    }

    /// Whether it is plugged in as `other` is.
    pub fn is_plugged_as(&self, other: &Self) -> bool {
        let plug = |spec: &Self| Self {
            capacity: CapacitySpec::default(),
            maintenance: Vec::new(),
            ..spec.clone()
        };
        plug(self) == plug(other)
    }
}

/// Text that is no bit rate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no bit rate: write a whole number with kbit/s, Mbit/s or Gbit/s, above zero")]
pub struct BitRateError(String);

/// Bits per second, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BitRate(u64);

const UNITS: [(&str, u64); 4] = [
    ("Gbit/s", 1_000_000_000),
    ("Mbit/s", 1_000_000),
    ("kbit/s", 1_000),
    ("bit/s", 1),
];

impl BitRate {
    /// Bits per second.
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl FromStr for BitRate {
    type Err = BitRateError;
    fn from_str(text: &str) -> Result<Self, BitRateError> {
        let number = UNITS
            .iter()
            .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?.trim_end(), factor)));
        let plain = |digits: &str| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
        number
            .filter(|(digits, _)| plain(digits))
            .and_then(|(digits, factor)| digits.parse::<u64>().ok()?.checked_mul(*factor))
            .filter(|bits| *bits > 0)
            .map(Self)
            .ok_or_else(|| BitRateError(text.to_owned()))
    }
}

impl TryFrom<String> for BitRate {
    type Error = BitRateError;
    fn try_from(text: String) -> Result<Self, BitRateError> {
        text.parse()
    }
}

impl From<BitRate> for String {
    fn from(rate: BitRate) -> Self {
        rate.to_string()
    }
}

impl fmt::Display for BitRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = UNITS.iter().find(|(_, unit)| self.0.is_multiple_of(*unit));
        let (unit, factor) = fitting.unwrap_or(&("bit/s", 1));
        f.pad(&format!("{}{unit}", self.0 / factor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bit_rates_are_read_as_they_are_written() {
        for (text, bits, again) in [
            ("1Gbit/s", 1_000_000_000, "1Gbit/s"),
            ("1500 Mbit/s", 1_500_000_000, "1500Mbit/s"),
            ("9600bit/s", 9_600, "9600bit/s"),
        ] {
            let rate: BitRate = text.parse().unwrap();
            assert_eq!((rate.bits(), rate.to_string().as_str()), (bits, again));
        }
        for odd in [
            "",
            "1G",
            "0Mbit/s",
            "1.5Gbit/s",
            "-1kbit/s",
            "99999999999Gbit/s",
        ] {
            assert!(odd.parse::<BitRate>().is_err(), "{odd}");
        }
    }
}
