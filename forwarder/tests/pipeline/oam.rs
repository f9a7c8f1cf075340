//! Echoes through three forwarders, step by step: who answers, what it says, and what nobody may
//! make a forwarder do. How requests are answered one by one is in `answers`.

use crate::forged::{Forged, box_of, spi};
use crate::world::{Sent, World, only};
use kc_forwarder::wire::nsh;
use kc_forwarder::wire::sfc_echo::Kind;
use kc_forwarder_api::{DropReason, Echo, EchoCode, EchoReply, HealthState, Trace, TraceFault};

/// Three boxes whose tunnels end at each other.
struct Net {
    boxes: Vec<World>,
    /// A link that carries nothing, towards this box.
    cut: Option<usize>,
}

impl Net {
    fn new(reverse: bool) -> Self {
        let world = |number| World::new(&box_of(number, reverse));
        Self {
            boxes: (1..=3).map(world).collect(),
            cut: None,
        }
    }

    /// Carries what `from` sent, and what comes of it, until all is quiet.
    fn carry(&mut self, from: usize, sent: Vec<Sent>) {
        let mut waiting: Vec<(usize, Sent)> = sent.into_iter().map(|sent| (from, sent)).collect();
        let mut steps = 0;
        while let Some((from, sent)) = waiting.pop() {
            steps += 1;
            assert!(steps < 100, "no end in sight");
            let to: usize = sent
                .via
                .strip_prefix("gpe 192.0.2.")
                .unwrap()
                .parse()
                .unwrap();
            if self.cut == Some(to) {
                continue;
            }
            let remote = format!("192.0.2.{}", from + 1);
            let next = self.boxes[to - 1].gpe(&remote, &sent.bytes);
            waiting.extend(next.into_iter().map(|sent| (to - 1, sent)));
        }
    }

    /// One echo from box 1, and what came of it.
    fn echo(&mut self, echo: &Echo) -> Option<EchoReply> {
        let sent = self.boxes[0].echo(7, echo).unwrap();
        self.carry(0, sent);
        self.boxes[0].now_ms += u64::from(echo.timeout_ms) + 1;
        self.boxes[0].tick();
        let outcomes = self.boxes[0].pipeline.outcomes();
        assert_eq!(outcomes.len(), 1);
        assert_eq!(outcomes[0].token, 7);
        outcomes[0].reply.clone()
    }

    fn trace(&mut self) -> Trace {
        let mut trace = Trace::new(spi(100));
        while let Some(ttl) = trace.next() {
            let reply = self.echo(&Echo {
                ttl: Some(ttl),
                ..echo(100)
            });
            trace.hear(reply);
        }
        trace
    }
}

fn echo(path: u32) -> Echo {
    Echo {
        spi: spi(path),
        si: None,
        ttl: None,
        timeout_ms: 1000,
        size: 0,
    }
}

fn names(trace: &Trace) -> Vec<String> {
    let hops = trace.hops.iter();
    hops.map(|hop| {
        let functions: Vec<_> = hop.functions.iter().map(|f| f.name.to_string()).collect();
        let from = hop.from.as_ref().unwrap();
        format!("{from} {}: {}", functions.join(" "), hop.code)
    })
    .collect()
}

#[test]
fn a_trace_names_every_sff_and_function_along_the_reverse_path_and_without_one() {
    for reverse in [true, false] {
        let mut net = Net::new(reverse);
        let trace = net.trace();
        assert_eq!(
            names(&trace),
            [
                "box-1 f1: TTL exceeded",
                "box-2 f2: TTL exceeded",
                "box-3 f3: end of the path"
            ]
        );
        assert!(trace.reached);
        // 1500 less outer headers, NSH and Ethernet; at the end of the path the port's own.
        let mtus: Vec<_> = trace.hops.iter().map(|hop| hop.mtu.unwrap()).collect();
        assert_eq!(mtus, [1426, 1426, 1500]);
        for world in &net.boxes {
            assert_eq!(world.all_drops(), 0);
            assert_eq!(
                (world.traffic("in"), world.traffic("out")),
                ((0, 0), (0, 0))
            );
            assert_eq!(world.traffic("end"), (0, 0), "nothing leaves the path");
        }
    }
}

