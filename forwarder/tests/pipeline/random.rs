//! Whatever the tables and whatever the frames: no panic, no frame lost or counted twice,
//! nothing longer than its link, no octet of another frame, and an end after a bounded number of
//! steps.

use crate::any_tables::{any_tables, lan_address, vtep};
use crate::frames::{Flow, WEB, arp_reply, arp_request, ethernet, gpe, nsh, vxlan};
use crate::taint::Taint;
use crate::world::mac_of;
use fastrand::Rng;
use kc_forwarder::frame::{Checksum, Frame, Gso, GsoKind, Offload};
use kc_forwarder::pipeline::{Compiled, Egress, Ingress, Outputs, Pipeline, PortIndex, PortInfo};
use kc_forwarder::wire::ethernet::ethertype;
use kc_forwarder::wire::ndp;
use kc_forwarder::wire::summary::Summary;
use kc_forwarder_api::{DropReason, Tables, Transport};
use proptest::prelude::*;
use std::net::IpAddr;
use std::sync::Arc;

const V6: Flow = Flow {
    source: ("fd00::1", 40_000),
    destination: ("fd00::2", 80),
};

/// Whether the underlay of `tables` is an IPv6 one.
fn is_v6(tables: &Tables) -> bool {
    let mut addresses = tables.underlay.as_ref().unwrap().address.iter();
    addresses.any(|address| address.is_ipv6())
}

/// Frames that make sense, to start from.
fn inner(rng: &mut Rng, taint: &Taint) -> Vec<u8> {
    let flow = *rng.choice(&[WEB, WEB.back(), V6, V6.back()]).unwrap();
    let octets = *rng
        .choice(&[0, 1, 100, 500, 800, 1400, 3_000, 20_000])
        .unwrap();
    let mut frame = match rng.u8(0..7) {
        6 => advertisement(rng),
        0 => arp_request(),
        1 => arp_reply(),
        2 => flow.tcp(0x02, &[2, 4, 5, 0xb4], &[]),
        3 => flow.tcp(0x98, &[], &taint.payload(octets)),
        _ => flow.udp(&taint.payload(octets)),
    };
    if rng.u8(0..3) == 0 && frame[12] == 8 {
        frame[20] &= !0x40;
    }
    if rng.u8(0..5) == 0 {
        frame.splice(12..12, [0x81, 0, 0, 7]);
    }
    frame
}

/// A station on a LAN says where it is, to us or to all.
fn advertisement(rng: &mut Rng) -> Vec<u8> {
    let address = |number| match lan_address(number) {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => unreachable!(),
    };
    let target = address(rng.u16(1..4));
    let destination = if rng.bool() {
        address(1)
    } else {
        ndp::ALL_NODES
    };
    let repr = ndp::Repr {
        source: target,
        destination,
        target,
        message: ndp::Message::Advertisement {
            router: false,
            solicited: !destination.is_multicast(),
            overrides: rng.bool(),
            target_mac: Some([2, 0, 0, 0, 0, rng.u8(..)]),
        },
    };
    let mut octets = vec![0; repr.buffer_len()];
    repr.emit(&mut octets);
    ethernet([2; 6], [4; 6], ethertype::IPV6, &octets)
}

/// Damages a frame, or not.
fn mutate(rng: &mut Rng, frame: &mut Vec<u8>) {
    for _ in 0..rng.u8(0..4) {
        match rng.u8(0..8) {
            0 => frame.truncate(rng.usize(0..=frame.len())),
            1 => frame.extend((0..rng.usize(0..64)).map(|_| 0xa5)),
            2 => frame.clear(),
            _ if !frame.is_empty() => {
                // Headers are where it hurts.
                let place = rng.usize(0..frame.len().min(100));
                frame[place] = *rng
                    .choice(&[0, 1, 0x7f, 0x80, 0xff, rng.clone().u8(..)])
                    .unwrap();
            }
            _ => {}
        }
    }
}

