//! Chains and paths, out of a snapshot. Hops are read from the documents themselves: what is
//! shown is what the boxes were told.

use super::{ChainView, ExplainView, HopView, MemberView, PathView};
use crate::execute::Snapshot;
use crate::plan::{ChainRecord, InstanceHealth, PathRecord, Phase, unanswered};
use crate::resource::{ChainSpec, Name, ReturnPath, TrafficMatch};
use kc_agent_api::NodeName;
use kc_forwarder_api::{
    GroupName, HealthState, MemberTarget, NextHop, Si, Spi, Tables, TunnelName,
};
use std::collections::VecDeque;

/// All chains in name order, also those on their way out.
pub fn chains(moment: &Snapshot) -> Vec<ChainView> {
    let mut views: Vec<ChainView> = moment
        .state
        .chains_wanted()
        .map(|object| {
            let name = &object.metadata.name;
            let record = moment.state.chains.get(name).map(|record| &**record);
            chain(moment, name, &object.spec, record)
        })
        .collect();
    for (name, record) in &moment.state.chains {
        let wanted = views.iter().any(|view| view.name == name.as_str());
        if let (false, Some(path)) = (wanted, record.paths.last()) {
            views.push(chain(moment, name, &path.spec, Some(record)));
        }
    }
    views.sort_by(|a, b| a.name.cmp(&b.name));
    views
}

fn chain(
    moment: &Snapshot,
    name: &Name,
    spec: &ChainSpec,
    record: Option<&ChainRecord>,
) -> ChainView {
    let carrying = record.and_then(ChainRecord::carrying);
    let paths: Vec<PathView> = record
        .iter()
        .flat_map(|record| &record.paths)
        .flat_map(|path| views(moment, name, path))
        .collect();
    let used = carrying.and_then(|c| paths.iter().find(|p| p.spi == c.forward.get()));
    let entered = used.and_then(|path| path.hops.first());
    let latest = record.and_then(|record| record.paths.last());
    ChainView {
        name: name.to_string(),
        state: record
            .map_or("Waiting", |record| record.status.word())
            .to_owned(),
        reason: record
            .and_then(|r| r.status.reason())
            .map(str::to_owned)
            .or_else(|| lacking(moment, carrying?)),
        since_ms: used.and_then(|path| path.since_ms),
        functions: spec.functions.iter().map(Name::to_string).collect(),
        scheduler: spec.scheduler.to_string(),
        from: spec.from.to_string(),
        to: spec.to.to_string(),
        matches: spec.matches.iter().map(condition).collect(),
        symmetric: spec.return_path == ReturnPath::Symmetric,
        spi: carrying.map(|path| path.forward.get()),
        return_spi: carrying.and_then(|path| path.reverse).map(Spi::get),
        path: carrying.map(places).unwrap_or_default(),
        members: carrying
            .map(|path| members(moment, path))
            .unwrap_or_default(),
        packets: entered.and_then(|hop| hop.packets).unwrap_or(0),
        bytes: entered.and_then(|hop| hop.bytes).unwrap_or(0),
        explanation: carrying.or(latest).map(explained).unwrap_or_default(),
        dead: carrying.map(|path| dead(moment, path)).unwrap_or_default(),
        paths,
    }
}

fn places(path: &PathRecord) -> Vec<String> {
    let all = path.instances.iter();
    all.map(|on| format!("{}@{}", on.name, on.node)).collect()
}

/// Members of clusters, also of those that have one left.
fn members(moment: &Snapshot, path: &PathRecord) -> Vec<MemberView> {
    let state = &moment.state;
    let sets = path.instances.iter().enumerate();
    let sets = sets.filter(|(_, set)| !set.others.is_empty() || state.cluster(&set.name).is_some());
    let each = sets.flat_map(|(place, set)| set.members().map(move |one| (place, set, one)));
    each.map(|(place, set, one)| {
        let instance = state.instances.get(&one.name);
        let here = instance.filter(|instance| instance.node.as_ref() == Some(&one.node));
        MemberView {
            place,
            function: one.function.to_string(),
            name: one.name.clone(),
            node: one.node.to_string(),
            role: set.role(one).as_str().to_owned(),
            phase: match here.map(|instance| instance.health) {
                Some(InstanceHealth::Running) => "Running",
                Some(InstanceHealth::Starting) => "Starting",
                Some(InstanceHealth::Down) | None => "Down",
            }
            .to_owned(),
        }
    })
    .collect()
}

/// What clusters on a path lack.
fn lacking(moment: &Snapshot, path: &PathRecord) -> Option<String> {
    let sets = path.instances.iter();
    let lacking: Vec<_> = sets.filter_map(|set| moment.state.lacking(set)).collect();
    (!lacking.is_empty()).then(|| lacking.join("; "))
}

