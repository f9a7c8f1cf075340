//! What changes with packets: counters, memories, learned addresses. It outlives a change of
//! tables by name.

use super::access::Staged;
use super::datagrams::Stage;
use super::guest::Guest;
use super::lan::LanState;
use super::oam::Oam;
use super::{Balance, Egress, PortInfo};
use crate::capture::Taps;
use crate::classifier::FlowCache;
use crate::frame::Frame;
use crate::group::Returns;
use crate::health::{Health, Subject};
use crate::limits::Bucket;
use crate::limits::datagrams::Datagrams;
use crate::overlay::{Fdb, Flows};
use crate::proxy::Memory;
use crate::stats::{Count, Drops, Traffic};
use crate::tables::{Compiled, CompiledTunnel};
use kc_forwarder_api::{DropReason, Encapsulation};
use rustc_hash::{FxHashMap, FxHashSet};
use std::net::IpAddr;

/// ICMP messages a second, and at once.
const ICMP_RATE: (u64, u64) = (100, 50);

/// A port's traffic and what the shell told about its interface.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PortState {
    pub(super) info: Option<PortInfo>,
    pub(super) traffic: Traffic,
}

impl PortState {
    /// Whether frames can leave by the port.
    pub(super) fn is_up(&self) -> bool {
        self.info.is_some_and(|info| info.up)
    }
}

/// A tunnel as it is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct TunnelId {
    pub(super) remote: IpAddr,
    pub(super) vni: u32,
    /// VXLAN-GPE if true, plain VXLAN otherwise.
    pub(super) gpe: bool,
}

impl TunnelId {
    pub(super) fn encapsulation(self) -> Encapsulation {
        if self.gpe {
            Encapsulation::VxlanGpe
        } else {
            Encapsulation::Vxlan
        }
    }
}

/// Traffic by tunnel.
#[derive(Debug, Clone, Default)]
pub(super) struct Tunnels {
    pub(super) slots: Vec<(TunnelId, Traffic)>,
    places: FxHashMap<TunnelId, usize>,
    /// Places of those in the tables, by their number there.
    numbered: Vec<usize>,
    /// How many there may be.
    limit: usize,
}

impl Tunnels {
    /// The counters of `id`, made when they do not exist yet; `None` when there are too many.
    pub(super) fn at(&mut self, id: TunnelId) -> Option<&mut Traffic> {
        let place = match self.places.get(&id) {
            Some(&place) => place,
            None => self.add(id)?,
        };
        self.slots.get_mut(place).map(|(_, traffic)| traffic)
    }

    /// The counters of the tunnel over UDP with this number in the tables.
    pub(super) fn numbered(&mut self, number: u16) -> Option<&mut Traffic> {
        let place = *self.numbered.get(usize::from(number))?;
        self.slots.get_mut(place).map(|(_, traffic)| traffic)
    }

    fn add(&mut self, id: TunnelId) -> Option<usize> {
        let place = self.slots.len();
        if place >= self.limit {
            return None;
        }
        self.places.insert(id, place);
        self.slots.push((id, Traffic::default()));
        Some(place)
    }

    /// Counts on for those that are `expected`, and for others that are `possible`.
    fn keep(
        &mut self,
        tables: &Compiled,
        expected: &FxHashSet<TunnelId>,
        possible: &FxHashSet<TunnelId>,
    ) {
        self.slots
            .retain(|(id, _)| expected.contains(id) || possible.contains(id));
        let places = self.slots.iter().enumerate();
        self.places = places.map(|(place, (id, _))| (*id, place)).collect();
        self.limit = expected.len() + possible.len();
        // So that they show before the first packet.
        for id in expected {
            self.at(*id);
        }
        let place = |tunnel: &CompiledTunnel| match tunnel {
            CompiledTunnel::Gpe { remote, vni } => {
                let (remote, vni, gpe) = (remote.ip(), vni.get(), true);
                self.places.get(&TunnelId { remote, vni, gpe }).copied()
            }
            CompiledTunnel::Lan(_) => None,
        };
        let places = tables.tunnels.iter().map(place);
        self.numbered = places.map(|place| place.unwrap_or(usize::MAX)).collect();
    }
}

/// The tunnels of `tables`.
fn expected(tables: &Compiled) -> FxHashSet<TunnelId> {
    let gpe = tables.gpe_remotes.keys().map(|&(remote, vni)| TunnelId {
        remote,
        vni,
        gpe: true,
    });
    gpe.chain(peers(tables, false)).collect()
}

/// The peers of all segments, who may send Ethernet in VXLAN-GPE too.
fn peers(tables: &Compiled, gpe: bool) -> impl Iterator<Item = TunnelId> {
    tables.segments.iter().flat_map(move |segment| {
        let vni = segment.vni.get();
        segment.peers.iter().map(move |peer| TunnelId {
            remote: peer.ip(),
            vni,
            gpe,
        })
    })
}

