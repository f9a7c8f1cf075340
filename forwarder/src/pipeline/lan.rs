//! NSH in Ethernet between SFFs on a LAN (RFC 8300 section 9.1), tagged or not, and what it takes
//! to find them there. Everything else on such a port is an access port's.

use super::access::finish_checksum;
use super::oam::Via;
use super::run::{Origin, Run};
use super::state::State;
use super::{Pipeline, PortIndex};
use crate::frame::Frame;
use crate::limits::Bucket;
use crate::neighbour::{self, Neighbours, Overdue, Question, Said, Way};
use crate::stats::Traffic;
use crate::tables::{Compiled, CompiledTunnel, LanHop, Station};
use crate::wire::ethernet::{self, ethertype};
use crate::wire::summary::Summary;
use crate::wire::vlan;
use kc_forwarder_api::{DropReason, MacAddr, NeighbourStatus, Vid};
use rustc_hash::FxHashMap;

/// Answers to neighbours a second, and at once.
const ANSWER_RATE: (u64, u64) = (1000, 200);

/// What changes on LANs.
#[derive(Debug)]
pub(super) struct LanState {
    pub(super) neighbours: Neighbours,
    /// Tunnel by (port, tag, MAC address) of the other SFF, for the counters.
    macs: FxHashMap<(u16, u16, [u8; 6]), u16>,
    /// By a tunnel's number; those over UDP stay at zero. What a port's kernel refuses is taken
    /// back from the port only.
    pub(super) traffic: Vec<Traffic>,
    answers: Bucket,
    /// What is due in the tick at hand; empty between ticks.
    overdue: Vec<Overdue>,
    /// Ports whose LANs are to be told where we are; each once.
    unannounced: Vec<PortIndex>,
}

impl LanState {
    pub(super) fn new(tables: &Compiled) -> Self {
        let (rate, burst) = ANSWER_RATE;
        let mut state = Self {
            neighbours: Neighbours::new(tables.lans.neighbours.len()),
            macs: FxHashMap::default(),
            traffic: Vec::new(),
            answers: Bucket::new(rate, burst),
            overdue: Vec::new(),
            unannounced: Vec::new(),
        };
        state.number(tables);
        state
    }

    /// When something is due.
    pub(super) fn next_deadline(&self) -> Option<u64> {
        if self.unannounced.is_empty() {
            self.neighbours.next_deadline()
        } else {
            Some(0)
        }
    }

    /// A port came up, or is another one by its address: whoever knew us there, knows too little.
    pub(super) fn port_changed(&mut self, port: PortIndex) {
        if !self.unannounced.contains(&port) {
            self.unannounced.push(port);
        }
    }

    /// Who is known to send by which tunnel.
    pub(super) fn senders(&self) -> impl Iterator<Item = ((u16, u16, [u8; 6]), u16)> {
        self.macs.iter().map(|(sender, tunnel)| (*sender, *tunnel))
    }

    /// Fills in what follows from the tables.
    fn number(&mut self, tables: &Compiled) {
        self.traffic
            .resize(tables.tunnels.len(), Traffic::default());
        self.macs.clear();
        for (number, tunnel) in (0..).zip(&tables.tunnels) {
            let CompiledTunnel::Lan(hop) = tunnel else {
                continue;
            };
            let mac = match hop.to {
                Station::Mac(mac) => Some(mac),
                Station::Neighbour(neighbour) => self.neighbours.mac(neighbour),
            };
            if let Some(mac) = mac {
                let key = (hop.port.0, hop.vlan, mac);
                self.macs.entry(key).or_insert(number);
            }
        }
    }
}

