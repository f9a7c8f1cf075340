//! Paths whose functions are groups, over three boxes: a firewall on box 1 or 2, a NAT on box 2
//! or 3. Frames are carried by hand from box to box and through functions.

use crate::frames::{CLIENT, Flow, SERVER, ethernet};
use crate::world::{Sent, World, only};
use kc_forwarder::wire::flow::FlowKey;
use kc_forwarder::wire::icmp;
use kc_forwarder::wire::summary::Summary;
use kc_forwarder_api::DropReason;
use std::collections::HashMap;
use std::net::Ipv4Addr;

const BOX1: &str = r#"
    ports = [{ name = "client" }, { name = "fw-1-a" }, { name = "fw-1-b" }]
    [underlay]
    address = "192.168.50.1"
    [[tunnels]]
    name = "box2"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[tunnels]]
    name = "box3"
    transport = { vxlan-gpe = { remote = "192.168.50.3", vni = 100 } }
    [[functions]]
    name = "fw-1"
    attachment = { two-leg = { inside = "fw-1-a", outside = "fw-1-b" } }
    [[groups]]
    name = "fw"
    members = [{ to = { function = { name = "fw-1" } } }, { to = { tunnel = { name = "box2" } }, key = "fw-2" }]
    [[groups]]
    name = "nat"
    members = [{ to = { tunnel = { name = "box2" } }, key = "nat-2" }, { to = { tunnel = { name = "box3" } }, key = "nat-3" }]
    [[rules]]
    name = "out"
    match = { port = "client" }
    action = { path = { spi = 10, si = 255 } }
    [[paths]]
    spi = 10
    reverse = 11
    hops = [{ si = 255, to = { group = { name = "fw" } } }, { si = 254, to = { group = { name = "nat" } } }]
    [[paths]]
    spi = 11
    reverse = 10
    hops = [{ si = 254, to = { function = { name = "fw-1", direction = "reverse" } } }, { si = 253, to = { egress = { port = "client" } } }]
"#;

const BOX2: &str = r#"
    ports = [{ name = "fw-2-a" }, { name = "fw-2-b" }, { name = "nat-2-a" }, { name = "nat-2-b" }]
    [underlay]
    address = "192.168.50.2"
    [[tunnels]]
    name = "box1"
    transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 100 } }
    [[tunnels]]
    name = "box3"
    transport = { vxlan-gpe = { remote = "192.168.50.3", vni = 100 } }
    [[functions]]
    name = "fw-2"
    attachment = { two-leg = { inside = "fw-2-a", outside = "fw-2-b" } }
    [[functions]]
    name = "nat-2"
    attachment = { two-leg = { inside = "nat-2-a", outside = "nat-2-b" } }
    [[groups]]
    name = "fw"
    members = [{ to = { tunnel = { name = "box1" } }, key = "fw-1" }, { to = { function = { name = "fw-2" } } }]
    [[groups]]
    name = "nat"
    members = [{ to = { function = { name = "nat-2" } } }, { to = { tunnel = { name = "box3" } }, key = "nat-3" }]
    [[paths]]
    spi = 10
    reverse = 11
    hops = [
        { si = 255, to = { function = { name = "fw-2" } } },
        { si = 254, to = { group = { name = "nat" } } },
        { si = 253, to = { tunnel = { name = "box3" } } },
    ]
    [[paths]]
    spi = 11
    reverse = 10
    hops = [
        { si = 255, to = { function = { name = "nat-2", direction = "reverse" } } },
        { si = 254, to = { group = { name = "fw", direction = "reverse" } } },
        { si = 253, to = { tunnel = { name = "box1" } } },
    ]
"#;

