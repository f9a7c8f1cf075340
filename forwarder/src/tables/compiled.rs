//! Tables with every name resolved. What a packet needs is a number away.

use super::build;
use super::error::TableError;
use super::groups::{CompiledGroup, Pair};
use super::heritage::Heritage;
use super::lan::Lans;
use super::names::Names;
use super::steering::{Hop, Steering};
use super::virtuals::Virtuals;
use crate::classifier::Classifier;
use crate::health::Subject;
use crate::proxy::Held;
use kc_forwarder_api::{
    Direction, MemberTarget, Port, PortName, SfName, Tables, TunnelName, Vid, Vni,
};
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::{IpAddr, SocketAddr};

/// A port's place in [`Tables::ports`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortIndex(pub u16);

impl PortIndex {
    /// As an index into per-port arrays.
    pub(crate) fn at(self) -> usize {
        usize::from(self.0)
    }
}

/// Which side of a function a port is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Leg {
    /// Towards the start of a forward path.
    Inside,
    /// Towards the end of a forward path.
    Outside,
    /// The only leg of a function that knows no NSH.
    Only,
    /// The only leg of a function that does.
    Aware,
}

/// What frames from a port are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// Traffic to classify.
    Access,
    /// Traffic that comes back from a function.
    Leg(u16, Leg),
    /// Traffic that comes back from functions, told apart by VLAN; a place in
    /// [`Compiled::trunks`].
    Trunk(u16),
}

/// Whose legs share a port.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trunk {
    /// Who gets frames without a tag.
    pub(crate) untagged: Option<(u16, Leg)>,
    /// Who has which VLAN.
    pub(crate) tagged: FxHashMap<u16, (u16, Leg)>,
}

/// How a leg's frames are told from others on the same port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tagging {
    /// Nobody else is there: any tag is the frame's own.
    Open,
    /// They have no tag; the others on the port have one.
    Untagged,
    /// They have this tag in front of any of their own.
    Vlan(Vid),
}

/// One leg of a function: its attachment circuit, as RFC 7665 section 4.6 calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Circuit {
    /// The port.
    pub(crate) port: PortIndex,
    /// The function's part of it.
    pub(crate) tagging: Tagging,
}

/// What the pipeline knows of a port.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CompiledPort {
    /// What its frames are.
    pub(crate) role: Role,
    /// Upper bound of its MTU by the tables.
    pub(crate) mtu: Option<u16>,
    /// The segment it is a member of.
    pub(crate) segment: Option<u16>,
    /// Whether other SFFs, or neighbours that look for us, are behind it.
    pub(crate) lan: bool,
}

/// A tunnel to another SFF.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CompiledTunnel {
    /// NSH in VXLAN-GPE.
    Gpe {
        /// Remote VTEP and UDP port.
        remote: SocketAddr,
        /// VNI on the wire.
        vni: Vni,
    },
    /// NSH in Ethernet.
    Lan(LanHop),
}

/// A next hop on a LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LanHop {
    /// The port on the LAN.
    pub(crate) port: PortIndex,
    /// The LAN's tag, 0 for none.
    pub(crate) vlan: u16,
    /// Who it is.
    pub(crate) to: Station,
}

/// A station on a LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Station {
    /// By its MAC address.
    Mac([u8; 6]),
    /// By its place in [`Lans::neighbours`].
    Neighbour(u16),
}

/// How a function is wired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wiring {
    /// Bump in the wire.
    TwoLeg {
        /// Towards the start of a forward path.
        inside: Circuit,
        /// Towards its end.
        outside: Circuit,
    },
    /// Routed, by its MAC address.
    OneLeg {
        /// Its leg.
        leg: Circuit,
        /// Its address.
        mac: [u8; 6],
    },
    /// Knows NSH.
    NshAware {
        /// Its leg.
        leg: Circuit,
        /// Its address.
        mac: [u8; 6],
    },
}

impl Wiring {
    /// All legs, to be changed.
    pub(super) fn circuits_mut(&mut self) -> impl Iterator<Item = &mut Circuit> {
        let (first, second) = match self {
            Self::TwoLeg { inside, outside } => (inside, Some(outside)),
            Self::OneLeg { leg, .. } | Self::NshAware { leg, .. } => (leg, None),
        };
        std::iter::once(first).chain(second)
    }

