//! A chain over three boxes, each with one two-leg function, carried by hand from box to box.

use crate::frames::{CLIENT, WEB, arp_reply, arp_request, gpe, nsh, opened};
use crate::world::{World, only};
use kc_forwarder::wire::ethernet::ethertype;
use kc_forwarder_api::DropReason;

pub(crate) const BOX1: &str = r#"
    generation = 1
    [underlay]
    address = "192.168.50.1"
    [[ports]]
    name = "client"
    [[ports]]
    name = "fw-a"
    [[ports]]
    name = "fw-b"
    [[tunnels]]
    name = "box2"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[functions]]
    name = "fw"
    attachment = { two-leg = { inside = "fw-a", outside = "fw-b" } }
    [[rules]]
    name = "out"
    match = { port = "client" }
    action = { path = { spi = 10, si = 255, metadata = { md1 = { context = [1, 2, 3, 4] } } } }
    [[paths]]
    spi = 10
    hops = [
        { si = 255, to = { function = { name = "fw" } } },
        { si = 254, to = { tunnel = { name = "box2" } } },
    ]
    [[paths]]
    spi = 11
    hops = [
        { si = 254, to = { function = { name = "fw", direction = "reverse" } } },
        { si = 253, to = { egress = { port = "client" } } },
    ]
"#;

const BOX2: &str = r#"
    [underlay]
    address = "192.168.50.2"
    [[ports]]
    name = "dpi-a"
    [[ports]]
    name = "dpi-b"
    [[ports]]
    name = "server"
    [[tunnels]]
    name = "box1"
    transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 100 } }
    [[functions]]
    name = "dpi"
    attachment = { two-leg = { inside = "dpi-a", outside = "dpi-b" } }
    [[rules]]
    name = "back"
    match = { port = "server" }
    action = { path = { spi = 11, si = 255 } }
    [[paths]]
    spi = 10
    hops = [
        { si = 254, to = { function = { name = "dpi" } } },
        { si = 253, to = { egress = { port = "server" } } },
    ]
    [[paths]]
    spi = 11
    hops = [
        { si = 255, to = { function = { name = "dpi", direction = "reverse" } } },
        { si = 254, to = { tunnel = { name = "box1" } } },
    ]
"#;

#[test]
fn a_request_and_its_answer_cross_two_functions_on_two_boxes() {
    let (mut one, mut two) = (World::new(BOX1), World::new(BOX2));
    let request = WEB.tcp(0x18, &[], b"GET / HTTP/1.0\r\n\r\n");

    let inside = only(one.port("client", &request), "fw-a");
    assert_eq!(inside, request);
    let packet = only(one.port("fw-b", &inside), "gpe 192.168.50.2");
    let expected = gpe(100, &nsh(10, 254, 63, context([1, 2, 3, 4]), &request));
    assert_eq!(packet, expected);

    let inside = only(two.gpe("192.168.50.1", &packet), "dpi-a");
    assert_eq!(inside, request);
    assert_eq!(only(two.port("dpi-b", &inside), "server"), request);

    let answer = WEB.back().tcp(0x18, &[], b"HTTP/1.0 200 OK\r\n\r\n");
    let inside = only(two.port("server", &answer), "dpi-b");
    let packet = only(two.port("dpi-a", &inside), "gpe 192.168.50.1");
    assert_eq!(opened(&packet), (11, 254, 63, answer.clone()));
    let inside = only(one.gpe("192.168.50.2", &packet), "fw-b");
    assert_eq!(only(one.port("fw-a", &inside), "client"), answer);

    for (world, spi, si) in [
        (&one, 10, 255),
        (&one, 10, 254),
        (&one, 11, 254),
        (&one, 11, 253),
    ] {
        assert_eq!(world.looked_up(spi, si), 1);
    }
    for (world, spi, si) in [
        (&two, 10, 254),
        (&two, 10, 253),
        (&two, 11, 255),
        (&two, 11, 254),
    ] {
        assert_eq!(world.looked_up(spi, si), 1);
    }
    for (port, traffic) in [("client", (1, 1)), ("fw-a", (1, 1)), ("fw-b", (1, 1))] {
        assert_eq!(one.traffic(port), traffic, "{port}");
    }
    let counters = one.counters();
    assert_eq!(counters.generation, 1);
    assert!(counters.drops.is_empty());
    let [tunnel] = &counters.tunnels[..] else {
        panic!("{counters:?}")
    };
    let (rx, tx) = (
        (tunnel.rx_packets, tunnel.rx_bytes),
        (tunnel.tx_packets, tunnel.tx_bytes),
    );
    assert_eq!(rx, (1, packet.len() as u64));
    assert_eq!(tx, (1, expected.len() as u64));
    let path = counters
        .paths
        .iter()
        .find(|path| path.si.get() == 255)
        .unwrap();
    assert_eq!(path.bytes, request.len() as u64);
}

