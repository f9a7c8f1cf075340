//! A stateful packet filter: the first rule that fits judges a connection's first packet, and
//! what belongs to a passed connection passes. ARP and IPv6 neighbour discovery always pass.

mod parse;
mod rule;

pub use parse::{RuleError, RuleFault, parse};
pub use rule::{Action, Protocol, Rule, Rules};

use crate::connection::{Connection, Conversation, canonical};
use crate::fragments::Fragments;
use crate::function::{Emissions, ServiceFunction, Side, Verdict};
use crate::packet::{Kind, Quoted, Reading, may_answer_error, protocol, reset_back, unreachable};
use crate::stats::DropCause;
use crate::table::Table;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::tcp::flags;
use serde_json::json;

/// Connections remembered.
const CONNECTIONS: usize = 65_536;

/// ICMP errors sent in a second. RFC 1812 section 4.3.2.8 has routers limit their rate.
const ERRORS_PER_SECOND: u64 = 100;

#[derive(Debug)]
struct Tracked {
    connection: Connection,
    /// Whether the canonical key had to be turned for the side that began.
    turned: bool,
}

/// The filter and what it knows of connections.
#[derive(Debug)]
pub struct Firewall {
    rules: Rules,
    strict: bool,
    hits: Vec<u64>,
    by_default: u64,
    connections: Table<Conversation, Tracked>,
    /// The NSH around the packet at hand, where rules look at it.
    nsh: Vec<u8>,
    fragments: Fragments<()>,
    /// The current second and the ICMP errors sent in it.
    errors: (u64, u64),
}

impl Firewall {
    /// A filter that obeys `rules`. `strict` lets a TCP connection begin with a SYN only;
    /// otherwise one that was begun elsewhere is picked up where the rules allow it.
    pub fn new(rules: Rules, strict: bool) -> Self {
        Self {
            hits: vec![0; rules.rules.len()],
            rules,
            strict,
            by_default: 0,
            connections: Table::new(CONNECTIONS),
            nsh: Vec::new(),
            fragments: Fragments::new(),
            errors: (0, 0),
        }
    }

    /// Whether the packet belongs to a passed connection; keeps that alive.
    fn belongs(&mut self, now_ms: u64, reading: &Reading, tcp_flags: Option<u8>) -> bool {
        let (key, turned) = canonical(reading.vlan(), reading.flow);
        let Some(tracked) = self.connections.get_mut(now_ms, &key) else {
            return false;
        };
        if tracked.connection.begins_anew(tcp_flags) {
            return false;
        }
        tracked.connection.note(turned == tracked.turned, tcp_flags);
        let expires = now_ms + tracked.connection.patience_ms();
        self.connections.keep_until(&key, expires);
        true
    }

    /// The first rule that fits, or the default.
    fn judge(&mut self, reading: &Reading) -> Action {
        let hit = self
            .rules
            .rules
            .iter()
            .position(|rule| rule.fits(reading, &self.nsh));
        match hit.and_then(|at| Some((self.rules.rules.get(at)?, self.hits.get_mut(at)?))) {
            Some((rule, hits)) => {
                *hits += 1;
                rule.action
            }
            None => {
                self.by_default += 1;
                self.rules.fallback()
            }
        }
    }

    fn begin(&mut self, now_ms: u64, reading: &Reading, tcp_flags: Option<u8>) -> Verdict {
        let (key, turned) = canonical(reading.vlan(), reading.flow);
        let mut connection = Connection::new(reading.summary.protocol);
        connection.note(true, tcp_flags);
        let expires = now_ms + connection.patience_ms();
        let tracked = Tracked { connection, turned };
        let unanswered = |tracked: &Tracked| !tracked.connection.answered();
        let kept = self
            .connections
            .insert(now_ms, key, tracked, expires, unanswered, |_, _| {});
        if kept {
            Verdict::Pass
        } else {
            Verdict::Drop(DropCause::TableFull)
        }
    }

    fn may_send_error(&mut self, now_ms: u64) -> bool {
        let second = now_ms / 1000;
        if self.errors.0 != second {
            self.errors = (second, 0);
        }
        self.errors.1 += 1;
        self.errors.1 <= ERRORS_PER_SECOND
    }

    fn reject(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &Frame,
        reading: &Reading,
        out: &mut Emissions,
    ) {
        let answer = if reading.summary.protocol == protocol::TCP {
            reset_back(frame, reading)
        } else if may_answer_error(reading) && self.may_send_error(now_ms) {
            unreachable(frame, reading)
        } else {
            None
        };
        if let Some(answer) = answer {
            out.send(side, answer);
        }
    }

    fn packet(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &Frame,
        reading: &Reading,
        out: &mut Emissions,
    ) -> Verdict {
        let tcp_flags = reading.tcp_flags(frame.bytes());
        if self.belongs(now_ms, reading, tcp_flags) {
            return Verdict::Pass;
        }
        let begins = tcp_flags.is_none_or(|bits| bits & (flags::SYN | flags::ACK) == flags::SYN);
        if self.strict && !begins {
            return Verdict::Drop(DropCause::NoConnection);
        }
        match self.judge(reading) {
            Action::Allow => self.begin(now_ms, reading, tcp_flags),
            Action::Deny => Verdict::Drop(DropCause::RuleDeny),
            Action::Reject => {
                self.reject(now_ms, side, frame, reading, out);
                Verdict::Drop(DropCause::RuleReject)
            }
        }
    }
}

impl ServiceFunction for Firewall {
    fn name(&self) -> &'static str {
        "firewall"
    }

    fn surround(&mut self, nsh: &[u8]) {
        if self.rules.look_at_context() {
            self.nsh.clear();
            self.nsh.extend_from_slice(nsh);
        }
    }

    fn process(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        out: &mut Emissions,
    ) -> Verdict {
        let reading = Reading::of(frame);
        let fragment = reading.fragment_id(frame.bytes());
        match reading.kind {
            Kind::Malformed => Verdict::Drop(DropCause::Malformed),
            Kind::Arp | Kind::Discovery => Verdict::Pass,
            Kind::NotIp if self.rules.fallback() == Action::Allow => Verdict::Pass,
            Kind::NotIp => Verdict::Drop(DropCause::RuleDeny),
            Kind::LaterFragment => {
                match fragment.and_then(|id| self.fragments.recall(now_ms, &id)) {
                    Some(()) => Verdict::Pass,
                    None => Verdict::Drop(DropCause::UnknownFragment),
                }
            }
            Kind::IcmpError => {
                let related = Quoted::find(frame.bytes(), &reading).is_some_and(|quoted| {
                    let (key, _) = canonical(reading.vlan(), quoted.flow);
                    self.connections.get(now_ms, &key).is_some()
                });
                if related {
                    Verdict::Pass
                } else {
                    self.packet(now_ms, side, frame, &reading, out)
                }
            }
            Kind::Packet => {
                let verdict = self.packet(now_ms, side, frame, &reading, out);
                if let (Verdict::Pass, Some(id)) = (verdict, fragment) {
                    self.fragments.remember(now_ms, id, ());
                }
                verdict
            }
        }
    }

    fn details(&self) -> serde_json::Value {
        let counted = self.rules.rules.iter().zip(&self.hits);
        let rules: Vec<_> = counted
            .map(|(rule, hits)| json!({"rule": rule.text, "line": rule.line, "hits": hits}))
            .collect();
        json!({
            "rules": rules,
            "default": self.rules.fallback().word(),
            "default-hits": self.by_default,
            "connections": self.connections.len(),
        })
    }
}

#[cfg(test)]
mod tests;
