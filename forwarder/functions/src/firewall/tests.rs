//! The filter, packet by packet.

use super::*;
use crate::testing::{assert_sound, echo, ip, tcp, udp};
use kc_forwarder::wire::{icmp, tcp as tcp_wire};

const SYN_ACK: u8 = flags::SYN | flags::ACK;
const C: &str = "10.0.0.1:40000";
const WEB: &str = "10.0.0.2:80";

fn firewall(text: &str) -> Firewall {
    Firewall::new(parse("test", text).unwrap(), false)
}

fn run(firewall: &mut Firewall, now: u64, side: Side, mut frame: Frame) -> (Verdict, Emissions) {
    let mut out = Emissions::default();
    let verdict = firewall.process(now, side, &mut frame, &mut out);
    (verdict, out)
}

fn verdict(firewall: &mut Firewall, side: Side, frame: Frame) -> Verdict {
    run(firewall, 0, side, frame).0
}

const DENIED: Verdict = Verdict::Drop(DropCause::RuleDeny);

#[test]
fn answers_pass_where_questions_were_allowed() {
    let mut fw = firewall("allow tcp from any to any port 80");
    assert_eq!(
        verdict(&mut fw, Side::Outside, tcp(WEB, C, SYN_ACK)),
        DENIED
    );
    assert_eq!(
        verdict(&mut fw, Side::Inside, tcp(C, WEB, flags::SYN)),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&mut fw, Side::Outside, tcp(WEB, C, SYN_ACK)),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&mut fw, Side::Inside, tcp(C, "10.0.0.2:22", flags::SYN)),
        DENIED
    );
    assert_eq!(fw.details()["rules"][0]["hits"], 1);
    assert_eq!(fw.details()["default-hits"], 2);
}

#[test]
fn the_first_rule_that_fits_counts() {
    let mut fw = firewall("deny udp from any to any port 53\nallow udp from 10.0.0.0/24 to any");
    assert_eq!(
        verdict(&mut fw, Side::Inside, udp(C, "10.0.0.2:53", b"q")),
        DENIED
    );
    assert_eq!(
        verdict(&mut fw, Side::Inside, udp(C, "10.0.0.2:54", b"q")),
        Verdict::Pass
    );
    assert_eq!(
        verdict(
            &mut fw,
            Side::Inside,
            udp("10.0.1.1:1", "10.0.0.2:54", b"q")
        ),
        DENIED
    );
}

#[test]
fn a_silent_connection_is_forgotten() {
    let mut fw = firewall("allow udp from any to any port 53");
    let dns = "10.0.0.2:53";
    assert_eq!(
        run(&mut fw, 0, Side::Inside, udp(C, dns, b"q")).0,
        Verdict::Pass
    );
    assert_eq!(
        run(&mut fw, 200_000, Side::Outside, udp(dns, C, b"a")).0,
        Verdict::Pass
    );
    assert_eq!(
        run(&mut fw, 400_000, Side::Outside, udp(dns, C, b"a")).0,
        Verdict::Pass
    );
    assert_eq!(
        run(&mut fw, 800_000, Side::Outside, udp(dns, C, b"a")).0,
        DENIED
    );
}

#[test]
fn a_rejected_syn_is_answered_with_a_reset_its_sender_believes() {
    let mut fw = firewall("reject tcp from any to any");
    let (verdict, out) = run(&mut fw, 0, Side::Inside, tcp(C, WEB, flags::SYN));
    assert_eq!(verdict, Verdict::Drop(DropCause::RuleReject));
    let [(Side::Inside, answer)] = &out.frames[..] else {
        panic!("{out:?}")
    };
    assert_sound(answer);
    let reading = Reading::of(answer);
    assert_eq!(reading.flow.source_port, 80);
    assert_eq!(reading.summary.destination_mac, crate::testing::CLIENT);
    let segment = tcp_wire::Packet::new_checked(reading.transport(answer.bytes())).unwrap();
    assert_eq!(segment.flags(), flags::RST | flags::ACK);
    assert_eq!((segment.sequence(), segment.acknowledgment()), (0, 1001));
    let (_, out) = run(&mut fw, 0, Side::Inside, tcp(C, WEB, flags::RST));
    assert!(out.frames.is_empty(), "a reset is never answered");
}

