//! What the kernel's tables need to know of the machine: interfaces, routes, stations. It changes
//! under one generation of tables.

use super::layout::{self, DOOR, VIA, Wrap, door, via};
use super::plan::{Out, Plan, To};
use crate::tables::{Compiled, Leg, PortIndex, Role};
use rustc_hash::FxHashMap;
use std::fmt;
use std::net::IpAddr;

/// What an interface does for XDP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interface {
    /// Its name.
    pub(crate) name: String,
    /// Its index.
    pub(crate) index: u32,
    /// Its address.
    pub(crate) mac: [u8; 6],
    /// Largest IP packet.
    pub(crate) mtu: u16,
    /// Whether it takes redirected frames from other interfaces in native mode.
    pub(crate) takes_frames: bool,
    /// Whether these may be in several buffers.
    pub(crate) takes_fragments: bool,
    /// Whether it sends back what it brought, in native mode.
    pub(crate) sends_back: bool,
    /// Whether the program may get frames without the tag that they came with.
    pub(crate) hides_tags: bool,
}

/// Where the underlay's routes lead to, as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Route {
    /// The interface.
    pub(crate) ifindex: u32,
    /// MAC address of the next hop.
    pub(crate) mac: [u8; 6],
    /// Largest IP packet.
    pub(crate) mtu: u16,
}

/// Everything that changes without new tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Scene {
    /// Interfaces of ports that are up, by port.
    pub(crate) ports: Vec<Option<Interface>>,
    /// Interfaces that the underlay comes in by.
    pub(crate) underlay: Vec<Interface>,
    /// To remote VTEPs.
    pub(crate) routes: FxHashMap<IpAddr, Route>,
    /// Stations that neighbour discovery knows, by number.
    pub(crate) neighbours: Vec<Option<[u8; 6]>>,
}

/// Why an interface is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// Frames might belong to a VLAN and would be taken as if they did not.
    HiddenTags,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::HiddenTags => {
                "VLAN tags are taken out before the program sees frames; ethtool -K … rxvlan off \
                 (of a veth, also txvlan off at its other end)"
            }
        })
    }
}

/// An interface that the program is to be attached to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Door {
    /// The interface.
    pub(crate) interface: Interface,
    /// What it may bring, of [`door`](mod@door).
    pub(crate) flags: u16,
    /// The port it is, for LANs and legs.
    pub(crate) port: Option<PortIndex>,
    /// Why it is not used after all.
    pub(crate) unfit: Option<Unfit>,
    /// An interface that would take no frames from this one in native mode.
    pub(crate) refuses: Option<String>,
}

impl Scene {
    /// The interfaces that the program belongs on.
    pub(crate) fn doors(&self, tables: &Compiled) -> Vec<Door> {
        let mut doors: Vec<Door> = Vec::new();
        let mut add = |interface: &Interface, flag: u16, port: Option<PortIndex>| {
            let known = doors
                .iter_mut()
                .find(|door| door.interface.index == interface.index);
            match known {
                Some(known) => {
                    known.flags |= flag;
                    known.port = known.port.or(port);
                }
                None => doors.push(Door {
                    interface: interface.clone(),
                    flags: flag,
                    port,
                    unfit: None,
                    refuses: None,
                }),
            }
        };
        for interface in &self.underlay {
            add(interface, door::UNDERLAY, None);
        }
        for (port, interface) in (0..).map(PortIndex).zip(&self.ports) {
            let (Some(interface), Some(known)) = (interface, tables.ports.get(port.at())) else {
                continue;
            };
            match known.role {
                Role::Access if known.lan => add(interface, door::LAN, Some(port)),
                Role::Leg(_, Leg::Aware) => add(interface, door::LEG, Some(port)),
                _ => {}
            }
        }
        let deaf = doors.iter().map(|door| &door.interface);
        let deaf: Vec<_> = deaf.filter(|own| !own.takes_frames).cloned().collect();
        for door in &mut doors {
            let own = &door.interface;
            let mut others = deaf
                .iter()
                .filter(|other| other.index != own.index || !own.sends_back);
            door.refuses = others.next().map(|other| other.name.clone());
            // A LAN's tag says which LAN it is.
            if own.hides_tags && door.flags & door::LAN != 0 {
                door.unfit = Some(Unfit::HiddenTags);
            }
        }
        doors
    }

    /// The next hop of a way out; `None` while it is not known.
    pub(crate) fn via(&self, out: &Out) -> Option<[u32; VIA]> {
        let port = |port: PortIndex| self.ports.get(port.at()).and_then(Option::as_ref);
        let (interface, mac, mtu) = match out.to {
            To::Vtep(remote) => {
                let route = self.routes.get(&remote)?;
                let known = self
                    .interfaces()
                    .find(|known| known.index == route.ifindex)?;
                (known, route.mac, route.mtu)
            }
            To::Neighbour(at, number) => {
                let interface = port(at)?;
                let mac = self
                    .neighbours
                    .get(usize::from(number))
                    .copied()
                    .flatten()?;
                (interface, mac, interface.mtu)
            }
            To::Mac(at, mac) => {
                let interface = port(at)?;
                (interface, mac, interface.mtu)
            }
        };
        let flags = [
            (interface.takes_frames, via::REDIRECT),
            (interface.takes_fragments, via::FRAGMENTS),
            (interface.sends_back, via::BACK),
        ];
        let flags = flags.into_iter().filter(|(has, _)| *has);
        let flags = flags.map(|(_, flag)| flag).sum();
        Some(layout::via(mac, interface.mac, interface.index, mtu, flags))
    }

    fn interfaces(&self) -> impl Iterator<Item = &Interface> {
        self.underlay.iter().chain(self.ports.iter().flatten())
    }
}

impl Door {
    /// Its record, for a program that is attached in native or `generic` mode.
    pub(crate) fn record(&self, plan: &Plan, generic: bool) -> [u32; DOOR] {
        let flags = if generic {
            self.flags | door::GENERIC
        } else {
            self.flags
        };
        let at = self.port.map_or(0, |port| plan.in_of_port(port));
        let at = u32::try_from(at).unwrap_or(u32::MAX);
        let port = self.port.map_or(u16::MAX, |port| port.0);
        let own = &self.interface;
        layout::door(own.index, flags, port, at, own.mac)
    }
}

/// Whether a way out is one over UDP.
pub(crate) fn is_gpe(out: &Out) -> bool {
    matches!(out.wrap, Wrap::Gpe { .. })
}
