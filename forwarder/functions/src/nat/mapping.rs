//! Mappings from inside endpoints to ports of the NAT address, and the sessions that keep them.
//!
//! RFC 4787 REQ-1 and RFC 5382 REQ-1: "A NAT MUST have an 'Endpoint-Independent Mapping'
//! behavior": one inside endpoint has one outside port, whoever it talks to.

use crate::connection::Connection;
use crate::packet::protocol;
use crate::table::Table;
use rustc_hash::{FxBuildHasher, FxHashMap};
use std::hash::BuildHasher;
use std::net::Ipv4Addr;

/// Mappings kept.
const LIMIT: usize = 65_536;
/// Ports tried for one endpoint; in a table that is nearly full, a free one may be missed.
const TRIES: u16 = 2048;
/// Remote ends remembered for one mapping; further ones push out the one that expires first.
const SESSIONS: usize = 64;

/// An inside endpoint; `port` is an echo's identifier for ICMP. The same address in another VLAN
/// is somebody else, but ports of the NAT address belong to all VLANs together: outside nobody
/// could tell them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Endpoint {
    /// 0 for none.
    pub(super) vlan: u16,
    pub(super) protocol: u8,
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
}

#[derive(Debug, Clone, Copy)]
struct Session {
    remote: (Ipv4Addr, u16),
    connection: Connection,
    expires_ms: u64,
}

/// Where an inside endpoint appears outside.
#[derive(Debug)]
pub(super) struct Mapping {
    pub(super) outside_port: u16,
    /// MAC address of the inside endpoint, or of its router.
    pub(super) client_mac: [u8; 6],
    sessions: Vec<Session>,
}

/// Why there is no mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    TableFull,
    NoPort,
}

/// All mappings.
#[derive(Debug)]
pub(super) struct Mappings {
    by_inside: Table<Endpoint, Mapping>,
    by_port: FxHashMap<(u8, u16), Endpoint>,
}