#[test]
fn a_rejected_datagram_is_answered_unreachable_at_a_limited_rate() {
    let mut fw = firewall("reject udp from any to any");
    let mut answers = 0;
    for _ in 0..500 {
        let (_, out) = run(&mut fw, 0, Side::Inside, udp(C, "10.0.0.2:53", b"question"));
        for (_, answer) in &out.frames {
            assert_sound(answer);
            let reading = Reading::of(answer);
            let message = icmp::Packet::new_checked(reading.transport(answer.bytes())).unwrap();
            assert_eq!((message.kind(), message.code()), (3, 3));
            answers += 1;
        }
    }
    assert_eq!(answers, ERRORS_PER_SECOND);
}

#[test]
fn an_icmp_error_about_a_passed_connection_passes() {
    let mut fw = firewall("allow udp from any to any");
    let question = udp(C, "10.0.0.2:53", b"question");
    let reading = Reading::of(&question);
    let error = unreachable(&question, &reading).unwrap();
    assert_eq!(verdict(&mut fw, Side::Outside, error), DENIED);
    let error = unreachable(&question, &reading).unwrap();
    assert_eq!(verdict(&mut fw, Side::Inside, question), Verdict::Pass);
    assert_eq!(verdict(&mut fw, Side::Outside, error), Verdict::Pass);
}

#[test]
fn ping_is_a_connection_too() {
    let mut fw = firewall("allow icmp from 10.0.0.1 to any");
    assert_eq!(
        verdict(&mut fw, Side::Outside, echo("10.0.0.2", "10.0.0.1", 0, 9)),
        DENIED
    );
    assert_eq!(
        verdict(&mut fw, Side::Inside, echo("10.0.0.1", "10.0.0.2", 8, 9)),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&mut fw, Side::Outside, echo("10.0.0.2", "10.0.0.1", 0, 9)),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&mut fw, Side::Outside, echo("10.0.0.2", "10.0.0.1", 0, 8)),
        DENIED
    );
}

#[test]
fn a_connection_begun_elsewhere_is_picked_up_unless_strict() {
    let rules = parse("test", "allow tcp from any to any port 80").unwrap();
    let middle = || tcp(C, WEB, flags::ACK);
    let mut loose = Firewall::new(rules.clone(), false);
    assert_eq!(verdict(&mut loose, Side::Inside, middle()), Verdict::Pass);
    assert_eq!(
        verdict(&mut loose, Side::Outside, tcp(WEB, C, flags::ACK)),
        Verdict::Pass
    );
    let mut strict = Firewall::new(rules, true);
    let refused = Verdict::Drop(DropCause::NoConnection);
    assert_eq!(verdict(&mut strict, Side::Inside, middle()), refused);
}

#[test]
fn a_new_syn_after_the_end_meets_the_rules_again() {
    let mut fw = firewall("allow tcp from 10.0.0.1 to any port 80");
    let fin = flags::FIN | flags::ACK;
    for (from, to, bits) in [
        (C, WEB, flags::SYN),
        (WEB, C, SYN_ACK),
        (C, WEB, fin),
        (WEB, C, fin),
    ] {
        assert_eq!(
            verdict(&mut fw, Side::Inside, tcp(from, to, bits)),
            Verdict::Pass
        );
    }
    assert_eq!(
        verdict(&mut fw, Side::Outside, tcp(WEB, C, flags::SYN)),
        DENIED
    );
    assert_eq!(
        verdict(&mut fw, Side::Inside, tcp(C, WEB, flags::SYN)),
        Verdict::Pass
    );
}