fn context(words: [u32; 4]) -> [u8; 16] {
    let octets: Vec<u8> = words.into_iter().flat_map(u32::to_be_bytes).collect();
    octets.try_into().unwrap()
}

#[test]
fn address_resolution_crosses_the_chain_too() {
    let (mut one, mut two) = (World::new(BOX1), World::new(BOX2));
    let inside = only(one.port("client", &arp_request()), "fw-a");
    let packet = only(one.port("fw-b", &inside), "gpe 192.168.50.2");
    let inside = only(two.gpe("192.168.50.1", &packet), "dpi-a");
    assert_eq!(only(two.port("dpi-b", &inside), "server"), arp_request());
    let inside = only(two.port("server", &arp_reply()), "dpi-b");
    let packet = only(two.port("dpi-a", &inside), "gpe 192.168.50.1");
    let inside = only(one.gpe("192.168.50.2", &packet), "fw-b");
    assert_eq!(only(one.port("fw-a", &inside), "client"), arp_reply());
}

#[test]
fn metadata_ttl_and_unassigned_bits_outlive_a_function_that_knows_no_nsh() {
    let mut two = World::new(&BOX2.replace(
        "egress = { port = \"server\" }",
        "tunnel = { name = \"box1\" }",
    ));
    let mut packet = nsh(10, 254, 9, *b"sixteen octets!!", &WEB.udp(b"?"));
    packet[0] |= 0x10;
    packet[2] |= 0x50;
    let inside = only(two.gpe("192.168.50.1", &gpe(100, &packet)), "dpi-a");
    let out = only(two.port("dpi-b", &inside), "gpe 192.168.50.1");
    let mut expected = nsh(10, 253, 8, *b"sixteen octets!!", &inside);
    expected[0] |= 0x10;
    expected[2] |= 0x50;
    assert_eq!(out[8..], expected);
}

#[test]
fn md_type_2_context_of_any_length_is_put_back() {
    let mut two = World::new(&BOX2.replace(
        "egress = { port = \"server\" }",
        "tunnel = { name = \"box1\" }",
    ));
    for octets in [0, 4, 64, 120] {
        let mut packet = nsh(10, 254, 63, [0; 16], &[]);
        packet.truncate(8);
        let words = 2 + if octets == 0 { 0 } else { octets / 4 + 1 };
        packet[1] = packet[1] & 0xc0 | u8::try_from(words).unwrap();
        packet[2] = 2;
        if octets > 0 {
            packet.extend([0, 1, 2, u8::try_from(octets).unwrap()]);
            packet.extend(vec![0x5a; octets]);
        }
        let header = packet.clone();
        packet.extend(WEB.udp(b"?"));
        let inside = only(two.gpe("192.168.50.1", &gpe(100, &packet)), "dpi-a");
        let out = only(two.port("dpi-b", &inside), "gpe 192.168.50.1");
        assert_eq!(out[16..8 + header.len()], header[8..]);
        assert_eq!(out[8 + 7], 253);
    }
}

#[test]
fn a_transit_sff_changes_the_ttl_and_nothing_else() {
    let mut world = World::new(
        r#"
        [underlay]
        address = "192.168.50.3"
        [[tunnels]]
        name = "next"
        transport = { vxlan-gpe = { remote = "192.168.50.4", vni = 200 } }
        [[tunnels]]
        name = "last"
        transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
        [[paths]]
        spi = 10
        hops = [{ si = 200, to = { tunnel = { name = "next" } } }]
    "#,
    );
    for (incoming, outgoing) in [(63, 62), (2, 1), (0, 63)] {
        let packet = gpe(
            100,
            &nsh(
                10,
                200,
                incoming,
                [7; 16],
                b"no Ethernet frame at all, but who am I to judge",
            ),
        );
        let out = only(world.gpe("192.168.50.2", &packet), "gpe 192.168.50.4");
        let expected = gpe(200, &nsh(10, 200, outgoing, [7; 16], &packet[32..]));
        assert_eq!(out, expected);
    }
    assert!(
        world
            .gpe(
                "192.168.50.2",
                &gpe(100, &nsh(10, 200, 1, [7; 16], &[0; 60]))
            )
            .is_empty()
    );
    assert_eq!(world.drops(DropReason::TtlExpired), 1);
    assert_eq!(world.looked_up(10, 200), 3);
}

