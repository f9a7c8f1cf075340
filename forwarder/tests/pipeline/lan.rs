//! NSH in Ethernet on a LAN, tagged and untagged, and neighbours that have to be found there.

use crate::frames::{CLIENT, Flow, WEB, ethernet, nsh};
use crate::world::{Sent, World, mac_of, only};
use kc_forwarder::frame::Offload;
use kc_forwarder::pipeline::PortIndex;
use kc_forwarder::wire::ethernet::ethertype;
use kc_forwarder::wire::{arp, ndp};
use kc_forwarder_api::DropReason;
use std::net::{IpAddr, Ipv6Addr};

/// A classifier with three next hops on two LANs.
const BOX1: &str = r#"
    [[ports]]
    name = "client"
    [[ports]]
    name = "lan"
    addresses = ["10.0.0.1", "fe80::1"]
    [[tunnels]]
    name = "fixed"
    transport = { ethernet = { port = "lan", next-hop = "02:00:00:00:00:09" } }
    [[tunnels]]
    name = "box2"
    transport = { ethernet = { port = "lan", next-hop = "10.0.0.2" } }
    [[tunnels]]
    name = "box3"
    transport = { ethernet = { port = "lan", next-hop = "fe80::3", vlan = 7 } }
    [[rules]]
    name = "to box2"
    match = { port = "client", protocol = "udp" }
    action = { path = { spi = 12, si = 255 } }
    [[rules]]
    name = "to box3"
    match = { port = "client", protocol = "tcp" }
    action = { path = { spi = 13, si = 255 } }
    [[rules]]
    name = "to the fixed one"
    match = { port = "client" }
    action = { path = { spi = 19, si = 255, metadata = { md2 = {} } } }
    [[rules]]
    name = "access beside the LAN"
    match = { port = "lan" }
    action = { egress = { port = "client" } }
    [[paths]]
    spi = 12
    hops = [{ si = 255, to = { tunnel = { name = "box2" } } }]
    [[paths]]
    spi = 13
    hops = [{ si = 255, to = { tunnel = { name = "box3" } } }]
    [[paths]]
    spi = 19
    hops = [{ si = 255, to = { tunnel = { name = "fixed" } } }]
    [[paths]]
    spi = 20
    hops = [{ si = 255, to = { egress = { port = "client" } } }]
"#;

const LAN: PortIndex = PortIndex(1);
const TWO: [u8; 6] = [2, 0, 0, 0, 0, 2];
const THREE: [u8; 6] = [2, 0, 0, 0, 0, 3];
const BROADCAST: [u8; 6] = [0xff; 6];
/// No context.
const NONE: [u8; 16] = [0; 16];

/// A forwarder that has said who it is.
fn quiet(toml: &str) -> World {
    let mut world = World::new(toml);
    world.until(world.now_ms);
    world
}

/// An 802.1Q tag put into a frame.
fn tagged(vlan: u16, frame: &[u8]) -> Vec<u8> {
    let mut frame = frame.to_vec();
    let [a, b] = vlan.to_be_bytes();
    frame.splice(12..12, [0x81, 0, a, b]);
    frame
}

/// An ARP packet of `sender`.
fn arp(
    operation: arp::Operation,
    sender: ([u8; 6], [u8; 4]),
    target: ([u8; 6], [u8; 4]),
) -> Vec<u8> {
    let repr = arp::Repr {
        operation,
        sender_mac: sender.0,
        sender: sender.1.into(),
        target_mac: target.0,
        target: target.1.into(),
    };
    let mut octets = vec![0; repr.buffer_len()];
    repr.emit(&mut octets);
    let to = if target.0 == [0; 6] {
        BROADCAST
    } else {
        target.0
    };
    ethernet(to, sender.0, ethertype::ARP, &octets)
}

/// The answer that 10.0.0.2 gives to us.
fn arp_answer(mac: [u8; 6]) -> Vec<u8> {
    arp(
        arp::Operation::Reply,
        (mac, [10, 0, 0, 2]),
        (mac_of(LAN), [10, 0, 0, 1]),
    )
}

/// What a neighbour discovery packet says, in Ethernet from `source`.
fn discovery(source: [u8; 6], to: [u8; 6], repr: &ndp::Repr) -> Vec<u8> {
    let mut octets = vec![0; repr.buffer_len()];
    repr.emit(&mut octets);
    ethernet(to, source, ethertype::IPV6, &octets)
}

