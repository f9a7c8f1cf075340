//! Captures of Open vSwitch 3.1 and scapy 2.5, replayed whole: through the wire code, and through a
//! pipeline whose tables expect them; then cut short and damaged.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

mod captures;
#[path = "../frames/mod.rs"]
mod frames;

use fastrand::Rng;
use frames::{feed, golden, walk_ethernet};
use kc_forwarder::frame::Frame;
use kc_forwarder::pipeline::{Compiled, Egress, Ingress, Outputs, Pipeline, PortIndex, PortInfo};
use kc_forwarder::wire::{ethernet, ipv4, udp};
use kc_forwarder_api::{DropReason, PortName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was captured, by name; Open vSwitch sent each of three frames twice.
pub(crate) const FILES: [(&str, &[u8]); 5] = [
    (
        "ovs-3.1-nsh-encap-md1",
        include_bytes!("../data/ovs-3.1-nsh-encap-md1.pcap"),
    ),
    (
        "ovs-3.1-nsh-forward",
        include_bytes!("../data/ovs-3.1-nsh-forward.pcap"),
    ),
    (
        "ovs-3.1-vxlan-gpe-nsh",
        include_bytes!("../data/ovs-3.1-vxlan-gpe-nsh.pcap"),
    ),
    (
        "ovs-3.1-vxlan",
        include_bytes!("../data/ovs-3.1-vxlan.pcap"),
    ),
    (
        "scapy-2.5-nsh",
        include_bytes!("../data/scapy-2.5-nsh.pcap"),
    ),
];

/// Where the frames of all captures were on their way to.
const TABLES: &str = r#"
    [underlay]
    address = "10.2.0.2"
    [[ports]]
    name = "ovs"
    [[ports]]
    name = "scapy"
    [[ports]]
    name = "end"
    [[ports]]
    name = "member"
    [[ports]]
    name = "other"
    [[tunnels]]
    name = "ovs-lan"
    transport = { ethernet = { port = "ovs", next-hop = "02:00:00:00:00:0d" } }
    [[tunnels]]
    name = "ovs"
    transport = { vxlan-gpe = { remote = "10.2.0.1", vni = 200 } }
    [[tunnels]]
    name = "scapy-lan"
    transport = { ethernet = { port = "scapy", next-hop = "02:00:00:00:00:a1" } }
    [[tunnels]]
    name = "scapy"
    transport = { vxlan-gpe = { remote = "192.168.60.1", vni = 291 } }
    [[segments]]
    vni = 200
    ports = ["member"]
    peers = ["10.2.0.1"]
    [[segments]]
    vni = 5
    ports = ["other"]
    peers = ["192.168.60.1"]
    [[paths]]
    spi = 100
    hops = [
        { si = 255, to = { egress = { port = "end" } } },
        { si = 254, to = { egress = { port = "end" } } },
    ]
    [[paths]]
    spi = 42
    hops = [
        { si = 255, to = { egress = { port = "end" } } },
        { si = 254, to = { tunnel = { name = "ovs" } } },
    ]
    [[paths]]
    spi = 7
    hops = [{ si = 10, to = { egress = { port = "end" } } }]
    [[paths]]
    spi = 9
    hops = [{ si = 200, to = { segment = { vni = 200 } } }]
"#;

/// MAC addresses that the frames are for, by port.
const MACS: [[u8; 6]; 5] = [
    [2, 0, 0, 0, 0, 0x0e],
    [2, 0, 0, 0, 0, 0xa2],
    [2, 0, 0, 0, 1, 1],
    [2, 0, 0, 0, 1, 2],
    [2, 0, 0, 0, 1, 3],
];

/// A forwarder that receives.
struct Receiver {
    pipeline: Pipeline,
    out: Outputs,
    /// Frames by where they left.
    left: BTreeMap<String, u64>,
}

impl Receiver {
    fn new() -> Self {
        let compiled = Compiled::new(toml::from_str(TABLES).unwrap()).unwrap();
        let mut pipeline = Pipeline::new(Arc::new(compiled));
        for (port, mac) in (0..).map(PortIndex).zip(MACS) {
            let info = PortInfo {
                up: true,
                mtu: 1500,
                mac,
            };
            pipeline.set_port(port, info);
        }
        Self {
            pipeline,
            out: Outputs::default(),
            left: BTreeMap::new(),
        }
    }

    fn take(&mut self, ingress: Ingress, octets: &[u8]) {
        let mut batch = vec![Frame::copy_of(octets)];
        self.pipeline.process(1, ingress, &mut batch, &mut self.out);
        assert!(batch.is_empty() && self.pipeline.balance().holds());
        let ports = self.pipeline.tables().ports();
        for (egress, frame) in self.out.frames.drain(..) {
            let name = match egress {
                Egress::Port(port) => ports[usize::from(port.0)].name.to_string(),
                Egress::Gpe { remote, .. } => format!("gpe {}", remote.ip()),
                Egress::Vxlan { remote, .. } => format!("vxlan {}", remote.ip()),
            };
            *self.left.entry(name).or_insert(0) += 1;
            self.out.pool.give(frame);
        }
    }

    fn port(&self, name: &str) -> Ingress {
        let name = PortName::new(name).unwrap();
        Ingress::Port(self.pipeline.tables().port_index(&name).unwrap())
    }

    /// How a frame of capture `name` gets into the pipeline, and what of it: the kernel takes
    /// outer headers of UDP off.
    fn arrival<'a>(&self, name: &str, frame: &'a [u8]) -> (Ingress, &'a [u8]) {
        let at = ethernet::HEADER_LEN + ipv4::HEADER_LEN;
        let own = self.port(name.split('-').next().unwrap());
        if frame[12..14] != ethernet::ethertype::IPV4.to_be_bytes() {
            return (own, frame);
        }
        let ip = ipv4::Packet::new_checked(&frame[ethernet::HEADER_LEN..]).unwrap();
        let remote = ip.source().into();
        let datagram = udp::Packet::new_checked(&frame[at..]).unwrap();
        let payload = &frame[at + udp::HEADER_LEN..];
        match datagram.destination() {
            4790 => (Ingress::Gpe { remote }, payload),
            4789 => (Ingress::Vxlan { remote }, payload),
            _ => (own, frame),
        }
    }

    fn dropped(&self) -> BTreeMap<DropReason, u64> {
        self.pipeline.counters().drops
    }
}