impl State {
    /// Goes on with the neighbours and counters of those tunnels that stay.
    pub(super) fn adopt_lans(&mut self, old: &Compiled, new: &Compiled) {
        // Another interface under a port's name is another LAN.
        let former_port = |port: PortIndex| {
            let port = new.ports().get(port.at())?;
            let index = old.port_index(&port.name)?;
            let former = old.ports().get(index.at())?;
            (former.interface == port.interface).then_some(index)
        };
        let former = |place: usize| {
            let neighbour = new.lans.neighbours.get(place)?;
            let port = former_port(neighbour.port)?;
            old.lans.number(port, neighbour.vlan, neighbour.address)
        };
        let count = new.lans.neighbours.len();
        let lost = self.lan.neighbours.adopt(count, former).len() as u64;
        self.balance.held = self.balance.held.saturating_sub(lost);
        self.dropped(DropReason::NoNeighbour, lost);

        self.lan.unannounced.clear();
        for (place, port) in (0..).map(PortIndex).zip(new.ports()) {
            let before = former_port(place).and_then(|index| old.ports().get(index.at()));
            let known = before.map_or(&[][..], |before| &before.addresses);
            let is_news = port.addresses.iter().any(|own| !known.contains(own));
            let up = self.ports.get(place.at()).is_some_and(|port| port.is_up());
            if is_news && up {
                self.lan.port_changed(place);
            }
        }

        let tunnels = |tables: &Compiled| {
            let tunnels = tables
                .tables()
                .tunnels
                .iter()
                .map(|tunnel| tunnel.name.clone());
            tunnels.zip(0_usize..).collect::<FxHashMap<_, _>>()
        };
        let held = std::mem::take(&mut self.lan.traffic);
        let places = tunnels(old);
        let traffic = new.tables().tunnels.iter().map(|tunnel| {
            let place = places.get(&tunnel.name)?;
            held.get(*place).copied()
        });
        self.lan.traffic = traffic.map(Option::unwrap_or_default).collect();
        self.lan.number(new);
    }
}

/// The part of a frame in front of what matters here.
struct Head {
    /// 802.1Q tag, 0 for none.
    vlan: u16,
    ethertype: u16,
    /// Octets up to the payload.
    len: usize,
}

impl Head {
    /// Reads it, whether the kernel took the tag out or left it.
    fn of(frame: &Frame) -> Option<Self> {
        let bytes = frame.bytes();
        let kind = |at: usize| Some(u16::from_be_bytes([*bytes.get(at)?, *bytes.get(at + 1)?]));
        let (beside, inside) = (frame.offload.vlan.map(vlan::vid), kind(12)?);
        let (vlan, ethertype, len) = match (beside, inside) {
            (None, ethertype::VLAN) => {
                let inner = kind(ethernet::HEADER_LEN + 2)?;
                (
                    vlan::vid(kind(14)?),
                    inner,
                    ethernet::HEADER_LEN + vlan::HEADER_LEN,
                )
            }
            (tag, ethertype) => (tag.unwrap_or(0), ethertype, ethernet::HEADER_LEN),
        };
        Some(Self {
            vlan,
            ethertype,
            len,
        })
    }
}

impl Pipeline {
    /// All next hops on LANs, as of `now_ms`.
    pub fn neighbours(&self, now_ms: u64) -> Vec<NeighbourStatus> {
        let neighbours = &self.state.lan.neighbours;
        let known = self.tables.lans.neighbours.iter().zip(0..);
        let told = known.zip(neighbours.told(now_ms));
        told.filter_map(|((at, number), state)| {
            Some(NeighbourStatus {
                address: at.address,
                port: self.tables.ports().get(at.port.at())?.name.clone(),
                vlan: Vid::new(at.vlan).ok(),
                mac: neighbours.mac(number).map(MacAddr),
                state: state.into(),
            })
        })
        .collect()
    }
}

