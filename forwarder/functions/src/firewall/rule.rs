//! What a rule says, and whether it fits a packet.

use crate::packet::{Reading, protocol};
use ipnet::IpNet;
use kc_forwarder::wire::nsh;
use kc_forwarder_api::ContextValue;
use std::net::IpAddr;
use std::ops::RangeInclusive;

/// What happens to a connection's first packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Passes, and with it the rest of the connection.
    Allow,
    /// Vanishes.
    Deny,
    /// Vanishes, and the sender is told.
    Reject,
}

impl Action {
    /// As written in a rule file.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject => "reject",
        }
    }
}

/// Which IP protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// All.
    Any,
    /// ICMP and ICMPv6.
    Icmp,
    /// One, by number.
    Number(u8),
}

/// One end of a packet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct End {
    /// Any address when absent.
    pub prefix: Option<IpNet>,
    /// Any port, or no ports at all, when empty.
    pub ports: Vec<RangeInclusive<u16>>,
}

/// A variable-length context header of NSH MD type 2 (RFC 8300 section 2.5.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    /// Metadata class.
    pub class: u16,
    /// Type within the class.
    pub kind: u8,
    /// Any value when absent.
    pub value: Option<ContextValue>,
}

impl Context {
    /// Whether an NSH carries it.
    fn is_in(&self, nsh: &[u8]) -> bool {
        let Ok(nsh) = nsh::Packet::new_checked(nsh) else {
            return false;
        };
        // RFC 8300 section 2.5.1: of several headers of one kind where one is meant, the receiver
        // "MUST process the first instance and ignore subsequent instances".
        let first = nsh
            .contexts()
            .find(|context| (context.class, context.kind) == (self.class, self.kind));
        let value = self.value.as_ref();
        first.is_some_and(|first| value.is_none_or(|value| value.octets() == first.value))
    }
}

/// One rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub action: Action,
    /// Which packets it is about.
    pub protocol: Protocol,
    /// Where they come from.
    pub from: End,
    /// Where they go to.
    pub to: End,
    /// What the NSH around them has to carry.
    pub context: Option<Context>,
    /// Line in the rule file, from 1.
    pub line: usize,
    /// As written.
    pub text: String,
}

/// A whole rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// In order; the first that fits counts.
    pub rules: Vec<Rule>,
    /// What happens when none fits, where the file says so.
    pub default: Option<Action>,
}

impl Rules {
    /// What happens when none fits: deny, unless told otherwise.
    pub fn fallback(&self) -> Action {
        self.default.unwrap_or(Action::Deny)
    }

    /// Whether any rule asks for the NSH around a packet.
    pub(super) fn look_at_context(&self) -> bool {
        self.rules.iter().any(|rule| rule.context.is_some())
    }

    /// Appends `more`, whose default goes first where it has one.
    pub fn extend(&mut self, more: Self) {
        self.rules.extend(more.rules);
        self.default = more.default.or(self.default);
    }
}

impl End {
    fn fits(&self, address: IpAddr, port: u16) -> bool {
        self.prefix.is_none_or(|prefix| prefix.contains(&address))
            && (self.ports.is_empty() || self.ports.iter().any(|range| range.contains(&port)))
    }
}

impl Rule {
    /// Whether the rule is about the packet, which has `nsh` around it.
    pub(super) fn fits(&self, reading: &Reading, nsh: &[u8]) -> bool {
        let summary = &reading.summary;
        let protocol = match self.protocol {
            Protocol::Any => true,
            Protocol::Icmp => {
                matches!(summary.protocol, protocol::ICMP | protocol::ICMPV6)
            }
            Protocol::Number(number) => summary.protocol == number,
        };
        protocol
            && self.from.fits(reading.source(), reading.flow.source_port)
            && self
                .to
                .fits(reading.destination(), reading.flow.destination_port)
            && self
                .context
                .as_ref()
                .is_none_or(|context| context.is_in(nsh))
    }
}
