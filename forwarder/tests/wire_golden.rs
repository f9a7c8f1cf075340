//! Frames of Open vSwitch and scapy: read, written again, cut short and damaged.

mod frames;

use frames::{feed, golden, walk_ethernet};
use kc_forwarder::wire::sfc_tlv::Tlv;
use kc_forwarder::wire::{ethernet, ipv4, nsh, sfc_echo, sfc_oam, udp, vxlan_gpe};
use kc_forwarder_api::{Si, Spi, Ttl, Vni};
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

/// An SFC echo request as RFC 9516 draws it, row by row: NSH of MD type 2 without context (RFC
/// 8300), figure 2, figure 3, figure 5, figure 8.
const ECHO_REQUEST: [[u8; 4]; 12] = [
    // Ver 0, O 1, TTL 63, Length 2; MD type 2, Next Protocol 0x07 (section 4).
    [0x2f, 0xc2, 0x02, 0x07],
    [0x00, 0x00, 0x64, 0xff],
    // V 0 (4 bits), Msg Type 1 (6), Reserved (6), Length 36.
    [0x00, 0x40, 0x00, 0x24],
    // Echo Request Flags, Reserved.
    [0x00, 0x00, 0x00, 0x00],
    // Echo Type 1, Reply Mode 4, Return Code 0, Return Subcode 0.
    [0x01, 0x04, 0x00, 0x00],
    // Sender's Handle, Sequence Number.
    [0xde, 0xad, 0xbe, 0xef],
    [0x00, 0x00, 0x00, 0x07],
    // Source ID 1, Reserved1, Length 8; Port Number, Reserved2; IP Address.
    [0x01, 0x00, 0x00, 0x08],
    [0x12, 0xb6, 0x00, 0x00],
    [0xc0, 0x00, 0x02, 0x01],
    // Reply SFP 3, Reserved, Length 4; Reply SFP Identifier, Service Index.
    [0x03, 0x00, 0x00, 0x04],
    [0x00, 0x00, 0x65, 0xff],
];

#[test]
fn an_echo_request_is_written_and_read_as_the_rfc_draws_it() {
    let rfc = ECHO_REQUEST.concat();
    let (spi, back) = (Spi::new(100).unwrap(), Spi::new(101).unwrap());
    let header = nsh::Repr {
        oam: true,
        ttl: Ttl::MAX,
        next: nsh::NextProtocol::Other(sfc_oam::NEXT_PROTOCOL),
        spi,
        si: Si::MAX,
        metadata: nsh::MetadataRepr::Two(&[]),
    };
    let oam = sfc_oam::Repr {
        message: sfc_oam::Message::Echo,
        length: 36,
    };
    let echo = sfc_echo::Repr {
        kind: sfc_echo::Kind::Request,
        mode: sfc_echo::ReplyMode::Path,
        code: 0,
        subcode: 0,
        handle: 0xdead_beef,
        sequence: 7,
    };
    let source = Tlv::Source {
        address: [192, 0, 2, 1].into(),
        port: 4790,
    };
    let reply_path = Tlv::ReplyPath {
        spi: back,
        si: Si::MAX,
    };
    let mut written = vec![0xaa; rfc.len()];
    header.emit(&mut written);
    oam.emit(&mut written[8..]);
    echo.emit(&mut written[12..]);
    source.emit(&mut written[28..]);
    reply_path.emit(&mut written[40..]);
    assert_eq!(written, rfc);

    let packet = nsh::Packet::new_checked(&rfc[..]).unwrap();
    assert_eq!(nsh::Repr::parse(&packet), header);
    let (read, message) = sfc_oam::Repr::parse(packet.payload()).unwrap();
    assert_eq!(read, oam);
    let packet = sfc_echo::Packet::new_checked(message).unwrap();
    assert_eq!(packet.repr(), echo);
    let tlvs: Vec<_> = packet.tlvs().map(Result::unwrap).collect();
    assert_eq!(tlvs, [source, reply_path]);
}

/// VXLAN-GPE headers as draft-ietf-nvo3-vxlan-gpe section 3.1 draws them.
#[test]
fn a_vxlan_gpe_header_is_that_of_the_draft() {
    let vni = Vni::new(0x00_abcd).unwrap();
    let nsh = vxlan_gpe::Repr {
        vni,
        next: vxlan_gpe::NextProtocol::Nsh,
        oam: false,
    };
    let mut written = [0xaa; 8];
    nsh.emit(&mut written);
    // R R Ver I P B O = 0 0 00 1 1 0 0, Reserved, Next Protocol 4; VNI, Reserved.
    assert_eq!(written, [0x0c, 0, 0, 4, 0x00, 0xab, 0xcd, 0]);
    let read = |octets: [u8; 8]| vxlan_gpe::Repr::parse(&octets);
    assert_eq!(read(written), Ok(nsh));
    // Reserved bits and B are ignored.
    assert_eq!(read([0xce, 1, 2, 4, 0x00, 0xab, 0xcd, 3]), Ok(nsh));
    // Section 3.2: with P = 0 the payload is Ethernet.
    let ethernet = vxlan_gpe::Repr {
        next: vxlan_gpe::NextProtocol::Ethernet,
        ..nsh
    };
    assert_eq!(read([0x08, 0, 0, 0, 0x00, 0xab, 0xcd, 0]), Ok(ethernet));
    assert_eq!(read([0x0c, 0, 0, 3, 0x00, 0xab, 0xcd, 0]), Ok(ethernet));
    // Section 3.4: O.
    assert!(read([0x0d, 0, 0, 4, 0x00, 0xab, 0xcd, 0]).unwrap().oam);
    // Section 3.1: I, and versions that are not supported.
    for flags in [0x04, 0x1c, 0x2c, 0x3c] {
        assert!(read([flags, 0, 0, 4, 0x00, 0xab, 0xcd, 0]).is_err());
    }
}
