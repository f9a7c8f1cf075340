//! Builds [`Compiled`]: resolves names, finds contradictions between entries.

use super::check;
use super::compiled::{
    Compiled, CompiledFunction, CompiledPort, CompiledSegment, CompiledTunnel, Leg, Location,
    PortIndex, Role, Wiring,
};
use super::error::{Entry, Kind, PortRole, TableError};
use super::lan::Lans;
use super::names::Names;
use super::relations;
use super::rules;
use super::steering::{Hop, Steering, Target, key};
use crate::pipeline::tunnel_headers;
use kc_forwarder_api::{
    Attachment, Direction, NextHop, PortName, SfName, StaticEntry, Tables, Transport, TunnelName,
    Vni,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::{IpAddr, SocketAddr};

/// Name tables of everything that can be referred to.
pub(super) struct Scope {
    pub(super) ports: Names<PortName>,
    pub(super) tunnels: Names<TunnelName>,
    pub(super) functions: Names<SfName>,
    pub(super) segments: Names<Vni>,
    /// What each port was found to be so far.
    roles: Vec<Option<PortRole>>,
}

impl Scope {
    fn new(tables: &Tables) -> Result<Self, TableError> {
        Ok(Self {
            ports: Names::number(Kind::Port, tables.ports.iter().map(|port| &port.name))?,
            tunnels: Names::number(
                Kind::Tunnel,
                tables.tunnels.iter().map(|tunnel| &tunnel.name),
            )?,
            functions: Names::number(Kind::Function, tables.functions.iter().map(|sf| &sf.name))?,
            segments: Names::number(Kind::Segment, tables.segments.iter().map(|seg| &seg.vni))?,
            roles: vec![None; tables.ports.len()],
        })
    }

    /// Resolves a port and holds it to one meaning. Ingress and egress may meet, also in a
    /// segment; a leg is a leg only, and a member belongs to one segment.
    pub(super) fn port(
        &mut self,
        name: &PortName,
        entry: impl FnOnce() -> Entry,
        role: PortRole,
    ) -> Result<PortIndex, TableError> {
        let number = PortIndex(self.ports.resolve(name, entry)?);
        let Some(held) = self.roles.get_mut(number.at()) else {
            return Ok(number);
        };
        match (held.as_ref(), &role) {
            (None, _) => *held = Some(role),
            (Some(PortRole::Leg(_)), _)
            | (_, PortRole::Leg(_))
            | (Some(PortRole::Member(_)), PortRole::Member(_)) => {
                let (port, second) = (name.clone(), role);
                let first = held.take().unwrap_or_else(|| second.clone());
                return Err(TableError::PortRole {
                    port,
                    first,
                    second,
                });
            }
            (Some(_), PortRole::Member(_)) => *held = Some(role),
            (Some(_), _) => {}
        }
        Ok(number)
    }
}

/// See [`Compiled::new`].
pub(super) fn build(tables: Tables) -> Result<Compiled, TableError> {
    check::bounds(&tables)?;
    check::liveness(&tables)?;
    let mut scope = Scope::new(&tables)?;
    if let Some(underlay) = &tables.underlay {
        check::underlay(underlay)?;
    }
    let mut ports = ports(&tables)?;
    let mut functions = functions(&tables, &mut scope, &mut ports)?;
    let (tunnels, lans) = tunnels(&tables, &mut scope, &mut ports)?;
    let segments = segments(&tables, &mut scope, &mut ports)?;
    let steering = steering(&tables, &mut scope, &mut functions)?;
    let (rules, classifier) = rules::build(&tables, &mut scope, &steering)?;
    let gpe = tunnels.iter().filter_map(|tunnel| match tunnel {
        CompiledTunnel::Gpe { remote, vni } => Some((remote.ip(), vni.get())),
        CompiledTunnel::Lan(_) => None,
    });
    let gpe_remotes: FxHashSet<_> = gpe.collect();
    let gpe_vnis = gpe_remotes.iter().map(|&(_, vni)| vni).collect();
    let segment_vnis: FxHashMap<u32, u16> = (0..)
        .zip(&segments)
        .map(|(number, segment)| (segment.vni.get(), number))
        .collect();
    Ok(Compiled {
        port_names: scope.ports,
        facts: relations::facts(&tables),
        answers: relations::answers(&tables),
        tables,
        ports,
        tunnels,
        functions,
        segments,
        rules,
        classifier,
        steering,
        gpe_vnis,
        gpe_remotes,
        lans,
        segment_vnis,
    })
}

fn ports(tables: &Tables) -> Result<Vec<CompiledPort>, TableError> {
    let mut interfaces: FxHashMap<&PortName, &PortName> = FxHashMap::default();
    let mut ports = Vec::with_capacity(tables.ports.len());
    for port in &tables.ports {
        check::mtu(|| Entry::Port(port.name.clone()), port.mtu)?;
        let interface = port.interface.as_ref().unwrap_or(&port.name);
        if let Some(first) = interfaces.insert(interface, &port.name) {
            return Err(TableError::SharedInterface {
                first: first.clone(),
                second: port.name.clone(),
                interface: interface.clone(),
            });
        }
        ports.push(CompiledPort {
            role: Role::Access,
            mtu: port.mtu,
            segment: None,
            lan: false,
        });
    }
    Ok(ports)
}

fn tunnels(
    tables: &Tables,
    scope: &mut Scope,
    ports: &mut [CompiledPort],
) -> Result<(Vec<CompiledTunnel>, Lans), TableError> {
    let underlay = tables.underlay.as_ref();
    let default_port = underlay.map_or(0, |underlay| underlay.gpe_port);
    let mut lans = Lans::addresses(tables)?;
    let mut tunnels = Vec::with_capacity(tables.tunnels.len());
    for (number, tunnel) in (0..).zip(&tables.tunnels) {
        let entry = || Entry::Tunnel(tunnel.name.to_string());
        tunnels.push(match &tunnel.transport {
            Transport::VxlanGpe { remote, vni, port } => {
                check::vtep(tables, *remote, entry)?;
                let remote = SocketAddr::new(*remote, port.unwrap_or(default_port));
                CompiledTunnel::Gpe { remote, vni: *vni }
            }
            Transport::Ethernet {
                port,
                next_hop,
                vlan,
            } => lans.tunnel(tables, scope, (number, tunnel), (port, *next_hop, *vlan))?,
        });
    }
    lans.complete(tables, scope)?;
    for (number, port) in (0..).zip(ports) {
        port.lan = lans.touches(PortIndex(number));
    }
    Ok((tunnels, lans))
}

fn functions(
    tables: &Tables,
    scope: &mut Scope,
    ports: &mut [CompiledPort],
) -> Result<Vec<CompiledFunction>, TableError> {
    let mut functions = Vec::with_capacity(tables.functions.len());
    for (number, function) in (0..).zip(&tables.functions) {
        let entry = || Entry::Function(function.name.clone());
        let mut leg = |name: &PortName, leg: Leg| {
            let index = scope.port(name, entry, PortRole::Leg(function.name.clone()))?;
            if let Some(port) = ports.get_mut(index.at()) {
                port.role = Role::Leg(number, leg);
            }
            Ok(index)
        };
        let wiring = match &function.attachment {
            Attachment::TwoLeg { inside, outside } => Wiring::TwoLeg {
                inside: leg(inside, Leg::Inside)?,
                outside: leg(outside, Leg::Outside)?,
            },
            Attachment::OneLeg { port, mac } => Wiring::OneLeg {
                port: leg(port, Leg::Only)?,
                mac: mac.0,
            },
            Attachment::NshAware { port, mac } => Wiring::NshAware {
                port: leg(port, Leg::Aware)?,
                mac: mac.0,
            },
        };
        if let Attachment::OneLeg { mac, .. } | Attachment::NshAware { mac, .. } =
            &function.attachment
            && mac.is_group()
        {
            return Err(TableError::GroupMac {
                entry: entry(),
                mac: *mac,
            });
        }
        let name = function.name.clone();
        functions.push(CompiledFunction {
            name,
            wiring,
            bindings: Default::default(),
            newest: [None; 2],
        });
    }
    Ok(functions)
}

fn segments(
    tables: &Tables,
    scope: &mut Scope,
    ports: &mut [CompiledPort],
) -> Result<Vec<CompiledSegment>, TableError> {
    let vxlan_port = tables
        .underlay
        .as_ref()
        .map_or(0, |underlay| underlay.vxlan_port);
    let mut segments = Vec::with_capacity(tables.segments.len());
    for (number, segment) in (0..).zip(&tables.segments) {
        let entry = || Entry::Segment(segment.vni);
        let mut members = Vec::with_capacity(segment.ports.len());
        for name in &segment.ports {
            let index = scope.port(name, entry, PortRole::Member(segment.vni))?;
            if let Some(port) = ports.get_mut(index.at()) {
                port.segment = Some(number);
            }
            members.push(index);
        }
        let mut peers: Vec<IpAddr> = Vec::with_capacity(segment.peers.len());
        for &peer in &segment.peers {
            check::vtep(tables, peer, entry)?;
            if !peers.contains(&peer) {
                peers.push(peer);
            }
        }
        let flood = peers.len();
        let mut entries: Vec<([u8; 6], Location)> = Vec::with_capacity(segment.entries.len());
        let mut known = FxHashSet::default();
        for fixed in &segment.entries {
            let (mac, location) = match fixed {
                StaticEntry::Local { mac, port } => {
                    let index = PortIndex(scope.ports.resolve(port, entry)?);
                    if !members.contains(&index) {
                        let (entry, port) = (entry(), port.clone());
                        return Err(TableError::NotAMember {
                            entry,
                            mac: *mac,
                            port,
                        });
                    }
                    (*mac, Location::Port(index))
                }
                StaticEntry::Remote { mac, peer } => {
                    check::vtep(tables, *peer, entry)?;
                    let place = peers
                        .iter()
                        .position(|known| known == peer)
                        .unwrap_or_else(|| {
                            peers.push(*peer);
                            peers.len() - 1
                        });
                    let (count, max) = (peers.len(), usize::from(u16::MAX));
                    let place = u16::try_from(place);
                    (
                        *mac,
                        Location::Peer(place.map_err(|_| TableError::TooMany {
                            kind: Kind::Segment,
                            count,
                            max,
                        })?),
                    )
                }
            };
            if mac.is_group() {
                return Err(TableError::GroupMac {
                    entry: entry(),
                    mac,
                });
            }
            if !known.insert(mac) {
                return Err(TableError::DuplicateMac {
                    entry: entry(),
                    mac,
                });
            }
            entries.push((mac.0, location));
        }
        segments.push(CompiledSegment {
            vni: segment.vni,
            ports: members,
            outer: peers.iter().copied().map(tunnel_headers).max().unwrap_or(0),
            peers: peers
                .into_iter()
                .map(|peer| SocketAddr::new(peer, vxlan_port))
                .collect(),
            flood,
            entries,
            ageing_ms: u64::from(segment.ageing_seconds) * 1000,
            bum_per_second: segment.bum_per_second,
        });
    }
    Ok(segments)
}

fn steering(
    tables: &Tables,
    scope: &mut Scope,
    functions: &mut [CompiledFunction],
) -> Result<Steering, TableError> {
    let count = tables.paths.iter().map(|path| path.hops.len()).sum();
    let mut steering = Steering::with_capacity(count);
    let mut number = 0;
    for path in &tables.paths {
        check::mtu(|| Entry::Path(path.spi), path.mtu)?;
        for hop in &path.hops {
            let entry = || Entry::Hop(path.spi, hop.si);
            let key = key(path.spi, hop.si);
            let target = match &hop.to {
                NextHop::Function { name, direction } => {
                    let function = scope.functions.resolve(name, entry)?;
                    // RFC 8300 section 2.3: "SI MUST be decremented by a value of 1 by Service
                    // Functions or by SFC Proxy nodes after performing required services".
                    if hop.si.next().is_none() {
                        return Err(TableError::FunctionAtZero(entry()));
                    }
                    if let Some(compiled) = functions.get_mut(usize::from(function)) {
                        bind(compiled, *direction, key);
                    }
                    Target::Function(function, *direction)
                }
                NextHop::Tunnel { name } => Target::Tunnel(scope.tunnels.resolve(name, entry)?),
                NextHop::Egress { port } => {
                    Target::Egress(scope.port(port, entry, PortRole::Egress(entry()))?)
                }
                NextHop::Segment { vni } => Target::Segment(scope.segments.resolve(vni, entry)?),
            };
            if !steering.insert(Hop {
                key,
                number,
                target,
            }) {
                return Err(TableError::DuplicateHop {
                    spi: path.spi,
                    si: hop.si,
                });
            }
            number += 1;
        }
    }
    for function in functions {
        function
            .bindings
            .iter_mut()
            .for_each(|bindings| bindings.sort_unstable());
    }
    Ok(steering)
}

fn bind(function: &mut CompiledFunction, direction: Direction, key: u32) {
    let [forward, reverse] = &mut function.bindings;
    let [newest_forward, newest_reverse] = &mut function.newest;
    let (bindings, newest) = match direction {
        Direction::Forward => (forward, newest_forward),
        Direction::Reverse => (reverse, newest_reverse),
    };
    bindings.push(key);
    *newest = Some(key);
}