fn advertisement(mac: [u8; 6]) -> ndp::Repr {
    ndp::Repr {
        source: "fe80::3".parse().unwrap(),
        destination: "fe80::1".parse().unwrap(),
        target: "fe80::3".parse().unwrap(),
        message: ndp::Message::Advertisement {
            router: false,
            solicited: true,
            overrides: true,
            target_mac: Some(mac),
        },
    }
}

/// A frame that is an ARP request for `target`.
#[track_caller]
fn is_request(sent: &Sent, to: [u8; 6], target: [u8; 4]) {
    assert_eq!((sent.via.as_str(), &sent.bytes[..6]), ("lan", &to[..]));
    let request = arp::Repr::parse(&sent.bytes[14..]).unwrap();
    assert_eq!(request.operation, arp::Operation::Request);
    assert_eq!(
        (request.sender_mac, request.sender, request.target),
        (mac_of(LAN), [10, 0, 0, 1].into(), target.into())
    );
}

#[test]
fn a_next_hop_by_mac_address_needs_nobody_to_be_asked() {
    let mut world = quiet(BOX1);
    let inner = crate::frames::arp_request();
    let sent = only(world.port("client", &inner), "lan");
    let mut expected = ethernet([2, 0, 0, 0, 0, 9], mac_of(LAN), ethertype::NSH, &[]);
    expected.extend([0x0f, 0xc2, 2, 3, 0, 0, 19, 255]);
    expected.extend(&inner);
    assert_eq!(sent, expected);
    let counters = world.counters();
    let fixed = &counters.tunnels[0];
    assert_eq!((fixed.tx_packets, fixed.tx_bytes), (1, sent.len() as u64));
    assert_eq!(world.pipeline.next_deadline(), None);
}

#[test]
fn frames_wait_for_the_answer_and_keep_their_order() {
    let mut world = quiet(BOX1);
    let question = only(world.port("client", &WEB.udp(b"1")), "lan");
    is_request(
        &Sent {
            via: "lan".into(),
            bytes: question,
            class: 0,
        },
        BROADCAST,
        [10, 0, 0, 2],
    );
    assert!(world.port("client", &WEB.udp(b"2")).is_empty());
    assert_eq!(world.pipeline.balance().held, 2);
    let released = world.port("lan", &arp_answer(TWO));
    let expected = [&b"1"[..], b"2"].map(|payload| {
        let inner = nsh(12, 255, 63, NONE, &WEB.udp(payload));
        ethernet(TWO, mac_of(LAN), ethertype::NSH, &inner)
    });
    assert_eq!(
        released.iter().map(|sent| &sent.bytes).collect::<Vec<_>>(),
        expected.iter().collect::<Vec<_>>()
    );
    only(world.port("client", &WEB.udp(b"3")), "lan");
    assert_eq!((world.all_drops(), world.pipeline.balance().held), (0, 0));
    assert_eq!(world.pipeline.balance().consumed, 1);
    assert!(world.until(world.now_ms + 20_000).is_empty());
    assert_eq!(world.pipeline.next_deadline(), None);
    let counters = world.counters();
    assert_eq!(
        (
            counters.tunnels[1].tx_packets,
            counters.tunnels[1].remote.to_string()
        ),
        (3, "10.0.0.2".into())
    );
}

#[test]
fn a_tagged_lan_is_asked_and_used_with_its_tag() {
    let mut world = quiet(BOX1);
    let question = only(world.port("client", &WEB.tcp(2, &[], &[])), "lan");
    assert_eq!(question[..6], [0x33, 0x33, 0xff, 0, 0, 3]);
    assert_eq!(question[12..18], [0x81, 0, 0, 7, 0x86, 0xdd]);
    let asked = ndp::Repr::parse(&question[18..]).unwrap();
    assert_eq!(asked.source, "fe80::1".parse::<Ipv6Addr>().unwrap());
    assert_eq!(
        asked.message,
        ndp::Message::Solicitation {
            source_mac: Some(mac_of(LAN))
        }
    );

    // An answer on another LAN is none, however it is tagged.
    let answer = discovery(THREE, mac_of(LAN), &advertisement(THREE));
    world.port("lan", &answer);
    world.port("lan", &tagged(8, &answer));
    assert_eq!(world.pipeline.balance().held, 1);
    // The kernel takes the tag out, and tells it beside the frame.
    let beside = Offload {
        vlan: Some(0xe007),
        ..Offload::default()
    };
    let sent = only(world.port_with("lan", &answer, beside), "lan");
    let inner = nsh(13, 255, 63, NONE, &WEB.tcp(2, &[], &[]));
    assert_eq!(
        sent,
        tagged(7, &ethernet(THREE, mac_of(LAN), ethertype::NSH, &inner))
    );
}

