//! Metadata and payloads of NSH: context headers of MD type 2, and what is no Ethernet.

use crate::frames::{WEB, gpe, opened};
use crate::world::{World, only, tables};
use kc_forwarder::pipeline::Compiled;
use kc_forwarder::wire::nsh::{self, Context, MetadataRepr, NextProtocol};
use kc_forwarder_api::{DropReason, Si, Spi, Ttl};

const BOX1: &str = r#"
    ports = [{ name = "client" }, { name = "a" }, { name = "b" }, { name = "aware" }, { name = "out" }]
    [underlay]
    address = "192.168.50.1"
    [[tunnels]]
    name = "box2"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[functions]]
    name = "fw"
    attachment = { two-leg = { inside = "a", outside = "b" } }
    [[functions]]
    name = "aware"
    attachment = { nsh-aware = { port = "aware", mac = "02:00:00:00:00:0a" } }
    [[rules]]
    name = "tenant 7"
    match = { port = "client" }
    action = { path = { spi = 10, si = 255, metadata = { md2 = { headers = [
        { class = 0x0102, type = 7, value = "0a0b0c0d0e" },
        { class = 0xfff6, type = 200, value = "" },
    ] } } } }
    [[paths]]
    spi = 10
    hops = [{ si = 255, to = { function = { name = "fw" } } }, { si = 254, to = { tunnel = { name = "box2" } } }]
    [[paths]]
    spi = 20
    hops = [
        { si = 255, to = { tunnel = { name = "box2" } } },
        { si = 254, to = { function = { name = "aware" } } },
        { si = 253, to = { function = { name = "fw" } } },
        { si = 252, to = { egress = { port = "out" } } },
    ]
"#;

