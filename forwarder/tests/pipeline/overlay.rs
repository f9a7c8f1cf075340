//! A plain-VXLAN segment of two ports and two peers.

use crate::frames::{CLIENT, SERVER, WEB, arp_reply, arp_request, vxlan};
use crate::world::{Sent, World, only};
use kc_forwarder::frame::Offload;
use kc_forwarder_api::DropReason;

const SEGMENT: &str = r#"
    generation = 1
    ports = [{ name = "a" }, { name = "b" }, { name = "c" }]
    underlay = { address = "192.168.50.1" }
    [[segments]]
    vni = 7
    ports = ["a", "b"]
    peers = ["192.168.50.2", "192.168.50.3"]
    entries = [{ mac = "02:00:00:00:00:77", peer = "192.168.50.9" }]
    ageing-seconds = 60
    [[rules]]
    name = "c joins"
    match = { port = "c" }
    action = { segment = { vni = 7 } }
"#;

fn vias(sent: &[Sent]) -> Vec<&str> {
    sent.iter().map(|sent| sent.via.as_str()).collect()
}

#[test]
fn a_broadcast_reaches_every_member_once() {
    let mut world = World::new(SEGMENT);
    let sent = world.port("a", &arp_request());
    assert_eq!(
        vias(&sent),
        ["b", "vxlan 192.168.50.2", "vxlan 192.168.50.3"]
    );
    assert_eq!(sent[0].bytes, arp_request());
    assert_eq!(sent[1].bytes, vxlan(7, &arp_request()));
    let balance = world.pipeline.balance();
    assert_eq!(
        (balance.received, balance.replicated, balance.sent),
        (1, 2, 3)
    );
    let counters = world.counters();
    assert_eq!(counters.tunnels.len(), 3);
    assert_eq!(counters.tunnels[0].tx_bytes, 8 + arp_request().len() as u64);
}

#[test]
fn what_comes_from_a_peer_never_goes_to_another_one() {
    let mut world = World::new(SEGMENT);
    let sent = world.vxlan("192.168.50.2", &vxlan(7, &arp_request()));
    assert_eq!(vias(&sent), ["a", "b"]);
    assert_eq!(sent[0].bytes, arp_request());
    // Not even when the destination is known to be there.
    let answer = arp_reply();
    assert!(world.vxlan("192.168.50.3", &vxlan(7, &answer)).is_empty());
    assert_eq!(world.drops(DropReason::HairPin), 1);
}

#[test]
fn addresses_are_learned_from_both_sides() {
    let mut world = World::new(SEGMENT);
    world.port("a", &arp_request());
    only(world.vxlan("192.168.50.3", &vxlan(7, &arp_reply())), "a");
    let request = WEB.udp(b"?");
    assert_eq!(
        only(world.port("a", &request), "vxlan 192.168.50.3"),
        vxlan(7, &request)
    );
    // The server moves to a local port.
    assert_eq!(only(world.port("b", &arp_reply()), "a"), arp_reply());
    only(world.port("a", &request), "b");
    // And falls silent.
    world.now_ms += 60_001;
    assert_eq!(world.port("a", &request).len(), 3);
}

#[test]
fn a_static_entry_is_used_and_not_overruled() {
    let mut world = World::new(SEGMENT);
    let mut request = WEB.udp(b"?");
    request[..6].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
    only(world.port("a", &request), "vxlan 192.168.50.9");
    let mut claim = WEB.udp(b"I am 77");
    claim[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 0x77]);
    world.port("b", &claim);
    only(world.port("a", &request), "vxlan 192.168.50.9");
}

#[test]
fn a_frame_for_its_own_port_stays_there() {
    let mut world = World::new(SEGMENT);
    world.port("a", &arp_request());
    world.port("a", &arp_reply());
    assert!(world.port("a", &WEB.udp(b"?")).is_empty());
    // The reply, and what was sent to its sender.
    assert_eq!(world.drops(DropReason::HairPin), 2);
}

#[test]
fn a_rule_can_send_a_port_into_a_segment_it_is_no_member_of() {
    let mut world = World::new(SEGMENT);
    let sent = world.port("c", &arp_request());
    assert_eq!(
        vias(&sent),
        ["a", "b", "vxlan 192.168.50.2", "vxlan 192.168.50.3"]
    );
    only(world.vxlan("192.168.50.2", &vxlan(7, &arp_reply())), "c");
}

#[test]
fn a_segment_of_one_has_nobody_to_send_to() {
    let mut world =
        World::new("ports = [{ name = \"a\" }]\nsegments = [{ vni = 7, ports = [\"a\"] }]");
    assert!(world.port("a", &arp_request()).is_empty());
    assert_eq!(world.drops(DropReason::NoMember), 1);
}

#[test]
fn a_vlan_tag_stays_at_home() {
    let mut world = World::new(SEGMENT);
    let offload = Offload {
        vlan: Some(5),
        ..Offload::default()
    };
    let sent = world.port_with("a", &arp_request(), offload);
    assert_eq!(sent[0].bytes.len(), arp_request().len() + 4);
    assert_eq!(sent[1].bytes, vxlan(7, &arp_request()));
}

