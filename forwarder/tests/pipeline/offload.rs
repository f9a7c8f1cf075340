//! What a sender's kernel left for hardware to do: super-frames and open checksums.

use crate::frames::{Flow, WEB, is_sound, opened};
use crate::limits::{INNER, TUNNEL, V6, WIRE};
use crate::path::BOX1;
use crate::world::{Sent, World, only};
use kc_forwarder::frame::{Checksum, Gso, GsoKind, Offload};
use kc_forwarder::wire::{checksum, ipv4, tcp};
use kc_forwarder_api::DropReason;

fn gso(kind: GsoKind, size: u16) -> Offload {
    Offload {
        gso: Some(Gso { size, kind }),
        checksum: Checksum::Complete,
        ..Offload::default()
    }
}

fn tcp_super(flow: Flow, octets: usize) -> Vec<u8> {
    let payload: Vec<u8> = (0..=250).cycle().take(octets).collect();
    flow.tcp(0x99, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2], &payload)
}

/// Checks segments of [`tcp_super`] and puts their payload together again.
fn stream(segments: &[Vec<u8>], l4: usize, longest: usize) -> Vec<u8> {
    let mut payload = Vec::new();
    for (number, segment) in segments.iter().enumerate() {
        assert!(segment.len() - 14 <= longest);
        assert_eq!(checksum::state(&segment[14..]), checksum::State::Complete);
        let tcp = tcp::Packet::new_checked(&segment[l4..]).unwrap();
        assert_eq!(tcp.sequence(), 1000 + u32::try_from(payload.len()).unwrap());
        let last = number + 1 == segments.len();
        let expected = 0x10 | if number == 0 { 0x80 } else { 0 } | if last { 0x09 } else { 0 };
        assert_eq!(tcp.flags(), expected);
        assert_eq!(tcp.options().len(), 12);
        if let Ok(ip) = ipv4::Packet::new_checked(&segment[14..]) {
            assert!(ip.verify_checksum());
            assert_eq!(ip.ident(), 0x1234 + u16::try_from(number).unwrap());
        }
        payload.extend(tcp.payload());
    }
    payload
}

#[test]
fn a_tcp_super_frame_is_cut_into_segments_the_path_carries() {
    for offload in [
        gso(GsoKind::Tcp, 1448),
        gso(GsoKind::Tcp, 1000),
        Offload::default(),
    ] {
        let mut world = World::new(TUNNEL);
        let frame = tcp_super(WEB, 60_000);
        let sent = world.port_with("a", &frame, offload);
        let segments: Vec<_> = sent.iter().map(|sent| opened(&sent.bytes).3).collect();
        assert_eq!(stream(&segments, 34, INNER), frame[66..]);
        let size = offload
            .gso
            .map_or(usize::MAX, |gso| gso.size.into())
            .min(INNER - 52);
        assert_eq!(segments.len(), 60_000_usize.div_ceil(size));
        assert_eq!(world.looked_up(1, 255), segments.len() as u64);

        let frame = tcp_super(V6, 60_000);
        let sent = world.port_with("a", &frame, offload);
        let segments: Vec<_> = sent.iter().map(|sent| opened(&sent.bytes).3).collect();
        assert_eq!(stream(&segments, 54, INNER), frame[86..]);
        assert_eq!(world.all_drops(), 0);
    }
}

#[test]
fn a_super_frame_that_the_tunnel_would_carry_whole_is_cut_for_the_links_behind_it() {
    let mut world = World::new(TUNNEL);
    let frame = tcp_super(WEB, 300);
    let sent = world.port_with("a", &frame, gso(GsoKind::Tcp, 100));
    let segments: Vec<_> = sent.iter().map(|sent| opened(&sent.bytes).3).collect();
    assert_eq!(segments.len(), 3);
    assert_eq!(stream(&segments, 34, INNER), frame[66..]);
}

#[test]
fn a_function_may_send_super_frames_too() {
    let mut world = World::new(BOX1);
    let frame = tcp_super(WEB, 20_000);
    world.port("client", &tcp_super(WEB, 1));
    let sent = world.port_with("fw-b", &frame, gso(GsoKind::Tcp, 1448));
    let segments: Vec<_> = sent.iter().map(|sent| opened(&sent.bytes)).collect();
    assert!(
        segments
            .iter()
            .all(|(spi, si, ..)| (*spi, *si) == (10, 254))
    );
    let segments: Vec<_> = segments.into_iter().map(|(.., inner)| inner).collect();
    assert_eq!(stream(&segments, 34, INNER), frame[66..]);
}

