//! Whether tunnels and functions live, as far as a forwarder has asked them.

use crate::{SfName, TunnelName};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// How often something is asked whether it lives, and how long its silence is borne.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Liveness {
    /// Milliseconds between two probes, 10 to 60,000.
    #[serde(default = "default_interval")]
    pub interval_ms: u32,
    /// Intervals of silence after which it counts as dead, 2 to 100.
    #[serde(default = "default_multiplier")]
    pub multiplier: u8,
    /// IPv4 address of a function with one leg, asked by ARP: without it nothing is known of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<IpAddr>,
}

impl Default for Liveness {
    fn default() -> Self {
        Self {
            interval_ms: default_interval(),
            multiplier: default_multiplier(),
            address: None,
        }
    }
}

fn default_interval() -> u32 {
    1000
}
fn default_multiplier() -> u8 {
    3
}

/// What is known of a tunnel or a function.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthState {
    /// It was never asked, or has never answered; it is used like one that lives.
    #[default]
    Unknown,
    /// It answers.
    Alive,
    /// It answered once and does no longer.
    Dead,
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Unknown => "unknown",
            Self::Alive => "alive",
            Self::Dead => "dead",
        })
    }
}

/// State of a tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelStatus {
    /// Tunnel.
    pub name: TunnelName,
    /// Whether the SFF at its other end answers.
    pub state: HealthState,
    /// Milliseconds for which that has been so.
    pub since_ms: u64,
    /// Round trip of the last answered probe, in microseconds.
    pub rtt_us: Option<u32>,
}

/// State of a function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct FunctionStatus {
    /// Instance.
    pub name: SfName,
    /// Whether it answers.
    pub state: HealthState,
    /// Milliseconds for which that has been so.
    pub since_ms: u64,
    /// Round trip of the last answered probe, in microseconds.
    pub rtt_us: Option<u32>,
}

/// What health is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HealthSubject {
    /// A tunnel.
    Tunnel(TunnelName),
    /// A function.
    Function(SfName),
}

impl fmt::Display for HealthSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tunnel(name) => write!(f, "tunnel {name}"),
            Self::Function(name) => write!(f, "function {name}"),
        }
    }
}

/// A tunnel or a function has changed its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct HealthEvent {
    /// Which one.
    pub subject: HealthSubject,
    /// What it is now.
    pub state: HealthState,
    /// What it was before.
    pub former: HealthState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn liveness_has_sensible_defaults_and_no_others() {
        let liveness: Liveness = serde_json::from_str("{}").unwrap();
        assert_eq!(liveness, Liveness::default());
        assert!(serde_json::from_str::<Liveness>(r#"{"interval":5}"#).is_err());
    }

    #[test]
    fn a_subject_is_named_by_its_kind() {
        let subject = HealthSubject::Function(SfName::new("fw-1").unwrap());
        let text = serde_json::to_string(&subject).unwrap();
        assert_eq!(text, r#"{"function":"fw-1"}"#);
        assert_eq!(subject.to_string(), "function fw-1");
    }
}
