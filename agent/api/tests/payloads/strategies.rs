//! Arbitrary payloads, corner values included.

use super::container::{process, secrets, storage};
use ipnet::IpNet;
use kc_agent_api::*;
use kc_forwarder_api::{
    Backend, Counters, DropReason, Encapsulation, HealthState, MacAddr, Neighbour, PathCounters,
    PortCounters, PortName, PortState, PortStatus, Request, Response, RoundTrip, Si, Spi, Tables,
    TunnelCounters, TunnelName, Underlay, Vni,
};
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::{IpAddr, Ipv4Addr};

/// Any text, quotes, control and non-Latin characters included.
pub(crate) fn text() -> impl Strategy<Value = String> + Clone {
    prop_oneof![".{0,12}", "[\\x00-\\x1f\"\\\\/\u{2028}]{0,6}"]
}

pub(crate) fn node() -> impl Strategy<Value = NodeName> {
    "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|name| NodeName::new(name).unwrap())
}

pub(crate) fn domain() -> impl Strategy<Value = DomainName> {
    "[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?".prop_map(|name| DomainName::new(name).unwrap())
}

fn port() -> impl Strategy<Value = PortName> {
    "[a-z][a-z0-9.-]{0,14}".prop_map(|name| PortName::new(name).unwrap())
}

fn spi() -> impl Strategy<Value = Spi> {
    (0..=0xff_ffff_u32).prop_map(|value| Spi::new(value).unwrap())
}

fn si() -> impl Strategy<Value = Si> {
    any::<u8>().prop_map(|value| Si::new(value).unwrap())
}

fn vni() -> impl Strategy<Value = Vni> {
    (1..=0xff_ffff_u32).prop_map(|value| Vni::new(value).unwrap())
}

/// Numbers a box can measure. JSON has no NaN and no infinity.
fn finite() -> impl Strategy<Value = f32> {
    prop::num::f32::NORMAL | prop::num::f32::ZERO | prop::num::f32::SUBNORMAL
}

fn stamp() -> impl Strategy<Value = Stamp> {
    (text(), any::<u64>(), any::<u64>()).prop_map(|(boot, mono_ms, wall_ms)| Stamp {
        boot: BootId(boot),
        mono_ms,
        wall_ms,
    })
}

fn drops() -> impl Strategy<Value = std::collections::BTreeMap<DropReason, u64>> {
    btree_map(select(DropReason::ALL), any::<u64>(), 0..5)
}

fn tunnel() -> impl Strategy<Value = TunnelCounters> {
    let wrap = select(vec![Encapsulation::Vxlan, Encapsulation::VxlanGpe]);
    (any::<IpAddr>(), vni(), wrap, any::<[u64; 4]>()).prop_map(|(remote, vni, wrap, n)| {
        TunnelCounters {
            remote: Neighbour::Ip(remote),
            vni: Some(vni),
            encapsulation: wrap.into(),
            port: None,
            vlan: None,
            rx_packets: n[0],
            rx_bytes: n[1],
            tx_packets: n[2],
            tx_bytes: n[3],
        }
    })
}

fn port_status() -> impl Strategy<Value = PortStatus> {
    let backend = select(vec![
        Backend::Auto,
        Backend::Pnet,
        Backend::Packet,
        Backend::Xdp,
    ]);
    let state = select(vec![PortState::Up, PortState::Absent, PortState::NoCarrier]);
    (port(), port(), backend, state, any::<u16>(), text()).prop_map(
        |(name, interface, backend, state, mtu, reason)| PortStatus {
            name,
            interface,
            backend: backend.into(),
            state: state.into(),
            mtu,
            reason,
        },
    )
}

fn counters() -> impl Strategy<Value = Counters> {
    let ports = vec((port(), any::<[u64; 4]>()), 0..3);
    let paths = vec((spi(), si(), any::<[u64; 2]>()), 0..3);
    (any::<u64>(), ports, paths, vec(tunnel(), 0..3), drops()).prop_map(
        |(generation, ports, paths, tunnels, drops)| Counters {
            generation,
            ports: ports
                .into_iter()
                .map(|(name, n)| PortCounters {
                    name,
                    rx_packets: n[0],
                    rx_bytes: n[1],
                    tx_packets: n[2],
                    tx_bytes: n[3],
                    rx_dropped: n[0],
                })
                .collect(),
            paths: paths
                .into_iter()
                .map(|(spi, si, n)| PathCounters {
                    spi,
                    si,
                    packets: n[0],
                    bytes: n[1],
                })
                .collect(),
            tunnels,
            drops,
            ..Counters::default()
        },
    )
}