#[test]
fn every_header_of_every_capture_is_written_as_it_was_read() {
    let known: BTreeMap<_, _> = golden().into_iter().collect();
    let mut headers: BTreeMap<_, u64> = BTreeMap::new();
    let mut found = 0;
    for (name, file) in FILES {
        for (number, frame) in captures::frames(file).iter().enumerate() {
            walk_ethernet(frame, &mut |header, wire, written| {
                assert_eq!(wire, written, "{header} in frame {number} of {name}");
                *headers.entry(header).or_insert(0) += 1;
            })
            .unwrap_or_else(|error| panic!("{name}, frame {number}: {error}"));
            // The frames that other tests know by name are of these captures.
            if let Some(golden) = known.get(format!("{name}-{}", number + 1).as_str()) {
                assert_eq!(golden, frame, "{name}, frame {number}");
                found += 1;
            }
        }
    }
    assert_eq!(found, known.len());
    let counted = [
        ("ethernet", 64),
        ("ipv4", 52),
        ("nsh", 24),
        ("udp", 44),
        ("vxlan", 7),
        ("vxlan-gpe", 12),
    ];
    assert_eq!(headers, BTreeMap::from(counted));
}

/// What becomes of a capture: frames by where they leave, frames by why they do not.
type Fate = (
    &'static str,
    &'static [(&'static str, u64)],
    &'static [(DropReason, u64)],
);