fn repr(si: u8, next: NextProtocol, metadata: MetadataRepr<'_>) -> nsh::Repr<'_> {
    nsh::Repr {
        oam: false,
        ttl: Ttl::new(9).unwrap(),
        next,
        spi: Spi::new(20).unwrap(),
        si: Si::new(si).unwrap(),
        metadata,
    }
}

fn packet(repr: &nsh::Repr<'_>, inner: &[u8]) -> Vec<u8> {
    let mut octets = vec![0; repr.buffer_len()];
    repr.emit(&mut octets);
    octets.extend(inner);
    gpe(100, &octets)
}

#[test]
fn context_headers_of_a_rule_survive_function_and_tunnel() {
    let mut world = World::new(BOX1);
    let inside = only(world.port("client", &WEB.udp(b"?")), "a");
    assert_eq!(inside, WEB.udp(b"?"));
    let sent = only(world.port("b", &inside), "gpe 192.168.50.2");
    let header = nsh::Packet::new_checked(&sent[8..]).unwrap();
    assert_eq!((header.header_len(), header.si().get()), (8 + 12 + 4, 254));
    let contexts: Vec<_> = header.contexts().collect();
    let first = Context {
        class: 0x0102,
        kind: 7,
        value: &[10, 11, 12, 13, 14],
    };
    let second = Context {
        class: 0xfff6,
        kind: 200,
        value: &[],
    };
    assert_eq!(contexts, [first, second]);
    assert_eq!(header.payload(), inside);
}

#[test]
fn the_longest_context_survives_and_one_octet_more_is_refused_with_the_bound() {
    let with = |length: usize| {
        let value = "ab".repeat(length);
        let headers = format!(
            "headers = [{{ class = 1, type = 1, value = \"{value}\" }}, {{ class = 1, type = 2, value = \"{}\" }}]",
            "cd".repeat(116)
        );
        let start = BOX1.find("headers = [").unwrap();
        let end = start + BOX1[start..].find("    ] }").unwrap() + 5;
        format!("{}{headers}{}", &BOX1[..start], &BOX1[end..])
    };
    let mut world = World::new(&with(120));
    let inside = only(world.port("client", &WEB.udp(b"?")), "a");
    let sent = only(world.port("b", &inside), "gpe 192.168.50.2");
    let header = nsh::Packet::new_checked(&sent[8..]).unwrap();
    assert_eq!((header.header_len(), header.contexts().count()), (252, 2));
    assert_eq!(header.payload(), inside);
    let error = Compiled::new(tables(&with(121))).unwrap_err();
    assert_eq!(
        error.to_string(),
        "rule \"tenant 7\" asks for an NSH of 256 octets; its length field ends at 252, of which 8 are no context"
    );
}

#[test]
fn context_that_nobody_knows_is_kept_bit_by_bit() {
    let mut world = World::new(BOX1);
    // An unassigned bit and padding that is not zero: "preserved unmodified".
    let unknown = [0xab, 0xcd, 0xff, 0x83, 1, 2, 3, 0x99];
    let repr = repr(255, NextProtocol::Ethernet, MetadataRepr::Two(&unknown));
    let sent = only(
        world.gpe("192.168.50.2", &packet(&repr, &WEB.udp(b"?"))),
        "gpe 192.168.50.2",
    );
    assert_eq!(sent[16..24], unknown);
    // Through the memory of the SFC proxy too.
    let through = nsh::Repr {
        si: Si::new(253).unwrap(),
        ..repr
    };
    let tables = BOX1.replace(
        "{ si = 252, to = { egress = { port = \"out\" } } }",
        "{ si = 252, to = { tunnel = { name = \"box2\" } } }",
    );
    world.install(&tables);
    let inside = only(
        world.gpe("192.168.50.2", &packet(&through, &WEB.udp(b"?"))),
        "a",
    );
    let sent = only(world.port("b", &inside), "gpe 192.168.50.2");
    assert_eq!(sent[16..24], unknown);
}

#[test]
fn every_payload_goes_between_sffs_and_to_functions_that_know_nsh() {
    let ip = &WEB.udp(b"bare")[14..];
    let mut inner_nsh = vec![0; 8];
    repr(1, NextProtocol::Ethernet, MetadataRepr::Two(&[])).emit(&mut inner_nsh);
    let payloads: [(NextProtocol, &[u8]); 5] = [
        (NextProtocol::Ipv4, ip),
        (NextProtocol::Ipv6, &[0x60; 60]),
        (NextProtocol::Nsh, &inner_nsh),
        (NextProtocol::Mpls, &[0, 0, 0x11, 0x40]),
        (NextProtocol::Ipv4, b"no IP at all"),
    ];
    for (next, inner) in payloads {
        let mut world = World::new(BOX1);
        let repr = |si| repr(si, next, MetadataRepr::One([7; 16]));
        let sent = only(
            world.gpe("192.168.50.2", &packet(&repr(255), inner)),
            "gpe 192.168.50.2",
        );
        let (_, _, ttl, payload) = opened(&sent);
        assert_eq!((ttl, &payload[..]), (8, inner));
        assert_eq!(NextProtocol::from(sent[8 + 3]), next);
        let sent = only(
            world.gpe("192.168.50.2", &packet(&repr(254), inner)),
            "aware",
        );
        assert_eq!(
            (&sent[..6], &sent[12..14]),
            (&[2, 0, 0, 0, 0, 10][..], &[0x89, 0x4f][..])
        );
        assert_eq!(sent[14 + 24..], *inner);
        assert_eq!(world.all_drops(), 0);
        // Functions, ports and segments without NSH take Ethernet.
        for si in [253, 252] {
            assert!(
                world
                    .gpe("192.168.50.2", &packet(&repr(si), inner))
                    .is_empty()
            );
        }
        assert_eq!(
            (world.drops(DropReason::NshNextProtocol), world.all_drops()),
            (2, 2)
        );
    }
}

#[test]
fn a_payload_that_nobody_assigned_is_dropped_by_name() {
    for next in [0, 6, 0x7f, 0xfe, 0xff] {
        let mut world = World::new(BOX1);
        let repr = repr(255, NextProtocol::Other(next), MetadataRepr::One([0; 16]));
        assert!(world.gpe("192.168.50.2", &packet(&repr, b"?")).is_empty());
        assert_eq!(
            (world.drops(DropReason::NshNextProtocol), world.all_drops()),
            (1, 1)
        );
    }
}
