//! Frames from a port that is nobody's leg: made whole, classified, put on their way.

use super::datagrams::Stage;
use super::packet::Packet;
use super::run::{Origin, Run};
use super::{Egress, PortIndex};
use crate::classifier::{Choice, FlowId, Sought, Subject};
use crate::frame::{Checksum, Frame};
use crate::limits::datagrams::Place;
use crate::limits::mss;
use crate::sff;
use crate::tables::{CompiledRule, Location, Verdict};
use crate::wire::{checksum, ethernet, tcp, udp, vlan};
use kc_forwarder_api::DropReason;
use std::net::IpAddr;

/// A frame that is about to be classified.
#[derive(Debug)]
pub(super) struct Staged {
    frame: Frame,
    packet: Packet,
    sought: Sought,
}

impl Run<'_> {
    /// Frames from an access port. All of them are read, and what the cache knows of their flows
    /// is brought near, before the first is classified.
    pub(super) fn access_all(&mut self, port: PortIndex, batch: &mut Vec<Frame>) {
        let mut staged = std::mem::take(&mut self.state.staged);
        for frame in batch.drain(..) {
            let Some((frame, packet)) = self.whole(frame) else {
                continue;
            };
            let macs = self.macs_looked_at(&frame);
            let sought = FlowId::new(port.0, &packet, macs).into();
            staged.push(Staged {
                frame,
                packet,
                sought,
            });
        }
        if !self.tables.classifier.is_empty() {
            self.state.cache.warm(staged.iter().map(|one| &one.sought));
        }
        for one in staged.drain(..) {
            self.access_whole(port, one.frame, one.packet, Some(&one.sought));
        }
        self.state.staged = staged;
    }

    /// One frame from an access port.
    pub(super) fn access(&mut self, port: PortIndex, frame: Frame) {
        if let Some((frame, packet)) = self.whole(frame) {
            self.access_whole(port, frame, packet, None);
        }
    }

    /// One whole frame from an access port; where its flow is may be known.
    fn access_whole(
        &mut self,
        port: PortIndex,
        mut frame: Frame,
        mut packet: Packet,
        mut sought: Option<&Sought>,
    ) {
        // RFC 8300 section 8.1: "packets originating outside the SFC-enabled domain MUST be dropped
        // if they contain an NSH".
        if packet.ethertype == ethernet::ethertype::NSH {
            return self.drop(frame, DropReason::NshOutside);
        }
        let tables = self.tables;
        if packet.is_fragment() && !tables.classifier.is_empty() {
            let (place, stage) = (Place::Port(port.0, packet.vlan), Stage::Port(port));
            match self.together(frame, 0, &mut packet, place, stage) {
                Some(known) => frame = known,
                None => return,
            }
            // It has the ports of its first fragment by now.
            sought = None;
        }
        let choice = self.classify(port, &frame, &packet, sought);
        if self.state.taps.on {
            self.saw_choice(port, &frame, &choice);
        }
        let Some(rule) = choice.rule.and_then(|rule| tables.rules.get(rule as usize)) else {
            return match tables.ports.get(port.at()).and_then(|port| port.segment) {
                Some(segment) => self.join(segment, frame, &packet, port),
                None => self.drop(frame, DropReason::NoMatch),
            };
        };
        if let Some(count) = choice
            .rule
            .and_then(|rule| self.state.rules.get_mut(rule as usize))
        {
            count.add(frame.len());
        }
        match rule.verdict {
            Verdict::Path(_) => self.encapsulate(frame, &packet, rule, choice.path, port),
            Verdict::Segment(segment) => self.join(segment, frame, &packet, port),
            Verdict::Egress(egress) => self.pass(frame, &packet, egress, port),
            Verdict::Drop => self.drop(frame, DropReason::RuleDrop),
        }
    }

    /// Puts back what the kernel took out of a frame or left undone, and reads its headers.
    /// `None`, the frame dropped, when it has no Ethernet header.
    pub(super) fn whole(&mut self, mut frame: Frame) -> Option<(Frame, Packet)> {
        let mut shift = 0;
        if let Some(tci) = frame.offload.vlan.take() {
            let before = frame.len();
            vlan::push(&mut frame, tci);
            shift = frame.len() - before;
        }
        finish_checksum(&mut frame, shift);
        let Some(packet) = Packet::parse(frame.bytes()) else {
            self.drop(frame, DropReason::Truncated);
            return None;
        };
        if frame.offload.checksum == Checksum::Unknown {
            finish_unknown(&mut frame, &packet);
        }
        frame.offload.checksum = Checksum::Complete;
        Some((frame, packet))
    }

    /// Both MAC addresses of a frame, where a rule asks for them.
    pub(super) fn macs_looked_at(&self, frame: &Frame) -> Option<[u8; 12]> {
        let macs = frame.bytes().get(..12)?.try_into().ok();
        macs.filter(|_| self.tables.classifier.looks_at_macs())
    }

    fn classify(
        &mut self,
        port: PortIndex,
        frame: &Frame,
        packet: &Packet,
        sought: Option<&Sought>,
    ) -> Choice {
        let tables = self.tables;
        let classifier = &tables.classifier;
        if classifier.is_empty() {
            return Choice {
                rule: None,
                path: None,
            };
        }
        let flow = || FlowId::new(port.0, packet, self.macs_looked_at(frame)).into();
        let sought = sought.copied().unwrap_or_else(flow);
        self.state.cache.find(self.now_ms, &sought, |former| {
            let mac = |at: usize| {
                frame
                    .bytes()
                    .get(at..at + 6)
                    .and_then(|mac| mac.try_into().ok())
            };
            let rule = classifier.first_match(&Subject {
                port: port.0,
                vlan: packet.vlan,
                ethertype: packet.ethertype,
                source_mac: mac(6).unwrap_or_default(),
                destination_mac: mac(0).unwrap_or_default(),
                ip: packet
                    .ip
                    .as_ref()
                    .map(|ip| (ip.source, ip.destination, ip.protocol)),
                ports: packet.ip.as_ref().and_then(|ip| ip.ports),
            });
            let found = rule.and_then(|rule| tables.rules.get(rule as usize));
            let path = match found.map(|rule| rule.verdict) {
                Some(Verdict::Path(wanted)) => {
                    let stays = former.and_then(|former| tables.stay(former, wanted.key));
                    Some(stays.map_or(wanted.key, |hop| hop.key))
                }
                _ => None,
            };
            Choice { rule, path }
        })
    }

    /// The classifier's own work: NSH in front of the frame, RFC 8300 section 3 item 1. The TTL
    /// is the initial one: this SFF is where the path begins, and no SFF forwarded the packet
    /// to it.
    fn encapsulate(
        &mut self,
        mut frame: Frame,
        packet: &Packet,
        rule: &CompiledRule,
        path: Option<u32>,
        port: PortIndex,
    ) {
        let Verdict::Path(mut hop) = rule.verdict else {
            return self.drop(frame, DropReason::NoPath);
        };
        let mut mtu = rule.mtu;
        self.state.nsh.set(rule.nsh.octets());
        if let Some(path) = path.filter(|&path| path != hop.key)
            && let Some(&own) = self.tables.steering.get(path)
        {
            // The flow stays on the path that it is on.
            hop = own;
            mtu = self.tables.mtu(path >> 8).min(mtu);
            sff::put_path(self.state.nsh.octets_mut(), path);
        }
        let Some(hop) = self.settle(&hop, packet, frame.bytes(), Origin::Port(port)) else {
            return self.drop(frame, DropReason::GroupDown);
        };
        if let Some(ip) = &packet.ip
            && ip.protocol == 6
        {
            let mtu = mtu.min(self.hop_mtu(&hop, packet));
            mss::clamp(frame.bytes_mut(), ip, mtu);
        }
        self.steer(frame, packet, &hop, mtu, Origin::Port(port));
    }

    /// A frame enters a segment by a local port.
    fn join(&mut self, segment: u16, mut frame: Frame, packet: &Packet, port: PortIndex) {
        if let Some(ip) = &packet.ip
            && ip.protocol == 6
        {
            let mtu = self.segment_mtu(segment, packet);
            mss::clamp(frame.bytes_mut(), ip, mtu);
        }
        let member = Some(Location::Port(port));
        self.bridge(segment, frame, packet, member, Origin::Port(port));
    }

    /// Out of a port unchanged, as a rule said.
    fn pass(&mut self, frame: Frame, packet: &Packet, egress: PortIndex, port: PortIndex) {
        let mtu = self.port_mtu(egress);
        if Self::fits(&frame, packet, mtu) {
            return self.emit_port(egress, frame);
        }
        self.fit(frame, packet, mtu, Origin::Port(port));
        let mut pieces = std::mem::take(&mut self.state.pieces);
        for piece in pieces.drain(..) {
            self.emit_tunnel(Egress::Port(egress), 0, piece);
        }
        self.state.pieces = pieces;
    }
}

