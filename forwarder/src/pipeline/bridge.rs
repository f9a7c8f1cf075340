//! Frames of a plain-VXLAN segment: learned from, and sent to the member they are for or to all.
//! RFC 7348 section 4.

use super::access::finish_unknown;
use super::packet::Packet;
use super::run::{Origin, Run, room};
use super::{Egress, PortIndex};
use crate::capture::Layer;
use crate::ecn;
use crate::frame::Frame;
use crate::tables::{CompiledSegment, Location};
use crate::wire::{ethernet, vlan, vxlan};
use kc_forwarder_api::DropReason;

impl Run<'_> {
    /// A frame in segment `number`; `from` is the member it came from, unless it came off a
    /// service path.
    pub(super) fn bridge(
        &mut self,
        number: u16,
        mut frame: Frame,
        packet: &Packet,
        from: Option<Location>,
        origin: Origin,
    ) {
        let tables = self.tables;
        let place = usize::from(number);
        let Some(segment) = tables.segments.get(place) else {
            return self.drop(frame, DropReason::UnknownVni);
        };
        if let Some(virtuals) = &segment.virtuals {
            match self.readdress(segment.vni, virtuals, frame, packet, from) {
                Some(readdressed) => frame = readdressed,
                None => return,
            }
        }
        let Some(fdb) = self.state.segments.get_mut(place) else {
            return self.drop(frame, DropReason::UnknownVni);
        };
        let mac = |at: usize| {
            frame
                .bytes()
                .get(at..at + 6)
                .and_then(|mac| mac.try_into().ok())
        };
        let (destination, source): ([u8; 6], [u8; 6]) =
            (mac(0).unwrap_or_default(), mac(6).unwrap_or_default());
        if let Some(from) = from {
            fdb.learn(self.now_ms, source, from);
        }
        let [first, ..] = destination;
        let known = if first & 1 == 1 {
            None
        } else {
            fdb.find(self.now_ms, destination)
        };
        let Some(to) = known else {
            // IEEE 802.1Q table 8-1: frames to the reserved addresses are for the next station
            // only; a bridge that forwarded them would join networks' control protocols.
            if let [0x01, 0x80, 0xc2, 0x00, 0x00, 0x00..=0x0f] = destination {
                return self.drop(frame, DropReason::ReservedGroup);
            }
            if !fdb.may_flood(self.now_ms) {
                return self.drop(frame, DropReason::BumLimited);
            }
            return self.flood(segment, frame, packet, from, origin);
        };
        // The frame is there already, or would go from tunnel to tunnel, which RFC 7348 leaves
        // to the full mesh between VTEPs.
        if Some(to) == from || matches!((from, to), (Some(Location::Peer(_)), Location::Peer(_))) {
            return self.drop(frame, DropReason::HairPin);
        }
        let mtu = self.member_mtu(segment, to, packet);
        if Self::fits(&frame, packet, mtu) {
            return self.deliver(segment, to, frame, packet);
        }
        self.fit(frame, packet, mtu, origin);
        let mut pieces = std::mem::take(&mut self.state.pieces);
        for piece in pieces.drain(..) {
            self.deliver(segment, to, piece, packet);
        }
        self.state.pieces = pieces;
    }

    /// To every member but the one it came from; what came from a peer goes to ports only.
    fn flood(
        &mut self,
        segment: &CompiledSegment,
        frame: Frame,
        packet: &Packet,
        from: Option<Location>,
        origin: Origin,
    ) {
        let mtu = targets(segment, from)
            .map(|to| self.member_mtu(segment, to, packet))
            .min();
        let Some(mtu) = mtu else {
            return self.drop(frame, DropReason::NoMember);
        };
        if Self::fits(&frame, packet, mtu) {
            return self.replicate(segment, frame, packet, from);
        }
        self.fit(frame, packet, mtu, origin);
        let mut pieces = std::mem::take(&mut self.state.pieces);
        for piece in pieces.drain(..) {
            self.replicate(segment, piece, packet, from);
        }
        self.state.pieces = pieces;
    }

    /// RFC 7348 section 4.2 has multicast carry these; head-end replication needs none.
    fn replicate(
        &mut self,
        segment: &CompiledSegment,
        frame: Frame,
        packet: &Packet,
        from: Option<Location>,
    ) {
        let mut rest = targets(segment, from).peekable();
        while let Some(to) = rest.next() {
            if rest.peek().is_none() {
                return self.deliver(segment, to, frame, packet);
            }
            let mut copy = self.out.pool.take();
            copy.extend(frame.bytes());
            copy.offload = frame.offload;
            self.state.balance.replicated += 1;
            self.deliver(segment, to, copy, packet);
        }
    }

    fn deliver(&mut self, segment: &CompiledSegment, to: Location, frame: Frame, packet: &Packet) {
        match to {
            Location::Port(port) => self.emit_port(port, frame),
            Location::Peer(peer) => self.send_to_peer(segment, peer, frame, packet),
        }
    }

    fn send_to_peer(
        &mut self,
        segment: &CompiledSegment,
        peer: u16,
        mut frame: Frame,
        packet: &Packet,
    ) {
        let Some(&remote) = segment.peers.get(usize::from(peer)) else {
            return self.drop(frame, DropReason::UnknownVtep);
        };
        // RFC 7348 section 6.1: "a VTEP SHOULD NOT include an inner VLAN tag on tunnel packets
        // unless configured otherwise".
        while vlan::pull(&mut frame).is_some() {}
        let inner = frame
            .bytes()
            .get(ethernet::HEADER_LEN..)
            .unwrap_or_default();
        frame.offload.outer_class = ecn::outer(packet.ethertype, inner);
        vxlan::Repr { vni: segment.vni }.emit(frame.push(vxlan::HEADER_LEN));
        let egress = Egress::Vxlan {
            remote,
            entropy: packet.entropy(),
        };
        self.emit_tunnel(egress, segment.vni.get(), frame);
    }

    fn member_mtu(&self, segment: &CompiledSegment, to: Location, packet: &Packet) -> u16 {
        match to {
            Location::Port(port) => self.port_mtu(port),
            Location::Peer(peer) => match segment.peers.get(usize::from(peer)) {
                Some(remote) => self.tunnel_mtu(remote.ip(), packet.l2_len),
                None => u16::MAX,
            },
        }
    }

    /// Largest IP packet that every peer of a segment takes.
    pub(super) fn segment_mtu(&self, number: u16, packet: &Packet) -> u16 {
        let segment = self.tables.segments.get(usize::from(number));
        segment.map_or(u16::MAX, |segment| match segment.outer {
            0 => u16::MAX,
            outer => room(self.tables.underlay_mtu(), outer + packet.l2_len),
        })
    }

    /// One frame from the plain VXLAN socket.
    pub(super) fn vxlan(&mut self, remote: std::net::IpAddr, mut frame: Frame) {
        if self.state.taps.on {
            self.saw_datagram(remote, &frame, false);
        }
        let Ok(header) = vxlan::Repr::parse(frame.bytes()) else {
            return self.drop(frame, DropReason::VxlanHeader);
        };
        let Some(&number) = self.tables.segment_vnis.get(&header.vni.get()) else {
            return self.drop(frame, DropReason::UnknownVni);
        };
        let Some(peer) = self.peer(number, remote) else {
            return self.drop(frame, DropReason::UnknownVtep);
        };
        self.count_received(remote, header.vni.get(), false, frame.len());
        frame.pull(vxlan::HEADER_LEN);
        self.receive_from_peer(number, peer, frame);
    }

    /// The place of a VTEP among a segment's peers.
    pub(super) fn peer(&self, number: u16, remote: std::net::IpAddr) -> Option<u16> {
        let segment = self.tables.segments.get(usize::from(number))?;
        let place = segment.peers.iter().position(|peer| peer.ip() == remote)?;
        u16::try_from(place).ok()
    }

    /// An inner frame from a peer.
    pub(super) fn receive_from_peer(&mut self, number: u16, peer: u16, frame: Frame) {
        if self.state.taps.on {
            self.saw_layer(Layer::Ethernet);
        }
        let Some(packet) = Packet::parse(frame.bytes()) else {
            return self.drop(frame, DropReason::Truncated);
        };
        // RFC 7348 section 6.1: "Decapsulated VXLAN frames with the inner VLAN tag SHOULD be
        // discarded unless configured otherwise."
        if packet.l2_len > crate::wire::ethernet::HEADER_LEN {
            return self.drop(frame, DropReason::InnerVlan);
        }
        let Some(mut frame) = self.arrived(frame, packet.ethertype, packet.l2_len) else {
            return;
        };
        finish_unknown(&mut frame, &packet);
        self.bridge(
            number,
            frame,
            &packet,
            Some(Location::Peer(peer)),
            Origin::Tunnel(None),
        );
    }
}

/// Members that a frame to everybody goes to.
fn targets(segment: &CompiledSegment, from: Option<Location>) -> impl Iterator<Item = Location> {
    let ports = segment
        .ports
        .iter()
        .map(|&PortIndex(port)| Location::Port(PortIndex(port)));
    let peer_sent = matches!(from, Some(Location::Peer(_)));
    let flood = if peer_sent { 0 } else { segment.flood };
    let peers = (0..).take(flood).map(Location::Peer);
    ports.filter(move |port| Some(*port) != from).chain(peers)
}
