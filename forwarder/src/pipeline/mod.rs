//! The data plane as one pure function: frames, tables and the time in; frames out. No socket,
//! no clock, no log, and in steady state no allocation.
//!
//! Every frame that enters is accounted for exactly once: what came in, plus what was
//! generated, equals what went out, plus what was for the forwarder itself, plus what was dropped
//! under a [`DropReason`].
//!
//! [`DropReason`]: kc_forwarder_api::DropReason

mod access;
mod answer;
mod bridge;
mod circuit;
mod datagrams;
mod echo;
mod fast;
mod fit;
mod group;
mod guest;
mod health;
mod install;
mod lan;
mod oam;
mod packet;
mod recent;
mod report;
mod request;
mod returns;
mod run;
mod sender;
mod state;
mod steer;
mod tick;
mod tunnel;
mod virtuals;
mod watch;

use crate::frame::{Frame, Pool};
use kc_forwarder_api::DropReason;
use run::Run;
use state::State;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

pub use crate::oam::{EchoError, Outcome};
pub use crate::stats::Balance;
pub use crate::tables::{Compiled, PortIndex, TableError};
pub(crate) use packet::{Ip, Packet};
pub(crate) use recent::Recent;
pub(crate) use run::{room, tunnel_headers};

/// What the shell knows about a port's interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortInfo {
    /// Whether frames can be sent.
    pub up: bool,
    /// Largest IP packet in octets.
    pub mtu: u16,
    /// The interface's own address.
    pub mac: [u8; 6],
}

/// Where a batch of frames came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingress {
    /// Ethernet frames from a port.
    Port(PortIndex),
    /// Ethernet frames from the guest, see [`Pipeline::admit`].
    Guest,
    /// UDP payload of the VXLAN-GPE socket: frames start at the VXLAN-GPE header.
    Gpe {
        /// The sending VTEP.
        remote: IpAddr,
    },
    /// UDP payload of the VXLAN socket: frames start at the VXLAN header.
    Vxlan {
        /// The sending VTEP.
        remote: IpAddr,
    },
}

/// Where a frame goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Egress {
    /// An Ethernet frame to a port.
    Port(PortIndex),
    /// UDP payload for the VXLAN-GPE socket, from the VXLAN-GPE header on.
    Gpe {
        /// The remote VTEP and its port.
        remote: SocketAddr,
        /// Hash of the inner flow, for the outer source port.
        entropy: u16,
    },
    /// UDP payload for the VXLAN socket, from the VXLAN header on.
    Vxlan {
        /// The remote VTEP and its port.
        remote: SocketAddr,
        /// Hash of the inner flow, for the outer source port.
        entropy: u16,
    },
}

/// What comes out of the pipeline. The shell empties `frames` after each call and gives the
/// buffers back to `pool`.
#[derive(Debug, Default)]
pub struct Outputs {
    /// Frames to send, in order.
    pub frames: Vec<(Egress, Frame)>,
    /// Buffers; dropped frames come back here.
    pub pool: Pool,
}

/// The data plane.
#[derive(Debug)]
pub struct Pipeline {
    tables: Arc<Compiled>,
    state: State,
}

impl Pipeline {
    /// A pipeline that has seen nothing yet. All ports are down until the shell tells otherwise.
    pub fn new(tables: Arc<Compiled>) -> Self {
        let mut state = State::new(&tables);
        state.expect_tunnels(&tables);
        Self { tables, state }
    }

    /// Replaces all tables between two packets. What functions are working on, learned addresses,
    /// what the shell told about ports, and counters stay with those names that stay. Returns
    /// the former tables, so that large ones can be freed where no packet waits.
    pub fn install(&mut self, tables: Arc<Compiled>) -> Arc<Compiled> {
        self.state.adopt(&self.tables, &tables);
        self.state.taps.adopt(&tables);
        let former = std::mem::replace(&mut self.tables, tables);
        self.seat_guest();
        former
    }

    /// The tables in force.
    pub fn tables(&self) -> &Arc<Compiled> {
        &self.tables
    }

    /// Tells what is known about a port's interface.
    pub fn set_port(&mut self, port: PortIndex, info: PortInfo) {
        let Some(state) = self.state.ports.get_mut(port.at()) else {
            return;
        };
        let former = state.info.replace(info).filter(|former| former.up);
        let known = self.tables.ports().get(port.at());
        let has_own = known.is_some_and(|known| !known.addresses.is_empty());
        if has_own && info.up && former.is_none_or(|former| former.mac != info.mac) {
            self.state.lan.port_changed(port);
        }
    }

    /// Takes all frames of `batch` and puts what becomes of them into `out`. `now_ms` is any
    /// clock that does not run backwards.
    pub fn process(
        &mut self,
        now_ms: u64,
        ingress: Ingress,
        batch: &mut Vec<Frame>,
        out: &mut Outputs,
    ) {
        let mut run = self.run(now_ms, out);
        let frames = batch.len() as u64;
        match ingress {
            Ingress::Guest => run.state.balance.generated += frames,
            _ => run.state.balance.received += frames,
        }
        match ingress {
            Ingress::Guest => run.guest_frames(batch),
            Ingress::Port(port) => run.port(port, batch),
            Ingress::Gpe { remote } => {
                run.warm(batch);
                batch.drain(..).for_each(|frame| run.gpe(remote, frame));
            }
            Ingress::Vxlan { remote } => batch.drain(..).for_each(|frame| run.vxlan(remote, frame)),
        }
        if !run.state.resumed.is_empty() {
            run.resume();
        }
    }

    /// Forgets what has been silent for too long. Cheap, looks at a part of the memories each
    /// time; to be called about once a second.
    pub fn expire(&mut self, now_ms: u64) {
        self.state.taps.purge();
        self.state.cache.expire(now_ms);
        self.state.fragments.expire(now_ms);
        self.state
            .functions
            .iter_mut()
            .for_each(|memory| memory.expire(now_ms));
        self.state.returns.expire(now_ms);
        self.state.flows.expire(now_ms);
        self.state
            .segments
            .iter_mut()
            .for_each(|fdb| fdb.expire(now_ms));
    }

    /// Frames count as sent when [`process`](Self::process) hands them out. The shell tells here
    /// that `frames` of them, `bytes` octets, never left by `egress`, and why.
    pub fn refused(&mut self, egress: Egress, reason: DropReason, frames: u64, bytes: u64) {
        self.state.take_back(egress, frames, bytes);
        self.state.balance.sent = self.state.balance.sent.saturating_sub(frames);
        self.state.dropped(reason, frames);
        if self.state.taps.on {
            self.saw_refused(egress, reason, frames);
        }
    }

    fn run<'a>(&'a mut self, now_ms: u64, out: &'a mut Outputs) -> Run<'a> {
        let Self { tables, state } = self;
        Run {
            tables,
            state,
            now_ms,
            out,
        }
    }

    /// The pipeline's own bookkeeping, which must hold whatever happens.
    pub fn balance(&self) -> Balance {
        self.state.balance
    }
}
