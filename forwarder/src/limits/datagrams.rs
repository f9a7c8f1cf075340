//! Fragments of one datagram belong together: only the first tells what flow they are of. What
//! it told is remembered for a moment; fragments that overtook it wait for it, a bounded number
//! for a short time. Nothing is put together here: overlapping and crafted fragments cost no more
//! than the same number of honest ones. RFC 791 section 3.2, RFC 8200 section 4.5.

use crate::frame::Frame;
use crate::pipeline::{Packet, Recent};
use crate::proxy::Side;
use crate::wire::{icmp, ipv6};
use std::collections::VecDeque;
use std::net::IpAddr;

/// Datagrams whose first fragment is remembered.
const KNOWN: usize = 8192;
/// What a first fragment told holds for so long. An identification may be used again later.
const LIFE_MS: u64 = 2_000;
/// Fragments that wait at once, and their octets.
const WAITING: usize = 256;
const WAITING_OCTETS: usize = 1 << 20;
/// A fragment waits so long for the first one. Links reorder within milliseconds.
const PATIENCE_MS: u64 = 500;

/// Where fragments of one datagram are seen: what leaves a function may share addresses and
/// identification with what went in, and be another flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Place {
    /// At a port, in a VLAN.
    Port(u16, u16),
    /// Out of a function, by its number and side.
    Leg(u16, Side),
    /// On a service path, by its header.
    Path(u32),
}

/// A fragmented datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Datagram {
    place: Place,
    source: IpAddr,
    destination: IpAddr,
    /// Zero in IPv6, where only the first fragment's counts.
    protocol: u8,
    identification: u32,
}

impl Datagram {
    /// The datagram that `packet`, in `frame`, is a fragment of.
    pub(crate) fn of(place: Place, frame: &[u8], packet: &Packet) -> Option<Self> {
        let ip = packet.ip.as_ref().filter(|ip| ip.fragment)?;
        let octets = frame.get(packet.l2_len..ip.end)?;
        let identification = if ip.v6 {
            ipv6::Packet::new_checked(octets)
                .ok()?
                .upper()?
                .identification
        } else {
            let [high, low] = *octets.get(4..)?.first_chunk()?;
            u16::from_be_bytes([high, low]).into()
        };
        Some(Self {
            place,
            source: ip.source,
            destination: ip.destination,
            protocol: if ip.v6 { 0 } else { ip.protocol },
            identification,
        })
    }
}

/// What a first fragment tells of its datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct First {
    protocol: u8,
    /// Ports, or an echo's identifier twice.
    ends: (u16, u16),
    /// Whether these are ports.
    ported: bool,
}

impl First {
    /// Reads `packet` in `frame`, if it is a first fragment.
    pub(crate) fn of(frame: &[u8], packet: &Packet) -> Option<Self> {
        let ip = packet.ip.as_ref().filter(|ip| ip.first)?;
        let transport = frame.get(ip.l4..ip.end).unwrap_or_default();
        let told = |at: usize| {
            let octets = transport.get(at..)?.first_chunk::<4>()?;
            let [a, b, c, d] = *octets;
            Some((u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d])))
        };
        let (ends, ported) = match (ip.protocol, transport.first()) {
            (6 | 17 | 132, _) if transport.len() >= 8 => (told(0), true),
            (1, Some(&(icmp::kind::ECHO_REPLY_V4 | icmp::kind::ECHO_REQUEST_V4)))
            | (58, Some(&(icmp::kind::ECHO_REQUEST_V6 | icmp::kind::ECHO_REPLY_V6))) => (
                told(4).map(|(identifier, _)| (identifier, identifier)),
                false,
            ),
            _ => (None, false),
        };
        Some(Self {
            protocol: ip.protocol,
            ends: ends.unwrap_or_default(),
            ported: ported && ends.is_some(),
        })
    }

    /// Makes `packet` one of the flow.
    pub(crate) fn apply(self, packet: &mut Packet) {
        (packet.flow.source_port, packet.flow.destination_port) = self.ends;
        packet.flow.protocol = self.protocol;
        if let Some(ip) = &mut packet.ip {
            ip.protocol = self.protocol;
            ip.ports = self.ported.then_some(self.ends);
        }
    }
}

#[derive(Debug)]
struct Waiting<S> {
    datagram: Datagram,
    until_ms: u64,
    frame: Frame,
    stage: S,
}

/// What is known of fragmented datagrams; `S` says where a fragment that waited goes on.
#[derive(Debug)]
pub(crate) struct Datagrams<S> {
    known: Recent<Datagram, (First, u64)>,
    waiting: VecDeque<Waiting<S>>,
    octets: usize,
}

impl<S> Datagrams<S> {
    /// Nothing known.
    pub(crate) fn new() -> Self {
        Self {
            known: Recent::new(KNOWN),
            waiting: VecDeque::new(),
            octets: 0,
        }
    }

    /// A first fragment came. A later one with the same identification begins another datagram.
    pub(crate) fn begin(&mut self, now_ms: u64, datagram: Datagram, first: First) {
        self.known.insert(now_ms, datagram, (first, now_ms));
    }

    /// What the first fragment told, if it came.
    pub(crate) fn first(&self, now_ms: u64, datagram: &Datagram) -> Option<First> {
        let (first, since_ms) = self.known.peek(datagram)?;
        (now_ms.saturating_sub(*since_ms) <= LIFE_MS).then_some(*first)
    }

    /// Lets a fragment wait. The one that waited longest comes back where room is wanting.
    pub(crate) fn wait(&mut self, now_ms: u64, datagram: Datagram, frame: Frame, stage: S) {
        self.octets += frame.len();
        self.waiting.push_back(Waiting {
            datagram,
            until_ms: now_ms.saturating_add(PATIENCE_MS),
            frame,
            stage,
        });
    }

    /// Takes out, in order, the fragments that waited for the first one of `datagram`.
    pub(crate) fn released(&mut self, datagram: &Datagram) -> Option<(Frame, S)> {
        if self.waiting.is_empty() {
            return None;
        }
        let place = self
            .waiting
            .iter()
            .position(|waiting| waiting.datagram == *datagram)?;
        let waiting = self.waiting.remove(place)?;
        self.octets -= waiting.frame.len();
        Some((waiting.frame, waiting.stage))
    }

    /// Takes out a fragment that has waited long enough, or for which there is no room.
    pub(crate) fn orphan(&mut self, now_ms: u64) -> Option<Frame> {
        let full = self.waiting.len() > WAITING || self.octets > WAITING_OCTETS;
        let due = self.next_deadline()? <= now_ms;
        if !full && !due {
            return None;
        }
        let waiting = self.waiting.pop_front()?;
        self.octets -= waiting.frame.len();
        Some(waiting.frame)
    }

    /// When the first of those that wait has waited long enough.
    pub(crate) fn next_deadline(&self) -> Option<u64> {
        self.waiting.front().map(|waiting| waiting.until_ms)
    }

    /// Gives up what waits, and says how many fragments that were.
    pub(crate) fn give_up(&mut self) -> u64 {
        let waited = self.waiting.len() as u64;
        self.waiting.clear();
        self.octets = 0;
        waited
    }

    /// Forgets what first fragments told, since ports are numbered anew.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
    }

    /// Forgets old datagrams, a part of the memory at each call.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.known.expire(now_ms, LIFE_MS, KNOWN / 8);
    }
}
