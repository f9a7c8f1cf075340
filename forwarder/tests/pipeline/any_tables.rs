//! Tables of every shape that is sound, drawn from a seed.

use fastrand::Rng;
use kc_forwarder_api::{
    Action, Attachment, Backend, ContextHeader, ContextValue, Direction, Function, Group,
    GroupName, Hop, MacAddr, Match, Member, MemberTarget, Metadata, Neighbour, NextHop, Path, Port,
    PortName, PortRange, Protocol, Rule, Segment, SfName, Si, Spi, StaticEntry, Tables, Transport,
    Ttl, Tunnel, TunnelName, Underlay, Vid, VirtualAddress, VirtualMember, Vni,
};
use std::net::IpAddr;

/// Remote VTEPs that tables may name.
pub(crate) fn vtep(number: u8, v6: bool) -> IpAddr {
    if v6 {
        IpAddr::from([0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)])
    } else {
        IpAddr::from([192, 168, 50, number])
    }
}

fn port_name(number: usize) -> PortName {
    PortName::new(format!("p{number}")).unwrap()
}

fn si(number: usize) -> Si {
    Si::new(u8::try_from(number).unwrap()).unwrap()
}

fn spi(number: u32) -> Spi {
    Spi::new(number).unwrap()
}

fn vid(number: u16) -> Vid {
    Vid::new(number).unwrap()
}

fn vni(number: u32) -> Vni {
    Vni::new(number).unwrap()
}

/// A station on a LAN.
pub(crate) fn lan_address(number: u16) -> IpAddr {
    IpAddr::from([0xfe80, 0, 0, 0, 0, 0, 0, number])
}

/// Numbers of what the tables hold, so that everything refers to something.
struct Shape {
    /// Ports that are nobody's leg.
    access: usize,
    functions: usize,
    tunnels: usize,
    segments: usize,
    v6: bool,
}

