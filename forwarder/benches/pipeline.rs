//! What a packet costs: parsing, classifying, steering, encapsulating; over the size of tables
//! and the number of flows. Figures are for batches of 32 frames of 64 octets, and include
//! filling the buffers.

#![expect(clippy::unwrap_used, reason = "a benchmark")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use kc_forwarder::capture;
use kc_forwarder::frame::Frame;
use kc_forwarder::pipeline::{Compiled, Ingress, Outputs, Pipeline, PortIndex, PortInfo};
use kc_forwarder::wire::flow::FlowKey;
use kc_forwarder::wire::summary::Summary;
use kc_forwarder::wire::{checksum, ipv4, nsh, udp, vxlan_gpe};
use kc_forwarder_api::{
    Action, Capture, Hop, Match, Metadata, NextHop, Path, Port, PortName, PortRange, Protocol,
    Rule, Si, Spi, Tables, Transport, Ttl, Tunnel, TunnelName, Underlay, Vni, WHOLE_FRAME,
};
use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

const BATCH: usize = 32;

fn frame(flow: u32) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0];
    frame.resize(14 + 28 + 22, 0);
    ipv4::Repr {
        source: Ipv4Addr::from_bits(0x0a00_0000 + flow),
        destination: [10, 255, 0, 1].into(),
        protocol: 17,
        payload_len: 30,
        ttl: 64,
        tos: 0,
        ident: 0,
        dont_fragment: true,
    }
    .emit(&mut frame[14..]);
    udp::Repr {
        source: 4000,
        destination: 80,
        payload_len: 22,
    }
    .emit(&mut frame[34..]);
    checksum::fill(&mut frame[14..]);
    frame
}

/// A classifier whose last rule is the one that matches, and paths of which the last is used.
fn tables(rules: u32, paths: u32) -> Tables {
    let name = |name: &str| PortName::new(name).unwrap();
    let port = |text: &str| Port {
        name: name(text),
        interface: None,
        backend: kc_forwarder_api::Backend::Auto,
        mtu: None,
        addresses: Vec::new(),
    };
    let tunnel = TunnelName::new("t").unwrap();
    let spi = |number: u32| Spi::new(number).unwrap();
    let miss = |number: u32| Rule {
        name: format!("r{number}"),
        matches: Match {
            // Four kinds of rules, as people mix them.
            source: Some(
                ipnet::IpNet::new(
                    IpAddr::from(Ipv4Addr::from_bits(0xac10_0000 + (number << 8))),
                    [24, 25, 32, 28][number as usize % 4],
                )
                .unwrap(),
            ),
            protocol: Some(Protocol::UDP),
            destination_ports: if number.is_multiple_of(2) {
                PortRange::new(80, 80)
            } else {
                PortRange::new(80, 90)
            },
            ..Match::default()
        },
        action: Action::Drop,
    };
    let hit = Rule {
        name: "hit".into(),
        matches: Match {
            port: Some(name("in")),
            ..Match::default()
        },
        action: Action::Path {
            spi: spi(paths),
            si: Si::MAX,
            ttl: None,
            metadata: Metadata::default(),
        },
    };
    let hops = || {
        vec![
            Hop {
                si: Si::new(255).unwrap(),
                to: NextHop::Tunnel {
                    name: tunnel.clone(),
                },
            },
            Hop {
                si: Si::new(254).unwrap(),
                to: NextHop::Egress { port: name("out") },
            },
        ]
    };
    Tables {
        generation: 1,
        underlay: Some(Underlay {
            mtu: 1600,
            ..Underlay::at(IpAddr::from([192, 0, 2, 1]))
        }),
        ports: vec![port("in"), port("out")],
        tunnels: vec![Tunnel {
            name: tunnel.clone(),
            transport: Transport::gpe([192, 0, 2, 2].into(), Vni::new(7).unwrap()),
            liveness: None,
        }],
        rules: (1..rules).map(miss).chain([hit]).collect(),
        paths: (1..=paths)
            .map(|number| Path {
                spi: spi(number),
                mtu: None,
                reverse: None,
                affinity: None,
                hops: hops(),
            })
            .collect(),
        ..Tables::default()
    }
}

struct Bench {
    pipeline: Pipeline,
    out: Outputs,
    batch: Vec<Frame>,
    next: usize,
}

impl Bench {
    fn new(tables: Tables) -> Self {
        let mut pipeline = Pipeline::new(Arc::new(Compiled::new(tables).unwrap()));
        for port in [PortIndex(0), PortIndex(1)] {
            pipeline.set_port(
                port,
                PortInfo {
                    up: true,
                    mtu: 1500,
                    mac: [2, 0, 0, 0, 0, 9],
                },
            );
        }
        Self {
            pipeline,
            out: Outputs::default(),
            batch: Vec::new(),
            next: 0,
        }
    }

    /// One batch of the next templates in turn.
    fn turn(&mut self, ingress: Ingress, templates: &[Vec<u8>]) {
        for _ in 0..BATCH {
            let mut frame = self.out.pool.take();
            frame.fill(&templates[self.next]);
            self.next = (self.next + 1) % templates.len();
            self.batch.push(frame);
        }
        self.pipeline
            .process(1, ingress, &mut self.batch, &mut self.out);
        for (_, frame) in black_box(self.out.frames.drain(..)) {
            self.out.pool.give(frame);
        }
    }
}

fn parse(c: &mut Criterion) {
    let frame = frame(1);
    c.bench_function("parse/udp", |b| {
        b.iter(|| FlowKey::of(&Summary::of(black_box(&frame), None)));
    });
}

