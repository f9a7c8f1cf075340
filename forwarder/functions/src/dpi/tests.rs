//! The inspector, packet by packet.

use super::*;
use crate::testing::{assert_sound, echo, tcp, tcp_with, udp};

const C: &str = "10.0.0.1:40000";
const WEB: &str = "10.0.0.2:443";
const DATA: u8 = flags::ACK | flags::PSH;

fn dpi(blocks: &[&str]) -> Dpi {
    Dpi::new(blocks.iter().map(|block| block.parse().unwrap()).collect())
}

fn run(dpi: &mut Dpi, side: Side, mut frame: Frame) -> (Verdict, Emissions) {
    let mut out = Emissions::default();
    let verdict = dpi.process(0, side, &mut frame, &mut out);
    (verdict, out)
}

/// Opens a connection and sends `data` in pieces; the verdict on each piece.
fn speak(dpi: &mut Dpi, data: &[u8], piece: usize) -> Vec<Verdict> {
    run(dpi, Side::Inside, tcp_with(C, WEB, flags::SYN, 999, &[]));
    run(dpi, Side::Outside, tcp(WEB, C, flags::SYN | flags::ACK));
    let mut sequence = 1000;
    let mut verdicts = Vec::new();
    for piece in data.chunks(piece) {
        let frame = tcp_with(C, WEB, DATA, sequence, piece);
        verdicts.push(run(dpi, Side::Inside, frame).0);
        sequence += u32::try_from(piece.len()).unwrap();
    }
    verdicts
}

const BLOCKED: Verdict = Verdict::Drop(DropCause::Blocked);

#[test]
fn a_server_name_spread_over_segments_is_blocked_before_it_is_whole() {
    let hello = tls::tests::client_hello("www.blocked.example", 10_000);
    for piece in [1, 10, 50, 2000] {
        let mut dpi = dpi(&["blocked.example"]);
        let verdicts = speak(&mut dpi, &hello, piece);
        let (last, before) = verdicts.split_last().unwrap();
        assert_eq!(*last, BLOCKED, "{piece}");
        assert!(
            before.iter().all(|verdict| *verdict == Verdict::Pass),
            "{piece}"
        );
        assert_eq!(dpi.details()["blocked"]["blocked.example"], 1);
        assert_eq!(dpi.details()["names"]["by-name"]["www.blocked.example"], 1);
    }
}

#[test]
fn a_name_that_nobody_blocks_passes_and_is_counted() {
    let mut dpi = dpi(&["blocked.example"]);
    let hello = tls::tests::client_hello("fine.example", 10_000);
    assert!(
        speak(&mut dpi, &hello, 40)
            .iter()
            .all(|verdict| *verdict == Verdict::Pass)
    );
    assert_eq!(dpi.details()["protocols"]["tls"]["flows"], 1);
    assert_eq!(dpi.streams, 0);
}

#[test]
fn a_blocked_connection_is_reset_on_both_sides() {
    let mut dpi = dpi(&["ssh"]);
    run(
        &mut dpi,
        Side::Inside,
        tcp_with(C, WEB, flags::SYN, 999, &[]),
    );
    let (verdict, out) = run(
        &mut dpi,
        Side::Inside,
        tcp_with(C, WEB, DATA, 1000, b"SSH-2.0-x\r\n"),
    );
    assert_eq!(verdict, BLOCKED);
    let [(Side::Inside, back), (Side::Outside, onward)] = &out.frames[..] else {
        panic!("{out:?}")
    };
    for (reset, sequence) in [(back, 5000), (onward, 1000)] {
        assert_sound(reset);
        let reading = Reading::of(reset);
        let segment = tcp::Packet::new_checked(reading.transport(reset.bytes())).unwrap();
        assert_ne!(segment.flags() & flags::RST, 0);
        assert_eq!(segment.sequence(), sequence);
    }
    // What was sent before the reset arrived ends here, too.
    assert_eq!(
        run(&mut dpi, Side::Outside, tcp(WEB, C, flags::ACK)).0,
        BLOCKED
    );
}

