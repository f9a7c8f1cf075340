//! The forwarder and its tunnels: whether the other ends answer, and whether packets of full
//! length get there. Both are measured by the forwarder itself.

use super::{Echo, Forwarder};
use kc_agent_api::Finding;
use kc_forwarder_api::{HealthState, Status, Tables, Transport, TunnelStatus};

/// How long a tunnel may be new before its silence means something.
const PATIENCE_MS: u64 = 10_000;

/// Judges the forwarder, and every tunnel.
pub(super) fn forwarder(forwarder: &Forwarder) -> Vec<Finding> {
    let check = "forwarder";
    match forwarder {
        Forwarder::Answers {
            status,
            tables,
            echoes,
        } => {
            let found = format!(
                "answers, tables of generation {}, {} tunnels",
                status.generation,
                tables.tunnels.len()
            );
            let mut findings = vec![Finding::ok(check, found)];
            let each = |one| tunnel(one, status, tables, echoes);
            findings.extend(status.tunnels.iter().map(each));
            findings
        }
        Forwarder::Absent {
            program,
            installed: false,
            ..
        } => vec![Finding::problem(
            check,
            format!("{} is not there", program.display()),
            "put kc-forwarder beside kc-agent, or name it with --forwarder",
        )],
        Forwarder::Absent { socket, .. } => vec![Finding::unknown(
            check,
            format!(
                "none answers at {}, so tunnels are not measured",
                socket.display()
            ),
            "systemctl start kc-agent: it starts the forwarder",
        )],
        Forwarder::Fails { why } => vec![Finding::unknown(
            check,
            format!("{why}, so tunnels are not measured"),
            "run it as root: sudo kc-agent doctor",
        )],
    }
}

fn tunnel(one: &TunnelStatus, status: &Status, tables: &Tables, echoes: &[Echo]) -> Finding {
    let check = format!("tunnel {}", one.name);
    let entry = tables.tunnels.iter().find(|entry| entry.name == one.name);
    let Some(entry) = entry else {
        let found = "its tables have just changed";
        return Finding::unknown(check, found, "ask again");
    };
    let port = tables
        .underlay
        .as_ref()
        .map_or(4790, |underlay| underlay.gpe_port);
    let (way, fix) = match &entry.transport {
        Transport::VxlanGpe {
            remote, port: own, ..
        } => {
            let port = own.unwrap_or(port);
            let fix = format!(
                "a firewall between the boxes? allow udp/{port} both ways; is kc-forwarder running there?"
            );
            (format!("UDP port {port} to {remote}"), fix)
        }
        Transport::Ethernet { port, next_hop, .. } => {
            let fix = "are both boxes on one LAN, with the same VLAN? let EtherType 0x894f pass"
                .to_owned();
            (format!("{next_hop} on the LAN of {port}"), fix)
        }
    };
    let seconds = one.since_ms / 1000;
    match one.state {
        HealthState::Dead => {
            Finding::problem(check, format!("{way} gets no answer for {seconds} s"), fix)
        }
        HealthState::Alive => alive(check, &way, one, echoes),
        HealthState::Unknown if entry.liveness.is_none() => Finding::unknown(
            check,
            format!("{way} is not asked: liveness is off in the tables"),
            "add liveness = {} to the tunnel",
        ),
        HealthState::Unknown if one.since_ms.min(status.uptime_ms) < PATIENCE_MS => {
            Finding::unknown(
                check,
                format!("{way} was not answered yet"),
                "ask again in ten seconds",
            )
        }
        HealthState::Unknown => {
            Finding::problem(check, format!("{way} has never got an answer"), fix)
        }
    }
}

