//! Tables and frames both from the fuzzer: the first octets choose tables of any sound shape,
//! the rest are steps: frames by any way in, time that passes, and new tables.
#![no_main]

#[path = "../../tests/pipeline/any_tables.rs"]
#[allow(dead_code, clippy::unwrap_used, reason = "the tests use more of it")]
mod any_tables;

use any_tables::{any_tables, vtep};
use kc_forwarder::frame::{Frame, Gso, GsoKind};
use kc_forwarder::pipeline::{Compiled, Ingress, Outputs, Pipeline, PortIndex, PortInfo};
use libfuzzer_sys::fuzz_target;
use std::sync::Arc;

const MTU: u16 = 1500;

/// Puts the tables of `seed` in force and returns how many ports they have.
fn install(pipeline: &mut Option<Pipeline>, seed: u64) -> u16 {
    let compiled = Arc::new(Compiled::new(any_tables(seed)).expect("sound by construction"));
    let ports = u16::try_from(compiled.ports().len()).unwrap_or(u16::MAX);
    let pipeline = match pipeline {
        Some(pipeline) => {
            pipeline.install(compiled);
            pipeline
        }
        None => pipeline.insert(Pipeline::new(compiled)),
    };
    for port in 0..ports {
        let info = PortInfo {
            up: true,
            mtu: MTU,
            mac: [2, 0, 0, 0, 0, 1],
        };
        pipeline.set_port(PortIndex(port), info);
    }
    ports
}

fuzz_target!(|data: &[u8]| {
    let Some((seed, mut steps)) = data.split_first_chunk::<2>() else {
        return;
    };
    let mut held = None;
    let mut ports = install(&mut held, u16::from_le_bytes(*seed).into());
    let mut out = Outputs::default();
    let mut now_ms = 0;
    while let [kind, class, high, low, rest @ ..] = steps {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (octets, after) = rest.split_at(length);
        steps = after;
        let remote = vtep(class >> 4, class & 4 == 0);
        let ingress = match kind {
            0xfb => {
                now_ms += u64::from(*class) * 16;
                if let Some(pipeline) = &mut held {
                    pipeline.tick(now_ms, &mut out);
                    pipeline.expire(now_ms);
                }
                None
            }
            0xfc | 0xfd => {
                ports = install(&mut held, u64::from(*class) << 8 | u64::from(*low));
                None
            }
            0xfe => Some(Ingress::Gpe { remote }),
            0xff => Some(Ingress::Vxlan { remote }),
            port => Some(Ingress::Port(PortIndex(u16::from(*port) % (ports + 1)))),
        };
        let Some(pipeline) = &mut held else { return };
        if let Some(ingress) = ingress {
            let mut frame = Frame::copy_of(octets);
            frame.offload.outer_class = *class;
            if kind & 0xc0 == 0x80 {
                let kind = [GsoKind::Tcp, GsoKind::Udp, GsoKind::Other][usize::from(class % 3)];
                let size = u16::from(*class) * 8;
                frame.offload.gso = Some(Gso { size, kind });
            }
            now_ms += 1;
            pipeline.process(now_ms, ingress, &mut vec![frame], &mut out);
        }
        let balance = pipeline.balance();
        assert!(balance.holds(), "{balance:?}");
        for (_, frame) in out.frames.drain(..) {
            assert!(frame.len() <= 65_536 + 512, "{}", frame.len());
            out.pool.give(frame);
        }
    }
});
