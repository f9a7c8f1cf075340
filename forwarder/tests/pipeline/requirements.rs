//! What an RFC asks and no other test shows; ARCHITECTURE.md has the table.

use crate::frames::{CLIENT, SERVER, WEB, ethernet, gpe, nsh, opened};
use crate::path::BOX1;
use crate::world::{World, only};
use kc_forwarder::wire::ethernet::ethertype;
use kc_forwarder_api::DropReason;

const NONE: [u8; 16] = [0; 16];

/// A frame that carries NSH in Ethernet, tagged or not.
fn frame_with_nsh(tagged: bool) -> Vec<u8> {
    let packet = nsh(11, 253, 63, NONE, &WEB.udp(b"?"));
    let mut frame = ethernet(SERVER, CLIENT, ethertype::NSH, &packet);
    if tagged {
        frame.splice(12..12, [0x81, 0, 0, 7]);
    }
    frame
}

#[test]
fn nsh_neither_enters_nor_leaves_by_an_access_port() {
    let mut world = World::new(BOX1);
    for tagged in [false, true] {
        let frame = frame_with_nsh(tagged);
        assert!(world.port("client", &frame).is_empty());
        // Somebody has put a frame that carries NSH on a path that ends here.
        let inside = gpe(100, &nsh(11, 253, 63, NONE, &frame));
        assert!(world.gpe("192.168.50.2", &inside).is_empty());
    }
    assert_eq!(world.drops(DropReason::NshOutside), 4);
    assert_eq!(world.all_drops(), 4);
}

/// One box where a firewall's answer from the middle goes on by tunnel.
const ANSWERS: &str = r#"
    [underlay]
    address = "192.168.50.1"
    [[ports]]
    name = "in"
    [[ports]]
    name = "out"
    [[tunnels]]
    name = "box2"
    transport = { vxlan-gpe = { remote = "192.168.50.2", vni = 100 } }
    [[functions]]
    name = "fw"
    attachment = { two-leg = { inside = "in", outside = "out" } }
    [[paths]]
    spi = 10
    reverse = 11
    hops = [
        { si = 255, to = { function = { name = "fw" } } },
        { si = 254, to = { tunnel = { name = "box2" } } },
    ]
    [[paths]]
    spi = 11
    reverse = 10
    hops = [
        { si = 200, to = { function = { name = "fw", direction = "reverse" } } },
        { si = 199, to = { tunnel = { name = "box2" } } },
    ]
"#;

#[test]
fn an_answer_from_the_middle_keeps_ttl_and_unassigned_bits() {
    let mut world = World::new(ANSWERS);
    let mut packet = nsh(10, 255, 9, *b"sixteen octets!!", &WEB.tcp(2, &[], &[]));
    packet[0] |= 0x10;
    packet[2] |= 0x50;
    only(world.gpe("192.168.50.2", &gpe(100, &packet)), "in");
    let reset = WEB.back().tcp(0x14, &[], &[]);
    let out = only(world.port("in", &reset), "gpe 192.168.50.2");
    let (spi, si, ttl, inner) = opened(&out);
    assert_eq!((spi, si, ttl), (11, 199, 8));
    assert_eq!(inner, reset);
    assert_eq!((out[8] & 0x30, out[10] & 0xf0), (0x10, 0x50));
}

#[test]
fn experiments_are_not_carried() {
    let mut world = World::new(BOX1);
    for next in [0xfe, 0xff] {
        // Towards another SFF, which takes all that is known.
        let mut packet = nsh(10, 254, 63, NONE, &WEB.udp(b"?"));
        only(
            world.gpe("192.168.50.2", &gpe(100, &packet)),
            "gpe 192.168.50.2",
        );
        packet[3] = next;
        assert!(world.gpe("192.168.50.2", &gpe(100, &packet)).is_empty());
    }
    assert_eq!(world.drops(DropReason::NshNextProtocol), 2);
}
