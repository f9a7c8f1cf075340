//! The balancer, packet by packet.

use super::*;
use crate::packet::unreachable;
use crate::testing::{CLIENT, SERVER, assert_sound, echo, tcp, udp};
use kc_forwarder::wire::ethernet;
use kc_forwarder::wire::tcp::{self as tcp_wire, flags};
use std::net::Ipv4Addr;

const IN: [u8; 6] = [2, 0, 0, 0, 1, 1];
const OUT: [u8; 6] = [2, 0, 0, 0, 1, 2];
const VIP: &str = "10.0.0.50:80";
const POLICY: Policy = Policy {
    interval_ms: 1000,
    timeout_ms: 500,
    rise: 2,
    fall: 2,
};

fn setup(health: Option<Policy>) -> Setup {
    Setup {
        vip: VIP.parse().unwrap(),
        backends: vec![
            "10.0.0.2:8080".parse().unwrap(),
            "10.0.0.3:8080".parse().unwrap(),
        ],
        address: "10.0.0.50/24".parse().unwrap(),
        gateway: None,
        health,
    }
}

fn balancer(health: Option<Policy>) -> LoadBalancer {
    let mut balancer = LoadBalancer::new(setup(health)).unwrap();
    balancer.attach(Legs {
        inside: IN,
        outside: OUT,
    });
    balancer
}

/// A balancer that has seen its backends' MAC addresses.
fn acquainted() -> LoadBalancer {
    let mut balancer = balancer(None);
    for last in [2, 3] {
        let reply = arp_reply(last);
        run(&mut balancer, 0, Side::Outside, reply);
    }
    balancer
}

fn backend_mac(last: u8) -> [u8; 6] {
    [2, 0, 0, 0, 2, last]
}

/// Backend 10.0.0.`last` tells us its address.
fn arp_reply(last: u8) -> Frame {
    let mut frame = Frame::with_capacity(64);
    frame.resize(42);
    let link = ethernet::Repr {
        destination: OUT,
        source: backend_mac(last),
        ethertype: 0x0806,
    };
    link.emit(&mut ethernet::Packet::new_checked(frame.bytes_mut()).unwrap());
    arp::Repr {
        operation: arp::Operation::Reply,
        sender_mac: backend_mac(last),
        sender: Ipv4Addr::new(10, 0, 0, last),
        target_mac: OUT,
        target: Ipv4Addr::new(10, 0, 0, 50),
    }
    .emit(&mut frame.bytes_mut()[14..]);
    frame
}

fn run(
    balancer: &mut LoadBalancer,
    now: u64,
    side: Side,
    mut frame: Frame,
) -> (Verdict, Frame, Emissions) {
    let mut out = Emissions::default();
    let verdict = balancer.process(now, side, &mut frame, &mut out);
    (verdict, frame, out)
}

fn ends(frame: &Frame) -> (String, String) {
    assert_sound(frame);
    let reading = Reading::of(frame);
    (
        format!("{}:{}", reading.source(), reading.flow.source_port),
        format!(
            "{}:{}",
            reading.destination(),
            reading.flow.destination_port
        ),
    )
}

fn pass(
    balancer: &mut LoadBalancer,
    now: u64,
    side: Side,
    frame: Frame,
) -> (Frame, String, String) {
    let (verdict, frame, _) = run(balancer, now, side, frame);
    assert_eq!(verdict, Verdict::Pass);
    let (source, destination) = ends(&frame);
    (frame, source, destination)
}

#[test]
fn a_connection_goes_to_one_backend_and_comes_back_from_the_vip() {
    let mut balancer = acquainted();
    let client = "10.0.0.1:40000";
    let (frame, source, backend) =
        pass(&mut balancer, 0, Side::Inside, tcp(client, VIP, flags::SYN));
    assert_eq!(source, client);
    let last = if backend == "10.0.0.2:8080" { 2 } else { 3 };
    assert_eq!(&frame.bytes()[..12], [backend_mac(last), OUT].concat());
    let answer = tcp(&backend, client, flags::SYN | flags::ACK);
    let (frame, source, _) = pass(&mut balancer, 0, Side::Outside, answer);
    assert_eq!(source, VIP);
    assert_eq!(&frame.bytes()[..12], [CLIENT, IN].concat());
    let (_, _, again) = pass(&mut balancer, 0, Side::Inside, tcp(client, VIP, flags::ACK));
    assert_eq!(again, backend);
}

#[test]
fn connections_are_spread() {
    let mut balancer = acquainted();
    for port in 0..200 {
        pass(
            &mut balancer,
            0,
            Side::Inside,
            tcp(&format!("10.0.0.1:{}", 30_000 + port), VIP, flags::SYN),
        );
    }
    let details = balancer.details();
    for at in [0, 1] {
        let flows = details["backends"][at]["flows"].as_u64().unwrap();
        assert!((60..140).contains(&flows), "{details}");
    }
}

