//! The overlay of services, and of members of clusters that see to their state: one plain-VXLAN segment over all boxes, 10.128.0.0/16 in VNI 1. Box k
//! owns 10.128.k.0/24 and is 10.128.k.1 itself; 10.128.0.0/24 are the services' virtual addresses.
//! Every address is known, so nothing is learned.

use super::scene::Scene;
use super::underlay_mtu;
use super::wiring::{LegKind, box_mac, mac_address, port_name, virtual_mac};
use crate::plan::{Instance, InstanceHealth, NodeRecord, State, can_tunnel};
use crate::resource::{Kind, ResourceId};
use ipnet::IpNet;
use kc_agent_api::{Leg, NodeName};
use kc_forwarder_api::{
    MacAddr, PortName, Segment, StaticEntry, VirtualAddress, VirtualMember, Vni,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

const VNI: u32 = 1;
const PREFIX: u8 = 16;
const BOX_INTERFACE: &str = "kcsvc";
const BOX_PORT: &str = "kcsvc-p";
const SYNC_INTERFACE: &str = "sync";
/// 20 outer IP, 8 UDP, 8 VXLAN, 14 inner Ethernet.
const OVERHEAD: u16 = 50;
/// Seconds after which a learned address is forgotten.
const AGEING_SECONDS: u32 = 300;

/// One MTU for the whole segment, as layer 2 wants it.
fn mtu(state: &State) -> u16 {
    let least = state
        .nodes
        .values()
        .map(|record| underlay_mtu(record))
        .min()
        .unwrap_or(1500);
    least.saturating_sub(OVERHEAD)
}

fn gateway(record: &NodeRecord) -> Option<Ipv4Addr> {
    let third = u8::try_from(record.index).ok()?;
    Some(Ipv4Addr::new(10, 128, third, 1))
}

fn net(address: Ipv4Addr) -> Option<IpNet> {
    IpNet::new(IpAddr::V4(address), PREFIX).ok()
}

/// A replica's interface.
pub(super) fn leg(scene: &Scene<'_>, node: &NodeName, instance: &Instance) -> Option<Leg> {
    let record = scene.state.nodes.get(node)?;
    let virtual_address = scene.state.virtual_address(&instance.owner);
    Some(Leg {
        interface: PortName::new("eth0").ok()?,
        port: port_name(instance.id, LegKind::Only)?,
        mac: mac(instance),
        addresses: vec![net(instance.address?)?],
        virtual_addresses: virtual_address.into_iter().collect(),
        gateway: gateway(record).map(IpAddr::V4),
        mtu: scene.overlay_mtu(mtu),
    })
}

/// The interface that a member of clusters has for its peers.
pub(super) fn sync_leg(scene: &Scene<'_>, instance: &Instance) -> Option<Leg> {
    Some(Leg {
        interface: PortName::new(SYNC_INTERFACE).ok()?,
        port: port_name(instance.id, LegKind::Sync)?,
        mac: mac(instance),
        addresses: vec![net(instance.address?)?],
        virtual_addresses: Vec::new(),
        gateway: None,
        mtu: scene.overlay_mtu(mtu),
    })
}

/// The box's own interface into the overlay.
pub(super) fn host_leg(scene: &Scene<'_>, node: &NodeName) -> Option<Leg> {
    let record = scene.state.nodes.get(node).filter(|_| scene.has_overlay)?;
    Some(Leg {
        interface: PortName::new(BOX_INTERFACE).ok()?,
        port: PortName::new(BOX_PORT).ok()?,
        mac: box_mac(record.index),
        addresses: vec![net(gateway(record)?)?],
        virtual_addresses: Vec::new(),
        gateway: None,
        mtu: scene.overlay_mtu(mtu),
    })
}

/// Whether a box has a part of the overlay.
pub(crate) fn is_in_overlay(record: &NodeRecord) -> bool {
    gateway(record).is_some()
}

/// The box's part of the segment.
pub(super) fn segment(scene: &Scene<'_>, node: &NodeName) -> Option<Segment> {
    let state = scene.state;
    let record = state.nodes.get(node).filter(|_| scene.has_overlay)?;
    let host = host_leg(scene, node)?;
    let mut ports = vec![host.port];
    let mut entries = Vec::new();
    for (other, there) in &state.nodes {
        let peer = there.vtep.filter(|_| can_tunnel(record, there));
        if let (true, Some(peer)) = (gateway(there).is_some() && other != node, peer) {
            let mac = box_mac(there.index);
            entries.push(StaticEntry::Remote { mac, peer });
        }
        let there = scene.instances(other).iter();
        let replicas = there.filter(|(_, replica)| replica.address.is_some());
        for (_, replica) in replicas {
            let mac = mac(replica);
            if other == node {
                let port = port_name(replica.id, leg_of(replica))?;
                ports.push(port.clone());
                entries.push(StaticEntry::Local { mac, port });
            } else if let Some(peer) = peer {
                entries.push(StaticEntry::Remote { mac, peer });
            }
        }
    }
    entries.push(StaticEntry::Local {
        mac: host.mac,
        port: PortName::new(BOX_PORT).ok()?,
    });
    let virtuals = virtuals(scene, &entries);
    let others = state.nodes.iter().filter(|(other, _)| *other != node);
    let peers = others.filter(|(_, there)| can_tunnel(record, there));
    Some(Segment {
        vni: Vni::new(VNI).ok()?,
        ports,
        peers: peers.filter_map(|(_, there)| there.vtep).collect(),
        entries,
        ageing_seconds: AGEING_SECONDS,
        bum_per_second: Segment::BUM_PER_SECOND,
        virtuals,
    })
}

/// MAC address of a replica.
pub(crate) fn mac(replica: &Instance) -> MacAddr {
    mac_address(replica.id, leg_of(replica))
}

/// The leg that a replica has in the overlay.
fn leg_of(replica: &Instance) -> LegKind {
    match replica.owner.kind {
        Kind::ServiceFunction => LegKind::Sync,
        _ => LegKind::Only,
    }
}

/// Virtual addresses of all services, with those replicas that run and whose place is known here.
fn virtuals(scene: &Scene<'_>, entries: &[StaticEntry]) -> Vec<VirtualAddress> {
    let state = scene.state;
    let known: BTreeSet<MacAddr> = entries
        .iter()
        .map(|entry| match entry {
            StaticEntry::Local { mac, .. } | StaticEntry::Remote { mac, .. } => *mac,
        })
        .collect();
    let mut members: BTreeMap<&ResourceId, Vec<VirtualMember>> = BTreeMap::new();
    for &(name, replica) in &scene.replicas {
        let owner = &replica.owner;
        // What is changed right now may still be called running, as it was before.
        let changing = state.in_turn(name, owner) && !state.gives_way(name, owner);
        let serves = replica.health == InstanceHealth::Running && !changing;
        if serves && known.contains(&mac(replica)) {
            members.entry(owner).or_default().push(VirtualMember {
                mac: mac(replica),
                draining: replica.draining_ms.is_some(),
            });
        }
    }
    let services = state.of_kind(Kind::Service).chain(&state.retired);
    let mut virtuals: Vec<_> = services
        .filter_map(|(id, _)| {
            let address = state.virtual_address(id)?;
            Some(VirtualAddress {
                address,
                mac: virtual_mac(address),
                members: members.remove(id).unwrap_or_default(),
            })
        })
        .collect();
    virtuals.sort_by_key(|virtual_address| virtual_address.address);
    virtuals
}