impl Run<'_> {
    /// One frame from a port that is on a LAN of other SFFs.
    pub(super) fn lan(&mut self, port: PortIndex, frame: Frame) {
        let head = Head::of(&frame).filter(|head| self.tables.lans.has(port, head.vlan));
        let Some(head) = head else {
            return self.access(port, frame);
        };
        match head.ethertype {
            ethertype::NSH if self.is_for_us(port, &frame) => self.take_lan_nsh(port, &head, frame),
            ethertype::IPV4 | ethertype::IPV6 if self.is_underlay(port, &head, &frame) => {
                self.consume(frame);
            }
            ethertype::ARP | ethertype::IPV6 => self.hear(port, &head, frame),
            _ => self.access(port, frame),
        }
    }

    /// The MAC address of a port that is up.
    fn own_mac(&self, port: PortIndex) -> Option<[u8; 6]> {
        let info = self.state.ports.get(port.at())?.info?;
        info.up.then_some(info.mac)
    }

    /// Ports are promiscuous: a switch that does not know a station sends its frames to all.
    fn is_for_us(&self, port: PortIndex, frame: &Frame) -> bool {
        let own = self.own_mac(port);
        own.is_some_and(|own| frame.bytes().starts_with(&own))
    }

    /// Whether a frame is the underlay's: where a LAN and tunnels over UDP share an interface, the
    /// port sees a copy of what the underlay's sockets receive, and there it is counted.
    fn is_underlay(&self, port: PortIndex, head: &Head, frame: &Frame) -> bool {
        let Some(underlay) = &self.tables.tables().underlay else {
            return false;
        };
        if !self.is_for_us(port, frame) {
            return false;
        }
        let packet = Summary::of_ip(frame.bytes().get(head.len..).unwrap_or_default());
        // The parts of a datagram name its ports in the first of them only.
        let ports = [underlay.gpe_port, underlay.vxlan_port];
        packet.protocol == 17
            && (packet.fragment || ports.contains(&packet.destination_port))
            && packet
                .addresses()
                .is_some_and(|(_, to)| underlay.address.iter().any(|own| own == to))
    }

    fn take_lan_nsh(&mut self, port: PortIndex, head: &Head, mut frame: Frame) {
        let source = frame.bytes().get(6..12).and_then(|mac| mac.try_into().ok());
        let key = source.map(|mac| (port.0, head.vlan, mac));
        let tunnel = key.and_then(|key| self.state.lan.macs.get(&key)).copied();
        if self.state.taps.on {
            self.saw_neighbour(port, &frame, tunnel);
        }
        if let Some(tunnel) = tunnel
            && let Some(traffic) = self.state.lan.traffic.get_mut(usize::from(tunnel))
        {
            traffic.rx.add(frame.len());
        }
        finish_checksum(&mut frame, 0);
        frame.offload.vlan = None;
        frame.pull(head.len);
        let (via, origin) = (Via::Lan(tunnel), Origin::Lan(port, tunnel));
        if let Some((frame, packet, hop)) = self.take_nsh(frame, via, origin) {
            self.steer(frame, &packet, &hop, u16::MAX, origin);
        }
    }

    /// ARP or IPv6: learned from, answered where we are asked, and otherwise none of ours.
    fn hear(&mut self, port: PortIndex, head: &Head, frame: Frame) {
        let payload = frame.bytes().get(head.len..).unwrap_or_default();
        let Some(said) = Said::read(head.ethertype, payload) else {
            return self.access(port, frame);
        };
        let to_us = self.tables.lans.is_own(port, said.to);
        if let Some((address, mut heard)) = said.news
            && let Some(number) = self.tables.lans.number(port, head.vlan, address)
        {
            heard.solicited &= to_us;
            if self.state.lan.neighbours.hear(number, self.now_ms, heard) {
                self.moved(number);
                self.release(number);
            }
        }
        match said.asked {
            Some(asked) if self.tables.lans.is_own(port, asked.target) => {
                let by_mac = frame.bytes().get(6..12).and_then(|mac| mac.try_into().ok());
                if let (Some(by_mac), Some(mac)) = (by_mac, self.own_mac(port))
                    && self.state.lan.answers.take(self.now_ms)
                {
                    let vlan = head.vlan;
                    let station = neighbour::Station { mac, vlan };
                    self.generate(port, |answer| {
                        neighbour::answer(answer, station, &asked, by_mac)
                    });
                }
                self.consume(frame);
            }
            None if to_us => self.consume(frame),
            _ => self.access(port, frame),
        }
    }

    /// A frame of our own making, out of `port`.
    fn generate(&mut self, port: PortIndex, write: impl FnOnce(&mut Frame) -> Option<()>) {
        let mut frame = self.out.pool.take();
        let written = write(&mut frame);
        // Tables may say of any link that it carries next to nothing.
        let mtu = usize::from(self.port_mtu(port));
        match written {
            Some(()) if frame.len() <= mtu + ethernet::HEADER_LEN => {
                self.state.balance.generated += 1;
                let seen = self.state.taps.begin_own();
                self.emit_port(port, frame);
                self.state.taps.seen = seen;
            }
            _ => self.out.pool.give(frame),
        }
    }

    /// Asks for a neighbour.
    fn ask(&mut self, number: u16, question: Question) {
        let Some(&to) = self.tables.lans.neighbours.get(usize::from(number)) else {
            return;
        };
        // A port that is down carries no questions; the next one may.
        if let Some(mac) = self.own_mac(to.port) {
            let vlan = to.vlan;
            let station = neighbour::Station { mac, vlan };
            self.generate(to.port, |frame| {
                neighbour::ask(frame, station, to.source, to.address, question)
            });
        }
    }

    /// Somebody else has sent to a neighbour whose MAC address we told.
    pub(super) fn used_neighbour(&mut self, number: u16) {
        if let (_, Some(question)) = self.state.lan.neighbours.way(number, self.now_ms) {
            self.ask(number, question);
        }
    }

    /// Sends a frame, whose NSH is in `state.nsh`, to another SFF on a LAN by tunnel `number`.
    pub(super) fn send_to_lan(&mut self, mut frame: Frame, number: u16, hop: &LanHop) {
        let Some(own) = self.own_mac(hop.port) else {
            return self.drop(frame, DropReason::PortDown);
        };
        let (way, question) = match hop.to {
            Station::Mac(mac) => (Way::To(mac), None),
            Station::Neighbour(number) => self.state.lan.neighbours.way(number, self.now_ms),
        };
        if way == Way::Silent {
            return self.drop(frame, DropReason::NoNeighbour);
        }
        write_head(&mut frame, own, hop.vlan, self.state.nsh.octets());
        match (way, hop.to) {
            (Way::To(mac), _) => self.emit_lan(hop.port, mac, number, frame),
            (_, Station::Neighbour(neighbour)) => {
                self.state.balance.held += 1;
                if let Some(oldest) = self.state.lan.neighbours.hold(neighbour, frame) {
                    self.state.balance.held -= 1;
                    self.drop_held(oldest, number);
                }
            }
            _ => self.drop(frame, DropReason::NoNeighbour),
        }
        if let (Some(question), Station::Neighbour(neighbour)) = (question, hop.to) {
            self.ask(neighbour, question);
        }
    }

    fn emit_lan(&mut self, port: PortIndex, mac: [u8; 6], tunnel: u16, mut frame: Frame) {
        if let Some(destination) = frame.bytes_mut().first_chunk_mut() {
            *destination = mac;
        }
        if let Some(traffic) = self.state.lan.traffic.get_mut(usize::from(tunnel)) {
            traffic.tx.add(frame.len());
        }
        if !self.state.taps.on {
            return self.emit_port(port, frame);
        }
        let seen = self.state.taps.seen;
        self.saw_lan(&frame, tunnel);
        self.emit_port(port, frame);
        self.state.taps.seen = seen;
    }

    /// The end of a frame, ready to leave by `tunnel`, that has waited for nothing.
    fn drop_held(&mut self, frame: Frame, tunnel: u16) {
        let seen = self.state.taps.seen;
        if self.state.taps.on {
            self.saw_lan(&frame, tunnel);
        }
        self.drop(frame, DropReason::NoNeighbour);
        self.state.taps.seen = seen;
    }

    /// A neighbour has another MAC address: what comes from there is of its tunnel.
    fn moved(&mut self, number: u16) {
        let to = self.tables.lans.neighbours.get(usize::from(number));
        let mac = self.state.lan.neighbours.mac(number);
        if let (Some(to), Some(mac)) = (to, mac) {
            let macs = &mut self.state.lan.macs;
            macs.retain(|_, tunnel| *tunnel != to.tunnel);
            macs.insert((to.port.0, to.vlan, mac), to.tunnel);
        }
    }

    /// Sends what has waited for a neighbour that is known now.
    fn release(&mut self, number: u16) {
        let held = self.state.lan.neighbours.release(number);
        let Some(&to) = self.tables.lans.neighbours.get(usize::from(number)) else {
            return;
        };
        for frame in held {
            self.state.balance.held -= 1;
            let (way, question) = self.state.lan.neighbours.way(number, self.now_ms);
            match way {
                Way::To(mac) => self.emit_lan(to.port, mac, to.tunnel, frame),
                Way::Wait | Way::Silent => self.drop_held(frame, to.tunnel),
            }
            if let Some(question) = question {
                self.ask(number, question);
            }
        }
    }

    /// Tells the LANs of a port which addresses are ours.
    fn announce(&mut self, port: PortIndex) {
        let tables = self.tables;
        let Some((mac, known)) = self.own_mac(port).zip(tables.ports().get(port.at())) else {
            return;
        };
        for vlan in tables.lans.tags(port) {
            let station = neighbour::Station { mac, vlan };
            for &own in &known.addresses {
                if self.state.lan.answers.take(self.now_ms) {
                    self.generate(port, |frame| neighbour::announce(frame, station, own));
                }
            }
        }
    }

    /// Asks again whoever has not answered, and gives up whoever did not in the end.
    pub(super) fn tick_neighbours(&mut self) {
        while let Some(port) = self.state.lan.unannounced.pop() {
            self.announce(port);
        }
        let mut overdue = std::mem::take(&mut self.state.lan.overdue);
        self.state.lan.neighbours.overdue(self.now_ms, &mut overdue);
        for what in overdue.drain(..) {
            match what {
                Overdue::Ask(number, question) => self.ask(number, question),
                Overdue::GaveUp(number) => {
                    let to = self.tables.lans.neighbours.get(usize::from(number));
                    let tunnel = to.map_or(u16::MAX, |to| to.tunnel);
                    for frame in self.state.lan.neighbours.release(number) {
                        self.state.balance.held -= 1;
                        self.drop_held(frame, tunnel);
                    }
                }
            }
        }
        self.state.lan.overdue = overdue;
    }
}

/// Writes Ethernet, tag and NSH in front of an inner frame; the destination is left for later.
fn write_head(frame: &mut Frame, own: [u8; 6], tag: u16, nsh: &[u8]) {
    let tag_len = if tag == 0 { 0 } else { vlan::HEADER_LEN };
    let outer = frame.push(ethernet::HEADER_LEN + tag_len + nsh.len());
    let (header, inner) = outer.split_at_mut(ethernet::HEADER_LEN + tag_len);
    inner.copy_from_slice(nsh);
    let (addresses, rest) = header.split_at_mut(12);
    addresses[..6].fill(0);
    addresses[6..].copy_from_slice(&own);
    let (tags, kind) = rest.split_at_mut(tag_len);
    kind.copy_from_slice(&ethertype::NSH.to_be_bytes());
    if let [a, b, c, d] = tags {
        [*a, *b] = ethertype::VLAN.to_be_bytes();
        [*c, *d] = tag.to_be_bytes();
    }
}
