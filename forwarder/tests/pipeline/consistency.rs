//! SFP consistency verification (RFC 9516 section 6.6): every SFF of a path tells its functions, and
//! hands the request on.

use crate::forged::{Forged, box_of, spi};
use crate::world::{World, only};
use kc_forwarder::wire::sfc_echo::{self, Kind, ReplyMode, code_of};
use kc_forwarder::wire::sfc_tlv::{ID_NAMES, Tlv, Tlvs};
use kc_forwarder_api::{DropReason, EchoCode, Si};

/// Box 3, which box 2 has a tunnel to.
const SOURCE: Tlv<'_> = Tlv::Source {
    address: std::net::IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)),
    port: 5000,
};

const REQUEST: Forged<'_> = Forged {
    kind: Kind::ConsistencyRequest,
    mode: ReplyMode::Udp,
    key: (1, 2),
    path: (100, 254),
    ttl: 9,
    tlvs: &[SOURCE],
    contexts: &[],
};

/// Code of a CVRep, and its functions by service index.
fn told(message: &[u8]) -> (EchoCode, Option<Vec<(u8, String)>>) {
    let packet = sfc_echo::Packet::new_checked(message).unwrap();
    assert_eq!(packet.repr().kind, Kind::ConsistencyReply);
    let record = packet.tlvs().map(Result::unwrap).find_map(|tlv| match tlv {
        Tlv::Record { spi: of, functions } => {
            assert_eq!(of, spi(100));
            Some(functions)
        }
        _ => None,
    });
    let functions = record.map(|record| {
        let each = Tlvs::new(record).map(|tlv| match tlv.unwrap() {
            Tlv::Information {
                si,
                kind: 0,
                id: ID_NAMES,
                ids,
            } => (si.get(), String::from_utf8(ids.to_vec()).unwrap()),
            other => panic!("{other:?}"),
        });
        each.collect()
    });
    (code_of(packet.repr().code), functions)
}

fn names(names: &str) -> Option<Vec<(u8, String)>> {
    Some(vec![(254, names.to_owned())])
}

#[test]
fn an_sff_tells_its_functions_and_hands_the_request_on() {
    let mut world = World::new(&box_of(2, true));
    let mut sent = world.gpe("192.0.2.1", &REQUEST.octets());
    let on = only(sent.split_off(1), "gpe 192.0.2.3");
    // The same message, a TTL less, behind the function.
    assert_eq!(on[8..16], [0x22, 0x06, 1, 7, 0, 0, 100, 253]);
    assert_eq!(on[32..], REQUEST.octets()[32..]);
    let reply = only(sent, "gpe 192.0.2.3");
    // Figures 3, 9 and 10, with a private SF ID type.
    assert_eq!(
        reply,
        [
            &[0, 0, 0, 0, 4, 2, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2][..],
            &[4, 0, 0, 16, 0, 0, 100, 0],
            &[5, 0, 0, 8, 254, 0, 0, 252, b'f', b'2', 0, 0],
        ]
        .concat()
    );
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn the_end_of_the_path_and_that_of_the_ttl_end_a_consistency_request() {
    let mut world = World::new(&box_of(2, true));
    let ended = Forged { ttl: 1, ..REQUEST };
    let reply = only(world.gpe("192.0.2.1", &ended.octets()), "gpe 192.0.2.3");
    assert_eq!(told(&reply), (EchoCode::TtlExceeded, names("f2\0\0")));
    let source = Tlv::Source {
        address: [192, 0, 2, 2].into(),
        port: 5000,
    };
    let mut last = World::new(&box_of(3, true));
    let at_end = Forged {
        path: (100, 253),
        tlvs: &[source],
        ..REQUEST
    };
    let reply = only(last.gpe("192.0.2.2", &at_end.octets()), "gpe 192.0.2.2");
    let functions = Some(vec![(253, "f3\0\0".to_owned())]);
    assert_eq!(told(&reply), (EchoCode::EndOfPath, functions));
}

#[test]
fn functions_that_share_the_load_are_in_one_entry() {
    let group = r#"
        [[functions]]
        name = "f2b"
        attachment = { two-leg = { inside = "in2", outside = "out2" } }
        [[groups]]
        name = "both"
        members = [{ to = { function = { name = "f2" } } }, { to = { function = { name = "f2b" } } }]
        [[paths]]
    "#;
    let tables = box_of(2, true)
        .replace(
            "{ name = \"end\" }",
            "{ name = \"in2\" }, { name = \"out2\" }",
        )
        .replace(
            "function = { name = \"f2\" } } },",
            "group = { name = \"both\" } } },",
        )
        .replacen("[[paths]]", group, 1);
    let mut world = World::new(&tables);
    let sent = world.gpe("192.0.2.1", &REQUEST.octets());
    assert_eq!(sent.len(), 2);
    assert_eq!(
        told(&sent[0].bytes),
        (EchoCode::NoError, names("f2\0f2b\0\0"))
    );
}

#[test]
fn a_consistency_request_may_be_answered_along_a_path() {
    let mut world = World::new(&box_of(2, true));
    let path = Tlv::ReplyPath {
        spi: spi(101),
        si: Si::MAX,
    };
    let tlvs = [SOURCE, path];
    let along = Forged {
        mode: ReplyMode::Path,
        tlvs: &tlvs,
        ..REQUEST
    };
    let sent = world.gpe("192.0.2.1", &along.octets());
    assert_eq!((sent.len(), &*sent[0].via), (2, "gpe 192.0.2.1"));
    assert_eq!(told(&sent[0].bytes[36..]).1, names("f2\0\0"));
}

#[test]
fn only_sffs_may_verify_a_path() {
    let mut world = World::new(&box_of(2, true));
    let stranger = Tlv::Source {
        address: [192, 0, 2, 77].into(),
        port: 5000,
    };
    for tlvs in [&[stranger][..], &[]] {
        let forged = Forged { tlvs, ..REQUEST };
        assert_eq!(world.gpe("192.0.2.1", &forged.octets()), []);
    }
    assert_eq!(world.gpe("192.0.2.77", &REQUEST.octets()), []);
    assert_eq!(world.drops(DropReason::UnknownVtep), 3);
}

#[test]
fn a_fault_in_a_consistency_request_tells_nothing_of_functions() {
    let mut world = World::new(&box_of(2, true));
    let contexts = [0, 0, 2, 4, 0xaa, 0xbb, 0xcc, 0xdd];
    let forged = Forged {
        contexts: &contexts,
        ..REQUEST
    };
    let reply = only(world.gpe("192.0.2.1", &forged.octets()), "gpe 192.0.2.3");
    assert_eq!(told(&reply), (EchoCode::AuthenticationFailed, None));
}

#[test]
fn an_answer_about_consistency_is_handed_on_and_never_taken() {
    let mut world = World::new(&box_of(2, true));
    let forged = Forged {
        kind: Kind::ConsistencyReply,
        path: (101, 254),
        ..REQUEST
    };
    only(world.gpe("192.0.2.3", &forged.octets()), "gpe 192.0.2.1");
}
