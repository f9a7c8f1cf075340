//! The NAT, packet by packet.

use super::*;
use crate::packet::unreachable;
use crate::testing::{CLIENT, SERVER, assert_sound, echo, tcp, udp};
use kc_forwarder::frame::Checksum;
use kc_forwarder::wire::arp;
use proptest::prelude::*;

const OWN: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);
const IN: [u8; 6] = [2, 0, 0, 0, 1, 1];
const OUT: [u8; 6] = [2, 0, 0, 0, 1, 2];

fn nat() -> Nat {
    let mut nat = Nat::new(OWN);
    nat.attach(Legs {
        inside: IN,
        outside: OUT,
    });
    nat
}

fn run(nat: &mut Nat, now: u64, side: Side, mut frame: Frame) -> (Verdict, Frame, Emissions) {
    let mut out = Emissions::default();
    let verdict = nat.process(now, side, &mut frame, &mut out);
    (verdict, frame, out)
}

/// The translated frame, with its source and destination as text.
fn pass(nat: &mut Nat, now: u64, side: Side, frame: Frame) -> (Frame, String, String) {
    let (verdict, frame, _) = run(nat, now, side, frame);
    assert!(
        matches!(verdict, Verdict::Pass | Verdict::Return),
        "{verdict:?}"
    );
    assert_sound(&frame);
    let reading = Reading::of(&frame);
    let source = format!("{}:{}", reading.source(), reading.flow.source_port);
    let destination = format!(
        "{}:{}",
        reading.destination(),
        reading.flow.destination_port
    );
    (frame, source, destination)
}

fn refused(nat: &mut Nat, side: Side, frame: Frame) -> DropCause {
    match run(nat, 0, side, frame).0 {
        Verdict::Drop(cause) => cause,
        other => panic!("{other:?}"),
    }
}

fn towards(mac: [u8; 6], mut frame: Frame) -> Frame {
    set_macs(frame.bytes_mut(), Some(SERVER), Some(mac));
    frame
}

#[test]
fn a_connection_leaves_with_our_address_and_comes_back_to_its_client() {
    let mut nat = nat();
    let (frame, source, destination) = pass(
        &mut nat,
        0,
        Side::Inside,
        tcp("10.0.0.1:40000", "10.0.0.2:80", flags::SYN),
    );
    assert_eq!(
        (&source[..], &destination[..]),
        ("10.0.0.100:40000", "10.0.0.2:80")
    );
    assert_eq!(&frame.bytes()[6..12], OUT);
    assert_eq!(&frame.bytes()[..6], SERVER);
    let answer = tcp("10.0.0.2:80", "10.0.0.100:40000", flags::SYN | flags::ACK);
    let (frame, source, destination) = pass(&mut nat, 0, Side::Outside, towards(OUT, answer));
    assert_eq!(
        (&source[..], &destination[..]),
        ("10.0.0.2:80", "10.0.0.1:40000")
    );
    assert_eq!(&frame.bytes()[..6], CLIENT);
}

#[test]
fn two_clients_with_the_same_port_get_different_ones() {
    let mut nat = nat();
    let (_, first, _) = pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.1:5000", "10.0.0.2:53", b"a"),
    );
    let (_, second, _) = pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.3:5000", "10.0.0.2:53", b"b"),
    );
    assert_eq!(first, "10.0.0.100:5000");
    assert_ne!(second, first);
    let port: u16 = second.rsplit_once(':').unwrap().1.parse().unwrap();
    assert!(
        port >= 1024 && port.is_multiple_of(2),
        "parity of 5000 is kept: {port}"
    );
    let answer = udp("10.0.0.2:53", &format!("10.0.0.100:{port}"), b"answer");
    let (_, _, destination) = pass(&mut nat, 0, Side::Outside, answer);
    assert_eq!(destination, "10.0.0.3:5000");
}

#[test]
fn one_client_port_has_one_outside_port_whoever_it_talks_to() {
    let mut nat = nat();
    pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.3:5000", "10.0.0.2:53", b"a"),
    );
    let (_, first, _) = pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.1:5000", "10.0.0.2:53", b"a"),
    );
    let (_, second, _) = pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.1:5000", "10.0.0.9:99", b"a"),
    );
    assert_eq!(first, second);
}

#[test]
fn ping_goes_out_and_comes_back() {
    let mut nat = nat();
    pass(
        &mut nat,
        0,
        Side::Inside,
        echo("10.0.0.1", "10.0.0.2", 8, 77),
    );
    let (_, source, _) = pass(
        &mut nat,
        0,
        Side::Inside,
        echo("10.0.0.3", "10.0.0.2", 8, 77),
    );
    let ident: u16 = source.rsplit_once(':').unwrap().1.parse().unwrap();
    assert_ne!(ident, 77);
    let (_, _, back) = pass(
        &mut nat,
        0,
        Side::Outside,
        echo("10.0.0.2", "10.0.0.100", 0, ident),
    );
    assert_eq!(back, "10.0.0.3:77");
    let (_, _, back) = pass(
        &mut nat,
        0,
        Side::Outside,
        echo("10.0.0.2", "10.0.0.100", 0, 77),
    );
    assert_eq!(back, "10.0.0.1:77");
}