/// Everything that changes with packets.
#[derive(Debug)]
pub(super) struct State {
    pub(super) ports: Vec<PortState>,
    pub(super) functions: Vec<Memory>,
    pub(super) returns: Returns,
    pub(super) segments: Vec<Fdb>,
    /// Flows to virtual addresses, of all segments.
    pub(super) flows: Flows,
    pub(super) cache: FlowCache,
    pub(super) paths: Vec<Count>,
    pub(super) rules: Vec<Count>,
    pub(super) tunnels: Tunnels,
    /// Who sent the last NSH over UDP, with which VNI, and the number of that tunnel.
    pub(super) last_sender: Option<(IpAddr, u32, u16)>,
    pub(super) lan: LanState,
    pub(super) drops: Drops,
    pub(super) balance: Balance,
    pub(super) icmp: Bucket,
    /// Who captures.
    pub(super) taps: Taps,
    /// Who stands behind an access port; nobody, mostly.
    pub(super) guest: Option<Guest>,
    pub(super) oam: Oam,
    pub(super) health: Health,
    /// Who is due to be asked for life; empty between ticks.
    pub(super) due: Vec<Subject>,
    /// Frames about to be classified; empty between batches.
    pub(super) staged: Vec<Staged>,
    /// The NSH of the frame at hand.
    pub(super) nsh: NshBuffer,
    /// Pieces of the frame at hand; empty between frames.
    pub(super) pieces: Vec<Frame>,
    /// Datagrams about to be looked at again; empty between frames.
    pub(super) datagrams: Vec<Frame>,
    /// Fragments and their first ones.
    pub(super) fragments: Datagrams<Stage>,
    /// Fragments that no longer wait; empty between batches.
    pub(super) resumed: Vec<(Frame, Stage)>,
}

impl State {
    /// A fresh state for `tables`.
    pub(super) fn new(tables: &Compiled) -> Self {
        let (rate, burst) = ICMP_RATE;
        let mut health = Health::default();
        health.adopt(None, tables, 0);
        Self {
            ports: vec![PortState::default(); tables.ports.len()],
            functions: tables.functions.iter().map(|_| Memory::new()).collect(),
            returns: Returns::new(),
            segments: tables.segments.iter().map(Fdb::new).collect(),
            flows: Flows::new(),
            cache: FlowCache::new(),
            paths: vec![Count::default(); tables.steering.len()],
            rules: vec![Count::default(); tables.rules.len()],
            tunnels: Tunnels::default(),
            last_sender: None,
            lan: LanState::new(tables),
            drops: Drops::default(),
            balance: Balance::default(),
            icmp: Bucket::new(rate, burst),
            taps: Taps::default(),
            guest: None,
            oam: Oam::new(tables),
            health,
            due: Vec::new(),
            staged: Vec::new(),
            nsh: NshBuffer::default(),
            pieces: Vec::new(),
            datagrams: Vec::new(),
            fragments: Datagrams::new(),
            resumed: Vec::new(),
        }
    }

    /// Makes counters for the tunnels of `tables`, which are about to be in force.
    pub(super) fn expect_tunnels(&mut self, tables: &Compiled) {
        self.last_sender = None;
        let possible = peers(tables, true).collect();
        self.tunnels.keep(tables, &expected(tables), &possible);
    }

    /// Takes back the account of frames that were handed out and never left.
    pub(super) fn take_back(&mut self, egress: Egress, frames: u64, bytes: u64) {
        let (remote, gpe) = match egress {
            Egress::Port(port) => {
                if let Some(port) = self.ports.get_mut(port.at()) {
                    port.traffic.tx.take_back(frames, bytes);
                }
                return;
            }
            Egress::Gpe { remote, .. } => (remote.ip(), true),
            Egress::Vxlan { remote, .. } => (remote.ip(), false),
        };
        // The kernel refuses a remote, whatever the VNI: the busiest one is nearest the truth.
        let slots = self
            .tunnels
            .slots
            .iter_mut()
            .filter(|(id, _)| id.remote == remote && id.gpe == gpe);
        if let Some((_, traffic)) = slots.max_by_key(|(_, traffic)| traffic.tx.packets) {
            traffic.tx.take_back(frames, bytes);
        }
    }

    /// Accounts for dropped frames.
    pub(super) fn dropped(&mut self, reason: DropReason, frames: u64) {
        self.drops.add(reason, frames);
        self.balance.dropped += frames;
    }
}

/// Longest NSH: 63 words of four octets (RFC 8300 section 2.2).
const LONGEST: usize = 252;

/// Room for one NSH.
#[derive(Debug, Clone)]
pub(super) struct NshBuffer {
    len: usize,
    octets: [u8; LONGEST],
}

impl Default for NshBuffer {
    fn default() -> Self {
        Self {
            len: 0,
            octets: [0; LONGEST],
        }
    }
}

impl NshBuffer {
    /// Takes a copy of `nsh`; one that is too long cannot come from a checked header.
    pub(super) fn set(&mut self, nsh: &[u8]) {
        self.len = nsh.len().min(LONGEST);
        if let (Some(to), Some(from)) = (self.octets.get_mut(..self.len), nsh.get(..self.len)) {
            to.copy_from_slice(from);
        }
    }

    /// The NSH.
    pub(super) fn octets(&self) -> &[u8] {
        self.octets.get(..self.len).unwrap_or_default()
    }

    /// The NSH, to be changed.
    pub(super) fn octets_mut(&mut self) -> &mut [u8] {
        self.octets.get_mut(..self.len).unwrap_or_default()
    }

    /// Its length.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}
