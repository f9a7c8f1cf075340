//! Frames that come back from a function: the SFC proxy's way out, and NSH-aware functions.

use super::PortIndex;
use super::access::finish_checksum;
use super::datagrams::Stage;
use super::oam::Via;
use super::packet::Packet;
use super::run::{Origin, Run};
use crate::frame::Frame;
use crate::limits::datagrams::Place;
use crate::limits::mss;
use crate::proxy::{Recall, Side};
use crate::sff;
use crate::tables::steering::{Hop, Steering};
use crate::tables::{Binding, Compiled, CompiledFunction, Leg, Target};
use crate::wire::ethernet;
use crate::wire::nsh::NextProtocol;
use kc_forwarder_api::{Direction, DropReason};

impl Run<'_> {
    /// One frame from a function's leg.
    pub(super) fn leg(&mut self, port: PortIndex, function: u16, leg: Leg, frame: Frame) {
        if self.state.taps.on {
            self.saw_function(function);
        }
        if self.state.health.asks_functions() && self.is_sign_of_life(function, leg, &frame) {
            return self.consume(frame);
        }
        match leg {
            Leg::Aware => self.aware(port, function, frame),
            Leg::Inside => self.unaware(port, function, Side::Inside, frame),
            Leg::Outside => self.unaware(port, function, Side::Outside, frame),
            Leg::Only => self.unaware(port, function, Side::Only, frame),
        }
    }

    /// Where frames of a function come from, and `direction` leads back to.
    fn from(&self, number: u16, direction: Direction) -> Option<Origin> {
        let function = self.tables.functions.get(usize::from(number))?;
        let circuit = function.wiring.entrance(direction);
        Some(Origin::Function(number, circuit))
    }

    /// Ethernet frames of NSH's EtherType, 0x894F (RFC 8300 section 9.1), or nothing.
    fn aware(&mut self, port: PortIndex, number: u16, mut frame: Frame) {
        let Some(origin) = self.from(number, Direction::Forward) else {
            return self.drop(frame, DropReason::NoReturn);
        };
        let ethernet = ethernet::Packet::new_checked(frame.bytes());
        match ethernet.map(|ethernet| ethernet.ethertype()) {
            Ok(ethernet::ethertype::NSH) => {
                finish_checksum(&mut frame, 0);
                if self.state.taps.on {
                    self.saw_aware_return(port, &frame);
                }
                frame.pull(ethernet::HEADER_LEN);
                let via = Via::Function(number);
                if let Some((frame, packet, hop)) = self.take_nsh(frame, via, origin) {
                    self.steer(frame, &packet, &hop, u16::MAX, origin);
                }
            }
            Ok(_) => self.drop(frame, DropReason::NotNsh),
            Err(_) => self.drop(frame, DropReason::Truncated),
        }
    }

    /// A frame without NSH from a function that knows none.
    pub(super) fn unaware(&mut self, port: PortIndex, number: u16, side: Side, frame: Frame) {
        let Some((mut frame, mut packet)) = self.whole(frame) else {
            return;
        };
        if packet.is_fragment() {
            let (place, stage) = (Place::Leg(number, side), Stage::Leg(port, number, side));
            match self.together(frame, 0, &mut packet, place, stage) {
                Some(known) => frame = known,
                None => return,
            }
        }
        // Frames on a reverse path enter by the outside leg.
        let direction = match side {
            Side::Outside => Direction::Reverse,
            Side::Inside | Side::Only => Direction::Forward,
        };
        let (Some(hop), Some(origin)) = (
            self.restore(number, side, &packet),
            self.from(number, direction),
        ) else {
            return self.drop(frame, DropReason::NoReturn);
        };
        if self.state.taps.on {
            self.saw_return(port, &frame, Some(hop.key));
        }
        // The member that the flow came through must be known before a group is asked.
        let Some(hop) = self.settle(&hop, &packet, frame.bytes(), origin) else {
            return self.drop(frame, DropReason::GroupDown);
        };
        // A connection of the function's own was never clamped by a classifier. What it says
        // binds the answers, so the path's MTU counts, not the next hop's alone.
        if let Some(ip) = &packet.ip
            && ip.protocol == 6
        {
            let path = self.tables.mtu(hop.key >> 8);
            let mtu = self.hop_mtu(&hop, &packet).min(path);
            mss::clamp(frame.bytes_mut(), ip, mtu);
        }
        self.steer(frame, &packet, &hop, u16::MAX, origin);
    }

    /// Puts the NSH for a frame that came out of a function into `state.nsh`, and finds where it
    /// goes on.
    fn restore(&mut self, number: u16, side: Side, packet: &Packet) -> Option<Hop> {
        let tables = self.tables;
        let function = tables.functions.get(usize::from(number))?;
        let memory = self.state.functions.get_mut(usize::from(number))?;
        let steering = &tables.steering;
        let usable = |recall: Recall<'_>| continued(function, tables, recall).is_some();
        match memory.recall(self.now_ms, side, packet, usable) {
            Some(recall) => {
                let hop = continued(function, tables, recall)?;
                let (Recall::Passed(nsh) | Recall::Answer(nsh)) = recall;
                self.state.nsh.set(nsh);
                sff::put_path(self.state.nsh.octets_mut(), hop.key);
                Some(hop)
            }
            // Nothing like it went in: the function speaks of its own accord, and the newest
            // path through it is as good as any.
            None => {
                let [forward, reverse] = function.newest;
                let binding = match side {
                    Side::Inside => reverse,
                    Side::Outside => forward,
                    Side::Only => forward.or(reverse),
                }?;
                let hop = after(steering, binding)?;
                self.state
                    .nsh
                    .set(&sff::fresh(hop.key, NextProtocol::Ethernet));
                Some(hop)
            }
        }
    }
}

/// The hop behind the function at `binding`.
///
/// RFC 8300 section 2.3: "SI MUST be decremented by a value of 1 by Service Functions or by SFC
/// Proxy nodes after performing required services; the new decremented SI value MUST be used in
/// the egress packet's NSH".
fn after(steering: &Steering, binding: Binding) -> Option<Hop> {
    if binding & 0xff == 0 {
        return None;
    }
    steering.get(binding - 1).copied()
}

/// Where a remembered NSH goes on, if its path still does.
fn continued(function: &CompiledFunction, tables: &Compiled, recall: Recall<'_>) -> Option<Hop> {
    let steering = &tables.steering;
    match recall {
        Recall::Passed(nsh) => after(steering, sff::path(nsh)?),
        // The function's own answer takes the return path, from this function on.
        Recall::Answer(nsh) => {
            let asked = sff::path(nsh)?;
            let back = match steering.get(asked)?.target {
                Target::Function(_, direction) | Target::Group(_, direction) => match direction {
                    Direction::Forward => Direction::Reverse,
                    Direction::Reverse => Direction::Forward,
                },
                _ => return None,
            };
            let spi = asked >> 8;
            let answers = tables.reverse(spi).unwrap_or(spi);
            after(steering, function.nearest(back, answers)?)
        }
    }
}
