//! Functions behind VLANs: several ways into one, pairs of VLANs, and frames with tags of their
//! own.

use crate::frames::{CLIENT, Flow, WEB};
use crate::world::{World, only, tables};
use kc_forwarder::frame::Offload;
use kc_forwarder::pipeline::Compiled;
use kc_forwarder_api::DropReason;

/// Two chains from clients with overlapping ports, through one NAT, to one server port.
const SHARED_NAT: &str = r#"
    ports = [{ name = "a" }, { name = "b" }, { name = "in" }, { name = "out" }, { name = "x" }, { name = "y" }]
    [[functions]]
    name = "nat.10"
    attachment = { two-leg = { inside = "in", outside = "out", vlan = 10 } }
    [[functions]]
    name = "nat.20"
    attachment = { two-leg = { inside = "in", outside = "out", vlan = 20 } }
    [[rules]]
    name = "a"
    match = { port = "a" }
    action = { path = { spi = 10, si = 255 } }
    [[rules]]
    name = "b"
    match = { port = "b" }
    action = { path = { spi = 20, si = 255 } }
    [[rules]]
    name = "x"
    match = { port = "x" }
    action = { path = { spi = 11, si = 255 } }
    [[rules]]
    name = "y"
    match = { port = "y" }
    action = { path = { spi = 21, si = 255 } }
    [[paths]]
    spi = 10
    reverse = 11
    hops = [{ si = 255, to = { function = { name = "nat.10" } } }, { si = 254, to = { egress = { port = "x" } } }]
    [[paths]]
    spi = 11
    reverse = 10
    hops = [{ si = 255, to = { function = { name = "nat.10", direction = "reverse" } } }, { si = 254, to = { egress = { port = "a" } } }]
    [[paths]]
    spi = 20
    reverse = 21
    hops = [{ si = 255, to = { function = { name = "nat.20" } } }, { si = 254, to = { egress = { port = "y" } } }]
    [[paths]]
    spi = 21
    reverse = 20
    hops = [{ si = 255, to = { function = { name = "nat.20", direction = "reverse" } } }, { si = 254, to = { egress = { port = "b" } } }]
"#;

/// A frame with an 802.1Q tag in front of any other.
fn tagged(frame: &[u8], vid: u16) -> Vec<u8> {
    let [high, low] = vid.to_be_bytes();
    let tag = [0x81, 0x00, high, low];
    [&frame[..12], &tag, &frame[12..]].concat()
}

/// Frames as a kernel gives them: the tag in the frame, or beside it.
fn both_ways(world: &mut World, port: &str, frame: &[u8], vid: u16, via: &str) -> Vec<u8> {
    let beside = Offload {
        vlan: Some(vid),
        ..Offload::default()
    };
    let first = only(world.port_with(port, frame, beside), via);
    let second = only(world.port(port, &tagged(frame, vid)), via);
    assert_eq!(first, second);
    first
}