    /// The leg by which frames enter in `direction`.
    pub(crate) fn entrance(&self, direction: Direction) -> Circuit {
        match (*self, direction) {
            (Self::TwoLeg { inside, .. }, Direction::Forward) => inside,
            (Self::TwoLeg { outside, .. }, Direction::Reverse) => outside,
            (Self::OneLeg { leg, .. } | Self::NshAware { leg, .. }, _) => leg,
        }
    }
}

/// The service path header of a path at a function.
pub(crate) type Binding = u32;

/// A service function.
#[derive(Debug, Clone)]
pub(crate) struct CompiledFunction {
    /// Its name, by which its state outlives a change of tables.
    pub(crate) name: SfName,
    /// Its legs.
    pub(crate) wiring: Wiring,
    /// (SPI, SI) that lead to it, forward and reverse, sorted.
    pub(crate) bindings: [Vec<Binding>; 2],
    /// The last of these in table order.
    pub(crate) newest: [Option<Binding>; 2],
}

impl CompiledFunction {
    /// The binding for `direction` whose SPI is nearest to `spi`: forward and return path of one
    /// chain are numbered together.
    pub(crate) fn nearest(&self, direction: Direction, spi: u32) -> Option<Binding> {
        let bindings = self.bindings.get(direction as usize)?;
        let above = bindings.partition_point(|&binding| binding >> 8 < spi);
        let below = above.checked_sub(1).and_then(|place| bindings.get(place));
        let candidates = [bindings.get(above), below];
        candidates
            .into_iter()
            .flatten()
            .min_by_key(|&&binding| (binding >> 8).abs_diff(spi))
            .copied()
    }
}

/// Where a MAC address lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Location {
    /// Behind a local port.
    Port(PortIndex),
    /// Behind a peer, by its place in [`CompiledSegment::peers`].
    Peer(u16),
}

/// A plain-VXLAN segment.
#[derive(Debug, Clone)]
pub(crate) struct CompiledSegment {
    /// VNI on the wire.
    pub(crate) vni: Vni,
    /// Local members.
    pub(crate) ports: Vec<PortIndex>,
    /// Remote VTEPs; the first `flood` of them take replicated frames.
    pub(crate) peers: Vec<SocketAddr>,
    /// How many peers take replicated frames.
    pub(crate) flood: usize,
    /// Octets of outer headers towards the peers, the most of any; 0 without peers.
    pub(crate) outer: usize,
    /// Entries that never age.
    pub(crate) entries: Vec<([u8; 6], Location)>,
    /// Milliseconds after which a silent address is forgotten; 0 means never.
    pub(crate) ageing_ms: u64,
    /// Frames a second that go to all members; 0 means any number.
    pub(crate) bum_per_second: u32,
    /// Virtual addresses, where there are any.
    pub(crate) virtuals: Option<Box<Virtuals>>,
}

/// What a classifier rule decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Send down a service path.
    Path(Hop),
    /// Hand to a segment.
    Segment(u16),
    /// Send out of a port.
    Egress(PortIndex),
    /// Refuse.
    Drop,
}

/// A classifier rule's action, ready to be written in front of a frame.
#[derive(Debug, Clone)]
pub(crate) struct CompiledRule {
    /// What to do.
    pub(crate) verdict: Verdict,
    /// Largest inner IP packet of the path.
    pub(crate) mtu: u16,
    /// The NSH to put on.
    pub(crate) nsh: Held,
}

/// What a path says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PathFacts {
    /// Largest inner IP packet.
    pub(crate) mtu: u16,
    /// SPI of the path that answers take.
    pub(crate) reverse: Option<u32>,
    /// What the indices of a packet and of its answer at the same place add up to, where more
    /// than one hop of that path may lead to the same SFF, and the tables tell.
    pub(crate) sum: Option<u16>,
    /// Number of its affinity.
    pub(crate) affinity: Option<u32>,
}

