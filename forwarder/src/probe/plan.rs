//! A probe that can be carried out: every bound checked before anything is sent.

use ipnet::IpNet;
use kc_forwarder_api::{Probe, ProbeTarget};
use std::net::IpAddr;

/// Why a probe cannot be carried out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// Too few or too many.
    #[error("count {0} must be 1 to {max}", max = Probe::MAX_COUNT)]
    Count(u32),
    /// Too long between probes.
    #[error("interval-ms {0} must be 0 to {max}", max = Probe::MAX_MS)]
    Interval(u32),
    /// No time, or too much of it.
    #[error("timeout-ms {0} must be 1 to {max}", max = Probe::MAX_MS)]
    Timeout(u32),
    /// Altogether too long.
    #[error("all of it would take {0} ms, at most {max} are allowed", max = Probe::MAX_TOTAL_MS)]
    Total(u64),
    /// Nobody can have this source address.
    #[error("source {0} must be the address of a host and its network, such as 10.0.0.250/24")]
    Source(IpNet),
    /// Nobody can be asked there.
    #[error("target {0} must be the address of one host")]
    Target(IpAddr),
    /// Source asks itself.
    #[error("target {0} is the source itself")]
    Itself(IpAddr),
    /// One is IPv4 and the other IPv6.
    #[error("source {source_net} and {other} are not of the same family")]
    Family {
        /// The source.
        source_net: IpNet,
        /// Target or gateway.
        other: IpAddr,
    },
    /// The target is elsewhere, and no router is known.
    #[error("target {target} is outside of {source_net}: name a gateway in it")]
    OffLink {
        /// The source.
        source_net: IpNet,
        /// The target.
        target: IpAddr,
    },
    /// The router is elsewhere.
    #[error("gateway {gateway} is outside of {source_net}")]
    Gateway {
        /// The source.
        source_net: IpNet,
        /// The gateway.
        gateway: IpAddr,
    },
    /// Port 0.
    #[error("port 0 is nobody's")]
    Port,
    /// Payload does not fit one packet.
    #[error("size {size} does not fit the port's MTU of {mtu}; at most {max} octets do")]
    Size {
        /// Wanted.
        size: u16,
        /// Largest IP packet.
        mtu: u16,
        /// Largest payload.
        max: u16,
    },
}

/// Octets that a datagram needs to be recognized by.
pub(super) const LEAST: u16 = 8;

/// A probe whose every bound holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// What is asked for.
    pub(super) probe: Probe,
    /// Largest IP packet of the port.
    pub(super) mtu: u16,
}

impl Plan {
    /// Checks `probe` for a port whose largest IP packet has `mtu` octets.
    ///
    /// # Errors
    /// The first bound that does not hold.
    pub fn new(mut probe: Probe, mtu: u16) -> Result<Self, PlanError> {
        if !(1..=Probe::MAX_COUNT).contains(&probe.count) {
            return Err(PlanError::Count(probe.count));
        }
        if probe.interval_ms > Probe::MAX_MS {
            return Err(PlanError::Interval(probe.interval_ms));
        }
        if !(1..=Probe::MAX_MS).contains(&probe.timeout_ms) {
            return Err(PlanError::Timeout(probe.timeout_ms));
        }
        if probe.longest_ms() > Probe::MAX_TOTAL_MS {
            return Err(PlanError::Total(probe.longest_ms()));
        }
        addresses(&probe)?;
        match probe.target {
            ProbeTarget::Tcp { port: 0, .. } | ProbeTarget::Udp { port: 0, .. } => {
                return Err(PlanError::Port);
            }
            ProbeTarget::Udp { .. } => probe.size = probe.size.max(LEAST),
            ProbeTarget::Icmp { .. } | ProbeTarget::Tcp { .. } => {}
        }
        if !matches!(probe.target, ProbeTarget::Tcp { .. }) {
            let headers = if probe.source.addr().is_ipv4() {
                28
            } else {
                48
            };
            let max = mtu.saturating_sub(headers);
            if probe.size > max {
                let size = probe.size;
                return Err(PlanError::Size { size, mtu, max });
            }
        }
        Ok(Self { probe, mtu })
    }
}