#[test]
fn an_nsh_aware_function_gets_nsh_in_ethernet_and_its_answer_is_steered() {
    let tables = BOX2.replace(
        "two-leg = { inside = \"dpi-a\", outside = \"dpi-b\" }",
        "nsh-aware = { port = \"dpi-a\", mac = \"02:00:00:00:0d:01\" }",
    );
    let mut two = World::new(&tables);
    let request = WEB.udp(b"?");
    let packet = gpe(100, &nsh(10, 254, 63, [9; 16], &request));
    let inside = only(two.gpe("192.168.50.1", &packet), "dpi-a");
    assert_eq!(inside[..6], [2, 0, 0, 0, 0x0d, 1]);
    assert_eq!(
        inside[6..12],
        crate::world::mac_of(kc_forwarder::pipeline::PortIndex(0))
    );
    assert_eq!(inside[12..14], ethertype::NSH.to_be_bytes());
    assert_eq!(inside[14..], nsh(10, 254, 62, [9; 16], &request));

    let mut answer = inside;
    answer[14 + 7] = 253;
    assert_eq!(only(two.port("dpi-a", &answer), "server"), request);
    assert!(two.port("dpi-a", &arp_request()).is_empty());
    assert_eq!(two.drops(DropReason::NotNsh), 1);
}

#[test]
fn a_function_that_never_decrements_is_stopped_by_the_ttl() {
    let tables = BOX2.replace(
        "two-leg = { inside = \"dpi-a\", outside = \"dpi-b\" }",
        "nsh-aware = { port = \"dpi-a\", mac = \"02:00:00:00:0d:01\" }",
    );
    let mut two = World::new(&tables);
    let mut sent = two.gpe(
        "192.168.50.1",
        &gpe(100, &nsh(10, 254, 63, [0; 16], &WEB.udp(b"?"))),
    );
    let mut rounds = 0;
    while let Some(frame) = sent.pop() {
        sent = two.port("dpi-a", &frame.bytes);
        rounds += 1;
    }
    assert_eq!((rounds, two.drops(DropReason::TtlExpired)), (62, 1));
}

#[test]
fn a_vlan_tag_taken_out_by_the_kernel_travels_inside() {
    let mut one = World::new(BOX1);
    let request = WEB.udp(b"?");
    let offload = kc_forwarder::frame::Offload {
        vlan: Some(0x6007),
        ..Default::default()
    };
    let inside = only(one.port_with("client", &request, offload), "fw-a");
    assert_eq!(inside[12..18], [0x81, 0, 0x60, 7, 8, 0]);
    assert_eq!(
        (&inside[..12], &inside[18..]),
        (&request[..12], &request[14..])
    );
    assert_eq!(inside[6..12], CLIENT);
}

#[test]
fn nsh_is_taken_only_from_those_that_a_tunnel_leads_to() {
    let mut two = World::new(BOX2);
    let packet = gpe(100, &nsh(10, 254, 63, [0; 16], &WEB.udp(b"?")));
    only(two.gpe("192.168.50.1", &packet), "dpi-a");
    for number in 0..3_000 {
        let remote = std::net::Ipv4Addr::from_bits(0x0a00_0000 + number).to_string();
        assert!(two.gpe(&remote, &packet).is_empty());
    }
    assert_eq!(two.drops(DropReason::UnknownVtep), 3_000);
    let other = gpe(101, &nsh(10, 254, 63, [0; 16], &WEB.udp(b"?")));
    assert!(two.gpe("192.168.50.1", &other).is_empty());
    assert_eq!(two.drops(DropReason::UnknownVni), 1);
    let counted: Vec<_> = two
        .counters()
        .tunnels
        .iter()
        .map(|t| (t.remote.to_string(), t.rx_packets))
        .collect();
    assert_eq!(counted, [("192.168.50.1".to_owned(), 1)]);
}