const BOX3: &str = r#"
    ports = [{ name = "nat-3-a" }, { name = "nat-3-b" }, { name = "server" }]
    [underlay]
    address = "192.168.50.3"
    [[tunnels]]
    name = "box1"
    transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 100 } }
    [[tunnels]]
    name = "box2"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[functions]]
    name = "nat-3"
    attachment = { two-leg = { inside = "nat-3-a", outside = "nat-3-b" } }
    [[groups]]
    name = "fw"
    members = [{ to = { tunnel = { name = "box1" } }, key = "fw-1" }, { to = { tunnel = { name = "box2" } }, key = "fw-2" }]
    [[groups]]
    name = "nat"
    members = [{ to = { tunnel = { name = "box2" } }, key = "nat-2" }, { to = { function = { name = "nat-3" } } }]
    [[rules]]
    name = "back"
    match = { port = "server" }
    action = { path = { spi = 11, si = 255 } }
    [[paths]]
    spi = 10
    reverse = 11
    hops = [{ si = 254, to = { function = { name = "nat-3" } } }, { si = 253, to = { egress = { port = "server" } } }]
    [[paths]]
    spi = 11
    reverse = 10
    hops = [
        { si = 255, to = { group = { name = "nat", direction = "reverse" } } },
        { si = 254, to = { group = { name = "fw", direction = "reverse" } } },
    ]
"#;

/// Three boxes, and what the NATs on them have mapped.
struct Net {
    boxes: [World; 3],
    mapped: HashMap<(&'static str, u16), u16>,
}

/// Where a frame came out, and which functions it went through.
type Journey = (String, Vec<u8>, Vec<String>);

fn flow(port: u16) -> Flow {
    Flow {
        source: ("10.0.1.1", port),
        destination: ("10.0.3.2", 443),
    }
}

fn key(frame: &[u8]) -> FlowKey {
    FlowKey::of(&Summary::of(frame, None))
}

impl Net {
    fn new() -> Self {
        Self {
            boxes: [BOX1, BOX2, BOX3].map(World::new),
            mapped: HashMap::new(),
        }
    }

    /// What a function makes of a frame that enters it by `leg`, and the leg it leaves by.
    fn function(&mut self, leg: &str, frame: &[u8]) -> (String, Vec<u8>) {
        let (name, side) = leg.rsplit_once('-').unwrap();
        let other = if side == "a" { "b" } else { "a" };
        let out = format!("{name}-{other}");
        let nat = match name {
            "nat-2" => "192.0.2.2",
            "nat-3" => "192.0.2.3",
            _ => return (out, frame.to_vec()),
        };
        let flow = key(frame);
        let remote = ("10.0.3.2", 443);
        if side == "a" {
            // Ports are mapped to other ones, so that no hash of theirs is the same.
            let port = flow.source_port ^ 0x0f00;
            self.mapped.insert((nat, port), flow.source_port);
            let flow = Flow {
                source: (nat, port),
                destination: remote,
            };
            (out, flow.udp(b"x"))
        } else {
            let port = self.mapped.get(&(nat, flow.destination_port));
            let Some(&port) = port else {
                panic!("{name} has no mapping for {flow:?}");
            };
            let answer = Flow {
                source: remote,
                destination: ("10.0.1.1", port),
            };
            (out, answer.udp(b"x"))
        }
    }

    /// Follows a frame from port `name` of box `at` to where it leaves.
    fn carry(&mut self, at: usize, name: &str, frame: &[u8]) -> Journey {
        let mut visited = Vec::new();
        let (mut here, mut sent) = (at, self.boxes[at - 1].port(name, frame));
        for _ in 0..20 {
            let [Sent { via, bytes, .. }] = &sent[..] else {
                panic!(
                    "{sent:?} at box {here}: {:?}",
                    self.boxes[here - 1].counters().drops
                );
            };
            let (via, bytes) = (via.clone(), bytes.clone());
            if let Some(remote) = via.strip_prefix("gpe 192.168.50.") {
                let next: usize = remote.parse().unwrap();
                let from = format!("192.168.50.{here}");
                sent = self.boxes[next - 1].gpe(&from, &bytes);
                here = next;
            } else if matches!(via.as_str(), "client" | "server") {
                return (via, bytes, visited);
            } else {
                visited.push(via.rsplit_once('-').unwrap().0.to_owned());
                let (out, bytes) = self.function(&via, &bytes);
                sent = self.boxes[here - 1].port(&out, &bytes);
            }
        }
        panic!("a frame goes round for ever");
    }