#[test]
fn a_silent_neighbour_is_asked_three_times_and_costs_its_frames() {
    let mut world = quiet(BOX1);
    for _ in 0..10 {
        world.port("client", &WEB.udp(b"?"));
    }
    let begin = world.now_ms;
    assert_eq!(world.drops(DropReason::NoNeighbour), 2, "eight wait");
    let asked = world.until(begin + 10_000);
    assert_eq!(asked.len(), 2);
    for sent in &asked {
        is_request(sent, BROADCAST, [10, 0, 0, 2]);
    }
    assert_eq!(world.drops(DropReason::NoNeighbour), 10);
    assert_eq!(world.pipeline.balance().held, 0);
    assert_eq!(world.pipeline.next_deadline(), None);
    // Asked anew, and found once it is back.
    assert_eq!(world.port("client", &WEB.udp(b"?")).len(), 1);
    assert_eq!(world.port("lan", &arp_answer(TWO)).len(), 1);
    assert!(world.pipeline.balance().holds());
}

#[test]
fn a_station_that_says_it_has_moved_is_followed() {
    let mut world = quiet(BOX1);
    world.port("client", &WEB.udp(b"?"));
    world.port("lan", &arp_answer(TWO));
    // Gratuitous ARP (RFC 5227 section 3): a request for its own address.
    let moved = arp(
        arp::Operation::Request,
        (THREE, [10, 0, 0, 2]),
        ([0; 6], [10, 0, 0, 2]),
    );
    // It is for everybody, and so for whoever is behind the port as well.
    only(world.port("lan", &moved), "client");
    world.now_ms += 2_000;
    let sent = world.port("client", &WEB.udp(b"?"));
    assert_eq!(sent[0].bytes[..6], THREE);
    is_request(&sent[1], THREE, [10, 0, 0, 2]);
    assert!(world.port("lan", &arp_answer(THREE)).is_empty());
    let from = ethernet(
        mac_of(LAN),
        THREE,
        ethertype::NSH,
        &nsh(20, 255, 63, NONE, &WEB.udp(b"!")),
    );
    only(world.port("lan", &from), "client");
    assert_eq!(world.counters().tunnels[1].rx_packets, 1);
}

#[test]
fn only_our_own_addresses_are_answered_for_and_only_on_our_lans() {
    let mut world = quiet(BOX1);
    let who_has = |target: [u8; 4]| {
        arp(
            arp::Operation::Request,
            (TWO, [10, 0, 0, 7]),
            ([0; 6], target),
        )
    };
    let reply = only(world.port("lan", &who_has([10, 0, 0, 1])), "lan");
    assert_eq!((&reply[..6], &reply[6..12]), (&TWO[..], &mac_of(LAN)[..]));
    let reply = arp::Repr::parse(&reply[14..]).unwrap();
    assert_eq!(
        (reply.operation, reply.sender_mac),
        (arp::Operation::Reply, mac_of(LAN))
    );
    let reply = only(
        world.port("lan", &tagged(7, &who_has([10, 0, 0, 1]))),
        "lan",
    );
    assert_eq!(reply[12..18], [0x81, 0, 0, 7, 8, 6]);
    // Others' questions go where the rules say.
    only(world.port("lan", &who_has([10, 0, 0, 8])), "client");
    only(
        world.port("lan", &tagged(8, &who_has([10, 0, 0, 1]))),
        "client",
    );
    assert!(
        world
            .port("client", &who_has([10, 0, 0, 1]))
            .iter()
            .all(|sent| sent.via == "lan" && sent.bytes[12..14] == [0x89, 0x4f])
    );

    let target: Ipv6Addr = "fe80::1".parse().unwrap();
    let group = ndp::solicited_node(target);
    let question = ndp::Repr {
        source: "fe80::77".parse().unwrap(),
        destination: group,
        target,
        message: ndp::Message::Solicitation {
            source_mac: Some(TWO),
        },
    };
    let reply = only(
        world.port("lan", &discovery(TWO, ndp::group_mac(group), &question)),
        "lan",
    );
    let reply = ndp::Repr::parse(&reply[14..]).unwrap();
    assert_eq!(
        (IpAddr::V6(reply.destination), reply.target),
        ("fe80::77".parse().unwrap(), target)
    );
}

