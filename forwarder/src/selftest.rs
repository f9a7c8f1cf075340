//! Known frames through the whole data plane, in memory: shows that this build, on this
//! processor, still makes the octets it should. Needs no rights and opens nothing.

use crate::frame::{Checksum, Frame};
use crate::pipeline::{
    Compiled, Egress, Ingress, Outputs, Pipeline, PortIndex, PortInfo, TableError,
};
use kc_forwarder_api::{DropReason, Tables};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

/// Why a build fails its own test.
#[derive(Debug, thiserror::Error)]
pub enum SelfTestError {
    /// The built-in tables do not parse.
    #[error("the built-in tables are not read")]
    Syntax(#[from] toml::de::Error),
    /// The built-in tables are refused.
    #[error("the built-in tables are refused")]
    Tables(#[from] TableError),
    /// Frames came out that should not, or not the ones that should.
    #[error("{check}: expected {expected}, got {got}")]
    Wrong {
        /// Which check.
        check: &'static str,
        /// What should have come out.
        expected: String,
        /// What did.
        got: String,
    },
}

/// A classifier with a function, a tunnel and a segment.
const TABLES: &str = r#"
    generation = 1
    rules = [{ name = "all", match = { port = "client" }, action = { path = { spi = 100, si = 255 } } }]
    [underlay]
    address = "192.168.50.1"
    [[ports]]
    name = "client"
    [[ports]]
    name = "inside"
    [[ports]]
    name = "outside"
    [[ports]]
    name = "member"
    [[tunnels]]
    name = "next"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[functions]]
    name = "fw"
    attachment = { two-leg = { inside = "inside", outside = "outside" } }
    [[paths]]
    spi = 100
    hops = [
        { si = 255, to = { function = { name = "fw" } } },
        { si = 254, to = { tunnel = { name = "next" } } },
    ]
    [[paths]]
    spi = 101
    hops = [{ si = 254, to = { egress = { port = "client" } } }]
    [[segments]]
    vni = 7
    ports = ["member"]
    peers = ["192.168.50.3"]
"#;

const CLIENT: PortIndex = PortIndex(0);
const INSIDE: PortIndex = PortIndex(1);
const OUTSIDE: PortIndex = PortIndex(2);
const MEMBER: PortIndex = PortIndex(3);

/// Ethernet, IPv4 10.0.0.1 to 10.0.0.2, UDP 1000 to 2000, "self-test.".
const FRAME: &str = "02000000000202000000000108004500002600014000401126c40a0000010a000002\
                     03e807d00012f92d73656c662d746573742e";

/// Where its UDP checksum is, and what stands there before it is finished: the pseudo-header's sum.
const CHECKSUM: (usize, [u8; 2]) = (40, [0x14, 0x26]);

/// VXLAN-GPE with VNI 100 (draft-ietf-nvo3-vxlan-gpe: flags I and P, next protocol NSH).
const GPE: &str = "0c00000400006400";

/// NSH, MD type 1, TTL 63, SPI 100, SI 254, next protocol Ethernet, no context.
const NSH: &str = "0fc60103000064fe00000000000000000000000000000000";

/// VXLAN with VNI 7.
const VXLAN: &str = "0800000000000700";

/// Runs all checks and tells what each has shown.
///
/// # Errors
/// The first check that fails.
pub fn run() -> Result<Vec<&'static str>, SelfTestError> {
    let mut bench = Bench::new()?;
    let frame = octets(FRAME);
    let next = (IpAddr::V4(Ipv4Addr::new(192, 168, 50, 2)), 4790);
    let peer = (IpAddr::V4(Ipv4Addr::new(192, 168, 50, 3)), 4789);
    let tunnelled = octets(&[GPE, NSH, FRAME].concat());
    let mut returning = octets(&[GPE, NSH, FRAME].concat());
    if let Some(spi) = returning.get_mut(14) {
        *spi = 101;
    }
    let mut open = frame.clone();
    let (at, pseudo_header) = CHECKSUM;
    if let Some(place) = open.get_mut(at..at + 2) {
        place.copy_from_slice(&pseudo_header);
    }
    let mut unfinished = Frame::copy_of(&open);
    unfinished.offload.checksum = Checksum::Partial {
        start: 34,
        offset: 6,
    };