#[test]
fn later_fragments_follow_their_first() {
    let mut fw = firewall("allow udp from any to any port 53");
    let part = |dport: u16, offset: usize, ident: u16| {
        let mut frame = udp(C, &format!("10.0.0.2:{dport}"), &[1; 1400]);
        let ip = &mut frame.bytes_mut()[14..];
        let mut packet = kc_forwarder::wire::ipv4::Packet::new_checked(ip).unwrap();
        packet.set_ident(ident);
        packet.set_fragment(false, offset == 0, offset);
        packet.fill_checksum();
        frame
    };
    let lost = Verdict::Drop(DropCause::UnknownFragment);
    assert_eq!(verdict(&mut fw, Side::Inside, part(53, 1408, 1)), lost);
    assert_eq!(
        verdict(&mut fw, Side::Inside, part(53, 0, 1)),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&mut fw, Side::Inside, part(53, 1408, 1)),
        Verdict::Pass
    );
    assert_eq!(verdict(&mut fw, Side::Inside, part(80, 0, 2)), DENIED);
    assert_eq!(verdict(&mut fw, Side::Inside, part(80, 1408, 2)), lost);
}

#[test]
fn neighbours_find_each_other_and_other_link_protocols_follow_the_default() {
    let arp = |kind: [u8; 2]| {
        let mut frame = Frame::copy_of(&[0; 60]);
        frame.bytes_mut()[12..14].copy_from_slice(&kind);
        frame
    };
    let mut closed = firewall("default deny");
    assert_eq!(
        verdict(&mut closed, Side::Inside, arp([0x08, 0x06])),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&mut closed, Side::Inside, arp([0x88, 0xcc])),
        DENIED
    );
    let solicitation = ip(
        "fe80::1".parse().unwrap(),
        "ff02::1".parse().unwrap(),
        58,
        &[135; 24],
    );
    assert_eq!(
        verdict(&mut closed, Side::Inside, solicitation),
        Verdict::Pass
    );
    let mut open = firewall("default allow");
    assert_eq!(
        verdict(&mut open, Side::Inside, arp([0x88, 0xcc])),
        Verdict::Pass
    );
}

#[test]
fn a_flood_of_first_packets_does_not_push_out_answered_connections() {
    let mut fw = firewall("allow tcp from any to any");
    assert_eq!(
        verdict(&mut fw, Side::Inside, tcp(C, WEB, flags::SYN)),
        Verdict::Pass
    );
    assert_eq!(
        verdict(&mut fw, Side::Outside, tcp(WEB, C, SYN_ACK)),
        Verdict::Pass
    );
    for n in 0..70_000_u32 {
        let [_, a, b, c] = n.to_be_bytes();
        let flood = tcp(&format!("11.{a}.{b}.{c}:1"), WEB, flags::SYN);
        assert_eq!(verdict(&mut fw, Side::Inside, flood), Verdict::Pass);
    }
    assert!(fw.connections.len() <= CONNECTIONS);
    fw.rules.rules.clear();
    assert_eq!(
        verdict(&mut fw, Side::Inside, tcp(C, WEB, flags::ACK)),
        Verdict::Pass
    );
}

#[test]
fn every_truncation_of_a_packet_is_judged() {
    let mut fw = firewall("default allow");
    let whole = tcp(C, WEB, flags::SYN);
    for length in 0..whole.len() {
        let cut = Frame::copy_of(&whole.bytes()[..length]);
        assert_eq!(
            verdict(&mut fw, Side::Inside, cut),
            Verdict::Drop(DropCause::Malformed)
        );
    }
}

