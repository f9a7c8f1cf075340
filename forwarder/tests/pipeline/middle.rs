//! Packets that are too long in the middle of a path: their senders are told along its return path.

use crate::frames::{CLIENT, Flow, SERVER, WEB, ethernet, gpe, is_sound, nsh, opened};
use crate::limits::V6;
use crate::world::{Sent, World, only};
use kc_forwarder::wire::nsh::{MetadataRepr, NextProtocol, Repr};
use kc_forwarder::wire::{checksum, ipv4, ipv6};
use kc_forwarder_api::{DropReason, Si, Spi, Ttl};

/// The classifier and a NAT.
const BOX1: &str = r#"
    ports = [{ name = "client" }, { name = "nat-a" }, { name = "nat-b" }]
    [underlay]
    address = "192.168.50.1"
    mtu = 1600
    [[tunnels]]
    name = "box2"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[functions]]
    name = "nat"
    attachment = { two-leg = { inside = "nat-a", outside = "nat-b" } }
    [[rules]]
    name = "out"
    match = { port = "client" }
    action = { path = { spi = 10, si = 255 } }
    [[paths]]
    spi = 10
    reverse = 11
    hops = [{ si = 255, to = { function = { name = "nat" } } }, { si = 254, to = { tunnel = { name = "box2" } } }]
    [[paths]]
    spi = 11
    reverse = 10
    hops = [
        { si = 253, to = { function = { name = "nat", direction = "reverse" } } },
        { si = 252, to = { egress = { port = "client" } } },
    ]
"#;

/// Hands on to box 3 over a LAN that takes less. The return path passes here twice, and nothing
/// tells which of its hops is at the same place as that of the forward path.
pub(crate) const BOX2: &str = r#"
    [[ports]]
    name = "lan"
    mtu = 1338
    [[ports]]
    name = "aware"
    [underlay]
    address = "192.168.50.2"
    mtu = 1600
    [[tunnels]]
    name = "box1"
    transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 100 } }
    [[tunnels]]
    name = "box3"
    transport = { ethernet = { port = "lan", next-hop = "02:00:00:00:00:03" } }
    [[functions]]
    name = "aware"
    attachment = { nsh-aware = { port = "aware", mac = "02:00:00:00:0d:01" } }
    [[paths]]
    spi = 10
    reverse = 11
    hops = [{ si = 254, to = { tunnel = { name = "box3" } } }]
    [[paths]]
    spi = 11
    reverse = 10
    hops = [
        { si = 254, to = { tunnel = { name = "box1" } } },
        { si = 253, to = { tunnel = { name = "box1" } } },
    ]
"#;

/// 1338 less NSH with MD type 1 and inner Ethernet.
pub(crate) const FITS: u16 = 1300;

/// The client's packet as the NAT of box 1 lets it out.
pub(crate) const OUTSIDE: Flow = Flow {
    source: ("192.0.2.1", 50_000),
    destination: ("10.0.0.2", 80),
};

/// What box 1 hands to box 2 at `si`.
pub(crate) fn packet(si: u8, inner: &[u8]) -> Vec<u8> {
    gpe(100, &nsh(10, si, 63, [7; 16], inner))
}

pub(crate) fn by_udp(world: &mut World, si: u8, inner: &[u8]) -> Vec<Sent> {
    world.gpe("192.168.50.1", &packet(si, inner))
}

/// Checks that `told` says, to the sender of `frame`, that `mtu` octets would have fitted.
#[track_caller]
pub(crate) fn tells(told: &[u8], frame: &[u8], mtu: u32) {
    assert_eq!((&told[..6], &told[6..12]), (&frame[6..12], &frame[..6]));
    let (ip, was) = (&told[14..], &frame[14..]);
    assert!(is_sound(told));
    if was[0] >> 4 == 4 {
        let ip = ipv4::Packet::new_checked(ip).unwrap();
        let was = ipv4::Packet::new_checked(was).unwrap();
        assert_eq!(
            (ip.source(), ip.destination(), ip.protocol()),
            (was.destination(), was.source(), 1)
        );
        let icmp = ip.payload();
        assert_eq!(icmp[..6], [3, 4, icmp[2], icmp[3], 0, 0]);
        assert_eq!(u32::from(u16::from_be_bytes([icmp[6], icmp[7]])), mtu);
        assert_eq!(checksum::fold(checksum::sum(icmp)), 0xffff);
        assert_eq!(icmp[8..], frame[14..14 + icmp.len() - 8]);
        assert!(icmp.len() >= 8 + 28);
    } else {
        let ip = ipv6::Packet::new_checked(ip).unwrap();
        let was = ipv6::Packet::new_checked(was).unwrap();
        assert_eq!(
            (ip.source(), ip.destination()),
            (was.destination(), was.source())
        );
        let icmp = ip.payload();
        assert_eq!(icmp[..2], [2, 0]);
        assert_eq!(icmp[4..8], mtu.to_be_bytes());
        let pseudo = checksum::pseudo_header(&told[22..38], &told[38..54], 58, icmp.len());
        assert_eq!(checksum::fold(checksum::sum(icmp) + pseudo), 0xffff);
        assert_eq!(icmp[8..], frame[14..14 + icmp.len() - 8]);
    }
}

