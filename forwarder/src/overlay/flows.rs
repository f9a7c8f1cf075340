//! Which member of a virtual address each flow is with. A new flow goes to one that its hash draws
//! among those that live and do not drain, and then stays there for as long as that one lives, whoever
//! joins, drains or leaves. What is kept is held by VNI, address and MAC address, so new tables change
//! nothing of it.

use crate::pipeline::Recent;
use crate::tables::{CompiledVirtual, VirtualPlace};
use crate::wire::flow::FlowKey;
use kc_forwarder_api::Vni;
use rustc_hash::FxHashMap;
use std::net::Ipv4Addr;

/// Flows remembered: about 80,000 at once for sure, and beyond them those in use before the silent. One
/// that is forgotten is drawn for again, and mostly by the same member.
const LIMIT: usize = 262_144;
/// Sets of the table looked through at each call of [`Flows::expire`]: all within eight calls, because
/// somebody waits for the last flow of a member.
const SWEEP: usize = 4096;

/// RFC 5382 REQ-5: an established connection "MUST NOT be less than 2 hours 4 minutes".
const ESTABLISHED_MS: u64 = 7_440_000;
/// RFC 5382 REQ-5: "The value of the 'transitory connection idle-timeout' MUST NOT be less than 4
/// minutes."
const OPENING_MS: u64 = 240_000;
/// Of a connection that its client closed only the last words are still to come.
const CLOSED_MS: u64 = 5_000;
/// RFC 5508 REQ-2: "An ICMP Query session timer MUST NOT expire in less than 60 seconds."
const ECHO_MS: u64 = 60_000;
/// RFC 4787 REQ-5: "A default value of five minutes or more for the NAT UDP mapping timer is
/// RECOMMENDED."
const DATAGRAMS_MS: u64 = 300_000;

const ICMP: u8 = 1;

/// What a packet tells of its flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// It is the first of a connection: SYN without ACK.
    Opens,
    /// It goes on, or has neither beginning nor end.
    Goes,
    /// Its client has said the last word: FIN or RST.
    Closes,
    /// It is about the flow and not of it: an ICMP error.
    About,
}

/// A flow of a segment, from its client to the virtual address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    vni: Vni,
    flow: FlowKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opening,
    Going,
    Closed,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    member: [u8; 6],
    stage: Stage,
}

impl Kept {
    fn is_over(&self, protocol: u8, silent_ms: u64) -> bool {
        silent_ms
            > match (self.stage, protocol) {
                (Stage::Closed, _) => CLOSED_MS,
                (Stage::Opening, _) => OPENING_MS,
                (Stage::Going, TCP) => ESTABLISHED_MS,
                (Stage::Going, ICMP) => ECHO_MS,
                (Stage::Going, _) => DATAGRAMS_MS,
            }
    }
}

/// The protocol whose packets have beginnings and ends.
pub(crate) const TCP: u8 = 6;

/// A member of a virtual address of a segment.
type Member = (Vni, Ipv4Addr, [u8; 6]);

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Flows {
    kept: Recent<Key, Kept>,
    /// How many flows are with each member.
    counts: FxHashMap<Member, u64>,
}

impl Flows {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            kept: Recent::roomy(LIMIT),
            counts: FxHashMap::default(),
        }
    }

    /// The MAC address of the member that a packet of `flow` goes to; `None` when nobody lives.
    pub(crate) fn choose(
        &mut self,
        now_ms: u64,
        (vni, virtual_address): (Vni, &CompiledVirtual),
        flow: FlowKey,
        sign: Sign,
        lives: impl Fn(&VirtualPlace) -> bool,
    ) -> Option<[u8; 6]> {
        let key = Key { vni, flow };
        let draw = || {
            let among = |usable: &dyn Fn(&VirtualPlace) -> bool| {
                let members = &virtual_address.members;
                let place = virtual_address.spread.choose(flow.stable_hash(), |place| {
                    members.get(place).is_some_and(usable)
                })?;
                members.get(place).map(|member| member.mac)
            };
            // Where all drain, it is better served by one that may go soon than not at all.
            among(&|member| !member.draining && lives(member)).or_else(|| among(&lives))
        };
        let mut former = None;
        if let Some(kept) = self.kept.get(now_ms, &key) {
            // A SYN that was sent again belongs to what has begun; one with the ports of a
            // connection that went further is the first of another.
            let another = sign == Sign::Opens && kept.stage != Stage::Opening;
            let known = virtual_address.member(kept.member);
            if known.is_some_and(&lives) && !another {
                kept.stage = match (sign, kept.stage) {
                    (Sign::Closes, _) => Stage::Closed,
                    (Sign::Goes, Stage::Opening) => Stage::Going,
                    (_, stage) => stage,
                };
                return Some(kept.member);
            }
            if sign == Sign::About {
                return draw();
            }
            former = Some(kept.member);
        }
        let member = draw()?;
        let stage = match sign {
            Sign::About => return Some(member),
            Sign::Opens => Stage::Opening,
            Sign::Goes => Stage::Going,
            Sign::Closes => Stage::Closed,
        };
        let (address, kept) = (virtual_address.address, Kept { member, stage });
        let forgotten = match former {
            Some(former) => {
                self.kept.insert(now_ms, key, kept);
                Some((vni, address, former))
            }
            None => {
                let forgotten = self.kept.add(now_ms, key, kept);
                forgotten.map(|(key, kept)| (key.vni, address_of(&key.flow), kept.member))
            }
        };
        *self.counts.entry((vni, address, member)).or_default() += 1;
        if let Some(forgotten) = forgotten {
            forget(&mut self.counts, forgotten);
        }
        Some(member)
    }

    /// How many flows are with a member.
    pub(crate) fn with(&self, vni: Vni, address: Ipv4Addr, member: [u8; 6]) -> u64 {
        let count = self.counts.get(&(vni, address, member));
        count.copied().unwrap_or(0)
    }

    /// Forgets flows that are over, a part of the table at each call.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        let counts = &mut self.counts;
        self.kept.sweep(SWEEP, |key, kept, used_ms| {
            let over = kept.is_over(key.flow.protocol, now_ms.saturating_sub(used_ms));
            if over {
                forget(counts, (key.vni, address_of(&key.flow), kept.member));
            }
            over
        });
    }
}

fn forget(counts: &mut FxHashMap<Member, u64>, member: Member) {
    if let Some(count) = counts.get_mut(&member) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(&member);
        }
    }
}

fn address_of(flow: &FlowKey) -> Ipv4Addr {
    let [.., a, b, c, d] = flow.destination;
    Ipv4Addr::new(a, b, c, d)
}

#[cfg(test)]
mod tests;