fn offload(rng: &mut Rng) -> Offload {
    let kind = *rng
        .choice(&[GsoKind::Tcp, GsoKind::Udp, GsoKind::Other])
        .unwrap();
    let (start, offset) = (rng.u16(0..100), rng.u16(0..20));
    Offload {
        vlan: (rng.u8(0..8) == 0).then(|| rng.u16(..)),
        checksum: *rng
            .choice(&[
                Checksum::Unknown,
                Checksum::Complete,
                Checksum::Partial { start, offset },
            ])
            .unwrap(),
        gso: (rng.u8(0..4) == 0).then(|| Gso {
            size: rng.u16(0..1500).max(rng.u16(0..100)),
            kind,
        }),
        outer_class: rng.u8(..),
    }
}

/// A pipeline, and what is known about its links.
pub(crate) struct Subject {
    pub(crate) pipeline: Pipeline,
    tables: Tables,
    out: Outputs,
    batch: Vec<Frame>,
    mtus: Vec<u16>,
    taint: Taint,
    /// Frames that left with marks of whom they are.
    marked: u64,
    /// Senders that were told from the middle of a path that their packets were too long.
    told: u64,
}

impl Subject {
    pub(crate) fn new(seed: u64, rng: &mut Rng) -> Self {
        let tables = any_tables(seed);
        let compiled = Compiled::new(tables.clone()).unwrap();
        let pipeline = Pipeline::new(Arc::new(compiled));
        let (out, batch, mtus) = (Outputs::default(), Vec::new(), Vec::new());
        let mut subject = Self {
            pipeline,
            tables,
            out,
            batch,
            mtus,
            taint: Taint::default(),
            marked: 0,
            told: 0,
        };
        subject.ports_up(rng);
        subject
    }

    pub(crate) fn install(&mut self, seed: u64, rng: &mut Rng) {
        self.tables = any_tables(seed);
        self.pipeline
            .install(Arc::new(Compiled::new(self.tables.clone()).unwrap()));
        self.ports_up(rng);
    }

    fn ports_up(&mut self, rng: &mut Rng) {
        self.mtus.clear();
        for (number, port) in (0..).zip(&self.tables.ports) {
            let mtu = rng.u16(300..2_000);
            self.mtus.push(port.mtu.map_or(mtu, |own| own.min(mtu)));
            let (port, up) = (PortIndex(number), rng.u8(0..16) != 0);
            self.pipeline.set_port(
                port,
                PortInfo {
                    up,
                    mtu,
                    mac: mac_of(port),
                },
            );
        }
    }

    pub(crate) fn step(&mut self, now_ms: u64, rng: &mut Rng) {
        let v6 = is_v6(&self.tables);
        let ports = u16::try_from(self.tables.ports.len()).unwrap();
        let mut bytes = inner(rng, &self.taint);
        if rng.bool() {
            mutate(rng, &mut bytes);
        }
        let remote = vtep(rng.u8(2..6), v6);
        let (ingress, mut bytes) = match rng.u8(0..6) {
            0 => {
                let ttl = *rng.choice(&[63, 0, 1, 2]).unwrap();
                let any = (remote, rng.u32(1..4));
                let (remote, vni) = self.tunnel(rng).unwrap_or(any);
                let any = (rng.u32(0..5), 255 - rng.u8(0..5));
                let (spi, si) = self.hop(rng).unwrap_or(any);
                let packet = nsh(spi, si, ttl, [3; 16], &bytes);
                (Ingress::Gpe { remote }, gpe(vni, &packet))
            }
            1 => (Ingress::Vxlan { remote }, vxlan(rng.u32(1..4), &bytes)),
            2 => {
                let port = PortIndex(rng.u16(0..=ports));
                let packet = nsh(rng.u32(0..5), 255 - rng.u8(0..5), 63, [3; 16], &bytes);
                let mut aware = ethernet(mac_of(port), [2, 0, 0, 0, 9, 9], ethertype::NSH, &packet);
                if rng.u8(0..3) == 0 {
                    aware.splice(12..12, [0x81, 0, 0, 7]);
                }
                (Ingress::Port(port), aware)
            }
            _ => (Ingress::Port(PortIndex(rng.u16(0..=ports))), bytes),
        };
        if rng.bool() {
            mutate(rng, &mut bytes);
        }
        // In a buffer that another frame was in, as it is in a forwarder that has run for long.
        let mut frame = self.out.pool.take();
        frame.fill(&bytes);
        self.taint.enters(&bytes);
        if matches!(ingress, Ingress::Port(_)) && rng.bool() {
            frame.offload = offload(rng);
        }
        self.batch.push(frame);
        self.pipeline
            .process(now_ms, ingress, &mut self.batch, &mut self.out);
        // A frame is cut once, into pieces of 8 octets at least, and each of these is sent to
        // every member of a segment once; besides, its sender may be told, or the few that waited
        // for its sender go.
        let members = self.tables.ports.len() + 8;
        let most = (bytes.len() / 8 + 1) * members + 10;
        assert!(
            self.out.frames.len() <= most,
            "{} of one",
            self.out.frames.len()
        );
        self.judge();
    }