#[test]
fn a_connection_is_known_in_its_own_vlan_only() {
    let mut fw = firewall("allow tcp from any to any port 80");
    let tagged = |mut frame: Frame, vid| {
        frame.offload.vlan = Some(vid);
        frame
    };
    let begin =
        |fw: &mut Firewall, vid| verdict(fw, Side::Inside, tagged(tcp(C, WEB, flags::SYN), vid));
    let answer =
        |fw: &mut Firewall, vid| verdict(fw, Side::Outside, tagged(tcp(WEB, C, SYN_ACK), vid));
    assert_eq!(begin(&mut fw, 10), Verdict::Pass);
    assert_eq!(
        (answer(&mut fw, 20), answer(&mut fw, 10)),
        (DENIED, Verdict::Pass)
    );
    assert_eq!(
        (begin(&mut fw, 20), answer(&mut fw, 20)),
        (Verdict::Pass, Verdict::Pass)
    );
    assert_eq!(
        verdict(&mut fw, Side::Outside, tcp(WEB, C, SYN_ACK)),
        DENIED
    );
    assert_eq!(fw.details()["connections"], 2);
}

#[test]
fn a_reset_has_the_tag_of_what_it_answers() {
    let mut fw = firewall("default reject");
    let mut frame = tcp(C, WEB, flags::SYN);
    frame.offload.vlan = Some(10);
    let (_, out) = run(&mut fw, 0, Side::Inside, frame);
    assert_eq!(out.frames[0].1.offload.vlan, Some(10));
    let mut frame = tcp(C, WEB, flags::SYN);
    kc_forwarder::wire::vlan::push(&mut frame, 10);
    let (_, out) = run(&mut fw, 0, Side::Inside, frame);
    assert_eq!(out.frames[0].1.bytes()[12..16], [0x81, 0, 0, 10]);
}

/// An NSH with one context header, class 0x0102.
fn nsh(kind: u8, value: &[u8; 4]) -> Vec<u8> {
    let mut octets = vec![0x0f, 0xc4, 2, 3, 0, 0, 42, 255, 1, 2, kind, 4];
    octets.extend(value);
    octets
}

#[test]
fn what_a_classifier_wrote_into_the_nsh_decides() {
    let mut fw = firewall(
        "allow any from any to any context 0x0102:7=00000001\nreject tcp from any to any context 258:9",
    );
    let ask = |fw: &mut Firewall, port: u16| {
        let client = format!("10.0.0.1:{port}");
        run(fw, 0, Side::Only, tcp(&client, WEB, flags::SYN))
    };
    assert_eq!(ask(&mut fw, 1).0, DENIED, "no NSH at all");
    fw.surround(&nsh(7, &[0, 0, 0, 2]));
    assert_eq!(ask(&mut fw, 2).0, DENIED, "another tenant");
    fw.surround(&nsh(7, &[0, 0, 0, 1]));
    assert_eq!(ask(&mut fw, 3).0, Verdict::Pass);
    fw.surround(&nsh(9, &[9; 4]));
    assert_eq!(ask(&mut fw, 4).1.frames.len(), 1, "any value is told");
    assert_eq!(ask(&mut fw, 3).0, Verdict::Pass, "the connection is known");
    fw.surround(&[]);
    assert_eq!(ask(&mut fw, 5).0, DENIED);
}

#[test]
fn of_doubled_context_the_first_counts() {
    let mut fw = firewall("allow any from any to any context 0x0102:7=00000001");
    let doubled = |values: [u8; 2]| {
        let mut octets = vec![0x0f, 0xc6, 2, 3, 0, 0, 42, 255];
        for value in values {
            octets.extend([1, 2, 7, 4, 0, 0, 0, value]);
        }
        octets
    };
    fw.surround(&doubled([2, 1]));
    assert_eq!(
        verdict(&mut fw, Side::Only, tcp(C, WEB, flags::SYN)),
        DENIED
    );
    fw.surround(&doubled([1, 2]));
    assert_eq!(
        verdict(&mut fw, Side::Only, tcp(C, WEB, flags::SYN)),
        Verdict::Pass
    );
}
