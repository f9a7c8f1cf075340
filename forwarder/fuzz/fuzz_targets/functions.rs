//! Frames, each a side, a length and octets, through the core of every service function.
#![no_main]

use kc_forwarder::frame::Frame;
use kc_function::dpi::Dpi;
use kc_function::echo::Echo;
use kc_function::firewall::{self, Firewall};
use kc_function::function::{Emissions, Legs, ServiceFunction, Side};
use kc_function::loadbalancer::{LoadBalancer, Setup};
use kc_function::nat::Nat;
use libfuzzer_sys::fuzz_target;

const RULES: &str =
    "reject udp from any to any port 53\ndeny tcp from any to any port 1-70\ndefault allow";

fn cores() -> [Box<dyn ServiceFunction>; 5] {
    let blocks = ["bad.example", "ssh", "unknown"].map(|block| block.parse().unwrap());
    let setup = Setup {
        vip: "10.0.0.50:80".parse().unwrap(),
        backends: vec!["10.0.0.2:80".parse().unwrap()],
        address: "10.0.0.50/24".parse().unwrap(),
        gateway: None,
        health: None,
    };
    [
        Box::new(Firewall::new(
            firewall::parse("fuzz", RULES).unwrap(),
            false,
        )),
        Box::new(Nat::new([10, 0, 0, 100].into())),
        Box::new(Dpi::new(blocks.to_vec())),
        Box::new(LoadBalancer::new(setup).unwrap()),
        Box::new(Echo::new(vec![[10, 0, 0, 100].into()])),
    ]
}

fuzz_target!(|data: &[u8]| {
    for mut core in cores() {
        core.attach(Legs {
            inside: [2, 0, 0, 0, 0, 1],
            outside: [2, 0, 0, 0, 0, 2],
        });
        let mut out = Emissions::default();
        let mut rest = data;
        let mut now_ms = 0;
        while let [side, high, low, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
            let (octets, after) = after.split_at(length);
            rest = after;
            let side = [Side::Inside, Side::Outside, Side::Only][usize::from(*side) % 3];
            core.process(now_ms, side, &mut Frame::copy_of(octets), &mut out);
            out.frames.clear();
            now_ms += 1;
        }
        assert!(core.details().is_object());
    }
    if let Ok(text) = std::str::from_utf8(data) {
        let _ = firewall::parse("fuzz", text);
    }
});