fn explained(path: &PathRecord) -> Vec<String> {
    path.explanation
        .to_string()
        .lines()
        .map(str::to_owned)
        .collect()
}

/// What of a path does not answer its forwarder.
fn dead(moment: &Snapshot, path: &PathRecord) -> Vec<String> {
    let spis = [Some(path.forward), path.reverse];
    let mut all = Vec::new();
    for node in path.nodes() {
        let seen = moment.observed.nodes.get(node);
        let (Some(state), Some(document)) = (
            seen.and_then(|seen| seen.state.as_ref()),
            moment.documents.get(node),
        ) else {
            continue;
        };
        let parts = document.forwarder.paths.iter();
        let hops = parts
            .filter(|part| spis.contains(&Some(part.spi)))
            .flat_map(|part| &part.hops);
        let groups = &document.forwarder.groups;
        let own = |name: &GroupName| {
            let group = groups.iter().find(|group| group.name == *name);
            let members = group.into_iter().flat_map(|group| &group.members);
            members.filter_map(|member| match &member.to {
                MemberTarget::Function { name } => Some(name),
                MemberTarget::Tunnel { .. } => None,
            })
        };
        for hop in hops {
            let (health, told) = match &hop.to {
                NextHop::Tunnel { name } => {
                    (state.report.tunnels.get(name), format!("{node} -> {name}"))
                }
                NextHop::Function { name, .. } => (
                    state.report.functions.get(name),
                    format!("{name} on {node}"),
                ),
                NextHop::Group { name, .. } => match own(name).next() {
                    Some(name) => (
                        state.report.functions.get(name),
                        format!("{name} on {node}"),
                    ),
                    None => continue,
                },
                _ => continue,
            };
            if health == Some(&HealthState::Dead) && !all.contains(&told) {
                all.push(told);
            }
        }
    }
    all
}

/// The conditions of one match, `tcp to 10.0.0.0/24 port 80`.
fn condition(matched: &TrafficMatch) -> String {
    let mut words = Vec::new();
    if let Some(vlan) = matched.vlan {
        words.push(format!("vlan {vlan}"));
    }
    if let Some(protocol) = matched.protocol {
        words.push(protocol.to_string());
    }
    if let Some(source) = matched.source {
        words.push(format!("from {source}"));
    }
    if let Some(ports) = matched.source_ports {
        words.push(format!("source port {ports}"));
    }
    if let Some(destination) = matched.destination {
        words.push(format!("to {destination}"));
    }
    if let Some(ports) = matched.destination_ports {
        words.push(format!("port {ports}"));
    }
    words.join(" ")
}

/// All rendered paths in SPI order.
pub fn paths(moment: &Snapshot) -> Vec<PathView> {
    let mut all: Vec<PathView> = Vec::new();
    for (name, record) in &moment.state.chains {
        all.extend(
            record
                .paths
                .iter()
                .flat_map(|path| views(moment, name, path)),
        );
    }
    all.sort_by_key(|path| path.spi);
    all
}

/// A path, and its way back.
fn views(moment: &Snapshot, chain: &Name, path: &PathRecord) -> Vec<PathView> {
    let mut all = vec![view(
        moment,
        chain,
        path,
        path.forward,
        &path.spec.from.node,
        "forward",
    )];
    if let Some(reverse) = path.reverse {
        all.push(view(
            moment,
            chain,
            path,
            reverse,
            &path.spec.to.node,
            "return",
        ));
    }
    all
}

fn view(
    moment: &Snapshot,
    chain: &Name,
    path: &PathRecord,
    spi: Spi,
    start: &NodeName,
    direction: &str,
) -> PathView {
    let since = moment.phases.get(&path.forward.get());
    let since = since.filter(|(word, _)| *word == path.phase.word());
    PathView {
        spi: spi.get(),
        chain: chain.to_string(),
        direction: direction.to_owned(),
        phase: told(moment, chain, path),
        since_ms: since.map(|(_, ms)| moment.clock.wall(*ms)),
        mtu: moment
            .documents
            .get(start)
            .and_then(|document| document.forwarder.paths.iter().find(|p| p.spi == spi))
            .and_then(|path| path.mtu),
        hops: walk(moment, spi, start),
    }
}

