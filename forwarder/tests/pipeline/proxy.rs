//! Functions that know no NSH and do not behave like a wire.

use crate::frames::{CLIENT, Flow, SERVER, WEB, arp_reply, arp_request, ethernet};
use crate::world::{World, only};
use kc_forwarder_api::DropReason;

const SHARED: &str = r#"
    generation = 1
    ports = [{ name = "a" }, { name = "b" }, { name = "in" }, { name = "out" }, { name = "x" }, { name = "y" }]
    [[functions]]
    name = "nat"
    attachment = { two-leg = { inside = "in", outside = "out" } }
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
    hops = [{ si = 255, to = { function = { name = "nat" } } }, { si = 254, to = { egress = { port = "x" } } }]
    [[paths]]
    spi = 11
    hops = [{ si = 255, to = { function = { name = "nat", direction = "reverse" } } }, { si = 254, to = { egress = { port = "a" } } }]
    [[paths]]
    spi = 20
    hops = [{ si = 255, to = { function = { name = "nat" } } }, { si = 254, to = { egress = { port = "y" } } }]
    [[paths]]
    spi = 21
    hops = [{ si = 255, to = { function = { name = "nat", direction = "reverse" } } }, { si = 254, to = { egress = { port = "b" } } }]
"#;

const OTHER: Flow = Flow {
    source: ("10.0.1.1", 50_000),
    destination: ("10.0.3.2", 443),
};

#[test]
fn two_chains_share_a_function_and_each_frame_finds_its_own() {
    let mut world = World::new(SHARED);
    only(world.port("a", &WEB.tcp(2, &[], &[])), "in");
    only(world.port("b", &OTHER.tcp(2, &[], &[])), "in");
    only(world.port("out", &WEB.tcp(2, &[], &[])), "x");
    only(world.port("out", &OTHER.tcp(2, &[], &[])), "y");
    only(world.port("y", &OTHER.back().tcp(0x12, &[], &[])), "out");
    only(world.port("x", &WEB.back().tcp(0x12, &[], &[])), "out");
    only(world.port("in", &OTHER.back().tcp(0x12, &[], &[])), "b");
    only(world.port("in", &WEB.back().tcp(0x12, &[], &[])), "a");
}

#[test]
fn an_answer_from_the_middle_takes_the_return_path_of_its_chain() {
    let mut world = World::new(SHARED);
    only(world.port("a", &WEB.tcp(2, &[], &[])), "in");
    only(world.port("b", &OTHER.tcp(2, &[], &[])), "in");
    // A firewall resets the connection towards the client, by the leg the SYN came in.
    only(world.port("in", &WEB.back().tcp(0x14, &[], &[])), "a");
    only(world.port("in", &OTHER.back().tcp(0x14, &[], &[])), "b");
    assert_eq!((world.looked_up(11, 254), world.looked_up(11, 255)), (1, 0));
    // And towards the server.
    only(world.port("x", &WEB.back().tcp(0x10, &[], &[])), "out");
    only(world.port("out", &WEB.tcp(0x14, &[], &[])), "x");
}

#[test]
fn a_source_nat_is_recognised_by_the_far_end() {
    let mut world = World::new(SHARED);
    let translated = |flow: Flow| Flow {
        source: ("192.0.2.1", 61_000),
        ..flow
    };
    only(world.port("a", &WEB.tcp(2, &[], &[])), "in");
    only(world.port("b", &OTHER.tcp(2, &[], &[])), "in");
    only(world.port("out", &translated(WEB).tcp(2, &[], &[])), "x");
    only(world.port("out", &translated(OTHER).tcp(2, &[], &[])), "y");
    only(
        world.port("x", &translated(WEB).back().tcp(0x12, &[], &[])),
        "out",
    );
    only(
        world.port("y", &translated(OTHER).back().tcp(0x12, &[], &[])),
        "out",
    );
    only(world.port("in", &WEB.back().tcp(0x12, &[], &[])), "a");
    only(world.port("in", &OTHER.back().tcp(0x12, &[], &[])), "b");
}

