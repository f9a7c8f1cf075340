//! The control socket's language: one JSON request a line, one JSON response a line, in order.
//! A connection may stay open; its end tells the peer that the forwarder has gone.

use crate::{
    Capture, Counters, Echo, EchoReply, FastPathStatus, FunctionStatus, HealthEvent,
    NeighbourStatus, PortName, Probe, ProbeReport, Tables, TunnelStatus, UnderlayBackend,
};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Longest request line in bytes; a longer one is refused as `too-large`.
pub const MAX_REQUEST: usize = 64 << 20;

/// What a client may ask.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", tag = "op")]
pub enum Request {
    /// Replace all tables.
    Apply {
        /// The new tables.
        tables: Box<Tables>,
    },
    /// Check tables without using them.
    Check {
        /// The tables.
        tables: Box<Tables>,
    },
    /// The tables in force.
    Tables,
    /// All counters.
    Counters,
    /// Version, generation, ports, health.
    Status,
    /// Send real traffic by an access port and measure what becomes of it. The answer comes when
    /// it is over; whoever hangs up before ends it.
    Probe {
        /// What to send.
        probe: Probe,
    },
    /// Show frames and what became of them. See [`Capture`] for what the connection carries then.
    Capture {
        /// Which frames, and for how long.
        #[serde(default)]
        capture: Capture,
    },
    /// Send an echo down a service path and tell what comes back. Answered when the answer is
    /// there or the time is over; other connections are served meanwhile.
    Echo {
        /// The echo.
        echo: Echo,
    },
    /// Tell the present health and then every change of it, for ever: no other request is taken
    /// from this connection.
    Watch,
}

/// What the forwarder answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "result")]
pub enum Response {
    /// The tables are in force, or were found sound.
    Applied {
        /// Their generation.
        generation: u64,
    },
    /// The tables in force.
    Tables {
        /// The tables.
        tables: Box<Tables>,
    },
    /// All counters.
    Counters {
        /// The counters.
        counters: Box<Counters>,
    },
    /// Version, generation, ports.
    Status {
        /// The status.
        status: Box<Status>,
    },
    /// The probe is over.
    Probe {
        /// What became of it.
        report: ProbeReport,
    },
    /// The capture runs; behind this line the connection carries pcapng and nothing else.
    Capturing,
    /// What came of an echo.
    Echo {
        /// The answer; `None` when there was silence.
        reply: Option<EchoReply>,
    },
    /// The health of all that is asked for it, as of now. Changes follow.
    Watching {
        /// Tunnels in table order.
        tunnels: Vec<TunnelStatus>,
        /// Functions in table order.
        functions: Vec<FunctionStatus>,
    },
    /// A change of health.
    Health {
        /// The change.
        event: HealthEvent,
    },
    /// Refused; nothing has changed.
    Error {
        /// Why.
        error: ControlError,
    },
}

/// Why a request was refused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ControlError {
    /// For programs.
    pub code: ErrorCode,
    /// For people: names the entry that is wrong and what would be right.
    pub message: String,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// Not a request.
    Malformed,
    /// Longer than [`MAX_REQUEST`].
    TooLarge,
    /// The tables contradict themselves.
    Invalid,
    /// An older generation, or another table under the generation in force.
    Stale,
    /// Too many clients.
    Busy,
    /// A kind that only a newer forwarder knows.
    #[serde(other)]
    Unknown,
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too-large",
            Self::Invalid => "invalid",
            Self::Stale => "stale",
            Self::Busy => "busy",
            Self::Unknown => "unknown",
        })
    }
}

/// State of a running forwarder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Program version.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Generation of the tables in force.
    pub generation: u64,
    /// Milliseconds since start.
    pub uptime_ms: u64,
    /// Threads that have moved packets so far.
    #[serde(default = "one")]
    pub threads: u16,
    /// Ports in table order.
    pub ports: Vec<PortStatus>,
    /// The sockets of tunnels over UDP, where there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub underlay: Option<UnderlayStatus>,
    /// Tunnels in table order.
    #[serde(default)]
    pub tunnels: Vec<TunnelStatus>,
    /// Functions in table order.
    #[serde(default)]
    pub functions: Vec<FunctionStatus>,
    /// Next hops on LANs, in the order that tunnels name them.
    #[serde(default)]
    pub neighbours: Vec<NeighbourStatus>,
    /// The fast path, where it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fast_path: Option<FastPathStatus>,
}

const fn one() -> u16 {
    1
}

/// State of one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortStatus {
    /// Port.
    pub name: PortName,
    /// Kernel interface.
    pub interface: PortName,
    /// Packet I/O in use.
    pub backend: crate::Word<Backend>,
    /// Whether frames flow.
    pub state: crate::Word<PortState>,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Why this backend, or why the port is not up.
    pub reason: String,
}

/// State of the sockets that tunnels over UDP end in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UnderlayStatus {
    /// How datagrams are sent.
    pub backend: crate::Word<UnderlayBackend>,
    /// Why this backend.
    pub reason: String,
}

/// Whether a port works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PortState {
    /// Frames flow.
    Up,
    /// The interface does not exist, or is down; it is looked for again.
    Absent,
    /// Nobody is at the other end of its cable; nothing is sent until somebody is.
    NoCarrier,
}

impl fmt::Display for PortState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Up => "up",
            Self::Absent => "absent",
            Self::NoCarrier => "no-carrier",
        })
    }
}

/// Packet I/O of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Backend {
    /// The best that works here.
    #[default]
    Auto,
    /// AF_PACKET through `pnet_datalink`: works everywhere, a few system calls a packet.
    Pnet,
    /// AF_PACKET with `recvmmsg`, `sendmmsg` and `PACKET_VNET_HDR`: knows VLAN tags, open checksums and GSO.
    Packet,
    /// As `packet`, and out of a TPACKET_V3 ring while frames come faster than that.
    Mmap,
    /// AF_XDP: past the kernel's network stack. Where it does not work, what `auto` takes.
    Xdp,
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Auto => "auto",
            Self::Pnet => "pnet",
            Self::Packet => "packet",
            Self::Mmap => "mmap",
            Self::Xdp => "xdp",
        })
    }
}

impl FromStr for Backend {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Auto, Self::Pnet, Self::Packet, Self::Mmap, Self::Xdp]
            .into_iter()
            .find(|backend| backend.to_string() == text)
            .ok_or_else(|| format!("backend {text:?} must be auto, pnet, packet, mmap or xdp"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_one_word_and_their_data() {
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"op":"counters"}"#).unwrap(),
            Request::Counters
        );
        assert!(serde_json::from_str::<Request>(r#"{"op":"aply"}"#).is_err());
    }
}
