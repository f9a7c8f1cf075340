//! Congestion marks and DSCP through tunnels. RFC 6040.

use crate::frames::{Flow, WEB, gpe, is_sound, nsh, opened, vxlan};
use crate::limits::{TUNNEL, V6};
use crate::world::{World, only};
use kc_forwarder::frame::{Frame, Offload};
use kc_forwarder::pipeline::{Ingress, Outputs};
use kc_forwarder::wire::checksum;
use kc_forwarder_api::DropReason;

/// An SFF between two others.
const MIDDLE: &str = r#"
    ports = [{ name = "out" }]
    underlay = { address = "192.168.50.2", mtu = 1500 }
    [[tunnels]]
    name = "t"
    transport = { vxlan-gpe = { remote = "192.168.50.3", vni = 5 } }
    [[tunnels]]
    name = "former"
    transport = { vxlan-gpe = { remote = "192.168.50.1", vni = 5 } }
    [[paths]]
    spi = 1
    hops = [{ si = 255, to = { tunnel = { name = "t" } } }, { si = 254, to = { egress = { port = "out" } } }]
"#;

/// A packet with this traffic class.
fn classed(flow: Flow, class: u8) -> Vec<u8> {
    let mut frame = flow.udp(b"x");
    if frame[14] >> 4 == 4 {
        let old = [frame[14], frame[15]];
        frame[15] = class;
        let sum = u16::from_be_bytes([frame[24], frame[25]]);
        let sum = checksum::update_slice(sum, &old, &[frame[14], class]);
        frame[24..26].copy_from_slice(&sum.to_be_bytes());
    } else {
        frame[14] = 0x60 | class >> 4;
        frame[15] = class << 4;
    }
    frame
}

#[test]
fn a_classifier_copies_the_class_outwards() {
    let mut world = World::new(TUNNEL);
    for flow in [WEB, V6] {
        for class in [0, 1, 2, 3, 0xb8, 0xba, 0xff] {
            let sent = world.port("a", &classed(flow, class));
            assert_eq!((sent.len(), sent[0].class), (1, class));
        }
    }
    let sent = world.port("a", &crate::frames::arp_request());
    assert_eq!(sent[0].class, 0);
}

#[test]
fn a_mark_made_anywhere_on_the_way_reaches_the_receiver() {
    for flow in [WEB, V6] {
        // Two middle SFFs and the end; the mark is made in front of each in turn.
        for marked in 0..3 {
            let mut payload = gpe(5, &nsh(1, 255, 63, [0; 16], &classed(flow, 0xb8 | 2)));
            let mut class = 0xb8 | 2;
            for hop in 0..2 {
                let mut middle = World::new(MIDDLE);
                if hop == marked {
                    class |= 3;
                }
                let mut sent = middle.gpe_marked("192.168.50.1", &payload, class);
                class = sent[0].class;
                assert_eq!(class, if hop >= marked { 0xb8 | 3 } else { 0xb8 | 2 });
                payload = sent.remove(0).bytes;
            }
            let (_, _, ttl, inner) = opened(&payload);
            let last = gpe(5, &nsh(1, 254, ttl, [0; 16], &inner));
            let mut end = World::new(MIDDLE);
            let class = if marked == 2 { class | 3 } else { class };
            let out = only(end.gpe_marked("192.168.50.1", &last, class), "out");
            assert_eq!(out, classed(flow, 0xb8 | 3));
            assert!(is_sound(&out));
        }
    }
}

#[test]
fn a_mark_that_the_sender_would_not_understand_is_a_loss_it_does() {
    let mut world = World::new(MIDDLE);
    let payload = gpe(5, &nsh(1, 254, 63, [0; 16], &classed(WEB, 0xb8)));
    assert!(world.gpe_marked("192.168.50.1", &payload, 3).is_empty());
    assert_eq!(world.drops(DropReason::EcnNotCapable), 1);
    // An outer class without a mark is nobody's loss, and its DSCP stays outside.
    for class in [0, 1, 2, 0x28] {
        let out = only(world.gpe_marked("192.168.50.1", &payload, class), "out");
        assert_eq!(out, classed(WEB, 0xb8));
    }
}

#[test]
fn segments_carry_marks_too() {
    let tables = r#"
        ports = [{ name = "a" }]
        underlay = { address = "192.168.50.1" }
        segments = [{ vni = 7, ports = ["a"], peers = ["192.168.50.2"] }]
    "#;
    let mut world = World::new(tables);
    assert_eq!(world.port("a", &classed(WEB, 2))[0].class, 2);
    let mut marked = |class: u8| {
        let mut frame = Frame::copy_of(&vxlan(7, &classed(WEB, class)));
        frame.offload = Offload {
            outer_class: 3,
            ..Offload::default()
        };
        let remote = "192.168.50.2".parse().unwrap();
        let mut out = Outputs::default();
        let batch = &mut vec![frame];
        let ingress = Ingress::Vxlan { remote };
        world.pipeline.process(0, ingress, batch, &mut out);
        let (_, frame) = out.frames.pop()?;
        Some(frame.bytes().to_vec())
    };
    assert_eq!(marked(2), Some(classed(WEB, 3)));
    assert_eq!(marked(0), None);
    assert_eq!(world.drops(DropReason::EcnNotCapable), 1);
}