    /// Sends a packet there and its answer back; the functions there and back.
    fn exchange(&mut self, port: u16) -> (Vec<String>, Vec<String>) {
        let (end, request, there) = self.carry(1, "client", &flow(port).udp(b"x"));
        assert_eq!(end, "server");
        let flow_seen = key(&request);
        let source = Ipv4Addr::from_octets(*flow_seen.source.last_chunk().unwrap());
        let nat = ["192.0.2.2", "192.0.2.3"].into_iter();
        let nat = nat.clone().find(|nat| *nat == source.to_string()).unwrap();
        let seen = Flow {
            source: (nat, flow_seen.source_port),
            destination: ("10.0.3.2", 443),
        };
        let (end, answer, back) = self.carry(3, "server", &seen.back().udp(b"x"));
        assert_eq!(
            (end.as_str(), key(&answer)),
            ("client", key(&flow(port).back().udp(b"x")))
        );
        (there, back)
    }
}

#[test]
fn answers_go_back_through_the_same_instances_behind_a_nat_too() {
    let mut net = Net::new();
    let mut seen = HashMap::new();
    for port in 1024..1424 {
        let (there, mut back) = net.exchange(port);
        back.reverse();
        assert_eq!(there, back, "{port}");
        *seen.entry(there).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 4, "{seen:?}");
    assert!(
        seen.values().all(|count| (70..130).contains(count)),
        "{seen:?}"
    );
}

#[test]
fn a_flow_keeps_its_way_through_new_tables() {
    let mut net = Net::new();
    let before: Vec<_> = (1024..1064).map(|port| net.exchange(port)).collect();
    for (world, tables) in net.boxes.iter_mut().zip([BOX1, BOX2, BOX3]) {
        // Functions and tunnels are numbered anew.
        let first = tables.find("    [[tunnels]]").unwrap();
        let extra = "    [[tunnels]]\n    name = \"box9\"\n    transport = { vxlan-gpe = { remote = \"192.168.50.9\", vni = 100 } }\n";
        world.install(&format!("{}{extra}{}", &tables[..first], &tables[first..]));
    }
    let after: Vec<_> = (1024..1064).map(|port| net.exchange(port)).collect();
    assert_eq!(before, after);
}

#[test]
fn a_member_that_goes_takes_only_its_own_flows_and_gets_them_back() {
    let mut net = Net::new();
    let ways = |net: &mut Net| -> Vec<Vec<String>> {
        (1024..1224)
            .map(|port| net.carry(1, "client", &flow(port).udp(b"x")).2)
            .collect()
    };
    let before = ways(&mut net);
    net.boxes[0].set_port("fw-1-b", false, 1500);
    for (was, is) in before.iter().zip(ways(&mut net)) {
        assert_eq!(is[0], "fw-2");
        assert_eq!(was[1], is[1]);
    }
    net.boxes[0].set_port("fw-1-b", true, 1500);
    assert_eq!(ways(&mut net), before);
}

#[test]
fn an_answer_from_the_middle_of_a_group_takes_the_return_path() {
    let mut net = Net::new();
    for port in 1024..1064 {
        let sent = net.boxes[0].port("client", &flow(port).tcp(2, &[], &[]));
        let reset = flow(port).back().tcp(0x14, &[], &[]);
        if sent[0].via == "fw-1-a" {
            assert_eq!(only(net.boxes[0].port("fw-1-a", &reset), "client"), reset);
        } else {
            let sent = net.boxes[1].gpe("192.168.50.1", &sent[0].bytes);
            only(sent, "fw-2-a");
            let packet = only(net.boxes[1].port("fw-2-a", &reset), "gpe 192.168.50.1");
            assert_eq!(
                only(net.boxes[0].gpe("192.168.50.2", &packet), "client"),
                reset
            );
        }
    }
    assert_eq!((net.boxes[0].all_drops(), net.boxes[1].all_drops()), (0, 0));
}

#[test]
fn a_group_of_the_dead_drops_by_name_and_backups_step_in() {
    let tables = r#"
        ports = [{ name = "in" }, { name = "a" }, { name = "b" }]
        [[functions]]
        name = "one"
        attachment = { one-leg = { port = "a", mac = "02:00:00:00:0f:01" } }
        [[functions]]
        name = "two"
        attachment = { one-leg = { port = "b", mac = "02:00:00:00:0f:02" } }
        [[groups]]
        name = "g"
        members = [{ to = { function = { name = "one" } } }, { to = { function = { name = "two" } }, weight = 900, backup = true }]
        [[rules]]
        name = "in"
        match = { port = "in" }
        action = { path = { spi = 1, si = 255 } }
        [[paths]]
        spi = 1
        hops = [{ si = 255, to = { group = { name = "g" } } }]
    "#;
    let mut world = World::new(tables);
    let frame = |n: u16| flow(1024 + n).udp(b"x");
    (0..50).for_each(|n| drop(only(world.port("in", &frame(n)), "a")));
    world.set_port("a", false, 1500);
    (0..50).for_each(|n| drop(only(world.port("in", &frame(n)), "b")));
    world.set_port("b", false, 1500);
    assert!(world.port("in", &frame(0)).is_empty());
    assert_eq!(
        (world.drops(DropReason::GroupDown), world.all_drops()),
        (1, 1)
    );
    // Frames of other kinds have a flow too.
    world.set_port("a", true, 1500);
    only(
        world.port("in", &ethernet(SERVER, CLIENT, 0x88b5, &[0; 50])),
        "a",
    );
}

#[test]
fn an_icmp_error_goes_where_the_answers_to_its_packet_go() {
    let mut net = Net::new();
    for port in 1024..1064 {
        let (_, request, _) = net.carry(1, "client", &flow(port).udp(b"x"));
        let (from, to) = (Ipv4Addr::new(10, 0, 3, 9), Ipv4Addr::new(192, 0, 2, 9));
        // Some router on the way to the server says that the packet was too long.
        let error = icmp::ErrorV4 {
            source: from,
            destination: to,
            kind: icmp::kind::UNREACHABLE_V4,
            code: 4,
            mtu: 1400,
            original: &request[14..],
        };
        let mut frame = ethernet(CLIENT, SERVER, 0x0800, &vec![0; error.buffer_len()]);
        error.emit(&mut frame[14..]);
        let flow_seen = key(&request);
        let nat = match flow_seen.source.last() {
            Some(2) => "gpe 192.168.50.2",
            _ => "nat-3-b",
        };
        only(net.boxes[2].port("server", &frame), nat);
    }
}

#[test]
fn a_member_that_is_silent_for_too_long_is_left_until_it_answers_again() {
    let watched = BOX1.replace(
        "attachment = { two-leg = { inside = \"fw-1-a\", outside = \"fw-1-b\" } }",
        "attachment = { two-leg = { inside = \"fw-1-a\", outside = \"fw-1-b\" } }\n    liveness = { interval-ms = 100, multiplier = 3 }",
    );
    let mut world = World::new(&watched);
    let mut ways = Vec::new();
    for _ in 0..40 {
        world.now_ms = world.pipeline.next_deadline().unwrap().max(world.now_ms);
        for probe in world.tick() {
            // The function stands still for a while.
            if probe.via == "fw-1-a" && !(2000..3000).contains(&world.now_ms) {
                assert_eq!(world.port("fw-1-b", &probe.bytes), []);
            }
        }
        let all = (0..20).map(|n| world.port("client", &flow(2000 + n).udp(b"x")));
        let here = all.filter(|sent| sent[0].via == "fw-1-a").count();
        ways.push(here > 0);
    }
    ways.dedup();
    assert_eq!(ways, [true, false, true]);
}
