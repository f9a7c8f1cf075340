//! Virtual addresses of a segment: who serves each, and where they are.

use super::compiled::{CompiledTunnel, Location};
use super::error::{Entry, Kind, TableError};
use crate::group::{Share, Spread};
use kc_forwarder_api::{Segment, VirtualAddress};
use rustc_hash::FxHashMap;
use std::net::{IpAddr, Ipv4Addr};

/// Who serves a virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct VirtualPlace {
    /// Its MAC address.
    pub(crate) mac: [u8; 6],
    /// Where it is.
    pub(crate) location: Location,
    /// A tunnel to its box: when that is dead, so is everything there.
    pub(crate) tunnel: Option<u16>,
    /// Whether it gets no new flows.
    pub(crate) draining: bool,
}

/// A virtual address.
#[derive(Debug, Clone)]
pub(crate) struct CompiledVirtual {
    /// The address.
    pub(crate) address: Ipv4Addr,
    /// The MAC address it is told under.
    pub(crate) mac: [u8; 6],
    /// In table order.
    pub(crate) members: Vec<VirtualPlace>,
    /// Who gets which new flows.
    pub(crate) spread: Spread,
    places: FxHashMap<[u8; 6], usize>,
}

impl CompiledVirtual {
    /// The member with this MAC address.
    pub(crate) fn member(&self, mac: [u8; 6]) -> Option<&VirtualPlace> {
        self.members.get(*self.places.get(&mac)?)
    }
}

/// All virtual addresses of a segment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Virtuals {
    /// In table order.
    pub(crate) all: Vec<CompiledVirtual>,
    by_mac: FxHashMap<[u8; 6], usize>,
    by_address: FxHashMap<Ipv4Addr, usize>,
}

impl Virtuals {
    /// The one that frames to this MAC address are for.
    pub(crate) fn of_mac(&self, mac: [u8; 6]) -> Option<&CompiledVirtual> {
        self.all.get(*self.by_mac.get(&mac)?)
    }

    /// The one of this address.
    pub(crate) fn of_address(&self, address: Ipv4Addr) -> Option<&CompiledVirtual> {
        self.all.get(*self.by_address.get(&address)?)
    }
}

/// Compiles those of `segment`, whose entries and peers are known; nothing where it has none.
pub(super) fn build(
    segment: &Segment,
    entries: &[([u8; 6], Location)],
    peers: &[IpAddr],
    tunnels: &[CompiledTunnel],
) -> Result<Option<Box<Virtuals>>, TableError> {
    if segment.virtuals.is_empty() {
        return Ok(None);
    }
    let known: FxHashMap<[u8; 6], Location> = entries.iter().copied().collect();
    let mut ways: FxHashMap<IpAddr, u16> = FxHashMap::default();
    for (number, tunnel) in (0..).zip(tunnels) {
        if let CompiledTunnel::Gpe { remote, .. } = tunnel {
            ways.entry(remote.ip()).or_insert(number);
        }
    }
    let way = |location: Location| match location {
        Location::Port(_) => None,
        Location::Peer(peer) => ways.get(peers.get(usize::from(peer))?).copied(),
    };
    let mut virtuals = Virtuals::default();
    for (place, given) in segment.virtuals.iter().enumerate() {
        let compiled = compile(segment, given, &known, way)?;
        if virtuals.by_address.insert(given.address, place).is_some() {
            return Err(TableError::Duplicate {
                kind: Kind::VirtualAddress,
                name: given.address.to_string(),
            });
        }
        let shared = virtuals.by_mac.insert(given.mac.0, place).is_some();
        if shared || known.contains_key(&given.mac.0) {
            return Err(TableError::VirtualMac {
                entry: Entry::Segment(segment.vni),
                address: given.address,
                mac: given.mac,
            });
        }
        virtuals.all.push(compiled);
    }
    Ok(Some(Box::new(virtuals)))
}

fn compile(
    segment: &Segment,
    given: &VirtualAddress,
    known: &FxHashMap<[u8; 6], Location>,
    way: impl Fn(Location) -> Option<u16>,
) -> Result<CompiledVirtual, TableError> {
    let (entry, address) = (|| Entry::Segment(segment.vni), given.address);
    let stations = !(address.is_unspecified() || address.is_multicast() || address.is_broadcast());
    if !stations || address.is_loopback() {
        let entry = entry();
        return Err(TableError::VirtualAddress { entry, address });
    }
    if given.mac.is_group() {
        let (entry, mac) = (entry(), given.mac);
        return Err(TableError::GroupMac { entry, mac });
    }
    let mut members = Vec::with_capacity(given.members.len());
    let mut places = FxHashMap::default();
    for (place, member) in given.members.iter().enumerate() {
        let mac = member.mac;
        let Some(&location) = known.get(&mac.0) else {
            let entry = entry();
            return Err(TableError::PlacelessMember {
                entry,
                address,
                mac,
            });
        };
        if places.insert(mac.0, place).is_some() {
            return Err(TableError::Duplicate {
                kind: Kind::VirtualMember,
                name: mac.to_string(),
            });
        }
        members.push(VirtualPlace {
            mac: mac.0,
            location,
            tunnel: way(location),
            draining: member.draining,
        });
    }
    let keys: Vec<String> = given.members.iter().map(|m| m.mac.to_string()).collect();
    let spread = Spread::unranked(keys.iter().map(|key| Share {
        key,
        weight: 1,
        backup: false,
    }));
    Ok(CompiledVirtual {
        address,
        mac: given.mac.0,
        members,
        spread,
        places,
    })
}