#[test]
fn a_cut_link_is_named_by_the_last_that_answers() {
    let mut net = Net::new(true);
    net.cut = Some(3);
    let trace = net.trace();
    let after = trace.hops[1].from.clone();
    assert_eq!(trace.fault, Some(TraceFault::Silence { after, hop: 1 }));
    assert_eq!(trace.hops.len(), 2);
}

#[test]
fn an_sff_without_a_next_hop_says_so() {
    let mut net = Net::new(true);
    let tables = box_of(2, true).replace("{ si = 253, to = { tunnel = { name = \"b3\" } } }", "");
    net.boxes[1].install(&tables.replace("generation = 1", "generation = 2"));
    let reply = net.echo(&echo(100)).unwrap();
    assert_eq!(reply.code, EchoCode::NoNextHop);
    assert_eq!(reply.from.unwrap().to_string(), "box-2");
    let trace = net.trace();
    assert!(matches!(
        trace.fault,
        Some(TraceFault::Code {
            code: EchoCode::NoNextHop,
            ..
        })
    ));
}

#[test]
fn a_function_whose_port_is_down_breaks_the_path_where_it_hangs() {
    let mut net = Net::new(true);
    net.boxes[2].set_port("in", false, 1500);
    let reply = net.echo(&echo(100)).unwrap();
    assert_eq!(reply.code, EchoCode::NoNextHop);
    assert_eq!(reply.from.unwrap().to_string(), "box-3");
    assert_eq!(reply.functions[0].state, HealthState::Unknown);
}

#[test]
fn a_path_that_is_not_here_is_refused_by_name() {
    let mut net = Net::new(true);
    let error = net.boxes[0].echo(1, &echo(99)).unwrap_err();
    assert_eq!(error.to_string(), "path 99 has no hop on this forwarder");
}

#[test]
fn echoes_beyond_a_number_are_refused_until_others_end() {
    let mut net = Net::new(true);
    let world = &mut net.boxes[0];
    for token in 0..256 {
        world.echo(token, &echo(100)).unwrap();
    }
    let error = world.echo(256, &echo(100)).unwrap_err();
    assert!(error.to_string().contains("256 echoes are under way"));
    let due = world.pipeline.next_deadline().unwrap();
    assert_eq!(due, world.now_ms + 1000);
    world.now_ms = due;
    world.tick();
    assert_eq!(world.pipeline.outcomes().len(), 256);
    assert_eq!(world.pipeline.next_deadline(), None, "idle costs nothing");
    world.echo(300, &echo(100)).unwrap();
}

#[test]
fn a_padded_echo_shows_what_fits() {
    let mut net = Net::new(true);
    let sized = |size| Echo { size, ..echo(100) };
    let whole = net.boxes[0].echo(1, &sized(1464)).unwrap();
    // Outer IPv4, UDP and the VXLAN header fill it up to 1500.
    assert_eq!(only(whole, "gpe 192.0.2.2").len(), 8 + 1464);
    let error = net.boxes[0].echo(1, &sized(1465)).unwrap_err();
    assert!(error.to_string().contains("1464 octets at most"), "{error}");
    // TLVs are whole words, so the request is too, and never shorter than was asked for.
    for (size, length) in [(1461, 1464), (1460, 1460), (1459, 1460)] {
        let whole = net.boxes[0].echo(1, &sized(size)).unwrap();
        assert_eq!(only(whole, "gpe 192.0.2.2").len(), 8 + length, "{size}");
    }
    net.boxes[0].now_ms += 2000;
    net.boxes[0].tick();
    net.boxes[0].pipeline.outcomes();
    // A later link that takes less swallows it.
    let narrow = box_of(2, true).replace("[underlay]", "[underlay]\nmtu = 1000");
    net.boxes[1].install(&narrow.replace("generation = 1", "generation = 2"));
    net.boxes[0].now_ms += 2000;
    net.boxes[0].tick();
    net.boxes[0].pipeline.outcomes();
    assert_eq!(net.echo(&sized(1200)), None);
    assert_eq!(net.boxes[1].drops(DropReason::MtuExceeded), 1);
    assert_eq!(net.echo(&sized(900)).unwrap().code, EchoCode::EndOfPath);
}

#[test]
fn strangers_are_not_answered() {
    let mut net = Net::new(true);
    let world = &mut net.boxes[1];
    let request = Forged::default().octets();
    assert_eq!(world.gpe("192.0.2.77", &request), []);
    assert_eq!(world.drops(DropReason::UnknownVtep), 1);
}