#[test]
fn two_chains_that_share_a_nat_to_one_server_port_are_told_apart() {
    let mut world = World::new(SHARED_NAT);
    let flow = |source: (&'static str, u16)| Flow { source, ..WEB };
    let (one, two) = (flow(("10.0.0.1", 4000)), flow(("10.0.9.9", 4000)));
    let (nat_one, nat_two) = (flow(("192.0.2.1", 4000)), flow(("192.0.2.1", 4001)));
    let syn = |flow: Flow| flow.tcp(2, &[], &[]);
    assert_eq!(
        only(world.port("a", &syn(one)), "in"),
        tagged(&syn(one), 10)
    );
    assert_eq!(
        only(world.port("b", &syn(two)), "in"),
        tagged(&syn(two), 20)
    );
    // The NAT keeps the tag and changes the rest; the far end is the same for both.
    for _ in 0..2 {
        assert_eq!(
            both_ways(&mut world, "out", &syn(nat_one), 10, "x"),
            syn(nat_one)
        );
        assert_eq!(
            both_ways(&mut world, "out", &syn(nat_two), 20, "y"),
            syn(nat_two)
        );
    }
    let answer = |flow: Flow| flow.back().tcp(0x12, &[], &[]);
    assert_eq!(
        only(world.port("x", &answer(nat_one)), "out"),
        tagged(&answer(nat_one), 10)
    );
    assert_eq!(
        only(world.port("y", &answer(nat_two)), "out"),
        tagged(&answer(nat_two), 20)
    );
    assert_eq!(
        both_ways(&mut world, "in", &answer(two), 20, "b"),
        answer(two)
    );
    assert_eq!(
        both_ways(&mut world, "in", &answer(one), 10, "a"),
        answer(one)
    );
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn a_function_behind_a_vlan_answers_from_the_middle_on_the_right_path() {
    let mut world = World::new(SHARED_NAT);
    for (port, vid) in [("a", 10), ("b", 20)] {
        let inside = only(world.port(port, &WEB.tcp(2, &[], &[])), "in");
        assert_eq!(inside[12..16], [0x81, 0, 0, vid]);
        let reset = WEB.back().tcp(0x14, &[], &[]);
        assert_eq!(both_ways(&mut world, "in", &reset, vid.into(), port), reset);
    }
}

#[test]
fn a_tag_of_the_frames_own_comes_out_as_it_went_in() {
    let mut world = World::new(SHARED_NAT);
    let own = tagged(&WEB.udp(b"?"), 77);
    let inside = only(world.port("a", &own), "in");
    assert_eq!(inside, tagged(&own, 10));
    assert_eq!(both_ways(&mut world, "out", &own, 10, "x"), own);
    // The same addresses in another VLAN are another flow.
    let other = tagged(&WEB.udp(b"?"), 78);
    only(world.port("b", &other), "in");
    assert_eq!(both_ways(&mut world, "out", &other, 20, "y"), other);
    // Both tags need their room.
    let long = tagged(&WEB.udp(&[0; 1472]), 77);
    assert!(
        world
            .port("a", &long)
            .iter()
            .all(|sent| sent.bytes.len() <= 1518 && sent.via == "a")
    );
}

#[test]
fn a_tag_that_belongs_to_no_function_is_dropped_by_name() {
    let mut world = World::new(SHARED_NAT);
    only(world.port("a", &WEB.udp(b"?")), "in");
    for frame in [
        WEB.udp(b"?"),
        tagged(&WEB.udp(b"?"), 30),
        tagged(&WEB.udp(b"?"), 0),
    ] {
        assert!(world.port("out", &frame).is_empty());
    }
    assert_eq!(
        (world.drops(DropReason::LegVlan), world.all_drops()),
        (3, 3)
    );
}

#[test]
fn an_untagged_way_shares_a_port_with_tagged_ones_and_takes_no_tags() {
    let mixed = SHARED_NAT.replacen(", vlan = 10", "", 1);
    let mut world = World::new(&mixed);
    assert_eq!(only(world.port("a", &WEB.udp(b"?")), "in"), WEB.udp(b"?"));
    only(world.port("out", &WEB.udp(b"?")), "x");
    // It would come back as somebody else's.
    assert!(world.port("a", &tagged(&WEB.udp(b"?"), 20)).is_empty());
    assert_eq!(
        (world.drops(DropReason::LegVlan), world.all_drops()),
        (1, 1)
    );
}

/// A chain through one function wired as `attachment`.
fn wired(attachment: &str) -> String {
    format!(
        r#"
        ports = [{{ name = "client" }}, {{ name = "sf" }}, {{ name = "server" }}]
        [[functions]]
        name = "sf"
        attachment = {{ {attachment} }}
        [[rules]]
        name = "out"
        match = {{ port = "client" }}
        action = {{ path = {{ spi = 10, si = 255 }} }}
        [[rules]]
        name = "back"
        match = {{ port = "server" }}
        action = {{ path = {{ spi = 11, si = 255 }} }}
        [[paths]]
        spi = 10
        reverse = 11
        hops = [{{ si = 255, to = {{ function = {{ name = "sf" }} }} }}, {{ si = 254, to = {{ egress = {{ port = "server" }} }} }}]
        [[paths]]
        spi = 11
        reverse = 10
        hops = [{{ si = 255, to = {{ function = {{ name = "sf", direction = "reverse" }} }} }}, {{ si = 254, to = {{ egress = {{ port = "client" }} }} }}]
        "#
    )
}

#[test]
fn two_vlans_of_one_port_are_the_legs_of_a_bump_in_the_wire() {
    let mut world = World::new(&wired(
        "vlan-pair = { port = \"sf\", inside = 5, outside = 6 }",
    ));
    let (request, answer) = (WEB.udp(b"?"), WEB.back().udp(b"!"));
    assert_eq!(
        only(world.port("client", &request), "sf"),
        tagged(&request, 5)
    );
    assert_eq!(both_ways(&mut world, "sf", &request, 6, "server"), request);
    assert_eq!(
        only(world.port("server", &answer), "sf"),
        tagged(&answer, 6)
    );
    assert_eq!(both_ways(&mut world, "sf", &answer, 5, "client"), answer);
    // Sent back by the leg it came in by: the function's own answer.
    assert_eq!(both_ways(&mut world, "sf", &answer, 5, "client"), answer);
}

#[test]
fn a_routed_function_may_be_behind_a_vlan() {
    let mut world = World::new(&wired(
        "one-leg = { port = \"sf\", mac = \"02:00:00:00:0f:01\", vlan = 9 }",
    ));
    let request = WEB.udp(b"?");
    let inside = only(world.port("client", &request), "sf");
    assert_eq!(
        (&inside[..6], &inside[6..12]),
        (&[2, 0, 0, 0, 0x0f, 1][..], &CLIENT[..])
    );
    assert_eq!(inside[12..16], [0x81, 0, 0, 9]);
    assert_eq!(both_ways(&mut world, "sf", &request, 9, "server"), request);
}

#[test]
fn a_function_that_knows_nsh_may_be_behind_a_vlan() {
    let mut world = World::new(&wired(
        "nsh-aware = { port = \"sf\", mac = \"02:00:00:00:0f:01\", vlan = 9 }",
    ));
    let request = WEB.udp(b"?");
    let inside = only(world.port("client", &request), "sf");
    assert_eq!(inside[12..18], [0x81, 0, 0, 9, 0x89, 0x4f]);
    let mut back = [&inside[..12], &inside[16..]].concat();
    back[14 + 7] -= 1;
    assert_eq!(both_ways(&mut world, "sf", &back, 9, "server"), request);
}

#[test]
fn ways_that_collide_are_refused_with_both_names() {
    let refused = |tables_toml: &str| Compiled::new(tables(tables_toml)).unwrap_err().to_string();
    assert_eq!(
        refused(&SHARED_NAT.replace("vlan = 20", "vlan = 10")),
        "port in is already a leg of function nat.10 in VLAN 10 and cannot also be a leg of function nat.20 in VLAN 10"
    );
    assert_eq!(
        refused(&wired(
            "vlan-pair = { port = \"sf\", inside = 5, outside = 5 }"
        )),
        "port sf is already a leg of function sf in VLAN 5 and cannot also be a leg of function sf in VLAN 5"
    );
    assert_eq!(
        refused(&SHARED_NAT.replace("{ name = \"in\" }", "{ name = \"in\", backend = \"pnet\" }")),
        "function nat.10 has a VLAN tag, which backend pnet of port in never sees; use packet or auto"
    );
    assert!(
        refused(&SHARED_NAT.replace("port = \"x\" } } }]", "port = \"in\" } } }]"))
            .contains("port in")
    );
}
