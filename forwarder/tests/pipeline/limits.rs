//! Frames that are too long: clamped, fragmented, answered.

use crate::frames::{CLIENT, Flow, WEB, is_sound, opened};
use crate::world::{World, only};
use kc_forwarder::wire::{checksum, ipv4, ipv6, tcp};
use kc_forwarder_api::DropReason;

/// Two ports and a rule from one to the other.
pub(crate) const WIRE: &str = r#"
    ports = [{ name = "a" }, { name = "b" }]
    [[rules]]
    name = "a"
    match = { port = "a" }
    action = { egress = { port = "b" } }
"#;

/// A classifier whose path starts with a tunnel.
pub(crate) const TUNNEL: &str = r#"
    ports = [{ name = "a" }]
    underlay = { address = "192.168.50.1", mtu = 1500 }
    tunnels = [{ name = "t", transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 5 } } }]
    rules = [{ name = "a", match = { port = "a" }, action = { path = { spi = 1, si = 255 } } }]
    paths = [{ spi = 1, hops = [{ si = 255, to = { tunnel = { name = "t" } } }] }]
"#;

/// 1500 less IPv4, UDP, VXLAN-GPE, NSH with MD type 1, and inner Ethernet.
pub(crate) const INNER: usize = 1500 - 20 - 8 - 8 - 24 - 14;

pub(crate) const V6: Flow = Flow {
    source: ("fd00::1", 40_000),
    destination: ("fd00::2", 80),
};

fn mss_of(frame: &[u8], l4: usize) -> u16 {
    tcp::Packet::new_checked(&frame[l4..])
        .unwrap()
        .mss()
        .unwrap()
        .1
}

#[test]
fn the_mss_is_clamped_to_what_the_path_carries() {
    let mut world = World::new(TUNNEL);
    let mss = |value: u16| [&[2, 4][..], &value.to_be_bytes()].concat();
    for flags in [0x02, 0x12] {
        let sent = only(
            world.port("a", &WEB.tcp(flags, &mss(1460), &[])),
            "gpe 192.168.50.2",
        );
        let (_, _, _, inner) = opened(&sent);
        assert_eq!(usize::from(mss_of(&inner, 34)), INNER - 40);
        assert!(is_sound(&inner));
        let sent = only(
            world.port("a", &V6.tcp(flags, &mss(1440), &[])),
            "gpe 192.168.50.2",
        );
        let (_, _, _, inner) = opened(&sent);
        assert_eq!(usize::from(mss_of(&inner, 54)), INNER - 60);
        assert!(is_sound(&inner));
    }
    let small = WEB.tcp(2, &mss(536), &[]);
    assert_eq!(
        opened(&only(world.port("a", &small), "gpe 192.168.50.2")).3,
        small
    );
    let mut world = World::new(&TUNNEL.replace("spi = 1, hops", "spi = 1, mtu = 1300, hops"));
    let sent = only(
        world.port("a", &WEB.tcp(2, &mss(1460), &[])),
        "gpe 192.168.50.2",
    );
    assert_eq!(mss_of(&opened(&sent).3, 34), 1260);
}

#[test]
fn a_connection_of_a_functions_own_is_clamped_when_it_meets_a_tunnel() {
    let mut world = World::new(crate::path::BOX1);
    let own = Flow {
        source: ("10.0.0.9", 33_000),
        destination: ("10.0.7.7", 8080),
    };
    let syn = own.tcp(2, &[2, 4, 5, 0xb4], &[]);
    let sent = only(world.port("fw-b", &syn), "gpe 192.168.50.2");
    let (_, _, _, inner) = opened(&sent);
    assert_eq!(usize::from(mss_of(&inner, 34)), INNER - 40);
    assert!(is_sound(&inner));
}

#[test]
fn the_longest_packet_that_fits_passes_and_one_octet_more_does_not() {
    let mut world = World::new(TUNNEL);
    let longest = WEB.udp(&vec![1; INNER - 28]);
    let sent = only(world.port("a", &longest), "gpe 192.168.50.2");
    assert_eq!(sent.len() + 28, 1500);
    let answers = world.port("a", &WEB.udp(&vec![1; INNER - 27]));
    assert_eq!(answers.len(), 1);
    assert_eq!(world.drops(DropReason::MtuExceeded), 1);
}

#[test]
fn a_sender_is_told_that_its_packet_was_too_long() {
    let mut world = World::new(TUNNEL);
    let frame = WEB.udp(&[1; 1450]);
    let told = only(world.port("a", &frame), "a");
    assert_eq!(told[..6], CLIENT);
    let ip = ipv4::Packet::new_checked(&told[14..]).unwrap();
    assert!(ip.verify_checksum());
    assert_eq!(
        (ip.source().to_string(), ip.destination().to_string()),
        ("10.0.0.2".into(), "10.0.0.1".into())
    );
    let icmp = ip.payload();
    assert_eq!(icmp[..2], [3, 4]);
    assert_eq!(usize::from(u16::from_be_bytes([icmp[6], icmp[7]])), INNER);
    assert_eq!(checksum::fold(checksum::sum(icmp)), 0xffff);
    assert_eq!(icmp[8..], frame[14..14 + 548]);

    let frame = V6.udp(&[1; 1450]);
    let told = only(world.port("a", &frame), "a");
    let ip = ipv6::Packet::new_checked(&told[14..]).unwrap();
    assert_eq!(
        (ip.source().to_string(), ip.destination().to_string()),
        ("fd00::2".into(), "fd00::1".into())
    );
    assert_eq!(ip.total_len(), 1280);
    let icmp = ip.payload();
    assert_eq!(icmp[..2], [2, 0]);
    assert_eq!(icmp[4..8], u32::try_from(INNER).unwrap().to_be_bytes());
    let pseudo = checksum::pseudo_header(&told[22..38], &told[38..54], 58, icmp.len());
    assert_eq!(checksum::fold(checksum::sum(icmp) + pseudo), 0xffff);
    assert_eq!(world.drops(DropReason::MtuExceeded), 2);
}