/// A phase, and whom it waits for.
fn told(moment: &Snapshot, chain: &Name, path: &PathRecord) -> String {
    let phase = &path.phase;
    let (Phase::Installing { waits, .. }
    | Phase::Switching { waits }
    | Phase::Withdrawing { waits }) = phase
    else {
        return phase.word().to_owned();
    };
    let mut late: Vec<&str> = waits
        .iter()
        .filter(|(node, generation)| moment.observed.acknowledged(node) < **generation)
        .map(|(node, _)| node.as_str())
        .collect();
    if let (Phase::Installing { .. }, Some(record)) = (phase, moment.state.chains.get(chain)) {
        late.extend(unanswered(&moment.state, &moment.observed, record, path));
    }
    if late.is_empty() {
        phase.word().to_owned()
    } else {
        format!("{} (waits for {})", phase.word(), late.join(", "))
    }
}

/// Follows a path through the documents, lookup by lookup, and at clusters to every member.
fn walk(moment: &Snapshot, spi: Spi, start: &NodeName) -> Vec<HopView> {
    let mut hops: Vec<HopView> = Vec::new();
    let mut ahead = VecDeque::from([(start.clone(), Si::MAX)]);
    while let Some((node, si)) = ahead.pop_front() {
        // A path that returns to where it was would go round for ever: no box is asked twice for one index.
        let asked = |hop: &HopView| hop.node == node.as_str() && hop.si == si.get();
        if hops.iter().any(asked) {
            continue;
        }
        let document = moment.documents.get(&node);
        let tables = document.map(|document| &document.forwarder);
        let path = tables.and_then(|tables| tables.paths.iter().find(|path| path.spi == spi));
        let next = path.and_then(|path| path.hops.iter().find(|hop| hop.si == si));
        let (Some(tables), Some(next)) = (tables, next) else {
            continue;
        };
        let seen = moment.observed.nodes.get(&node);
        let load = seen.and_then(|seen| seen.load.as_ref());
        let counted = load.and_then(|load| {
            let mut paths = load.report.paths.iter();
            paths.find(|p| p.spi == spi && p.si == si)
        });
        let through = si.next().map(|si| (node.clone(), si));
        let to = match &next.to {
            NextHop::Function { name, .. } => {
                ahead.extend(through);
                name.to_string()
            }
            NextHop::Tunnel { name } => {
                let (peer, told) = behind(moment, tables, name);
                ahead.extend(peer.map(|peer| (peer, si)));
                told
            }
            NextHop::Egress { port } => format!("out {port}"),
            NextHop::Segment { vni } => format!("out segment {vni}"),
            NextHop::Group { name, .. } => {
                let group = tables.groups.iter().find(|group| group.name == *name);
                let members = group.into_iter().flat_map(|group| &group.members);
                let each = members.map(|member| {
                    let told = match &member.to {
                        MemberTarget::Function { name } => {
                            ahead.extend(through.clone());
                            name.to_string()
                        }
                        MemberTarget::Tunnel { name } => {
                            let (peer, told) = behind(moment, tables, name);
                            ahead.extend(peer.map(|peer| (peer, si)));
                            told
                        }
                    };
                    let role = if member.backup { " (standby)" } else { "" };
                    format!("{told}{role}")
                });
                each.collect::<Vec<_>>().join(", ")
            }
        };
        hops.push(HopView {
            node: node.to_string(),
            si: si.get(),
            to,
            packets: counted.map(|path| path.packets),
            bytes: counted.map(|path| path.bytes),
        });
    }
    hops
}

/// The box behind a tunnel, and the same for people.
fn behind(moment: &Snapshot, tables: &Tables, name: &TunnelName) -> (Option<NodeName>, String) {
    let tunnel = tables.tunnels.iter().find(|tunnel| tunnel.name == *name);
    let remote = tunnel.and_then(|tunnel| tunnel.transport.vtep());
    let mut nodes = moment.state.nodes.iter();
    let peer = nodes.find(|(_, record)| record.vtep.is_some() && record.vtep == remote);
    let peer = peer.map(|(peer, _)| peer.clone());
    let told = match &peer {
        Some(peer) => format!("-> {peer}"),
        None => format!("-> {name}"),
    };
    (peer, told)
}

/// Why a chain takes the path it takes; `None` when there is no such chain.
pub fn explain(moment: &Snapshot, name: &str) -> Option<ExplainView> {
    let view = chains(moment).into_iter().find(|view| view.name == name)?;
    let record = Name::new(name)
        .ok()
        .and_then(|name| moment.state.chains.get(&name));
    let path = record.and_then(|r| r.carrying().or(r.paths.last()));
    let what_if = Name::new(name).ok().and_then(|name| {
        crate::plan::what_if(&moment.state, &moment.observed, moment.now_ms, &name)
    });
    Some(ExplainView {
        what_if,
        chain: view.name,
        state: view.state,
        reason: view.reason,
        scheduler: view.scheduler,
        path: path.map(places).unwrap_or_default(),
        lines: path.map(explained).unwrap_or_default(),
        explanation: path.map(|path| path.explanation.clone().into_inner()),
    })
}
