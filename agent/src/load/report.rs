//! Makes a report out of what was sampled: this time, and the time before. Pure.

use super::machine::{CpuTimes, busy_percent};
use kc_agent_api::{
    BoxLoad, ContainerLoad, DrainingLoad, Limits, LoadReport, NetworkLoad, PathLoad, Stamp,
    TunnelReport,
};
use kc_forwarder_api::{Counters, PortName};
use std::time::Duration;

/// Everything read at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sample {
    /// When, on a clock that never goes back.
    pub at: Duration,
    /// The box.
    pub machine: MachineSample,
    /// Its containers.
    pub containers: Vec<ContainerSample>,
}

/// The box at one moment.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct MachineSample {
    /// Time spent by all cores.
    pub cpu: CpuTimes,
    /// One-minute load average.
    pub load_1m: f32,
    /// Bytes in use, and all bytes.
    pub memory: (u64, u64),
    /// The same of the disk under Docker's data root.
    pub disk: (u64, u64),
    /// Hottest thermal zone, degrees Celsius.
    pub temperature_c: Option<f32>,
    /// Whether the firmware holds the clock back.
    pub throttled: Option<bool>,
    /// Seconds since boot.
    pub uptime_s: u64,
    /// All interfaces of the box.
    pub interfaces: Vec<NetworkLoad>,
}

/// One container at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerSample {
    /// Name in the document.
    pub name: String,
    /// The engine's id, so that a successor is not taken for its predecessor.
    pub id: String,
    /// CPU time used.
    pub cpu_ns: u64,
    /// Memory used without page cache.
    pub memory_bytes: u64,
    /// Its limits.
    pub limits: Limits,
    /// The box's ends of its legs.
    pub ports: Vec<PortName>,
}

/// The report of `now`. Shares are of the time since `before`, and 0 without it. `counters` are
/// the forwarder's, when it answered.
pub fn report(
    at: Stamp,
    before: Option<&Sample>,
    now: &Sample,
    counters: Option<&Counters>,
) -> LoadReport {
    let containers = now.containers.iter();
    let containers = containers.map(|container| container_load(before, now, container));
    let paths = counters.into_iter().flat_map(|counters| &counters.paths);
    LoadReport {
        at,
        machine: box_load(before, now),
        containers: containers.collect(),
        paths: paths
            .map(|path| PathLoad {
                spi: path.spi,
                si: path.si,
                packets: path.packets,
                bytes: path.bytes,
            })
            .collect(),
        drops: counters
            .map(|counters| counters.drops.clone())
            .unwrap_or_default(),
        draining: counters.map(draining).unwrap_or_default(),
        round_trips: counters
            .map(|counters| counters.round_trips.clone())
            .unwrap_or_default(),
    }
}

/// Who is to get no new flows.
fn draining(counters: &Counters) -> Vec<DrainingLoad> {
    let members = counters.virtuals.iter().flat_map(|known| &known.members);
    let draining = members.filter(|member| member.draining);
    draining
        .map(|member| DrainingLoad {
            mac: member.mac,
            flows: member.flows,
        })
        .collect()
}

/// The tunnels' report.
pub fn tunnels(at: Stamp, counters: &Counters) -> TunnelReport {
    TunnelReport {
        at,
        tunnels: counters.tunnels.clone(),
    }
}

fn box_load(before: Option<&Sample>, now: &Sample) -> BoxLoad {
    let machine = &now.machine;
    // The containers' own legs are theirs, and there may be hundreds.
    let is_leg = |name: &str| {
        let mut legs = now.containers.iter().flat_map(|container| &container.ports);
        legs.any(|port| port.as_str() == name)
    };
    BoxLoad {
        cpu_percent: before.map_or(0.0, |before| busy_percent(before.machine.cpu, machine.cpu)),
        load_1m: machine.load_1m,
        memory_used_bytes: machine.memory.0,
        memory_total_bytes: machine.memory.1,
        disk_used_bytes: machine.disk.0,
        disk_total_bytes: machine.disk.1,
        temperature_c: machine.temperature_c,
        throttled: machine.throttled,
        uptime_s: machine.uptime_s,
        networks: machine
            .interfaces
            .iter()
            .filter(|interface| !is_leg(&interface.name))
            .cloned()
            .collect(),
    }
}