#[test]
fn a_sender_hears_from_the_middle_of_a_path_through_its_nat() {
    let (mut one, mut two) = (World::new(BOX1), World::new(BOX2));
    let sent = WEB.udp(&[1; 1400]);
    only(one.port("client", &sent), "nat-a");
    let translated = OUTSIDE.udp(&[1; 1400]);
    let on_wire = only(one.port("nat-b", &translated), "gpe 192.168.50.2");

    let back = only(two.gpe("192.168.50.1", &on_wire), "gpe 192.168.50.1");
    let (spi, si, ttl, error) = opened(&back);
    // The last of the two hops that lead back: the packet has been nowhere but at the NAT.
    assert_eq!((spi, si, ttl), (11, 253, 63));
    assert_eq!(back[8 + 8..8 + 24], [0; 16]);
    tells(&error, &translated, FITS.into());
    assert_eq!(two.drops(DropReason::MtuExceeded), 1);
    assert_eq!(two.all_drops(), 1);
    let balance = two.pipeline.balance();
    assert_eq!(
        (balance.received, balance.generated, balance.sent),
        (1, 1, 1)
    );
    assert_eq!((two.looked_up(10, 254), two.looked_up(11, 253)), (1, 1));
    assert_eq!(two.looked_up(11, 254), 0);

    // As it came from box 2, into the NAT from outside; what the NAT makes of it, to the client.
    assert_eq!(only(one.gpe("192.168.50.2", &back), "nat-b"), error);
    let mut inside = error;
    inside[30..34].copy_from_slice(&[10, 0, 0, 1]);
    inside[54..58].copy_from_slice(&[10, 0, 0, 1]);
    assert_eq!(only(one.port("nat-a", &inside), "client"), inside);
    assert_eq!((one.looked_up(11, 253), one.looked_up(11, 252)), (1, 1));
}

#[test]
fn packet_too_big_from_the_middle_never_names_less_than_ipv6_asks_of_links() {
    let mut two = World::new(BOX2);
    let frame = V6.udp(&[1; 1400]);
    let error = opened(&only(by_udp(&mut two, 254, &frame), "gpe 192.168.50.1")).3;
    tells(&error, &frame, FITS.into());
    two.install(&BOX2.replace("mtu = 1338", "mtu = 1000"));
    let error = opened(&only(by_udp(&mut two, 254, &frame), "gpe 192.168.50.1")).3;
    tells(&error, &frame, 1280);
    let frame = WEB.udp(&[1; 1400]);
    let error = opened(&only(by_udp(&mut two, 254, &frame), "gpe 192.168.50.1")).3;
    tells(&error, &frame, 962);
}

#[test]
fn without_a_way_back_the_packet_is_dropped_and_nobody_told() {
    let frame = WEB.udp(&[1; 1400]);
    let stays_silent = |tables: &str| {
        let mut two = World::new(tables);
        assert_eq!(by_udp(&mut two, 254, &frame), []);
        assert_eq!(
            (two.drops(DropReason::MtuExceeded), two.all_drops()),
            (1, 1)
        );
        assert_eq!(two.pipeline.balance().generated, 0);
    };
    stays_silent(&BOX2.replace("reverse = 11", ""));
    stays_silent(&BOX2.replace("reverse = 11", "reverse = 12"));
    // The return path leads to others only.
    stays_silent(&BOX2.replace(
        "to = { tunnel = { name = \"box1\" } } }",
        "to = { tunnel = { name = \"box3\" } } }",
    ));
    // An IPv4 error has 576 octets, which do not fit back.
    stays_silent(&BOX2.replace("spi = 11\n", "spi = 11\n    mtu = 575\n"));
    let mut two = World::new(&BOX2.replace("spi = 11\n", "spi = 11\n    mtu = 576\n"));
    assert_eq!(by_udp(&mut two, 254, &frame).len(), 1);
}

