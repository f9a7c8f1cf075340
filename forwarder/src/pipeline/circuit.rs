//! Attachment circuits of functions: the VLAN tags that tell several functions, or several ways
//! into one, apart on a shared port. Tags are 802.1Q and stand in front of a frame's own.

use super::packet::Packet;
use super::run::Run;
use crate::frame::{Checksum, Frame};
use crate::tables::{Circuit, PortIndex, Tagging};
use crate::wire::{ethernet, vlan};
use kc_forwarder_api::DropReason;

impl Run<'_> {
    /// A frame from a port that several functions share.
    pub(super) fn trunk(&mut self, port: PortIndex, trunk: u16, mut frame: Frame) {
        let Some(trunk) = self.tables.trunks.get(usize::from(trunk)) else {
            return self.drop(frame, DropReason::PortDown);
        };
        let leg = match outermost(&frame) {
            None => trunk.untagged,
            Some(Tag::Customer(tci)) => {
                let leg = trunk.tagged.get(&vlan::vid(tci)).copied();
                if leg.is_some() {
                    untag(&mut frame);
                }
                leg
            }
            Some(Tag::Service) => None,
        };
        match leg {
            Some((function, leg)) => self.leg(port, function, leg, frame),
            None => self.drop(frame, DropReason::LegVlan),
        }
    }

    /// The end of a frame that goes into a function by `circuit`; its own headers in front of
    /// the network header have `l2_len` octets.
    pub(super) fn emit_circuit(&mut self, circuit: Circuit, l2_len: usize, mut frame: Frame) {
        match circuit.tagging {
            Tagging::Open => {}
            Tagging::Untagged if l2_len > ethernet::HEADER_LEN => {
                return self.drop(frame, DropReason::LegVlan);
            }
            Tagging::Untagged => {}
            Tagging::Vlan(vid) => vlan::push(&mut frame, vid.get()),
        }
        self.emit_port(circuit.port, frame);
    }

    /// Largest IP packet that goes into a function by `circuit`. Links have room for one tag
    /// beyond their MTU: one behind ours is at the expense of the packet.
    pub(super) fn circuit_mtu(&self, circuit: Circuit, packet: &Packet) -> u16 {
        let mtu = self.port_mtu(circuit.port);
        let own = packet.l2_len.saturating_sub(ethernet::HEADER_LEN);
        match circuit.tagging {
            Tagging::Vlan(_) => mtu.saturating_sub(u16::try_from(own).unwrap_or(u16::MAX)),
            Tagging::Open | Tagging::Untagged => mtu,
        }
    }
}

enum Tag {
    /// 802.1Q, which is what we put on, with its control information.
    Customer(u16),
    /// 802.1ad.
    Service,
}

fn outermost(frame: &Frame) -> Option<Tag> {
    if let Some(tci) = frame.offload.vlan {
        return Some(Tag::Customer(tci));
    }
    let ethernet = ethernet::Packet::new_checked(frame.bytes()).ok()?;
    match ethernet.ethertype() {
        ethernet::ethertype::VLAN => {
            let tag = vlan::Packet::new_checked(ethernet.payload()).ok()?;
            Some(Tag::Customer(tag.tci()))
        }
        ethernet::ethertype::QINQ => Some(Tag::Service),
        _ => None,
    }
}

/// Takes the outermost tag away, wherever it is.
fn untag(frame: &mut Frame) {
    if frame.offload.vlan.take().is_none()
        && vlan::pull(frame).is_some()
        && let Checksum::Partial { start, .. } = &mut frame.offload.checksum
    {
        *start = start.saturating_sub(4);
    }
}
