//! Turns the planner's state into one document per node: containers, wiring, and the whole
//! forwarder table. Pure and deterministic; generations are left 0 for the planner to fill in.

mod classify;
mod container;
mod overlay;
mod path;
mod seal;
mod wiring;

pub(crate) use overlay::{is_in_overlay, mac as overlay_mac};
pub use wiring::{LegKind, mac_address, port_name};

use crate::plan::{NodeRecord, State, can_tunnel};
use crate::resource::{Resource, ServiceNetwork, ServiceSpec};
use crate::shared::Shared;
use kc_agent_api::{NodeName, NodeSpec};
use kc_forwarder_api::{
    Liveness, Port, PortName, SffName, Tables, Transport, Tunnel, TunnelName, Underlay, Vni,
};
use std::collections::{BTreeMap, BTreeSet};

/// VNI of the tunnels between SFFs.
const GPE_VNI: u32 = 100;

/// Smallest underlay MTU that is believed.
const MIN_UNDERLAY_MTU: u16 = 576;

/// What is assumed of a box that reports less.
const ETHERNET_MTU: u16 = 1500;

/// The document of every registered node.
pub fn documents(state: &State) -> BTreeMap<NodeName, NodeSpec> {
    let render = |(name, record): (&NodeName, &Shared<NodeRecord>)| {
        let (containers, functions) = container::containers(state, name, record);
        let segment = overlay::segment(state, name);
        let mut tables = Tables {
            generation: 0,
            name: SffName::new(name.as_str()).ok(),
            underlay: record.vtep.map(|address| Underlay {
                mtu: underlay_mtu(record),
                ..Underlay::at(address)
            }),
            ports: Vec::new(),
            tunnels: tunnels(state, name, record),
            functions,
            groups: Vec::new(),
            rules: classify::rules(state, name),
            paths: path::paths(state, name),
            segments: segment.into_iter().collect(),
            ..Tables::default()
        };
        tables.ports = ports(state, name, &tables);
        let document = NodeSpec {
            generation: 0,
            containers,
            host_legs: overlay::host_leg(state, name).into_iter().collect(),
            forwarder: tables,
            load_interval_s: 1,
        };
        (name.clone(), document)
    };
    state.nodes.iter().map(render).collect()
}

fn underlay_mtu(record: &NodeRecord) -> u16 {
    match record.underlay_mtu {
        mtu if mtu >= MIN_UNDERLAY_MTU => mtu,
        _ => ETHERNET_MTU,
    }
}

/// The way to every other SFF, needed or not: a new path then changes no tunnel.
fn tunnels(state: &State, name: &NodeName, record: &NodeRecord) -> Vec<Tunnel> {
    let others = state.nodes.iter().filter(|(other, _)| *other != name);
    others
        .filter(|(_, other)| can_tunnel(record, other))
        .filter_map(|(other, record)| {
            Some(Tunnel {
                name: tunnel_name(other)?,
                transport: Transport::gpe(record.vtep?, Vni::new(GPE_VNI).ok()?),
                liveness: Some(Liveness::default()),
            })
        })
        .collect()
}

/// Tunnels are named after the node they lead to.
fn tunnel_name(node: &NodeName) -> Option<TunnelName> {
    TunnelName::new(node.as_str()).ok()
}

/// Every port that the rest of the table speaks of.
fn ports(state: &State, name: &NodeName, tables: &Tables) -> Vec<Port> {
    let mut names: BTreeSet<PortName> = wiring::function_ports(&tables.functions);
    names.extend(
        tables
            .segments
            .iter()
            .flat_map(|segment| segment.ports.iter().cloned()),
    );
    names.extend(path::end_ports(state, name));
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

/// Whether any service wants the overlay; then every node is part of it.
fn has_overlay(state: &State) -> bool {
    let on_overlay = |spec: &ServiceSpec| spec.network == ServiceNetwork::Overlay;
    let owners = state.resources.values().chain(state.retired.values());
    owners.into_iter().any(|resource| match resource {
        Resource::Service(object) => on_overlay(&object.spec),
        _ => false,
    })
}