#[test]
fn strangers_get_no_answer_at_all() {
    let mut nat = nat();
    let syn = tcp("10.0.0.2:80", "10.0.0.100:22", flags::SYN);
    let (verdict, _, out) = run(&mut nat, 0, Side::Outside, syn);
    assert_eq!(verdict, Verdict::Drop(DropCause::NoMapping));
    assert!(out.frames.is_empty());
    let direct = tcp("10.0.0.2:80", "10.0.0.1:22", flags::SYN);
    assert_eq!(
        refused(&mut nat, Side::Outside, direct),
        DropCause::NoMapping
    );
}

#[test]
fn an_error_about_our_packet_reaches_the_client_as_if_about_its_own() {
    let mut nat = nat();
    pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.3:5000", "10.0.0.2:53", b"first"),
    );
    let question = udp("10.0.0.1:5000", "10.0.0.2:53", b"question");
    let before = question.bytes()[14..].to_vec();
    let (sent, _, _) = pass(&mut nat, 0, Side::Inside, question);
    let error = unreachable(&sent, &Reading::of(&sent)).unwrap();
    let (error, _, _) = pass(&mut nat, 0, Side::Outside, error);
    let reading = Reading::of(&error);
    assert_eq!(reading.destination().to_string(), "10.0.0.1");
    assert_eq!(
        &reading.transport(error.bytes())[8..],
        before,
        "quoted as it was sent"
    );
    assert_eq!(&error.bytes()[..6], CLIENT);
}

#[test]
fn an_error_from_a_client_about_a_packet_we_let_in_goes_out_in_our_name() {
    let mut nat = nat();
    pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.3:5000", "10.0.0.2:53", b"first"),
    );
    let (_, source, _) = pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.1:5000", "10.0.0.2:53", b"q"),
    );
    let answer = udp("10.0.0.2:53", &source, b"answer");
    let before = answer.bytes()[14..].to_vec();
    let (answer, _, _) = pass(&mut nat, 0, Side::Outside, answer);
    let error = unreachable(&answer, &Reading::of(&answer)).unwrap();
    let (error, from, to) = pass(&mut nat, 0, Side::Inside, error);
    assert_eq!((&from[..], &to[..]), ("10.0.0.100:0", "10.0.0.2:0"));
    assert_eq!(&Reading::of(&error).transport(error.bytes())[8..], before);
}

#[test]
fn errors_without_a_mapping_or_with_a_wrong_checksum_vanish() {
    let mut nat = nat();
    let sent = udp("10.0.0.100:5000", "10.0.0.2:53", b"q");
    let error = unreachable(&sent, &Reading::of(&sent)).unwrap();
    assert_eq!(
        refused(&mut nat, Side::Outside, error),
        DropCause::NoMapping
    );
    let mut error = unreachable(&sent, &Reading::of(&sent)).unwrap();
    let last = error.len() - 1;
    error.bytes_mut()[last] ^= 1;
    assert_eq!(
        refused(&mut nat, Side::Outside, error),
        DropCause::BadChecksum
    );
}

#[test]
fn a_silent_mapping_ends_and_its_port_is_free_again() {
    let mut nat = nat();
    pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.1:5000", "10.0.0.2:53", b"q"),
    );
    let answer = || udp("10.0.0.2:53", "10.0.0.100:5000", b"a");
    pass(&mut nat, 299_000, Side::Outside, answer());
    let (verdict, _, _) = run(&mut nat, 600_000, Side::Outside, answer());
    assert_eq!(verdict, Verdict::Drop(DropCause::NoMapping));
    let (_, source, _) = pass(
        &mut nat,
        600_000,
        Side::Inside,
        udp("10.0.0.3:5000", "10.0.0.2:53", b"q"),
    );
    assert_eq!(source, "10.0.0.100:5000");
}

#[test]
fn an_established_connection_outlives_two_hours_of_silence() {
    let mut nat = nat();
    pass(
        &mut nat,
        0,
        Side::Inside,
        tcp("10.0.0.1:4000", "10.0.0.2:80", flags::SYN),
    );
    let back = |bits| tcp("10.0.0.2:80", "10.0.0.100:4000", bits);
    pass(&mut nat, 0, Side::Outside, back(flags::SYN | flags::ACK));
    pass(&mut nat, 7_400_000, Side::Outside, back(flags::ACK));
    pass(
        &mut nat,
        7_400_000,
        Side::Outside,
        back(flags::FIN | flags::ACK),
    );
    let (verdict, _, _) = run(&mut nat, 7_700_000, Side::Outside, back(flags::ACK));
    assert_eq!(verdict, Verdict::Drop(DropCause::NoMapping));
}

