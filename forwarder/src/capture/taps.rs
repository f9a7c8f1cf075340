//! The packet thread's part: who captures, what is known of the frame at hand, and the copying.
//! While nobody captures, `on` is false and nothing else here is looked at.

use super::filter::{Filter, Traits};
use super::pcapng::Way;
use super::record::{Kind, Outer, Record, Verdict};
use super::ring::{MAX_INTERFACES, Writer};
use crate::tables::{Compiled, PortIndex};
use kc_forwarder_api::{Capture, CapturePoint};

/// By what a frame comes in or leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Via {
    /// A port.
    Port(PortIndex),
    /// A tunnel, by its place in the tables.
    Tunnel(u16),
    /// The VXLAN-GPE socket, from or to a VTEP that no tunnel names.
    Gpe,
    /// The VXLAN socket.
    Vxlan,
    /// Nothing: the forwarder made it.
    Own,
}

/// What the frame at hand begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layer {
    /// An Ethernet header, its NSH, if any, being kept apart and on no path.
    Ethernet,
    /// A VXLAN or VXLAN-GPE header.
    Udp(Outer),
    /// An NSH.
    Nsh,
    /// What its NSH carries; the NSH is kept apart.
    Inner,
}

/// What is known of the frame at hand while somebody captures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    /// By what it came in.
    pub(crate) via: Via,
    /// What it begins with.
    pub(crate) layer: Layer,
    /// The service path header it was looked up with.
    pub(crate) path: Option<u32>,
    /// The function it came out of.
    pub(crate) from: Option<u16>,
    /// The function it goes into.
    pub(crate) to: Option<u16>,
    /// The tunnel it goes into, where that is not over UDP.
    pub(crate) into: Option<u16>,
}

impl Seen {
    /// A frame that has come in by `via` and begins with `layer`.
    pub(crate) const fn new(via: Via, layer: Layer) -> Self {
        Self {
            via,
            layer,
            path: None,
            from: None,
            to: None,
            into: None,
        }
    }
}

/// A frame at a point, as the pipeline tells of it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sight<'a> {
    /// Where.
    pub(crate) point: CapturePoint,
    /// Which way.
    pub(crate) way: Way,
    /// By what.
    pub(crate) via: Via,
    /// What it begins with.
    pub(crate) outer: Outer,
    /// Its service path header.
    pub(crate) path: Option<u32>,
    /// Its VNI.
    pub(crate) vni: Option<u32>,
    /// The functions it came out of and goes into.
    pub(crate) functions: [Option<u16>; 2],
    /// The rule that decided.
    pub(crate) rule: Option<u32>,
    /// What was decided.
    pub(crate) verdict: Verdict,
    /// The port it shall leave by.
    pub(crate) target: Option<PortIndex>,
    /// The tunnel it comes from or goes into, where that is not the interface.
    pub(crate) tunnel: Option<u16>,
    /// Its octets, in two parts.
    pub(crate) octets: [&'a [u8]; 2],
}

/// Numbers of interfaces, which stay the same for as long as a capture runs.
#[derive(Debug)]
struct Interfaces {
    /// By number.
    names: Vec<(Kind, String)>,
    /// Numbers by port.
    ports: Vec<u16>,
    /// Numbers by tunnel.
    tunnels: Vec<u16>,
}

/// The first numbers, for what is no port and no named tunnel.
const FIRST: [(Kind, &str); 4] = [
    (Kind::Gpe, "vxlan-gpe"),
    (Kind::Vxlan, "vxlan"),
    (Kind::Own, "kc-forwarder"),
    (Kind::Own, "others"),
];

/// Where names go that came when there were [`MAX_INTERFACES`] already.
const OTHERS: u16 = 3;

impl Interfaces {
    fn new() -> Self {
        let first = FIRST.iter().map(|&(kind, name)| (kind, name.to_owned()));
        Self {
            names: first.collect(),
            ports: Vec::new(),
            tunnels: Vec::new(),
        }
    }

    /// Numbers the ports and tunnels of `tables`; a name that had a number keeps it.
    fn adopt(&mut self, tables: &Compiled) {
        let ports = tables.ports().iter();
        let ports = ports.map(|port| (Kind::Port, port.name.as_str()));
        let tunnels = tables.tables().tunnels.iter();
        let tunnels = tunnels.map(|tunnel| (Kind::Tunnel, tunnel.name.as_str()));
        self.ports = ports.map(|(kind, name)| self.number(kind, name)).collect();
        self.tunnels = tunnels
            .map(|(kind, name)| self.number(kind, name))
            .collect();
    }

    fn number(&mut self, kind: Kind, name: &str) -> u16 {
        let mut known = self.names.iter();
        let place = known.position(|(k, n)| *k == kind && n == name);
        let place = place.unwrap_or_else(|| {
            let place = self.names.len();
            if place < MAX_INTERFACES {
                self.names.push((kind, name.to_owned()));
            }
            place
        });
        let number = u16::try_from(place).unwrap_or(OTHERS);
        if usize::from(number) < MAX_INTERFACES {
            number
        } else {
            OTHERS
        }
    }

    fn of(&self, via: Via) -> u16 {
        let number = match via {
            Via::Port(port) => self.ports.get(port.at()).copied(),
            Via::Tunnel(tunnel) => self.tunnels.get(usize::from(tunnel)).copied(),
            Via::Gpe => Some(0),
            Via::Vxlan => Some(1),
            Via::Own => Some(2),
        };
        number.unwrap_or(OTHERS)
    }

