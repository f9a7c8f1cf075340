//! Liveness of tunnels and functions, probe by probe.

use crate::world::{World, only};
use kc_forwarder_api::{DropReason, HealthEvent};

const TABLES: &str = r#"
    generation = 1
    ports = [{ name = "in" }, { name = "out" }, { name = "leg" }, { name = "aware" }]
    [underlay]
    address = "192.0.2.1"
    [[tunnels]]
    name = "b2"
    transport = { vxlan-gpe = { remote = "192.0.2.2", vni = 7 } }
    TUNNEL
    [[functions]]
    name = "two"
    attachment = { two-leg = { inside = "in", outside = "out" } }
    TWO
    [[functions]]
    name = "one"
    attachment = { one-leg = { port = "leg", mac = "02:00:00:00:00:09" } }
    ONE
    [[functions]]
    name = "aware"
    attachment = { nsh-aware = { port = "aware", mac = "02:00:00:00:00:0a" } }
    AWARE
"#;

const LIVENESS: &str = "liveness = { interval-ms = 100, multiplier = 3 }";

/// The tables, with liveness for `who`.
fn watching(who: &str) -> String {
    let mut tables = TABLES.to_owned();
    for name in ["TUNNEL", "TWO", "ONE", "AWARE"] {
        let liveness = match name {
            _ if name != who => "",
            "ONE" => "liveness = { interval-ms = 100, multiplier = 3, address = \"10.0.0.9\" }",
            _ => LIVENESS,
        };
        tables = tables.replace(name, liveness);
    }
    tables
}

fn states(world: &World) -> Vec<String> {
    let (tunnels, functions) = world.pipeline.health(world.now_ms);
    let tunnels = tunnels.iter().map(|it| format!("{} {}", it.name, it.state));
    let functions = functions
        .iter()
        .map(|it| format!("{} {}", it.name, it.state));
    tunnels.chain(functions).collect()
}

fn told(events: Vec<HealthEvent>) -> Vec<String> {
    let line = |event: &HealthEvent| format!("{} {}", event.subject, event.state);
    events.iter().map(line).collect()
}

/// Lets time pass to the next deadline.
fn next(world: &mut World) -> Vec<crate::world::Sent> {
    let due = world.pipeline.next_deadline().unwrap();
    world.now_ms = world.now_ms.max(due);
    world.tick()
}

#[test]
fn nothing_is_asked_and_nothing_waits_where_nobody_wants_to_know() {
    let mut world = World::new(&watching("NOBODY"));
    assert_eq!(world.pipeline.next_deadline(), None);
    assert_eq!(world.tick(), []);
    let unknown = ["b2 unknown", "two unknown", "one unknown", "aware unknown"];
    assert_eq!(states(&world), unknown);
}

#[test]
fn a_tunnel_lives_while_its_other_end_answers() {
    let mut world = World::new(&watching("TUNNEL"));
    let tables = watching("TUNNEL").replace("192.0.2.1", "192.0.2.3");
    let mut other = World::new(
        &tables
            .replace("192.0.2.2", "192.0.2.1")
            .replace("192.0.2.3", "192.0.2.2"),
    );
    let mut cut = false;
    let (mut events, mut last_answer) = (Vec::new(), 0);
    let mut deaths = Vec::new();
    for _ in 0..60 {
        for probe in next(&mut world) {
            assert_eq!(probe.via, "gpe 192.0.2.2");
            assert_eq!(probe.bytes.len(), 8 + 24 + 4 + 16, "short");
            if cut {
                continue;
            }
            let answer = only(other.gpe("192.0.2.1", &probe.bytes), "gpe 192.0.2.1");
            assert_eq!(
                answer.len(),
                probe.bytes.len(),
                "no longer than the question"
            );
            assert_eq!(world.gpe("192.0.2.2", &answer), []);
            last_answer = world.now_ms;
            // The same answer once more is nobody's.
            world.gpe("192.0.2.2", &answer);
        }
        for event in told(world.pipeline.health_events()) {
            if event.ends_with("dead") {
                deaths.push(world.now_ms - last_answer);
            }
            events.push(event);
        }
        cut = (2500..4000).contains(&world.now_ms);
    }
    let expected = ["tunnel b2 alive", "tunnel b2 dead", "tunnel b2 alive"];
    assert_eq!(events, expected);
    assert_eq!(deaths, [300], "three intervals after the last answer");
    assert!(world.drops(DropReason::NoPath) + world.drops(DropReason::TtlExpired) > 0);
}

#[test]
fn a_tunnel_that_never_answered_is_unknown_for_ever() {
    let mut world = World::new(&watching("TUNNEL"));
    for _ in 0..100 {
        next(&mut world);
    }
    assert_eq!(states(&world)[0], "b2 unknown");
    assert!(world.pipeline.health_events().is_empty());
}

#[test]
fn an_answer_from_elsewhere_is_no_sign_of_life() {
    let mut world = World::new(&watching("TUNNEL"));
    let probe = only(world.tick(), "gpe 192.0.2.2");
    let mut answer = probe;
    answer[8 + 24 + 4 + 4] = 2;
    world.gpe("192.0.2.66", &answer);
    assert_eq!(states(&world)[0], "b2 unknown");
    world.gpe("192.0.2.2", &answer);
    assert_eq!(states(&world)[0], "b2 alive");
}