#[test]
fn a_flood_of_addresses_neither_fills_nor_poisons_anything() {
    let mut world = quiet(BOX1);
    world.port("client", &WEB.udp(b"?"));
    world.port("lan", &arp_answer(TWO));
    for number in 0..5_000_u32 {
        let [_, a, b, c] = number.to_be_bytes();
        let mac = [6, 0, 0, a, b, c];
        world.port(
            "lan",
            &arp(
                arp::Operation::Reply,
                (mac, [10, 9, b, c]),
                (mac_of(LAN), [10, 0, 0, 1]),
            ),
        );
        // Nor does a group, or a reply in another LAN.
        world.port("lan", &arp_answer([0x03, 0, 0, a, b, c]));
        world.port("lan", &tagged(7, &arp_answer(mac)));
    }
    let sent = only(world.port("client", &WEB.udp(b"?")), "lan");
    assert_eq!(sent[..6], TWO);
}

#[test]
fn nsh_for_somebody_else_is_not_ours() {
    let mut world = quiet(BOX1);
    let packet = nsh(20, 255, 63, NONE, &WEB.udp(b"!"));
    let ours = ethernet(mac_of(LAN), TWO, ethertype::NSH, &packet);
    assert_eq!(only(world.port("lan", &ours), "client"), WEB.udp(b"!"));
    assert_eq!(
        only(world.port("lan", &tagged(7, &ours)), "client"),
        WEB.udp(b"!")
    );
    for other in [
        ethernet(TWO, THREE, ethertype::NSH, &packet),
        ethernet(BROADCAST, THREE, ethertype::NSH, &packet),
        tagged(8, &ours),
    ] {
        assert!(world.port("lan", &other).is_empty());
    }
    assert_eq!(world.drops(DropReason::NshOutside), 3);
    assert_eq!(world.looked_up(20, 255), 2);
    // An access port that is on no LAN takes no NSH at all.
    let client = ethernet(mac_of(PortIndex(0)), CLIENT, ethertype::NSH, &packet);
    assert!(world.port("client", &client).is_empty());
    assert_eq!(world.drops(DropReason::NshOutside), 4);
}

#[test]
fn a_copy_of_what_the_underlay_receives_is_nobody_elses() {
    let tables = format!("underlay = {{ address = [\"10.0.0.1\", \"fe80::1\"] }}\n{BOX1}");
    let mut world = quiet(&tables);
    let datagram = |to: &'static str, port: u16| {
        let (source, destination) = (
            if to.contains(':') {
                "fe80::2"
            } else {
                "10.0.0.2"
            },
            to,
        );
        let flow = Flow {
            source: (source, 50_000),
            destination: (destination, port),
        };
        let mut frame = flow.udp(b"tunnelled");
        frame[..6].copy_from_slice(&mac_of(LAN));
        frame
    };
    for to in ["10.0.0.1", "fe80::1"] {
        for port in [4789, 4790] {
            assert!(world.port("lan", &datagram(to, port)).is_empty());
            assert!(
                world
                    .port("lan", &tagged(7, &datagram(to, port)))
                    .is_empty()
            );
        }
    }
    assert_eq!(world.pipeline.balance().consumed, 8);
    let mut to_another = datagram("10.0.0.1", 4789);
    to_another[..6].copy_from_slice(&TWO);
    for other in [
        datagram("10.0.0.1", 4791),
        datagram("10.0.0.9", 4789),
        to_another,
        tagged(8, &datagram("fe80::1", 4789)),
    ] {
        assert_eq!(only(world.port("lan", &other), "client"), other);
    }
    assert!(world.counters().drops.is_empty());
}

#[test]
fn a_lan_takes_its_mtu_less_nsh_and_the_inner_header_with_or_without_a_tag() {
    // 1500 - NSH 24 - Ethernet 14.
    let fits = vec![0; 1462 - 28];
    let too_long = vec![0; 1462 - 27];
    for (vlan, tag) in [("", 0), (", vlan = 7", 4)] {
        let text = BOX1.replace(
            "next-hop = \"10.0.0.2\" }",
            &format!("next-hop = \"02:00:00:00:00:02\"{vlan} }}"),
        );
        let mut world = quiet(&text);
        let sent = only(world.port("client", &WEB.udp(&fits)), "lan");
        assert_eq!(sent.len(), 14 + tag + 1500);
        let answer = only(world.port("client", &WEB.udp(&too_long)), "client");
        assert_eq!(answer[14 + 20..14 + 22], [3, 4], "fragmentation needed");
        assert_eq!(answer[14 + 26..14 + 28], 1462_u16.to_be_bytes());
    }
}

