//! Paths through clusters: at every box that flows may come from or go to, the set of a stop is a group
//! of next hops, its members called alike everywhere, so that all boxes choose alike. Every leg is one
//! tunnel; what another box has sent is for the member here, which its own forwarder knows to be alive
//! or not.

use super::scene::Scene;
use super::tunnel_name;
use crate::plan::{PathInstance, PathRecord};
use crate::resource::{End, HookSpec};
use kc_agent_api::{ClusterPart, Membership, NodeName, Peer};
use kc_forwarder_api::{
    Direction, Group, GroupName, Hop, Member, MemberTarget, NextHop, Path, Si, Spi,
};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// SI a classifier starts with.
const FIRST_SI: u8 = 255;

/// What the set at one place of a path is called on every box.
fn group_name(forward: Spi, place: usize) -> Option<GroupName> {
    GroupName::new(format!("path{forward}.{place}")).ok()
}

/// Whether any stop is a set.
pub(super) fn has_cluster(path: &PathRecord) -> bool {
    let mut stops = path.instances.iter();
    stops.any(|on_path| !on_path.others.is_empty())
}

/// Boxes that `node` hands packets of a path to, or gets them from: those of the stops before and after
/// its own, and those of its own stop, as each member hands on what it cannot take.
pub(super) fn neighbours<'a>(path: &'a PathRecord, node: &NodeName) -> BTreeSet<&'a NodeName> {
    let stops = path.instances.iter();
    let stops = stops.map(|set| set.members().map(|one| &one.node).collect());
    let mut sets: Vec<Vec<&NodeName>> = vec![vec![&path.spec.from.node]];
    sets.extend(stops);
    sets.push(vec![&path.spec.to.node]);
    let near = sets.windows(2).filter(|near| near.concat().contains(&node));
    near.flat_map(|near| near.concat())
        .filter(|other| *other != node)
        .collect()
}

/// The hops of one direction at `node`.
pub(super) fn hops(node: &NodeName, path: &PathRecord, direction: Direction) -> Vec<Hop> {
    let mut stops: Vec<(usize, &PathInstance)> = path.instances.iter().enumerate().collect();
    let (mut start, mut end) = (&path.spec.from, &path.spec.to);
    if direction == Direction::Reverse {
        stops.reverse();
        std::mem::swap(&mut start, &mut end);
    }
    let here = |stop: Option<&(usize, &PathInstance)>, end: &End| match stop {
        Some((_, on_path)) => on_path.members().any(|member| member.node == *node),
        None => end.node == *node,
    };
    let hop = |index: usize| {
        let before = index.checked_sub(1).and_then(|index| stops.get(index));
        let stop = stops.get(index);
        if !here(before, start) && !here(stop, end) {
            return None;
        }
        let to = match stop {
            Some((place, on_path)) if !on_path.others.is_empty() => NextHop::Group {
                name: group_name(path.forward, *place)?,
                direction,
            },
            Some((_, on_path)) if on_path.node == *node => NextHop::Function {
                name: on_path.entry()?,
                direction,
            },
            Some((_, on_path)) => NextHop::Tunnel {
                name: tunnel_name(&on_path.node)?,
            },
            None if end.node == *node => NextHop::Egress {
                port: end.interface.clone(),
            },
            None => NextHop::Tunnel {
                name: tunnel_name(&end.node)?,
            },
        };
        let si = FIRST_SI.checked_sub(u8::try_from(index).ok()?)?;
        Some(Hop {
            si: Si::new(si).ok()?,
            to,
        })
    };
    (0..=stops.len()).filter_map(hop).collect()
}

/// The groups that the paths of `node` lead to.
pub(super) fn groups(scene: &Scene<'_>, node: &NodeName, paths: &[Path]) -> Vec<Group> {
    let hops = paths.iter().flat_map(|path| &path.hops);
    let wanted: BTreeSet<&GroupName> = hops
        .filter_map(|hop| match &hop.to {
            NextHop::Group { name, .. } => Some(name),
            _ => None,
        })
        .collect();
    if wanted.is_empty() {
        return Vec::new();
    }
    let all = scene.passing(node).iter().map(|passing| passing.path);
    let sets = all.filter(|path| has_cluster(path)).flat_map(|path| {
        let stops = path.instances.iter().enumerate();
        stops.map(|(place, on_path)| (path.forward, place, on_path))
    });
    let mut groups: Vec<_> = sets
        .filter_map(|(forward, place, on_path)| {
            let name = group_name(forward, place).filter(|name| wanted.contains(name))?;
            let members = on_path
                .members()
                .filter_map(|one| member(node, on_path, one));
            Some(Group {
                name,
                members: members.collect(),
                keep_arrivals: true,
            })
        })
        .collect();
    groups.sort_by(|a, b| a.name.cmp(&b.name));
    groups
}

/// A member as `node` reaches it.
fn member(node: &NodeName, set: &PathInstance, one: &PathInstance) -> Option<Member> {
    let to = if one.node == *node {
        MemberTarget::Function { name: one.entry()? }
    } else {
        MemberTarget::Tunnel {
            name: tunnel_name(&one.node)?,
        }
    };
    Some(Member {
        key: Some(one.name.clone()),
        backup: set.standby && one.name != set.name,
        ..Member::new(to)
    })
}

/// What an instance is for the chains whose traffic runs through its clusters.
pub(super) fn membership(
    scene: &Scene<'_>,
    node: &NodeName,
    name: &str,
    hook: &HookSpec,
) -> Membership {
    let instances = &scene.state.instances;
    let carrying = scene
        .passing(node)
        .iter()
        .filter(|passing| passing.carrying);
    let parts = carrying.filter_map(|passing| {
        let here = |one: &PathInstance| one.name == name && one.node == *node;
        let mut stops = passing.path.instances.iter();
        let (set, own) = stops.find_map(|set| Some((set, set.members().find(|one| here(one))?)))?;
        let peers = set.members().filter(|one| one.name != name);
        let peers = peers.map(|one| Peer {
            name: one.name.clone(),
            node: one.node.clone(),
            address: instances
                .get(&one.name)
                .and_then(|one| one.address.map(IpAddr::V4)),
            role: set.role(one),
        });
        let part = ClusterPart {
            role: set.role(own),
            peers: peers.collect(),
        };
        Some((passing.chain.to_string(), part))
    });
    Membership {
        hook: hook.command.clone(),
        address: instances
            .get(name)
            .and_then(|one| one.address.map(IpAddr::V4)),
        chains: parts.collect(),
    }
}