#[test]
fn a_function_with_two_legs_lives_while_frames_come_through() {
    let mut world = World::new(&watching("TWO"));
    for _ in 0..3 {
        let probe = only(next(&mut world), "in");
        assert_eq!(probe.len(), 60);
        assert_eq!(probe[12..14], [0x88, 0xb5]);
        // It comes out of the other leg, and goes nowhere from there.
        assert_eq!(world.port("out", &probe), []);
        // Where it went in it is no sign of life, and twice is once too often.
        world.port("in", &probe);
        world.port("out", &probe);
    }
    assert_eq!(states(&world)[1], "two alive");
    assert_eq!(world.drops(DropReason::NoReturn), 6);
    for _ in 0..4 {
        next(&mut world);
    }
    assert_eq!(states(&world)[1], "two dead");
    let events = ["function two alive", "function two dead"];
    assert_eq!(told(world.pipeline.health_events()), events);
}

#[test]
fn a_function_with_one_leg_is_asked_for_its_address() {
    let mut world = World::new(&watching("ONE"));
    let question = only(next(&mut world), "leg");
    assert_eq!(question[..6], [2, 0, 0, 0, 0, 9]);
    assert_eq!(question[12..14], [0x08, 0x06]);
    assert_eq!(question[28..32], [0, 0, 0, 0], "an ARP probe has no sender");
    assert_eq!(question[38..42], [10, 0, 0, 9]);
    let mut answer = question.clone();
    answer.copy_within(6..12, 0);
    answer[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    answer[21] = 2;
    answer.copy_within(22..28, 32);
    answer[22..28].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    answer[28..32].copy_from_slice(&[10, 0, 0, 9]);
    let mut wrong = answer.clone();
    wrong[31] = 8;
    world.port("leg", &wrong);
    assert_eq!(states(&world)[2], "one unknown");
    assert_eq!(world.port("leg", &answer), []);
    assert_eq!(states(&world)[2], "one alive");
}

#[test]
fn a_function_that_knows_nsh_is_asked_in_its_own_language() {
    let mut world = World::new(&watching("AWARE"));
    let probe = only(next(&mut world), "aware");
    assert_eq!(probe[..6], [2, 0, 0, 0, 0, 10]);
    assert_eq!(probe[12..14], [0x89, 0x4f]);
    assert_eq!(probe[14] & 0x20, 0x20, "O bit");
    assert_eq!(probe[17], 7, "SFC Active OAM");
    let mut answer = probe.clone();
    answer[14 + 24 + 4 + 4] = 2;
    // A question of its own is none of our business.
    assert_eq!(world.port("aware", &probe), []);
    assert_eq!(states(&world)[3], "aware unknown");
    assert_eq!(world.port("aware", &answer), []);
    assert_eq!(states(&world)[3], "aware alive");
}

#[test]
fn new_tables_keep_what_is_known() {
    let mut world = World::new(&watching("TWO"));
    let probe = only(next(&mut world), "in");
    world.port("out", &probe);
    world.install(&watching("TWO").replace("generation = 1", "generation = 2"));
    assert_eq!(states(&world)[1], "two alive");
    world.install(&watching("NOBODY").replace("generation = 1", "generation = 3"));
    assert_eq!(states(&world)[1], "two unknown");
    assert_eq!(world.pipeline.next_deadline(), None);
}

/// A group of a watched function and its backup.
const GROUP: &str = r#"
    generation = 1
    ports = [
        { name = "client" }, { name = "in" }, { name = "out" }, { name = "bin" }, { name = "bout" },
        { name = "server" },
    ]
    rules = [{ name = "all", match = { port = "client" }, action = { path = { spi = 5, si = 255 } } }]
    [[functions]]
    name = "main"
    attachment = { two-leg = { inside = "in", outside = "out" } }
    liveness = { interval-ms = 100, multiplier = 3 }
    [[functions]]
    name = "spare"
    attachment = { two-leg = { inside = "bin", outside = "bout" } }
    [[groups]]
    name = "pair"
    members = [
        { to = { function = { name = "main" } } },
        { to = { function = { name = "spare" } }, backup = true },
    ]
    [[paths]]
    spi = 5
    hops = [
        { si = 255, to = { group = { name = "pair" } } },
        { si = 254, to = { egress = { port = "server" } } },
    ]
"#;

#[test]
fn a_group_leaves_a_dead_function_and_comes_back_to_it() {
    let mut world = World::new(GROUP);
    let frame = crate::frames::WEB.udp(b"steady");
    let way = |world: &mut World| world.port("client", &frame).remove(0).via;
    assert_eq!(way(&mut world), "in", "unknown counts as alive");
    let probe = only(next(&mut world), "in");
    world.port("out", &probe);
    assert_eq!(way(&mut world), "in");
    let last_answer = world.now_ms;
    while way(&mut world) == "in" {
        next(&mut world);
    }
    assert_eq!(world.now_ms - last_answer, 300);
    assert_eq!(way(&mut world), "bin");
    let probe = loop {
        if let Some(probe) = next(&mut world).pop() {
            break probe;
        }
    };
    world.port("out", &probe.bytes);
    assert_eq!(way(&mut world), "in");
    let events = [
        "function main alive",
        "function main dead",
        "function main alive",
    ];
    assert_eq!(told(world.pipeline.health_events()), events);
}
