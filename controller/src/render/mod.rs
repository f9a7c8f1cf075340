//! Turns the planner's state into one document per node: containers, wiring, and the whole
//! forwarder table. Pure and deterministic; generations are left 0 for the planner to fill in.

mod classify;
mod cluster;
mod container;
mod mend;
mod overlay;
mod path;
mod scene;
mod seal;
mod touched;
mod wiring;

pub(crate) use overlay::{is_in_overlay, mac as overlay_mac};
pub use touched::touched;
pub use wiring::{LegKind, mac_address, port_name};

use crate::plan::{NodeRecord, State, can_tunnel};
use kc_agent_api::{NodeName, NodeSpec};
use kc_forwarder_api::{
    Liveness, Port, PortName, SffName, Tables, Transport, Tunnel, TunnelName, Underlay, Vni,
};
use scene::Scene;
use std::collections::{BTreeMap, BTreeSet};

/// VNI of the tunnels between SFFs.
const GPE_VNI: u32 = 100;

/// Smallest underlay MTU that is believed.
const MIN_UNDERLAY_MTU: u16 = 576;

/// What is assumed of a box that reports less.
const ETHERNET_MTU: u16 = 1500;

/// Clusters of so many nodes are a full mesh of tunnels: a new path then changes none, and every link is
/// watched before it is needed. In larger ones tunnels are where paths are.
const MESH: usize = 64;

/// The documents of all registered nodes, or of those in `only`.
pub fn documents(state: &State, only: Option<&BTreeSet<NodeName>>) -> BTreeMap<NodeName, NodeSpec> {
    let scene = Scene::new(state, only);
    let nodes = state.nodes.iter();
    let wanted = nodes.filter(|(name, _)| only.is_none_or(|only| only.contains(*name)));
    wanted
        .map(|(name, record)| (name.clone(), document(&scene, name, record)))
        .collect()
}

fn document(scene: &Scene<'_>, name: &NodeName, record: &NodeRecord) -> NodeSpec {
    let (containers, functions) = container::containers(scene, name, record);
    let segment = overlay::segment(scene, name);
    let mut tables = Tables {
        generation: 0,
        name: SffName::new(name.as_str()).ok(),
        underlay: record.vtep.map(|address| Underlay {
            mtu: underlay_mtu(record),
            ..Underlay::at(address)
        }),
        ports: Vec::new(),
        tunnels: tunnels(scene, name, record),
        functions,
        groups: Vec::new(),
        rules: classify::rules(scene, name),
        paths: path::paths(scene, name),
        segments: segment.into_iter().collect(),
        ..Tables::default()
    };
    tables.ports = ports(scene, name, &tables);
    tables.groups = cluster::groups(scene, name, &tables.paths);
    mend::mend(&mut tables);
    NodeSpec {
        generation: 0,
        containers,
        host_legs: overlay::host_leg(scene, name).into_iter().collect(),
        forwarder: tables,
        load_interval_s: 1,
    }
}

fn underlay_mtu(record: &NodeRecord) -> u16 {
    match record.underlay_mtu {
        mtu if mtu >= MIN_UNDERLAY_MTU => mtu,
        _ => ETHERNET_MTU,
    }
}

/// The ways to other SFFs.
fn tunnels(scene: &Scene<'_>, name: &NodeName, record: &NodeRecord) -> Vec<Tunnel> {
    let nodes = &scene.state.nodes;
    let tunnel = |other: &NodeName| {
        let there = nodes.get(other).filter(|there| can_tunnel(record, there))?;
        Some(Tunnel {
            name: tunnel_name(other)?,
            transport: Transport::gpe(there.vtep?, Vni::new(GPE_VNI).ok()?),
            liveness: Some(Liveness::default()),
        })
    };
    match scene.peers(name) {
        Some(peers) => peers.into_iter().filter_map(tunnel).collect(),
        None => {
            let others = nodes.keys().filter(|other| *other != name);
            others.filter_map(tunnel).collect()
        }
    }
}

/// Tunnels are named after the node they lead to.
fn tunnel_name(node: &NodeName) -> Option<TunnelName> {
    TunnelName::new(node.as_str()).ok()
}

/// Every port that the rest of the table speaks of.
fn ports(scene: &Scene<'_>, name: &NodeName, tables: &Tables) -> Vec<Port> {
    let mut names: BTreeSet<PortName> = wiring::function_ports(&tables.functions);
    names.extend(
        tables
            .segments
            .iter()
            .flat_map(|segment| segment.ports.iter().cloned()),
    );
    names.extend(path::end_ports(scene, name));
    names
        .into_iter()
        .map(|name| Port {
            name,
            interface: None,
            backend: kc_forwarder_api::Backend::default(),
            mtu: None,
            addresses: Vec::new(),
        })
        .collect()
}