#[test]
fn an_unhealthy_backend_keeps_its_flows_and_gets_no_new_ones() {
    let mut balancer = acquainted();
    let client = "10.0.0.1:40000";
    let (_, _, backend) = pass(&mut balancer, 0, Side::Inside, tcp(client, VIP, flags::SYN));
    pass(
        &mut balancer,
        0,
        Side::Outside,
        tcp(&backend, client, flags::SYN | flags::ACK),
    );
    let lost: SocketAddr = backend.parse().unwrap();
    for one in &mut balancer.backends {
        one.standing.up = Some(one.address != lost);
    }
    assert_eq!(
        pass(&mut balancer, 0, Side::Inside, tcp(client, VIP, flags::ACK)).2,
        backend
    );
    for port in 0..50 {
        let new = tcp(&format!("10.0.0.1:{}", 30_000 + port), VIP, flags::SYN);
        assert_ne!(pass(&mut balancer, 0, Side::Inside, new).2, backend);
    }
}

#[test]
fn a_syn_without_answer_moves_when_its_backend_goes_down() {
    let mut balancer = acquainted();
    let syn = || tcp("10.0.0.1:40000", VIP, flags::SYN);
    let (_, _, backend) = pass(&mut balancer, 0, Side::Inside, syn());
    let lost: SocketAddr = backend.parse().unwrap();
    for one in &mut balancer.backends {
        one.standing.up = Some(one.address != lost);
    }
    assert_ne!(pass(&mut balancer, 0, Side::Inside, syn()).2, backend);
}

#[test]
fn with_nobody_up_a_client_is_refused_at_once() {
    let mut balancer = acquainted();
    balancer
        .backends
        .iter_mut()
        .for_each(|backend| backend.standing.up = Some(false));
    let (verdict, _, out) = run(
        &mut balancer,
        0,
        Side::Inside,
        tcp("10.0.0.1:40000", VIP, flags::SYN),
    );
    assert_eq!(verdict, Verdict::Drop(DropCause::NoBackend));
    let [(Side::Inside, reset)] = &out.frames[..] else {
        panic!("{out:?}")
    };
    assert_eq!(ends(reset), (VIP.to_owned(), "10.0.0.1:40000".to_owned()));
}

#[test]
fn a_backend_not_seen_yet_is_asked_for_once_a_second() {
    let mut balancer = balancer(None);
    let mut questions = 0;
    for now in [0, 10, 500, 1000, 1001] {
        let syn = tcp("10.0.0.1:40000", VIP, flags::SYN);
        let (verdict, _, out) = run(&mut balancer, now, Side::Inside, syn);
        assert_eq!(verdict, Verdict::Drop(DropCause::Unresolved));
        for (side, question) in out.frames {
            assert_eq!(side, Side::Outside);
            let asked = arp::Repr::parse(&question.bytes()[14..]).unwrap();
            assert_eq!(asked.sender.to_string(), "10.0.0.50");
            questions += 1;
        }
    }
    assert_eq!(questions, 2);
}

#[test]
fn the_vip_answers_ping_and_nothing_else() {
    let mut balancer = acquainted();
    let (verdict, frame, _) = run(
        &mut balancer,
        0,
        Side::Inside,
        echo("10.0.0.1", "10.0.0.50", 8, 5),
    );
    assert_eq!(verdict, Verdict::Return);
    assert_eq!(ends(&frame).0, "10.0.0.50:5");
    let other = tcp("10.0.0.1:40000", "10.0.0.50:22", flags::SYN);
    assert_eq!(
        run(&mut balancer, 0, Side::Inside, other).0,
        Verdict::Drop(DropCause::Unsupported)
    );
}

#[test]
fn conversations_beside_the_vip_pass_untouched() {
    let mut balancer = acquainted();
    for frame in [
        tcp("10.0.0.1:40000", "10.0.0.2:8080", flags::SYN),
        tcp("10.0.0.2:8080", "10.0.0.1:40000", flags::SYN | flags::ACK),
        udp("10.0.0.1:1", "10.0.0.9:2", b"x"),
    ] {
        let before = frame.bytes().to_vec();
        assert_eq!(
            pass(&mut balancer, 0, Side::Inside, frame).0.bytes(),
            before
        );
    }
}

