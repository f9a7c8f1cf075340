//! Every reason a frame is dropped for, one by one.

use crate::frames::{WEB, arp_request, gpe, nsh, vxlan};
use crate::path::BOX1;
use crate::world::World;
use kc_forwarder_api::DropReason;

/// Sends a VXLAN-GPE payload into box 1 and expects it to be dropped.
#[track_caller]
fn refused(payload: &[u8], reason: DropReason) {
    let mut world = World::new(BOX1);
    assert!(world.gpe("192.168.50.2", payload).is_empty());
    assert_eq!(
        (world.drops(reason), world.all_drops()),
        (1, 1),
        "{:?}",
        world.counters().drops
    );
}

fn changed(place: usize, value: u8) -> Vec<u8> {
    let mut packet = gpe(100, &nsh(11, 254, 63, [0; 16], &WEB.udp(b"?")));
    packet[place] = value;
    packet
}

#[test]
fn what_is_wrong_with_a_vxlan_gpe_packet_is_named() {
    refused(&changed(0, 0x04), DropReason::VxlanHeader);
    refused(&changed(0, 0x1c), DropReason::VxlanHeader);
    refused(&changed(0, 0x0d), DropReason::VxlanHeader);
    refused(&changed(3, 1), DropReason::GpeNextProtocol);
    refused(&changed(3, 3), DropReason::GpeNextProtocol);
    refused(&changed(6, 101), DropReason::UnknownVni);
    refused(&changed(0, 0x0c)[..7], DropReason::VxlanHeader);
    refused(&[], DropReason::VxlanHeader);
}

#[test]
fn what_is_wrong_with_an_nsh_is_named() {
    refused(&changed(8, 0x4f), DropReason::NshVersion);
    refused(&changed(8, 0x2f), DropReason::NshOam);
    refused(&changed(9, 0xc5), DropReason::NshLength);
    refused(&changed(10, 0), DropReason::NshMdType);
    refused(&changed(11, 1), DropReason::NshNextProtocol);
    refused(&changed(14, 99), DropReason::NoPath);
    refused(&changed(15, 0), DropReason::NoPath);
    refused(&changed(15, 1), DropReason::NoPath);
    refused(&changed(0, 0x0c)[..15], DropReason::Truncated);
    refused(&changed(0, 0x0c)[..31], DropReason::NshLength);
    refused(&changed(0, 0x0c)[..32 + 13], DropReason::Truncated);
}

#[test]
fn what_no_rule_and_no_segment_wants_is_dropped() {
    let mut world = World::new(&BOX1.replace(
        "match = { port = \"client\" }",
        "match = { protocol = \"udp\" }",
    ));
    assert!(world.port("client", &arp_request()).is_empty());
    assert_eq!(world.drops(DropReason::NoMatch), 1);
    assert!(world.port("client", &[0; 13]).is_empty());
    assert_eq!(world.drops(DropReason::Truncated), 1);
}

#[test]
fn a_rule_can_say_drop() {
    let mut world = World::new(
        r#"
        ports = [{ name = "a" }, { name = "b" }]
        [[rules]]
        name = "no telnet"
        match = { protocol = "tcp", destination-ports = 23 }
        action = "drop"
        [[rules]]
        name = "pass"
        match = { port = "a" }
        action = { egress = { port = "b" } }
    "#,
    );
    let telnet = crate::frames::Flow {
        destination: ("10.0.0.2", 23),
        ..WEB
    };
    assert!(world.port("a", &telnet.tcp(2, &[], &[])).is_empty());
    assert_eq!(world.drops(DropReason::RuleDrop), 1);
    assert_eq!(world.port("a", &WEB.tcp(2, &[], &[])).len(), 1);
    assert!(world.port("b", &WEB.tcp(2, &[], &[])).is_empty());
    assert_eq!(world.drops(DropReason::NoMatch), 1);
}

