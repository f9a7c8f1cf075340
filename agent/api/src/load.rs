//! Load of a box, of what runs in it and of the paths through it: one sample replaces the last.

use crate::{Payload, Stamp};
use kc_forwarder_api::{DropReason, MacAddr, RoundTrip, Si, Spi, TunnelCounters, drops_by_reason};
use serde::de::{Error, Unexpected};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// One sample.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LoadReport {
    /// When.
    #[serde(flatten)]
    pub at: Stamp,
    /// The box.
    #[serde(rename = "box")]
    pub machine: BoxLoad,
    /// Its containers.
    pub containers: Vec<ContainerLoad>,
    /// Its share of every service path.
    pub paths: Vec<PathLoad>,
    /// Frames the forwarder has dropped since its start.
    #[serde(deserialize_with = "drops_by_reason")]
    pub drops: BTreeMap<DropReason, u64>,
    /// Who is to get no new flows of this box's clients, by the tables in force.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub draining: Vec<DrainingLoad>,
    /// How long the other ends of its tunnels take to answer, of those that do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub round_trips: Vec<RoundTrip>,
}

impl Payload for LoadReport {
    const NAME: &'static str = "load";
}

/// Load of a box.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct BoxLoad {
    /// Busy share of all cores since the last sample, percent.
    #[serde(deserialize_with = "finite")]
    pub cpu_percent: f32,
    /// One-minute load average.
    #[serde(deserialize_with = "finite")]
    pub load_1m: f32,
    /// Memory that cannot be had without swapping, bytes.
    pub memory_used_bytes: u64,
    /// All memory, bytes.
    pub memory_total_bytes: u64,
    /// Disk used under Docker's data root, bytes.
    pub disk_used_bytes: u64,
    /// All of that disk, bytes.
    pub disk_total_bytes: u64,
    /// Hottest thermal zone, degrees Celsius.
    #[serde(deserialize_with = "finite_if_any")]
    pub temperature_c: Option<f32>,
    /// Whether the firmware holds the clock back (a Pi's under-voltage or heat).
    pub throttled: Option<bool>,
    /// Seconds since boot.
    pub uptime_s: u64,
    /// Network interfaces.
    pub networks: Vec<NetworkLoad>,
}

/// One interface, octets and packets since boot.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct NetworkLoad {
    /// Interface.
    pub name: String,
    /// Octets received.
    pub rx_bytes: u64,
    /// Octets sent.
    pub tx_bytes: u64,
    /// Packets received.
    pub rx_packets: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Speed of its link in Mbit/s, where the kernel tells one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_mbit: Option<u32>,
}

/// Load of one container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ContainerLoad {
    /// Name in the document.
    pub name: String,
    /// CPU used, percent of its limit; of all cores when it has none.
    #[serde(deserialize_with = "finite")]
    pub cpu_percent: f32,
    /// Memory used without page cache, bytes.
    pub memory_bytes: u64,
    /// Its memory limit, bytes.
    pub memory_limit_bytes: Option<u64>,
    /// Packets into it.
    pub rx_packets: u64,
    /// Packets out of it.
    pub tx_packets: u64,
    /// Octets into it.
    pub rx_bytes: u64,
    /// Octets out of it.
    pub tx_bytes: u64,
}

/// One forwarder's share of a service path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PathLoad {
    /// Service path.
    pub spi: Spi,
    /// Service index.
    pub si: Si,
    /// Packets looked up since the forwarder's start.
    pub packets: u64,
    /// Inner octets.
    pub bytes: u64,
}

/// A replica that is about to go, as seen by one box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct DrainingLoad {
    /// Its MAC address.
    pub mac: MacAddr,
    /// Flows of this box's clients that are still with it.
    pub flows: u64,
}

/// Counters of all tunnels of a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelReport {
    /// When.
    #[serde(flatten)]
    pub at: Stamp,
    /// Per remote VTEP and VNI.
    pub tunnels: Vec<TunnelCounters>,
}

impl Payload for TunnelReport {
    const NAME: &'static str = "tunnel";
}

/// JSON can write 1e300, which is no `f32`: it would become infinity, which JSON cannot write.
fn finite<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f32, D::Error> {
    let number = f32::deserialize(deserializer)?;
    if number.is_finite() {
        Ok(number)
    } else {
        let unexpected = Unexpected::Float(number.into());
        Err(D::Error::invalid_value(
            unexpected,
            &"a number that fits 32 bits",
        ))
    }
}

fn finite_if_any<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f32>, D::Error> {
    #[derive(Deserialize)]
    struct Finite(#[serde(deserialize_with = "finite")] f32);
    Ok(Option::<Finite>::deserialize(deserializer)?.map(|Finite(number)| number))
}
