//! A node's share of every service path. At SI 255-k a packet is on its way to stop k: the k-th
//! function, or the egress port after the last. So on each box an index has one meaning:
//! deliver, when the stop is here; hand on along the path's route, when it is not.

use super::cluster::{self, has_cluster};
use super::scene::{Passing, Scene};
use super::{tunnel_name, underlay_mtu};
use crate::plan::{PathInstance, PathRecord, State};
use crate::resource::End;
use kc_agent_api::NodeName;
use kc_forwarder_api::{Direction, Hop, NextHop, Path, PortName, SfName, Si, Spi};
use std::collections::BTreeSet;

/// SI a classifier starts with.
const FIRST_SI: u8 = 255;

/// 20 IP, 8 UDP, 8 VXLAN-GPE, 24 NSH with MD type 1, 14 inner Ethernet.
const OVERHEAD: u16 = 74;
/// IPv6 instead of IPv4 outside.
const IPV6_EXTRA: u16 = 20;

/// Interfaces where paths begin and end on `node`.
pub(super) fn end_ports(scene: &Scene<'_>, node: &NodeName) -> BTreeSet<PortName> {
    let passing = scene.passing(node).iter();
    let ends = passing.flat_map(|passing| [&passing.path.spec.from, &passing.path.spec.to]);
    ends.filter(|end| end.node == *node)
        .map(|end| end.interface.clone())
        .collect()
}

/// All path parts of `node`, in SPI order.
pub(super) fn paths(scene: &Scene<'_>, node: &NodeName) -> Vec<Path> {
    let all = scene.passing(node);
    let carrying = |former: &Passing<'_>| {
        let mut carrying = all.iter().filter(|passing| passing.carrying);
        let found = carrying.find(|passing| passing.chain == former.chain);
        found.map(|passing| passing.path)
    };
    let parts = all.iter().flat_map(|passing| {
        let left = passing.path.dead && passing.path.is_former();
        let instead = left.then(|| carrying(passing));
        parts(passing, instead, node)
    });
    let mut paths: Vec<_> = parts.collect();
    paths.sort_by_key(|path| path.spi);
    paths
}

/// The forward and the return part of one path. Known flows stay on a former path until it is removed,
/// unless it is dead: then they leave it, and what answers them takes the way back of the one that carries
/// `instead`, also what a function has translated and takes for an answer.
fn parts(
    passing: &Passing<'_>,
    instead: Option<Option<&PathRecord>>,
    node: &NodeName,
) -> Vec<Path> {
    let Passing {
        chain, path, mtu, ..
    } = *passing;
    let there: Vec<_> = path.instances.iter().map(PathInstance::entry).collect();
    let part = |spi, reverse: Option<Spi>, affinity: String, hops| Path {
        spi,
        mtu,
        reverse,
        affinity: instead.is_none().then_some(affinity),
        hops,
    };
    let clustered = has_cluster(path);
    let hops_there = match clustered {
        true => cluster::hops(node, path, Direction::Forward),
        false => hops(node, &path.route, &there, Direction::Forward, &path.spec.to),
    };
    let answers = match instead {
        Some(instead) => instead.and_then(|path| path.reverse),
        None => path.reverse,
    };
    let forward = part(path.forward, answers, chain.to_string(), hops_there);
    let mut parts = vec![forward];
    if let Some(reverse) = path.reverse {
        let mut route = path.route.clone();
        route.reverse();
        route.iter_mut().for_each(|leg| leg.reverse());
        let back: Vec<_> = there.into_iter().rev().collect();
        let hops_back = match clustered {
            true => cluster::hops(node, path, Direction::Reverse),
            false => hops(node, &route, &back, Direction::Reverse, &path.spec.from),
        };
        let affinity = format!("{chain}/return");
        let answers = instead.unwrap_or(Some(path)).map(|path| path.forward);
        let back = part(reverse, answers, affinity, hops_back);
        parts.push(back);
    }
    parts.retain(|part| !part.hops.is_empty());
    parts
}

/// `legs[k]` leads to stop k: function k, and after the last function the egress.
fn hops(
    node: &NodeName,
    legs: &[Vec<NodeName>],
    functions: &[Option<SfName>],
    direction: Direction,
    egress: &End,
) -> Vec<Hop> {
    let hop = |(stop, leg): (usize, &Vec<NodeName>)| {
        let si = FIRST_SI.checked_sub(u8::try_from(stop).ok()?)?;
        let place = leg.iter().position(|passed| passed == node)?;
        let to = match leg.get(place + 1) {
            Some(next) => NextHop::Tunnel {
                name: tunnel_name(next)?,
            },
            None => match functions.get(stop) {
                Some(name) => NextHop::Function {
                    name: name.clone()?,
                    direction,
                },
                None => NextHop::Egress {
                    port: egress.interface.clone(),
                },
            },
        };
        Some(Hop {
            si: Si::new(si).ok()?,
            to,
        })
    };
    legs.iter().enumerate().filter_map(hop).collect()
}

/// Largest inner IP packet; `None` while the path never leaves a box.
pub(super) fn mtu(state: &State, path: &PathRecord) -> Option<u16> {
    let nodes = path.nodes();
    if nodes.len() < 2 {
        return None;
    }
    let records = nodes.iter().filter_map(|node| state.nodes.get(*node));
    let room = records.map(|record| {
        let ipv6 = record.vtep.is_some_and(|vtep| vtep.is_ipv6());
        let overhead = if ipv6 {
            OVERHEAD + IPV6_EXTRA
        } else {
            OVERHEAD
        };
        underlay_mtu(record).saturating_sub(overhead)
    });
    room.min()
}
