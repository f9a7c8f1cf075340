//! What of the tables the kernel may do: every hop has a way out there, or a reason why not.

use super::layout::{self, HOP, LAN, REMOTE, Wrap};
use super::slots::Slots;
use crate::tables::steering::Hop;
use crate::tables::{Compiled, CompiledTunnel, PortIndex, Station, Tagging, Target, Wiring};
use kc_forwarder_api::{Direction, Underlay};
use rustc_hash::FxHashMap;
use std::fmt;
use std::net::IpAddr;

/// Why packets at a hop are left to user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Why {
    /// The path ends here.
    EndOfPath,
    /// The function knows no NSH: its proxy has to remember the header.
    Proxy,
    /// The hop leads to a group.
    Group,
    /// A group of the return path has to know where packets came from.
    Teaches,
    /// No place for it near its home in the kernel's table.
    Crowded,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::EndOfPath => "the path ends here",
            Self::Proxy => "the function knows no NSH",
            Self::Group => "the next hop is a group",
            Self::Teaches => "a group of the return path learns from it",
            Self::Crowded => "no room in the kernel's table",
        })
    }
}

/// Who a packet goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// A VTEP, by the underlay's routes.
    Vtep(IpAddr),
    /// A station that neighbour discovery knows, by its number, on the LAN of a port.
    Neighbour(PortIndex, u16),
    /// A station by its MAC address, or a function, behind a port.
    Mac(PortIndex, [u8; 6]),
}

/// A way out of this SFF: a tunnel, or the leg of a function that knows NSH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Out {
    /// How packets are wrapped.
    pub(crate) wrap: Wrap,
    /// Who they go to.
    pub(crate) to: To,
}

/// Tables for the kernel that do not change under one generation.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// By (SPI, SI).
    pub(crate) hops: Slots<HOP>,
    /// By remote VTEP and VNI.
    pub(crate) remotes: Slots<REMOTE>,
    /// By port and tag.
    pub(crate) lans: Slots<LAN>,
    /// Number of a LAN by port and tag.
    pub(crate) lan_numbers: FxHashMap<(u16, u16), u16>,
    /// Tunnels, then functions; `None` for what the kernel sends nothing to.
    pub(crate) outs: Vec<Option<Out>>,
    /// How many of `outs` are tunnels.
    pub(crate) tunnels: usize,
    /// How many ports there are.
    pub(crate) ports: usize,
    /// How many hops are counted.
    pub(crate) counted: usize,
    /// How many hops the kernel may do.
    pub(crate) taken: usize,
    /// How many are left to user space, by reason.
    pub(crate) left: Vec<(Why, usize)>,
    /// Our own end of tunnels over UDP.
    pub(crate) underlay: Option<Underlay>,
}

impl Plan {
    /// Sorts out what of `tables` the kernel may do.
    pub(crate) fn new(tables: &Compiled) -> Self {
        let outs = outs(tables);
        let mut left: FxHashMap<Why, usize> = FxHashMap::default();
        let mut records = Vec::with_capacity(tables.steering.len());
        for hop in tables.steering.iter() {
            match way(tables, hop) {
                Ok(out) => records.push(layout::hop(hop.key, hop.number, out)),
                Err(why) => *left.entry(why).or_default() += 1,
            }
        }
        let hops = Slots::build(&records, |bits, record| bits.home(record[0]));
        if hops.left_out > 0 {
            left.insert(Why::Crowded, hops.left_out);
        }
        let remotes = tables.gpe_remotes.iter();
        let remotes: Vec<_> = remotes
            .map(|(&(remote, vni), &tunnel)| layout::remote(remote, vni, tunnel))
            .collect();
        let lan_numbers = lans(tables);
        let lans: Vec<_> = lan_numbers
            .iter()
            .map(|(&(port, tag), &number)| [layout::lan_key(port, tag), u32::from(number)])
            .collect();
        let mut left: Vec<_> = left.into_iter().collect();
        left.sort_unstable();
        Self {
            taken: records.len() - hops.left_out,
            hops,
            remotes: Slots::build(&remotes, |bits, record| {
                bits.home_of_wide(layout::remote_key(record))
            }),
            lans: Slots::build(&lans, |bits, record| bits.home(record[0])),
            lan_numbers,
            outs,
            tunnels: tables.tunnels.len(),
            ports: tables.ports.len(),
            counted: tables.steering.len(),
            left,
            underlay: tables.tables().underlay.clone(),
        }
    }

    /// Counters of packets that came in: by tunnel, then by port for those without one.
    pub(crate) fn ins(&self) -> usize {
        self.tunnels + self.ports
    }

    /// Where what a port brings is counted, as far as no tunnel is known for it.
    pub(crate) fn in_of_port(&self, port: PortIndex) -> usize {
        self.tunnels + port.at()
    }

    /// All counters of one CPU.
    pub(crate) fn counters(&self) -> usize {
        self.counted + self.ins() + self.outs.len()
    }
}

/// The way out at a hop.
fn way(tables: &Compiled, hop: &Hop) -> Result<u32, Why> {
    if hop.teaches {
        return Err(Why::Teaches);
    }
    let tunnels = u32::try_from(tables.tunnels.len()).unwrap_or(u32::MAX);
    match hop.target {
        Target::Tunnel(number) => Ok(number.into()),
        Target::Function(number, _) => {
            let function = tables.functions.get(usize::from(number));
            match function.map(|function| function.wiring) {
                Some(Wiring::NshAware { .. }) => Ok(tunnels + u32::from(number)),
                _ => Err(Why::Proxy),
            }
        }
        Target::Group(..) => Err(Why::Group),
        Target::Egress(_) | Target::Segment(_) => Err(Why::EndOfPath),
    }
}

fn outs(tables: &Compiled) -> Vec<Option<Out>> {
    let tunnels = tables.tunnels.iter().map(|tunnel| match *tunnel {
        CompiledTunnel::Gpe { remote, vni } => Some(Out {
            wrap: Wrap::Gpe { remote, vni },
            to: To::Vtep(remote.ip()),
        }),
        CompiledTunnel::Lan(hop) => Some(Out {
            wrap: Wrap::Ethernet { tag: hop.vlan },
            to: match hop.to {
                Station::Mac(mac) => To::Mac(hop.port, mac),
                Station::Neighbour(number) => To::Neighbour(hop.port, number),
            },
        }),
    });
    let functions = tables.functions.iter().map(|function| {
        let Wiring::NshAware { mac, .. } = function.wiring else {
            return None;
        };
        let leg = function.wiring.entrance(Direction::Forward);
        let tag = match leg.tagging {
            Tagging::Open | Tagging::Untagged => 0,
            Tagging::Vlan(vid) => vid.get(),
        };
        Some(Out {
            wrap: Wrap::Ethernet { tag },
            to: To::Mac(leg.port, mac),
        })
    });
    tunnels.chain(functions).collect()
}

/// Numbers, from one, for the LANs that tunnels name.
fn lans(tables: &Compiled) -> FxHashMap<(u16, u16), u16> {
    let ports = (0..).map(PortIndex).take(tables.ports.len());
    let named = ports.flat_map(|port| tables.lans.tags(port).map(move |tag| (port.0, tag)));
    let mut named: Vec<_> = named.collect();
    named.sort_unstable();
    named.into_iter().zip(1..).collect()
}
