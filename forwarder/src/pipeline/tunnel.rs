//! Frames from the VXLAN-GPE socket: NSH for the SFF, or Ethernet for a segment.

use super::access::finish_unknown;
use super::datagrams::Stage;
use super::oam::Via;
use super::packet::Packet;
use super::run::{Origin, Run};
use super::state::TunnelId;
use crate::capture::Layer;
use crate::ecn;
use crate::frame::Frame;
use crate::limits::datagrams::Place;
use crate::sff;
use crate::tables::steering::Hop;
use crate::wire::nsh::NextProtocol;
use crate::wire::vxlan_gpe::{self, HEADER_LEN, Repr};
use kc_forwarder_api::DropReason;
use std::net::IpAddr;

impl Run<'_> {
    /// Brings near what the tables say of the paths of frames from the VXLAN-GPE socket, so that
    /// their look-ups need not wait for memory one after the other.
    pub(super) fn warm(&self, batch: &[Frame]) {
        let hop = |frame: &Frame| {
            let path = sff::path(frame.bytes().get(HEADER_LEN..)?)?;
            self.tables.steering.get(path)
        };
        let numbers = batch.iter().filter_map(hop).map(|hop| hop.number as usize);
        let counts = numbers.filter_map(|number| self.state.paths.get(number));
        std::hint::black_box(counts.fold(0, |all, count| all ^ count.packets));
    }

    /// One frame from the VXLAN-GPE socket.
    pub(super) fn gpe(&mut self, remote: IpAddr, mut frame: Frame) {
        if self.state.taps.on {
            self.saw_datagram(remote, &frame, true);
        }
        let header = match Repr::parse(frame.bytes()) {
            Ok(header) if !header.oam => header,
            Ok(_) => return self.drop(frame, DropReason::VxlanHeader),
            Err(_) => return self.plain(remote, frame),
        };
        let vni = header.vni.get();
        match header.next {
            vxlan_gpe::NextProtocol::Nsh => {
                let Some(tunnel) = self.sender(remote, vni) else {
                    // Only an SFF that we have a tunnel to may hand us packets of our paths:
                    // what an NSH says is believed.
                    let reason = if self.tables.gpe_vnis.contains(&vni) {
                        DropReason::UnknownVtep
                    } else {
                        DropReason::UnknownVni
                    };
                    return self.drop(frame, reason);
                };
                if let Some(traffic) = self.state.tunnels.numbered(tunnel) {
                    traffic.rx.add(frame.len());
                }
                frame.pull(HEADER_LEN);
                let (via, origin) = (Via::Gpe { remote, vni }, Origin::Tunnel(Some(tunnel)));
                if let Some((frame, packet, hop)) = self.take_nsh(frame, via, origin) {
                    self.steer(frame, &packet, &hop, u16::MAX, origin);
                }
            }
            vxlan_gpe::NextProtocol::Ethernet => {
                let Some(&number) = self.tables.segment_vnis.get(&vni) else {
                    return self.drop(frame, DropReason::GpeNextProtocol);
                };
                let Some(peer) = self.peer(number, remote) else {
                    return self.drop(frame, DropReason::UnknownVtep);
                };
                self.count_received(remote, vni, true, frame.len());
                frame.pull(HEADER_LEN);
                self.receive_from_peer(number, peer, frame);
            }
            _ => self.drop(frame, DropReason::GpeNextProtocol),
        }
    }

    /// The number of the tunnel that leads to `remote` with this VNI. One batch is of one sender,
    /// and mostly of one VNI.
    fn sender(&mut self, remote: IpAddr, vni: u32) -> Option<u16> {
        if let Some((last, its_vni, number)) = self.state.last_sender
            && (last, its_vni) == (remote, vni)
        {
            return Some(number);
        }
        let number = *self.tables.gpe_remotes.get(&(remote, vni))?;
        self.state.last_sender = Some((remote, vni, number));
        Some(number)
    }

    /// Takes an NSH that arrived on a wire off its frame and keeps it in `state.nsh`; finds its
    /// next hop. `None`, the frame dropped, when it must not go on.
    pub(super) fn take_nsh(
        &mut self,
        mut frame: Frame,
        via: Via,
        origin: Origin,
    ) -> Option<(Frame, Packet, Hop)> {
        if self.state.taps.on {
            self.saw_layer(Layer::Nsh);
        }
        let arrived = match sff::arrive(frame.bytes()) {
            Ok(arrived) => arrived,
            Err(DropReason::NshOam) => {
                self.oam(frame, via);
                return None;
            }
            Err(reason) => {
                self.drop(frame, reason);
                return None;
            }
        };
        // RFC 8300 section 2.3: "an SFF that is not the terminal SFF for an SFP will discard any
        // NSH packet with an SI of 0, as there will be no valid next SF information".
        let Some(&hop) = self.tables.steering.get(arrived.path) else {
            self.drop(frame, DropReason::NoPath);
            return None;
        };
        let inner = frame.bytes().get(arrived.length..).unwrap_or_default();
        // RFC 8300 section 2.2: "Packets with Next Protocol values not supported SHOULD be
        // silently dropped by default".
        if let NextProtocol::Other(_) = arrived.next {
            self.drop(frame, DropReason::NshNextProtocol);
            return None;
        }
        let Some(mut packet) = Packet::carried(arrived.next, inner, arrived.path) else {
            self.drop(frame, DropReason::Truncated);
            return None;
        };
        if packet.is_fragment() {
            let (place, stage) = (Place::Path(arrived.path), Stage::Nsh(via, origin));
            frame = self.together(frame, arrived.length, &mut packet, place, stage)?;
        }
        let nsh = frame.bytes().get(..arrived.length).unwrap_or_default();
        self.state.nsh.set(nsh);
        sff::put_ttl(self.state.nsh.octets_mut(), arrived.ttl);
        frame.pull(arrived.length);
        let network = sff::network(self.state.nsh.octets(), packet.ethertype);
        let mut frame = self.arrived(frame, network, packet.l2_len)?;
        if packet.is_ethernet {
            finish_unknown(&mut frame, &packet);
        }
        Some((frame, packet, hop))
    }

    /// Takes what the outer header says of congestion into the packet at `l3` of `frame`, which
    /// is of the kind `network`. `None`, the frame dropped, when its sender would not understand.
    pub(super) fn arrived(&mut self, mut frame: Frame, network: u16, l3: usize) -> Option<Frame> {
        let class = std::mem::take(&mut frame.offload.outer_class);
        let packet = frame.bytes_mut().get_mut(l3..).unwrap_or_default();
        if class != 0 && ecn::arrive(class, network, packet).is_err() {
            self.drop(frame, DropReason::EcnNotCapable);
            return None;
        }
        Some(frame)
    }

    /// Counts what came from another VTEP.
    pub(super) fn count_received(&mut self, remote: IpAddr, vni: u32, gpe: bool, bytes: usize) {
        if let Some(traffic) = self.state.tunnels.at(TunnelId { remote, vni, gpe }) {
            traffic.rx.add(bytes);
        }
    }
}