#[test]
fn errors_are_shown_to_each_side_as_it_knows_the_packet() {
    let mut balancer = acquainted();
    let client = "10.0.0.1:40000";
    let question = udp(client, VIP, b"question");
    let as_sent = question.bytes()[14..].to_vec();
    let (sent, _, backend) = pass(&mut balancer, 0, Side::Inside, question);
    let error = unreachable(&sent, &Reading::of(&sent)).unwrap();
    let (error, ..) = pass(&mut balancer, 0, Side::Outside, error);
    assert_eq!(&Reading::of(&error).transport(error.bytes())[8..], as_sent);

    let answer = udp(&backend, client, b"answer");
    let as_sent = answer.bytes()[14..].to_vec();
    let (answer, ..) = pass(&mut balancer, 0, Side::Outside, answer);
    let error = unreachable(&answer, &Reading::of(&answer)).unwrap();
    let (error, _, to) = pass(&mut balancer, 0, Side::Inside, error);
    assert_eq!(&Reading::of(&error).transport(error.bytes())[8..], as_sent);
    assert!(backend.starts_with(to.trim_end_matches(":0")));
}

/// Plays backend 10.0.0.2, which accepts, for one exchange of frames; 10.0.0.3 is silent.
fn exchange(balancer: &mut LoadBalancer, now: u64) -> usize {
    let mut syns = 0;
    for _ in 0..6 {
        let mut out = Emissions::default();
        balancer.tick(now, &mut out);
        for (side, frame) in out.frames {
            assert_eq!(side, Side::Outside);
            let reading = Reading::of(&frame);
            if reading.kind == Kind::Arp {
                let asked = arp::Repr::parse(&frame.bytes()[14..]).unwrap();
                run(
                    balancer,
                    now,
                    Side::Outside,
                    arp_reply(asked.target.octets()[3]),
                );
                continue;
            }
            let segment = tcp_wire::Packet::new_checked(reading.transport(frame.bytes())).unwrap();
            if segment.flags() != flags::SYN {
                continue;
            }
            syns += 1;
            if reading.destination().to_string() != "10.0.0.2" {
                continue;
            }
            let (ours, theirs) = (ends(&frame).0, ends(&frame).1);
            let mut answer = tcp(&theirs, &ours, flags::SYN | flags::ACK);
            set_macs(answer.bytes_mut(), Some(backend_mac(2)), Some(OUT));
            let l4 = &mut answer.bytes_mut()[34..];
            tcp_wire::Packet::new_checked(&mut *l4)
                .unwrap()
                .set_acknowledgment(segment.sequence().wrapping_add(1));
            kc_forwarder::wire::checksum::fill(&mut answer.bytes_mut()[14..]);
            assert_eq!(
                run(balancer, now, Side::Outside, answer).0,
                Verdict::Consumed
            );
        }
    }
    syns
}

#[test]
fn checks_tell_a_live_backend_from_a_silent_one() {
    let mut balancer = balancer(Some(POLICY));
    let health = |balancer: &LoadBalancer, at: usize| {
        balancer.details()["backends"][at]["health"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    assert_eq!(health(&balancer, 0), "unchecked");
    exchange(&mut balancer, 0);
    assert_eq!(
        (health(&balancer, 0), health(&balancer, 1)),
        ("up".to_owned(), "unchecked".to_owned())
    );
    exchange(&mut balancer, 500);
    assert_eq!(health(&balancer, 1), "down");
    assert!(balancer.deadline(500).unwrap() <= 1500);
    // Traffic goes on to the one that is up.
    let (_, _, backend) = pass(
        &mut balancer,
        500,
        Side::Inside,
        tcp("10.0.0.1:40000", VIP, flags::SYN),
    );
    assert_eq!(backend, "10.0.0.2:8080");
    assert!(exchange(&mut balancer, 1500) >= 1);
    assert_eq!(health(&balancer, 0), "up");
}

#[test]
fn a_setup_that_contradicts_itself_is_refused() {
    let mut odd = setup(None);
    odd.backends.push("[fd00::1]:80".parse().unwrap());
    assert!(matches!(
        LoadBalancer::new(odd),
        Err(SetupError::Family { .. })
    ));
    let mut twice = setup(None);
    twice.backends.push(twice.backends[0]);
    assert!(matches!(
        LoadBalancer::new(twice),
        Err(SetupError::Twice(_))
    ));
    let mut none = setup(None);
    none.backends.clear();
    assert_eq!(LoadBalancer::new(none).unwrap_err(), SetupError::NoBackend);
}

#[test]
fn who_asks_for_the_vip_gets_the_mac_address_of_that_side() {
    let mut balancer = balancer(None);
    let mut question = arp_reply(9);
    question.bytes_mut()[21] = 1;
    set_macs(question.bytes_mut(), Some(SERVER), Some([0xff; 6]));
    let (verdict, _, out) = run(&mut balancer, 0, Side::Inside, question);
    assert_eq!(verdict, Verdict::Consumed);
    let [(Side::Inside, answer)] = &out.frames[..] else {
        panic!("{out:?}")
    };
    assert_eq!(
        arp::Repr::parse(&answer.bytes()[14..]).unwrap().sender_mac,
        IN
    );
}