/// The other end answers; the question left is whether long packets get there too.
fn alive(check: String, way: &str, one: &TunnelStatus, echoes: &[Echo]) -> Finding {
    let echo = echoes.iter().find(|echo| echo.tunnel == one.name);
    let rtt = one.rtt_us.map_or_else(String::new, |us| {
        format!(" after {:.1} ms", f64::from(us) / 1000.0)
    });
    match echo {
        Some(Echo {
            outer,
            long: false,
            short: true,
            ..
        }) => Finding::problem(
            check,
            format!("{way} answers, but packets of {outer} octets do not get there"),
            "a smaller MTU on the way: lower underlay-mtu in /etc/kcluster/agent.toml of both boxes, or raise it there",
        ),
        Some(Echo {
            outer, long: true, ..
        }) => Finding::ok(
            check,
            format!("{way} answers{rtt}, packets of {outer} octets too"),
        ),
        _ => Finding::ok(check, format!("{way} answers{rtt}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;
    use kc_forwarder_api::{Liveness, Tunnel, TunnelName, Underlay, Vni};
    use std::net::IpAddr;

    fn tables(liveness: Option<Liveness>) -> Tables {
        let remote = IpAddr::from([192, 0, 2, 7]);
        Tables {
            underlay: Some(Underlay::at(IpAddr::from([192, 0, 2, 1]))),
            tunnels: vec![Tunnel {
                name: TunnelName::new("box2").unwrap(),
                transport: Transport::gpe(remote, Vni::new(100).unwrap()),
                liveness,
            }],
            ..Tables::default()
        }
    }

    /// One tunnel in that state for 32 s, of a forwarder a minute old.
    fn of(state: HealthState, liveness: Option<Liveness>, echoes: Vec<Echo>) -> Finding {
        let status = Status {
            version: "0.1.0".into(),
            pid: 1,
            generation: 7,
            uptime_ms: 60_000,
            threads: 1,
            ports: vec![],
            underlay: None,
            tunnels: vec![TunnelStatus {
                name: TunnelName::new("box2").unwrap(),
                state,
                since_ms: 32_000,
                rtt_us: Some(512),
            }],
            functions: vec![],
            neighbours: vec![],
            fast_path: None,
        };
        let mut findings = forwarder(&Forwarder::Answers {
            status: Box::new(status),
            tables: Box::new(tables(liveness)),
            echoes,
        });
        assert_eq!(findings.len(), 2);
        findings.pop().unwrap()
    }

    fn echo(long: bool, short: bool) -> Vec<Echo> {
        vec![Echo {
            tunnel: TunnelName::new("box2").unwrap(),
            outer: 1500,
            long,
            short,
        }]
    }

    #[test]
    fn a_blocked_port_is_named_with_its_box_and_the_rule_that_opens_it() {
        let dead = of(HealthState::Dead, Some(Liveness::default()), vec![]);
        assert_eq!(dead.severity, Severity::Problem);
        assert_eq!(dead.check, "tunnel box2");
        assert_eq!(
            dead.found,
            "UDP port 4790 to 192.0.2.7 gets no answer for 32 s"
        );
        let fix = dead.fix.unwrap();
        assert!(
            fix.starts_with("a firewall between the boxes? allow udp/4790 both ways"),
            "{fix}"
        );
        let never = of(HealthState::Unknown, Some(Liveness::default()), vec![]);
        assert_eq!(never.severity, Severity::Problem);
        assert!(
            never.found.ends_with("has never got an answer"),
            "{}",
            never.found
        );
        assert_eq!(
            of(HealthState::Unknown, None, vec![]).severity,
            Severity::Unknown
        );
    }

    #[test]
    fn a_way_that_takes_short_packets_only_is_a_matter_of_its_mtu() {
        let narrow = of(
            HealthState::Alive,
            Some(Liveness::default()),
            echo(false, true),
        );
        assert_eq!(narrow.severity, Severity::Problem);
        assert!(
            narrow
                .found
                .contains("packets of 1500 octets do not get there"),
            "{}",
            narrow.found
        );
        let wide = of(
            HealthState::Alive,
            Some(Liveness::default()),
            echo(true, true),
        );
        assert_eq!(
            wide.found,
            "UDP port 4790 to 192.0.2.7 answers after 0.5 ms, packets of 1500 octets too"
        );
        let untold = of(
            HealthState::Alive,
            Some(Liveness::default()),
            echo(false, false),
        );
        assert_eq!(untold.severity, Severity::Ok);
    }

    #[test]
    fn a_forwarder_that_is_not_installed_is_worse_than_one_that_does_not_run() {
        let absent = |installed| Forwarder::Absent {
            socket: "/run/kcluster/forwarder.sock".into(),
            program: "kc-forwarder".into(),
            installed,
        };
        assert_eq!(forwarder(&absent(false))[0].severity, Severity::Problem);
        assert_eq!(forwarder(&absent(true))[0].severity, Severity::Unknown);
    }
}