/// Sound tables for `seed`.
pub(crate) fn any_tables(seed: u64) -> Tables {
    let rng = &mut Rng::with_seed(seed);
    let shape = Shape {
        access: rng.usize(1..5),
        functions: rng.usize(0..4),
        tunnels: rng.usize(0..3),
        segments: rng.usize(0..3),
        v6: rng.bool(),
    };
    let mut tables = Tables {
        generation: seed,
        ..Tables::default()
    };
    let mtu = rng.u16(512..2000);
    tables.underlay = Some(Underlay {
        mtu,
        ..Underlay::at(vtep(1, shape.v6))
    });
    for number in 0..shape.access + 2 * shape.functions {
        let mtu = rng.bool().then(|| rng.u16(68..3000));
        let (name, interface, backend) = (port_name(number), None, Backend::Auto);
        tables.ports.push(Port {
            name,
            interface,
            backend,
            mtu,
            addresses: if number < shape.access && rng.bool() {
                vec![[10, 0, 0, 1].into(), lan_address(1)]
            } else {
                Vec::new()
            },
        });
    }
    for number in 0..shape.tunnels {
        let name = TunnelName::new(format!("t{number}")).unwrap();
        let port = &tables.ports[rng.usize(0..shape.access)];
        let transport = match rng.u8(0..4) {
            0 if !port.addresses.is_empty() => Transport::Ethernet {
                port: port.name.clone(),
                next_hop: Neighbour::Ip(lan_address(rng.u16(2..4))),
                vlan: rng.bool().then(|| Vid::new(7).unwrap()),
            },
            1 => Transport::Ethernet {
                port: port.name.clone(),
                next_hop: Neighbour::Mac(MacAddr([2, 0, 0, 0, 9, 8])),
                vlan: rng.bool().then(|| Vid::new(7).unwrap()),
            },
            _ => Transport::gpe(vtep(rng.u8(2..5), shape.v6), vni(rng.u32(1..4))),
        };
        tables.tunnels.push(Tunnel {
            name,
            transport,
            liveness: None,
        });
    }
    for number in 0..shape.functions {
        let name = SfName::new(format!("f{number}")).unwrap();
        let leg = shape.access + 2 * number;
        let (port, mac) = (port_name(leg), MacAddr([2, 0, 0, 0, 9, 9]));
        let vlan = rng.bool().then(|| vid(rng.u16(1..4)));
        let outside = port_name(leg + 1);
        let attachment = match rng.u8(0..5) {
            0 => Attachment::OneLeg { port, mac, vlan },
            1 => Attachment::NshAware { port, mac, vlan },
            2 => Attachment::VlanPair {
                port,
                inside: vid(1),
                outside: vid(2),
            },
            _ => {
                let (inside, outside) = (port.clone(), outside.clone());
                if rng.bool() {
                    // Another way into the same function.
                    tables.functions.push(Function {
                        name: SfName::new(format!("f{number}-too")).unwrap(),
                        attachment: Attachment::TwoLeg {
                            inside: port,
                            outside: port_name(leg + 1),
                            vlan: Some(vid(9)),
                        },
                        liveness: None,
                    });
                }
                Attachment::TwoLeg {
                    inside,
                    outside,
                    vlan,
                }
            }
        };
        tables.functions.push(Function {
            name,
            attachment,
            liveness: None,
        });
    }
    if shape.functions > 0 {
        tables.groups = (0..2)
            .map(|number| any_group(rng, &tables, number))
            .collect();
    }
    for number in 0..shape.segments {
        let ports = (0..shape.access)
            .filter(|port| port % 3 == number)
            .map(port_name)
            .collect();
        let peers = (2..5)
            .filter(|_| rng.bool())
            .map(|peer| vtep(peer, shape.v6))
            .collect();
        let mut entries = Vec::new();
        if rng.bool() {
            let mac = MacAddr([2, 0, 0, 0, 0, 2]);
            entries.push(StaticEntry::Remote {
                mac,
                peer: vtep(4, shape.v6),
            });
        }
        // At addresses that frames are sent to: those of the client, and of the server without an entry.
        let most = if entries.is_empty() { 3 } else { 2 };
        // A look ahead, so that what comes after them is as it was without them.
        let mut ahead = rng.clone();
        let virtuals = (0..ahead.u8(0..most))
            .map(|last| any_virtual(&mut ahead, last, &entries))
            .collect();
        let vni = vni(u32::try_from(number).unwrap() + 1);
        tables.segments.push(Segment {
            vni,
            ports,
            peers,
            entries,
            ageing_seconds: rng.u32(0..3),
            bum_per_second: rng.u32(0..3),
            virtuals,
        });
    }
    for number in 0..rng.u32(0..5) {
        tables.paths.push(any_path(rng, &shape, number));
    }
    if shape.tunnels > 0 && rng.bool() {
        lead_back(rng, &shape, &mut tables.paths);
    }
    for number in 0..rng.usize(0..8) {
        let action = any_action(rng, &shape, &tables.paths);
        let matches = any_match(rng, &shape);
        tables.rules.push(Rule {
            name: format!("r{number}"),
            matches,
            action,
        });
    }
    tables
}

/// Members are among the segment's entries; some have none.
fn any_virtual(rng: &mut Rng, last: u8, entries: &[StaticEntry]) -> VirtualAddress {
    let mac = |entry: &StaticEntry| match entry {
        StaticEntry::Local { mac, .. } | StaticEntry::Remote { mac, .. } => *mac,
    };
    let members = entries.iter().filter(|_| rng.bool()).map(mac);
    let members: Vec<_> = members.collect();
    VirtualAddress {
        address: [10, 0, 0, 1 + last].into(),
        mac: MacAddr([2, 0, 0, 0, 0, 1 + last]),
        members: members
            .into_iter()
            .map(|mac| VirtualMember {
                mac,
                draining: rng.bool(),
            })
            .collect(),
    }
}

fn any_group(rng: &mut Rng, tables: &Tables, number: u32) -> Group {
    let functions = tables.functions.iter().map(|function| {
        let name = function.name.clone();
        MemberTarget::Function { name }
    });
    let tunnels = tables.tunnels.iter().map(|tunnel| {
        let name = tunnel.name.clone();
        MemberTarget::Tunnel { name }
    });
    let mut members: Vec<_> = functions
        .chain(tunnels)
        .map(|to| Member {
            to,
            key: None,
            weight: rng.u16(1..),
            backup: rng.bool(),
        })
        .collect();
    rng.shuffle(&mut members);
    members.truncate(rng.usize(1..=members.len()));
    let name = GroupName::new(format!("g{number}")).unwrap();
    let keep_arrivals = rng.bool();
    Group {
        name,
        members,
        keep_arrivals,
    }
}

