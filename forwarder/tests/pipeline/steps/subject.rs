//! A pipeline that does what steps say, as a shell would, and judges what comes of each.

use super::guest::Guest;
use super::places::{Places, WayIn, chosen};
use super::{Kind, Step, Steps, mend};
use kc_forwarder::capture::{self, Printer, Progress, Scan};
use kc_forwarder::frame::{Checksum, Frame, Gso, GsoKind, Offload};
use kc_forwarder::pipeline::{
    Balance, Compiled, Egress, Ingress, Outputs, Pipeline, PortIndex, PortInfo,
};
use kc_forwarder::wire::nsh::{MetadataRepr, NextProtocol};
use kc_forwarder::wire::summary::Summary;
use kc_forwarder::wire::{ethernet, nsh, vxlan, vxlan_gpe};
use kc_forwarder_api::{Counters, DropReason, Echo, Ttl, Vni};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

/// Frames that can come back.
const REMEMBERED: usize = 16;
/// Octets of them.
const WORTH_REMEMBERING: usize = 4096;
/// Time that may pass in a step in which everything is done when it is due.
const PATIENCE_MS: u64 = 4096;
/// Turns between guest and pipeline before others are served.
const TURNS: usize = 16;
/// What the shell may say of a link.
const MTUS: [u16; 8] = [1500, 1500, 9000, 1280, 576, 296, 68, 65_535];

/// Tables that a step can put in force.
#[derive(Debug, Clone)]
pub(crate) struct Chosen {
    pub(crate) compiled: Arc<Compiled>,
    pub(crate) places: Rc<Places>,
}

impl Chosen {
    pub(crate) fn new(compiled: Compiled) -> Self {
        let places = Rc::new(Places::of(&compiled));
        let compiled = Arc::new(compiled);
        Self { compiled, places }
    }
}

/// See the module's documentation.
#[derive(Debug)]
pub(crate) struct Subject {
    pipeline: Pipeline,
    places: Rc<Places>,
    links: Vec<PortInfo>,
    out: Outputs,
    recent: VecDeque<(Egress, Vec<u8>)>,
    captures: Vec<(Printer, Scan)>,
    guest: Option<Guest>,
    refuses: bool,
    now_ms: u64,
    token: u64,
}

/// The MAC address of a port.
pub(crate) fn mac_of(port: PortIndex) -> [u8; 6] {
    let [high, low] = port.0.to_be_bytes();
    [2, 0xff, 0, 0, high, low]
}

impl Subject {
    /// A forwarder whose links are all up.
    pub(crate) fn new(tables: &Chosen) -> Self {
        let mut subject = Self {
            pipeline: Pipeline::new(Arc::clone(&tables.compiled)),
            places: Rc::clone(&tables.places),
            links: Vec::new(),
            out: Outputs::default(),
            recent: VecDeque::new(),
            captures: Vec::new(),
            guest: None,
            refuses: false,
            now_ms: 1_000,
            token: 0,
        };
        subject.links_up();
        subject
    }

    /// Puts tables in force.
    pub(crate) fn install(&mut self, tables: &Chosen) {
        self.places = Rc::clone(&tables.places);
        self.pipeline.install(Arc::clone(&tables.compiled));
        self.links_up();
    }

    fn links_up(&mut self) {
        self.links.clear();
        for port in (0..self.places.ports).map(PortIndex) {
            let (up, mtu, mac) = (true, 1500, mac_of(port));
            self.links.push(PortInfo { up, mtu, mac });
            self.pipeline.set_port(port, PortInfo { up, mtu, mac });
        }
    }

    /// Does all steps in `octets`; `tables` are what they can put in force.
    pub(crate) fn run(&mut self, octets: &[u8], tables: &mut dyn FnMut(u8, u8) -> Chosen) {
        for step in Steps(octets) {
            let refuses = std::mem::take(&mut self.refuses);
            self.step(&step, tables);
            self.judge(refuses);
            self.serve_guest();
        }
        self.read();
    }