fn classify(c: &mut Criterion) {
    let mut group = c.benchmark_group("classify");
    group.throughput(Throughput::Elements(BATCH as u64));
    for rules in [10, 1_000, 10_000] {
        for flows in [1, 1_000, 100_000] {
            let id = BenchmarkId::new(format!("{rules} rules"), format!("{flows} flows"));
            group.bench_function(id, |b| {
                let templates: Vec<_> = (0..flows).map(frame).collect();
                let mut bench = Bench::new(tables(rules, 10));
                let ingress = Ingress::Port(PortIndex(0));
                (0..flows as usize / BATCH + 1).for_each(|_| bench.turn(ingress, &templates));
                b.iter(|| bench.turn(ingress, &templates));
            });
        }
    }
    // Every frame a new flow: more of them than the cache holds.
    for rules in [10, 1_000, 10_000] {
        let id = BenchmarkId::new(format!("{rules} rules"), "new flows only");
        group.bench_function(id, |b| {
            let templates: Vec<_> = (0..400_000).map(frame).collect();
            let mut bench = Bench::new(tables(rules, 10));
            let ingress = Ingress::Port(PortIndex(0));
            b.iter(|| bench.turn(ingress, &templates));
        });
    }
    group.finish();
}

fn nsh_in_gpe(spi: u32, si: u8) -> Vec<u8> {
    let inner = frame(1);
    let header = nsh::Repr {
        oam: false,
        ttl: Ttl::MAX,
        next: nsh::NextProtocol::Ethernet,
        spi: Spi::new(spi).unwrap(),
        si: Si::new(si).unwrap(),
        metadata: nsh::MetadataRepr::One([0; 16]),
    };
    let mut packet = vec![0; 8 + header.buffer_len()];
    let (vni, next) = (Vni::new(7).unwrap(), vxlan_gpe::NextProtocol::Nsh);
    vxlan_gpe::Repr {
        vni,
        next,
        oam: false,
    }
    .emit(&mut packet);
    header.emit(&mut packet[8..]);
    packet.extend(inner);
    packet
}

fn steer(c: &mut Criterion) {
    let mut group = c.benchmark_group("steer");
    group.throughput(Throughput::Elements(BATCH as u64));
    let ingress = Ingress::Gpe {
        remote: [192, 0, 2, 2].into(),
    };
    for paths in [10, 1_000, 100_000] {
        // A spread of paths, so that the table does not stay in the cache by itself.
        let spis = (1..=paths).step_by((paths as usize / 4096).max(1));
        for (what, si) in [("hop", 255), ("decap", 254)] {
            let id = BenchmarkId::new(what, format!("{paths} paths"));
            group.bench_function(id, |b| {
                let templates: Vec<_> = spis.clone().map(|spi| nsh_in_gpe(spi, si)).collect();
                let mut bench = Bench::new(tables(1, paths));
                b.iter(|| bench.turn(ingress, &templates));
            });
        }
    }
    group.finish();
}

fn encap(c: &mut Criterion) {
    let mut group = c.benchmark_group("encap");
    group.throughput(Throughput::Elements(BATCH as u64));
    let templates = [frame(1)];
    let mut bench = Bench::new(tables(1, 1));
    let ingress = Ingress::Port(PortIndex(0));
    group.bench_function("nsh in gpe", |b| b.iter(|| bench.turn(ingress, &templates)));
    group.finish();
}

/// What it costs the packet thread when somebody captures: two points for each frame. What the
/// control thread makes of it is not counted.
fn captured(c: &mut Criterion) {
    let mut group = c.benchmark_group("captured");
    group.throughput(Throughput::Elements(BATCH as u64));
    let ingress = Ingress::Port(PortIndex(0));
    let wanted = |snaplen, spis: &[u32]| Capture {
        snaplen,
        spis: spis.iter().map(|&spi| Spi::new(spi).unwrap()).collect(),
        ..Capture::default()
    };
    for length in [64, 1500] {
        let mut long = frame(1);
        long.resize(length, 0);
        let templates = [long];
        for (what, capture) in [
            ("by nobody", None),
            ("whole", Some(wanted(WHOLE_FRAME, &[]))),
            ("96 octets", Some(wanted(96, &[]))),
            ("another path", Some(wanted(WHOLE_FRAME, &[9]))),
        ] {
            let mut bench = Bench::new(tables(1, 1));
            let mut printer = capture.map(|wanted| {
                let (tap, printer) = capture::begin(&wanted, 0);
                bench.pipeline.tap(tap);
                printer
            });
            let mut printed = Vec::new();
            let id = BenchmarkId::new(what, format!("{length} octets"));
            group.bench_function(id, |b| {
                b.iter_custom(|turns| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..turns {
                        let begin = Instant::now();
                        bench.turn(ingress, &templates);
                        spent += begin.elapsed();
                        if let Some(printer) = &mut printer {
                            printer.print(&mut printed, usize::MAX, 0);
                            printed.clear();
                        }
                    }
                    spent
                });
            });
        }
    }
    group.finish();
}

fn load(c: &mut Criterion) {
    let mut group = c.benchmark_group("load");
    group.sample_size(10);
    for (rules, paths) in [(100_000, 10), (10, 100_000)] {
        let tables = tables(rules, paths);
        group.bench_function(format!("{rules} rules {paths} paths"), |b| {
            b.iter_with_large_drop(|| Compiled::new(tables.clone()).unwrap());
        });
        let compiled = Arc::new(Compiled::new(tables).unwrap());
        let mut pipeline = Pipeline::new(Arc::clone(&compiled));
        group.bench_function(format!("install {rules} rules {paths} paths"), |b| {
            b.iter(|| pipeline.install(Arc::clone(&compiled)));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20);
    targets = parse, classify, steer, encap, captured, load
}
criterion_main!(benches);
