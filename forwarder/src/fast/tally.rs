//! What the program has counted, and what it means in the terms of the tables. One packet is
//! counted three times: at its hop, where it came in, where it went out.

use super::plan::{Plan, To};
use super::scene::is_gpe;
use crate::stats::Count;
use crate::tables::{Compiled, CompiledTunnel, PortIndex};
use std::net::IpAddr;

/// Counters in the order of the program's array: hops, ways in, ways out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Tally(pub(crate) Vec<Count>);

/// Something that has counters of its own in the pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// A hop, by its number.
    Hop(usize),
    /// A port.
    Port(PortIndex, Way),
    /// A tunnel over UDP.
    Gpe(IpAddr, u32, Way),
    /// A tunnel over Ethernet, by its number.
    Lan(usize, Way),
    /// The whole.
    Forwarded,
}

/// Received or sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// Received.
    In,
    /// Sent.
    Out,
}

impl Tally {
    /// Nothing counted yet.
    pub(crate) fn new(plan: &Plan) -> Self {
        Self(vec![Count::default(); plan.counters()])
    }

    /// Adds the counters of one CPU: packets and octets by turns.
    pub(crate) fn add(&mut self, words: impl Iterator<Item = u64>) {
        let mut words = words;
        for count in &mut self.0 {
            let (Some(packets), Some(bytes)) = (words.next(), words.next()) else {
                return;
            };
            count.packets = count.packets.wrapping_add(packets);
            count.bytes = count.bytes.wrapping_add(bytes);
        }
    }

    /// What has come to it since `former`, which it becomes: whatever is not zero.
    pub(crate) fn since(&self, former: &mut Self) -> impl Iterator<Item = (usize, Count)> {
        let pairs = self.0.iter().zip(&mut former.0).enumerate();
        pairs.filter_map(|(place, (now, then))| {
            let count = Count {
                packets: now.packets.saturating_sub(then.packets),
                bytes: now.bytes.saturating_sub(then.bytes),
            };
            *then = *now;
            (count != Count::default()).then_some((place, count))
        })
    }
}

/// Who the counter at `place` counts for.
pub(crate) fn subjects(
    plan: &Plan,
    tables: &Compiled,
    place: usize,
) -> impl Iterator<Item = Subject> {
    let (outs_from, ins_from) = (plan.counted + plan.ins(), plan.counted);
    let found = if place >= outs_from {
        sent(plan, tables, place - outs_from)
    } else if place >= ins_from {
        received(plan, tables, place - ins_from)
    } else {
        [Some(Subject::Hop(place)), None, None]
    };
    found.into_iter().flatten()
}

fn sent(plan: &Plan, tables: &Compiled, number: usize) -> [Option<Subject>; 3] {
    let out = plan.outs.get(number).and_then(Option::as_ref);
    let port = out.and_then(|out| match out.to {
        To::Vtep(_) => None,
        To::Neighbour(port, _) | To::Mac(port, _) => Some(Subject::Port(port, Way::Out)),
    });
    let tunnel = (number < plan.tunnels).then(|| of_tunnel(tables, number, Way::Out));
    debug_assert!(out.is_none_or(|out| is_gpe(out) == port.is_none()));
    [Some(Subject::Forwarded), tunnel.flatten(), port]
}

fn received(plan: &Plan, tables: &Compiled, number: usize) -> [Option<Subject>; 3] {
    let Some(port) = number.checked_sub(plan.tunnels) else {
        let port = match tables.tunnels.get(number) {
            Some(CompiledTunnel::Lan(hop)) => Some(Subject::Port(hop.port, Way::In)),
            _ => None,
        };
        return [of_tunnel(tables, number, Way::In), port, None];
    };
    let port = u16::try_from(port).ok().map(PortIndex);
    [port.map(|port| Subject::Port(port, Way::In)), None, None]
}

fn of_tunnel(tables: &Compiled, number: usize, way: Way) -> Option<Subject> {
    Some(match tables.tunnels.get(number)? {
        CompiledTunnel::Gpe { remote, vni } => Subject::Gpe(remote.ip(), vni.get(), way),
        CompiledTunnel::Lan(_) => Subject::Lan(number, way),
    })
}