    fn name(&self, number: u16) -> (Kind, &str) {
        let known = self.names.get(usize::from(number));
        known.map_or((Kind::Own, ""), |(kind, name)| (*kind, name.as_str()))
    }
}

/// One capture, as the packet thread knows it.
#[derive(Debug)]
pub struct Tap {
    wanted: Capture,
    filter: Filter,
    interfaces: Interfaces,
    ring: Writer,
}

impl Tap {
    /// Writes what `wanted` asks for into `ring`.
    pub(super) fn new(wanted: Capture, ring: Writer) -> Self {
        Self {
            wanted,
            filter: Filter::default(),
            interfaces: Interfaces::new(),
            ring,
        }
    }

    fn adopt(&mut self, tables: &Compiled) {
        self.filter = Filter::new(&self.wanted, tables);
        self.interfaces.adopt(tables);
    }

    fn offer(&mut self, at_ns: u64, tables: &Compiled, sight: &Sight<'_>, shown: Option<u16>) {
        let interface = self.interfaces.of(sight.via);
        let (kind, name) = self.interfaces.name(interface);
        let function = shown.and_then(|function| tables.functions.get(usize::from(function)));
        let rules = &tables.tables().rules;
        let rule = sight.rule.and_then(|rule| rules.get(rule as usize));
        let target = sight.target.and_then(|port| tables.ports().get(port.at()));
        let tunnels = &tables.tables().tunnels;
        let tunnel = sight.tunnel.filter(|_| kind != Kind::Tunnel);
        let tunnel = tunnel.and_then(|tunnel| tunnels.get(usize::from(tunnel)));
        let [first, second] = sight.octets;
        let length = first.len() + second.len();
        let keep = usize::try_from(self.wanted.snaplen).unwrap_or(usize::MAX);
        let first = first.get(..keep).unwrap_or(first);
        let second = second.get(..keep - first.len()).unwrap_or(second);
        let record = Record {
            at_ns,
            point: sight.point,
            way: sight.way,
            interface,
            kind,
            name,
            outer: sight.outer,
            path: sight.path,
            vni: sight.vni,
            verdict: sight.verdict,
            function: function.map_or("", |function| function.name.as_str()),
            rule: rule.map_or("", |rule| rule.name.as_str()),
            target: target.map_or("", |port| port.name.as_str()),
            tunnel: tunnel.map_or("", |tunnel| tunnel.name.as_str()),
            lost: self.ring.lost(interface),
            length: u32::try_from(length).unwrap_or(u32::MAX),
            octets: [first, second],
        };
        if !record.push(&mut self.ring) {
            self.ring.lose(interface);
        }
    }
}

/// All captures.
#[derive(Debug)]
pub(crate) struct Taps {
    /// Whether anybody captures.
    pub(crate) on: bool,
    /// What is known of the frame at hand.
    pub(crate) seen: Seen,
    /// When the batch at hand was taken, in nanoseconds since 1970.
    pub(crate) at_ns: u64,
    /// UDP source ports that we send from, over IPv4 and over IPv6, by entropy.
    pub(crate) sources: [Vec<u16>; 2],
    taps: Vec<Tap>,
}

impl Default for Taps {
    fn default() -> Self {
        Self {
            on: false,
            seen: Seen::new(Via::Own, Layer::Ethernet),
            at_ns: 0,
            sources: [Vec::new(), Vec::new()],
            taps: Vec::new(),
        }
    }
}

impl Taps {
    /// Adds a capture, under `tables`.
    pub(crate) fn add(&mut self, mut tap: Tap, tables: &Compiled) {
        self.purge();
        tap.adopt(tables);
        self.taps.push(tap);
        self.on = true;
    }

    /// Goes on under new `tables`.
    pub(crate) fn adopt(&mut self, tables: &Compiled) {
        self.purge();
        self.taps.iter_mut().for_each(|tap| tap.adopt(tables));
    }

    /// Forgets captures that nobody reads any more. Their memory is freed by the reader's side,
    /// which holds on to it until this side has let go.
    pub(crate) fn purge(&mut self) {
        self.taps.retain(|tap| !tap.ring.is_closed());
        self.on = !self.taps.is_empty();
    }

    /// Whether a reader is to be woken. Once a batch is enough.
    pub(crate) fn want_waking(&self) -> bool {
        let woken = self.taps.iter().map(|tap| tap.ring.wants_waking());
        // All of them are asked: each forgets that it was asleep.
        woken.fold(false, |any, one| any | one)
    }

    /// The frame at hand is one that the forwarder makes itself, until the next one.
    pub(crate) fn begin_own(&mut self) -> Seen {
        std::mem::replace(&mut self.seen, Seen::new(Via::Own, Layer::Ethernet))
    }

    /// Shows a frame to everybody who wants to see it.
    pub(crate) fn show(&mut self, tables: &Compiled, sight: &Sight<'_>) {
        let traits = Traits {
            point: sight.point,
            path: sight.path,
            port: match sight.via {
                Via::Port(port) => Some(port),
                _ => None,
            },
            functions: sight.functions,
        };
        let [from, to] = sight.functions;
        for tap in &mut self.taps {
            if tap.filter.wants(&traits) && !tap.ring.is_closed() {
                tap.offer(self.at_ns, tables, sight, to.or(from));
            }
        }
    }
}