#[test]
fn nobody_is_told_about_errors_groups_and_later_fragments() {
    let mut world = World::new(TUNNEL);
    let mut silent = |frame: &[u8]| assert!(world.port("a", frame).is_empty());
    silent(
        &Flow {
            destination: ("224.0.0.1", 5000),
            ..WEB
        }
        .udp(&[1; 1450]),
    );
    silent(
        &Flow {
            source: ("0.0.0.0", 68),
            destination: ("255.255.255.255", 67),
        }
        .udp(&[1; 1450]),
    );
    let mut broadcast = WEB.udp(&[1; 1450]);
    broadcast[..6].fill(0xff);
    silent(&broadcast);
    let mut error = WEB.udp(&[1; 1450]);
    error[14 + 9] = 1;
    error[34] = 3;
    silent(&error);
    let mut first = WEB.udp(&[1; 8]);
    first[20..22].copy_from_slice(&[0x20, 0x00]);
    assert_eq!(world.port("a", &first).len(), 1);
    let mut silent = |frame: &[u8]| assert!(world.port("a", frame).is_empty());
    let mut later = WEB.udp(&[1; 1450]);
    later[20..22].copy_from_slice(&[0x40, 0x01]);
    silent(&later);
    assert_eq!(world.drops(DropReason::MtuExceeded), 5);
}

#[test]
fn senders_are_told_at_a_limited_rate() {
    let mut world = World::new(TUNNEL);
    let frame = WEB.udp(&[1; 1450]);
    let told: usize = (0..200).map(|_| world.port("a", &frame).len()).sum();
    assert_eq!(told, 50);
    world.now_ms += 100;
    let told: usize = (0..200).map(|_| world.port("a", &frame).len()).sum();
    assert_eq!(told, 10);
    assert_eq!(world.drops(DropReason::MtuExceeded), 400);
}

/// Puts fragments together again.
fn reassembled(fragments: &[Vec<u8>]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (number, fragment) in fragments.iter().enumerate() {
        let ip = ipv4::Packet::new_checked(&fragment[14..]).unwrap();
        assert!(ip.verify_checksum());
        assert_eq!(ip.fragment_offset(), payload.len());
        assert_eq!(ip.more_fragments(), number + 1 < fragments.len());
        assert_eq!(ip.total_len(), fragment.len() - 14);
        payload.extend(ip.payload());
    }
    payload
}

#[test]
fn a_packet_that_may_be_fragmented_is() {
    let mut world = World::new(TUNNEL);
    let mut frame = WEB.udp(&(0..=255).cycle().take(1450).collect::<Vec<u8>>());
    frame[20] = 0;
    let sent = world.port("a", &frame);
    assert_eq!(sent.len(), 2);
    let fragments: Vec<_> = sent.iter().map(|sent| opened(&sent.bytes).3).collect();
    assert_eq!(reassembled(&fragments), frame[34..]);
    assert_eq!(world.looked_up(1, 255), 2);
    assert_eq!(world.all_drops(), 0);
    let entropy: Vec<_> = sent.iter().map(|sent| sent.via.clone()).collect();
    assert_eq!(entropy, ["gpe 192.168.50.2"; 2]);
}

#[test]
fn options_that_are_to_be_copied_are_and_others_are_not() {
    let mut world = World::new(WIRE);
    world.set_port("b", true, 600);
    let payload = [7; 1000];
    let mut frame = WEB.udp(&payload);
    // Record route (not copied) and loose source route (copied), in front of the payload.
    let options = [7, 3, 4, 131, 3, 4, 0, 0];
    frame.splice(34..34, options);
    frame[14] = 0x47;
    frame[16..18].copy_from_slice(&(28_u16 + 1008).to_be_bytes());
    frame[20] = 0;
    let sent: Vec<_> = world
        .port("a", &frame)
        .into_iter()
        .map(|sent| sent.bytes)
        .collect();
    assert_eq!(sent.len(), 2);
    assert_eq!((sent[0][14], sent[1][14]), (0x47, 0x46));
    assert_eq!(sent[0][34..42], options);
    assert_eq!(sent[1][34..38], [131, 3, 4, 0]);
    let mut fixed = sent.clone();
    ipv4::Packet::new_checked(&mut fixed[0][14..])
        .unwrap()
        .fill_checksum();
    assert_eq!(reassembled(&fixed), frame[42..]);
}

#[test]
fn padding_needs_no_room() {
    let mut world = World::new(WIRE);
    world.set_port("b", true, 100);
    let frame = WEB.udp(b"x");
    let padded = [&frame[..], &[0; 200]].concat();
    assert_eq!(only(world.port("a", &padded), "b"), frame);
}

#[test]
fn what_is_not_ip_and_too_long_is_dropped() {
    let mut world = World::new(WIRE);
    let frame = crate::frames::ethernet(CLIENT, CLIENT, 0x88cc, &[0; 1501]);
    assert!(world.port("a", &frame).is_empty());
    assert_eq!(world.drops(DropReason::MtuExceeded), 1);
}
