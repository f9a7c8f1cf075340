//! The SFF: from (SPI, SI) to the next hop. RFC 7665 section 4.3, RFC 8300 section 2.

use super::packet::Packet;
use super::run::{Origin, Run, room};
use super::{Egress, PortIndex};
use crate::classifier::FlowId;
use crate::ecn;
use crate::frame::Frame;
use crate::proxy::Side;
use crate::sff;
use crate::tables::steering::Hop;
use crate::tables::{Circuit, CompiledTunnel, Target, Wiring};
use crate::wire::{ethernet, vxlan_gpe};
use kc_forwarder_api::{Direction, DropReason};

impl Run<'_> {
    /// Sends an inner frame, whose NSH is in `state.nsh`, to `hop`. `mtu` is the largest IP
    /// packet of the path, where that is known.
    pub(super) fn steer(
        &mut self,
        frame: Frame,
        packet: &Packet,
        hop: &Hop,
        mtu: u16,
        origin: Origin,
    ) {
        if self.state.taps.on {
            self.saw_hop(hop);
        }
        let Some(hop) = &self.settle(hop, packet, frame.bytes(), origin) else {
            return self.drop(frame, DropReason::GroupDown);
        };
        let mtu = self.hop_mtu(hop, packet).min(mtu);
        if Self::fits(&frame, packet, mtu) {
            self.count(hop, frame.len());
            return self.forward(frame, packet, hop, origin);
        }
        let length = frame.len();
        self.fit(frame, packet, mtu, origin);
        let mut pieces = std::mem::take(&mut self.state.pieces);
        if pieces.is_empty() {
            self.count(hop, length);
        }
        for piece in pieces.drain(..) {
            self.count(hop, piece.len());
            // Only the first fragment has ports, and all of them are of this flow.
            let own = packet.like(piece.bytes()).map(|own| own.of_flow(packet));
            self.forward(piece, own.as_ref().unwrap_or(packet), hop, origin);
        }
        self.state.pieces = pieces;
    }

    pub(super) fn count(&mut self, hop: &Hop, bytes: usize) {
        if let Some(count) = self.state.paths.get_mut(hop.number as usize) {
            count.add(bytes);
        }
    }

    /// Largest inner IP packet that the next hop takes.
    pub(super) fn hop_mtu(&self, hop: &Hop, packet: &Packet) -> u16 {
        let headers = self.state.nsh.len() + packet.l2_len;
        match hop.target {
            Target::Tunnel(number) => match self.tables.tunnels.get(usize::from(number)) {
                Some(CompiledTunnel::Gpe { remote, .. }) => self.tunnel_mtu(remote.ip(), headers),
                // A tag is no part of it: IEEE 802.3 has a tagged frame be longer.
                Some(CompiledTunnel::Lan(hop)) => room(self.port_mtu(hop.port), headers),
                None => u16::MAX,
            },
            Target::Egress(port) => self.port_mtu(port),
            Target::Function(number, direction) => match self.entrance(number, direction) {
                Some((circuit, Wiring::NshAware { .. })) => {
                    let room = usize::from(self.port_mtu(circuit.port)).saturating_sub(headers);
                    u16::try_from(room).unwrap_or(u16::MAX)
                }
                Some((circuit, _)) => self.circuit_mtu(circuit, packet),
                None => u16::MAX,
            },
            // Settled by now: nobody is alive.
            Target::Group(..) => u16::MAX,
            // Members differ: the overlay looks at each.
            Target::Segment(_) => u16::MAX,
        }
    }

    /// Whether frames can be sent into a function.
    pub(super) fn is_enterable(&self, number: u16, direction: Direction) -> bool {
        let leg = self.entrance(number, direction).map(|(leg, _)| leg);
        let port = leg.and_then(|leg| self.state.ports.get(leg.port.at()));
        port.is_some_and(|port| port.is_up())
    }

    /// The leg by which frames enter a function.
    fn entrance(&self, number: u16, direction: Direction) -> Option<(Circuit, Wiring)> {
        let wiring = self.tables.functions.get(usize::from(number))?.wiring;
        Some((wiring.entrance(direction), wiring))
    }

    /// Sends a frame that fits to where `hop` leads.
    pub(super) fn forward(&mut self, frame: Frame, packet: &Packet, hop: &Hop, origin: Origin) {
        if self.state.taps.on {
            self.saw_target(hop.target);
        }
        if let Target::Tunnel(number) = hop.target {
            return self.send_to_tunnel(frame, packet, number);
        }
        if let Target::Function(number, direction) = hop.target
            && let Some((leg, Wiring::NshAware { mac, .. })) = self.entrance(number, direction)
        {
            return self.send_to_aware(frame, leg, mac);
        }
        // RFC 8300 section 2.2: "Packets with Next Protocol values not supported SHOULD be
        // silently dropped by default". Functions, ports and segments take Ethernet.
        if !packet.is_ethernet {
            return self.drop(frame, DropReason::NshNextProtocol);
        }
        // RFC 8300 section 8.1: "packets exiting the SFC-enabled domain MUST be dropped if they
        // contain an NSH".
        let leaves = matches!(hop.target, Target::Egress(_) | Target::Segment(_));
        if leaves && packet.ethertype == ethernet::ethertype::NSH {
            return self.drop(frame, DropReason::NshOutside);
        }
        match hop.target {
            Target::Function(number, direction) => {
                self.send_to_function(frame, packet, number, direction)
            }
            Target::Egress(port) => self.end_of_path(frame, packet, port, hop),
            Target::Segment(number) => self.bridge(number, frame, packet, None, origin),
            Target::Tunnel(_) | Target::Group(..) => self.drop(frame, DropReason::NoPath),
        }
    }

    /// The frame leaves its path by a port. What answers to it there will take the path that
    /// belongs to this one, whichever the rules name by then.
    fn end_of_path(&mut self, frame: Frame, packet: &Packet, port: PortIndex, hop: &Hop) {
        let answers = self.tables.answers.get(hop.number as usize);
        if let Some(path) = answers.copied().flatten() {
            let macs = self.macs_looked_at(&frame);
            let flow = FlowId::answers(port.0, packet, macs);
            self.state.cache.learn(self.now_ms, flow, path);
        }
        self.emit_port(port, frame);
    }

    pub(super) fn send_to_tunnel(&mut self, mut frame: Frame, packet: &Packet, number: u16) {
        let (remote, vni) = match self.tables.tunnels.get(usize::from(number)) {
            Some(CompiledTunnel::Gpe { remote, vni }) => (*remote, *vni),
            Some(CompiledTunnel::Lan(hop)) => return self.send_to_lan(frame, number, hop),
            None => return self.drop(frame, DropReason::NoPath),
        };
        let nsh = self.state.nsh.octets();
        let network = sff::network(nsh, packet.ethertype);
        let inner = frame.bytes().get(packet.l2_len..).unwrap_or_default();
        frame.offload.outer_class = ecn::outer(network, inner);
        let outer = frame.push(vxlan_gpe::HEADER_LEN + nsh.len());
        let (header, inner) = outer.split_at_mut(vxlan_gpe::HEADER_LEN);
        let next = vxlan_gpe::NextProtocol::Nsh;
        vxlan_gpe::Repr {
            vni,
            next,
            oam: false,
        }
        .emit(header);
        inner.copy_from_slice(nsh);
        let egress = Egress::Gpe {
            remote,
            entropy: packet.entropy(),
        };
        self.emit_numbered(egress, number, frame);
    }

    /// Ethernet with NSH's EtherType, 0x894F (RFC 8300 section 9.1).
    pub(super) fn send_to_aware(&mut self, mut frame: Frame, leg: Circuit, mac: [u8; 6]) {
        let own = self.state.ports.get(leg.port.at());
        let own = own.and_then(|port| port.info);
        let own = own.map_or([0; 6], |info| info.mac);
        let nsh = self.state.nsh.octets();
        let outer = frame.push(ethernet::HEADER_LEN + nsh.len());
        let (header, inner) = outer.split_at_mut(ethernet::HEADER_LEN);
        let (addresses, ethertype) = header.split_at_mut(12);
        let (destination, source) = addresses.split_at_mut(6);
        destination.copy_from_slice(&mac);
        source.copy_from_slice(&own);
        ethertype.copy_from_slice(&ethernet::ethertype::NSH.to_be_bytes());
        inner.copy_from_slice(nsh);
        self.emit_circuit(leg, ethernet::HEADER_LEN, frame);
    }

    /// The SFC proxy's way in: NSH stays behind.
    fn send_to_function(
        &mut self,
        mut frame: Frame,
        packet: &Packet,
        number: u16,
        direction: Direction,
    ) {
        let place = usize::from(number);
        let Some((leg, wiring)) = self.entrance(number, direction) else {
            return self.drop(frame, DropReason::NoPath);
        };
        if !self
            .state
            .ports
            .get(leg.port.at())
            .is_some_and(|port| port.is_up())
        {
            return self.drop(frame, DropReason::PortDown);
        }
        let leaves_by = match (wiring, direction) {
            (Wiring::TwoLeg { .. }, Direction::Forward) => Side::Outside,
            (Wiring::TwoLeg { .. }, Direction::Reverse) => Side::Inside,
            _ => Side::Only,
        };
        if let Wiring::OneLeg { mac, .. } = wiring
            && let Some(destination) = frame.bytes_mut().get_mut(..6)
        {
            destination.copy_from_slice(&mac);
        }
        // Without IP a flow is told by its MAC addresses, of which one has just changed.
        let readdressed = packet.ip.is_none() && matches!(wiring, Wiring::OneLeg { .. });
        let parsed = if readdressed {
            Packet::parse(frame.bytes())
        } else {
            None
        };
        let packet = parsed.as_ref().unwrap_or(packet);
        if let Some(memory) = self.state.functions.get_mut(place) {
            memory.learn(self.now_ms, leaves_by, packet, self.state.nsh.octets());
        }
        self.emit_circuit(leg, packet.l2_len, frame);
    }
}
