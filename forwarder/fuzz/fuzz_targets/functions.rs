//! A service function's life: the first octet chooses the core, the rest are steps: frames on
//! any leg, frames that come back, time that passes, metadata around frames. A packet that was
//! sound and passes is sound afterwards. Anything at all is also read as a firewall's rules.
#![no_main]

#[path = "../../tests/pipeline/steps/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the tests use more of it")]
mod steps;

use kc_forwarder::frame::{Checksum, Frame};
use kc_forwarder::wire::checksum;
use kc_forwarder::wire::ipv4;
use kc_forwarder::wire::summary::Summary;
use kc_function::dpi::Dpi;
use kc_function::echo::Echo;
use kc_function::firewall::{self, Firewall};
use kc_function::function::{Emissions, Legs, ServiceFunction, Side, Verdict};
use kc_function::loadbalancer::{LoadBalancer, Policy, Setup};
use kc_function::nat::Nat;
use libfuzzer_sys::fuzz_target;
use std::collections::VecDeque;
use steps::{Step, Steps, mend};

const RULES: &str = "\
    reject udp from any to any port 53\n\
    deny tcp from any to any port 1-70\n\
    allow tcp from 10.0.0.0/8 to any port 80 context 0xfff6:1=01020304\n\
    reject icmp from any to fd00::/16\n\
    default allow";

const POLICY: Policy = Policy {
    interval_ms: 1000,
    timeout_ms: 500,
    rise: 1,
    fall: 2,
};

const LEGS: Legs = Legs {
    inside: [2, 0, 0, 0, 0, 1],
    outside: [2, 0, 0, 0, 0, 2],
};

fn core(number: u8) -> Box<dyn ServiceFunction> {
    let blocks = ["bad.example", "ssh", "unknown"].map(|block| block.parse().unwrap());
    let balancer = |health| Setup {
        vip: "10.0.0.50:80".parse().unwrap(),
        backends: vec![
            "10.0.0.2:80".parse().unwrap(),
            "10.0.0.3:80".parse().unwrap(),
        ],
        address: "10.0.0.50/24".parse().unwrap(),
        gateway: None,
        health,
    };
    match number % 6 {
        0 => Box::new(Firewall::new(firewall::parse("fuzz", RULES).unwrap(), true)),
        1 => Box::new(Nat::new([10, 0, 0, 100].into())),
        2 => Box::new(Dpi::new(blocks.to_vec())),
        3 => Box::new(LoadBalancer::new(balancer(None)).unwrap()),
        4 => Box::new(LoadBalancer::new(balancer(Some(POLICY))).unwrap()),
        _ => Box::new(Echo::new(vec![[10, 0, 0, 100].into()])),
    }
}

/// Whether a packet is whole IPv4 or IPv6 and its checksums are right.
fn is_sound(frame: &[u8]) -> bool {
    let ip = &frame[Summary::of(frame, None).l3..];
    ipv4::Packet::new_checked(ip).map_or(true, |ip| ip.verify_checksum())
        && checksum::state(ip) == checksum::State::Complete
}

struct Life {
    core: Box<dyn ServiceFunction>,
    out: Emissions,
    /// What left lately, by which side.
    recent: VecDeque<(Side, Vec<u8>)>,
    now_ms: u64,
}

impl Life {
    fn step(&mut self, step: &Step<'_>) {
        let Step {
            a, b, c, octets, ..
        } = *step;
        let side = [Side::Inside, Side::Outside, Side::Only][usize::from(a) % 3];
        match step.number % 4 {
            0 => {
                let mut bytes = octets.to_vec();
                if b & 0x80 != 0 {
                    mend::frame(&mut bytes, b & 0x40 != 0);
                }
                self.frame(side, &bytes);
            }
            1 if !self.recent.is_empty() => {
                let last = self.recent.len() - 1 - usize::from(a) % self.recent.len();
                let (from, mut bytes) = self.recent[last].clone();
                match b & 3 {
                    1 => mend::turn(&mut bytes, false),
                    2 => mend::turn(&mut bytes, true),
                    _ => {}
                }
                for patch in octets.chunks_exact(3) {
                    let place = usize::from(u16::from_be_bytes([patch[0], patch[1]]));
                    if let Some(octet) = bytes.get_mut(place) {
                        *octet = patch[2];
                    }
                }
                if b & 0x80 != 0 {
                    mend::frame(&mut bytes, false);
                }
                self.frame(if c & 1 == 0 { from } else { from.other() }, &bytes);
            }
            2 => {
                let until = self.now_ms + u64::from(u16::from_be_bytes([a, b]));
                // A bounded number of times: the shell also sleeps a little.
                for _ in 0..8 {
                    let due = self.core.deadline(self.now_ms);
                    let Some(due) = due.filter(|due| *due <= until) else {
                        break;
                    };
                    self.now_ms = due.max(self.now_ms);
                    self.core.tick(self.now_ms, &mut self.out);
                    self.collect();
                }
                self.now_ms = until;
            }
            3 => self.core.surround(octets),
            _ => {}
        }
        self.collect();
    }

    fn frame(&mut self, side: Side, bytes: &[u8]) {
        let mut frame = Frame::copy_of(bytes);
        // As the shell hands them in.
        frame.offload.checksum = Checksum::Complete;
        let sound = is_sound(bytes);
        self.now_ms += 1;
        let verdict = self
            .core
            .process(self.now_ms, side, &mut frame, &mut self.out);
        let to = match verdict {
            Verdict::Pass => side.other(),
            Verdict::Return => side,
            Verdict::Consumed | Verdict::Drop(_) => return,
        };
        assert_eq!(frame.len(), bytes.len());
        if sound {
            assert!(is_sound(frame.bytes()), "{:02x?}", frame.bytes());
        }
        self.left(to, frame.bytes());
    }

    fn left(&mut self, side: Side, bytes: &[u8]) {
        if self.recent.len() == 8 {
            self.recent.pop_front();
        }
        self.recent.push_back((side, bytes.to_vec()));
    }

    fn collect(&mut self) {
        for (side, frame) in std::mem::take(&mut self.out.frames) {
            assert!(frame.len() >= 42 && frame.len() <= 1514, "{}", frame.len());
            self.left(side, frame.bytes());
        }
    }
}

fuzz_target!(|data: &[u8]| {
    if let Some((&number, steps)) = data.split_first() {
        let mut life = Life {
            core: core(number),
            out: Emissions::default(),
            recent: VecDeque::new(),
            now_ms: 0,
        };
        life.core.attach(LEGS);
        Steps(steps).for_each(|step| life.step(&step));
        assert!(life.core.details().is_object());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        if let Err(error) = firewall::parse("fuzz", text) {
            assert!(!error.to_string().is_empty());
        }
    }
});
