//! What the documents of one state are made of, gone through once and put together by node.

use super::{MESH, cluster, path};
use crate::plan::{Instance, PathRecord, State};
use crate::resource::{Name, Resource, ServiceNetwork};
use foldhash::{HashMap, HashMapExt as _, HashSet};
use kc_agent_api::NodeName;
use kc_forwarder_api::{SfName, Vid};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// See the module.
pub(super) struct Scene<'a> {
    pub(super) state: &'a State,
    /// Whether anybody wants the overlay; then every node is part of it.
    pub(super) has_overlay: bool,
    /// Everybody who is on the overlay, in the order of names.
    pub(super) replicas: Vec<(&'a String, &'a Instance)>,
    instances: HashMap<&'a NodeName, Vec<(&'a String, &'a Instance)>>,
    passing: HashMap<&'a NodeName, Vec<Passing<'a>>>,
    /// Names and VLANs that single chains have in an instance.
    entries: HashMap<&'a str, BTreeMap<SfName, Vid>>,
    overlay_mtu: OnceCell<u16>,
}

/// A path that a node has a part in.
#[derive(Clone, Copy)]
pub(super) struct Passing<'a> {
    pub(super) chain: &'a Name,
    pub(super) path: &'a PathRecord,
    /// Classifiers point at it, or are being turned to it.
    pub(super) carrying: bool,
    /// Largest inner IP packet; `None` while the path never leaves a box.
    pub(super) mtu: Option<u16>,
}

impl<'a> Scene<'a> {
    /// For the documents of all nodes, or of those in `only`.
    pub(super) fn new(state: &'a State, only: Option<&BTreeSet<NodeName>>) -> Self {
        let only: Option<HashSet<&NodeName>> = only.map(|only| only.iter().collect());
        let wanted = |node: &NodeName| only.as_ref().is_none_or(|only| only.contains(node));
        let has_overlay = has_overlay(state);
        let mut scene = Self {
            state,
            has_overlay,
            replicas: Vec::new(),
            instances: HashMap::new(),
            passing: HashMap::new(),
            entries: HashMap::new(),
            overlay_mtu: OnceCell::new(),
        };
        for (name, instance) in &state.instances {
            if instance.address.is_some() {
                scene.replicas.push((name, instance));
            }
            // Whoever is on the overlay is told to everybody.
            if let Some(node) = instance.node.as_ref()
                && (has_overlay || wanted(node))
            {
                let here = scene.instances.entry(node).or_default();
                here.push((name, instance));
            }
        }
        for (chain, record) in &state.chains {
            let carrying = record.carrying().map(|path| path.forward);
            for path in &record.paths {
                scene.add(chain, path, carrying == Some(path.forward), wanted);
            }
        }
        scene
    }

    fn add(
        &mut self,
        chain: &'a Name,
        path: &'a PathRecord,
        carrying: bool,
        wanted: impl Fn(&NodeName) -> bool,
    ) {
        for on_path in path.members() {
            if let (Some(vlan), true) = (on_path.vlan, wanted(&on_path.node))
                && let Some(entry) = on_path.entry()
            {
                let entries = self.entries.entry(&on_path.name).or_default();
                entries.insert(entry, vlan);
            }
        }
        let nodes = path.route.iter().flatten();
        let ends = [&path.spec.from.node, &path.spec.to.node];
        let members = path.members().map(|member| &member.node);
        let nodes = nodes.chain(ends).chain(members);
        let mut nodes: Vec<_> = nodes.filter(|node| wanted(node)).collect();
        if nodes.is_empty() {
            return;
        }
        nodes.sort_unstable();
        nodes.dedup();
        let passing = Passing {
            chain,
            path,
            carrying,
            mtu: path::mtu(self.state, path),
        };
        for node in nodes {
            self.passing.entry(node).or_default().push(passing);
        }
    }

    /// What is on a node, in the order of names.
    pub(super) fn instances(&self, node: &NodeName) -> &[(&'a String, &'a Instance)] {
        self.instances.get(node).map_or(&[], Vec::as_slice)
    }

    /// Paths that a node has a part in, in the order of their chains' names.
    pub(super) fn passing(&self, node: &NodeName) -> &[Passing<'a>] {
        self.passing.get(node).map_or(&[], Vec::as_slice)
    }

    /// What single chains know an instance as.
    pub(super) fn entries(&self, instance: &str) -> impl Iterator<Item = (&SfName, Vid)> {
        let entries = self.entries.get(instance).into_iter().flatten();
        entries.map(|(name, vlan)| (name, *vlan))
    }

    /// Nodes that a node has to have a tunnel to; `None` for all. Whoever hands us packets is among
    /// them too, because NSH is believed from those only that a tunnel leads to.
    pub(super) fn peers(&self, node: &NodeName) -> Option<BTreeSet<&'a NodeName>> {
        if self.state.nodes.len() <= MESH {
            return None;
        }
        let passing = self.passing(node).iter();
        let (clustered, plain): (Vec<_>, Vec<_>) = passing
            .map(|passing| passing.path)
            .partition(|path| cluster::has_cluster(path));
        let legs = plain.into_iter().flat_map(|path| &path.route);
        let steps = legs.flat_map(|leg| leg.windows(2));
        let peers = steps.filter_map(|pair| match pair {
            [from, to] if from == node => Some(to),
            [from, to] if to == node => Some(from),
            _ => None,
        });
        let neighbours = clustered.into_iter();
        let neighbours = neighbours.flat_map(|path| cluster::neighbours(path, node));
        Some(peers.chain(neighbours).collect())
    }

    /// One MTU for the whole overlay.
    pub(super) fn overlay_mtu(&self, find: impl FnOnce(&State) -> u16) -> u16 {
        *self.overlay_mtu.get_or_init(|| find(self.state))
    }
}

/// Whether anybody wants the overlay.
pub(super) fn has_overlay(state: &State) -> bool {
    let owners = state.resources.values().chain(state.retired.values());
    owners.into_iter().any(|resource| match resource {
        Resource::Service(object) => object.spec.network == ServiceNetwork::Overlay,
        Resource::ServiceFunction(object) => object.spec.is_told(),
        _ => false,
    })
}
