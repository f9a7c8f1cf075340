//! Virtual addresses of a segment: ARP for them is answered here, and what is sent to them gets the MAC
//! address of the member that its flow is with. From there on it is a frame like any other.

use super::datagrams::Stage;
use super::group::flow_of;
use super::packet::{Ip, Packet};
use super::run::Run;
use super::state::State;
use crate::frame::Frame;
use crate::health::Subject;
use crate::limits::datagrams::Place;
use crate::overlay::{Sign, TCP};
use crate::tables::{CompiledVirtual, Location, Virtuals};
use crate::wire::flow::FlowKey;
use crate::wire::tcp::{self, flags};
use crate::wire::{arp, ethernet};
use kc_forwarder_api::{DropReason, Vni};

impl Run<'_> {
    /// A frame in a segment that has virtual addresses: what it is afterwards, if it is not at its end.
    /// The box of the client decides, once: to all others it is a frame to one of their stations.
    pub(super) fn readdress(
        &mut self,
        vni: Vni,
        virtuals: &Virtuals,
        mut frame: Frame,
        packet: &Packet,
        from: Option<Location>,
    ) -> Option<Frame> {
        if packet.ethertype == ethernet::ethertype::ARP {
            return self.resolve(virtuals, frame, packet, from);
        }
        let destination = *frame.bytes().first_chunk()?;
        let Some(service) = virtuals.of_mac(destination) else {
            return Some(frame);
        };
        let ip = packet.ip.as_ref();
        let Some(ip) = ip.filter(|ip| ip.destination == service.address) else {
            self.drop(frame, DropReason::VirtualAddress);
            return None;
        };
        let mut flow = packet.flow;
        match from {
            // Its box knows the address as we do, or all boxes that it floods would take it.
            Some(Location::Peer(_)) => {
                self.drop(frame, DropReason::VirtualAddress);
                return None;
            }
            // The classifier has seen to it, where there is one.
            Some(Location::Port(port)) if ip.fragment && self.tables.classifier.is_empty() => {
                let mut part = *packet;
                let (place, stage) = (Place::Port(port.0, packet.vlan), Stage::Port(port));
                frame = self.together(frame, 0, &mut part, place, stage)?;
                flow = part.flow;
            }
            _ => {}
        }
        let sign = sign(&frame, ip);
        if sign == Sign::About {
            let about = flow_of(packet, frame.bytes());
            if about.destination == packet.flow.destination {
                flow = about;
            }
        }
        let Some(mac) = self.member_of(vni, service, flow, sign) else {
            self.drop(frame, DropReason::GroupDown);
            return None;
        };
        if let Some(destination) = frame.bytes_mut().first_chunk_mut() {
            *destination = mac;
        }
        Some(frame)
    }

    fn member_of(
        &mut self,
        vni: Vni,
        service: &CompiledVirtual,
        flow: FlowKey,
        sign: Sign,
    ) -> Option<[u8; 6]> {
        let State {
            flows,
            ports,
            health,
            ..
        } = &mut *self.state;
        flows.choose(
            self.now_ms,
            (vni, service),
            flow,
            sign,
            |member| match member.location {
                Location::Port(port) => ports.get(port.at()).is_some_and(|port| port.is_up()),
                Location::Peer(_) => member
                    .tunnel
                    .is_none_or(|tunnel| health.alive(Subject::Tunnel(tunnel))),
            },
        )
    }

    /// A question for a virtual address becomes the answer to it. It is asked of every box where its
    /// asker is, and answered there alone. Nobody may claim such an address.
    fn resolve(
        &mut self,
        virtuals: &Virtuals,
        mut frame: Frame,
        packet: &Packet,
        from: Option<Location>,
    ) -> Option<Frame> {
        let message = frame.bytes().get(packet.l2_len..).unwrap_or_default();
        let Ok(message) = arp::Repr::parse(message) else {
            return Some(frame);
        };
        let claims = virtuals.of_address(message.sender).is_some();
        let wanted = virtuals.of_address(message.target);
        let (service, port) = match (wanted, message.operation, from) {
            (Some(service), arp::Operation::Request, Some(Location::Port(port))) if !claims => {
                (service, port)
            }
            (None, ..) if !claims => return Some(frame),
            _ => {
                self.drop(frame, DropReason::VirtualAddress);
                return None;
            }
        };
        let answer = arp::Repr {
            operation: arp::Operation::Reply,
            sender_mac: service.mac,
            sender: service.address,
            target_mac: message.sender_mac,
            target: message.sender,
        };
        let octets = frame.bytes_mut();
        octets.copy_within(6..12, 0);
        if let Some(source) = octets.get_mut(6..12) {
            source.copy_from_slice(&service.mac);
        }
        if let Some(message) = octets.get_mut(packet.l2_len..) {
            answer.emit(message);
        }
        self.emit_port(port, frame);
        None
    }
}

/// What a packet to a virtual address tells of its flow.
fn sign(frame: &Frame, ip: &Ip) -> Sign {
    const ICMP: u8 = 1;
    let transport = frame.bytes().get(ip.l4..).unwrap_or_default();
    match ip.protocol {
        // A later fragment has none of it.
        TCP if ip.first => {
            let told = tcp::Packet::new_checked(transport).map_or(0, |segment| segment.flags());
            if told & (flags::FIN | flags::RST) != 0 {
                Sign::Closes
            } else if told & (flags::SYN | flags::ACK) == flags::SYN {
                Sign::Opens
            } else {
                Sign::Goes
            }
        }
        ICMP if transport
            .first()
            .is_some_and(|kind| crate::wire::icmp::is_error(false, *kind)) =>
        {
            Sign::About
        }
        _ => Sign::Goes,
    }
}
