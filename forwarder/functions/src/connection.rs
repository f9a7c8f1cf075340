//! A connection as a bump in the wire sees it: who began, whether the other side answered,
//! whether it is over, and how long it may be silent.

use kc_forwarder::wire::flow::FlowKey;
use kc_forwarder::wire::tcp::flags;

/// RFC 5382 REQ-5: the idle-timeout of an established TCP connection "MUST NOT be less than 2
/// hours 4 minutes", the one of a transitory connection "MUST NOT be less than 4 minutes".
pub(crate) const TCP_ESTABLISHED_MS: u64 = 124 * 60 * 1000;
pub(crate) const TCP_TRANSITORY_MS: u64 = 4 * 60 * 1000;
/// RFC 4787 REQ-5: a UDP mapping's timer "MUST NOT expire in less than two minutes"; "a default
/// value of five minutes or more [...] is RECOMMENDED".
pub(crate) const UDP_MS: u64 = 5 * 60 * 1000;
/// RFC 5508 REQ-2: "An ICMP Query session timer MUST NOT expire in less than 60 seconds."
pub(crate) const ICMP_MS: u64 = 60 * 1000;

/// Both directions of a flow in one VLAN. Service paths that share a function may reach it by a
/// VLAN each, and what has the same addresses in two of them is two things.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Conversation {
    vlan: u16,
    flow: FlowKey,
}

/// The same key for both directions of a flow, and whether `flow` had to be turned for it.
pub(crate) fn canonical(vlan: u16, flow: FlowKey) -> (Conversation, bool) {
    let reversed = flow.reversed();
    let turned = flow > reversed;
    let flow = if turned { reversed } else { flow };
    (Conversation { vlan, flow }, turned)
}

/// State of one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Connection {
    protocol: u8,
    answered: bool,
    /// FIN seen from the side that began, and from the other.
    finished: [bool; 2],
    reset: bool,
}

impl Connection {
    /// A connection that has just begun.
    pub(crate) const fn new(protocol: u8) -> Self {
        Self {
            protocol,
            answered: false,
            finished: [false; 2],
            reset: false,
        }
    }

    /// Takes note of a packet; `begun` says whether the side that began sent it.
    pub(crate) fn note(&mut self, begun: bool, tcp_flags: Option<u8>) {
        self.answered |= !begun;
        let Some(bits) = tcp_flags else { return };
        let [first, second] = &mut self.finished;
        let side = if begun { first } else { second };
        *side |= bits & flags::FIN != 0;
        self.reset |= bits & flags::RST != 0;
    }

    /// Whether a SYN with these control bits is a new connection between the same ends.
    pub(crate) fn begins_anew(&self, tcp_flags: Option<u8>) -> bool {
        let syn = tcp_flags.is_some_and(|bits| bits & (flags::SYN | flags::ACK) == flags::SYN);
        syn && (self.reset || self.finished != [false; 2])
    }

    /// Whether the other side has said anything.
    pub(crate) const fn answered(&self) -> bool {
        self.answered
    }

    /// How long it may be silent.
    pub(crate) fn patience_ms(&self) -> u64 {
        match self.protocol {
            6 if self.answered && !self.reset && self.finished == [false; 2] => TCP_ESTABLISHED_MS,
            6 => TCP_TRANSITORY_MS,
            1 | 58 => ICMP_MS,
            _ => UDP_MS,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_lives_long_only_while_it_is_established() {
        let mut connection = Connection::new(6);
        connection.note(true, Some(flags::SYN));
        assert_eq!(connection.patience_ms(), TCP_TRANSITORY_MS);
        connection.note(false, Some(flags::SYN | flags::ACK));
        assert_eq!(connection.patience_ms(), TCP_ESTABLISHED_MS);
        assert!(!connection.begins_anew(Some(flags::SYN)));
        connection.note(false, Some(flags::FIN | flags::ACK));
        assert_eq!(connection.patience_ms(), TCP_TRANSITORY_MS);
        assert!(connection.begins_anew(Some(flags::SYN)));
        assert!(!connection.begins_anew(Some(flags::SYN | flags::ACK)));
    }
}
