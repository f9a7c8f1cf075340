//! Two chains through one NAT to the same server port: the forwarder's pipeline and the NAT's
//! core, without sockets.

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests")]

use kc_forwarder::frame::{Checksum, Frame, Pool};
use kc_forwarder::pipeline::{Compiled, Egress, Ingress, Outputs, Pipeline, PortIndex, PortInfo};
use kc_forwarder::wire::flow::FlowKey;
use kc_forwarder::wire::summary::Summary;
use kc_forwarder::wire::{checksum, ethernet, ipv4, tcp};
use kc_forwarder_api::PortName;
use kc_function::function::{Emissions, Legs, ServiceFunction, Side, Verdict};
use kc_function::nat::Nat;
use std::sync::Arc;

const TABLES: &str = r#"
    ports = [{ name = "office" }, { name = "plant" }, { name = "in" }, { name = "out" }, { name = "server" }]
    [[functions]]
    name = "nat-1.2"
    attachment = { two-leg = { inside = "in", outside = "out", vlan = 2 } }
    [[functions]]
    name = "nat-1.3"
    attachment = { two-leg = { inside = "in", outside = "out", vlan = 3 } }
    [[rules]]
    name = "office"
    match = { port = "office" }
    action = { path = { spi = 2, si = 255 } }
    [[rules]]
    name = "plant"
    match = { port = "plant" }
    action = { path = { spi = 4, si = 255 } }
    [[rules]]
    name = "back"
    match = { port = "server" }
    action = { path = { spi = 3, si = 255 } }
    [[paths]]
    spi = 2
    reverse = 3
    affinity = "back"
    hops = [{ si = 255, to = { function = { name = "nat-1.2" } } }, { si = 254, to = { egress = { port = "server" } } }]
    [[paths]]
    spi = 3
    reverse = 2
    affinity = "return"
    hops = [{ si = 255, to = { function = { name = "nat-1.2", direction = "reverse" } } }, { si = 254, to = { egress = { port = "office" } } }]
    [[paths]]
    spi = 4
    reverse = 5
    affinity = "back"
    hops = [{ si = 255, to = { function = { name = "nat-1.3" } } }, { si = 254, to = { egress = { port = "server" } } }]
    [[paths]]
    spi = 5
    reverse = 4
    affinity = "return"
    hops = [{ si = 255, to = { function = { name = "nat-1.3", direction = "reverse" } } }, { si = 254, to = { egress = { port = "plant" } } }]
"#;

const SERVER: ([u8; 4], u16) = ([10, 0, 3, 2], 443);

struct Site {
    pipeline: Pipeline,
    out: Outputs,
    nat: Nat,
    now_ms: u64,
}

fn segment(from: ([u8; 4], u16), to: ([u8; 4], u16), flags: u8) -> Frame {
    let mut frame = Frame::copy_of(&[0; 54]);
    let bytes = frame.bytes_mut();
    ethernet::Repr {
        destination: [2, 0, 0, 0, 0, 2],
        source: [2, 0, 0, 0, 0, 1],
        ethertype: 0x0800,
    }
    .emit(&mut ethernet::Packet::new_checked(&mut *bytes).unwrap());
    ipv4::Repr {
        source: from.0.into(),
        destination: to.0.into(),
        protocol: 6,
        payload_len: 20,
        ttl: 64,
        tos: 0,
        ident: 0,
        dont_fragment: true,
    }
    .emit(&mut bytes[14..]);
    tcp::Repr {
        source: from.1,
        destination: to.1,
        sequence: 1,
        acknowledgment: 1,
        flags,
        window: 1000,
    }
    .emit(&mut bytes[34..]);
    checksum::fill(&mut bytes[14..]);
    frame.offload.checksum = Checksum::Complete;
    frame
}

fn flow(frame: &Frame) -> FlowKey {
    FlowKey::of(&Summary::of(frame.bytes(), None))
}

fn end(address: [u8; 16], port: u16) -> ([u8; 4], u16) {
    (*address.last_chunk().unwrap(), port)
}

impl Site {
    fn new() -> Self {
        let tables = toml::from_str(TABLES).unwrap();
        let mut pipeline = Pipeline::new(Arc::new(Compiled::new(tables).unwrap()));
        for port in 0..5 {
            let (mtu, mac) = (1500, [2, 0xff, 0, 0, 0, port]);
            let up = true;
            pipeline.set_port(PortIndex(u16::from(port)), PortInfo { up, mtu, mac });
        }
        let mut nat = Nat::new([192, 0, 2, 1].into());
        nat.attach(Legs {
            inside: [2, 0, 0, 0, 1, 1],
            outside: [2, 0, 0, 0, 1, 2],
        });
        Self {
            pipeline,
            out: Outputs::default(),
            nat,
            now_ms: 1000,
        }
    }

    /// Follows a frame from `port`, through the NAT, to where it leaves.
    fn carry(&mut self, port: &str, frame: Frame) -> (String, Frame) {
        let (mut port, mut frame) = (port.to_owned(), frame);
        for _ in 0..4 {
            let index = self
                .pipeline
                .tables()
                .port_index(&PortName::new(port).unwrap());
            let ingress = Ingress::Port(index.unwrap());
            self.pipeline
                .process(self.now_ms, ingress, &mut vec![frame], &mut self.out);
            let Some((Egress::Port(to), sent)) = self.out.frames.pop() else {
                panic!("{:?}", self.pipeline.counters().drops);
            };
            frame = sent;
            port = self.pipeline.tables().ports()[usize::from(to.0)]
                .name
                .to_string();
            let side = match port.as_str() {
                "in" => Side::Inside,
                "out" => Side::Outside,
                _ => return (port, frame),
            };
            let mut answers = Emissions::default();
            let verdict = self
                .nat
                .process(self.now_ms, side, &mut frame, &mut answers);
            assert_eq!(verdict, Verdict::Pass);
            port = if side == Side::Inside { "out" } else { "in" }.to_owned();
        }
        panic!("a frame goes round for ever");
    }
}

#[test]
fn two_chains_through_one_nat_to_one_server_port_are_told_apart() {
    let mut site = Site::new();
    let mut pool = Pool::default();
    let mut seen = Vec::new();
    // The same addresses and ports behind both, as private networks have them.
    for port in 4000..4050 {
        for chain in ["office", "plant"] {
            let client = ([10, 0, 0, 1], port);
            let (to, request) = site.carry(chain, segment(client, SERVER, 2));
            assert_eq!(to, "server");
            let key = flow(&request);
            let shown = end(key.source, key.source_port);
            assert_eq!(shown.0, [192, 0, 2, 1]);
            assert!(
                !seen.contains(&shown),
                "the server could not tell them apart"
            );
            seen.push(shown);
            pool.give(request);
        }
    }
    for (number, shown) in seen.iter().enumerate() {
        let (chain, port) = (["office", "plant"][number % 2], 4000 + number / 2);
        let (to, answer) = site.carry("server", segment(SERVER, *shown, 0x12));
        let key = flow(&answer);
        assert_eq!(
            (to.as_str(), usize::from(key.destination_port)),
            (chain, port)
        );
    }
    // Long after the classifier has forgotten, by a rule that knows one return path only.
    site.now_ms += 61_000;
    for _ in 0..2000 {
        site.pipeline.expire(site.now_ms);
    }
    for (number, shown) in seen.iter().enumerate() {
        let chain = ["office", "plant"][number % 2];
        let (to, _) = site.carry("server", segment(SERVER, *shown, 0x10));
        assert_eq!(to, chain);
    }
}