    /// Remote and VNI of a tunnel, mostly.
    fn tunnel(&self, rng: &mut Rng) -> Option<(IpAddr, u32)> {
        let tunnel = rng.choice(&self.tables.tunnels).filter(|_| rng.bool())?;
        match tunnel.transport {
            Transport::VxlanGpe { remote, vni, .. } => Some((remote, vni.get())),
            Transport::Ethernet { .. } => None,
        }
    }

    /// SPI and SI of a hop, mostly.
    fn hop(&self, rng: &mut Rng) -> Option<(u32, u8)> {
        let path = rng.choice(&self.tables.paths).filter(|_| rng.bool())?;
        let hop = rng.choice(&path.hops)?;
        Some((path.spi.get(), hop.si.get()))
    }

    /// Checks what came out, and takes it.
    fn judge(&mut self) {
        assert!(self.batch.is_empty());
        assert!(
            self.pipeline.balance().holds(),
            "{:?}",
            self.pipeline.balance()
        );
        let underlay = self.tables.underlay.as_ref().unwrap();
        for (egress, frame) in self.out.frames.drain(..) {
            match egress {
                Egress::Port(port) => {
                    let summary = Summary::of(frame.bytes(), None);
                    let mtu = usize::from(self.mtus[usize::from(port.0)]);
                    let head = &frame.bytes()[..frame.len().min(48)];
                    assert!(
                        frame.len() - summary.l3 <= mtu,
                        "{} octets on {mtu}: {head:02x?}",
                        frame.len()
                    );
                }
                Egress::Gpe { remote, .. } | Egress::Vxlan { remote, .. } => {
                    let outer = if remote.is_ipv4() { 28 } else { 48 };
                    assert!(frame.len() + outer <= usize::from(underlay.mtu));
                    let own = underlay.address.towards(remote.ip());
                    assert!(own.is_some_and(|own| own != remote.ip()));
                }
            }
            self.told += u64::from(tells_along_a_path(frame.bytes()));
            assert_eq!((frame.offload.gso, frame.offload.vlan), (None, None));
            self.marked += u64::from(self.taint.leaves(frame.bytes()));
            self.out.pool.give(frame);
        }
    }
}

/// Whether a frame is an error of ours, as an SFF that is no classifier sends it: behind a fresh
/// NSH, ICMP that says "fragmentation needed" or "packet too big".
fn tells_along_a_path(frame: &[u8]) -> bool {
    let Some(at) = frame.windows(4).position(|nsh| nsh == [0x0f, 0xc6, 1, 3]) else {
        return false;
    };
    let inner = frame.get(at + 24..).unwrap_or_default();
    let summary = Summary::of(inner, None);
    let icmp = summary.l4.and_then(|l4| inner.get(l4..l4 + 2));
    matches!(
        (summary.protocol, icmp),
        (1, Some([3, 4])) | (58, Some([2, 0]))
    )
}

