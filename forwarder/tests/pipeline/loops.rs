//! Tables that contradict each other: whatever they say, a packet ends.

use crate::frames::WEB;
use crate::world::{Sent, World, only};
use kc_forwarder_api::DropReason;

fn half(own: u8, other: u8, hop: &str) -> World {
    World::new(&format!(
        r#"
        ports = [{{ name = "in" }}, {{ name = "a" }}, {{ name = "b" }}]
        [underlay]
        address = "192.168.50.{own}"
        [[tunnels]]
        name = "other"
        transport = {{ vxlan-gpe = {{ remote = "192.168.50.{other}", vni = 100 }} }}
        [[functions]]
        name = "f"
        attachment = {{ two-leg = {{ inside = "a", outside = "b" }} }}
        [[groups]]
        name = "g"
        members = [{{ to = {{ tunnel = {{ name = "other" }} }} }}]
        [[rules]]
        name = "in"
        match = {{ port = "in" }}
        action = {{ path = {{ spi = 1, si = 255 }} }}
        [[paths]]
        spi = 1
        hops = [{hop}]
        "#
    ))
}

/// Carries what is sent to and fro until nothing is; says how often it crossed.
fn ping_pong(worlds: &mut [World; 2], first: Vec<Sent>) -> usize {
    let (mut at, mut sent) = (0, first);
    for crossed in 0.. {
        assert!(crossed < 1000, "a packet goes round for ever");
        let Some(frame) = sent.first() else {
            return crossed;
        };
        assert_eq!(sent.len(), 1);
        let (here, there) = (["192.168.50.1", "192.168.50.2"][at], 1 - at);
        sent = worlds[there].gpe(here, &frame.bytes);
        if let Some(frame) = sent.first()
            && frame.via == "a"
        {
            sent = worlds[there].port("b", &frame.bytes.clone());
        }
        at = there;
    }
    unreachable!("1000 crossings")
}

#[test]
fn two_sffs_that_send_to_each_other_end_a_packet_by_its_ttl() {
    for hop in [
        "{ si = 255, to = { tunnel = { name = \"other\" } } }",
        "{ si = 255, to = { group = { name = \"g\" } } }",
    ] {
        let mut worlds = [half(1, 2, hop), half(2, 1, hop)];
        let first = worlds[0].port("in", &WEB.udp(b"round and round"));
        // TTL 63 leaves the classifier, and the SFF that makes it 0 drops it.
        assert_eq!(ping_pong(&mut worlds, first), 63);
        let expired = worlds
            .each_ref()
            .map(|world| world.drops(DropReason::TtlExpired));
        assert_eq!(expired, [0, 1], "{hop}");
    }
}

#[test]
fn a_round_through_a_function_ends_by_its_index_or_its_ttl() {
    // Each box serves the packet and hands it to the other, at every index.
    let hops: Vec<_> = (1..=255)
        .rev()
        .map(|si| match si % 2 {
            1 => format!("{{ si = {si}, to = {{ function = {{ name = \"f\" }} }} }}"),
            _ => format!("{{ si = {si}, to = {{ tunnel = {{ name = \"other\" }} }} }}"),
        })
        .collect();
    let [even, odd] = [0, 1].map(|shift| {
        let turned = hops.iter().enumerate().map(|(place, hop)| {
            let si = 255 - place;
            if shift == 0 || place == 0 {
                hop.clone()
            } else {
                // The other box serves where this one hands on.
                match si % 2 {
                    0 => format!("{{ si = {si}, to = {{ function = {{ name = \"f\" }} }} }}"),
                    _ => format!("{{ si = {si}, to = {{ tunnel = {{ name = \"other\" }} }} }}"),
                }
            }
        });
        turned.collect::<Vec<_>>().join(", ")
    });
    let mut worlds = [half(1, 2, &even), half(2, 1, &odd)];
    let inside = only(worlds[0].port("in", &WEB.udp(b"round and round")), "a");
    let first = worlds[0].port("b", &inside);
    let crossed = ping_pong(&mut worlds, first);
    assert_eq!(crossed, 63);
    let dropped: u64 = worlds.iter().map(World::all_drops).sum();
    assert_eq!(dropped, 1);
}

#[test]
fn a_rule_may_say_how_far_its_packets_get() {
    let hop = "{ si = 255, to = { tunnel = { name = \"other\" } } }";
    let mut worlds = [half(1, 2, hop), half(2, 1, hop)];
    let text = toml::to_string(worlds[0].pipeline.tables().tables()).unwrap();
    worlds[0].install(&text.replace(
        "si = 255\n\n[rules.action.path.metadata",
        "si = 255\nttl = 5\n\n[rules.action.path.metadata",
    ));
    let first = worlds[0].port("in", &WEB.udp(b"not far"));
    assert_eq!(ping_pong(&mut worlds, first), 5);
}
