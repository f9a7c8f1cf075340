//! LANs that other SFFs are on: next hops of Ethernet tunnels, and our own addresses.

use super::build::Scope;
use super::check;
use super::compiled::{CompiledTunnel, LanHop, PortIndex, Station};
use super::error::{Entry, PortRole, TableError};
use crate::neighbour::nearest;
use kc_forwarder_api::{Backend, Neighbour, PortName, Tables, Tunnel, Vid};
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::IpAddr;

/// A station whose MAC address has to be found out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CompiledNeighbour {
    /// The port on its LAN.
    pub(crate) port: PortIndex,
    /// The LAN's tag, 0 for none.
    pub(crate) vlan: u16,
    /// Its address.
    pub(crate) address: IpAddr,
    /// Our own address that asks for it.
    pub(crate) source: IpAddr,
    /// The first tunnel to it.
    pub(crate) tunnel: u16,
}

/// All LANs of the tables.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lans {
    /// (port, tag) of each: tagged where a tunnel says so, untagged where a tunnel has no tag or
    /// a port has addresses and no tunnel.
    named: FxHashSet<(u16, u16)>,
    /// Ports of any.
    ports: FxHashSet<u16>,
    /// Our own addresses, by port.
    own: FxHashSet<(u16, IpAddr)>,
    numbers: FxHashMap<(u16, u16, IpAddr), u16>,
    /// Stations to be found.
    pub(crate) neighbours: Vec<CompiledNeighbour>,
}

impl Lans {
    /// Whether the frames of a port with this tag, 0 for none, are of a LAN.
    pub(crate) fn has(&self, port: PortIndex, vlan: u16) -> bool {
        self.named.contains(&(port.0, vlan))
    }

    /// The tags of a port's LANs, 0 for none.
    pub(crate) fn tags(&self, port: PortIndex) -> impl Iterator<Item = u16> {
        let named = self.named.iter().filter(move |&&(own, _)| own == port.0);
        named.map(|&(_, tag)| tag)
    }

    /// Whether `address` is our own on `port`.
    pub(crate) fn is_own(&self, port: PortIndex, address: IpAddr) -> bool {
        self.own.contains(&(port.0, address))
    }

    /// The number of a station that the tables name.
    pub(crate) fn number(&self, port: PortIndex, vlan: u16, address: IpAddr) -> Option<u16> {
        self.numbers.get(&(port.0, vlan, address)).copied()
    }

    /// Whether a port is on any LAN.
    pub(crate) fn touches(&self, port: PortIndex) -> bool {
        self.ports.contains(&port.0)
    }

    fn name(&mut self, port: PortIndex, vlan: u16) {
        self.named.insert((port.0, vlan));
        self.ports.insert(port.0);
    }

    /// Takes our own addresses.
    pub(super) fn addresses(tables: &Tables) -> Result<Self, TableError> {
        let mut lans = Self::default();
        for (number, port) in (0..).zip(&tables.ports) {
            for &address in &port.addresses {
                if !check::unicast(address) || !lans.own.insert((number, address)) {
                    return Err(TableError::PortAddress {
                        port: port.name.clone(),
                        address,
                    });
                }
            }
        }
        Ok(lans)
    }

    /// Ports with addresses and without tunnels are untagged LANs. To be called last.
    pub(super) fn complete(
        &mut self,
        tables: &Tables,
        scope: &mut Scope,
    ) -> Result<(), TableError> {
        for (number, port) in (0..).zip(&tables.ports) {
            if port.addresses.is_empty() || self.touches(PortIndex(number)) {
                continue;
            }
            let entry = || Entry::Port(port.name.clone());
            scope.port(&port.name, entry, PortRole::Lan(entry()))?;
            self.name(PortIndex(number), 0);
        }
        Ok(())
    }

    /// Takes tunnel `number`, which leads to `next_hop` by `port`.
    pub(super) fn tunnel(
        &mut self,
        tables: &Tables,
        scope: &mut Scope,
        (number, tunnel): (u16, &Tunnel),
        (port, next_hop, vlan): (&PortName, Neighbour, Option<Vid>),
    ) -> Result<CompiledTunnel, TableError> {
        let entry = || Entry::Tunnel(tunnel.name.to_string());
        let index = scope.port(port, entry, PortRole::Lan(entry()))?;
        let known = tables.ports.get(index.at());
        let is_pnet = known.is_some_and(|known| known.backend == Backend::Pnet);
        if vlan.is_some() && is_pnet {
            let (entry, port) = (entry(), port.clone());
            return Err(TableError::TagHidden { entry, port });
        }
        let vlan = vlan.map_or(0, Vid::get);
        self.name(index, vlan);
        let nobody = || TableError::NextHop {
            entry: entry(),
            next_hop,
        };
        let to = match next_hop {
            Neighbour::Mac(mac) if mac.is_group() || mac.0 == [0; 6] => return Err(nobody()),
            Neighbour::Mac(mac) => Station::Mac(mac.0),
            Neighbour::Ip(address) => {
                if !check::unicast(address) || self.is_own(index, address) {
                    return Err(nobody());
                }
                let own = known.map_or(&[][..], |known| &known.addresses);
                let Some(source) = nearest(own, address) else {
                    return Err(TableError::NoAddress {
                        entry: entry(),
                        port: port.clone(),
                        address,
                    });
                };
                let fresh = u16::try_from(self.neighbours.len()).unwrap_or(u16::MAX);
                let key = (index.0, vlan, address);
                let place = *self.numbers.entry(key).or_insert(fresh);
                if place == fresh {
                    self.neighbours.push(CompiledNeighbour {
                        port: index,
                        vlan,
                        address,
                        source,
                        tunnel: number,
                    });
                }
                Station::Neighbour(place)
            }
        };
        Ok(CompiledTunnel::Lan(LanHop {
            port: index,
            vlan,
            to,
        }))
    }
}