impl Mappings {
    pub(super) fn new() -> Self {
        Self {
            by_inside: Table::new(LIMIT),
            by_port: FxHashMap::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.by_inside.len()
    }

    /// The mapping of `inside`.
    pub(super) fn of(&self, now_ms: u64, inside: &Endpoint) -> Option<&Mapping> {
        self.by_inside.get(now_ms, inside)
    }

    /// Who has `port` of the NAT address.
    pub(super) fn owner(
        &self,
        now_ms: u64,
        protocol: u8,
        port: u16,
    ) -> Option<(Endpoint, &Mapping)> {
        let inside = self.by_port.get(&(protocol, port))?;
        Some((*inside, self.by_inside.get(now_ms, inside)?))
    }

    /// The outside port of `inside`, mapped now if need be.
    pub(super) fn outbound(
        &mut self,
        now_ms: u64,
        inside: Endpoint,
        remote: (Ipv4Addr, u16),
        tcp_flags: Option<u8>,
        client_mac: [u8; 6],
    ) -> Result<u16, Refusal> {
        if self.by_inside.get(now_ms, &inside).is_none() {
            self.map(now_ms, inside, client_mac)?;
        }
        let mapping = self
            .by_inside
            .get_mut(now_ms, &inside)
            .ok_or(Refusal::TableFull)?;
        mapping.client_mac = client_mac;
        let port = mapping.outside_port;
        mapping.note(now_ms, inside.protocol, remote, true, tcp_flags);
        self.renew(now_ms, &inside);
        Ok(port)
    }

    /// Takes note of a packet from `remote` to `inside`. One from a stranger is let in and keeps
    /// nothing alive: RFC 4787 REQ-8 recommends endpoint-independent filtering, and REQ-6 wants
    /// mappings refreshed by outbound packets.
    pub(super) fn inbound(
        &mut self,
        now_ms: u64,
        inside: &Endpoint,
        remote: (Ipv4Addr, u16),
        tcp_flags: Option<u8>,
    ) {
        if let Some(mapping) = self.by_inside.get_mut(now_ms, inside) {
            mapping.note(now_ms, inside.protocol, remote, false, tcp_flags);
            self.renew(now_ms, inside);
        }
    }

    /// A mapping lives as long as its longest session.
    fn renew(&mut self, now_ms: u64, inside: &Endpoint) {
        let expires = self.by_inside.get(now_ms, inside).and_then(|mapping| {
            mapping
                .sessions
                .iter()
                .map(|session| session.expires_ms)
                .max()
        });
        if let Some(expires) = expires {
            self.by_inside.keep_until(inside, expires);
        }
    }

    fn map(&mut self, now_ms: u64, inside: Endpoint, client_mac: [u8; 6]) -> Result<(), Refusal> {
        self.forget(&inside);
        let outside_port = self.free_port(now_ms, &inside).ok_or(Refusal::NoPort)?;
        if let Some(expired) = self.by_port.get(&(inside.protocol, outside_port)).copied() {
            self.forget(&expired);
        }
        let mapping = Mapping {
            outside_port,
            client_mac,
            sessions: Vec::new(),
        };
        let by_port = &mut self.by_port;
        // Long enough to get its first session.
        let kept = self.by_inside.insert(
            now_ms,
            inside,
            mapping,
            now_ms + 1,
            Mapping::unanswered,
            |owner, gone| {
                by_port.remove(&(owner.protocol, gone.outside_port));
            },
        );
        if !kept {
            return Err(Refusal::TableFull);
        }
        self.by_port.insert((inside.protocol, outside_port), inside);
        Ok(())
    }

    fn forget(&mut self, inside: &Endpoint) {
        if let Some(mapping) = self.by_inside.remove(inside) {
            self.by_port
                .remove(&(inside.protocol, mapping.outside_port));
        }
    }

    /// The endpoint's own port where nobody has it, else another one.
    fn free_port(&self, now_ms: u64, inside: &Endpoint) -> Option<u16> {
        let free = |port: &u16| {
            // RFC 4787 REQ-3: "A NAT MUST NOT have a 'Port assignment' behavior of 'Port
            // overloading'": no two endpoints share a port.
            self.owner(now_ms, inside.protocol, *port).is_none()
        };
        if free(&inside.port) {
            return Some(inside.port);
        }
        // RFC 4787 REQ-4: "It is RECOMMENDED that a NAT have a 'Port parity preservation'
        // behavior of 'Yes'"; for UDP the step is two, so parity is kept.
        let step = if inside.protocol == protocol::UDP {
            2
        } else {
            1
        };
        let first = 1024 + inside.port % step;
        let count = (u16::MAX - first) / step + 1;
        let start = FxBuildHasher.hash_one(inside) % u64::from(count);
        (0..u64::from(count.min(TRIES)))
            .filter_map(|n| u16::try_from((start + n) % u64::from(count)).ok())
            .map(|n| first + n * step)
            .find(free)
    }
}

impl Mapping {
    fn unanswered(&self) -> bool {
        !self
            .sessions
            .iter()
            .any(|session| session.connection.answered())
    }

    fn note(
        &mut self,
        now_ms: u64,
        protocol: u8,
        remote: (Ipv4Addr, u16),
        outbound: bool,
        tcp_flags: Option<u8>,
    ) {
        let known = self
            .sessions
            .iter()
            .position(|session| session.remote == remote);
        let session = match known.and_then(|at| self.sessions.get_mut(at)) {
            Some(session) => session,
            None if outbound => {
                self.make_room(now_ms);
                self.sessions.push(Session {
                    remote,
                    connection: Connection::new(protocol),
                    expires_ms: 0,
                });
                match self.sessions.last_mut() {
                    Some(session) => session,
                    None => return,
                }
            }
            None => return,
        };
        if session.connection.begins_anew(tcp_flags) {
            session.connection = Connection::new(protocol);
        }
        session.connection.note(outbound, tcp_flags);
        session.expires_ms = now_ms + session.connection.patience_ms();
    }

    fn make_room(&mut self, now_ms: u64) {
        if self.sessions.len() < SESSIONS {
            return;
        }
        self.sessions.retain(|session| session.expires_ms > now_ms);
        if self.sessions.len() >= SESSIONS {
            let first = self.sessions.iter().enumerate();
            let first = first.min_by_key(|(_, session)| session.expires_ms);
            if let Some((at, _)) = first {
                self.sessions.swap_remove(at);
            }
        }
    }
}
