//! Echoes through three forwarders, step by step: who answers, what it says, and what nobody may
//! make a forwarder do.

use crate::world::{Sent, World, only};
use kc_forwarder::wire::nsh::{self, MetadataRepr, NextProtocol};
use kc_forwarder::wire::sfc_echo::{self, Kind, ReplyMode};
use kc_forwarder::wire::sfc_oam::{self, Message};
use kc_forwarder::wire::sfc_tlv::Tlv;
use kc_forwarder::wire::vxlan_gpe;
use kc_forwarder_api::{
    DropReason, Echo, EchoCode, EchoReply, HealthState, Si, Spi, Trace, TraceFault, Ttl, Vni,
};

/// Boxes 1 to 3 with a function each; path 100 goes there and 101 comes back.
fn box_of(number: u8, reverse: bool) -> String {
    let back = if reverse { "reverse = 101" } else { "" };
    let (forward, backward) = match number {
        1 => (
            r#"{ si = 255, to = { function = { name = "f1" } } },
               { si = 254, to = { tunnel = { name = "b2" } } }"#,
            r#"{ si = 253, to = { function = { name = "f1", direction = "reverse" } } },
               { si = 252, to = { egress = { port = "end" } } }"#,
        ),
        2 => (
            r#"{ si = 254, to = { function = { name = "f2" } } },
               { si = 253, to = { tunnel = { name = "b3" } } }"#,
            r#"{ si = 254, to = { function = { name = "f2", direction = "reverse" } } },
               { si = 253, to = { tunnel = { name = "b1" } } }"#,
        ),
        _ => (
            r#"{ si = 253, to = { function = { name = "f3" } } },
               { si = 252, to = { egress = { port = "end" } } }"#,
            r#"{ si = 255, to = { function = { name = "f3", direction = "reverse" } } },
               { si = 254, to = { tunnel = { name = "b2" } } }"#,
        ),
    };
    let others = (1..=3).filter(|other| *other != number && other.abs_diff(number) == 1);
    let tunnels: String = others
        .map(|other| {
            format!(
                r#"
                [[tunnels]]
                name = "b{other}"
                transport = {{ vxlan-gpe = {{ remote = "192.0.2.{other}", vni = 7 }} }}
                "#
            )
        })
        .collect();
    let backward = if reverse {
        format!("[[paths]]\nspi = 101\nreverse = 100\nhops = [{backward}]")
    } else {
        String::new()
    };
    format!(
        r#"
        generation = 1
        name = "box-{number}"
        ports = [{{ name = "in" }}, {{ name = "out" }}, {{ name = "end" }}]
        [underlay]
        address = "192.0.2.{number}"
        {tunnels}
        [[functions]]
        name = "f{number}"
        attachment = {{ two-leg = {{ inside = "in", outside = "out" }} }}
        [[paths]]
        spi = 100
        {back}
        hops = [{forward}]
        {backward}
        "#
    )
}

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

fn spi(number: u32) -> Spi {
    Spi::new(number).unwrap()
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

/// An OAM packet in VXLAN-GPE, as a stranger would make it.
struct Forged<'a> {
    kind: Kind,
    mode: ReplyMode,
    key: (u32, u32),
    path: (u32, u8),
    ttl: u8,
    tlvs: &'a [Tlv<'a>],
}

impl Default for Forged<'_> {
    fn default() -> Self {
        Self {
            kind: Kind::Request,
            mode: ReplyMode::Transport,
            key: (1, 2),
            path: (100, 254),
            ttl: 1,
            tlvs: &[],
        }
    }
}