/// Tables that were found sound and made ready for packets. Immutable; share it in an `Arc`.
#[derive(Debug, Clone)]
pub struct Compiled {
    pub(super) tables: Tables,
    pub(super) port_names: Names<PortName>,
    pub(super) function_names: Names<SfName>,
    pub(super) tunnel_names: Names<TunnelName>,
    pub(crate) ports: Vec<CompiledPort>,
    pub(crate) tunnels: Vec<CompiledTunnel>,
    pub(crate) functions: Vec<CompiledFunction>,
    /// Ports that several functions share.
    pub(crate) trunks: Vec<Trunk>,
    pub(crate) groups: Vec<CompiledGroup>,
    /// By service path header: groups of the return path that lead back to where a packet at
    /// this hop came from.
    pub(crate) pairs: FxHashMap<u32, Vec<Pair>>,
    pub(crate) segments: Vec<CompiledSegment>,
    pub(crate) rules: Vec<CompiledRule>,
    pub(crate) classifier: Classifier,
    pub(crate) steering: Steering,
    /// What each path says of itself, by SPI.
    pub(crate) facts: FxHashMap<u32, PathFacts>,
    /// By a hop's number: the service path header that answers start with, where a path that
    /// has answers ends at a port.
    pub(crate) answers: Vec<Option<u32>>,
    /// VNIs that NSH may arrive with.
    pub(crate) gpe_vnis: FxHashSet<u32>,
    /// Who may send NSH with which VNI: those that we have tunnels to, and the first of these.
    pub(crate) gpe_remotes: FxHashMap<(IpAddr, u32), u16>,
    /// LANs of other SFFs.
    pub(crate) lans: Lans,
    /// VNI to segment.
    pub(crate) segment_vnis: FxHashMap<u32, u16>,
    /// What they continue, where the former tables are known.
    pub(crate) heritage: Option<Heritage>,
}

impl Compiled {
    /// Checks `tables` and resolves every name.
    ///
    /// # Errors
    /// The first entry that is wrong, and what would be right.
    pub fn new(tables: Tables) -> Result<Self, TableError> {
        build::build(tables)
    }

    /// Finds out what these tables continue of `former`, so that they replace them faster.
    pub fn follow(&mut self, former: &Self) {
        self.heritage = Some(Heritage::between(former, self));
    }

    /// The tables this was built from, for themselves.
    pub fn into_tables(self) -> Tables {
        self.tables
    }

    /// The tables this was built from.
    pub fn tables(&self) -> &Tables {
        &self.tables
    }

    /// Their generation.
    pub fn generation(&self) -> u64 {
        self.tables.generation
    }

    /// All ports; a port's place is its [`PortIndex`].
    pub fn ports(&self) -> &[Port] {
        &self.tables.ports
    }

    /// The place of a port.
    pub fn port_index(&self, name: &PortName) -> Option<PortIndex> {
        self.port_names.get(name).map(PortIndex)
    }

    /// The first hop of `former`, a service path header, if a flow that is on it may stay there
    /// although the rules now say `wanted`.
    pub(crate) fn stay(&self, former: u32, wanted: u32) -> Option<&Hop> {
        let affinity = |path: u32| self.facts.get(&(path >> 8))?.affinity;
        let same = affinity(former)? == affinity(wanted)?;
        self.steering.get(former).filter(|_| same)
    }

    /// Largest inner IP packet of a path, as far as the tables tell.
    pub(crate) fn mtu(&self, spi: u32) -> u16 {
        self.facts.get(&spi).map_or(u16::MAX, |facts| facts.mtu)
    }

    /// The SPI that answers to packets of `spi` have.
    pub(crate) fn reverse(&self, spi: u32) -> Option<u32> {
        self.facts.get(&spi)?.reverse
    }

    /// The number of a function or tunnel.
    pub(crate) fn member(&self, name: &MemberTarget) -> Option<Subject> {
        match name {
            MemberTarget::Function { name } => self.function_names.get(name).map(Subject::Function),
            MemberTarget::Tunnel { name } => self.tunnel_names.get(name).map(Subject::Tunnel),
        }
    }

    /// The name of a function or tunnel.
    pub(crate) fn member_name(&self, member: Subject) -> Option<MemberTarget> {
        let tables = &self.tables;
        Some(match member {
            Subject::Function(number) => {
                let name = tables.functions.get(usize::from(number))?.name.clone();
                MemberTarget::Function { name }
            }
            Subject::Tunnel(number) => {
                let name = tables.tunnels.get(usize::from(number))?.name.clone();
                MemberTarget::Tunnel { name }
            }
        })
    }

    /// Whether a port is a function's leg.
    pub(crate) fn is_leg(&self, port: PortIndex) -> bool {
        self.ports
            .get(port.at())
            .is_some_and(|port| matches!(port.role, Role::Leg(..) | Role::Trunk(_)))
    }

    /// Largest outer IP packet.
    pub(crate) fn underlay_mtu(&self) -> u16 {
        self.tables
            .underlay
            .as_ref()
            .map_or(0, |underlay| underlay.mtu)
    }
}