/// Finishes the checksum of a frame of which nothing is known, should it be open. Frames out of
/// a tunnel are such: where a kernel's own vxlan device sends over a veth, it leaves the inner
/// checksum to hardware that is not there.
pub(super) fn finish_unknown(frame: &mut Frame, packet: &Packet) {
    if !may_be_open(frame.bytes(), packet) {
        return;
    }
    if let Some(ip) = frame.bytes_mut().get_mut(packet.l2_len..) {
        checksum::finish(ip);
    }
}

/// Whether a checksum holds what an open one would, which a complete one rarely does.
fn may_be_open(frame: &[u8], packet: &Packet) -> bool {
    let Some(ip) = packet.ip.as_ref().filter(|ip| !ip.fragment) else {
        return false;
    };
    let at = match ip.protocol {
        6 => ip.l4 + tcp::CHECKSUM_AT,
        17 => ip.l4 + udp::CHECKSUM_AT,
        _ => return false,
    };
    let Some(&[high, low]) = frame.get(at..at + 2) else {
        return false;
    };
    let addresses = match (ip.source, ip.destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            u64::from(source.to_bits()) + u64::from(destination.to_bits())
        }
        _ => checksum::sum(&packet.flow.source) + checksum::sum(&packet.flow.destination),
    };
    let pseudo = addresses + u64::from(ip.protocol) + ip.end.saturating_sub(ip.l4) as u64;
    checksum::fold(pseudo) == u16::from_be_bytes([high, low])
}

/// Finishes a checksum where the kernel said it is open, `shift` octets further back by now.
pub(super) fn finish_checksum(frame: &mut Frame, shift: usize) {
    let Checksum::Partial { start, offset } = frame.offload.checksum else {
        return;
    };
    let (start, offset) = (usize::from(start) + shift, usize::from(offset));
    frame.offload.checksum = Checksum::Complete;
    let Some(covered) = frame.bytes_mut().get_mut(start..) else {
        return;
    };
    // The field holds the pseudo-header's sum, which belongs into the total.
    let total = checksum::fold(checksum::sum(covered));
    // RFC 768: "If the computed checksum is zero, it is transmitted as all ones".
    let sum = if total == 0xffff { 0xffff } else { !total };
    if let Some(field) = covered.get_mut(offset..offset + 2) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
}
