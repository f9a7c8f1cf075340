//! Which way an error takes from the middle of a path, whatever the packet came from.

use crate::frames::{Flow, WEB, ethernet, nsh, opened};
use crate::limits::V6;
use crate::middle::{BOX2, FITS, OUTSIDE, by_udp, packet, tells};
use crate::world::{World, mac_of, only};
use kc_forwarder::frame::{Gso, GsoKind, Offload};
use kc_forwarder::pipeline::PortIndex;
use kc_forwarder::wire::ethernet::ethertype;
use kc_forwarder_api::DropReason;

#[test]
fn an_error_goes_back_from_the_place_that_the_packet_had_reached() {
    // One function on box 1, one here, another on box 1, and on to box 3: the path passes twice.
    let tables = BOX2
        .replace(
            "{ si = 253, to = { tunnel = { name = \"box1\" } } }",
            "{ si = 253, to = { function = { name = \"aware\", direction = \"reverse\" } } },
             { si = 252, to = { tunnel = { name = \"box1\" } } }",
        )
        .replace(
            "{ si = 254, to = { tunnel = { name = \"box3\" } } }",
            "{ si = 254, to = { function = { name = \"aware\" } } },
             { si = 253, to = { tunnel = { name = \"box1\" } } },
             { si = 252, to = { tunnel = { name = \"box3\" } } }",
        );
    let mut two = World::new(&tables);
    two.set_port("aware", true, 1338);
    let frame = WEB.udp(&[1; 1400]);
    // On its first visit it does not get into the function, on its second not to box 3.
    for (si, back) in [(254, 252), (252, 254)] {
        let sent = only(by_udp(&mut two, si, &frame), "gpe 192.168.50.1");
        let (spi, at, _, error) = opened(&sent);
        assert_eq!((spi, at), (11, back));
        tells(&error, &frame, FITS.into());
    }
}

#[test]
fn a_function_that_knows_nsh_gets_the_error_on_the_return_path() {
    let tables = BOX2
        .replace(
            "{ si = 254, to = { tunnel = { name = \"box3\" } } }",
            "{ si = 254, to = { function = { name = \"aware\" } } }, { si = 253, to = { tunnel = { name = \"box3\" } } }",
        )
        .replace(
            "{ si = 254, to = { tunnel = { name = \"box1\" } } }",
            "{ si = 254, to = { function = { name = \"aware\", direction = \"reverse\" } } }",
        );
    let mut two = World::new(&tables);
    let frame = WEB.udp(&[1; 1400]);
    let out = nsh(10, 253, 60, [7; 16], &frame);
    let mac = mac_of(PortIndex(1));
    let out = ethernet(mac, [2, 0, 0, 0, 0x0d, 1], ethertype::NSH, &out);
    let back = only(two.port("aware", &out), "aware");
    assert_eq!(back[..6], [2, 0, 0, 0, 0x0d, 1]);
    assert_eq!(back[14..14 + 24], nsh(11, 254, 63, [0; 16], &[]));
    tells(&back[14 + 24..], &frame, FITS.into());
}

#[test]
fn who_came_over_a_lan_is_told_over_the_lan() {
    let tables = BOX2
        .replace("spi = 10\n    reverse = 11", "spi = 10\n    reverse = 12")
        .replace("{ name = \"box3\" } } }]", "{ name = \"box1\" } } }]")
        .replace("mtu = 1338", "mtu = 1600")
        .replace("mtu = 1600\n    [[tunnels]]", "mtu = 1366\n    [[tunnels]]")
        + "[[paths]]\nspi = 12\nhops = [{ si = 9, to = { tunnel = { name = \"box3\" } } }]\n";
    let mut two = World::new(&tables);
    two.set_port("lan", true, 1600);
    let frame = V6.udp(&[1; 1400]);
    let inside = nsh(10, 254, 63, [7; 16], &frame);
    let mac = mac_of(PortIndex(0));
    let inside = ethernet(mac, [2, 0, 0, 0, 0, 3], ethertype::NSH, &inside);
    let back = only(two.port("lan", &inside), "lan");
    assert_eq!(
        (&back[..6], &back[6..12]),
        (&[2, 0, 0, 0, 0, 3][..], &mac[..])
    );
    assert_eq!(back[14..14 + 24], nsh(12, 9, 63, [0; 16], &[]));
    // 1366 less IPv4, UDP, VXLAN-GPE, NSH and inner Ethernet.
    tells(&back[14 + 24..], &frame, 1292);
    let tunnels = two.counters().tunnels;
    let lan = tunnels.iter().find(|tunnel| tunnel.vni.is_none()).unwrap();
    assert_eq!((lan.rx_packets, lan.tx_packets), (1, 1));
    // Who is no tunnel's other end is nobody to tell.
    let mut stranger = inside;
    stranger[11] = 4;
    assert!(two.port("lan", &stranger).is_empty());
    assert_eq!(two.drops(DropReason::MtuExceeded), 2);
}

#[test]
fn of_a_group_the_member_that_the_packet_came_from_is_told() {
    let tables = BOX2.replace(
        "hops = [\n        { si = 254, to = { tunnel = { name = \"box1\" } } },\n        { si = 253, to = { tunnel = { name = \"box1\" } } },",
        "hops = [\n        { si = 253, to = { group = { name = \"nats\", direction = \"reverse\" } } },",
    ) + r#"
    [[tunnels]]
    name = "box4"
    transport = { vxlan-gpe = { remote = "192.168.50.4", vni = 100 } }
    [[groups]]
    name = "nats"
    members = [{ to = { tunnel = { name = "box4" } }, weight = 1000 }, { to = { tunnel = { name = "box1" } } }]
    "#;
    let mut two = World::new(&tables);
    for port in 0..20 {
        let frame = Flow {
            source: ("192.0.2.1", 40_000 + port),
            ..OUTSIDE
        }
        .udp(&[1; 1400]);
        for from in ["192.168.50.1", "192.168.50.4"] {
            let back = only(two.gpe(from, &packet(254, &frame)), &format!("gpe {from}"));
            assert_eq!(opened(&back).1, 253);
        }
    }
    assert_eq!(two.looked_up(11, 253), 40);
}

#[test]
fn an_error_in_between_leaves_the_nsh_of_its_packet_alone() {
    let tables = BOX2
        .replace(
            "to = { tunnel = { name = \"box3\" } } }]",
            "to = { tunnel = { name = \"box1\" } } }]",
        )
        .replace("spi = 10\n    reverse = 11", "spi = 10\n    reverse = 12")
        + "[[paths]]\nspi = 12\nhops = [{ si = 9, to = { tunnel = { name = \"box3\" } } }]\n";
    let tables = tables
        .replace("mtu = 1338", "mtu = 9000")
        .replace("mtu = 1600\n    [[tunnels]]", "mtu = 1366\n    [[tunnels]]");
    let mut two = World::new(&tables);
    two.set_port("lan", true, 9000);
    // Datagrams handed over together, of which two are too long and the third is not.
    let frame = WEB.udp(&[1; 1350 + 1350 + 100]);
    let inside = nsh(10, 254, 63, [7; 16], &frame);
    let inside = ethernet(
        mac_of(PortIndex(0)),
        [2, 0, 0, 0, 0, 3],
        ethertype::NSH,
        &inside,
    );
    let offload = Offload {
        gso: Some(Gso {
            size: 1350,
            kind: GsoKind::Udp,
        }),
        ..Offload::default()
    };
    let sent = two.port_with("lan", &inside, offload);
    let ways: Vec<_> = sent.iter().map(|sent| sent.via.as_str()).collect();
    assert_eq!(ways, ["lan", "lan", "gpe 192.168.50.1"]);
    let (spi, si, ttl, last) = opened(&sent[2].bytes);
    assert_eq!((spi, si, ttl), (10, 254, 62));
    assert_eq!(sent[2].bytes[8 + 8..8 + 24], [7; 16]);
    assert_eq!(last.len(), 42 + 100);
    assert_eq!(two.drops(DropReason::MtuExceeded), 2);
}