    let checks: [(&'static str, Ingress, Frame, Out); 7] = [
        (
            "classifier: a frame enters its path and its first function, without NSH",
            Ingress::Port(CLIENT),
            Frame::copy_of(&frame),
            Out::Port(INSIDE, frame.clone()),
        ),
        (
            "proxy: on return the frame has its NSH back, one lower, in VXLAN-GPE",
            Ingress::Port(OUTSIDE),
            Frame::copy_of(&frame),
            Out::Tunnel(next, tunnelled),
        ),
        (
            "end of path: NSH is removed and the frame leaves by its port",
            Ingress::Gpe { remote: next.0 },
            Frame::copy_of(&returning),
            Out::Port(CLIENT, frame.clone()),
        ),
        (
            "checksums: one that the sender left open is finished",
            Ingress::Port(CLIENT),
            unfinished,
            Out::Port(INSIDE, frame.clone()),
        ),
        (
            "segment: an unknown address is sent to the peer in plain VXLAN",
            Ingress::Port(MEMBER),
            Frame::copy_of(&frame),
            Out::Tunnel(peer, octets(&[VXLAN, FRAME].concat())),
        ),
        (
            "segment: a frame from the peer reaches the member",
            Ingress::Vxlan { remote: peer.0 },
            Frame::copy_of(&octets(&[VXLAN, FRAME].concat())),
            Out::Port(MEMBER, frame),
        ),
        (
            "drops: an NSH that is longer than its frame is counted and goes nowhere",
            Ingress::Gpe { remote: next.0 },
            Frame::copy_of(returning.get(..20).unwrap_or_default()),
            Out::Nothing(DropReason::NshLength),
        ),
    ];
    checks
        .into_iter()
        .map(|(check, ingress, frame, expected)| {
            let got = bench.process(ingress, frame);
            if got == expected {
                return Ok(check);
            }
            let (expected, got) = (format!("{expected:x?}"), format!("{got:x?}"));
            Err(SelfTestError::Wrong {
                check,
                expected,
                got,
            })
        })
        .collect()
}

/// What came of one frame.
#[derive(Debug, PartialEq, Eq)]
enum Out {
    Port(PortIndex, Vec<u8>),
    Tunnel((IpAddr, u16), Vec<u8>),
    Nothing(DropReason),
    Several(usize),
}

/// A pipeline with all its ports up.
struct Bench {
    pipeline: Pipeline,
    outputs: Outputs,
    now_ms: u64,
}

impl Bench {
    fn new() -> Result<Self, SelfTestError> {
        let tables: Tables = toml::from_str(TABLES)?;
        let mut pipeline = Pipeline::new(Arc::new(Compiled::new(tables)?));
        for port in [CLIENT, INSIDE, OUTSIDE, MEMBER] {
            pipeline.set_port(
                port,
                PortInfo {
                    up: true,
                    mtu: 1500,
                    mac: [2, 0, 0, 0, 0, 0xff],
                },
            );
        }
        Ok(Self {
            pipeline,
            outputs: Outputs::default(),
            now_ms: 0,
        })
    }

    fn process(&mut self, ingress: Ingress, frame: Frame) -> Out {
        let before = self.pipeline.counters().drops;
        self.now_ms += 1;
        self.pipeline
            .process(self.now_ms, ingress, &mut vec![frame], &mut self.outputs);
        match self.outputs.frames.len() {
            0 => {
                let after = self.pipeline.counters().drops;
                let fresh = after
                    .into_iter()
                    .find(|(reason, n)| before.get(reason) != Some(n));
                fresh.map_or(Out::Several(0), |(reason, _)| Out::Nothing(reason))
            }
            1 => match self.outputs.frames.pop() {
                Some((Egress::Port(port), frame)) => Out::Port(port, frame.bytes().to_vec()),
                Some((Egress::Gpe { remote, .. } | Egress::Vxlan { remote, .. }, frame)) => {
                    Out::Tunnel((remote.ip(), remote.port()), frame.bytes().to_vec())
                }
                None => Out::Several(0),
            },
            several => {
                self.outputs.frames.clear();
                Out::Several(several)
            }
        }
    }
}

/// The octets of a hexadecimal text.
fn octets(text: &str) -> Vec<u8> {
    let digits: Vec<_> = text
        .chars()
        .filter_map(|digit| digit.to_digit(16))
        .collect();
    let octet = |pair: &[u32]| pair.iter().fold(0, |octet, digit| octet << 4 | digit);
    digits
        .chunks(2)
        .map(octet)
        .filter_map(|octet| u8::try_from(octet).ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_build_passes_its_own_test() {
        assert_eq!(run().unwrap().len(), 7);
    }

    #[test]
    fn the_built_in_frame_is_what_its_comment_says() {
        let frame = octets(FRAME);
        assert_eq!(frame.len(), 52);
        assert!(frame.ends_with(b"self-test."));
    }
}
