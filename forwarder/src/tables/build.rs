//! Builds [`Compiled`]: resolves names, finds contradictions between entries.

use super::check;
use super::compiled::{
    Compiled, CompiledPort, CompiledSegment, CompiledTunnel, Location, PortIndex, Role,
};
use super::error::{Entry, Kind, PortRole, TableError};
use super::groups;
use super::hops;
use super::lan::Lans;
use super::legs;
use super::names::Names;
use super::relations;
use super::rules;
use super::virtuals;
use crate::pipeline::tunnel_headers;
use kc_forwarder_api::{
    GroupName, PortName, SfName, StaticEntry, Tables, Transport, TunnelName, Vni,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::{IpAddr, SocketAddr};

/// Name tables of everything that can be referred to.
pub(super) struct Scope {
    pub(super) ports: Names<PortName>,
    pub(super) tunnels: Names<TunnelName>,
    pub(super) functions: Names<SfName>,
    pub(super) groups: Names<GroupName>,
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
            groups: Names::number(Kind::Group, tables.groups.iter().map(|group| &group.name))?,
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
            (Some(PortRole::Leg(_) | PortRole::TaggedLeg(..)), _)
            | (_, PortRole::Leg(_) | PortRole::TaggedLeg(..))
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

    /// Resolves a port that may be a leg of several functions, and nothing else.
    pub(super) fn leg(
        &mut self,
        name: &PortName,
        entry: impl Fn() -> Entry,
        role: PortRole,
    ) -> Result<PortIndex, TableError> {
        let number = PortIndex(self.ports.resolve(name, &entry)?);
        match self.roles.get(number.at()) {
            Some(Some(PortRole::Leg(_) | PortRole::TaggedLeg(..))) => Ok(number),
            _ => self.port(name, entry, role),
        }
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
    let (mut functions, trunks) = legs::build(&tables, &mut scope, &mut ports)?;
    let (tunnels, lans) = tunnels(&tables, &mut scope, &mut ports)?;
    let groups = groups::build(&tables, &scope)?;
    let pairs = groups::pairs(&tables, &scope);
    let segments = segments(&tables, &mut scope, &mut ports, &tunnels)?;
    let reached = hops::Reached {
        functions: &mut functions,
        groups: &groups,
        pairs: &pairs,
    };
    let steering = hops::build(&tables, &mut scope, reached)?;
    let (rules, classifier) = rules::build(&tables, &mut scope, &steering)?;
    let mut gpe_remotes = FxHashMap::default();
    for (number, tunnel) in (0..).zip(&tunnels) {
        if let CompiledTunnel::Gpe { remote, vni } = tunnel {
            let id = (remote.ip(), vni.get());
            gpe_remotes.entry(id).or_insert(number);
        }
    }
    let gpe_vnis = gpe_remotes.keys().map(|&(_, vni)| vni).collect();
    let segment_vnis: FxHashMap<u32, u16> = (0..)
        .zip(&segments)
        .map(|(number, segment)| (segment.vni.get(), number))
        .collect();
    Ok(Compiled {
        port_names: scope.ports,
        function_names: scope.functions,
        tunnel_names: scope.tunnels,
        facts: relations::facts(&tables),
        answers: relations::answers(&tables),
        tables,
        ports,
        tunnels,
        functions,
        trunks,
        groups,
        pairs,
        segments,
        rules,
        classifier,
        steering,
        gpe_vnis,
        gpe_remotes,
        lans,
        segment_vnis,
        heritage: None,
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

fn segments(
    tables: &Tables,
    scope: &mut Scope,
    ports: &mut [CompiledPort],
    tunnels: &[CompiledTunnel],
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
        let virtuals = virtuals::build(segment, &entries, &peers, tunnels)?;
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
            virtuals,
        });
    }
    Ok(segments)
}