impl Forged<'_> {
    fn octets(&self) -> Vec<u8> {
        let mut message = vec![0; 16];
        sfc_echo::Repr {
            kind: self.kind,
            mode: self.mode,
            code: 0,
            subcode: 0,
            handle: self.key.0,
            sequence: self.key.1,
        }
        .emit(&mut message);
        for tlv in self.tlvs {
            let before = message.len();
            message.resize(before + tlv.buffer_len(), 0);
            tlv.emit(&mut message[before..]);
        }
        let mut octets = vec![0; 8 + 24 + 4];
        vxlan_gpe::Repr {
            vni: Vni::new(7).unwrap(),
            next: vxlan_gpe::NextProtocol::Nsh,
            oam: false,
        }
        .emit(&mut octets);
        nsh::Repr {
            oam: true,
            ttl: Ttl::new(self.ttl).unwrap(),
            next: NextProtocol::Other(sfc_oam::NEXT_PROTOCOL),
            spi: spi(self.path.0),
            si: Si::new(self.path.1).unwrap(),
            metadata: MetadataRepr::One([0; 16]),
        }
        .emit(&mut octets[8..]);
        sfc_oam::Repr {
            message: Message::Echo,
            length: u16::try_from(message.len()).unwrap(),
        }
        .emit(&mut octets[32..]);
        octets.extend(message);
        octets
    }
}

/// Return code and TLVs of a reply in VXLAN-GPE.
fn code_in(octets: &[u8]) -> (EchoCode, usize) {
    let (_, message) = sfc_oam::Repr::parse(&octets[32..]).unwrap();
    let packet = sfc_echo::Packet::new_checked(message).unwrap();
    assert_eq!(packet.repr().kind, Kind::Reply);
    let code = sfc_echo::code_of(packet.repr().code);
    (code, packet.tlvs().map(Result::unwrap).count())
}

#[test]
fn every_reply_mode_goes_its_own_way() {
    let mut net = Net::new(true);
    let world = &mut net.boxes[1];
    let source = Tlv::Source {
        address: [192, 0, 2, 9].into(),
        port: 5000,
    };
    let path = Tlv::ReplyPath {
        spi: spi(101),
        si: Si::MAX,
    };
    let mut ask = |mode, tlvs: &[Tlv<'_>]| {
        let forged = Forged {
            mode,
            tlvs,
            ..Forged::default()
        };
        world.gpe("192.0.2.1", &forged.octets())
    };
    assert_eq!(ask(ReplyMode::None, &[source]), []);
    assert_eq!(ask(ReplyMode::Other(9), &[source]), []);
    // A UDP datagram of its own: no VXLAN, no NSH.
    let udp = only(ask(ReplyMode::Udp, &[source]), "gpe 192.0.2.9");
    assert_eq!(udp[..2], [1, 0]);
    let (header, message) = sfc_oam::Repr::parse(&udp).unwrap();
    assert_eq!(header.message, Message::Echo);
    assert_eq!(message[4..8], [2, 2, 4, 0]);
    // Along the reverse path, at the index it has here behind the function.
    let along = only(ask(ReplyMode::Path, &[path]), "gpe 192.0.2.1");
    assert_eq!(along[8 + 4..8 + 8], [0, 0, 101, 253]);
    assert_eq!(code_in(&along).0, EchoCode::TtlExceeded);
    // Back to the neighbour, or in VXLAN-GPE to whom the source names.
    let back = only(ask(ReplyMode::Transport, &[]), "gpe 192.0.2.1");
    assert_eq!(code_in(&back), (EchoCode::TtlExceeded, 0));
    let there = only(ask(ReplyMode::Transport, &[source]), "gpe 192.0.2.9");
    assert_eq!(code_in(&there).0, EchoCode::TtlExceeded);
    // No such path, or none named: said over the underlay.
    let nowhere = Tlv::ReplyPath {
        spi: spi(999),
        si: Si::MAX,
    };
    let lost = only(ask(ReplyMode::Path, &[nowhere, source]), "gpe 192.0.2.9");
    assert_eq!(code_in(&lost).0, EchoCode::ReplyPathNotFound);
    let missing = only(ask(ReplyMode::Path, &[source]), "gpe 192.0.2.9");
    assert_eq!(code_in(&missing).0, EchoCode::ReplyPathMissing);
    assert_eq!(ask(ReplyMode::Path, &[nowhere]), []);
    assert_eq!(world.all_drops(), 0);
}