fn addresses(probe: &Probe) -> Result<(), PlanError> {
    let source_net = probe.source;
    let target = probe.target.address();
    if !is_host(source_net.addr(), Some(source_net)) {
        return Err(PlanError::Source(source_net));
    }
    for other in [Some(target), probe.gateway].into_iter().flatten() {
        if other.is_ipv4() != source_net.addr().is_ipv4() {
            return Err(PlanError::Family { source_net, other });
        }
    }
    let on_link = source_net.contains(&target);
    if !is_host(target, on_link.then_some(source_net)) {
        return Err(PlanError::Target(target));
    }
    if target == source_net.addr() {
        return Err(PlanError::Itself(target));
    }
    match probe.gateway {
        Some(gateway) if !source_net.contains(&gateway) || gateway == source_net.addr() => {
            Err(PlanError::Gateway {
                source_net,
                gateway,
            })
        }
        None if !on_link => Err(PlanError::OffLink { source_net, target }),
        _ => Ok(()),
    }
}

/// Whether `address` can be one host's, in `network` where that is known.
fn is_host(address: IpAddr, network: Option<IpNet>) -> bool {
    let reserved = address.is_unspecified() || address.is_multicast() || address.is_loopback();
    let edge = match (address, network) {
        (IpAddr::V4(address), Some(IpNet::V4(network))) if network.prefix_len() < 31 => {
            address == network.network() || address == network.broadcast()
        }
        (IpAddr::V4(address), _) => address.is_broadcast(),
        _ => false,
    };
    !reserved && !edge
}

#[cfg(test)]
mod tests {
    use super::*;

    fn probe(change: impl FnOnce(&mut Probe)) -> Result<Plan, PlanError> {
        let mut probe = Probe {
            port: "client0".parse().unwrap(),
            source: "10.0.0.250/24".parse().unwrap(),
            gateway: None,
            target: "udp://10.0.0.2:7".parse().unwrap(),
            count: 3,
            interval_ms: 100,
            timeout_ms: 1000,
            size: 0,
        };
        change(&mut probe);
        Plan::new(probe, 1500)
    }

    #[test]
    fn a_datagram_is_long_enough_to_be_recognized() {
        assert_eq!(probe(|_| ()).unwrap().probe.size, LEAST);
    }

    #[test]
    fn every_bound_is_refused_by_name() {
        type Change = fn(&mut Probe);
        let cases: [(Change, &str); 13] = [
            (|p| p.count = 0, "count 0 must be 1 to 10000"),
            (|p| p.interval_ms = 60_001, "interval-ms"),
            (|p| p.timeout_ms = 0, "timeout-ms 0"),
            (|p| (p.count, p.interval_ms) = (10_000, 100), "1001000 ms"),
            (
                |p| p.source = "10.0.0.0/24".parse().unwrap(),
                "source 10.0.0.0/24",
            ),
            (|p| p.source = "10.0.0.255/24".parse().unwrap(), "source"),
            (|p| p.source = "fd00::1/64".parse().unwrap(), "same family"),
            (
                |p| p.target = "udp://10.0.0.255:7".parse().unwrap(),
                "target 10.0.0.255",
            ),
            (
                |p| p.target = "icmp://224.0.0.1".parse().unwrap(),
                "one host",
            ),
            (
                |p| p.target = "icmp://10.0.0.250".parse().unwrap(),
                "itself",
            ),
            (
                |p| p.target = "icmp://10.0.1.2".parse().unwrap(),
                "name a gateway",
            ),
            (
                |p| p.gateway = Some("10.0.1.1".parse().unwrap()),
                "gateway 10.0.1.1",
            ),
            (|p| p.size = 1473, "at most 1472"),
        ];
        for (change, words) in cases {
            let error = probe(change).unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_gateway_opens_the_world() {
        let plan = probe(|p| {
            p.gateway = Some("10.0.0.1".parse().unwrap());
            p.target = "tcp://192.0.2.1:443".parse().unwrap();
        });
        assert!(plan.is_ok());
    }
}
