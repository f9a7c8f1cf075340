//! The topology a chain is scheduled on: every box as an SFF, every placed instance behind its
//! box, with its load, and barred with the reason where it may not be taken.

use super::draft::Draft;
use super::instances::all_of;
use super::places::unsettled;
use super::{Instance, InstanceHealth, NodeRecord, PathRecord, hardware_load};
use crate::resource::{FunctionSpec, Kind, Length, Name, Object, ResourceId};
use crate::topology::{Mesh, ServiceFunction, Sff, Topology};
use kc_agent_api::NodeName;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Instances that stay where they are: every other of their type is barred.
pub(super) type Kept = BTreeMap<Name, String>;

/// Builds the topology that all chains of one plan are scheduled on.
pub(super) fn topology(draft: &Draft<'_>, length: Length) -> Topology {
    let wanted = draft
        .state
        .instances
        .iter()
        .filter(|(_, instance)| !instance.retiring);
    let max_age_ms = draft.state.settings.load_max_age_ms;
    let functions = wanted.filter_map(|(name, instance)| {
        let function = draft.state.function_type(&instance.owner)?;
        let node = instance.node.as_ref()?;
        let load = match instance.hardware {
            Some(_) => hardware_load(&draft.state, draft.observed, draft.now_ms, name, instance),
            None => draft
                .seen(node)
                .and_then(|seen| seen.container_load(name, max_age_ms, draft.now_ms)),
        };
        Some(ServiceFunction {
            name: name.as_str().into(),
            function: function.clone(),
            sff: node.clone().into(),
            load: load.map(|(percent, _)| percent),
            stale: load.is_some_and(|(_, stale)| stale),
            barred: barred(draft, name, instance, node),
        })
    });
    let (sffs, links) = links(draft);
    match length {
        Length::Hops => Topology::new(sffs, links, functions),
        Length::Latency => {
            let (unknown, links) = measured(draft, &sffs, &links);
            Topology::measured(length, unknown, sffs, links, functions)
        }
    }
}

/// A link counts as this at least while nobody has measured it: tenths of a millisecond.
const UNMEASURED: u32 = 100;

/// Links with what they take, in tenths of a millisecond: first what one takes that nobody has
/// measured, which is as much as the slowest of the others, so that what is known is preferred.
fn measured<'a>(
    draft: &'a Draft<'_>,
    sffs: &[Sff<'a>],
    spoken: &[(&'a str, &'a str, u32)],
) -> (u32, Vec<(&'a str, &'a str, u32)>) {
    let node = |name: &str| NodeName::new(name).ok();
    let takes = |a: &str, b: &str| {
        let latency = draft.observed.latency(&node(a)?, &node(b)?)?;
        Some(latency.tenths())
    };
    let meshed: BTreeMap<&str, Mesh> = sffs
        .iter()
        .filter_map(|sff| Some((sff.name, sff.mesh?)))
        .collect();
    let mut known = Vec::new();
    for (a, mesh) in &meshed {
        let seen = node(a).and_then(|node| draft.observed.nodes.get(&node));
        for b in seen.into_iter().flat_map(|seen| seen.latencies.keys()) {
            let Some((b, other)) = meshed.get_key_value(b.as_str()) else {
                continue;
            };
            let linked = mesh.class == other.class && !(mesh.spoken && other.spoken);
            if let Some(takes) = takes(a, b).filter(|_| linked && a != b) {
                known.push((*a, *b, takes));
            }
        }
    }
    let spelled = spoken.iter().map(|(a, b, hops)| (a, b, hops, takes(a, b)));
    let all = known.iter().map(|(_, _, takes)| *takes);
    let all = all.chain(spelled.clone().filter_map(|(.., takes)| takes));
    let unknown = all.max().unwrap_or(0).max(UNMEASURED);
    known.extend(spelled.map(|(a, b, hops, takes)| {
        let takes = takes.unwrap_or_else(|| unknown.saturating_mul(*hops));
        (*a, *b, takes)
    }));
    (unknown, known)
}

pub(super) fn barred(
    draft: &Draft<'_>,
    name: &str,
    instance: &Instance,
    node: &NodeName,
) -> Option<String> {
    if !draft.is_ready(node) {
        let record = draft.state.nodes.get(node)?;
        let reason = record.reason.as_deref().unwrap_or("is not ready");
        return Some(format!("is on {node}, which {reason}"));
    }
    match instance.health {
        InstanceHealth::Starting => return Some("is starting".to_owned()),
        InstanceHealth::Down => return Some("is down".to_owned()),
        InstanceHealth::Running => {}
    }
    if draft.state.in_turn(name, &instance.owner) {
        return Some("is being changed".to_owned());
    }
    if draft.state.is_on_trial(instance) {
        return Some("has yet to show that it works".to_owned());
    }
    if draft.said(node).cordoned {
        return Some(format!("is on {node}, which is cordoned"));
    }
    let verb = instance.verb();
    unsettled(draft, instance).map(|reason| format!("has to {verb}: {reason}"))
}

