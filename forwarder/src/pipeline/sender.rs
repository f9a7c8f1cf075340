//! Tells the sender of a packet that it was too long: by the port or leg that the packet came by,
//! or, in the middle of a path, along its return path. Functions that the packet has passed see
//! the error on its way back then, and whoever translated the packet translates what is said of it.

use super::packet::{Ip, Packet};
use super::run::{Origin, Run};
use crate::frame::Frame;
use crate::health::Subject;
use crate::limits::icmp;
use crate::sff;
use crate::tables::steering::Hop;
use crate::tables::{Circuit, Tagging, Target, Wiring};
use crate::wire::ethernet::ethertype;
use crate::wire::nsh::NextProtocol;

/// Which way an error goes to a sender.
enum Back {
    /// As it is, by the port or leg that the packet came by.
    Circuit(Circuit),
    /// With an NSH, from this hop of the return path on.
    Path(Hop),
}

impl Run<'_> {
    /// Tells the sender of a packet that it was too long, where there is a way back to it.
    pub(super) fn tell(
        &mut self,
        frame: &Frame,
        packet: &Packet,
        ip: &Ip,
        mtu: u16,
        origin: Origin,
    ) {
        let Some(back) = self.back_to(origin) else {
            return;
        };
        if !icmp::may_answer(frame.bytes(), packet, ip) || !self.state.icmp.take(self.now_ms) {
            return;
        }
        let mut answer = self.out.pool.take();
        if icmp::too_big(frame.bytes(), packet, ip, mtu, &mut answer).is_none() {
            return self.out.pool.give(answer);
        }
        match back {
            Back::Circuit(circuit) => self.answer_by(circuit, packet, answer),
            Back::Path(hop) => self.answer_along(&hop, packet, answer),
        }
    }

    fn back_to(&self, origin: Origin) -> Option<Back> {
        let from = match origin {
            Origin::Port(port) => {
                let tagging = Tagging::Open;
                return Some(Back::Circuit(Circuit { port, tagging }));
            }
            Origin::Function(number, circuit) => {
                let function = self.tables.functions.get(usize::from(number))?;
                // What knows NSH expects NSH.
                if !matches!(function.wiring, Wiring::NshAware { .. }) {
                    return Some(Back::Circuit(circuit));
                }
                Subject::Function(number)
            }
            Origin::Tunnel(tunnel) | Origin::Lan(_, tunnel) => Subject::Tunnel(tunnel?),
        };
        self.returning(from).map(Back::Path)
    }

    /// The hop, on the return path of the packet whose NSH is in `state.nsh`, that leads from this
    /// SFF back to the one, or the function, that the packet has just come from. Where several do,
    /// the paths pass here more than once: the one at the same place is taken if the tables tell
    /// it, else the last.
    fn returning(&self, from: Subject) -> Option<Hop> {
        let tables = self.tables;
        let path = sff::path(self.state.nsh.octets())?;
        let (spi, si) = (path >> 8, path & 0xff);
        let facts = tables.facts.get(&spi)?;
        let back = facts.reverse?;
        let leads = |si: u32| {
            let hop = tables.steering.get(back << 8 | si)?;
            let target = self.leads_to(hop.target, from)?;
            Some(Hop {
                target,
                teaches: false,
                ..*hop
            })
        };
        let paired = facts.sum.and_then(|sum| u32::from(sum).checked_sub(si));
        let paired = paired.filter(|&si| si <= 0xff).and_then(leads);
        paired.or_else(|| (0..=0xff).find_map(leads))
    }

    /// The next hop `to`, if it is `from`, or `from` in it, if it is a group: nobody else there
    /// knows of the packet.
    fn leads_to(&self, to: Target, from: Subject) -> Option<Target> {
        let tunnel = |number: u16| self.tables.tunnels.get(usize::from(number));
        let is_from = |other: Subject| match (other, from) {
            // Several tunnels may lead to the same neighbour.
            (Subject::Tunnel(other), Subject::Tunnel(from)) => tunnel(other) == tunnel(from),
            (other, from) => other == from,
        };
        match to {
            Target::Tunnel(number) => is_from(Subject::Tunnel(number)).then_some(to),
            Target::Function(number, _) => is_from(Subject::Function(number)).then_some(to),
            Target::Group(number, direction) => {
                let group = self.tables.groups.get(usize::from(number))?;
                let member = group
                    .members
                    .iter()
                    .copied()
                    .find(|&member| is_from(member))?;
                Some(match member {
                    Subject::Tunnel(tunnel) => Target::Tunnel(tunnel),
                    Subject::Function(function) => Target::Function(function, direction),
                })
            }
            Target::Egress(_) | Target::Segment(_) => None,
        }
    }

    fn answer_by(&mut self, circuit: Circuit, packet: &Packet, answer: Frame) {
        if answer.len() - packet.l2_len > usize::from(self.port_mtu(circuit.port)) {
            return self.out.pool.give(answer);
        }
        self.state.balance.generated += 1;
        let seen = self.state.taps.begin_own();
        self.emit_circuit(circuit, packet.l2_len, answer);
        self.state.taps.seen = seen;
    }

    /// `hop` is a tunnel or a function that knows NSH, so that nothing here is cut or answered
    /// again.
    fn answer_along(&mut self, hop: &Hop, packet: &Packet, answer: Frame) {
        let Some(own) = packet.like(answer.bytes()) else {
            return self.out.pool.give(answer);
        };
        let next = match own.ethertype {
            _ if own.is_ethernet => NextProtocol::Ethernet,
            ethertype::IPV6 => NextProtocol::Ipv6,
            _ => NextProtocol::Ipv4,
        };
        let held = self.state.nsh.clone();
        self.state.nsh.set(&sff::fresh(hop.key, next));
        let mtu = self.hop_mtu(hop, &own).min(self.tables.mtu(hop.key >> 8));
        if Self::fits(&answer, &own, mtu) {
            self.state.balance.generated += 1;
            let seen = self.state.taps.begin_own();
            if self.state.taps.on {
                self.saw_hop(hop);
            }
            self.count(hop, answer.len());
            self.forward(answer, &own, hop, Origin::Tunnel(None));
            self.state.taps.seen = seen;
        } else {
            self.out.pool.give(answer);
        }
        self.state.nsh = held;
    }
}
