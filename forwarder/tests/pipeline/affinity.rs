//! Make before break for functions that keep state: flows stay on the path they know.

use crate::frames::{Flow, WEB};
use crate::world::{World, only};

/// A chain through `old` (SPI 10, back 11) or `new` (SPI 12, back 13); `there` and `back` are
/// where the rules point.
fn chain(generation: u32, there: u32, back: u32, old: &str) -> String {
    let path = |spi: u32, reverse: u32, name: &str, direction: &str, port: &str, affinity: &str| {
        format!(
            r#"
    [[paths]]
    spi = {spi}
    reverse = {reverse}
    {affinity}
    hops = [
        {{ si = 255, to = {{ function = {{ name = "{name}", direction = "{direction}" }} }} }},
        {{ si = 254, to = {{ egress = {{ port = "{port}" }} }} }},
    ]"#
        )
    };
    let mut text = format!(
        r#"
    generation = {generation}
    ports = [{{ name = "a" }}, {{ name = "b" }}, {{ name = "old-in" }}, {{ name = "old-out" }}, {{ name = "new-in" }}, {{ name = "new-out" }}]
    [[functions]]
    name = "old"
    attachment = {{ two-leg = {{ inside = "old-in", outside = "old-out" }} }}
    [[functions]]
    name = "new"
    attachment = {{ two-leg = {{ inside = "new-in", outside = "new-out" }} }}
    [[rules]]
    name = "there"
    match = {{ port = "a" }}
    action = {{ path = {{ spi = {there}, si = 255 }} }}
    [[rules]]
    name = "back"
    match = {{ port = "b" }}
    action = {{ path = {{ spi = {back}, si = 255 }} }}"#
    );
    text += &path(12, 13, "new", "forward", "b", "affinity = \"web\"");
    text += &path(13, 12, "new", "reverse", "a", "affinity = \"web\"");
    if old != "gone" {
        let affinity = if old == "kept" {
            "affinity = \"web\""
        } else {
            ""
        };
        text += &path(10, 11, "old", "forward", "b", affinity);
        text += &path(11, 10, "old", "reverse", "a", affinity);
    }
    text
}

const LATER: Flow = Flow {
    source: ("10.0.1.1", 50_001),
    destination: WEB.destination,
};

#[test]
fn a_known_flow_stays_while_its_path_drains_and_a_new_one_moves() {
    let mut world = World::new(&chain(1, 10, 11, "kept"));
    only(world.port("a", &WEB.tcp(2, &[], &[])), "old-in");
    world.install(&chain(2, 12, 13, "kept"));
    only(world.port("a", &WEB.tcp(0x10, &[], &[])), "old-in");
    only(world.port("a", &LATER.tcp(2, &[], &[])), "new-in");
    // Again under tables that change something else.
    world.install(&chain(3, 12, 13, "kept"));
    only(world.port("a", &WEB.tcp(0x10, &[], &[])), "old-in");
    // The drain is over.
    world.install(&chain(4, 12, 13, "gone"));
    only(world.port("a", &WEB.tcp(0x10, &[], &[])), "new-in");
    only(world.port("a", &LATER.tcp(0x10, &[], &[])), "new-in");
}

#[test]
fn answers_take_the_path_that_belongs_to_the_one_they_answer() {
    // The two ends of a chain are never turned at the same moment, in either order.
    for (there, back) in [(12, 11), (10, 13)] {
        let mut world = World::new(&chain(1, there, back, "kept"));
        let (inside, outside) = if there == 12 {
            ("new-in", "new-out")
        } else {
            ("old-in", "old-out")
        };
        only(world.port("a", &WEB.tcp(2, &[], &[])), inside);
        only(world.port(outside, &WEB.tcp(2, &[], &[])), "b");
        only(world.port("b", &WEB.back().tcp(0x12, &[], &[])), outside);
        only(world.port(inside, &WEB.back().tcp(0x12, &[], &[])), "a");
    }
}

#[test]
fn a_dead_path_holds_no_flow_and_neither_does_a_stranger() {
    let mut world = World::new(&chain(1, 10, 11, "kept"));
    only(world.port("a", &WEB.tcp(2, &[], &[])), "old-in");
    // The controller takes the affinity off a path whose function has died.
    world.install(&chain(2, 12, 13, "dead"));
    only(world.port("a", &WEB.tcp(0x10, &[], &[])), "new-in");
}

#[test]
fn flows_that_are_refused_by_a_new_rule_do_not_stay() {
    let mut world = World::new(&chain(1, 10, 11, "kept"));
    only(world.port("a", &WEB.tcp(2, &[], &[])), "old-in");
    let refused = chain(2, 12, 13, "kept").replacen(
        "action = { path = { spi = 12, si = 255 } }",
        "action = \"drop\"",
        1,
    );
    world.install(&refused);
    assert!(world.port("a", &WEB.tcp(0x10, &[], &[])).is_empty());
}
