//! Clusters: which instances stand beside the one that a scheduler chose, and when a set is no longer
//! what it should be. Forwarders move flows between the members by themselves; what is decided here
//! comes after, by a new path like any other.

use super::allot::{reach, straight};
use super::choose::leaving;
use super::draft::Draft;
use super::survey::{absence, barred};
use super::{Instance, PathInstance, PathRecord, State};
use crate::resource::{ChainSpec, ClusterMode, ClusterSpec, Resource};
use crate::scheduler::Choice;
use crate::topology::{Topology, by_name};
use kc_agent_api::NodeName;
use std::collections::{BTreeMap, BTreeSet};

impl State {
    /// What the resource of an instance says of clusters.
    pub(crate) fn cluster(&self, name: &str) -> Option<&ClusterSpec> {
        let instance = self.instances.get(name)?;
        match self.owner(&instance.owner)? {
            Resource::ServiceFunction(object) => object.spec.cluster.as_ref(),
            _ => None,
        }
    }

    /// What the set at one place of a path lacks, for people; nothing where it is whole or there is none.
    pub(crate) fn lacking(&self, on_path: &PathInstance) -> Option<String> {
        let size = self.cluster(&on_path.name)?.size;
        let members = u32::try_from(on_path.members().count()).unwrap_or(u32::MAX);
        let function = &on_path.function;
        (members < size).then(|| format!("cluster of {function} has {members} of {size} members"))
    }
}

/// Whether members of its cluster keep apart from an instance of this resource.
pub(super) fn keeps_apart(resource: &Resource) -> bool {
    match resource {
        Resource::ServiceFunction(object) => object.spec.cluster.is_some(),
        _ => false,
    }
}

/// Whether the others only stand by for the one of this name.
pub(super) fn stands_by(draft: &Draft<'_>, name: &str) -> bool {
    draft
        .state
        .cluster(name)
        .is_some_and(|cluster| cluster.mode == ClusterMode::ActiveStandby)
}

/// Those that could join the members of `set`, each on another box than all before, and one tunnel away from
/// all `boxes` of the path.
fn candidates<'a>(
    draft: &'a Draft<'_>,
    set: &[&str],
    boxes: &BTreeSet<NodeName>,
    without: &BTreeMap<String, String>,
) -> Vec<(&'a String, &'a Instance)> {
    let Some(first) = set
        .first()
        .and_then(|name| draft.state.instances.get(*name))
    else {
        return Vec::new();
    };
    let mut taken: Vec<_> = set
        .iter()
        .filter_map(|name| draft.state.instances.get(*name)?.node.as_ref())
        .collect();
    let of_owner = super::instances::of(draft, &first.owner);
    let mut usable: Vec<_> = of_owner
        .filter(|(name, instance)| {
            let node = instance.node.as_ref();
            !set.contains(&name.as_str())
                && !without.contains_key(*name)
                && node.is_some_and(|node| {
                    barred(draft, name, instance, node).is_none()
                        && boxes.iter().all(|other| reach(draft, node, other))
                })
        })
        .collect();
    usable.sort_by(|(a, _), (b, _)| by_name(a, b));
    usable.retain(|(_, instance)| {
        let Some(node) = instance.node.as_ref().filter(|node| !taken.contains(node)) else {
            return false;
        };
        taken.push(node);
        true
    });
    usable
}

/// Of each place of a path, the names of those that stand beside the one that was chosen.
type Sets = Vec<Vec<String>>;

/// Who stands beside those that were chosen, and the boxes from each stop to the next; nothing where
/// nobody does.
pub(super) fn sets(
    draft: &Draft<'_>,
    topology: &Topology,
    chain: &ChainSpec,
    carrying: Option<&PathRecord>,
    choice: &Choice,
    without: &BTreeMap<String, String>,
) -> Option<(Sets, Vec<Vec<NodeName>>)> {
    let mut clustered = choice.path.iter();
    clustered.find_map(|name| draft.state.cluster(name))?;
    let route = straight(draft, topology, chain, choice)?;
    let mut boxes: BTreeSet<NodeName> = route.iter().flatten().cloned().collect();
    let known = |name: &str| {
        let mut members = carrying.into_iter().flat_map(PathRecord::members);
        members.any(|member| member.name == name)
    };
    let load = |name: &str| {
        let function = topology.function(name);
        let missing = chain.scheduler.missing_load;
        function.map_or(100.0, |function| function.effective_load(missing))
    };
    let mut sets = Sets::new();
    for first in &choice.path {
        let size = draft.state.cluster(first).map_or(1, |cluster| cluster.size);
        let mut set = vec![first.as_str()];
        while u32::try_from(set.len()).is_ok_and(|members| members < size) {
            // Members that are there already, then the least loaded.
            let candidates = candidates(draft, &set, &boxes, without);
            let best = candidates.into_iter().min_by(|(a, _), (b, _)| {
                let known = known(b).cmp(&known(a));
                known.then_with(|| load(a).total_cmp(&load(b)))
            });
            let Some((next, instance)) = best else { break };
            boxes.extend(instance.node.clone());
            set.push(next);
        }
        sets.push(set.into_iter().skip(1).map(str::to_owned).collect());
    }
    let any = sets.iter().any(|set| !set.is_empty());
    any.then_some((sets, route))
}

/// Why the set at one place of a path shall be another one, though somebody in it lives.
pub(super) fn change(
    draft: &Draft<'_>,
    path: &PathRecord,
    on_path: &PathInstance,
    without: &BTreeMap<String, String>,
) -> Option<String> {
    let cluster = draft.state.cluster(&on_path.name);
    let members: Vec<_> = on_path.members().collect();
    if cluster.is_none() && members.len() == 1 {
        return None;
    }
    let lost = members.iter().find_map(|member| {
        absence(draft, &member.name, &member.node).or_else(|| leaving(draft, &member.name))
    });
    if let Some(lost) = lost {
        return (members.len() > 1).then_some(lost);
    }
    let (size, standby) = match cluster {
        Some(cluster) => (cluster.size, cluster.mode == ClusterMode::ActiveStandby),
        None => (1, on_path.standby),
    };
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    if members.len() > size || members.len() > 1 && standby != on_path.standby {
        return Some(format!("the cluster of {} was changed", on_path.function));
    }
    if members.len() == size {
        return None;
    }
    let set: Vec<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let boxes = path.nodes().into_iter().chain(path.ends());
    let boxes = boxes.cloned().collect();
    let candidates = candidates(draft, &set, &boxes, without);
    let (next, _) = candidates.first()?;
    Some(format!("{next} joins {}", set.join(", ")))
}