fn container_load(before: Option<&Sample>, now: &Sample, this: &ContainerSample) -> ContainerLoad {
    let mut load = ContainerLoad {
        name: this.name.clone(),
        memory_bytes: this.memory_bytes,
        memory_limit_bytes: this.limits.memory_bytes,
        ..ContainerLoad::default()
    };
    let earlier = before.and_then(|before| {
        let same = before
            .containers
            .iter()
            .find(|earlier| earlier.id == this.id);
        same.map(|earlier| (before.at, earlier.cpu_ns))
    });
    if let Some((at, cpu_ns)) = earlier {
        let used = this.cpu_ns.saturating_sub(cpu_ns) as f32;
        let passed = now.at.saturating_sub(at).as_nanos() as f32;
        let millis = this
            .limits
            .cpu_millis
            .unwrap_or(now.machine.cpu.cores.max(1) * 1000);
        if passed > 0.0 && millis > 0 {
            load.cpu_percent = 100.0 * used / (passed * millis as f32 / 1000.0);
        }
    }
    for port in &this.ports {
        let interfaces = &now.machine.interfaces;
        if let Some(leg) = interfaces.iter().find(|leg| leg.name == port.as_str()) {
            // What the box's end of a leg received is what the container sent.
            load.rx_packets += leg.tx_packets;
            load.rx_bytes += leg.tx_bytes;
            load.tx_packets += leg.rx_packets;
            load.tx_bytes += leg.rx_bytes;
        }
    }
    load
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::BootId;
    use kc_forwarder_api::{DropReason, PathCounters, Si, Spi};

    fn stamp() -> Stamp {
        Stamp {
            boot: BootId("b".into()),
            mono_ms: 1,
            wall_ms: 2,
        }
    }

    fn container(id: &str, cpu_ms: u64, cpu_millis: Option<u32>) -> ContainerSample {
        ContainerSample {
            name: "fw-1".into(),
            id: id.into(),
            cpu_ns: cpu_ms * 1_000_000,
            memory_bytes: 5,
            limits: Limits {
                cpu_millis,
                memory_bytes: Some(10),
            },
            ports: vec![
                PortName::new("kc1i").unwrap(),
                PortName::new("kc1o").unwrap(),
            ],
        }
    }

    fn sample(at_ms: u64, containers: Vec<ContainerSample>) -> Sample {
        let interface = |name: &str, base| NetworkLoad {
            name: name.into(),
            rx_bytes: base,
            tx_bytes: base + 1,
            rx_packets: base + 2,
            tx_packets: base + 3,
            speed_mbit: None,
        };
        Sample {
            at: Duration::from_millis(at_ms),
            machine: MachineSample {
                cpu: CpuTimes {
                    busy: at_ms,
                    total: at_ms * 4,
                    cores: 4,
                },
                interfaces: vec![
                    interface("eth0", 7),
                    interface("kc1i", 100),
                    interface("kc1o", 200),
                ],
                ..MachineSample::default()
            },
            containers,
        }
    }

    fn percent(before: ContainerSample, now: ContainerSample) -> f32 {
        let (before, now) = (sample(1000, vec![before]), sample(3000, vec![now]));
        report(stamp(), Some(&before), &now, None).containers[0].cpu_percent
    }

    #[test]
    fn a_container_is_measured_against_its_limit_or_else_all_cores() {
        let half = Some(500);
        assert_eq!(
            percent(container("x", 0, half), container("x", 500, half)),
            50.0
        );
        assert_eq!(
            percent(container("x", 0, None), container("x", 800, None)),
            10.0
        );
    }

    #[test]
    fn a_new_container_of_the_same_name_begins_at_zero() {
        assert_eq!(
            percent(container("x", 9000, None), container("y", 10, None)),
            0.0
        );
        assert_eq!(
            percent(container("x", 9000, None), container("x", 10, None)),
            0.0
        );
        let first = report(
            stamp(),
            None,
            &sample(5, vec![container("x", 9, None)]),
            None,
        );
        assert_eq!(first.containers[0].cpu_percent, 0.0);
        assert_eq!(first.machine.cpu_percent, 0.0);
    }

    #[test]
    fn a_containers_packets_are_those_of_its_legs_seen_from_inside() {
        let now = sample(5, vec![container("x", 9, None)]);
        let report = report(stamp(), None, &now, None);
        let load = &report.containers[0];
        assert_eq!((load.rx_packets, load.tx_packets), (103 + 203, 102 + 202));
        assert_eq!((load.rx_bytes, load.tx_bytes), (101 + 201, 100 + 200));
        assert_eq!((load.memory_bytes, load.memory_limit_bytes), (5, Some(10)));
        let names: Vec<_> = report
            .machine
            .networks
            .iter()
            .map(|n| n.name.as_str())
            .collect();
        assert_eq!(names, ["eth0"]);
    }

    #[test]
    fn the_forwarders_paths_and_drops_are_passed_on() {
        let counters = Counters {
            paths: vec![PathCounters {
                spi: Spi::new(3).unwrap(),
                si: Si::MAX,
                packets: 4,
                bytes: 5,
            }],
            drops: [(DropReason::NoPath, 6)].into(),
            ..Counters::default()
        };
        let (before, now) = (sample(1000, vec![]), sample(2000, vec![]));
        let report = report(stamp(), Some(&before), &now, Some(&counters));
        assert_eq!(report.machine.cpu_percent, 25.0);
        assert_eq!(report.paths[0].packets, 4);
        assert_eq!(report.drops[&DropReason::NoPath], 6);
    }
}
