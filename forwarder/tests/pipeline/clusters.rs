//! Clusters: one function on three boxes, of which only its own forwarder knows whether it lives. What
//! comes to the box of a dead member is handed on to the next in its flow's order, and never back.

use crate::frames::Flow;
use crate::world::{Sent, World};
use kc_forwarder_api::DropReason;
use std::collections::BTreeMap;

/// Boxes 1 to 3: the client is behind the first, the server behind the third, each has a member.
fn tables(here: usize, standby: &[usize]) -> String {
    let others = (1..=3).filter(|other| *other != here);
    let tunnels: String = others
        .map(|other| {
            format!(
                "[[tunnels]]\nname = \"box{other}\"\n\
                 transport = {{ vxlan-gpe = {{ remote = \"192.168.50.{other}\", vni = 100 }} }}\n"
            )
        })
        .collect();
    let members = (1..=3).map(|box_| {
        let to = match box_ == here {
            true => "{ function = { name = \"fw\" } }".to_owned(),
            false => format!("{{ tunnel = {{ name = \"box{box_}\" }} }}"),
        };
        let backup = standby.contains(&box_);
        format!("{{ to = {to}, key = \"fw-{box_}\", backup = {backup} }}")
    });
    let end = |at: usize, port: &str| match at == here {
        true => format!("{{ egress = {{ port = \"{port}\" }} }}"),
        false => format!("{{ tunnel = {{ name = \"box{at}\" }} }}"),
    };
    let path = |spi: u32, reverse: u32, direction: &str, end: String| {
        format!(
            "[[paths]]\nspi = {spi}\nreverse = {reverse}\nhops = [\
             {{ si = 255, to = {{ group = {{ name = \"fw\", direction = \"{direction}\" }} }} }}, \
             {{ si = 254, to = {end} }}]\n"
        )
    };
    let rule = |name: &str, spi: u32| {
        format!(
            "[[rules]]\nname = \"{name}\"\nmatch = {{ port = \"{name}\" }}\n\
             action = {{ path = {{ spi = {spi}, si = 255 }} }}\n"
        )
    };
    let (own, rules) = match here {
        1 => (", { name = \"client\" }", rule("client", 10)),
        3 => (", { name = \"server\" }", rule("server", 11)),
        _ => ("", String::new()),
    };
    format!(
        "ports = [{{ name = \"a\" }}, {{ name = \"b\" }}{own}]\n\
         [underlay]\naddress = \"192.168.50.{here}\"\n{tunnels}\
         [[functions]]\nname = \"fw\"\n\
         attachment = {{ two-leg = {{ inside = \"a\", outside = \"b\" }} }}\n\
         [[groups]]\nname = \"fw\"\nkeep-arrivals = true\nmembers = [{}]\n{rules}{}{}",
        members.collect::<Vec<_>>().join(", "),
        path(10, 11, "forward", end(3, "server")),
        path(11, 10, "reverse", end(1, "client")),
    )
}

fn flow(port: u16) -> Flow {
    Flow {
        source: ("10.0.1.1", port),
        destination: ("10.0.3.2", 443),
    }
}

/// The box whose function a frame went through, and how many tunnels it passed; nothing when it
/// was dropped because nobody is left.
fn carry(boxes: &mut [World], at: usize, port: &str, frame: &[u8]) -> Option<(usize, usize)> {
    let (mut here, mut sent) = (at, boxes[at - 1].port(port, frame));
    let (mut through, mut tunnels) = (None, 0);
    loop {
        let [Sent { via, bytes, .. }] = &sent[..] else {
            assert!(sent.is_empty() && through.is_none(), "{sent:?}");
            assert!(boxes[here - 1].drops(DropReason::GroupDown) > 0);
            return None;
        };
        let (via, bytes) = (via.clone(), bytes.clone());
        match via.as_str() {
            "client" | "server" => return through.map(|function| (function, tunnels)),
            "a" | "b" => {
                assert_eq!(through.replace(here), None, "through two functions");
                let out = if via == "a" { "b" } else { "a" };
                sent = boxes[here - 1].port(out, &bytes);
            }
            _ => {
                let next: usize = via.rsplit_once('.').unwrap().1.parse().unwrap();
                sent = boxes[next - 1].gpe(&format!("192.168.50.{here}"), &bytes);
                (here, tunnels) = (next, tunnels + 1);
                assert!(tunnels < 8, "goes round");
            }
        }
    }
}

#[test]
fn whoever_is_dead_each_flow_goes_through_one_that_lives_and_its_answers_too() {
    for standby in [&[][..], &[2, 3], &[1, 3], &[1, 2]] {
        for dead in 0..8_u8 {
            let is_dead = |number: usize| dead & (1 << (number - 1)) != 0;
            let mut boxes: Vec<_> = (1..=3).map(|n| World::new(&tables(n, standby))).collect();
            for number in (1..=3).filter(|number| is_dead(*number)) {
                boxes[number - 1].set_port("a", false, 1500);
            }
            let mut seen: BTreeMap<usize, u32> = BTreeMap::new();
            for port in 1024..1124 {
                let there = carry(&mut boxes, 1, "client", &flow(port).udp(b"x"));
                let back = carry(&mut boxes, 3, "server", &flow(port).back().udp(b"x"));
                let function = there.map(|(function, _)| function);
                assert_eq!(function, back.map(|(function, _)| function));
                match function {
                    Some(function) => *seen.entry(function).or_default() += 1,
                    // Where the last of the order is dead, those before it may not be asked again.
                    None => assert_eq!(dead, 7, "standby {standby:?}, dead {dead:b}"),
                }
                assert!(function.is_none_or(|function| !is_dead(function)));
            }
            let alive = (1..=3).filter(|number| !is_dead(*number));
            let active = alive.clone().filter(|number| !standby.contains(number));
            let serving = match active.count() {
                0 if standby.is_empty() => 0,
                // Several that stand by share what they get.
                0 => alive.count(),
                active => active,
            };
            assert_eq!(
                seen.len(),
                serving,
                "standby {standby:?}, dead {dead:b}: {seen:?}"
            );
        }
    }
}
