//! Probes: real TCP, UDP and ICMP traffic that a forwarder sends by an access port as if a host
//! behind it had, and what became of it.

use crate::PortName;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// What to send, and how often.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Probe {
    /// Access port by which it seems to come in.
    pub port: PortName,
    /// Address and network of the probing host, such as `10.0.0.250/24`. Nobody else may use it.
    pub source: IpNet,
    /// Router to a target outside of that network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway: Option<IpAddr>,
    /// What is asked.
    pub target: ProbeTarget,
    /// How many probes, at most [`Probe::MAX_COUNT`].
    #[serde(default = "default_count")]
    pub count: u32,
    /// Milliseconds from one to the next, at most [`Probe::MAX_MS`].
    #[serde(default = "default_interval")]
    pub interval_ms: u32,
    /// Milliseconds to wait for each answer, at most [`Probe::MAX_MS`].
    #[serde(default = "default_timeout")]
    pub timeout_ms: u32,
    /// Octets of payload. For TCP: octets to be echoed; 0, the default, connects only.
    #[serde(default)]
    pub size: u16,
}

fn default_count() -> u32 {
    10
}
fn default_interval() -> u32 {
    200
}
fn default_timeout() -> u32 {
    1000
}

impl Probe {
    /// Most probes in one request.
    pub const MAX_COUNT: u32 = 10_000;
    /// Longest interval and timeout in milliseconds.
    pub const MAX_MS: u32 = 60_000;
    /// Longest time for all of a request in milliseconds.
    pub const MAX_TOTAL_MS: u64 = 600_000;

    /// Longest time until there is a report, in milliseconds.
    pub fn longest_ms(&self) -> u64 {
        u64::from(self.count) * u64::from(self.interval_ms) + u64::from(self.timeout_ms)
    }
}

/// What a probe asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum ProbeTarget {
    /// Echo requests of ICMP or ICMPv6.
    Icmp {
        /// Whom.
        address: IpAddr,
    },
    /// Datagrams that are to be echoed (RFC 862).
    Udp {
        /// Whom.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// Connections, each opened and closed.
    Tcp {
        /// Whom.
        address: IpAddr,
        /// The port.
        port: u16,
    },
}

impl ProbeTarget {
    /// Whom it asks.
    pub const fn address(&self) -> IpAddr {
        match self {
            Self::Icmp { address } | Self::Udp { address, .. } | Self::Tcp { address, .. } => {
                *address
            }
        }
    }
}

impl fmt::Display for ProbeTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, address, port) = match *self {
            Self::Icmp { address } => ("icmp", address, None),
            Self::Udp { address, port } => ("udp", address, Some(port)),
            Self::Tcp { address, port } => ("tcp", address, Some(port)),
        };
        match (address, port) {
            (IpAddr::V6(address), Some(port)) => write!(f, "{scheme}://[{address}]:{port}"),
            (address, Some(port)) => write!(f, "{scheme}://{address}:{port}"),
            (address, None) => write!(f, "{scheme}://{address}"),
        }
    }
}

/// Text that is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no target: tcp://10.0.0.2:80, udp://10.0.0.2:7, icmp://10.0.0.2, or tcp://[fd00::2]:80"
)]
pub struct ProbeTargetError(pub String);

impl std::str::FromStr for ProbeTarget {
    type Err = ProbeTargetError;

    fn from_str(text: &str) -> Result<Self, ProbeTargetError> {
        let refuse = || ProbeTargetError(text.to_owned());
        let (scheme, rest) = text.split_once("://").ok_or_else(refuse)?;
        if scheme == "icmp" {
            let bare = rest
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'));
            let address = bare.unwrap_or(rest).parse().map_err(|_| refuse())?;
            return Ok(Self::Icmp { address });
        }
        let socket: std::net::SocketAddr = rest.parse().map_err(|_| refuse())?;
        let (address, port) = (socket.ip(), socket.port());
        match scheme {
            _ if port == 0 => Err(refuse()),
            "udp" => Ok(Self::Udp { address, port }),
            "tcp" => Ok(Self::Tcp { address, port }),
            _ => Err(refuse()),
        }
    }
}

/// What became of the probes: `sent` is what was answered as wanted, plus all `errors`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct ProbeReport {
    /// Probes begun.
    pub sent: u32,
    /// Answered as wanted: echoed, replied, or connected.
    pub received: u32,
    /// The rest.
    pub lost: u32,
    /// TCP connections that stood, whatever came after.
    pub connected: u32,
    /// Connection requests of TCP that were sent again because nothing came back: loss that TCP
    /// made good, and that shows in the round trips.
    pub retransmitted: u32,
    /// Round trips in microseconds, from the first packet of a probe on the way to its answer;
    /// none without an answer. ARP and neighbour discovery are not in them.
    pub rtt_us: Option<Spread>,
    /// Interarrival jitter as RFC 3550 section 6.4.1 smooths it, of round trips instead of
    /// one-way times, in microseconds; of two answers at least.
    pub jitter_us: Option<u32>,
    /// Why the rest was not answered as wanted.
    pub errors: BTreeMap<ProbeError, u32>,
}