#[test]
fn a_port_that_is_down_asks_nobody_and_holds_nothing() {
    let mut world = quiet(BOX1);
    world.set_port("lan", false, 1500);
    assert!(world.port("client", &WEB.udp(b"?")).is_empty());
    assert_eq!(world.drops(DropReason::PortDown), 1);
    assert_eq!(world.pipeline.balance().held, 0);
}

#[test]
fn what_is_known_of_neighbours_outlives_a_change_of_tables() {
    let mut world = quiet(BOX1);
    world.port("client", &WEB.udp(b"?"));
    world.port("lan", &arp_answer(TWO));
    world.port("client", &WEB.tcp(2, &[], &[]));
    // Every number changes: box2 becomes the first neighbour's successor, box3 leaves.
    let text = BOX1
        .replace("\"to box3\"\n    match = { port = \"client\", protocol = \"tcp\" }\n    action = { path = { spi = 13, si = 255 } }", "\"to box3\"\n    match = { protocol = \"sctp\" }\n    action = \"drop\"")
        .replace("{ si = 255, to = { tunnel = { name = \"box3\" } } }", "")
        .replace("name = \"box3\"", "name = \"box4\"")
        .replace("fe80::3", "fe80::4")
        .replace("[[ports]]\n    name = \"lan\"", "[[ports]]\n    name = \"other\"\n    [[ports]]\n    name = \"lan\"");
    world.install(&text);
    assert_eq!(world.pipeline.balance().held, 0);
    assert_eq!(
        world.drops(DropReason::NoNeighbour),
        1,
        "what waited for box3"
    );
    assert!(world.pipeline.balance().holds());
    let sent = only(world.port("client", &WEB.udp(b"?")), "lan");
    assert_eq!(sent[..6], TWO);
    assert_eq!(world.counters().tunnels[1].tx_packets, 2);
}

#[test]
fn a_port_that_comes_up_tells_its_lans_who_is_there() {
    let mut world = quiet(BOX1);
    assert_eq!(world.pipeline.next_deadline(), None);
    world.set_port("lan", false, 1500);
    assert!(world.until(world.now_ms).is_empty());
    world.set_port("lan", true, 1500);
    world.set_port("lan", true, 1400);
    let told = world.until(world.now_ms);
    // Two addresses on the untagged LAN and on VLAN 7.
    assert_eq!(told.len(), 4, "{told:?}");
    let mut said: Vec<_> = told
        .iter()
        .map(|sent| {
            assert_eq!(sent.via, "lan");
            let tag = if sent.bytes[12] == 0x81 { 4 } else { 0 };
            let payload = &sent.bytes[14 + tag..];
            let target: IpAddr = match sent.bytes[13 + tag] {
                6 => {
                    let arp = arp::Repr::parse(payload).unwrap();
                    assert_eq!((arp.sender, arp.sender_mac), (arp.target, mac_of(LAN)));
                    arp.target.into()
                }
                _ => ndp::Repr::parse(payload).unwrap().target.into(),
            };
            (tag, target.to_string())
        })
        .collect();
    said.sort();
    let expected = [
        (0, "10.0.0.1"),
        (0, "fe80::1"),
        (4, "10.0.0.1"),
        (4, "fe80::1"),
    ];
    assert_eq!(said, expected.map(|(tag, own)| (tag, own.to_owned())));
    // An address that is new is told, too, and no other port's.
    world.install(&BOX1.replace("\"10.0.0.1\",", "\"10.0.0.1\", \"10.0.0.11\","));
    assert_eq!(world.until(world.now_ms).len(), 6);
    world.install(BOX1);
    assert!(world.until(world.now_ms).is_empty());
}

#[test]
fn how_far_neighbours_are_known_is_told() {
    let mut world = quiet(BOX1);
    world.port("client", &WEB.udp(b"?"));
    world.port("lan", &arp_answer(TWO));
    world.port("client", &WEB.tcp(2, &[], &[]));
    let told: Vec<_> = world
        .pipeline
        .neighbours(world.now_ms)
        .into_iter()
        .map(|at| {
            format!(
                "{} {:?} {:?} {}",
                at.address,
                at.vlan.map(|vlan| vlan.get()),
                at.mac,
                at.state
            )
        })
        .collect();
    let mac = kc_forwarder_api::MacAddr(TWO);
    assert_eq!(
        told,
        [
            format!("10.0.0.2 None {:?} reachable", Some(mac)),
            "fe80::3 Some(7) None incomplete".into()
        ]
    );
}