#[test]
fn a_segment_longer_than_the_path_that_a_link_could_deliver_is_answered_not_cut() {
    let mut world = World::new(TUNNEL);
    only(world.port("a", &tcp_super(WEB, 1440)), "a");
    assert_eq!(world.drops(DropReason::MtuExceeded), 1);
}

#[test]
fn datagrams_that_came_together_leave_apart() {
    let mut world = World::new(WIRE);
    let frame = WEB.udp(&(0..=255).cycle().take(2_500).collect::<Vec<u8>>());
    let sent = world.port_with("a", &frame, gso(GsoKind::Udp, 1_000));
    let lengths: Vec<_> = sent.iter().map(|sent| sent.bytes.len() - 42).collect();
    assert_eq!(lengths, [1_000, 1_000, 500]);
    let payload: Vec<u8> = sent
        .iter()
        .flat_map(|sent| sent.bytes[42..].to_vec())
        .collect();
    assert_eq!(payload, frame[42..]);
    assert!(sent.iter().all(|Sent { bytes, .. }| is_sound(bytes)));
    // Also when all of them together would fit.
    let sent = world.port_with("a", &WEB.udp(&[1; 300]), gso(GsoKind::Udp, 100));
    assert_eq!(sent.len(), 3);
    // Each may need fragments of its own.
    world.set_port("b", true, 600);
    let mut frame = WEB.udp(&[1; 2_000]);
    frame[20] = 0;
    let sent = world.port_with("a", &frame, gso(GsoKind::Udp, 1_000));
    assert_eq!(sent.len(), 4);
    assert!(sent.iter().all(|sent| sent.bytes.len() <= 614));
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn super_frames_of_other_kinds_are_refused_by_name() {
    let mut world = World::new(WIRE);
    assert!(
        world
            .port_with("a", &WEB.udp(&[1; 3_000]), gso(GsoKind::Other, 1000))
            .is_empty()
    );
    assert!(world.port("a", &WEB.udp(&[1; 3_000])).is_empty());
    assert!(
        world
            .port_with("a", &WEB.udp(&[1; 3_000]), gso(GsoKind::Tcp, 1000))
            .is_empty()
    );
    assert_eq!(world.drops(DropReason::GsoRefused), 3);
}

#[test]
fn an_open_checksum_is_finished_whoever_says_that_it_is_open() {
    let mut world = World::new(WIRE);
    for whole in [
        WEB.tcp(0x18, &[], b"data"),
        WEB.udp(b"data!"),
        V6.tcp(0x18, &[], b"data"),
        V6.udp(b""),
    ] {
        let l4 = if whole[12] == 0x08 { 34 } else { 54 };
        let tcp = whole.get(l4 + 12) == Some(&0x50);
        let (offset, protocol) = if tcp { (16, 6) } else { (6, 17) };
        let addresses = if l4 == 34 { 26..34 } else { 22..54 };
        let sum = checksum::sum(&whole[addresses]) + protocol + (whole.len() - l4) as u64;
        let mut open = whole.clone();
        let at = l4 + offset;
        open[at..at + 2].copy_from_slice(&checksum::fold(sum).to_be_bytes());
        let start = u16::try_from(l4).unwrap();
        let offset = u16::try_from(offset).unwrap();
        for checksum in [Checksum::Partial { start, offset }, Checksum::Unknown] {
            let offload = Offload {
                checksum,
                ..Offload::default()
            };
            assert_eq!(only(world.port_with("a", &open, offload), "b"), whole);
        }
        let offload = Offload {
            checksum: Checksum::Partial { start, offset },
            vlan: Some(9),
            ..Offload::default()
        };
        let tagged = only(world.port_with("a", &open, offload), "b");
        assert_eq!(tagged[18..], whole[14..]);
        let mut damaged = whole.clone();
        damaged[at] ^= 0x40;
        assert_eq!(
            only(world.port("a", &damaged), "b"),
            damaged,
            "damage is not for us to hide"
        );
    }
}

#[test]
fn a_checksum_place_outside_the_frame_changes_nothing() {
    let mut world = World::new(WIRE);
    let frame = WEB.udp(b"data");
    for (start, offset) in [(u16::MAX, u16::MAX), (34, 1000), (46, 6), (0, u16::MAX)] {
        let checksum = Checksum::Partial { start, offset };
        let offload = Offload {
            checksum,
            ..Offload::default()
        };
        assert_eq!(only(world.port_with("a", &frame, offload), "b"), frame);
    }
}
