//! One batch on its way: the tables, what changes, the time and the way out. The stages are
//! methods on [`Run`], a file each; here is what they share.

use super::state::{State, TunnelId};
use super::{Egress, Outputs, PortIndex};
use crate::capture::Layer;
use crate::frame::{Checksum, Frame, Offload};
use crate::tables::{Circuit, Compiled, Role};
use kc_forwarder_api::DropReason;
use std::net::IpAddr;

/// Where a frame came from, as far as it matters for what is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Origin {
    /// An access port, by which the sender can be told.
    Port(PortIndex),
    /// A function, by its number, and its leg, by which it can be told.
    Function(u16, Circuit),
    /// The tunnel of this number, or one that leads nowhere from here.
    Tunnel(Option<u16>),
    /// Another SFF on the LAN of a port, by the number of its tunnel where it has one.
    Lan(PortIndex, Option<u16>),
}

/// One batch on its way.
pub(super) struct Run<'a> {
    pub(super) tables: &'a Compiled,
    pub(super) state: &'a mut State,
    pub(super) now_ms: u64,
    pub(super) out: &'a mut Outputs,
}

impl Run<'_> {
    /// A batch from a port.
    pub(super) fn port(&mut self, port: PortIndex, batch: &mut Vec<Frame>) {
        if let Some(state) = self.state.ports.get_mut(port.at()) {
            batch
                .iter()
                .for_each(|frame| state.traffic.rx.add(frame.len()));
        }
        let known = self.tables.ports.get(port.at());
        let is_access = known.is_some_and(|port| port.role == Role::Access && !port.lan);
        // A capture follows a frame from its arrival to its end.
        if is_access && batch.len() > 1 && !self.state.taps.on {
            return self.access_all(port, batch);
        }
        for frame in batch.drain(..) {
            if self.state.taps.on {
                self.saw_arrival(port);
            }
            self.frame(port, frame);
        }
    }

    /// One frame from a port.
    #[inline]
    pub(super) fn frame(&mut self, port: PortIndex, frame: Frame) {
        let known = self.tables.ports.get(port.at());
        match known.map(|port| (port.role, port.lan)) {
            Some((Role::Access, true)) => self.lan(port, frame),
            Some((Role::Access, false)) => self.access(port, frame),
            Some((Role::Leg(function, leg), _)) => self.leg(port, function, leg, frame),
            Some((Role::Trunk(trunk), _)) => self.trunk(port, trunk, frame),
            // The shell and the tables disagree for a moment during a change.
            None => self.drop(frame, DropReason::PortDown),
        }
    }

    /// The end of a frame that is not forwarded.
    pub(super) fn drop(&mut self, frame: Frame, reason: DropReason) {
        if self.state.taps.on {
            self.saw_drop(&frame, reason);
        }
        self.state.dropped(reason, 1);
        self.out.pool.give(frame);
    }

    /// The end of a frame that was for the forwarder itself.
    pub(super) fn consume(&mut self, frame: Frame) {
        self.state.balance.consumed += 1;
        self.out.pool.give(frame);
    }

    /// The end of a frame that leaves by a port.
    pub(super) fn emit_port(&mut self, port: PortIndex, mut frame: Frame) {
        if self.state.guest.is_some() {
            match self.offer_guest(port, frame) {
                Some(other) => frame = other,
                None => return,
            }
        }
        let Some(state) = self
            .state
            .ports
            .get_mut(port.at())
            .filter(|port| port.is_up())
        else {
            // As it would have left.
            if self.state.taps.on {
                self.saw_layer(Layer::Ethernet);
            }
            return self.drop(frame, DropReason::PortDown);
        };
        state.traffic.tx.add(frame.len());
        self.hand_out(Egress::Port(port), frame);
    }

    /// The end of a frame that leaves by the tunnel over UDP with this number.
    pub(super) fn emit_numbered(&mut self, egress: Egress, number: u16, frame: Frame) {
        if let Some(traffic) = self.state.tunnels.numbered(number) {
            traffic.tx.add(frame.len());
        }
        self.hand_out(egress, frame);
    }

    /// The end of a frame that leaves by a tunnel.
    pub(super) fn emit_tunnel(&mut self, egress: Egress, vni: u32, frame: Frame) {
        let id = match egress {
            Egress::Gpe { remote, .. } => TunnelId {
                remote: remote.ip(),
                vni,
                gpe: true,
            },
            Egress::Vxlan { remote, .. } => TunnelId {
                remote: remote.ip(),
                vni,
                gpe: false,
            },
            Egress::Port(port) => return self.emit_port(port, frame),
        };
        if let Some(traffic) = self.state.tunnels.at(id) {
            traffic.tx.add(frame.len());
        }
        self.hand_out(egress, frame);
    }

    fn hand_out(&mut self, egress: Egress, mut frame: Frame) {
        // What is finished here is nobody's to finish again.
        frame.offload = Offload {
            checksum: Checksum::Complete,
            outer_class: frame.offload.outer_class,
            ..Offload::default()
        };
        if self.state.taps.on {
            self.saw_leaving(egress, &frame);
        }
        self.state.balance.sent += 1;
        self.out.frames.push((egress, frame));
    }

    /// Largest IP packet that a port takes; a port that is down takes anything, since nothing
    /// leaves by it.
    pub(super) fn port_mtu(&self, port: PortIndex) -> u16 {
        let info = self.state.ports.get(port.at()).and_then(|port| port.info);
        let table = self.tables.ports.get(port.at()).and_then(|port| port.mtu);
        let mtu = info
            .filter(|info| info.up)
            .map_or(u16::MAX, |info| info.mtu);
        table.map_or(mtu, |table| table.min(mtu))
    }

    /// Largest inner IP packet that a tunnel takes, behind `inner` octets of headers that are not
    /// outer IP, UDP and VXLAN.
    pub(super) fn tunnel_mtu(&self, remote: IpAddr, inner: usize) -> u16 {
        room(self.tables.underlay_mtu(), tunnel_headers(remote) + inner)
    }
}

/// Octets of outer IP, UDP and VXLAN headers towards `remote`.
pub(crate) const fn tunnel_headers(remote: IpAddr) -> usize {
    let ip = if remote.is_ipv4() { 20 } else { 40 };
    ip + 8 + 8
}

/// What is left of `mtu` behind `headers` octets.
pub(crate) fn room(mtu: u16, headers: usize) -> u16 {
    let room = usize::from(mtu).saturating_sub(headers);
    u16::try_from(room).unwrap_or(u16::MAX)
}
