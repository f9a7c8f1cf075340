//! How a function is asked whether it lives.

use super::Period;
use kc_forwarder_api::Liveness;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// How a function is asked whether it lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct LivenessSpec {
    /// What is gone by.
    pub by: LivenessKind,
    /// Time from one question to the next; 1 s when absent, 100 ms in a cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<Period>,
    /// Questions without an answer after which it is dead, 3 when absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub misses: Option<u8>,
}

/// What tells whether a function lives.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LivenessKind {
    /// Its forwarder asks it: by a frame of EtherType 0x88B5 in by one leg and out by the other, by ARP,
    /// or, where it knows NSH, by an echo.
    #[default]
    Answer,
    /// Nobody asks: it lives while its ports have a carrier.
    Carrier,
}

impl LivenessSpec {
    /// Whether nothing was said.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether its forwarder asks.
    pub fn asks(self) -> bool {
        self.by == LivenessKind::Answer
    }

    /// As the forwarder is told; `address` is that of a function with one leg, and `usual_ms` holds where
    /// no interval is said.
    pub fn wire(self, address: Option<IpAddr>, usual_ms: u32) -> Option<Liveness> {
        let usual = Liveness::default();
        self.asks().then(|| Liveness {
            interval_ms: self.interval.map_or(usual_ms, Period::millis),
            multiplier: self.misses.unwrap_or(usual.multiplier),
            address,
        })
    }
}