    fn step(&mut self, step: &Step<'_>, tables: &mut dyn FnMut(u8, u8) -> Chosen) {
        let Step {
            a, b, c, octets, ..
        } = *step;
        match step.kind() {
            Kind::Port => {
                let mut bytes = octets.to_vec();
                if b & 0x80 != 0 {
                    mend::frame(&mut bytes, b & 0x40 != 0);
                }
                let mut frame = Frame::copy_of(&bytes);
                frame.offload = offload(&bytes, b, c);
                let port = PortIndex(u16::from(a) % (self.places.ports + 1));
                self.take(Ingress::Port(port), frame);
            }
            Kind::Gpe | Kind::Vxlan => {
                let remote = chosen(&self.places.remotes, a);
                let ingress = match step.kind() {
                    Kind::Gpe => Ingress::Gpe { remote },
                    _ => Ingress::Vxlan { remote },
                };
                self.take_marked(ingress, octets, b);
            }
            Kind::Service => self.service(step),
            Kind::Overlay => {
                let (remote, vni) = chosen(&self.places.peers, a);
                let plain = b & 1 == 0;
                let mut bytes = octets.to_vec();
                mend::frame(&mut bytes, b & 2 != 0);
                let next = vxlan_gpe::NextProtocol::Ethernet;
                bytes.splice(0..0, tunnel_header(vni, (!plain).then_some(next)));
                let ingress = if plain {
                    Ingress::Vxlan { remote }
                } else {
                    Ingress::Gpe { remote }
                };
                self.take_marked(ingress, &bytes, c);
            }
            Kind::Back => self.back(step),
            Kind::Guest => {
                let mut bytes = octets.to_vec();
                if b & 0x80 != 0 {
                    mend::frame(&mut bytes, b & 0x40 != 0);
                }
                self.take(Ingress::Guest, Frame::copy_of(&bytes));
            }
            Kind::Time => self.time(u64::from(u16::from_be_bytes([a, b])), c & 1 != 0),
            Kind::Link => {
                let port = PortIndex(u16::from(a) % (self.places.ports + 1));
                let mut mac = mac_of(port);
                mac[3] = b >> 1;
                let (up, mtu) = (b & 1 != 0, chosen(&MTUS, c));
                let info = PortInfo { up, mtu, mac };
                if let Some(link) = self.links.get_mut(usize::from(port.0)) {
                    *link = info;
                }
                self.pipeline.set_port(port, info);
            }
            Kind::Install => self.install(&tables(a, b)),
            Kind::Echo => {
                let (spi, si) = chosen(&self.places.hops, a);
                let echo = Echo {
                    spi,
                    si: (b & 0x80 != 0).then_some(si),
                    ttl: Ttl::new(b & 0x3f).ok().filter(|_| b & 0x40 != 0),
                    timeout_ms: u32::from(c) * 64,
                    size: u16::from(c) * 8,
                };
                self.token += 1;
                let (now_ms, token) = (self.now_ms, self.token);
                let _ = self.pipeline.echo(now_ms, token, &echo, &mut self.out);
            }
            Kind::Admit if b & 1 == 0 => self.admit(a, Guest::silent()),
            Kind::Admit => {
                self.pipeline.dismiss();
                self.guest = None;
            }
            Kind::Probe => {
                let ports = self.pipeline.tables().ports();
                if let Some(port) = ports.get(usize::from(a) % ports.len().max(1)) {
                    let guest = Guest::probing(port.name.clone(), b, c);
                    self.admit(a, guest);
                }
            }
            Kind::Capture => {
                // More would only cost memory: a ring has megabytes.
                if self.captures.is_empty() {
                    let wanted = serde_json::from_slice(octets).unwrap_or_default();
                    let (tap, printer) = capture::begin(&wanted, 5);
                    self.pipeline.tap(tap);
                    self.captures.push((printer, Scan::default()));
                }
            }
            Kind::Refuse => self.refuses = true,
            Kind::Read => {
                self.pipeline.expire(self.now_ms);
                self.read();
            }
        }
    }