#[test]
fn a_load_balancer_is_recognised_by_the_near_end() {
    let mut world = World::new(SHARED);
    let balanced = |flow: Flow| Flow {
        destination: ("10.9.9.9", 8080),
        ..flow
    };
    only(world.port("a", &WEB.tcp(2, &[], &[])), "in");
    only(world.port("b", &OTHER.tcp(2, &[], &[])), "in");
    only(world.port("out", &balanced(WEB).tcp(2, &[], &[])), "x");
    only(world.port("out", &balanced(OTHER).tcp(2, &[], &[])), "y");
    only(
        world.port("x", &balanced(WEB).back().tcp(0x12, &[], &[])),
        "out",
    );
    only(
        world.port("y", &balanced(OTHER).back().tcp(0x12, &[], &[])),
        "out",
    );
    only(world.port("in", &WEB.back().tcp(0x12, &[], &[])), "a");
    only(world.port("in", &OTHER.back().tcp(0x12, &[], &[])), "b");
}

#[test]
fn what_a_function_says_unasked_takes_the_newest_path() {
    let mut world = World::new(SHARED);
    only(world.port("out", &OTHER.udp(b"hello")), "y");
    only(world.port("in", &OTHER.back().udp(b"hello")), "b");
}

#[test]
fn frames_inside_a_function_during_a_change_of_path_come_out_on_a_path_that_exists() {
    let mut world = World::new(SHARED);
    only(world.port("a", &WEB.udp(b"1")), "in");
    only(world.port("b", &OTHER.udp(b"1")), "in");
    // Make: a second path for the first chain, next to the old one; then the classifier flips.
    let made = SHARED.replace("spi = 10, si = 255", "spi = 12, si = 255").replace(
        "[[paths]]\n    spi = 10\n",
        "[[paths]]\n    spi = 12\n    hops = [{ si = 255, to = { function = { name = \"nat\" } } }, { si = 254, to = { egress = { port = \"x\" } } }]\n    [[paths]]\n    spi = 10\n",
    );
    world.install(&made);
    only(world.port("out", &WEB.udp(b"1")), "x");
    assert_eq!(
        (world.looked_up(10, 254), world.looked_up(12, 254)),
        (1, 0),
        "the frame in flight keeps its path"
    );
    only(world.port("a", &WEB.udp(b"2")), "in");
    only(world.port("out", &WEB.udp(b"2")), "x");
    assert_eq!((world.looked_up(10, 254), world.looked_up(12, 254)), (1, 1));
    // Break: the old path goes, while one more frame is inside.
    only(world.port("a", &WEB.udp(b"3")), "in");
    let start = made.find("[[paths]]\n    spi = 10\n").unwrap();
    let end = made[start + 9..].find("[[paths]]").unwrap() + start + 9;
    world.install(&format!("{}{}", &made[..start], &made[end..]));
    only(world.port("out", &WEB.udp(b"3")), "x");
    assert_eq!((world.looked_up(12, 254), world.all_drops()), (2, 0));
}

const ROUTED: &str = r#"
    ports = [{ name = "client" }, { name = "sf" }, { name = "server" }]
    [[functions]]
    name = "router"
    attachment = { one-leg = { port = "sf", mac = "02:00:00:00:0f:01" } }
    [[rules]]
    name = "out"
    match = { port = "client" }
    action = { path = { spi = 10, si = 255 } }
    [[rules]]
    name = "back"
    match = { port = "server" }
    action = { path = { spi = 11, si = 255 } }
    [[paths]]
    spi = 10
    hops = [{ si = 255, to = { function = { name = "router" } } }, { si = 254, to = { egress = { port = "server" } } }]
    [[paths]]
    spi = 11
    hops = [{ si = 255, to = { function = { name = "router", direction = "reverse" } } }, { si = 254, to = { egress = { port = "client" } } }]
