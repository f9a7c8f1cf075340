//! Fragments take the way of their first one.

use crate::frames::{CLIENT, Flow, SERVER, WEB, ethernet, gpe, nsh, opened};
use crate::limits::V6;
use crate::path::BOX1;
use crate::world::{Sent, World, only};
use kc_forwarder::wire::ipv4;
use kc_forwarder_api::DropReason;

/// Only the web goes to `b`; everything else to `c`.
const BY_PORT: &str = r#"
    ports = [{ name = "a" }, { name = "b" }, { name = "c" }]
    [[rules]]
    name = "web"
    match = { port = "a", destination-ports = 80 }
    action = { egress = { port = "b" } }
    [[rules]]
    name = "rest"
    match = { port = "a" }
    action = { egress = { port = "c" } }
"#;

/// Cuts an IPv4 frame's payload at these places.
fn cut(frame: &[u8], identification: u16, places: &[usize]) -> Vec<Vec<u8>> {
    let payload = &frame[34..];
    let mut ends = places.to_vec();
    ends.push(payload.len());
    let mut start = 0;
    let mut fragments = Vec::new();
    for end in ends {
        let mut fragment = [&frame[..34], &payload[start..end]].concat();
        let total = u16::try_from(20 + end - start).unwrap();
        fragment[16..18].copy_from_slice(&total.to_be_bytes());
        fragment[18..20].copy_from_slice(&identification.to_be_bytes());
        let more = if end == payload.len() { 0 } else { 0x2000 };
        let field = more | u16::try_from(start / 8).unwrap();
        fragment[20..22].copy_from_slice(&field.to_be_bytes());
        let mut ip = ipv4::Packet::new_checked(&mut fragment[14..]).unwrap();
        ip.fill_checksum();
        fragments.push(fragment);
        start = end;
    }
    fragments
}

/// The same for IPv6, whose fragments have a header of their own.
fn cut_v6(frame: &[u8], identification: u32, place: usize) -> Vec<Vec<u8>> {
    let payload = &frame[54..];
    let part = |start: usize, end: usize| {
        let more = u16::from(end < payload.len());
        let mut header = vec![frame[20], 0];
        header.extend((u16::try_from(start).unwrap() | more).to_be_bytes());
        header.extend(identification.to_be_bytes());
        let mut fragment = [&frame[..54], &header, &payload[start..end]].concat();
        fragment[20] = 44;
        let length = u16::try_from(8 + end - start).unwrap();
        fragment[18..20].copy_from_slice(&length.to_be_bytes());
        fragment
    };
    vec![part(0, place), part(place, payload.len())]
}

fn vias(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(|sent| sent.via.as_str()).collect()
}

#[test]
fn all_fragments_take_the_rule_of_the_first() {
    let mut world = World::new(BY_PORT);
    for fragment in cut(&WEB.udp(&[7; 100]), 1, &[16, 48]) {
        assert_eq!(only(world.port("a", &fragment), "b"), fragment);
    }
    for fragment in cut_v6(&V6.udp(&[7; 100]), 1, 16) {
        assert_eq!(only(world.port("a", &fragment), "b"), fragment);
    }
    let other = Flow {
        destination: ("10.0.0.2", 81),
        ..WEB
    };
    for fragment in cut(&other.udp(&[7; 100]), 2, &[16]) {
        assert_eq!(only(world.port("a", &fragment), "c"), fragment);
    }
}

#[test]
fn fragments_that_overtook_the_first_wait_for_it() {
    let mut world = World::new(BY_PORT);
    let [first, second, third]: [_; 3] = cut(&WEB.udp(&[7; 100]), 1, &[16, 48]).try_into().unwrap();
    assert!(world.port("a", &third).is_empty());
    assert!(world.port("a", &second).is_empty());
    assert_eq!(world.pipeline.balance().held, 2);
    let sent = world.port("a", &first);
    assert_eq!(vias(&sent), ["b", "b", "b"]);
    let bytes: Vec<_> = sent.into_iter().map(|sent| sent.bytes).collect();
    assert_eq!(bytes, [first, third, second]);
    assert_eq!((world.pipeline.balance().held, world.all_drops()), (0, 0));
    assert_eq!(world.traffic("a"), (3, 0), "each is received once");
}

#[test]
fn fragments_without_a_first_one_are_dropped_in_time() {
    let mut world = World::new(BY_PORT);
    let second = cut(&WEB.udp(&[7; 100]), 1, &[16]).remove(1);
    assert!(world.port("a", &second).is_empty());
    let due = world.pipeline.next_deadline().unwrap();
    assert!(due <= world.now_ms + 1000, "{due}");
    world.now_ms = due;
    assert!(world.tick().is_empty());
    assert_eq!(world.drops(DropReason::FragmentOrphan), 1);
    assert_eq!(world.pipeline.next_deadline(), None);
    // What the first one told is forgotten too.
    let first = cut(&WEB.udp(&[7; 100]), 1, &[16]).remove(0);
    only(world.port("a", &first), "b");
    world.now_ms += 10_000;
    assert!(world.port("a", &second).is_empty());
}

#[test]
fn a_flood_of_fragments_costs_bounded_memory_and_spares_the_honest() {
    let mut world = World::new(BY_PORT);
    let frame = WEB.udp(&[7; 1000]);
    for identification in 0..20_000 {
        // Overlapping, and never a first one: teardrop and its kind.
        let fragments = cut(&frame, identification, &[16, 24]);
        world.port("a", &fragments[1]);
        world.port("a", &fragments[2]);
        assert!(world.pipeline.balance().held <= 256);
    }
    assert_eq!(world.drops(DropReason::FragmentOrphan), 40_000 - 256);
    let honest = cut(&WEB.udp(&[1; 100]), 30_000, &[16]);
    assert!(world.port("a", &honest[1]).is_empty());
    assert_eq!(vias(&world.port("a", &honest[0])), ["b", "b"]);
    // Long ones are bounded by their octets.
    let mut world = World::new(BY_PORT);
    let long = cut(&WEB.udp(&vec![7; 60_000]), 1, &[16]).remove(1);
    (0..100).for_each(|_| drop(world.port("a", &long)));
    assert!(world.pipeline.balance().held * 60_000 <= 1 << 20);
}