#[test]
fn the_middle_of_a_path_tells_nobody_about_errors_groups_and_later_fragments() {
    let mut two = World::new(BOX2);
    let mut silent = |frame: &[u8]| assert_eq!(by_udp(&mut two, 254, frame), []);
    let group = Flow {
        destination: ("224.0.0.1", 80),
        ..WEB
    };
    silent(&group.udp(&[1; 1400]));
    let mut broadcast = WEB.udp(&[1; 1400]);
    broadcast[..6].fill(0xff);
    silent(&broadcast);
    let mut error = WEB.udp(&[1; 1400]);
    error[14 + 9] = 1;
    error[34] = 3;
    silent(&error);
    let mut error = V6.udp(&[1; 1400]);
    error[14 + 6] = 58;
    error[54] = 1;
    silent(&error);
    silent(&ethernet(SERVER, CLIENT, 0x88cc, &[0; 1400]));
    assert_eq!(two.drops(DropReason::MtuExceeded), 5);
    let mut first = WEB.udp(&[1; 8]);
    first[20..22].copy_from_slice(&[0x20, 0]);
    assert_eq!(by_udp(&mut two, 254, &first).len(), 1);
    let mut later = WEB.udp(&[1; 1400]);
    later[20..22].copy_from_slice(&[0x40, 1]);
    assert_eq!(by_udp(&mut two, 254, &later), []);
    assert_eq!(two.drops(DropReason::MtuExceeded), 6);
}

#[test]
fn errors_on_return_paths_and_by_ports_share_one_rate() {
    let tables = BOX2.to_owned()
        + "[[rules]]\nname = \"short\"\nmatch = { port = \"aware\" }\naction = { egress = { port = \"lan\" } }\n";
    let tables = tables.replace("[[functions]]", "").replace(
        "name = \"aware\"\n    attachment = { nsh-aware = { port = \"aware\", mac = \"02:00:00:00:0d:01\" } }",
        "",
    );
    let mut two = World::new(&tables);
    let frame = WEB.udp(&[1; 1400]);
    let told: usize = (0..60)
        .map(|_| by_udp(&mut two, 254, &frame).len() + two.port("aware", &frame).len())
        .sum();
    assert_eq!(told, 50);
    // What cannot be told anyway takes nothing from it.
    two.now_ms += 10;
    for _ in 0..10 {
        assert_eq!(
            by_udp(&mut two, 254, &ethernet(SERVER, CLIENT, 0x88cc, &[0; 1400])),
            []
        );
    }
    assert_eq!(by_udp(&mut two, 254, &frame).len(), 1);
    assert_eq!(by_udp(&mut two, 254, &frame).len(), 0);
}

#[test]
fn bare_ip_is_answered_in_kind() {
    let mut two = World::new(BOX2);
    // Without inner Ethernet 14 octets more fit.
    let mtu = u32::from(FITS) + 14;
    for (next, flow) in [(NextProtocol::Ipv4, WEB), (NextProtocol::Ipv6, V6)] {
        let frame = flow.udp(&[1; 1400]);
        let repr = Repr {
            oam: false,
            ttl: Ttl::MAX,
            next,
            spi: Spi::new(10).unwrap(),
            si: Si::new(254).unwrap(),
            metadata: MetadataRepr::Two(&[]),
        };
        let mut inside = vec![0; repr.buffer_len()];
        repr.emit(&mut inside);
        // MD type 2 without context is 16 octets shorter.
        let mtu = mtu + 16;
        inside.extend(&frame[14..]);
        let back = only(
            two.gpe("192.168.50.1", &gpe(100, &inside)),
            "gpe 192.168.50.1",
        );
        assert_eq!(NextProtocol::from(back[8 + 3]), next);
        let (spi, si, _, error) = opened(&back);
        assert_eq!((spi, si), (11, 253));
        let framed = ethernet(
            CLIENT,
            SERVER,
            u16::from_be_bytes([frame[12], frame[13]]),
            &error,
        );
        tells(&framed, &frame, mtu);
    }
}

#[test]
fn an_echo_longer_than_the_underlay_is_a_packet_and_nothing_to_be_cut() {
    // The link that it came by takes more than the least of all links, which tables speak of.
    let mut two =
        World::new(&BOX2.replace("mtu = 1600\n    [[tunnels]]", "mtu = 1400\n    [[tunnels]]"));
    for (flow, kind) in [(WEB, 8), (V6, 128)] {
        let mut echo = flow.udp(&[1; 1450]);
        let (protocol, l4) = if kind == 8 { (23, 34) } else { (20, 54) };
        echo[protocol] = if kind == 8 { 1 } else { 58 };
        echo[l4] = kind;
        if kind == 8 {
            ipv4::Packet::new_checked(&mut echo[14..])
                .unwrap()
                .fill_checksum();
        }
        let back = only(by_udp(&mut two, 254, &echo), "gpe 192.168.50.1");
        tells(&opened(&back).3, &echo, FITS.into());
    }
    assert_eq!(two.drops(DropReason::MtuExceeded), 2);
    assert_eq!(two.all_drops(), 2);
}
