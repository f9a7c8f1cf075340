//! For any meaning: what is written is read back the same.

#![expect(clippy::unwrap_used, reason = "a test's own data")]

use kc_forwarder::wire::{
    arp, checksum, ethernet, icmp, ipv4, ipv6, ndp, nsh, sfc_echo, sfc_oam, sfc_tlv, tcp, udp,
    vlan, vxlan, vxlan_gpe,
};
use kc_forwarder_api::{Si, Spi, Ttl, Vni};
use proptest::prelude::*;

fn spi() -> impl Strategy<Value = Spi> {
    (0..=Spi::MAX.get()).prop_map(|value| Spi::new(value).unwrap())
}

fn vni() -> impl Strategy<Value = Vni> {
    (1..=Vni::MAX.get()).prop_map(|value| Vni::new(value).unwrap())
}

/// TLVs of an echo as they stand on the wire, of types that are assigned more often than of others.
fn tlvs() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![0..7u8, 250..=255u8, any::<u8>()];
    let words = proptest::collection::vec(any::<[u8; 4]>(), 0..6);
    proptest::collection::vec((kind, any::<u8>(), words), 0..5).prop_map(|tlvs| {
        let mut octets = Vec::new();
        for (kind, reserved, words) in tlvs {
            let value = words.concat();
            octets.extend([kind, reserved, 0, u8::try_from(value.len()).unwrap()]);
            octets.extend(value);
        }
        octets
    })
}

/// Context headers as they stand on the wire, padding included.
fn contexts() -> impl Strategy<Value = Vec<u8>> {
    let context = (
        any::<u16>(),
        any::<u8>(),
        proptest::collection::vec(any::<u8>(), 0..40),
    );
    proptest::collection::vec(context, 0..5).prop_map(|contexts| {
        let mut octets = Vec::new();
        for (class, kind, value) in contexts {
            octets.extend(class.to_be_bytes());
            octets.extend([kind, u8::try_from(value.len()).unwrap()]);
            octets.extend(&value);
            octets.resize(octets.len().next_multiple_of(4), 0);
        }
        octets
    })
}