#[test]
fn two_clients_meet_at_our_address() {
    let mut nat = nat();
    pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.1:5000", "10.0.0.2:53", b"a"),
    );
    let (frame, source, destination) = pass(
        &mut nat,
        0,
        Side::Inside,
        udp("10.0.0.3:6000", "10.0.0.100:5000", b"hello"),
    );
    assert_eq!(
        (&source[..], &destination[..]),
        ("10.0.0.100:6000", "10.0.0.1:5000")
    );
    assert_eq!(&frame.bytes()[6..12], IN);
}

#[test]
fn who_asks_for_our_address_is_answered_and_other_questions_pass() {
    let mut nat = nat();
    let question = |target: Ipv4Addr| {
        let mut frame = Frame::copy_of(&[0xff; 42]);
        frame.bytes_mut()[6..14].copy_from_slice(&[2, 0, 0, 0, 0, 2, 0x08, 0x06]);
        arp::Repr {
            operation: arp::Operation::Request,
            sender_mac: SERVER,
            sender: Ipv4Addr::new(10, 0, 0, 2),
            target_mac: [0; 6],
            target,
        }
        .emit(&mut frame.bytes_mut()[14..]);
        frame
    };
    let (verdict, _, out) = run(&mut nat, 0, Side::Outside, question(OWN));
    assert_eq!(verdict, Verdict::Consumed);
    let [(Side::Outside, answer)] = &out.frames[..] else {
        panic!("{out:?}")
    };
    let reply = arp::Repr::parse(&answer.bytes()[14..]).unwrap();
    assert_eq!(
        (reply.sender, reply.sender_mac, reply.target_mac),
        (OWN, OUT, SERVER)
    );
    assert_eq!(&answer.bytes()[..12], [SERVER, OUT].concat());
    let (verdict, _, _) = run(
        &mut nat,
        0,
        Side::Inside,
        question(Ipv4Addr::new(10, 0, 0, 2)),
    );
    assert_eq!(verdict, Verdict::Pass);
}

#[test]
fn on_one_leg_the_address_tells_directions_apart() {
    let mut nat = nat();
    let (frame, source, _) = pass(
        &mut nat,
        0,
        Side::Only,
        udp("10.0.0.1:5000", "10.0.0.2:53", b"q"),
    );
    assert_eq!(source, "10.0.0.100:5000");
    assert_eq!(&frame.bytes()[6..12], OUT);
    let (_, _, destination) = pass(
        &mut nat,
        0,
        Side::Only,
        udp("10.0.0.2:53", "10.0.0.100:5000", b"a"),
    );
    assert_eq!(destination, "10.0.0.1:5000");
}

#[test]
fn later_fragments_are_translated_like_their_first() {
    let mut nat = nat();
    let part = |from: &str, to: &str, offset: usize| {
        let mut frame = udp(from, to, &[1; 1400]);
        let mut packet =
            kc_forwarder::wire::ipv4::Packet::new_checked(&mut frame.bytes_mut()[14..]).unwrap();
        packet.set_fragment(false, offset == 0, offset);
        packet.fill_checksum();
        frame.offload.checksum = Checksum::Complete;
        frame
    };
    let (client, server) = ("10.0.0.1:5000", "10.0.0.2:53");
    assert_eq!(
        refused(&mut nat, Side::Inside, part(client, server, 1408)),
        DropCause::UnknownFragment
    );
    pass(&mut nat, 0, Side::Inside, part(client, server, 0));
    let (later, ..) = pass(&mut nat, 0, Side::Inside, part(client, server, 1408));
    assert_eq!(Reading::of(&later).source().to_string(), "10.0.0.100");
    pass(
        &mut nat,
        0,
        Side::Outside,
        part(server, "10.0.0.100:5000", 0),
    );
    let (later, ..) = pass(
        &mut nat,
        0,
        Side::Outside,
        part(server, "10.0.0.100:5000", 1408),
    );
    assert_eq!(Reading::of(&later).destination().to_string(), "10.0.0.1");
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    let mut nat = nat();
    let mut frame = udp("10.0.0.1:5000", "10.0.0.2:53", b"q");
    frame.bytes_mut()[40..42].fill(0);
    let (frame, ..) = pass(&mut nat, 0, Side::Inside, frame);
    assert_eq!(&frame.bytes()[40..42], [0, 0]);
}