"#;

const ROUTER: [u8; 6] = [2, 0, 0, 0, 0x0f, 1];

/// What a router makes of a frame: other MAC addresses, the rest as it was.
fn routed(frame: &[u8], to: [u8; 6]) -> Vec<u8> {
    let ethertype = u16::from_be_bytes([frame[12], frame[13]]);
    ethernet(to, ROUTER, ethertype, &frame[14..])
}

#[test]
fn a_routed_function_gets_frames_at_its_address_and_gives_them_back_by_the_same_leg() {
    let mut world = World::new(ROUTED);
    let inside = only(world.port("client", &WEB.tcp(2, &[], &[])), "sf");
    assert_eq!((&inside[..6], &inside[6..12]), (&ROUTER[..], &CLIENT[..]));
    only(world.port("sf", &routed(&inside, SERVER)), "server");
    let inside = only(world.port("server", &WEB.back().tcp(0x12, &[], &[])), "sf");
    assert_eq!(inside[..6], ROUTER);
    only(world.port("sf", &routed(&inside, CLIENT)), "client");
}

#[test]
fn a_routed_function_answers_and_asks_for_addresses() {
    let mut world = World::new(ROUTED);
    let asked = only(world.port("client", &arp_request()), "sf");
    assert_eq!(asked[..6], ROUTER);
    let mut reply = arp_reply();
    reply[6..12].copy_from_slice(&ROUTER);
    only(world.port("sf", &reply), "client");
    let mut own = arp_request();
    own[6..12].copy_from_slice(&ROUTER);
    only(world.port("sf", &own), "server");
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn a_proxy_that_opens_its_own_connections_is_served_on_both_sides() {
    let mut world = World::new(ROUTED);
    // The client's connection ends in the function, which answers it...
    only(world.port("client", &WEB.tcp(2, &[], &[])), "sf");
    only(world.port("sf", &WEB.back().tcp(0x12, &[], &[])), "client");
    // ...and opens another one to a server behind it.
    let own = Flow {
        source: ("10.0.0.9", 33_000),
        destination: ("10.0.7.7", 8080),
    };
    only(world.port("sf", &own.tcp(2, &[], &[])), "server");
    only(world.port("server", &own.back().tcp(0x12, &[], &[])), "sf");
    only(world.port("sf", &own.tcp(0x10, &[], &[])), "server");
}

#[test]
fn a_connection_of_the_functions_own_is_clamped_to_the_whole_path() {
    // The next hop takes 1500; the answers come by a path that does not.
    let mut world =
        World::new(&ROUTED.replace("spi = 10\n    hops", "spi = 10\n    mtu = 1426\n    hops"));
    let syn = |mss: u16| WEB.tcp(2, &[&[2, 4][..], &mss.to_be_bytes()].concat(), &[]);
    assert_eq!(only(world.port("sf", &syn(1460)), "server"), syn(1386));
    assert_eq!(only(world.port("sf", &syn(536)), "server"), syn(536));
}

#[test]
fn memory_of_a_function_outlives_new_tables_and_silence_ends_it() {
    let mut world = World::new(SHARED);
    only(world.port("a", &WEB.udp(b"?")), "in");
    let renamed = SHARED.replace("name = \"nat\"", "name = \"other\"");
    world.install(SHARED);
    only(world.port("out", &WEB.udp(b"?")), "x");
    world.install(&renamed);
    only(world.port("out", &WEB.udp(b"?")), "y");
    only(world.port("a", &WEB.udp(b"?")), "in");
    world.now_ms += 601_000;
    (0..100).for_each(|_| world.pipeline.expire(world.now_ms));
    only(world.port("out", &WEB.udp(b"?")), "y");
    assert_eq!(world.drops(DropReason::NoReturn), 0);
}