impl ProbeReport {
    /// Loss in hundredths of a percent.
    pub fn loss_basis_points(&self) -> u32 {
        let lost = u64::from(self.lost) * 10_000;
        let points = lost.checked_div(self.sent.into()).unwrap_or(0);
        u32::try_from(points).unwrap_or(u32::MAX)
    }
}

impl fmt::Display for ProbeReport {
    /// For people, in a few lines.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points = self.loss_basis_points();
        let (sent, received, lost) = (self.sent, self.received, self.lost);
        let (whole, part) = (points / 100, points % 100);
        write!(
            f,
            "{sent} sent, {received} received, {lost} lost ({whole}.{part:02}%)"
        )?;
        for (error, count) in &self.errors {
            write!(f, ", {count} {error}")?;
        }
        if self.retransmitted > 0 {
            write!(f, "; {} requests sent again", self.retransmitted)?;
        }
        if let Some(rtt) = self.rtt_us {
            let Spread {
                min,
                avg,
                p50,
                p99,
                max,
            } = rtt;
            f.write_str("\nround trip ")?;
            for (name, us) in [
                ("min", min),
                ("avg", avg),
                ("p50", p50),
                ("p99", p99),
                ("max", max),
            ] {
                write!(f, "{name} {}, ", Milliseconds(us))?;
            }
            write!(f, "jitter {}", Milliseconds(self.jitter_us.unwrap_or(0)))?;
        }
        Ok(())
    }
}

/// Microseconds written as milliseconds.
struct Milliseconds(u32);

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} ms", self.0 / 1000, self.0 % 1000)
    }
}

/// How a quantity was spread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Spread {
    /// Least.
    pub min: u32,
    /// Mean.
    pub avg: u32,
    /// Half were no larger.
    pub p50: u32,
    /// 99 of 100 were no larger.
    pub p99: u32,
    /// Largest.
    pub max: u32,
}

/// Why a probe was not answered as wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProbeError {
    /// Nothing came back in time.
    Silence,
    /// Nobody answered for the address of the target or of the gateway: nothing was sent.
    NoNeighbour,
    /// The target refused: a TCP reset, or ICMP port unreachable.
    Refused,
    /// A router on the way said that the target cannot be reached.
    Unreachable,
    /// The IP TTL ran out on the way.
    TtlExpired,
    /// The packet was too long for a link on the way.
    TooBig,
    /// An answer that was not what had been sent.
    Corrupt,
    /// A connection that stood was broken off.
    Reset,
    /// Other tables took the port away, or it became a function's leg.
    PortGone,
    /// A kind this version does not know.
    #[serde(other)]
    Unknown,
}

impl ProbeError {
    /// The kind's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Silence => "silence",
            Self::NoNeighbour => "no-neighbour",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::TtlExpired => "ttl-expired",
            Self::TooBig => "too-big",
            Self::Corrupt => "corrupt",
            Self::Reset => "reset",
            Self::PortGone => "port-gone",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ProbeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_reads_as_it_is_written() {
        for text in [
            "tcp://10.0.0.2:80",
            "udp://[fd00::2]:7",
            "icmp://10.0.0.2",
            "icmp://fd00::2",
        ] {
            assert_eq!(text.parse::<ProbeTarget>().unwrap().to_string(), text);
        }
        for wrong in [
            "10.0.0.2",
            "tcp://10.0.0.2",
            "tcp://10.0.0.2:0",
            "http://10.0.0.2:80",
            "",
        ] {
            assert!(wrong.parse::<ProbeTarget>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_probe_needs_port_source_and_target_only() {
        let text = r#"{"port":"client0","source":"10.0.0.250/24",
            "target":{"tcp":{"address":"10.0.0.2","port":80}}}"#;
        let probe: Probe = serde_json::from_str(text).unwrap();
        assert_eq!((probe.count, probe.interval_ms, probe.size), (10, 200, 0));
        assert_eq!(probe.longest_ms(), 3_000);
    }

    #[test]
    fn a_report_reads_in_two_lines() {
        let report = ProbeReport {
            sent: 3,
            received: 2,
            lost: 1,
            rtt_us: Some(Spread {
                min: 400,
                avg: 1_200,
                p50: 400,
                p99: 2_000,
                max: 2_000,
            }),
            jitter_us: Some(100),
            errors: BTreeMap::from([(ProbeError::Silence, 1)]),
            ..ProbeReport::default()
        };
        assert_eq!(
            report.to_string(),
            "3 sent, 2 received, 1 lost (33.33%), 1 silence\n\
             round trip min 0.400 ms, avg 1.200 ms, p50 0.400 ms, p99 2.000 ms, max 2.000 ms, \
             jitter 0.100 ms"
        );
    }

    #[test]
    fn loss_of_nothing_is_none() {
        assert_eq!(ProbeReport::default().loss_basis_points(), 0);
        let report = ProbeReport {
            sent: 3,
            lost: 1,
            ..ProbeReport::default()
        };
        assert_eq!(report.loss_basis_points(), 3_333);
    }
}
