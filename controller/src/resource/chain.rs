//! `Chain`: an ordered list of function types, the scheduler that picks instances, and the
//! traffic that runs through it.

use super::Name;
use crate::alarm::AlarmSpec;
use crate::latency::Latency;
use ipnet::IpNet;
use kc_agent_api::NodeName;
use kc_forwarder_api::{PortName, PortRange, Protocol};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is wanted of a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ChainSpec {
    /// Function types in the order traffic meets them.
    pub functions: Vec<Name>,
    /// How instances are chosen.
    #[serde(default)]
    pub scheduler: SchedulerSpec,
    /// Where traffic enters.
    pub from: End,
    /// Where traffic leaves.
    pub to: End,
    /// Which traffic is taken; all of it when empty. Address resolution always goes along.
    #[serde(rename = "match", default, skip_serializing_if = "Vec::is_empty")]
    pub matches: Vec<TrafficMatch>,
    /// What happens to traffic from the far end.
    #[serde(rename = "return", default)]
    pub return_path: ReturnPath,
    /// What it is watched for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alarms: Vec<AlarmSpec>,
}

/// One end of a chain.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct End {
    /// The box.
    pub node: NodeName,
    /// An interface that exists on it.
    pub interface: PortName,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.node, self.interface)
    }
}

/// What happens to traffic from the far end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReturnPath {
    /// The same instances backwards.
    #[default]
    Symmetric,
    /// It is not this chain's business.
    None,
}

/// Which traffic a chain takes. All conditions of one entry must hold; one entry must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct TrafficMatch {
    /// IP protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Source prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<IpNet>,
    /// Destination prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<IpNet>,
    /// TCP, UDP or SCTP source ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ports: Option<PortRange>,
    /// TCP, UDP or SCTP destination ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_ports: Option<PortRange>,
    /// VLAN identifier; 0 matches only untagged frames.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vlan: Option<u16>,
}

/// A scheduler and its parameters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SchedulerSpec {
    /// Which one.
    pub algorithm: Algorithm,
    /// What a distance is measured in.
    #[serde(default, skip_serializing_if = "Length::is_hops")]
    pub length: Length,
    /// Threshold L_TH: hops, or `5ms` where latency is the length; load-path-aware only, and there
    /// required.
    #[serde(rename = "lTh", default, skip_serializing_if = "Option::is_none")]
    pub l_th: Option<Threshold>,
    /// Points of CPU that a hop, or a millisecond, counts as; optimal only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hop_weight: Option<u32>,
    /// What a load counts as that is unknown or too old.
    #[serde(default, skip_serializing_if = "MissingLoad::is_average")]
    pub missing_load: MissingLoad,
    /// Lets a healthy path give way to a better one; it stays when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rebalance: Option<Rebalance>,
    /// Whether physical functions are taken.
    #[serde(default, skip_serializing_if = "PhysicalPolicy::is_any")]
    pub physical: PhysicalPolicy,
    /// Start of the random sequence; random only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// When a healthy path gives way to a better one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Rebalance {
    /// By how many points of CPU it has to cost less: its most loaded instance, and its hops.
    pub margin: u32,
    /// For how long without a break.
    #[serde(rename = "for", default = "Rebalance::usual")]
    pub window: super::Period,
}

impl Rebalance {
    fn usual() -> super::Period {
        super::Period::MINUTE
    }
}

/// What a distance is measured in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Length {
    /// Hops node to node, functions included.
    #[default]
    Hops,
    /// What boxes measure between them, one way; functions are where their boxes are.
    Latency,
}

impl Length {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    const fn is_hops(&self) -> bool {
        matches!(self, Self::Hops)
    }

    /// How many of the numbers that distances are counted in make up what people count in: tenths of
    /// a millisecond make milliseconds.
    pub const fn parts(self) -> u32 {
        match self {
            Self::Hops => 1,
            Self::Latency => 10,
        }
    }

    /// What it is from a function to its own box.
    pub const fn leaf(self) -> u32 {
        match self {
            Self::Hops => 1,
            Self::Latency => 0,
        }
    }

    /// A distance as people read it: `3` or `0.3ms`.
    pub fn number(self, distance: u32) -> String {
        match self {
            Self::Hops => distance.to_string(),
            Self::Latency => Latency::from_tenths(distance).to_string(),
        }
    }

