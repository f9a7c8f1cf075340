//! Any octets through every header there is: nothing panics, and what is read is the same when
//! it is written and read again.
#![no_main]

#[path = "../../tests/frames/mod.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod frames;

use kc_forwarder::wire::sfc_tlv::Tlvs;
use kc_forwarder::wire::{
    arp, checksum, context, ethernet, icmp, ipv4, ipv6, ndp, quoted, sfc_echo, sfc_oam, tcp, udp,
    vlan, vxlan, vxlan_gpe,
};
use libfuzzer_sys::fuzz_target;
use std::fmt::Debug;

/// Writes `repr` into octets that were something else before, and reads it again.
fn again<R: PartialEq + Debug>(
    repr: R,
    length: usize,
    emit: impl FnOnce(&R, &mut [u8]),
    parse: impl FnOnce(&[u8]) -> Option<R>,
) {
    let mut octets = vec![0xaa; length];
    emit(&repr, &mut octets);
    assert_eq!(parse(&octets), Some(repr));
}

/// Headers that stand for themselves, whatever is behind.
fn headers(data: &[u8]) {
    if let Ok(packet) = ethernet::Packet::new_checked(data) {
        let repr = ethernet::Repr::parse(&packet);
        let emit = |repr: &ethernet::Repr, out: &mut [u8]| {
            repr.emit(&mut ethernet::Packet::new_checked(out).unwrap());
        };
        again(repr, repr.buffer_len(), emit, |octets| {
            let packet = ethernet::Packet::new_checked(octets).ok()?;
            Some(ethernet::Repr::parse(&packet))
        });
    }
    if let Ok(packet) = vlan::Packet::new_checked(data) {
        let repr = vlan::Repr::parse(&packet);
        again(repr, repr.buffer_len(), vlan::Repr::emit, |octets| {
            Some(vlan::Repr::parse(&vlan::Packet::new_checked(octets).ok()?))
        });
    }
    if let Ok(repr) = arp::Repr::parse(data) {
        again(repr, repr.buffer_len(), arp::Repr::emit, |octets| {
            arp::Repr::parse(octets).ok()
        });
    }
    if let Ok(repr) = ndp::Repr::parse(data) {
        again(repr, repr.buffer_len(), ndp::Repr::emit, |octets| {
            ndp::Repr::parse(octets).ok()
        });
    }
    if let Ok(repr) = vxlan::Repr::parse(data) {
        again(repr, repr.buffer_len(), vxlan::Repr::emit, |octets| {
            vxlan::Repr::parse(octets).ok()
        });
    }
    if let Ok(repr) = vxlan_gpe::Repr::parse(data) {
        again(repr, repr.buffer_len(), vxlan_gpe::Repr::emit, |octets| {
            vxlan_gpe::Repr::parse(octets).ok()
        });
    }
}

/// IP and what is in it.
fn packets(data: &[u8]) {
    if let Ok(packet) = ipv4::Packet::new_checked(data) {
        assert!(packet.header_len() <= packet.total_len() && packet.total_len() <= data.len());
        if let Ok(repr) = ipv4::Repr::parse(&packet) {
            let payload = usize::from(repr.payload_len);
            again(
                repr,
                repr.buffer_len() + payload,
                ipv4::Repr::emit,
                |octets| ipv4::Repr::parse(&ipv4::Packet::new_checked(octets).ok()?).ok(),
            );
        }
    }
    if let Ok(packet) = ipv6::Packet::new_checked(data) {
        if let Some(upper) = packet.upper() {
            assert!(upper.offset <= packet.total_len() && packet.total_len() <= data.len());
        }
        let repr = ipv6::Repr::parse(&packet);
        let payload = usize::from(repr.payload_len);
        again(
            repr,
            repr.buffer_len() + payload,
            ipv6::Repr::emit,
            |octets| Some(ipv6::Repr::parse(&ipv6::Packet::new_checked(octets).ok()?)),
        );
    }
    let mut copy = data.to_vec();
    if let Ok(mut packet) = tcp::Packet::new_checked(&mut copy[..]) {
        if packet.clamp_mss(1000) {
            assert_eq!(packet.mss().map(|(_, mss)| mss), Some(1000));
            assert!(!packet.clamp_mss(1000));
        }
    }
    if let Ok(packet) = udp::Packet::new_checked(data) {
        assert!(packet.payload().len() + udp::HEADER_LEN <= data.len());
    }
    if let Ok(mut packet) = icmp::Packet::new_checked(&mut copy[..]) {
        packet.fill_checksum_v4();
        assert_eq!(checksum::fold(checksum::sum(&copy)), 0xffff);
    }
    for v6 in [false, true] {
        if let Some(quoted) = quoted::Quoted::find(data, 0..data.len(), v6) {
            assert!(quoted.start < quoted.l4 && quoted.l4 + 8 <= data.len());
        }
    }
}

/// SFC OAM, context headers.
fn service(data: &[u8]) {
    if let Ok((repr, message)) = sfc_oam::Repr::parse(data) {
        assert!(message.len() + sfc_oam::HEADER_LEN <= data.len());
        let mut octets = vec![0xaa; sfc_oam::HEADER_LEN + message.len()];
        repr.emit(&mut octets);
        assert_eq!(
            sfc_oam::Repr::parse(&octets).map(|(repr, _)| repr),
            Ok(repr)
        );
    }
    for message in [Some(data), data.get(sfc_oam::HEADER_LEN..)] {
        let Some(Ok(packet)) = message.map(sfc_echo::Packet::new_checked) else {
            continue;
        };
        let mut octets = [0xaa; sfc_echo::HEADER_LEN];
        packet.repr().emit(&mut octets);
        let again = sfc_echo::Packet::new_checked(&octets);
        assert_eq!(again.map(|again| again.repr()), Ok(packet.repr()));
        packet.tlvs().for_each(drop);
    }
    for tlv in Tlvs::new(data).flatten() {
        let mut octets = vec![0xaa; tlv.buffer_len()];
        tlv.emit(&mut octets);
        assert_eq!(Tlvs::new(&octets).collect::<Vec<_>>(), [Ok(tlv)]);
    }
    if let Ok(packet) = context::Packet::new_checked(data) {
        let header = context::Context::parse(&packet);
        let mut octets = vec![0xaa; header.buffer_len()];
        header.emit(&mut octets).unwrap();
        let again = context::Packet::new_checked(&octets[..]).unwrap();
        assert_eq!(context::Context::parse(&again), header);
    }
}

fuzz_target!(|data: &[u8]| {
    frames::feed(data);
    headers(data);
    packets(data);
    service(data);
    let _ = checksum::state(data);
    let mut copy = data.to_vec();
    if checksum::finish(&mut copy) {
        assert_eq!(checksum::state(&copy), checksum::State::Complete);
    }
    if checksum::fill(&mut copy) {
        assert_ne!(checksum::state(&copy), checksum::State::Wrong);
    }
});