pub(crate) fn load() -> impl Strategy<Value = LoadReport> {
    let network = (text(), any::<[u64; 4]>(), option::of(any::<u32>()));
    let network = network.prop_map(|(name, n, speed_mbit)| NetworkLoad {
        speed_mbit,
        name,
        rx_bytes: n[0],
        tx_bytes: n[1],
        rx_packets: n[2],
        tx_packets: n[3],
    });
    let machine = (
        (finite(), finite(), any::<[u64; 5]>()),
        (
            option::of(finite()),
            option::of(any::<bool>()),
            vec(network, 0..3),
        ),
    );
    let machine =
        machine.prop_map(
            |((cpu, load, n), (temperature_c, throttled, networks))| BoxLoad {
                cpu_percent: cpu,
                load_1m: load,
                memory_used_bytes: n[0],
                memory_total_bytes: n[1],
                disk_used_bytes: n[2],
                disk_total_bytes: n[3],
                temperature_c,
                throttled,
                uptime_s: n[4],
                networks,
            },
        );
    let container = (
        text(),
        finite(),
        option::of(any::<u64>()),
        any::<[u64; 5]>(),
    );
    let container = container.prop_map(|(name, cpu_percent, limit, n)| ContainerLoad {
        name,
        cpu_percent,
        memory_bytes: n[0],
        memory_limit_bytes: limit,
        rx_packets: n[1],
        tx_packets: n[2],
        rx_bytes: n[3],
        tx_bytes: n[4],
    });
    let path = (spi(), si(), any::<u64>(), any::<u64>());
    let path = path.prop_map(|(spi, si, packets, bytes)| PathLoad {
        spi,
        si,
        packets,
        bytes,
    });
    let round_trip = (select(vec!["box1", "b-2"]), any::<u32>());
    let round_trip = round_trip.prop_map(|(tunnel, rtt_us)| RoundTrip {
        tunnel: TunnelName::new(tunnel).unwrap(),
        rtt_us,
    });
    let draining = (any::<[u8; 6]>(), any::<u64>()).prop_map(|(mac, flows)| DrainingLoad {
        mac: MacAddr(mac),
        flows,
    });
    (
        stamp(),
        machine,
        vec(container, 0..3),
        vec(path, 0..3),
        drops(),
        vec(draining, 0..3),
        vec(round_trip, 0..3),
    )
        .prop_map(
            |(at, machine, containers, paths, drops, draining, round_trips)| LoadReport {
                at,
                machine,
                containers,
                paths,
                drops,
                draining,
                round_trips,
            },
        )
}

pub(crate) fn tunnels() -> impl Strategy<Value = TunnelReport> {
    (stamp(), vec(tunnel(), 0..3)).prop_map(|(at, tunnels)| TunnelReport { at, tunnels })
}

pub(crate) fn event() -> impl Strategy<Value = Event> {
    let kinds = select(vec![
        EventKind::AgentStarted,
        EventKind::ContainerOom,
        EventKind::TablesRefused,
        EventKind::EventsLost,
        EventKind::AgentUpdateFailed,
        EventKind::Unknown,
    ]);
    (stamp(), any::<u64>(), kinds, text(), text()).prop_map(
        |(at, sequence, kind, object, message)| Event {
            at,
            sequence,
            kind,
            object,
            message,
        },
    )
}

pub(crate) fn ack() -> impl Strategy<Value = EventAck> {
    (text(), vec(any::<(u64, u64)>(), 0..4)).prop_map(|(boot, stored)| EventAck {
        boot: BootId(boot),
        stored,
    })
}

pub(crate) fn controller_status() -> impl Strategy<Value = ControllerStatus> {
    let presence = select(vec![Presence::Online, Presence::Offline]);
    (presence, text(), any::<u64>(), any::<u64>()).prop_map(
        |(presence, version, instance, session)| ControllerStatus {
            presence,
            version,
            instance,
            session,
        },
    )
}