/// Frames through tables that change now and then.
fn run(seed: u64, frames: u64, per_table: u64) -> Subject {
    let rng = &mut Rng::with_seed(seed);
    let mut subject = Subject::new(seed, rng);
    for number in 1..=frames {
        let now_ms = number * 3;
        if number % per_table == 0 {
            let seed = rng.u64(..);
            subject.install(seed, rng);
        }
        if number % 97 == 0 {
            subject.pipeline.expire(now_ms);
            let _ = subject.pipeline.counters();
        }
        subject.step(now_ms, rng);
        if number % 13 == 0 {
            subject.pipeline.tick(now_ms, &mut subject.out);
            subject.judge();
        }
    }
    subject
}

#[test]
fn a_million_mutated_frames_end_well() {
    let threads = (0..2).map(|seed| std::thread::spawn(move || run(seed, 500_000, 500)));
    for thread in threads.collect::<Vec<_>>() {
        let Subject {
            pipeline,
            marked,
            told,
            ..
        } = thread.join().unwrap();
        assert!(marked > 50_000, "{marked} frames to be told apart");
        assert!(told > 20, "{told} senders told from the middle of a path");
        let balance = pipeline.balance();
        assert_eq!(balance.received, 500_000);
        assert!(
            balance.sent > 50_000 && balance.dropped > 50_000,
            "{balance:?}"
        );
        assert!(
            balance.segmented > 1_000 && balance.generated > 100 && balance.consumed > 100,
            "{balance:?}"
        );
        assert!(balance.replicated > 1_000, "{balance:?}");
        let drops = pipeline.counters().drops;
        assert!(drops.len() > 15, "{drops:?}");
        assert_eq!(drops.values().sum::<u64>(), balance.dropped);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn any_tables_and_any_frames_keep_the_balance(seed in any::<u64>()) {
        run(seed, 200, 67);
    }

    #[test]
    fn pure_noise_does_no_harm(seed in any::<u64>(), noise in proptest::collection::vec(any::<u8>(), 0..200)) {
        let rng = &mut Rng::with_seed(seed);
        let mut subject = Subject::new(seed, rng);
        let remote = vtep(2, is_v6(&subject.tables));
        let ports = u16::try_from(subject.tables.ports.len()).unwrap();
        let ports = (0..ports).map(|port| Ingress::Port(PortIndex(port)));
        for ingress in ports.chain([Ingress::Gpe { remote }, Ingress::Vxlan { remote }]) {
            subject.taint.enters(&noise);
            subject.batch.push(Frame::copy_of(&noise));
            subject.pipeline.process(1, ingress, &mut subject.batch, &mut subject.out);
            subject.judge();
        }
    }
}

#[test]
fn what_the_kernel_refuses_counts_as_dropped() {
    let rng = &mut Rng::with_seed(1);
    let mut subject = Subject::new(1, rng);
    for number in 0..2_000 {
        let before = subject.pipeline.balance();
        let ingress = Ingress::Port(PortIndex(rng.u16(0..3)));
        subject
            .batch
            .push(Frame::copy_of(&inner(rng, &subject.taint)));
        subject
            .pipeline
            .process(number, ingress, &mut subject.batch, &mut subject.out);
        for (egress, frame) in subject.out.frames.drain(..) {
            subject
                .pipeline
                .refused(egress, DropReason::TxFull, 1, frame.len() as u64);
        }
        let balance = subject.pipeline.balance();
        assert!(balance.holds());
        assert_eq!(balance.sent, before.sent);
    }
    let counters = subject.pipeline.counters();
    assert!(counters.drops[&DropReason::TxFull] > 0);
    assert!(
        counters
            .ports
            .iter()
            .all(|port| (port.tx_packets, port.tx_bytes) == (0, 0))
    );
    assert!(
        counters
            .tunnels
            .iter()
            .all(|tunnel| (tunnel.tx_packets, tunnel.tx_bytes) == (0, 0))
    );
}