#[test]
fn an_answer_that_was_not_asked_for_changes_nothing_and_is_never_answered() {
    let mut net = Net::new(true);
    let sent = net.boxes[0].echo(7, &echo(100)).unwrap();
    for key in 0..2000_u32 {
        let forged = Forged {
            kind: Kind::Reply,
            key: (key, key),
            path: (101, 253),
            ttl: 63,
            ..Forged::default()
        };
        assert_eq!(net.boxes[0].gpe("192.0.2.2", &forged.octets()), []);
    }
    assert_eq!(net.boxes[0].drops(DropReason::NshOam), 2000);
    assert!(net.boxes[0].pipeline.outcomes().is_empty());
    // The true answer still finds its question, and only once.
    net.carry(0, sent);
    assert_eq!(net.boxes[0].pipeline.outcomes().len(), 1);
}

#[test]
fn an_answer_on_its_way_to_another_is_handed_on_until_its_ttl_ends() {
    let mut net = Net::new(true);
    let world = &mut net.boxes[1];
    let forged = |ttl| {
        Forged {
            kind: Kind::Reply,
            path: (101, 254),
            ttl,
            ..Forged::default()
        }
        .octets()
    };
    let on = only(world.gpe("192.0.2.3", &forged(9)), "gpe 192.0.2.1");
    let header = nsh::Packet::new_checked(&on[8..]).unwrap();
    assert!(header.oam());
    assert_eq!(
        (header.ttl(), header.si().get()),
        (8, 253),
        "stepped over f2"
    );
    assert_eq!(world.gpe("192.0.2.3", &forged(1)), []);
    assert_eq!(world.drops(DropReason::TtlExpired), 1);
}

#[test]
fn oam_of_other_kinds_stays_what_it_was() {
    let mut net = Net::new(true);
    let world = &mut net.boxes[1];
    let plain = Forged::default().octets();
    let with = |place: usize, value: u8| {
        let mut octets = plain.clone();
        octets[place] = value;
        octets
    };
    // Next protocol Ethernet, another OAM message, another echo type, a version to come.
    for octets in [with(11, 3), with(33, 0x80), with(36 + 4, 5), with(32, 0x10)] {
        assert_eq!(world.gpe("192.0.2.1", &octets), []);
    }
    assert_eq!(world.drops(DropReason::NshOam), 4);
    // Every truncation is dropped, none is answered.
    for length in 8..plain.len() {
        assert_eq!(world.gpe("192.0.2.1", &plain[..length]), []);
    }
}

#[test]
fn round_trips_are_as_exact_as_the_shells_clock() {
    let mut net = Net::new(true);
    net.boxes[0].pipeline.set_time_us(5_000_000);
    let sent = net.boxes[0].echo(7, &echo(100)).unwrap();
    net.boxes[0].pipeline.set_time_us(5_000_123);
    net.carry(0, sent);
    let outcome = net.boxes[0].pipeline.outcomes().remove(0);
    assert_eq!(outcome.reply.unwrap().rtt_us, 123);
}

/// Two boxes on a LAN, without an underlay: the first port of the second one is a dummy, so that
/// their MAC addresses differ.
fn on_a_lan(reverse: bool) -> [World; 2] {
    let (back, way_back) = if reverse {
        (
            "reverse = 101",
            [
                "{ si = 254, to = { egress = { port = \"end\" } } }",
                "{ si = 255, to = { tunnel = { name = \"lan\" } } }",
            ],
        )
    } else {
        ("", ["", ""])
    };
    let world = |ports: &str, mac: &str, name: &str, hops: &str, back_hops: &str| {
        World::new(&format!(
            r#"
            generation = 1
            name = "{name}"
            ports = [{ports}]
            [[tunnels]]
            name = "lan"
            transport = {{ ethernet = {{ port = "lan", next-hop = "{mac}" }} }}
            liveness = {{ interval-ms = 100 }}
            [[paths]]
            spi = 100
            {back}
            hops = [{hops}]
            [[paths]]
            spi = 101
            hops = [{back_hops}]
            "#
        ))
    };
    [
        world(
            r#"{ name = "lan" }, { name = "end" }"#,
            "02:ff:00:00:00:01",
            "left",
            r#"{ si = 255, to = { tunnel = { name = "lan" } } }"#,
            way_back[0],
        ),
        world(
            r#"{ name = "end" }, { name = "lan" }"#,
            "02:ff:00:00:00:00",
            "right",
            r#"{ si = 255, to = { egress = { port = "end" } } }"#,
            way_back[1],
        ),
    ]
}