fn any_path(rng: &mut Rng, shape: &Shape, number: u32) -> Path {
    let hops = (0..rng.usize(1..5)).map(|place| {
        let to = match rng.u8(0..7) {
            6 if shape.functions > 0 => NextHop::Group {
                name: GroupName::new(format!("g{}", rng.u8(0..2))).unwrap(),
                direction: if rng.bool() {
                    Direction::Forward
                } else {
                    Direction::Reverse
                },
            },
            0..3 if shape.functions > 0 => NextHop::Function {
                name: SfName::new(format!("f{}", rng.usize(0..shape.functions))).unwrap(),
                direction: if rng.bool() {
                    Direction::Forward
                } else {
                    Direction::Reverse
                },
            },
            0..4 if shape.tunnels > 0 => NextHop::Tunnel {
                name: TunnelName::new(format!("t{}", rng.usize(0..shape.tunnels))).unwrap(),
            },
            4 if shape.segments > 0 => NextHop::Segment {
                vni: vni(rng.u32(0..u32::try_from(shape.segments).unwrap()) + 1),
            },
            _ => NextHop::Egress {
                port: port_name(rng.usize(0..shape.access)),
            },
        };
        Hop {
            si: si(255 - place),
            to,
        }
    });
    let hops = hops.collect();
    let mtu = rng.bool().then(|| rng.u16(68..2000));
    Path {
        spi: spi(number),
        mtu,
        reverse: rng.bool().then(|| spi(rng.u32(0..4))),
        affinity: rng.bool().then(|| rng.u8(0..3).to_string()),
        hops,
    }
}

/// Return paths lead back by tunnel, so that senders can be told from the middle of others.
fn lead_back(rng: &mut Rng, shape: &Shape, paths: &mut [Path]) {
    for path in paths {
        path.reverse = Some(spi(rng.u32(0..4)));
        for number in 0..shape.tunnels {
            let name = TunnelName::new(format!("t{number}")).unwrap();
            let to = NextHop::Tunnel { name };
            path.hops.push(Hop {
                si: si(rng.usize(number * 10..number * 10 + 10)),
                to,
            });
        }
    }
}

fn any_action(rng: &mut Rng, shape: &Shape, paths: &[Path]) -> Action {
    match rng.u8(0..8) {
        0 => Action::Drop,
        1 => Action::Egress {
            port: port_name(rng.usize(0..shape.access)),
        },
        2 if shape.segments > 0 => Action::Segment {
            vni: vni(rng.u32(0..u32::try_from(shape.segments).unwrap()) + 1),
        },
        _ => match rng.choice(paths) {
            Some(path) => {
                let hop = rng.choice(&path.hops).unwrap();
                let context = [rng.u32(..); 4];
                let metadata = if rng.bool() {
                    let count = rng.u8(0..3);
                    let header = |kind| ContextHeader {
                        class: rng.u16(..),
                        kind,
                        value: ContextValue::new(vec![kind; rng.usize(0..70)]).unwrap(),
                    };
                    let headers = (0..count).map(header).collect();
                    Metadata::Md2 { headers }
                } else {
                    Metadata::Md1 { context }
                };
                Action::Path {
                    spi: path.spi,
                    si: hop.si,
                    ttl: rng.bool().then(|| Ttl::new(rng.u8(0..64)).unwrap()),
                    metadata,
                }
            }
            None => Action::Drop,
        },
    }
}

fn any_match(rng: &mut Rng, shape: &Shape) -> Match {
    let mut sometimes = |chance: u8| rng.u8(0..chance) == 0;
    let mut matches = Match::default();
    if sometimes(2) {
        matches.protocol = Some(Protocol::UDP);
        matches.destination_ports = PortRange::new(50, 100);
    }
    if sometimes(3) {
        matches.source = Some("10.0.0.0/24".parse().unwrap());
    }
    if sometimes(4) {
        matches.vlan = Some(0);
    }
    if sometimes(5) {
        matches.source_mac = Some(MacAddr([2, 0, 0, 0, 0, 1]));
    }
    if sometimes(3) {
        matches.port = Some(port_name(rng.usize(0..shape.access)));
    }
    matches
}