#[test]
fn every_rule_counts_what_it_decided_and_keeps_its_count_under_new_tables() {
    let tables = r#"
        ports = [{ name = "a" }, { name = "b" }]
        [[rules]]
        name = "no telnet"
        match = { protocol = "tcp", destination-ports = 23 }
        action = "drop"
        [[rules]]
        name = "pass"
        match = { port = "a" }
        action = { egress = { port = "b" } }
    "#;
    let mut world = World::new(tables);
    let telnet = crate::frames::Flow {
        destination: ("10.0.0.2", 23),
        ..WEB
    };
    for _ in 0..3 {
        world.port("a", &telnet.tcp(2, &[], &[]));
    }
    let frame = WEB.tcp(2, &[], &[]);
    world.port("a", &frame);
    let counted = |world: &World| {
        let rules = world.counters().rules.into_iter();
        rules
            .map(|rule| (rule.name, rule.packets, rule.bytes))
            .collect::<Vec<_>>()
    };
    let bytes = frame.len() as u64;
    let (drop, pass) = (
        ("no telnet".to_owned(), 3, 3 * bytes),
        ("pass".to_owned(), 1, bytes),
    );
    assert_eq!(counted(&world), [drop.clone(), pass.clone()]);
    let rule = "[[rules]]\nname = \"new\"\nmatch = { vlan = 7 }\naction = \"drop\"\n[[rules]]";
    world.install(&tables.replacen("[[rules]]", rule, 1));
    assert_eq!(counted(&world), [("new".to_owned(), 0, 0), drop, pass]);
}

#[test]
fn a_port_that_is_down_takes_nothing() {
    let mut world = World::new(BOX1);
    world.set_port("fw-a", false, 1500);
    assert!(world.port("client", &WEB.udp(b"?")).is_empty());
    assert_eq!(world.drops(DropReason::PortDown), 1);
    assert_eq!(world.traffic("fw-a"), (0, 0));
}

#[test]
fn a_function_without_any_path_gets_no_answer() {
    let tables = BOX1.replace("direction = \"reverse\"", "direction = \"forward\"");
    let mut world = World::new(&tables);
    assert!(world.port("fw-a", &WEB.udp(b"?")).is_empty());
    assert_eq!(world.drops(DropReason::NoReturn), 1);
}

#[test]
fn what_is_wrong_with_a_vxlan_packet_is_named() {
    const SEGMENT: &str = r#"
        ports = [{ name = "a" }]
        underlay = { address = "192.168.50.1" }
        segments = [{ vni = 7, ports = ["a"], peers = ["192.168.50.2"] }]
    "#;
    let mut world = World::new(SEGMENT);
    let mut check = |remote: &str, payload: &[u8], reason| {
        let before = world.drops(reason);
        assert!(world.vxlan(remote, payload).is_empty());
        assert_eq!(world.drops(reason), before + 1, "{reason}");
    };
    let good = vxlan(7, &WEB.udp(b"?"));
    let mut no_vni = good.clone();
    no_vni[0] = 0xf7;
    let mut tagged = WEB.udp(b"?");
    tagged.splice(12..12, [0x81, 0, 0, 5]);
    check("192.168.50.2", &no_vni, DropReason::VxlanHeader);
    check("192.168.50.2", &good[..7], DropReason::VxlanHeader);
    check(
        "192.168.50.2",
        &vxlan(8, &WEB.udp(b"?")),
        DropReason::UnknownVni,
    );
    check("192.168.50.3", &good, DropReason::UnknownVtep);
    check("192.168.50.2", &good[..21], DropReason::Truncated);
    check("192.168.50.2", &vxlan(7, &tagged), DropReason::InnerVlan);
    let mut reserved = good;
    reserved[0] = 0xff;
    reserved[7] = 0xff;
    assert_eq!(
        world.vxlan("192.168.50.2", &reserved).len(),
        1,
        "reserved bits are ignored"
    );
}