pub(crate) fn status() -> impl Strategy<Value = NodeStatus> {
    let presence = select(vec![Presence::Online, Presence::Offline]);
    let capacity = (any::<u32>(), any::<u64>(), any::<u64>());
    let labels = btree_map(text(), text(), 0..3);
    (
        (node(), presence, text(), text(), text(), any::<u64>()),
        (
            labels,
            capacity,
            option::of(any::<IpAddr>()),
            any::<u16>(),
            option::of(text()),
        ),
        option::of(crate::updates::record()),
    )
        .prop_map(
            |(
                (node, presence, version, arch, boot, session),
                (labels, has, vtep, mtu, engine),
                update,
            )| {
                NodeStatus {
                    node,
                    presence,
                    version,
                    arch,
                    boot: BootId(boot),
                    session,
                    labels,
                    capacity: Capacity {
                        cpu_millis: has.0,
                        memory_bytes: has.1,
                        disk_bytes: has.2,
                    },
                    vtep,
                    underlay_mtu: mtu,
                    engine,
                    update,
                    seal_key: (session % 2 == 1)
                        .then(|| BoxKey::new([session.to_le_bytes()[0]; 32]).public()),
                }
            },
        )
}

pub(crate) fn state() -> impl Strategy<Value = NodeState> {
    let phase = select(vec![
        ContainerPhase::Pending,
        ContainerPhase::Pulling,
        ContainerPhase::Running,
        ContainerPhase::Exited,
        ContainerPhase::Failed,
    ]);
    let container = (
        (text(), text(), text(), phase),
        (
            option::of(any::<i64>()),
            any::<u64>(),
            option::of(text()),
            option::of(text()),
        ),
    );
    let health = select(vec![Health::Starting, Health::Healthy, Health::Unhealthy]);
    let fate = (
        option::of(health),
        option::of(text()),
        any::<bool>(),
        option::of(text()),
        any::<bool>(),
    );
    let container = (container, fate).prop_map(
        |(
            ((name, id, image, phase), (exit_code, restarts, started_at, error)),
            (health, digest, former, rolled_back, on_trial),
        )| ContainerState {
            name,
            id,
            image,
            phase,
            exit_code,
            restarts,
            started_at,
            error,
            health,
            digest,
            former,
            rolled_back,
            on_trial,
        },
    );
    let lists = (
        vec(container, 0..3),
        vec(port_status(), 0..3),
        vec(text(), 0..3),
    );
    (any::<u64>(), any::<u64>(), lists).prop_map(
        |(spec_generation, forwarder_generation, (containers, ports, errors))| NodeState {
            spec_generation,
            forwarder_generation,
            containers,
            ports,
            underlay: None,
            tunnels: [(TunnelName::new("box2").unwrap(), HealthState::Dead)].into(),
            functions: [].into(),
            errors,
        },
    )
}

fn leg() -> impl Strategy<Value = Leg> {
    let network = any::<IpAddr>().prop_flat_map(|address| {
        let longest: u8 = if address.is_ipv4() { 32 } else { 128 };
        (0..=longest).prop_map(move |length: u8| IpNet::new(address, length).unwrap())
    });
    let names = (port(), port(), any::<[u8; 6]>());
    (
        names,
        vec(network, 0..3),
        vec(any::<Ipv4Addr>(), 0..2),
        option::of(any::<IpAddr>()),
        any::<u16>(),
    )
        .prop_map(
            |((interface, port, mac), addresses, virtual_addresses, gateway, mtu)| Leg {
                interface,
                port,
                mac: MacAddr(mac),
                addresses,
                virtual_addresses,
                gateway,
                mtu,
            },
        )
}

