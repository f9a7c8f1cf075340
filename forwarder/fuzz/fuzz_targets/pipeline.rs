//! Tables as JSON up to the first zero octet, then frames: an ingress, a length, octets.
#![no_main]

use kc_forwarder::frame::Frame;
use kc_forwarder::pipeline::{Compiled, Ingress, Outputs, Pipeline, PortIndex, PortInfo};
use kc_forwarder_api::Tables;
use libfuzzer_sys::fuzz_target;
use std::net::Ipv4Addr;
use std::sync::{Arc, OnceLock};

/// One of everything, for inputs that bring no tables of their own.
const TABLES: &str = include_str!("pipeline.toml");

fn fallback() -> Arc<Compiled> {
    static ONCE: OnceLock<Arc<Compiled>> = OnceLock::new();
    let make = || Arc::new(Compiled::new(toml::from_str(TABLES).unwrap()).unwrap());
    Arc::clone(ONCE.get_or_init(make))
}

fuzz_target!(|data: &[u8]| {
    let end = data.iter().position(|octet| *octet == 0).unwrap_or(0);
    let (text, mut frames) = data.split_at(end);
    let own = serde_json::from_slice::<Tables>(text).ok();
    let own = own.and_then(|tables| Compiled::new(tables).ok());
    let compiled = own.map_or_else(fallback, Arc::new);
    let ports = u16::try_from(compiled.ports().len()).unwrap_or(u16::MAX);
    let mut pipeline = Pipeline::new(compiled);
    for port in 0..ports {
        let info = PortInfo {
            up: true,
            mtu: 1500,
            mac: [2, 0, 0, 0, 0, 1],
        };
        pipeline.set_port(PortIndex(port), info);
    }
    let mut out = Outputs::default();
    let mut now_ms = 0;
    while let [ingress, high, low, rest @ ..] = frames {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(rest.len());
        let (frame, after) = rest.split_at(length);
        frames = after;
        let remote = Ipv4Addr::new(192, 168, 50, 2).into();
        let ingress = match ingress {
            0xfe => Ingress::Gpe { remote },
            0xff => Ingress::Vxlan { remote },
            port => Ingress::Port(PortIndex(u16::from(*port) % (ports + 1))),
        };
        now_ms += 1;
        pipeline.process(now_ms, ingress, &mut vec![Frame::copy_of(frame)], &mut out);
        now_ms += u64::from(*high);
        pipeline.tick(now_ms, &mut out);
        assert!(pipeline.balance().holds());
        for (_, frame) in out.frames.drain(..) {
            out.pool.give(frame);
        }
    }
});