#[test]
fn requests_with_faults_are_told_so() {
    let mut net = Net::new(true);
    let world = &mut net.boxes[1];
    let source = Tlv::Source {
        address: [192, 0, 2, 9].into(),
        port: 5000,
    };
    let strange = Tlv::Unknown {
        kind: 77,
        value: &[1, 2, 3, 4],
    };
    let tlvs = [source, strange];
    let forged = Forged {
        tlvs: &tlvs,
        ..Forged::default()
    };
    let reply = only(world.gpe("192.0.2.1", &forged.octets()), "gpe 192.0.2.9");
    assert_eq!(code_in(&reply), (EchoCode::TlvNotUnderstood, 3));
    assert!(reply.ends_with(&[77, 0, 0, 4, 1, 2, 3, 4]));
    // A TLV whose end is missing.
    let mut cut = Forged {
        tlvs: &tlvs[..1],
        ..Forged::default()
    }
    .octets();
    cut.extend([3, 0, 0, 4]);
    cut[8 + 24 + 3] += 4;
    let reply = only(world.gpe("192.0.2.1", &cut), "gpe 192.0.2.9");
    assert_eq!(code_in(&reply).0, EchoCode::Malformed);
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
fn addresses_that_are_everybodys_or_nobodys_get_no_answer() {
    let mut net = Net::new(true);
    let world = &mut net.boxes[1];
    for address in ["255.255.255.255", "0.0.0.0", "224.0.0.1", "127.0.0.1"] {
        let source = [Tlv::Source {
            address: address.parse().unwrap(),
            port: 5000,
        }];
        for mode in [ReplyMode::Udp, ReplyMode::Transport] {
            let forged = Forged {
                mode,
                tlvs: &source,
                ..Forged::default()
            };
            assert_eq!(world.gpe("192.0.2.1", &forged.octets()), [], "{address}");
        }
    }
}

#[test]
fn a_flood_of_requests_is_answered_at_a_rate() {
    let mut net = Net::new(true);
    let world = &mut net.boxes[1];
    let source = [Tlv::Source {
        address: [192, 0, 2, 9].into(),
        port: 5000,
    }];
    let request = Forged {
        tlvs: &source,
        ..Forged::default()
    }
    .octets();
    let answers: usize = (0..1000)
        .map(|_| world.gpe("192.0.2.1", &request).len())
        .sum();
    assert_eq!(answers, 50);
    assert_eq!(world.drops(DropReason::OamLimit), 950);
    world.now_ms += 100;
    let later: usize = (0..100)
        .map(|_| world.gpe("192.0.2.1", &request).len())
        .sum();
    assert_eq!(later, 10, "100 a second");
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
    for octets in [with(11, 3), with(32, 2), with(36 + 4, 3), with(32, 0x41)] {
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
fn an_answer_from_an_sff_without_a_tunnel_is_taken_by_its_key_alone() {
    let mut net = Net::new(false);
    let sent = net.boxes[0].echo(7, &echo(100)).unwrap();
    let request = only(sent, "gpe 192.0.2.2");
    let on = only(net.boxes[1].gpe("192.0.2.1", &request), "gpe 192.0.2.3");
    let reply = only(net.boxes[2].gpe("192.0.2.2", &on), "gpe 192.0.2.1");
    let mut guessed = reply.clone();
    guessed[8 + 24 + 4 + 8] ^= 1;
    assert_eq!(net.boxes[0].gpe("192.0.2.3", &guessed), []);
    assert_eq!(net.boxes[0].drops(DropReason::UnknownVtep), 1);
    assert_eq!(net.boxes[0].gpe("192.0.2.3", &reply), []);
    assert_eq!(net.boxes[0].pipeline.outcomes().len(), 1);
}