fn container() -> impl Strategy<Value = ContainerSpec> {
    let role = prop_oneof![
        text().prop_map(|function| Role::Function { function }),
        text().prop_map(|service| Role::Service { service }),
    ];
    let pull = select(vec![
        PullPolicy::IfNotPresent,
        PullPolicy::Always,
        PullPolicy::Never,
    ]);
    let restart = select(vec![Restart::Always, Restart::OnFailure, Restart::Never]);
    let mount = (text(), text(), any::<bool>()).prop_map(|(source, target, read_only)| Mount {
        source,
        target,
        read_only,
    });
    let file = (text(), text()).prop_map(|(path, content)| File { path, content });
    let limits = (option::of(any::<u32>()), option::of(any::<u64>()));
    let network = prop_oneof![
        Just(Network::Host),
        vec(leg(), 0..3).prop_map(Network::Legs),
    ];
    (
        (
            text(),
            role,
            text(),
            pull,
            vec(text(), 0..2),
            vec(text(), 0..3),
        ),
        (
            btree_map(text(), text(), 0..3),
            vec(mount, 0..2),
            vec(file, 0..2),
        ),
        (limits, restart, vec(text(), 0..2), network),
        (
            option::of(health_check()),
            any::<(u32, bool)>(),
            option::of(any::<u16>()),
        ),
        process(),
        storage(),
        (secrets(), option::of(membership())),
    )
        .prop_map(
            |(
                (name, role, image, pull, entrypoint, args),
                (env, mounts, files),
                (limits, restart, capabilities, network),
                (health, (deadline_ms, rollback), stop_timeout_s),
                ([working_dir, user, hostname], group_add, read_only_root, [labels, sysctls]),
                (tmpfs, volumes, devices),
                ((secrets, pull_secret, depends_on), cluster),
            )| ContainerSpec {
                name,
                role,
                image,
                pull,
                entrypoint,
                args,
                env,
                mounts,
                files,
                limits: Limits {
                    cpu_millis: limits.0,
                    memory_bytes: limits.1,
                },
                restart,
                capabilities,
                network,
                health,
                update: UpdatePolicy {
                    deadline_ms,
                    rollback,
                },
                stop_timeout_s,
                working_dir,
                user,
                group_add,
                hostname,
                read_only_root,
                tmpfs,
                volumes,
                devices,
                labels,
                secrets,
                pull_secret,
                depends_on,
                cluster,
                sysctls,
            },
        )
}

fn membership() -> impl Strategy<Value = Membership> {
    let role = select(vec![
        ClusterRole::Active,
        ClusterRole::Standby,
        ClusterRole::None,
    ]);
    let address = || option::of(any::<IpAddr>());
    let peer = (text(), node(), address(), role.clone());
    let peer = peer.prop_map(|(name, node, address, role)| Peer {
        name,
        node,
        address,
        role,
    });
    let part = (role, vec(peer, 0..3)).prop_map(|(role, peers)| ClusterPart { role, peers });
    let parts = btree_map(text(), part, 0..3);
    (vec(text(), 0..3), address(), parts).prop_map(|(hook, address, chains)| Membership {
        hook,
        address,
        chains,
    })
}

fn health_check() -> impl Strategy<Value = HealthCheck> {
    let probe = prop_oneof![
        Just(Probe::Image),
        Just(Probe::None),
        (any::<u16>(), text()).prop_map(|(port, path)| Probe::Http { port, path }),
        any::<u16>().prop_map(|port| Probe::Tcp { port }),
        vec(text(), 0..3).prop_map(|command| Probe::Exec { command }),
    ];
    (probe, any::<[u32; 5]>()).prop_map(|(probe, n)| HealthCheck {
        probe,
        interval_ms: n[0],
        timeout_ms: n[1],
        start_period_ms: n[2],
        failure_threshold: n[3],
        success_threshold: n[4],
    })
}