#[test]
fn a_server_that_speaks_first_is_recognised() {
    let mut dpi = dpi(&["ssh"]);
    run(&mut dpi, Side::Inside, tcp(C, "10.0.0.2:2222", flags::SYN));
    let banner = tcp_with("10.0.0.2:2222", C, DATA, 1000, b"SSH-2.0-OpenSSH\r\n");
    assert_eq!(run(&mut dpi, Side::Outside, banner).0, BLOCKED);
}

#[test]
fn the_second_request_on_a_connection_is_looked_at_as_well() {
    let mut dpi = dpi(&["bad.example"]);
    let good = b"GET / HTTP/1.1\r\nHost: good.example\r\n\r\n";
    let bad = b"GET / HTTP/1.1\r\nHost: bad.example\r\n\r\n";
    assert_eq!(speak(&mut dpi, good, 2000), [Verdict::Pass]);
    let next = tcp_with(C, WEB, DATA, 1000 + u32::try_from(good.len()).unwrap(), bad);
    assert_eq!(run(&mut dpi, Side::Inside, next).0, BLOCKED);
}

#[test]
fn a_blocked_question_is_dropped_and_the_next_one_passes() {
    let mut dpi = dpi(&["bad.example"]);
    let ask = |name: &str| udp("10.0.0.1:5000", "10.0.0.53:53", &dns::tests::query(name));
    let (verdict, out) = run(&mut dpi, Side::Inside, ask("www.bad.example"));
    assert_eq!(verdict, BLOCKED);
    assert!(out.frames.is_empty());
    assert_eq!(
        run(&mut dpi, Side::Inside, ask("good.example")).0,
        Verdict::Pass
    );
    assert_eq!(dpi.details()["protocols"]["dns"]["frames"], 2);
    assert_eq!(dpi.details()["protocols"]["dns"]["flows"], 1);
}

#[test]
fn protocols_without_a_flow_are_named_and_blocked() {
    let mut dpi = dpi(&["icmp"]);
    assert_eq!(
        run(&mut dpi, Side::Inside, echo("10.0.0.1", "10.0.0.2", 8, 1)).0,
        BLOCKED
    );
    let mut arp = Frame::copy_of(&[0; 42]);
    arp.bytes_mut()[12..14].copy_from_slice(&[8, 6]);
    assert_eq!(run(&mut dpi, Side::Inside, arp).0, Verdict::Pass);
    assert_eq!(dpi.details()["protocols"]["arp"]["frames"], 1);
}

#[test]
fn a_flow_that_says_nothing_known_is_unknown_and_may_be_blocked() {
    let mut dpi = dpi(&["unknown"]);
    assert_eq!(speak(&mut dpi, b"\x00\x01\x02\x03", 4), [BLOCKED]);
}

#[test]
fn many_half_told_flows_take_bounded_memory() {
    let mut dpi = dpi(&[]);
    for n in 0..2000_u32 {
        let client = format!("10.1.{}.{}:1000", n / 256, n % 256);
        run(
            &mut dpi,
            Side::Inside,
            tcp_with(&client, WEB, flags::SYN, 999, &[]),
        );
        run(
            &mut dpi,
            Side::Inside,
            tcp_with(&client, WEB, DATA, 1000, b"\x16\x03"),
        );
    }
    assert_eq!(dpi.streams, STREAMS);
    assert_eq!(dpi.details()["protocols"]["unknown"]["flows"], 2000 - 512);
}

#[test]
fn every_truncation_of_a_packet_is_judged() {
    let mut dpi = dpi(&["ssh"]);
    let whole = tcp_with(C, WEB, DATA, 1000, b"SSH-2.0-x");
    for length in 0..whole.len() {
        let cut = Frame::copy_of(&whole.bytes()[..length]);
        assert_eq!(
            run(&mut dpi, Side::Inside, cut).0,
            Verdict::Drop(DropCause::Malformed)
        );
    }
}