/// Instances that `chain` may not take because they carry as many others as they may.
pub(super) fn full(
    draft: &Draft<'_>,
    chain: &Name,
    functions: &[Name],
) -> BTreeMap<String, String> {
    let limit = |object: &Object<FunctionSpec>| {
        let id = ResourceId::new(Kind::ServiceFunction, object.metadata.name.clone());
        Some((id, object.spec.max_chains?))
    };
    let limits: BTreeMap<ResourceId, u32> = draft
        .state
        .functions()
        .filter(|object| functions.contains(object.spec.type_name(&object.metadata.name)))
        .filter_map(limit)
        .collect();
    if limits.is_empty() {
        return BTreeMap::new();
    }
    let owners = limits.keys();
    let instances = owners.flat_map(|owner| all_of(draft, owner));
    let full = instances.filter_map(|(name, instance)| {
        let limit = *limits.get(&instance.owner)?;
        let through = draft.paths().chains_through(name, chain);
        let reason = format!("already carries {through} chains, all it may");
        (through >= limit).then(|| (name.clone(), reason))
    });
    full.collect()
}

/// Boxes with the mesh they are in, and the links users spelled out, as far as both ends are
/// counted on. Boxes without links of their own are linked to all, the others to those only.
fn links<'a>(draft: &'a Draft<'_>) -> (Vec<Sff<'a>>, Vec<(&'a str, &'a str, u32)>) {
    let nodes = &draft.state.nodes;
    let spoken: Vec<_> = nodes
        .keys()
        .filter_map(|node| Some((node, &draft.state.node_resource(node)?.spec.links)))
        .flat_map(|(node, links)| links.iter().map(move |link| (node, &link.to, link.hops)))
        .collect();
    let linked: BTreeSet<_> = spoken.iter().flat_map(|(a, b, _)| [*a, *b]).collect();
    let mut vteps: BTreeMap<IpAddr, u32> = BTreeMap::new();
    for vtep in nodes.values().filter_map(|node| node.vtep) {
        *vteps.entry(vtep).or_default() += 1;
    }
    let sffs = nodes.iter().map(|(name, node)| {
        // Of two boxes that claim one address, nobody knows which it is.
        let own = node.vtep.filter(|vtep| vteps.get(vtep) == Some(&1));
        let mesh = own.filter(|_| node.ready).map(|vtep| Mesh {
            class: if vtep.is_ipv4() { 4 } else { 6 },
            spoken: linked.contains(name),
        });
        let name = name.as_str();
        Sff { name, mesh }
    });
    let links = spoken.iter().filter(|(a, b, _)| {
        let ends = nodes.get(*a).zip(nodes.get(*b));
        ends.is_some_and(|(a, b)| a.ready && b.ready && can_tunnel(a, b))
    });
    let links = links.map(|(a, b, hops)| (a.as_str(), b.as_str(), *hops));
    (sffs.collect(), links.collect())
}

/// Whether two boxes' forwarders can reach each other.
pub(crate) fn can_tunnel(a: &NodeRecord, b: &NodeRecord) -> bool {
    match (a.vtep, b.vtep) {
        (Some(a), Some(b)) => a != b && a.is_ipv4() == b.is_ipv4(),
        _ => false,
    }
}

/// Why a path does not carry traffic; `None` while it does. Of a cluster one member is enough.
pub(super) fn fault(draft: &Draft<'_>, path: &PathRecord) -> Option<String> {
    let lost = path.instances.iter().find_map(|on_path| {
        let mut reasons = on_path
            .members()
            .map(|member| absence(draft, &member.name, &member.node));
        let first = reasons.next().flatten();
        first.filter(|_| reasons.all(|reason| reason.is_some()))
    });
    lost.or_else(|| {
        // One that is passed for a member of a cluster only is as dispensable as that.
        let (clusters, single): (Vec<_>, Vec<_>) = path
            .instances
            .iter()
            .partition(|on_path| !on_path.others.is_empty());
        let ends = [&path.spec.from.node, &path.spec.to.node];
        let needed = |node: &NodeName| {
            !clusters.iter().any(|on_path| on_path.node == *node)
                || ends.contains(&node)
                || single.iter().any(|on_path| on_path.node == *node)
        };
        let mut passed = path.route.iter().flatten().filter(|node| needed(node));
        passed.find_map(|node| Some(format!("{node} {}", gone(draft, node)?)))
    })
}

/// Why an instance on a path carries nothing.
pub(super) fn absence(draft: &Draft<'_>, name: &str, node: &NodeName) -> Option<String> {
    if let Some(reason) = gone(draft, node) {
        return Some(format!("{name} is on {node}, which {reason}"));
    }
    match draft.state.instances.get(name) {
        Some(instance) if instance.node.as_ref() != Some(node) => {
            Some(format!("{name} left {node}"))
        }
        Some(instance) if instance.health != InstanceHealth::Running => {
            Some(format!("{name} on {node} died"))
        }
        Some(_) => None,
        None => Some(format!("{name} is gone")),
    }
}

/// Why a box cannot be counted on; `None` when it can.
pub(super) fn gone(draft: &Draft<'_>, node: &NodeName) -> Option<String> {
    if draft.is_ready(node) {
        return None;
    }
    match draft.state.nodes.get(node) {
        None => Some("has not registered".to_owned()),
        Some(record) => Some(
            record
                .reason
                .clone()
                .unwrap_or_else(|| "is not ready".to_owned()),
        ),
    }
}