pub(crate) fn spec() -> impl Strategy<Value = NodeSpec> {
    let underlay = (any::<IpAddr>(), any::<[u16; 3]>()).prop_map(|(address, n)| Underlay {
        mtu: n[0],
        gpe_port: n[1],
        vxlan_port: n[2],
        ..Underlay::at(address)
    });
    let lists = (vec(container(), 0..3), vec(leg(), 0..3));
    (any::<u64>(), lists, option::of(underlay), any::<u32>()).prop_map(
        |(generation, (containers, host_legs), underlay, load_interval_s)| NodeSpec {
            generation,
            containers,
            host_legs,
            // The tables themselves are tried in their own crate.
            forwarder: Tables {
                generation,
                underlay,
                ..Tables::default()
            },
            load_interval_s,
        },
    )
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let age = || option::of(any::<u64>());
    let flags = any::<(bool, bool, bool, u32)>();
    let logs = (text(), option::of(any::<u32>()), age(), age(), flags);
    let window = || any::<(u16, u16)>().prop_map(|(rows, columns)| Window { rows, columns });
    let exec = (
        text(),
        vec(text(), 0..4),
        any::<(bool, u32)>(),
        option::of(window()),
    );
    let copy = any::<(bool, u32)>();
    let input = (any::<(u64, u32, bool)>(), vec(any::<u8>(), 0..64));
    let body = prop_oneof![
        any::<u32>().prop_map(|credit| CallBody::Forwarder {
            request: Box::new(Request::Counters),
            credit,
        }),
        (any::<u64>(), any::<u32>()).prop_map(|(id, parts)| CallBody::Credit { id, parts }),
        any::<u64>().prop_map(|id| CallBody::Cancel { id }),
        Just(CallBody::Doctor),
        crate::updates::call(),
        logs.prop_map(|(container, tail, since_s, since_wall_s, flags)| {
            let (follow, timestamps, previous, credit) = flags;
            CallBody::Logs {
                container,
                tail,
                since_s,
                since_wall_s,
                follow,
                timestamps,
                previous,
                credit,
            }
        }),
        exec.prop_map(
            |(container, command, (stdin, credit), tty)| CallBody::Exec {
                container,
                command,
                stdin,
                tty,
                credit,
            }
        ),
        (text(), text(), copy).prop_map(|(container, path, (up, credit))| if up {
            CallBody::Upload {
                container,
                path,
                credit,
            }
        } else {
            CallBody::Download {
                container,
                path,
                credit,
            }
        }),
        input.prop_map(|((id, part, last), octets)| CallBody::input(id, part, &octets, last)),
        (any::<u64>(), window()).prop_map(|(id, window)| CallBody::Resize { id, window }),
    ];
    body.prop_map(|body| Call { body })
}

fn finding() -> impl Strategy<Value = Finding> {
    let severity = prop_oneof![
        Just(Severity::Ok),
        Just(Severity::Warning),
        Just(Severity::Problem),
        Just(Severity::Unknown),
    ];
    (text(), severity, text(), option::of(text())).prop_map(|(check, severity, found, fix)| {
        Finding {
            check,
            severity,
            found,
            fix,
        }
    })
}

pub(crate) fn reply() -> impl Strategy<Value = Reply> {
    let entry = prop_oneof![
        Just(Entry::File),
        Just(Entry::Directory),
        Just(Entry::Link),
        Just(Entry::Other)
    ];
    let body = prop_oneof![
        (any::<u32>(), option::of(entry))
            .prop_map(|(credit, entry)| ReplyBody::Begun { credit, entry }),
        any::<u32>().prop_map(|parts| ReplyBody::Credit { parts }),
        option::of(any::<i64>()).prop_map(|exit_code| ReplyBody::Ended { exit_code }),
        vec(any::<u8>(), 0..64).prop_map(|octets| ReplyBody::output(&octets, Output::Stderr)),
        text().prop_map(|message| ReplyBody::Error { message }),
        counters().prop_map(|counters| ReplyBody::Forwarder {
            response: Box::new(Response::Counters {
                counters: Box::new(counters),
            }),
        }),
        vec(any::<u8>(), 0..64).prop_map(|octets| ReplyBody::data(&octets)),
        (vec(finding(), 0..4), any::<u64>())
            .prop_map(|(findings, wall_ms)| ReplyBody::Doctor { findings, wall_ms }),
    ];
    (any::<u32>(), any::<bool>(), body).prop_map(|(part, last, body)| Reply { part, last, body })
}

pub(crate) fn topic() -> impl Strategy<Value = Topic> {
    prop_oneof![
        node().prop_map(Topic::Status),
        node().prop_map(Topic::Spec),
        node().prop_map(Topic::State),
        node().prop_map(Topic::Load),
        node().prop_map(Topic::Tunnel),
        node().prop_map(Topic::Event),
        node().prop_map(Topic::Ack),
        Just(Topic::Controller),
        (node(), any::<u64>()).prop_map(|(node, id)| Topic::Call(node, id)),
        (node(), any::<u64>()).prop_map(|(node, id)| Topic::Reply(node, id)),
    ]
}