    fn take(&mut self, ingress: Ingress, frame: Frame) {
        self.now_ms += 1;
        self.pipeline.set_time_us(self.now_ms * 1000);
        self.pipeline.set_capture_time(self.now_ms * 1_000_000);
        let mut batch = vec![frame];
        self.pipeline
            .process(self.now_ms, ingress, &mut batch, &mut self.out);
        assert!(batch.is_empty());
    }

    /// Lets somebody stand behind port `number`, in place of any other.
    fn admit(&mut self, number: u8, guest: Guest) {
        let ports = self.pipeline.tables().ports();
        if let Some(port) = ports.get(usize::from(number) % ports.len().max(1)) {
            let name = port.name.clone();
            let stands = self.pipeline.admit(&name, guest.mac());
            assert_eq!(stands, self.pipeline.has_guest());
            self.guest = stands.then_some(guest);
        }
    }

    /// Carries frames between the guest and the pipeline.
    fn serve_guest(&mut self) {
        for _ in 0..TURNS {
            let (now_ms, Some(guest)) = (self.now_ms, &mut self.guest) else {
                return;
            };
            if !self.pipeline.has_guest() {
                self.guest = None;
                return;
            }
            let take = |frame: &[u8]| guest.accept(now_ms, frame);
            self.pipeline.feed_guest(&mut self.out, take);
            let (mut frames, over) = guest.poll(now_ms);
            if over {
                self.guest = None;
            }
            let quiet = frames.is_empty();
            self.pipeline
                .process(now_ms, Ingress::Guest, &mut frames, &mut self.out);
            self.judge(false);
            if over {
                self.pipeline.dismiss();
            }
            if quiet {
                return;
            }
        }
    }

    fn take_marked(&mut self, ingress: Ingress, bytes: &[u8], class: u8) {
        let mut frame = Frame::copy_of(bytes);
        frame.offload.outer_class = class;
        self.take(ingress, frame);
    }

    /// An NSH from an SFF or a function.
    fn service(&mut self, step: &Step<'_>) {
        let (spi, si) = chosen(&self.places.hops, step.a);
        let mut inner = step.octets.to_vec();
        let next = match step.c & 7 {
            0..4 => NextProtocol::Ethernet,
            4 => NextProtocol::Ipv4,
            5 => NextProtocol::Ipv6,
            6 => NextProtocol::Mpls,
            // RFC 9451.
            _ => NextProtocol::Other(7),
        };
        match next {
            NextProtocol::Ethernet => mend::frame(&mut inner, step.c & 8 != 0),
            NextProtocol::Ipv4 | NextProtocol::Ipv6 => mend::packet(&mut inner, step.c & 8 != 0),
            _ => {}
        }
        let contexts = [0xff, 0xf6, 1, 3, 1, 2, 3, 0];
        let metadata = match step.c & 0x30 {
            0 => MetadataRepr::Two(&[]),
            0x10 => MetadataRepr::Two(&contexts),
            _ => MetadataRepr::One([step.c; 16]),
        };
        let repr = nsh::Repr {
            oam: matches!(next, NextProtocol::Other(_)),
            ttl: Ttl::new([63, 0, 1, 2][usize::from(step.c >> 6)]).unwrap(),
            next,
            spi,
            si,
            metadata,
        };
        let mut bytes = vec![0; repr.buffer_len()];
        repr.emit(&mut bytes);
        bytes.extend(inner);
        match chosen(&self.places.ways, step.b) {
            WayIn::Gpe { remote, vni } => {
                let header = tunnel_header(vni, Some(vxlan_gpe::NextProtocol::Nsh));
                bytes.splice(0..0, header);
                self.take_marked(Ingress::Gpe { remote }, &bytes, 0);
            }
            WayIn::Ethernet { port, vlan } => {
                let mut front = [&self.mac(port)[..], &[2, 0, 0, 0, 9, 9]].concat();
                if let Some(vlan) = vlan {
                    front.extend([0x81, 0]);
                    front.extend(vlan.to_be_bytes());
                }
                front.extend(ethernet::ethertype::NSH.to_be_bytes());
                bytes.splice(0..0, front);
                self.take_marked(Ingress::Port(port), &bytes, 0);
            }
        }
    }