#[test]
fn a_path_can_end_in_a_segment() {
    let mut world = World::new(
        &format!(
            "{SEGMENT}\n{}",
            r#"
        [[ports]]
        name = "d"
        [[rules]]
        name = "d"
        match = { port = "d" }
        action = { path = { spi = 1, si = 255 } }
        [[paths]]
        spi = 1
        hops = [{ si = 255, to = { segment = { vni = 7 } } }]
    "#
        )
        .replace("{ name = \"c\" }]", "{ name = \"c\" }, { name = \"d\" }]")
        .replace("[[ports]]\n        name = \"d\"\n", ""),
    );
    world.port("a", &arp_reply());
    only(world.port("d", &WEB.udp(b"?")), "a");
    assert_eq!(world.port("d", &arp_request()).len(), 4);
    assert_eq!(world.looked_up(1, 255), 2);
}

#[test]
fn new_tables_keep_what_was_learned_and_counted() {
    let mut world = World::new(SEGMENT);
    world.port("a", &arp_request());
    world.vxlan("192.168.50.3", &vxlan(7, &arp_reply()));
    // Ports and peers change places, and one peer goes.
    let other = SEGMENT
        .replace(
            "{ name = \"a\" }, { name = \"b\" }",
            "{ name = \"b\" }, { name = \"a\" }",
        )
        .replace("\"192.168.50.2\", ", "");
    world.install(&other);
    only(
        world.port("b", &{
            let mut frame = WEB.back().udp(b"?");
            frame[6] = 6;
            frame
        }),
        "a",
    );
    only(world.port("a", &WEB.udp(b"?")), "vxlan 192.168.50.3");
    assert_eq!(world.traffic("a"), (2, 2));
    let counters = world.counters();
    assert_eq!(
        counters
            .tunnels
            .iter()
            .map(|tunnel| tunnel.rx_packets)
            .sum::<u64>(),
        1
    );
}

#[test]
fn long_frames_are_looked_at_member_by_member() {
    let mut world = World::new(SEGMENT);
    world.port("a", &arp_request());
    world.vxlan("192.168.50.2", &vxlan(7, &arp_reply()));
    let longest = 1500 - 20 - 8 - 8 - 14;
    let frame = |octets: usize| WEB.udp(&vec![0; octets - 28]);
    only(world.port("a", &frame(longest)), "vxlan 192.168.50.2");
    only(world.port("a", &frame(longest + 1)), "a");
    assert_eq!(world.drops(DropReason::MtuExceeded), 1);
    world.port("b", &arp_reply());
    only(world.port("a", &frame(1500)), "b");
    let _ = (CLIENT, SERVER);
}

#[test]
fn groups_that_no_bridge_forwards_are_not_flooded() {
    let mut world = World::new(SEGMENT);
    for last in 0..=0x0f {
        let mut frame = arp_request();
        frame[..6].copy_from_slice(&[0x01, 0x80, 0xc2, 0, 0, last]);
        assert!(world.port("a", &frame).is_empty());
        assert!(world.vxlan("192.168.50.2", &vxlan(7, &frame)).is_empty());
    }
    assert_eq!(world.drops(DropReason::ReservedGroup), 32);
    // GARP and its like are 01:80:c2:00:00:20 and up, and are everybody's.
    let mut frame = arp_request();
    frame[..6].copy_from_slice(&[0x01, 0x80, 0xc2, 0, 0, 0x20]);
    assert_eq!(world.port("a", &frame).len(), 3);
}

#[test]
fn a_storm_is_held_to_the_segments_rate_and_known_addresses_are_not() {
    let mut world = World::new(&SEGMENT.replace("ageing-seconds = 60", "bum-per-second = 10"));
    only(
        world
            .vxlan("192.168.50.3", &vxlan(7, &arp_reply()))
            .split_off(1),
        "b",
    );
    let copies: usize = (0..50).map(|_| world.port("a", &arp_request()).len()).sum();
    assert_eq!(copies, 9 * 3, "the answer above was the first of ten");
    assert_eq!(world.drops(DropReason::BumLimited), 41);
    let known = WEB.udp(b"?");
    for _ in 0..50 {
        only(world.port("a", &known), "vxlan 192.168.50.3");
    }
    world.now_ms += 500;
    let copies = (0..50).map(|_| world.vxlan("192.168.50.2", &vxlan(7, &arp_request())).len());
    assert_eq!(
        copies.sum::<usize>(),
        5 * 2,
        "a peer's storm is limited too"
    );
    let mut world = World::new(&SEGMENT.replace("ageing-seconds = 60", "bum-per-second = 0"));
    let copies: usize = (0..5000)
        .map(|_| world.port("a", &arp_request()).len())
        .sum();
    assert_eq!(copies, 5000 * 3);
}
