//! What tables name, in lists that a parameter of a step can choose from. Without them a fuzzer
//! would have to guess addresses and numbers, and most frames would end at the front door.

use kc_forwarder::pipeline::{Compiled, PortIndex};
use kc_forwarder_api::{Attachment, PortName, Si, Spi, Transport};
use std::net::IpAddr;

/// By which an NSH may come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayIn {
    /// In VXLAN-GPE.
    Gpe { remote: IpAddr, vni: u32 },
    /// In Ethernet, from another SFF or a function that knows NSH.
    Ethernet { port: PortIndex, vlan: Option<u16> },
}

/// See the module's documentation. Every list has something in it.
#[derive(Debug, Clone)]
pub(crate) struct Places {
    pub(crate) ports: u16,
    /// Hops of all paths, and one that does not exist.
    pub(crate) hops: Vec<(Spi, Si)>,
    pub(crate) ways: Vec<WayIn>,
    /// VTEPs of tunnels and segments, and one that nobody named.
    pub(crate) remotes: Vec<IpAddr>,
    /// Peers of segments with their VNI, and nobody's.
    pub(crate) peers: Vec<(IpAddr, u32)>,
    /// By port: where a frame comes out that went in there, for legs of functions.
    pub(crate) opposite: Vec<PortIndex>,
}

const STRANGER: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(203, 0, 113, 77));

/// The one of `list` that `number` chooses.
pub(crate) fn chosen<T: Copy>(list: &[T], number: u8) -> T {
    list[usize::from(number) % list.len()]
}

impl Places {
    pub(crate) fn of(compiled: &Compiled) -> Self {
        let tables = compiled.tables();
        let index = |name: &PortName| compiled.port_index(name).unwrap();
        let count = u16::try_from(tables.ports.len()).unwrap();
        let mut places = Self {
            ports: count,
            hops: Vec::new(),
            ways: Vec::new(),
            remotes: Vec::new(),
            peers: Vec::new(),
            opposite: (0..count).map(PortIndex).collect(),
        };
        for path in &tables.paths {
            let hops = path.hops.iter().map(|hop| (path.spi, hop.si));
            places.hops.extend(hops);
        }
        places.hops.push((Spi::MAX, Si::MIN));
        for tunnel in &tables.tunnels {
            places.ways.push(match &tunnel.transport {
                Transport::VxlanGpe { remote, vni, .. } => {
                    places.remotes.push(*remote);
                    let (remote, vni) = (*remote, vni.get());
                    WayIn::Gpe { remote, vni }
                }
                Transport::Ethernet { port, vlan, .. } => WayIn::Ethernet {
                    port: index(port),
                    vlan: vlan.map(|vlan| vlan.get()),
                },
            });
        }
        for function in &tables.functions {
            match &function.attachment {
                Attachment::TwoLeg {
                    inside, outside, ..
                } => {
                    let (inside, outside) = (index(inside), index(outside));
                    places.opposite[usize::from(inside.0)] = outside;
                    places.opposite[usize::from(outside.0)] = inside;
                }
                Attachment::NshAware { port, vlan, .. } => places.ways.push(WayIn::Ethernet {
                    port: index(port),
                    vlan: vlan.map(|vlan| vlan.get()),
                }),
                Attachment::VlanPair { .. } | Attachment::OneLeg { .. } => {}
            }
        }
        places.ways.push(WayIn::Gpe {
            remote: STRANGER,
            vni: 100,
        });
        for segment in &tables.segments {
            let vni = segment.vni.get();
            places.remotes.extend(&segment.peers);
            let peers = segment.peers.iter().map(|&peer| (peer, vni));
            places.peers.extend(peers);
        }
        places.remotes.push(STRANGER);
        places.peers.push((STRANGER, 7));
        places
    }
}