    fn mac(&self, port: PortIndex) -> [u8; 6] {
        let link = self.links.get(usize::from(port.0));
        link.map_or(mac_of(port), |link| link.mac)
    }

    /// A frame that left comes back: out of the function that it went into, from the station that
    /// it went to, or from another SFF.
    fn back(&mut self, step: &Step<'_>) {
        let Step { a, b, octets, .. } = *step;
        if self.recent.is_empty() {
            return;
        }
        let last = self.recent.len() - 1 - usize::from(a) % self.recent.len();
        let (egress, mut bytes) = self.recent[last].clone();
        match b & 3 {
            1 => mend::turn(&mut bytes, false),
            2 => mend::turn(&mut bytes, true),
            _ => {}
        }
        for patch in octets.chunks_exact(3) {
            let place = usize::from(u16::from_be_bytes([patch[0], patch[1]]));
            if let Some(octet) = bytes.get_mut(place) {
                *octet = patch[2];
            }
        }
        let ingress = match egress {
            Egress::Port(port) => {
                if b & 0x80 != 0 {
                    mend::frame(&mut bytes, false);
                }
                // The tables may be others by now.
                let opposite = self.places.opposite.get(usize::from(port.0));
                Ingress::Port(match b & 4 {
                    0 => opposite.copied().unwrap_or(port),
                    _ => port,
                })
            }
            Egress::Gpe { remote, .. } => Ingress::Gpe {
                remote: remote.ip(),
            },
            Egress::Vxlan { remote, .. } => Ingress::Vxlan {
                remote: remote.ip(),
            },
        };
        self.take_marked(ingress, &bytes, step.c);
    }

    fn time(&mut self, ms: u64, late: bool) {
        let until = self.now_ms + if late { ms * 16 } else { ms % PATIENCE_MS };
        while let Some(due) = self.pipeline.next_deadline().filter(|due| *due <= until) {
            self.now_ms = if late { until } else { due.max(self.now_ms) };
            self.pipeline.set_time_us(self.now_ms * 1000);
            self.pipeline.tick(self.now_ms, &mut self.out);
            self.judge(false);
            // Otherwise the shell would not sleep.
            let next = self.pipeline.next_deadline();
            assert!(next.is_none_or(|next| next > self.now_ms), "{next:?}");
        }
        self.now_ms = until;
    }

    /// Everything that somebody may ask for.
    fn read(&mut self) {
        let counters = self.pipeline.counters();
        serde_json::to_vec(&counters).unwrap();
        let dropped: u64 = counters.drops.values().sum();
        assert_eq!(dropped, self.pipeline.balance().dropped);
        let (tunnels, functions) = self.pipeline.health(self.now_ms);
        serde_json::to_vec(&(tunnels, functions)).unwrap();
        serde_json::to_vec(&self.pipeline.neighbours(self.now_ms)).unwrap();
        let news = self.pipeline.has_news();
        let told = self.pipeline.outcomes().len() + self.pipeline.health_events().len();
        assert_eq!(news, told > 0);
        if let Some((mut printer, mut scan)) = self.captures.pop() {
            let mut file = Vec::new();
            printer.begin(&mut file);
            let limited = printer.print(&mut file, 100, 9) == Progress::Done;
            if !limited {
                printer.end();
                assert_eq!(printer.print(&mut file, usize::MAX, 9), Progress::Done);
            }
            file.chunks(7).for_each(|part| scan.feed(part));
            assert!(file.len() % 4 == 0 && scan.complete == (scan.packets > 0));
        }
    }

