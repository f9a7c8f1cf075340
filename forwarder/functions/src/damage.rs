//! Every core against frames that were damaged at random: nothing panics, nothing grows beyond
//! its bounds, and a packet that was sound and passes is sound afterwards.

use crate::dpi::Dpi;
use crate::echo::Echo;
use crate::firewall::{Firewall, parse};
use crate::function::{Emissions, Legs, ServiceFunction, Side, Verdict};
use crate::loadbalancer::{LoadBalancer, Setup};
use crate::nat::Nat;
use crate::packet::{Kind, Reading, unreachable};
use crate::testing::{assert_sound, echo, ip, tcp, tcp_with, udp};
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::checksum::{State, fold, state, sum};

const ROUNDS: usize = 100_000;

/// Frames of every kind that some function cares about.
fn samples() -> Vec<Frame> {
    let (client, server, nat, vip) = (
        "10.0.0.1:40000",
        "10.0.0.2:80",
        "10.0.0.100:40000",
        "10.0.0.50:80",
    );
    let request = b"GET / HTTP/1.1\r\nHost: www.bad.example\r\n\r\n";
    let query = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03bad\x07example\0\0\x01\0\x01";
    let mut frames = vec![
        tcp(client, server, 2),
        tcp(server, nat, 0x12),
        tcp(client, vip, 2),
        tcp(server, client, 0x12),
        tcp_with(client, server, 0x18, 1000, request),
        tcp_with(
            client,
            server,
            0x18,
            1000,
            b"\x16\x03\x01\0\x05\x01\0\0\x01\x03",
        ),
        udp(client, "10.0.0.53:53", query),
        udp("[fd00::1]:5353", "[fd00::2]:5353", query),
        udp("10.0.0.2:53", nat, b"answer"),
        echo("10.0.0.1", "10.0.0.2", 8, 7),
        echo("10.0.0.2", "10.0.0.100", 0, 7),
        echo("10.0.0.1", "10.0.0.50", 8, 7),
        ip(
            "fe80::1".parse().unwrap(),
            "ff02::1".parse().unwrap(),
            58,
            &[135; 32],
        ),
    ];
    for at in [0, 2, 6, 7] {
        let frame = &frames[at];
        frames.push(unreachable(frame, &Reading::of(frame)).unwrap());
    }
    let mut arp = Frame::copy_of(&[0; 42]);
    arp.bytes_mut()[12..22].copy_from_slice(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    arp.bytes_mut()[38..42].copy_from_slice(&[10, 0, 0, 100]);
    frames.push(arp);
    frames
}

fn damaged(random: &mut fastrand::Rng, samples: &[Frame]) -> Frame {
    let mut frame = Frame::copy_of(samples[random.usize(..samples.len())].bytes());
    for _ in 0..random.usize(..4) {
        let at = random.usize(..frame.len());
        frame.bytes_mut()[at] = match random.u8(..3) {
            0 => 0xff,
            1 => frame.bytes()[at] ^ 1 << random.u8(..8),
            _ => random.u8(..),
        };
    }
    if random.u8(..4) == 0 {
        let length = random.usize(..=frame.len());
        frame.truncate(length);
    }
    // Otherwise most damage ends at the IPv4 header's checksum.
    if random.bool() {
        mend_header(frame.bytes_mut());
    }
    frame
}

fn mend_header(bytes: &mut [u8]) {
    if let Some(header) = bytes.get_mut(14..34).filter(|header| header[0] == 0x45) {
        header[10..12].fill(0);
        let mended = !fold(sum(header));
        header[10..12].copy_from_slice(&mended.to_be_bytes());
    }
}

/// Whether every checksum that `assert_sound` looks at is right.
fn is_sound(frame: &Frame) -> bool {
    let reading = Reading::of(frame);
    let icmp = reading.summary.protocol == 1 && reading.summary.l4.is_some();
    let transport = match frame
        .bytes()
        .get(reading.summary.l3..reading.summary.l3_end)
    {
        Some(ip) => state(ip),
        None => State::Wrong,
    };
    reading.summary.l3 == 14
        && matches!(reading.kind, Kind::Packet | Kind::IcmpError)
        && transport != State::Wrong
        && transport != State::Unfinished
        && (!icmp || fold(sum(reading.transport(frame.bytes()))) == 0xffff)
}

fn cores() -> Vec<Box<dyn ServiceFunction>> {
    let rules =
        "deny udp from any to any port 53\nreject tcp from any to any port 1-70\ndefault allow";
    let setup = Setup {
        vip: "10.0.0.50:80".parse().unwrap(),
        backends: vec!["10.0.0.2:80".parse().unwrap()],
        address: "10.0.0.50/24".parse().unwrap(),
        gateway: None,
        health: None,
    };
    let blocks = ["bad.example", "ssh"].map(|block| block.parse().unwrap());
    vec![
        Box::new(Firewall::new(parse("test", rules).unwrap(), false)),
        Box::new(Nat::new([10, 0, 0, 100].into())),
        Box::new(Dpi::new(blocks.to_vec())),
        Box::new(LoadBalancer::new(setup).unwrap()),
        Box::new(Echo::new(vec![[10, 0, 0, 100].into()])),
    ]
}

#[test]
fn damaged_frames_panic_nobody_and_sound_ones_stay_sound() {
    let mut random = fastrand::Rng::with_seed(0x5eed_0002);
    let samples = samples();
    let mut passed = 0;
    for mut core in cores() {
        core.attach(Legs {
            inside: [2; 6],
            outside: [4; 6],
        });
        let mut out = Emissions::default();
        for round in 0..ROUNDS {
            let mut frame = damaged(&mut random, &samples);
            let sound = is_sound(&frame);
            let side = [Side::Inside, Side::Outside, Side::Only][random.usize(..3)];
            let verdict = core.process(round as u64, side, &mut frame, &mut out);
            if sound && matches!(verdict, Verdict::Pass | Verdict::Return) {
                assert_sound(&frame);
                passed += 1;
            }
            for (_, answer) in out.frames.drain(..) {
                assert!(answer.len() >= 42 && answer.len() <= 1294 + 8);
                if is_sound(&answer) {
                    continue;
                }
                assert!(matches!(
                    Reading::of(&answer).kind,
                    Kind::Arp | Kind::Discovery
                ));
            }
        }
        assert!(core.details().is_object());
    }
    assert!(passed > ROUNDS, "{passed} sound frames passed");
}
