//! The topology a chain is scheduled on: every box as an SFF, every placed instance behind its
//! box, with its load, and barred with the reason where it may not be taken.

use super::draft::Draft;
use super::instances::chains_through;
use super::places::unsettled;
use super::{Instance, InstanceHealth, NodeRecord, PathRecord};
use crate::resource::Name;
use crate::topology::{ServiceFunction, Topology};
use kc_agent_api::NodeName;
use std::collections::{BTreeMap, BTreeSet};

/// Instances that stay where they are: every other of their type is barred.
pub(super) type Kept = BTreeMap<Name, String>;

/// Builds the topology for `chain`.
pub(super) fn topology(draft: &Draft<'_>, chain: &Name, kept: &Kept) -> Topology {
    let wanted = draft
        .state
        .instances
        .iter()
        .filter(|(_, instance)| !instance.retiring);
    let functions = wanted.filter_map(|(name, instance)| {
        let function = draft.state.function_type(&instance.owner)?;
        let node = instance.node.as_ref()?;
        let settings = &draft.state.settings;
        let max_age_ms = settings.load_max_age_ms;
        let stays = kept.get(function).filter(|stays| *stays != name);
        let barred = match stays {
            Some(stays) => Some(format!("is not needed, {stays} is healthy and stays")),
            None => barred(draft, chain, name, instance, node),
        };
        Some(ServiceFunction {
            name: name.clone(),
            function: function.clone(),
            sff: node.to_string(),
            load: draft
                .observed
                .container_load(node, name, max_age_ms, draft.now_ms),
            barred,
        })
    });
    let links = links(draft);
    let links = links
        .iter()
        .map(|(a, b, hops)| (a.as_str(), b.as_str(), *hops));
    Topology::new(
        draft.state.nodes.keys().map(NodeName::as_str),
        links,
        functions,
    )
}

fn barred(
    draft: &Draft<'_>,
    chain: &Name,
    name: &str,
    instance: &Instance,
    node: &NodeName,
) -> Option<String> {
    let record = draft.state.nodes.get(node)?;
    if !record.ready {
        let reason = record.reason.as_deref().unwrap_or("is not ready");
        return Some(format!("is on {node}, which {reason}"));
    }
    match instance.health {
        InstanceHealth::Starting => return Some("is starting".to_owned()),
        InstanceHealth::Down => return Some("is down".to_owned()),
        InstanceHealth::Running => {}
    }
    if draft
        .state
        .node_resource(node)
        .is_some_and(|object| object.spec.cordon)
    {
        return Some(format!("is on {node}, which is cordoned"));
    }
    if let Some(reason) = unsettled(draft, instance) {
        return Some(format!("has to move: {reason}"));
    }
    let limit = draft
        .state
        .functions()
        .find(|f| f.metadata.name == instance.owner.name);
    let limit = limit.and_then(|function| function.spec.max_chains)?;
    let through = chains_through(draft, name, chain);
    (through >= limit).then(|| format!("already carries {through} chains, all it may"))
}

/// Links between boxes that are counted on: those users gave, and full mesh for boxes without.
fn links(draft: &Draft<'_>) -> Vec<(NodeName, NodeName, u32)> {
    let nodes = &draft.state.nodes;
    let spoken: Vec<_> = nodes
        .keys()
        .filter_map(|node| Some((node, &draft.state.node_resource(node)?.spec.links)))
        .flat_map(|(node, links)| links.iter().map(move |link| (node, &link.to, link.hops)))
        .collect();
    let linked: BTreeSet<_> = spoken.iter().flat_map(|(a, b, _)| [*a, *b]).collect();
    let meshed = nodes
        .keys()
        .flat_map(|a| nodes.keys().map(move |b| (a, b, 1)));
    let meshed = meshed.filter(|(a, b, _)| a < b && !(linked.contains(a) && linked.contains(b)));
    spoken
        .iter()
        .copied()
        .chain(meshed)
        .filter(|(a, b, _)| match (nodes.get(*a), nodes.get(*b)) {
            (Some(a), Some(b)) => a.ready && b.ready && can_tunnel(a, b),
            _ => false,
        })
        .map(|(a, b, hops)| (a.clone(), b.clone(), hops))
        .collect()
}

/// Whether two boxes' forwarders can reach each other.
pub(crate) fn can_tunnel(a: &NodeRecord, b: &NodeRecord) -> bool {
    match (a.vtep, b.vtep) {
        (Some(a), Some(b)) => a != b && a.is_ipv4() == b.is_ipv4(),
        _ => false,
    }
}

/// Why a path does not carry traffic; `None` while it does.
pub(super) fn fault(draft: &Draft<'_>, path: &PathRecord) -> Option<String> {
    path.instances
        .iter()
        .find_map(|on_path| {
            let (name, node) = (&on_path.name, &on_path.node);
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
        })
        .or_else(|| {
            let mut passed = path.route.iter().flatten();
            passed.find_map(|node| Some(format!("{node} {}", gone(draft, node)?)))
        })
}

/// Why a box cannot be counted on; `None` when it can.
pub(super) fn gone(draft: &Draft<'_>, node: &NodeName) -> Option<String> {
    match draft.state.nodes.get(node) {
        None => Some("has not registered".to_owned()),
        Some(record) if record.ready => None,
        Some(record) => Some(
            record
                .reason
                .clone()
                .unwrap_or_else(|| "is not ready".to_owned()),
        ),
    }
}
