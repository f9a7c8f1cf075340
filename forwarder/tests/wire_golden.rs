//! Frames of Open vSwitch and scapy: read, written again, cut short and damaged.

mod frames;

use frames::{feed, golden, walk_ethernet};
use kc_forwarder::wire::{ethernet, ipv4, nsh, udp, vxlan_gpe};
use std::collections::BTreeMap;

#[test]
fn what_others_sent_is_written_back_octet_by_octet() {
    let mut counts = BTreeMap::new();
    for (name, frame) in golden() {
        walk_ethernet(&frame, &mut |header, wire, written| {
            assert_eq!(wire, written, "{header} in {name}");
            *counts.entry(header).or_insert(0) += 1;
        })
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for header in ["ethernet", "ipv4", "udp", "vxlan", "vxlan-gpe", "nsh"] {
        assert!(
            counts.get(header).is_some_and(|&count| count >= 4),
            "{header}: {counts:?}"
        );
    }
}

#[test]
fn open_vswitch_says_spi_100_and_counts_its_hops() {
    let frames: BTreeMap<_, _> = golden().into_iter().collect();
    let nsh_of = |name: &str, offset: usize| {
        let packet = nsh::Packet::new_checked(frames[name][offset..].to_vec()).unwrap();
        (packet.spi().get(), packet.si().get(), packet.ttl())
    };
    let ethernet = ethernet::HEADER_LEN;
    let tunnel = ethernet + ipv4::HEADER_LEN + udp::HEADER_LEN + vxlan_gpe::HEADER_LEN;
    assert_eq!(nsh_of("ovs-3.1-nsh-encap-md1-1", ethernet), (100, 255, 63));
    assert_eq!(nsh_of("ovs-3.1-nsh-forward-1", ethernet), (100, 254, 62));
    assert_eq!(nsh_of("ovs-3.1-vxlan-gpe-nsh-1", tunnel), (100, 254, 62));
}

#[test]
fn every_frame_cut_inside_its_headers_is_an_error() {
    for (name, frame) in golden() {
        let mut last_header = 0;
        walk_ethernet(&frame, &mut |_, wire, _| {
            last_header = wire.as_ptr() as usize + wire.len() - frame.as_ptr() as usize;
        })
        .unwrap();
        for length in 0..last_header {
            assert!(
                walk_ethernet(&frame[..length], &mut |_, _, _| {}).is_err(),
                "{name} cut to {length}"
            );
            feed(&frame[..length]);
        }
    }
}

#[test]
fn a_million_damaged_frames_panic_nobody() {
    let mut random = fastrand::Rng::with_seed(0x5eed_0001);
    let frames = golden();
    let mut buffer = Vec::new();
    for _ in 0..1_000_000 {
        let (_, frame) = &frames[random.usize(..frames.len())];
        buffer.clear();
        buffer.extend_from_slice(frame);
        for _ in 0..random.usize(1..6) {
            let at = random.usize(..buffer.len().min(110));
            buffer[at] = match random.u8(..4) {
                0 => 0,
                1 => 0xff,
                2 => buffer[at] ^ 1 << random.u8(..8),
                _ => random.u8(..),
            };
        }
        if random.u8(..3) == 0 {
            buffer.truncate(random.usize(..buffer.len()));
        }
        feed(&buffer);
    }
}
