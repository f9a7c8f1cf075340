//! Groups: which member a flow takes, and which one its answers take.

use super::packet::Packet;
use super::run::{Origin, Run};
use crate::health::Subject;
use crate::tables::steering::Hop;
use crate::tables::{CompiledTunnel, PortIndex, Target};
use crate::wire::flow::FlowKey;
use crate::wire::quoted::Quoted;
use kc_forwarder_api::Direction;

impl Run<'_> {
    /// `hop` with one next hop for the packet at hand, which is in `octets`, if it is a group;
    /// `None` when nobody in it is alive. Tells the groups of the return path where the flow came from.
    pub(super) fn settle(
        &mut self,
        hop: &Hop,
        packet: &Packet,
        octets: &[u8],
        origin: Origin,
    ) -> Option<Hop> {
        if !hop.teaches && !matches!(hop.target, Target::Group(..)) {
            return Some(*hop);
        }
        let flow = flow_of(packet, octets);
        if hop.teaches {
            self.teach(hop, flow, origin);
        }
        let target = match hop.target {
            Target::Group(group, direction) => self.member(hop, flow, group, direction, origin)?,
            other => other,
        };
        Some(Hop {
            target,
            teaches: false,
            ..*hop
        })
    }

    /// Answers to this flow shall go back through the member that it came through.
    fn teach(&mut self, hop: &Hop, flow: FlowKey, origin: Origin) {
        let member = match origin {
            Origin::Function(number, _) => Subject::Function(number),
            Origin::Tunnel(Some(number)) | Origin::Lan(_, Some(number)) => Subject::Tunnel(number),
            Origin::Tunnel(None) | Origin::Lan(_, None) | Origin::Port(_) => return,
        };
        for pair in self.tables.pairs.get(&hop.key).into_iter().flatten() {
            let group = self.tables.groups.get(usize::from(pair.group));
            if group.is_some_and(|group| group.has(member)) {
                let returns = &mut self.state.returns;
                returns.learn(self.now_ms, pair.hop, flow, member);
            }
        }
    }

    fn member(
        &mut self,
        hop: &Hop,
        flow: FlowKey,
        number: u16,
        direction: Direction,
        origin: Origin,
    ) -> Option<Target> {
        let group = self.tables.groups.get(usize::from(number))?;
        let known = match direction {
            Direction::Reverse => self.state.returns.of(self.now_ms, hop.key, flow),
            Direction::Forward => None,
        };
        let known = known.filter(|&member| group.has(member) && self.usable(member));
        let known = known.filter(|&member| {
            // What is kept here is not sent to who sent it.
            let back = match origin {
                Origin::Tunnel(from) | Origin::Lan(_, from) => from.map(Subject::Tunnel),
                Origin::Port(_) | Origin::Function(..) => None,
            };
            !group.keep_arrivals || back != Some(member)
        });
        let member = match known {
            Some(member) => member,
            None => {
                let usable = |place: usize| {
                    let member = group.members.get(place);
                    member.is_some_and(|&member| self.usable(member))
                };
                let hash = flow.stable_hash();
                let arrived = matches!(origin, Origin::Tunnel(_) | Origin::Lan(..));
                let place = if group.keep_arrivals && arrived {
                    let here = |place: usize| {
                        let member = group.members.get(place);
                        matches!(member, Some(Subject::Function(_)))
                    };
                    let local = group
                        .spread
                        .choose(hash, |place| here(place) && usable(place));
                    local.or_else(|| group.spread.choose_behind(hash, here, usable))?
                } else {
                    group.spread.choose(hash, usable)?
                };
                *group.members.get(place)?
            }
        };
        Some(match member {
            Subject::Function(function) => Target::Function(function, direction),
            Subject::Tunnel(tunnel) => Target::Tunnel(tunnel),
        })
    }

    /// Whether a member can serve a packet: nobody says that it is dead, and its ports are up.
    fn usable(&self, member: Subject) -> bool {
        let is_up = |port: PortIndex| {
            let state = self.state.ports.get(port.at());
            state.is_some_and(|state| state.is_up())
        };
        let reachable = match member {
            Subject::Tunnel(number) => match self.tables.tunnels.get(usize::from(number)) {
                Some(CompiledTunnel::Lan(hop)) => is_up(hop.port),
                Some(CompiledTunnel::Gpe { .. }) => true,
                None => false,
            },
            Subject::Function(number) => {
                let function = self.tables.functions.get(usize::from(number));
                function.is_some_and(|function| {
                    let leg = |direction| function.wiring.entrance(direction).port;
                    is_up(leg(Direction::Forward)) && is_up(leg(Direction::Reverse))
                })
            }
        };
        reachable && self.state.health.alive(member)
    }
}

/// The flow that a packet belongs to: an ICMP error about a packet goes the way of the answers to
/// it, because whoever keeps state of that flow has to see it.
pub(super) fn flow_of(packet: &Packet, octets: &[u8]) -> FlowKey {
    let error = packet
        .ip
        .as_ref()
        .filter(|ip| matches!(ip.protocol, 1 | 58));
    let quoted = error.and_then(|ip| Quoted::find(octets, ip.l4..ip.end, ip.v6));
    quoted.map_or(packet.flow, |quoted| quoted.flow.reversed())
}