    /// A distance in words: `3 hops` or `0.3ms`.
    pub fn words(self, distance: u32) -> String {
        match (self, distance) {
            (Self::Hops, 1) => "1 hop".to_owned(),
            (Self::Hops, _) => format!("{distance} hops"),
            (Self::Latency, _) => self.number(distance),
        }
    }
}

/// L_TH as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Threshold {
    /// So many hops.
    Hops(u32),
    /// So long a way.
    Latency(Latency),
}

impl Threshold {
    /// As a distance; `None` where it is one of another kind.
    pub fn of(self, length: Length) -> Option<u32> {
        match (self, length) {
            (Self::Hops(hops), Length::Hops) => Some(hops),
            (Self::Latency(latency), Length::Latency) => Some(latency.tenths()),
            _ => None,
        }
    }
}

impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hops(hops) => write!(f, "{hops}"),
            Self::Latency(latency) => write!(f, "{latency}"),
        }
    }
}

impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl serde::de::Visitor<'_> for Either {
            type Value = Threshold;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of hops, or a latency such as 5ms")
            }

            fn visit_u64<E: serde::de::Error>(self, hops: u64) -> Result<Threshold, E> {
                let unexpected = serde::de::Unexpected::Unsigned(hops);
                let hops = u32::try_from(hops);
                hops.map(Threshold::Hops)
                    .map_err(|_| E::invalid_value(unexpected, &self))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Threshold, E> {
                text.parse().map(Threshold::Latency).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// What a load counts as that is unknown or too old. Whichever it is, the scan goes on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MissingLoad {
    /// 50 %: neither a reason to go there nor one to stay away.
    #[default]
    Average,
    /// The last one known, however old; 50 % where none ever was.
    LastKnown,
    /// 100 %, or the last one known if that was more: only where there is nothing else.
    Pessimistic,
}

impl MissingLoad {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    const fn is_average(&self) -> bool {
        matches!(self, Self::Average)
    }
}

/// How a chain chooses between physical and virtual functions of one type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PhysicalPolicy {
    /// As between any others.
    #[default]
    Any,
    /// A physical one where one can be used; one that comes back is gone back to.
    Prefer,
    /// A physical one only where no virtual one can be used.
    Spare,
    /// A virtual one of a type that has physical ones never.
    Only,
    /// A physical one never.
    Never,
}

impl PhysicalPolicy {
    /// As written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "any",
            Self::Prefer => "prefer",
            Self::Spare => "spare",
            Self::Only => "only",
            Self::Never => "never",
        }
    }

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
    const fn is_any(&self) -> bool {
        matches!(self, Self::Any)
    }
}

/// Schedulers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Any instance, from a seeded sequence.
    Random,
    /// Each instance in turn.
    RoundRobin,
    /// The least loaded instance.
    LoadBalance,
    /// The fewest hops in total.
    ShortestPath,
    /// The least loaded instance at most L_TH hops away.
    LoadPathAware,
    /// The same with a threshold found for each step.
    #[default]
    Adaptive,
    /// The least of worst load and length together, of all paths there are.
    Optimal,
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Random,
        Self::RoundRobin,
        Self::LoadBalance,
        Self::ShortestPath,
        Self::LoadPathAware,
        Self::Adaptive,
        Self::Optimal,
    ];

    /// As written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round-robin",
            Self::LoadBalance => "load-balance",
            Self::ShortestPath => "shortest-path",
            Self::LoadPathAware => "load-path-aware",
            Self::Adaptive => "adaptive",
            Self::Optimal => "optimal",
        }
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for SchedulerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.algorithm)?;
        if self.length == Length::Latency {
            write!(f, " length=latency")?;
        }
        if let Some(l_th) = self.l_th {
            write!(f, " lTh={l_th}")?;
        }
        if let Some(hop_weight) = self.hop_weight {
            write!(f, " hopWeight={hop_weight}")?;
        }
        if let Some(seed) = self.seed {
            write!(f, " seed={seed}")?;
        }
        if self.physical != PhysicalPolicy::Any {
            write!(f, " physical={}", self.physical.as_str())?;
        }
        Ok(())
    }
}
