//! A box in Prometheus' words: base units, counters that end in `_total`, and `domain` and
//! `node` on everything. Pure.

use super::exposition::{Kind, Page};
use Kind::{Counter, Gauge};
use kc_agent_api::{ContainerPhase, DomainName, LoadReport, NetworkLoad, NodeName, NodeState};
use kc_forwarder_api::Counters;

/// What was measured last, and of whom.
#[derive(Debug, Clone, PartialEq)]
pub struct Readings {
    /// The domain.
    pub domain: DomainName,
    /// The node.
    pub node: NodeName,
    /// The load, as it was published.
    pub load: LoadReport,
    /// The state, as it was published.
    pub state: NodeState,
    /// What the forwarder counts, when it answered.
    pub counters: Option<Counters>,
}

impl Readings {
    /// The page that Prometheus reads.
    pub fn page(&self) -> String {
        let (domain, node) = (self.domain.as_str(), self.node.as_str());
        let mut page = Page::new(&[("domain", domain), ("node", node)]);
        page.family("kcluster_agent_info", Gauge, "The agent that tells this.")
            .sample(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        self.of_box(&mut page);
        self.of_networks(&mut page);
        self.of_containers(&mut page);
        self.of_states(&mut page);
        page.family(
            "kcluster_forwarder_up",
            Gauge,
            "Whether the forwarder answered.",
        )
        .sample(&[], self.counters.is_some());
        if let Some(counters) = &self.counters {
            of_ports(&mut page, counters);
            of_paths(&mut page, counters);
            of_tunnels(&mut page, counters);
        }
        page.finish()
    }

    fn of_box(&self, page: &mut Page) {
        let machine = &self.load.machine;
        let share = f64::from(machine.cpu_percent) / 100.0;
        let mut gauge = |name, help, value: f64| {
            page.family(name, Gauge, help).sample(&[], value);
        };
        gauge(
            "kcluster_box_cpu_usage_ratio",
            "Busy share of all cores since the last report.",
            share,
        );
        gauge(
            "kcluster_box_load1",
            "One-minute load average.",
            machine.load_1m.into(),
        );
        if let Some(temperature) = machine.temperature_c {
            gauge(
                "kcluster_box_temperature_celsius",
                "Hottest thermal zone.",
                temperature.into(),
            );
        }
        let mut whole = |name, help, value: u64| {
            page.family(name, Gauge, help).sample(&[], value);
        };
        whole(
            "kcluster_box_memory_used_bytes",
            "Memory that cannot be had without swapping.",
            machine.memory_used_bytes,
        );
        whole(
            "kcluster_box_memory_size_bytes",
            "All memory.",
            machine.memory_total_bytes,
        );
        whole(
            "kcluster_box_disk_used_bytes",
            "Disk used under Docker's data root.",
            machine.disk_used_bytes,
        );
        whole(
            "kcluster_box_disk_size_bytes",
            "All of that disk.",
            machine.disk_total_bytes,
        );
        whole(
            "kcluster_box_uptime_seconds",
            "Time since boot.",
            machine.uptime_s,
        );
        if let Some(throttled) = machine.throttled {
            let help = "Whether the firmware holds the clock back (under-voltage or heat).";
            whole("kcluster_box_throttled", help, throttled.into());
        }
    }

    fn of_networks(&self, page: &mut Page) {
        type Field = fn(&NetworkLoad) -> u64;
        let families: [(&str, &str, Field); 4] = [
            (
                "kcluster_box_network_receive_bytes_total",
                "Octets received.",
                |n| n.rx_bytes,
            ),
            (
                "kcluster_box_network_transmit_bytes_total",
                "Octets sent.",
                |n| n.tx_bytes,
            ),
            (
                "kcluster_box_network_receive_packets_total",
                "Packets received.",
                |n| n.rx_packets,
            ),
            (
                "kcluster_box_network_transmit_packets_total",
                "Packets sent.",
                |n| n.tx_packets,
            ),
        ];
        for (name, help, field) in families {
            let mut family = page.family(name, Counter, help);
            for network in &self.load.machine.networks {
                family.sample(&[("interface", &network.name)], field(network));
            }
        }
    }

    fn of_containers(&self, page: &mut Page) {
        let containers = &self.load.containers;
        let mut cpu = page.family(
            "kcluster_container_cpu_usage_ratio",
            Gauge,
            "CPU used, as a share of its limit or of all cores.",
        );
        for container in containers {
            let share = f64::from(container.cpu_percent) / 100.0;
            cpu.sample(&[("container", &container.name)], share);
        }
        let mut limit = page.family(
            "kcluster_container_memory_limit_bytes",
            Gauge,
            "Memory it may use.",
        );
        for container in containers {
            if let Some(bytes) = container.memory_limit_bytes {
                limit.sample(&[("container", &container.name)], bytes);
            }
        }
        type Field = fn(&kc_agent_api::ContainerLoad) -> u64;
        let families: [(&str, Kind, &str, Field); 5] = [
            (
                "kcluster_container_memory_used_bytes",
                Gauge,
                "Memory used without page cache.",
                |c| c.memory_bytes,
            ),
            (
                "kcluster_container_network_receive_bytes_total",
                Counter,
                "Octets into it.",
                |c| c.rx_bytes,
            ),
            (
                "kcluster_container_network_transmit_bytes_total",
                Counter,
                "Octets out of it.",
                |c| c.tx_bytes,
            ),
            (
                "kcluster_container_network_receive_packets_total",
                Counter,
                "Packets into it.",
                |c| c.rx_packets,
            ),
            (
                "kcluster_container_network_transmit_packets_total",
                Counter,
                "Packets out of it.",
                |c| c.tx_packets,
            ),
        ];
        for (name, kind, help, field) in families {
            let mut family = page.family(name, kind, help);
            for container in containers {
                family.sample(&[("container", &container.name)], field(container));
            }
        }
    }

    fn of_states(&self, page: &mut Page) {
        let mut running = page.family(
            "kcluster_container_running",
            Gauge,
            "Whether a container of the document runs and is wired.",
        );
        for container in &self.state.containers {
            let runs = container.phase == ContainerPhase::Running;
            running.sample(&[("container", &container.name)], runs);
        }
        let mut restarts = page.family(
            "kcluster_container_restarts_total",
            Counter,
            "How often the engine has restarted it.",
        );
        for container in &self.state.containers {
            restarts.sample(&[("container", &container.name)], container.restarts);
        }
    }
}

fn of_ports(page: &mut Page, counters: &Counters) {
    type Field = fn(&kc_forwarder_api::PortCounters) -> u64;
    let families: [(&str, &str, Field); 5] = [
        (
            "kcluster_forwarder_port_receive_packets_total",
            "Frames received.",
            |p| p.rx_packets,
        ),
        (
            "kcluster_forwarder_port_receive_bytes_total",
            "Octets received.",
            |p| p.rx_bytes,
        ),
        (
            "kcluster_forwarder_port_transmit_packets_total",
            "Frames sent.",
            |p| p.tx_packets,
        ),
        (
            "kcluster_forwarder_port_transmit_bytes_total",
            "Octets sent.",
            |p| p.tx_bytes,
        ),
        (
            "kcluster_forwarder_port_receive_dropped_total",
            "Frames that the kernel dropped because nobody took them in time.",
            |p| p.rx_dropped,
        ),
    ];
    for (name, help, field) in families {
        let mut family = page.family(name, Counter, help);
        for port in &counters.ports {
            family.sample(&[("port", port.name.as_str())], field(port));
        }
    }
    page.family(
        "kcluster_forwarder_underlay_receive_dropped_total",
        Counter,
        "Datagrams that the kernel dropped because nobody took them in time.",
    )
    .sample(&[], counters.underlay.rx_dropped);
    let mut drops = page.family(
        "kcluster_forwarder_dropped_packets_total",
        Counter,
        "Frames not forwarded, by reason.",
    );
    for (reason, count) in &counters.drops {
        drops.sample(&[("reason", reason.as_str())], *count);
    }
}

fn of_paths(page: &mut Page, counters: &Counters) {
    type Field<T> = fn(&T) -> u64;
    let paths: [(&str, &str, Field<kc_forwarder_api::PathCounters>); 2] = [
        (
            "kcluster_forwarder_path_packets_total",
            "Packets looked up on a path.",
            |p| p.packets,
        ),
        (
            "kcluster_forwarder_path_bytes_total",
            "Their inner octets.",
            |p| p.bytes,
        ),
    ];
    for (name, help, field) in paths {
        let mut family = page.family(name, Counter, help);
        for path in &counters.paths {
            let (spi, si) = (path.spi.to_string(), path.si.to_string());
            family.sample(&[("spi", &spi), ("si", &si)], field(path));
        }
    }
    let rules: [(&str, &str, Field<kc_forwarder_api::RuleCounters>); 2] = [
        (
            "kcluster_forwarder_rule_packets_total",
            "Frames that a rule matched.",
            |r| r.packets,
        ),
        (
            "kcluster_forwarder_rule_bytes_total",
            "Their octets.",
            |r| r.bytes,
        ),
    ];
    for (name, help, field) in rules {
        let mut family = page.family(name, Counter, help);
        for rule in &counters.rules {
            family.sample(&[("rule", &rule.name)], field(rule));
        }
    }
}

fn of_tunnels(page: &mut Page, counters: &Counters) {
    type Field = fn(&kc_forwarder_api::TunnelCounters) -> u64;
    let families: [(&str, &str, Field); 4] = [
        (
            "kcluster_forwarder_tunnel_receive_packets_total",
            "Packets received.",
            |t| t.rx_packets,
        ),
        (
            "kcluster_forwarder_tunnel_receive_bytes_total",
            "Octets received.",
            |t| t.rx_bytes,
        ),
        (
            "kcluster_forwarder_tunnel_transmit_packets_total",
            "Packets sent.",
            |t| t.tx_packets,
        ),
        (
            "kcluster_forwarder_tunnel_transmit_bytes_total",
            "Octets sent.",
            |t| t.tx_bytes,
        ),
    ];
    for (name, help, field) in families {
        let mut family = page.family(name, Counter, help);
        for tunnel in &counters.tunnels {
            let text = |part: Option<String>| part.unwrap_or_default();
            let vni = text(tunnel.vni.map(|vni| vni.to_string()));
            let vlan = text(tunnel.vlan.map(|vlan| vlan.to_string()));
            let port = text(tunnel.port.as_ref().map(|port| port.to_string()));
            let labels = [
                ("remote", &*tunnel.remote.to_string()),
                ("encapsulation", &tunnel.encapsulation.to_string()),
                ("vni", &vni),
                ("port", &port),
                ("vlan", &vlan),
            ];
            family.sample(&labels, field(tunnel));
        }
    }
}