const FATES: [Fate; 5] = [
    ("ovs-3.1-nsh-encap-md1", &[("end", 6)], &[]),
    ("ovs-3.1-nsh-forward", &[("end", 6)], &[]),
    ("ovs-3.1-vxlan-gpe-nsh", &[("end", 6)], &[]),
    ("ovs-3.1-vxlan", &[("member", 6)], &[]),
    (
        "scapy-2.5-nsh",
        // The fourth goes to all of a segment, the second carries bare IP to the next SFF.
        &[
            ("end", 3),
            ("gpe 10.2.0.1", 1),
            ("member", 1),
            ("other", 1),
            ("vxlan 10.2.0.1", 1),
        ],
        &[
            // NSH on the port of plain VXLAN, whose VNI is no segment's.
            (DropReason::UnknownVni, 1),
            // Ethernet in VXLAN-GPE with the VNI of a tunnel.
            (DropReason::GpeNextProtocol, 1),
            // VXLAN-GPE to UDP port 6633 is a packet like any other.
            (DropReason::NoMatch, 1),
        ],
    ),
];

#[test]
fn every_frame_ends_as_the_tables_say_and_no_other_way() {
    for ((name, file), (fate, left, dropped)) in FILES.into_iter().zip(FATES) {
        assert_eq!(name, fate);
        let mut receiver = Receiver::new();
        let frames = captures::frames(file);
        for frame in &frames {
            let (ingress, octets) = receiver.arrival(name, frame);
            receiver.take(ingress, octets);
        }
        let left = left
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count));
        assert_eq!(receiver.left, left.collect(), "{name}");
        assert_eq!(
            receiver.dropped(),
            dropped.iter().copied().collect(),
            "{name}"
        );
        let balance = receiver.pipeline.balance();
        assert_eq!(balance.received, frames.len() as u64, "{name}");
        assert_eq!((balance.consumed, balance.held), (0, 0), "{name}");
    }
}

/// Cuts a frame short, and flips bits in it, half of them in headers.
fn damage(rng: &mut Rng, octets: &mut Vec<u8>) {
    if rng.u8(..3) == 0 {
        octets.truncate(rng.usize(..=octets.len()));
    }
    for _ in 0..rng.u8(..5) {
        let reach = if rng.bool() { 64 } else { octets.len() };
        let reach = reach.min(octets.len());
        if reach > 0 {
            octets[rng.usize(..reach)] ^= 1 << rng.u8(..8);
        }
    }
}

#[test]
fn whatever_is_cut_or_flipped_is_accounted_for() {
    let rng = &mut Rng::with_seed(0x5eed_cafe);
    let mut receiver = Receiver::new();
    let (mut rounds, mut whole) = (0, 0);
    for _ in 0..1_000 {
        for (name, file) in FILES {
            for frame in captures::frames(file) {
                // What the kernel takes off before us is whole.
                let (ingress, octets) = receiver.arrival(name, &frame);
                let mut octets = octets.to_vec();
                damage(rng, &mut octets);
                feed(&octets);
                whole += u64::from(frame.ends_with(&octets));
                receiver.take(ingress, &octets);
                rounds += 1;
            }
        }
    }
    // A flipped bit makes a fragment, which waits for its first one until it has waited enough.
    assert!(receiver.pipeline.balance().held > 0);
    receiver.pipeline.tick(10_000, &mut receiver.out);
    assert!(receiver.out.frames.is_empty());
    let balance = receiver.pipeline.balance();
    assert_eq!(balance.received, rounds);
    let left: u64 = receiver.left.values().sum();
    assert_eq!((balance.sent, balance.held), (left, 0));
    let dropped = receiver.dropped();
    assert_eq!(balance.dropped, dropped.values().sum::<u64>());
    // Damage to a payload harms nobody here; damage to headers has names.
    assert!(
        left > whole && whole > 1_000,
        "{left} of {whole} whole ones"
    );
    for reason in [
        DropReason::FragmentOrphan,
        DropReason::Truncated,
        DropReason::NshVersion,
        DropReason::NshMdType,
        DropReason::NshLength,
        DropReason::NshNextProtocol,
        DropReason::NoPath,
        DropReason::NshOam,
        DropReason::NshOutside,
        DropReason::VxlanHeader,
        DropReason::UnknownVni,
    ] {
        assert!(
            dropped.contains_key(&reason),
            "{reason} not among {dropped:?}"
        );
    }
}