#[test]
fn without_an_underlay_answers_come_back_along_the_reverse_path() {
    let [mut left, mut right] = on_a_lan(true);
    let request = only(left.echo(7, &echo(100)).unwrap(), "lan");
    assert_eq!(request[12..14], [0x89, 0x4f]);
    let reply = only(right.port("lan", &request), "lan");
    assert_eq!(left.port("lan", &reply), []);
    let reply = left.pipeline.outcomes().remove(0).reply.unwrap();
    assert_eq!(reply.code, EchoCode::EndOfPath);
    assert_eq!(reply.from.unwrap().to_string(), "right");
    let [mut left, _] = on_a_lan(false);
    let error = left.echo(7, &echo(100)).unwrap_err().to_string();
    assert!(error.contains("no answer could come back"), "{error}");
}

#[test]
fn a_tunnel_over_a_lan_is_asked_for_life_too() {
    let [mut left, mut right] = on_a_lan(true);
    let probe = only(left.tick(), "lan");
    let answer = only(right.port("lan", &probe), "lan");
    assert_eq!(left.port("lan", &answer), []);
    let (tunnels, _) = left.pipeline.health(left.now_ms);
    assert_eq!(tunnels[0].state, HealthState::Alive);
    // From another station on the LAN nothing is answered, and nothing believed.
    let mut strange = probe.clone();
    strange[11] = 0x77;
    assert_eq!(right.port("lan", &strange), []);
    assert_eq!(right.drops(DropReason::UnknownVtep), 1);
}

#[test]
fn an_answer_that_is_a_datagram_by_itself_is_taken_by_its_key_alone() {
    let mut net = Net::new(false);
    let sent = net.boxes[0].echo(7, &echo(100)).unwrap();
    let request = only(sent, "gpe 192.0.2.2");
    let on = only(net.boxes[1].gpe("192.0.2.1", &request), "gpe 192.0.2.3");
    let reply = only(net.boxes[2].gpe("192.0.2.2", &on), "gpe 192.0.2.1");
    // Type, mode, code, subcode: no header of VXLAN, NSH or OAM is in front.
    assert_eq!(reply[..8], [0, 0, 0, 0, 2, 2, 5, 0]);
    for place in 8..16 {
        let mut guessed = reply.clone();
        guessed[place] ^= 1;
        assert_eq!(net.boxes[0].gpe("192.0.2.3", &guessed), []);
    }
    assert_eq!(net.boxes[0].drops(DropReason::VxlanHeader), 8);
    assert_eq!(net.boxes[0].gpe("192.0.2.3", &reply), []);
    assert_eq!(net.boxes[0].gpe("192.0.2.3", &reply), [], "once");
    assert_eq!(net.boxes[0].drops(DropReason::VxlanHeader), 9);
    assert_eq!(net.boxes[0].pipeline.outcomes().len(), 1);
    // Behind an NSH nothing is taken from where no tunnel leads to.
    let forged = Forged {
        kind: Kind::Reply,
        ..Forged::default()
    };
    assert_eq!(net.boxes[0].gpe("192.0.2.3", &forged.octets()), []);
    assert_eq!(net.boxes[0].drops(DropReason::UnknownVtep), 1);
}

#[test]
fn an_sff_of_another_make_is_named_by_its_address() {
    let mut net = Net::new(false);
    let request = only(net.boxes[0].echo(7, &echo(100)).unwrap(), "gpe 192.0.2.2");
    // Figure 3 of RFC 9516 and nothing else: reply, by UDP, end of the SFP.
    let mut reply = vec![0, 0, 0, 0, 2, 2, 5, 0];
    reply.extend(&request[8 + 24 + 4 + 8..][..8]);
    assert_eq!(net.boxes[0].gpe("192.0.2.9", &reply), []);
    let reply = net.boxes[0].pipeline.outcomes().remove(0).reply.unwrap();
    assert_eq!(reply.code, EchoCode::EndOfPath);
    assert_eq!(reply.from.unwrap().to_string(), "192.0.2.9");
    assert_eq!((reply.si, reply.mtu), (None, None));
}
