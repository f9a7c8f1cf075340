//! OAM requests, one by one: which are answered, which way the answer goes, and what it says.
//! RFC 9516 sections 6.3 to 6.5.

use crate::forged::{Forged, box_of, spi};
use crate::world::{World, only};
use kc_forwarder::wire::nsh;
use kc_forwarder::wire::sfc_echo::{self, Kind, ReplyMode};
use kc_forwarder::wire::sfc_oam::{self, Message};
use kc_forwarder::wire::sfc_tlv::Tlv;
use kc_forwarder_api::{DropReason, EchoCode, Si};

/// Where a stranger wants its answers.
const SOURCE: Tlv<'_> = Tlv::Source {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 9)),
    port: 5000,
};

/// A TLV that nobody has assigned.
const STRANGE: Tlv<'_> = Tlv::Unknown {
    kind: 77,
    value: &[1, 2, 3, 4],
};

fn middle() -> World {
    World::new(&box_of(2, true))
}

fn ask(world: &mut World, mode: ReplyMode, tlvs: &[Tlv<'_>]) -> Vec<crate::world::Sent> {
    let forged = Forged {
        mode,
        tlvs,
        ..Forged::default()
    };
    world.gpe("192.0.2.1", &forged.octets())
}

/// Code and TLVs of a reply.
fn said(message: &[u8]) -> (EchoCode, Vec<Tlv<'_>>) {
    let packet = sfc_echo::Packet::new_checked(message).unwrap();
    let repr = packet.repr();
    assert_eq!((repr.kind, repr.subcode), (Kind::Reply, 0));
    assert_eq!((repr.handle, repr.sequence), (1, 2), "its key comes back");
    let tlvs = packet.tlvs().map(Result::unwrap).collect();
    (sfc_echo::code_of(repr.code), tlvs)
}

/// The message of a reply in VXLAN-GPE.
fn inside(octets: &[u8]) -> &[u8] {
    let (header, message) = sfc_oam::Repr::parse(&octets[32..]).unwrap();
    assert_eq!(header.message, Message::Echo);
    message
}

#[test]
fn every_reply_mode_goes_its_own_way() {
    let mut world = middle();
    assert_eq!(ask(&mut world, ReplyMode::None, &[SOURCE]), []);
    // "The Echo Reply message, including relevant TLVs, follows the IP/UDP headers immediately."
    let udp = ask(&mut world, ReplyMode::Udp, &[SOURCE]);
    let udp = only(udp, "gpe 192.0.2.9");
    assert_eq!(udp[..8], [0, 0, 0, 0, 2, 2, 4, 0]);
    assert_eq!(said(&udp).0, EchoCode::TtlExceeded);
    assert_eq!(ask(&mut world, ReplyMode::Udp, &[]), [], "to nobody");
    // Along the reverse path, at the index it has here behind the function.
    let path = Tlv::ReplyPath {
        spi: spi(101),
        si: Si::MAX,
    };
    let along = ask(&mut world, ReplyMode::Path, &[path]);
    let along = only(along, "gpe 192.0.2.1");
    assert_eq!(along[8 + 4..8 + 8], [0, 0, 101, 253]);
    assert_eq!(said(inside(&along)).0, EchoCode::TtlExceeded);
    // Back to the neighbour, whatever the source.
    for tlvs in [&[][..], &[SOURCE]] {
        let back = only(ask(&mut world, ReplyMode::Link, tlvs), "gpe 192.0.2.1");
        assert_eq!(said(inside(&back)), (EchoCode::TtlExceeded, Vec::new()));
    }
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn a_reply_path_that_cannot_be_taken_is_told_by_udp() {
    let mut world = middle();
    let path = |path, si| Tlv::ReplyPath {
        spi: spi(path),
        si: Si::new(si).unwrap(),
    };
    let missing = ask(&mut world, ReplyMode::Path, &[SOURCE]);
    let missing = only(missing, "gpe 192.0.2.9");
    assert_eq!(said(&missing).0, EchoCode::ReplyPathMissing);
    // "…and include the Reply Service Function Path TLV from the Echo Request message."
    let unknown = path(999, 77);
    let lost = ask(&mut world, ReplyMode::Path, &[unknown, SOURCE]);
    let lost = only(lost, "gpe 192.0.2.9");
    let (code, tlvs) = said(&lost);
    assert_eq!(code, EchoCode::ReplyPathNotFound);
    assert!(tlvs.contains(&unknown), "{tlvs:?}");
    assert_eq!(
        ask(&mut world, ReplyMode::Path, &[unknown]),
        [],
        "to nobody"
    );
    // A path that is here and leads nowhere.
    let without = box_of(2, true).replace("{ si = 253, to = { tunnel = { name = \"b1\" } } }", "");
    world.install(&without.replace("generation = 1", "generation = 2"));
    let nowhere = ask(&mut world, ReplyMode::Path, &[path(101, 254), SOURCE]);
    let nowhere = only(nowhere, "gpe 192.0.2.9");
    assert_eq!(said(&nowhere).0, EchoCode::ReplyPathUnverifiable);
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn requests_with_faults_are_told_so() {
    let mut world = middle();
    // "…the SFF MAY include an Errored TLVs TLV that, as sub-TLVs, contains only the misunderstood
    // TLVs."
    let reply = ask(&mut world, ReplyMode::Udp, &[SOURCE, STRANGE]);
    let reply = only(reply, "gpe 192.0.2.9");
    let (code, tlvs) = said(&reply);
    assert_eq!(code, EchoCode::TlvNotUnderstood);
    let errored = Tlv::Errored(&[77, 0, 0, 4, 1, 2, 3, 4]);
    assert_eq!(tlvs.last(), Some(&errored));
    // A TLV whose end is missing, and modes that nobody assigned: to the source, and so by UDP.
    for mode in [ReplyMode::Path, ReplyMode::Udp, ReplyMode::Other(3)] {
        let tlvs = [SOURCE];
        let forged = Forged {
            mode,
            tlvs: &tlvs,
            ..Forged::default()
        };
        let mut cut = forged.octets();
        cut.extend([3, 0, 0, 4]);
        cut[8 + 24 + 3] += 4;
        let reply = only(world.gpe("192.0.2.1", &cut), "gpe 192.0.2.9");
        assert_eq!(said(&reply).0, EchoCode::Malformed);
    }
    let reply = ask(&mut world, ReplyMode::Other(9), &[SOURCE]);
    assert_eq!(said(&only(reply, "gpe 192.0.2.9")).0, EchoCode::Malformed);
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn a_malformed_source_is_dropped_and_not_answered() {
    let mut world = middle();
    let short = Tlv::Unknown {
        kind: 1,
        value: &[0x13, 0x88, 0, 0],
    };
    for mode in [ReplyMode::Udp, ReplyMode::Path, ReplyMode::Link] {
        assert_eq!(ask(&mut world, mode, &[short, SOURCE]), []);
    }
    assert_eq!(world.drops(DropReason::NshOam), 3);
}

#[test]
fn of_two_sources_one_is_answered_whose_family_we_have() {
    let mut world = middle();
    let six = |last: u16| Tlv::Source {
        address: [0x2001, 0xdb8, 0, 0, 0, 0, 0, last].into(),
        port: 6000,
    };
    let reply = ask(&mut world, ReplyMode::Udp, &[six(9), SOURCE]);
    only(reply, "gpe 192.0.2.9");
    assert_eq!(ask(&mut world, ReplyMode::Udp, &[six(9)]), []);
    let both = box_of(2, true).replace(
        "address = \"192.0.2.2\"",
        "address = [\"192.0.2.2\", \"2001:db8::2\"]",
    );
    world.install(&both.replace("generation = 1", "generation = 2"));
    let reply = ask(&mut world, ReplyMode::Udp, &[six(8), six(9)]);
    only(reply, "gpe 2001:db8::8");
}

#[test]
fn what_is_on_its_way_is_not_looked_at() {
    let mut world = middle();
    let tlvs = [SOURCE, STRANGE];
    let forged = Forged {
        mode: ReplyMode::Other(9),
        ttl: 2,
        tlvs: &tlvs,
        ..Forged::default()
    };
    let sent = forged.octets();
    let on = only(world.gpe("192.0.2.1", &sent), "gpe 192.0.2.3");
    let header = nsh::Packet::new_checked(&on[8..]).unwrap();
    assert_eq!((header.ttl(), header.si().get()), (1, 253));
    assert_eq!(on[32..], sent[32..]);
}

#[test]
fn a_service_index_that_has_ended_is_no_error() {
    let mut world = middle();
    let forged = Forged {
        mode: ReplyMode::Udp,
        path: (100, 0),
        ttl: 9,
        tlvs: &[SOURCE],
        ..Forged::default()
    };
    let reply = only(world.gpe("192.0.2.1", &forged.octets()), "gpe 192.0.2.9");
    assert_eq!(said(&reply).0, EchoCode::NoError);
    // At the end of its TTL that counts.
    let forged = Forged { ttl: 1, ..forged };
    let reply = only(world.gpe("192.0.2.1", &forged.octets()), "gpe 192.0.2.9");
    assert_eq!(said(&reply).0, EchoCode::TtlExceeded);
}

#[test]
fn what_cannot_be_verified_fails_authentication() {
    let mut world = middle();
    let path = Tlv::ReplyPath {
        spi: spi(101),
        si: Si::MAX,
    };
    // RFC 9145 section 5: MAC#1 is type 2 of class 0, MAC#2 type 3.
    for kind in [2, 3] {
        let contexts = [0, 0, kind, 4, 0xaa, 0xbb, 0xcc, 0xdd];
        let forged = Forged {
            mode: ReplyMode::Path,
            tlvs: &[path, SOURCE],
            contexts: &contexts,
            ..Forged::default()
        };
        let reply = only(world.gpe("192.0.2.1", &forged.octets()), "gpe 192.0.2.9");
        assert_eq!(said(&reply), (EchoCode::AuthenticationFailed, Vec::new()));
        // It is no data that could be used.
        let forged = Forged {
            tlvs: &[path],
            ..forged
        };
        assert_eq!(world.gpe("192.0.2.1", &forged.octets()), []);
    }
    // Other context is nothing against a request.
    let forged = Forged {
        mode: ReplyMode::Path,
        tlvs: &[path],
        contexts: &[0, 0, 8, 4, 1, 2, 3, 4],
        ..Forged::default()
    };
    only(world.gpe("192.0.2.1", &forged.octets()), "gpe 192.0.2.1");
    assert_eq!(world.all_drops(), 0);
    // Without keys no answer can be protected, and without protection none is wanted.
    for mode in [ReplyMode::ProtectedUdp, ReplyMode::ProtectedPath] {
        assert_eq!(ask(&mut world, mode, &[SOURCE, path]), []);
    }
    assert_eq!(world.drops(DropReason::NshOam), 2);
}

#[test]
fn addresses_that_are_everybodys_or_nobodys_get_no_answer() {
    let mut world = middle();
    for address in ["255.255.255.255", "0.0.0.0", "224.0.0.1", "127.0.0.1"] {
        let source = [Tlv::Source {
            address: address.parse().unwrap(),
            port: 5000,
        }];
        for mode in [ReplyMode::Udp, ReplyMode::Path, ReplyMode::Other(9)] {
            assert_eq!(ask(&mut world, mode, &source), [], "{address}");
        }
    }
}

#[test]
fn a_flood_of_requests_is_answered_at_a_rate() {
    let mut world = middle();
    let flood = |world: &mut World, requests: usize| -> usize {
        (0..requests)
            .map(|_| ask(world, ReplyMode::Udp, &[SOURCE]).len())
            .sum()
    };
    assert_eq!(flood(&mut world, 1000), 50);
    assert_eq!(world.drops(DropReason::OamLimit), 950);
    world.now_ms += 100;
    assert_eq!(flood(&mut world, 100), 10, "100 a second");
}

#[test]
fn active_oam_without_the_o_bit_is_reported_by_name() {
    let mut world = middle();
    let mut unmarked = Forged::default().octets();
    unmarked[8] &= !0x20;
    for path in [100, 99] {
        unmarked[8 + 6] = path;
        assert_eq!(world.gpe("192.0.2.1", &unmarked), []);
    }
    assert_eq!(world.drops(DropReason::NshOamBit), 2);
    assert_eq!(world.all_drops(), 2);
}
