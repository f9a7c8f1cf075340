//! Chains and paths, out of a snapshot. Hops are read from the documents themselves: what is
//! shown is what the boxes were told.

use super::{ChainView, ExplainView, HopView, PathView};
use crate::execute::Snapshot;
use crate::plan::{ChainRecord, PathRecord, Phase};
use crate::resource::{ChainSpec, Name, ReturnPath, TrafficMatch};
use kc_agent_api::NodeName;
use kc_forwarder_api::{HealthState, NextHop, Si, Spi};

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
        reason: record.and_then(|r| r.status.reason()).map(str::to_owned),
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
        others: carrying.map(others).unwrap_or_default(),
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

fn others(path: &PathRecord) -> Vec<String> {
    let all = path.instances.iter().flat_map(|on_path| &on_path.others);
    all.map(|on| format!("{}@{}", on.name, on.node)).collect()
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
        for hop in hops {
            let (health, told) = match &hop.to {
                NextHop::Tunnel { name } => {
                    (state.report.tunnels.get(name), format!("{node} -> {name}"))
                }
                NextHop::Function { name, .. } => (
                    state.report.functions.get(name),
                    format!("{name} on {node}"),
                ),
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
        phase: told(moment, &path.phase),
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
fn told(moment: &Snapshot, phase: &Phase) -> String {
    let (Phase::Installing { waits } | Phase::Switching { waits } | Phase::Withdrawing { waits }) =
        phase
    else {
        return phase.word().to_owned();
    };
    let late: Vec<&str> = waits
        .iter()
        .filter(|(node, generation)| moment.observed.acknowledged(node) < **generation)
        .map(|(node, _)| node.as_str())
        .collect();
    if late.is_empty() {
        phase.word().to_owned()
    } else {
        format!("{} (waits for {})", phase.word(), late.join(", "))
    }
}

/// Follows a path through the documents, lookup by lookup.
fn walk(moment: &Snapshot, spi: Spi, start: &NodeName) -> Vec<HopView> {
    let mut hops: Vec<HopView> = Vec::new();
    let (mut node, mut si) = (start.clone(), Si::MAX);
    // A path that returns to where it was would go round for ever: no box is asked twice for one index.
    while !hops
        .iter()
        .any(|hop| hop.node == node.as_str() && hop.si == si.get())
    {
        let Some(document) = moment.documents.get(&node) else {
            break;
        };
        let next = document
            .forwarder
            .paths
            .iter()
            .find(|path| path.spi == spi)
            .and_then(|path| path.hops.iter().find(|hop| hop.si == si));
        let Some(next) = next else {
            break;
        };
        let counted = moment
            .observed
            .nodes
            .get(&node)
            .and_then(|seen| seen.load.as_ref())
            .and_then(|load| {
                load.report
                    .paths
                    .iter()
                    .find(|p| p.spi == spi && p.si == si)
            });
        let mut onward = None;
        let to = match &next.to {
            NextHop::Function { name, .. } => {
                onward = si.next().map(|si| (node.clone(), si));
                name.to_string()
            }
            NextHop::Tunnel { name } => {
                let tunnel = document.forwarder.tunnels.iter().find(|t| t.name == *name);
                let remote = tunnel.and_then(|tunnel| tunnel.transport.vtep());
                let peer = moment
                    .state
                    .nodes
                    .iter()
                    .find(|(_, record)| record.vtep.is_some() && record.vtep == remote);
                onward = peer.map(|(peer, _)| (peer.clone(), si));
                match peer {
                    Some((peer, _)) => format!("-> {peer}"),
                    None => format!("-> {name}"),
                }
            }
            NextHop::Egress { port } => format!("out {port}"),
            NextHop::Segment { vni } => format!("out segment {vni}"),
            NextHop::Group { name, .. } => format!("any of {name}"),
        };
        hops.push(HopView {
            node: node.to_string(),
            si: si.get(),
            to,
            packets: counted.map(|path| path.packets),
            bytes: counted.map(|path| path.bytes),
        });
        let Some(onward) = onward else {
            break;
        };
        (node, si) = onward;
    }
    hops
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