#[test]
fn fragments_come_back_from_a_function_on_the_path_they_were_on() {
    let mut world = World::new(BOX1);
    let fragments = cut(&WEB.udp(&[7; 100]), 1, &[16, 48]);
    for fragment in &fragments {
        only(world.port("client", fragment), "fw-a");
    }
    // Out of the function they come in another order.
    assert!(world.port("fw-b", &fragments[2]).is_empty());
    let sent = world.port("fw-b", &fragments[0]);
    assert_eq!(vias(&sent), ["gpe 192.168.50.2"; 2]);
    let sent = only(world.port("fw-b", &fragments[1]), "gpe 192.168.50.2");
    let (spi, si, _, inner) = opened(&sent);
    assert_eq!((spi, si, inner), (10, 254, fragments[1].clone()));
}

#[test]
fn fragments_out_of_a_tagged_leg_wait_without_its_tag() {
    let mut world = World::new(
        r#"
        ports = [{ name = "in" }, { name = "trunk" }, { name = "out" }]
        functions = [{ name = "f", attachment = { vlan-pair = { port = "trunk", inside = 10, outside = 20 } } }]
        rules = [{ name = "r", match = { port = "in" }, action = { path = { spi = 1, si = 255 } } }]
        [[paths]]
        spi = 1
        hops = [{ si = 255, to = { function = { name = "f" } } }, { si = 254, to = { egress = { port = "out" } } }]
    "#,
    );
    let fragments = cut(&WEB.udp(&[7; 100]), 1, &[16]);
    let mut tagged = Vec::new();
    for fragment in &fragments {
        let mut frame = only(world.port("in", fragment), "trunk");
        frame[15] = 20;
        tagged.push(frame);
    }
    assert!(world.port("trunk", &tagged[1]).is_empty());
    let sent = world.port("trunk", &tagged[0]);
    assert_eq!(vias(&sent), ["out", "out"]);
    assert_eq!(
        (&sent[0].bytes, &sent[1].bytes),
        (&fragments[0], &fragments[1])
    );
}

#[test]
fn fragments_on_a_path_have_one_flow_for_all_hops() {
    let middle = r#"
        ports = [{ name = "f-a" }, { name = "f-b" }, { name = "out" }]
        underlay = { address = "192.168.50.2", mtu = 1500 }
        tunnels = [{ name = "t", transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 5 } } }]
        functions = [{ name = "f", attachment = { two-leg = { inside = "f-a", outside = "f-b" } } }]
        [[paths]]
        spi = 1
        hops = [{ si = 255, to = { function = { name = "f" } } }, { si = 254, to = { egress = { port = "out" } } }]
        [[paths]]
        spi = 3
        hops = [{ si = 255, to = { function = { name = "f" } } }, { si = 254, to = { tunnel = { name = "t" } } }]
    "#;
    let mut world = World::new(middle);
    let whole = WEB.udp(&[7; 100]);
    let fragments = cut(&whole, 1, &[16]);
    let on = |spi: u32, frame: &[u8]| gpe(5, &nsh(spi, 255, 63, [9; 16], frame));
    // Overtaken on the way here: it waits with its NSH, and its TTL falls once.
    assert!(world.gpe("192.168.50.1", &on(1, &fragments[1])).is_empty());
    let sent = world.gpe("192.168.50.1", &on(1, &fragments[0]));
    assert_eq!(vias(&sent), ["f-a", "f-a"]);
    // The function's memory holds one flow: the whole datagram's, not that without ports.
    let other = Flow {
        source: ("10.0.0.1", 41_000),
        ..WEB
    };
    let stranger = cut(&other.udp(&[7; 100]), 2, &[16]);
    for fragment in &stranger {
        only(world.gpe("192.168.50.1", &on(3, fragment)), "f-a");
    }
    for fragment in &fragments {
        only(world.port("f-b", fragment), "out");
    }
    for fragment in &stranger {
        let sent = only(world.port("f-b", fragment), "gpe 192.168.50.1");
        assert_eq!(opened(&sent).2, 62);
    }
    only(world.port("f-b", &whole), "out");
}

#[test]
fn a_fragment_too_short_for_ports_is_a_flow_without_any() {
    let mut world = World::new(BY_PORT);
    let mut tiny = cut(&WEB.tcp(2, &[], &[]), 1, &[8]);
    tiny[0].truncate(34 + 4);
    tiny[0][17] = 24;
    for fragment in &tiny {
        only(world.port("a", fragment), "c");
    }
}

#[test]
fn new_ports_end_the_waiting() {
    let mut world = World::new(BY_PORT);
    let second = cut(&WEB.udp(&[7; 100]), 1, &[16]).remove(1);
    assert!(world.port("a", &second).is_empty());
    world.install(&BY_PORT.replace("{ name = \"a\" }", "{ name = \"z\" }, { name = \"a\" }"));
    assert_eq!(world.drops(DropReason::FragmentOrphan), 1);
    assert!(world.pipeline.balance().holds());
    let frame = ethernet(SERVER, CLIENT, 0x0800, &second[14..]);
    assert!(world.port("a", &frame).is_empty());
}