#[test]
fn other_protocols_and_broadcasts_are_treated_as_told() {
    let mut nat = nat();
    let gre = crate::testing::ip(
        "10.0.0.1".parse().unwrap(),
        "10.0.0.2".parse().unwrap(),
        47,
        &[0; 20],
    );
    assert_eq!(refused(&mut nat, Side::Inside, gre), DropCause::Unsupported);
    let discover = udp("0.0.0.0:68", "255.255.255.255:67", b"dhcp");
    let before = discover.bytes().to_vec();
    let (frame, ..) = pass(&mut nat, 0, Side::Inside, discover);
    assert_eq!(frame.bytes(), before);
    let v6 = udp("[fd00::1]:1", "[fd00::2]:2", b"six");
    let before = v6.bytes().to_vec();
    assert_eq!(pass(&mut nat, 0, Side::Inside, v6).0.bytes(), before);
}

#[test]
fn when_every_port_is_taken_the_next_client_is_refused() {
    let mut nat = nat();
    let mut refusals = 0;
    for n in 0..64_600_u32 {
        let [_, _, a, b] = n.to_be_bytes();
        let syn = tcp(&format!("11.1.{a}.{b}:5000"), "10.0.0.2:80", flags::SYN);
        match run(&mut nat, 0, Side::Inside, syn).0 {
            Verdict::Pass => {}
            Verdict::Drop(DropCause::NoPort) => refusals += 1,
            other => panic!("{other:?}"),
        }
    }
    assert!((88..1500).contains(&refusals), "{refusals}");
}

proptest! {
    #[test]
    fn what_goes_out_and_comes_back_is_what_was_sent(
        port in 1_u16.., remote in 1_u16.., data in proptest::collection::vec(any::<u8>(), 0..100), odd in any::<[u8; 4]>(),
    ) {
        let mut nat = nat();
        let client = format!("{}:{port}", Ipv4Addr::from(u32::from_be_bytes(odd) & 0x00ff_ffff | 0x0b00_0000));
        let server = format!("10.0.0.2:{remote}");
        let (out, source, _) = pass(&mut nat, 0, Side::Inside, udp(&client, &server, &data));
        prop_assert!(out.bytes().ends_with(&data));
        let (_, _, destination) = pass(&mut nat, 0, Side::Outside, udp(&server, &source, &data));
        prop_assert_eq!(destination, client);
    }
}

/// A frame with an 802.1Q tag: beside the frame, as kernels hand it over, or in it.
fn in_vlan(mut frame: Frame, vid: u16, beside: bool) -> Frame {
    if beside {
        frame.offload.vlan = Some(vid);
    } else {
        kc_forwarder::wire::vlan::push(&mut frame, vid);
    }
    frame
}

#[test]
fn paths_in_different_vlans_have_mappings_of_their_own_and_no_port_twice() {
    for beside in [true, false] {
        let mut nat = nat();
        let out = |nat: &mut Nat, vid| {
            let frame = udp("10.0.0.1:5000", "10.0.3.2:53", b"q");
            let (frame, source, _) = pass(nat, 0, Side::Inside, in_vlan(frame, vid, beside));
            assert_eq!(Reading::of(&frame).vlan(), vid);
            source
        };
        let (one, two) = (out(&mut nat, 10), out(&mut nat, 20));
        assert_eq!(one, "10.0.0.100:5000");
        assert_ne!(two, one, "the server could not tell them apart");
        assert_eq!(
            (out(&mut nat, 10), out(&mut nat, 20)),
            (one.clone(), two.clone())
        );
        for (seen, vid) in [(one, 10), (two, 20)] {
            let answer = udp("10.0.3.2:53", &seen, b"a");
            let (frame, _, to) = pass(&mut nat, 0, Side::Outside, in_vlan(answer, vid, beside));
            assert_eq!(
                (to.as_str(), Reading::of(&frame).vlan()),
                ("10.0.0.1:5000", vid)
            );
        }
    }
}

#[test]
fn an_answer_by_the_wrong_vlan_goes_back_to_its_own() {
    for beside in [true, false] {
        let mut nat = nat();
        let question = udp("10.0.0.1:5000", "10.0.3.2:53", b"q");
        let (_, seen, _) = pass(&mut nat, 0, Side::Inside, in_vlan(question, 10, beside));
        let answer = in_vlan(udp("10.0.3.2:53", &seen, b"a"), 20, beside);
        let (frame, _, to) = pass(&mut nat, 0, Side::Outside, answer);
        assert_eq!(
            (to.as_str(), Reading::of(&frame).vlan()),
            ("10.0.0.1:5000", 10)
        );
        let none = udp("10.0.3.2:53", &seen, b"a");
        let (frame, ..) = pass(&mut nat, 0, Side::Outside, none);
        assert_eq!(Reading::of(&frame).vlan(), 10);
    }
}