proptest! {
    #[test]
    fn ethernet_and_vlan(destination: [u8; 6], source: [u8; 6], ethertype: u16, tci: u16) {
        let repr = ethernet::Repr { destination, source, ethertype };
        let mut octets = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut ethernet::Packet::new_checked(&mut octets[..]).unwrap());
        prop_assert_eq!(ethernet::Repr::parse(&ethernet::Packet::new_checked(&octets).unwrap()), repr);
        let tag = vlan::Repr { tci, ethertype };
        let mut octets = vec![0xaa; tag.buffer_len()];
        tag.emit(&mut octets);
        prop_assert_eq!(vlan::Repr::parse(&vlan::Packet::new_checked(&octets).unwrap()), tag);
    }

    #[test]
    fn neighbour_discovery(
        [source, target] in any::<[[u8; 16]; 2]>(), flags: [bool; 3], mac in proptest::option::of(any::<[u8; 6]>()), asks: bool
    ) {
        let (source, mut target) = (source, target);
        (target[0], target[1]) = (0xfe, 0x80);
        let target = target.into();
        let [router, solicited, overrides] = flags;
        let message = if asks {
            ndp::Message::Solicitation { source_mac: mac }
        } else {
            ndp::Message::Advertisement { router, solicited, overrides, target_mac: mac }
        };
        let destination = if asks { ndp::solicited_node(target) } else { target };
        let repr = ndp::Repr { source: source.into(), destination, target, message };
        let mut octets = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut octets);
        prop_assert_eq!(ndp::Repr::parse(&octets), Ok(repr));
        let damaged = octets.len() - 1;
        octets[damaged] ^= 1;
        prop_assert!(ndp::Repr::parse(&octets).is_err());
    }

    #[test]
    fn arp_for_ipv4(request: bool, sender_mac: [u8; 6], sender: [u8; 4], target_mac: [u8; 6], target: [u8; 4]) {
        let operation = if request { arp::Operation::Request } else { arp::Operation::Reply };
        let repr = arp::Repr { operation, sender_mac, sender: sender.into(), target_mac, target: target.into() };
        let mut octets = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut octets);
        prop_assert_eq!(arp::Repr::parse(&octets).unwrap(), repr);
    }

    #[test]
    fn ipv4_with_its_checksum(source: [u8; 4], destination: [u8; 4], protocol: u8, payload_len in 0u16..1400, ttl: u8, tos: u8, ident: u16, dont_fragment: bool) {
        let repr = ipv4::Repr { source: source.into(), destination: destination.into(), protocol, payload_len, ttl, tos, ident, dont_fragment };
        let mut octets = vec![0xaa; repr.buffer_len() + usize::from(payload_len)];
        repr.emit(&mut octets);
        let packet = ipv4::Packet::new_checked(&octets).unwrap();
        prop_assert!(packet.verify_checksum());
        prop_assert_eq!(ipv4::Repr::parse(&packet).unwrap(), repr);
    }

    #[test]
    fn ipv6_header(source: [u8; 16], destination: [u8; 16], next_header: u8, payload_len in 0u16..1400, hop_limit: u8, traffic_class: u8, flow_label in 0u32..0x10_0000) {
        let repr = ipv6::Repr { source: source.into(), destination: destination.into(), next_header, payload_len, hop_limit, traffic_class, flow_label };
        let mut octets = vec![0xaa; repr.buffer_len() + usize::from(payload_len)];
        repr.emit(&mut octets);
        prop_assert_eq!(ipv6::Repr::parse(&ipv6::Packet::new_checked(&octets).unwrap()), repr);
    }

    #[test]
    fn tcp_and_udp(source: u16, destination: u16, sequence: u32, acknowledgment: u32, flags: u8, window: u16, payload_len in 0u16..1400) {
        let repr = tcp::Repr { source, destination, sequence, acknowledgment, flags, window };
        let mut octets = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut octets);
        prop_assert_eq!(tcp::Repr::parse(&tcp::Packet::new_checked(&octets).unwrap()), repr);
        let repr = udp::Repr { source, destination, payload_len };
        let mut octets = vec![0xaa; repr.buffer_len() + usize::from(payload_len)];
        repr.emit(&mut octets);
        prop_assert_eq!(udp::Repr::parse(&udp::Packet::new_checked(&octets).unwrap()), repr);
    }

    #[test]
    fn vxlan_and_gpe(vni in vni(), next: u8, oam: bool, noise: [u8; 8]) {
        // Reserved bits are zero when sent, and ignored when received.
        let reserved = |octets: &mut [u8], mask: [u8; 8]| {
            for ((octet, noise), mask) in octets.iter_mut().zip(noise).zip(mask) {
                assert_eq!(*octet & mask, 0);
                *octet |= noise & mask;
            }
        };
        let repr = vxlan::Repr { vni };
        let mut octets = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut octets);
        reserved(&mut octets, [0xf7, 0xff, 0xff, 0xff, 0, 0, 0, 0xff]);
        prop_assert_eq!(vxlan::Repr::parse(&octets).unwrap(), repr);
        let repr = vxlan_gpe::Repr { vni, next: next.into(), oam };
        let mut octets = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut octets);
        reserved(&mut octets, [0xc2, 0xff, 0xff, 0, 0, 0, 0, 0xff]);
        prop_assert_eq!(vxlan_gpe::Repr::parse(&octets).unwrap(), repr);
    }

    #[test]
    fn nsh_of_both_kinds(oam: bool, ttl in 0u8..64, next: u8, spi in spi(), si: u8, one: Option<[u8; 16]>, contexts in contexts()) {
        let metadata = one.map_or(nsh::MetadataRepr::Two(&contexts), nsh::MetadataRepr::One);
        let repr = nsh::Repr { oam, ttl: Ttl::new(ttl).unwrap(), next: next.into(), spi, si: Si::new(si).unwrap(), metadata };
        let mut octets = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut octets);
        let packet = nsh::Packet::new_checked(&octets[..]).unwrap();
        prop_assert_eq!(nsh::Repr::parse(&packet), repr);
        prop_assert_eq!(packet.contexts().map(|c| 4 + c.value.len().next_multiple_of(4)).sum::<usize>(), if one.is_some() { 0 } else { contexts.len() });
        for length in 0..octets.len() {
            prop_assert!(nsh::Packet::new_checked(&octets[..length]).is_err());
        }
    }

    #[test]
    fn sfc_oam_and_echo(number in 0u8..64, fixed: [u8; 16], noise: u8, tlvs in tlvs()) {
        let length = u16::try_from(fixed.len() + tlvs.len()).unwrap();
        let message = if number == 1 { sfc_oam::Message::Echo } else { sfc_oam::Message::Other(number) };
        let repr = sfc_oam::Repr { message, length };
        let mut octets = vec![0xaa; 4];
        repr.emit(&mut octets);
        prop_assert_eq!(octets[1] & 0x3f, 0, "what is reserved is zero when sent");
        octets[1] |= noise & 0x3f;
        octets.extend(fixed.iter().chain(&tlvs));
        let (read, message) = sfc_oam::Repr::parse(&octets).unwrap();
        prop_assert_eq!(read, repr);
        let echo = sfc_echo::Packet::new_checked(message).unwrap();
        let mut out = [0xaa; 16];
        echo.repr().emit(&mut out);
        prop_assert_eq!(&out[..4], &[0; 4], "flags and reserved bits are zero when sent");
        prop_assert_eq!(&out[4..], &fixed[4..]);
        for tlv in echo.tlvs().filter_map(Result::ok) {
            let mut out = vec![0xaa; tlv.buffer_len()];
            tlv.emit(&mut out);
            let again = sfc_tlv::Tlvs::new(&out).next().unwrap();
            prop_assert_eq!(again, Ok(tlv));
        }
        for length in 0..octets.len() {
            prop_assert!(sfc_oam::Repr::parse(&octets[..length]).is_err());
        }
    }

    #[test]
    fn icmp_errors_are_whole_packets_within_their_bounds(original in proptest::collection::vec(any::<u8>(), 0..2000), mtu: u16) {
        let error = icmp::ErrorV4 { source: [10, 0, 0, 1].into(), destination: [10, 0, 0, 2].into(), kind: 3, code: 4, mtu, original: &original };
        let mut octets = vec![0xaa; error.buffer_len()];
        error.emit(&mut octets);
        prop_assert!(octets.len() <= 576);
        let packet = ipv4::Packet::new_checked(&octets).unwrap();
        prop_assert_eq!(checksum::fold(checksum::sum(packet.payload())), 0xffff);
        prop_assert_eq!(icmp::Packet::new_checked(packet.payload()).unwrap().sequence(), mtu);

        let error = icmp::ErrorV6 { source: [1; 16].into(), destination: [2; 16].into(), kind: 2, code: 0, mtu: mtu.into(), original: &original };
        let mut octets = vec![0xaa; error.buffer_len()];
        error.emit(&mut octets);
        prop_assert!(octets.len() <= 1280);
        let packet = ipv6::Packet::new_checked(&octets).unwrap();
        let pseudo = checksum::pseudo_header(&[1; 16], &[2; 16], 58, packet.payload_len());
        prop_assert_eq!(checksum::fold(pseudo + checksum::sum(packet.payload())), 0xffff);
    }

    #[test]
    fn random_octets_panic_nobody(data in proptest::collection::vec(any::<u8>(), 0..300)) {
        let summary = kc_forwarder::wire::summary::Summary::of(&data, None);
        prop_assert!(summary.l3_end <= data.len());
        let mut copy = data.clone();
        let _ = (checksum::state(&data), checksum::finish(&mut copy));
        if let Ok(mut segment) = tcp::Packet::new_checked(&mut copy[..]) {
            segment.clamp_mss(500);
        }
    }
}