    /// Checks what came out, and takes it.
    fn judge(&mut self, refuses: bool) {
        let compiled = Arc::clone(self.pipeline.tables());
        let tables = compiled.tables();
        for (egress, frame) in self.out.frames.drain(..) {
            match egress {
                Egress::Port(port) => {
                    let summary = Summary::of(frame.bytes(), None);
                    let link = self.links[usize::from(port.0)];
                    assert!(link.up, "a frame left by a port that is down");
                    let own = tables.ports[usize::from(port.0)].mtu;
                    let mtu = usize::from(own.map_or(link.mtu, |own| own.min(link.mtu)));
                    let head = &frame.bytes()[..frame.len().min(64)];
                    assert!(
                        frame.len() - summary.l3 <= mtu,
                        "{} octets on {mtu}: {head:02x?}",
                        frame.len()
                    );
                }
                Egress::Gpe { remote, .. } | Egress::Vxlan { remote, .. } => {
                    let underlay = tables.underlay.as_ref().unwrap();
                    let outer = if remote.is_ipv4() { 28 } else { 48 };
                    assert!(frame.len() + outer <= usize::from(underlay.mtu));
                    let own = underlay.address.towards(remote.ip());
                    assert!(own.is_some_and(|own| own != remote.ip()));
                }
            }
            assert_eq!((frame.offload.gso, frame.offload.vlan), (None, None));
            if frame.len() <= WORTH_REMEMBERING {
                if self.recent.len() == REMEMBERED {
                    self.recent.pop_front();
                }
                self.recent.push_back((egress, frame.bytes().to_vec()));
            }
            if refuses {
                let length = frame.len() as u64;
                self.pipeline.refused(egress, DropReason::TxFull, 1, length);
            }
            self.out.pool.give(frame);
        }
        let balance = self.pipeline.balance();
        assert!(balance.holds(), "{balance:?}");
    }
}

#[allow(dead_code, reason = "a fuzzer asks nothing")]
impl Subject {
    pub(crate) fn counters(&self) -> Counters {
        self.pipeline.counters()
    }

    pub(crate) fn balance(&self) -> Balance {
        self.pipeline.balance()
    }
}

/// VXLAN in front of a frame, or VXLAN-GPE in front of `next`.
fn tunnel_header(vni: u32, next: Option<vxlan_gpe::NextProtocol>) -> [u8; 8] {
    let mut header = [0; 8];
    let vni = Vni::new(vni).unwrap();
    match next {
        Some(next) => vxlan_gpe::Repr {
            vni,
            next,
            oam: false,
        }
        .emit(&mut header),
        None => vxlan::Repr { vni }.emit(&mut header),
    }
    header
}

/// What a kernel may say of a frame, be it true or not.
fn offload(bytes: &[u8], b: u8, c: u8) -> Offload {
    let summary = Summary::of(bytes, None);
    let start = u16::try_from(summary.l4.unwrap_or(usize::from(c))).unwrap_or(0);
    let checksum = match b & 3 {
        0 => Checksum::Unknown,
        1 => Checksum::Complete,
        2 => Checksum::Partial {
            start,
            offset: if summary.protocol == 17 { 6 } else { 16 },
        },
        _ => Checksum::Partial {
            start: u16::from(c),
            offset: u16::from(c & 0x1f),
        },
    };
    let kind = [GsoKind::Tcp, GsoKind::Udp, GsoKind::Other][usize::from((b >> 3) & 3) % 3];
    Offload {
        vlan: (b & 0x20 != 0).then(|| [1, 2, 3, 7, 9, 0, 4095, 0x6007][usize::from(c & 7)]),
        checksum,
        gso: (b & 4 != 0).then(|| Gso {
            size: u16::from(c) * 8,
            kind,
        }),
        outer_class: 0,
    }
}
