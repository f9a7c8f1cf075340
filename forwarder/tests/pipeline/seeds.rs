//! What fuzzing starts from: inputs of every target that get past its front door. Here they are
//! judged like any test, so that neither they nor what judges them can go stale unnoticed; with
//! `KC_FUZZ_SEEDS` set to a directory they are also written there, in a directory for each target.

use crate::any_tables::any_tables;
use crate::frames::{CLIENT, Flow, SERVER, WEB, arp_reply, arp_request, ethernet, gpe, nsh, vxlan};
use crate::golden::golden;
use crate::steps::{Chosen, Kind, Script, Subject, built_in};
use kc_forwarder::pipeline::{Balance, Compiled};
use kc_forwarder::wire::ethernet::ethertype;
use kc_forwarder::wire::{arp, ndp};
use kc_forwarder_api::{Counters, Request, Response, Tables};
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

const DNS: Flow = Flow {
    source: ("10.0.0.1", 5353),
    destination: ("10.0.0.2", 53),
};
const V6: Flow = Flow {
    source: ("fd00::1", 40_000),
    destination: ("fd00::2", 443),
};
const TLS: Flow = Flow {
    source: ("10.0.0.1", 40_001),
    destination: ("10.0.0.2", 443),
};

/// Ports of `everything.toml`.
const CLIENT0: u8 = 0;
const SERVER0: u8 = 1;
const OFFICE: u8 = 6;
const LAN: u8 = 7;
/// Checksums made right, the kernel knows nothing.
const MENDED: u8 = 0x80;

/// A name for each input.
type Seeds = BTreeMap<String, Vec<u8>>;

fn add(seeds: &mut Seeds, name: &str, octets: impl Into<Vec<u8>>) {
    assert_eq!(seeds.insert(name.to_owned(), octets.into()), None, "{name}");
}

/// Frames that make sense on some port.
fn samples() -> Seeds {
    let mut seeds = Seeds::new();
    for (name, octets) in golden() {
        add(&mut seeds, name, octets);
    }
    let dns = b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03bad\x07example\0\0\x01\0\x01";
    let http = b"GET / HTTP/1.1\r\nHost: www.bad.example\r\n\r\n";
    let mut hello = b"\x16\x03\x01\0\x4b\x01\0\0\x47\x03\x03".to_vec();
    hello.extend([7; 32]);
    hello.extend(b"\0\0\x02\x13\x01\x01\0\0\x1c\0\0\0\x10\0\x0e\0\0\x0bbad.example");
    hello.extend(b"\0\x2b\0\x03\x02\x03\x04\0");
    add(&mut seeds, "tcp-syn", WEB.tcp(2, &[2, 4, 5, 0xb4], b""));
    add(
        &mut seeds,
        "tcp-syn-ack",
        WEB.back().tcp(0x12, &[2, 4, 5, 0xb4], b""),
    );
    add(&mut seeds, "http", WEB.tcp(0x18, &[], http));
    add(&mut seeds, "tls", TLS.tcp(0x18, &[], &hello));
    add(&mut seeds, "ssh", WEB.tcp(0x18, &[], b"SSH-2.0-x\r\n"));
    add(&mut seeds, "dns", DNS.udp(dns));
    add(&mut seeds, "dns-answer", DNS.back().udp(dns));
    add(&mut seeds, "udp-v6", V6.udp(b"payload"));
    add(&mut seeds, "tcp-v6", V6.tcp(2, &[2, 4, 5, 0xa0], b""));
    add(&mut seeds, "long", DNS.udp(&[0x5a; 1400]));
    add(&mut seeds, "super", TLS.tcp(0x18, &[], &[0x5a; 4000]));
    add(&mut seeds, "arp-request", arp_request());
    add(&mut seeds, "arp-reply", arp_reply());
    let mut tagged = WEB.tcp(0x10, &[], b"");
    tagged.splice(12..12, [0x81, 0, 0, 7]);
    add(&mut seeds, "tagged", tagged);
    for (name, flags, identification) in
        [("first", 0x20, 7), ("later", 0x01, 7), ("orphan", 0x01, 8)]
    {
        let mut fragment = DNS.udp(&[0x5a; 64]);
        fragment[19] = identification;
        fragment[20] = flags & 0x20;
        fragment[21] = flags & 0x1f;
        add(&mut seeds, &format!("fragment-{name}"), fragment);
    }
    let mut v6 = V6.udp(&[0x5a; 64])[14..].to_vec();
    let protocol = std::mem::replace(&mut v6[6], 44);
    v6.splice(40..40, [protocol, 0, 0, 1, 0, 0, 0, 9]);
    add(
        &mut seeds,
        "fragment-v6",
        ethernet(SERVER, CLIENT, ethertype::IPV6, &v6),
    );
    // A host tells that the first packet was too long, or asks who is there.
    for (name, message) in [("unreachable", [3, 4, 0, 0]), ("ping", [8, 0, 0, 0])] {
        let mut packet = DNS.back().udp(b"0123")[14..].to_vec();
        packet[9] = 1;
        packet.splice(20..28, [&message[..], &[0, 0, 5, 0]].concat());
        packet.extend(&DNS.udp(b"0123")[14..]);
        add(
            &mut seeds,
            name,
            ethernet(CLIENT, SERVER, ethertype::IPV4, &packet),
        );
    }
    seeds
}

/// What stations on the LAN of `everything.toml` say.
fn stations() -> Vec<Vec<u8>> {
    let own = [2, 0xff, 0, 0, 0, LAN];
    let (three, four) = ([2, 0, 0, 0, 0, 3], [2, 0, 0, 0, 0, 4]);
    let mut said = Vec::new();
    for (operation, target) in [
        (arp::Operation::Reply, Ipv4Addr::new(10, 0, 0, 1)),
        (arp::Operation::Request, Ipv4Addr::new(10, 0, 0, 1)),
        (arp::Operation::Request, Ipv4Addr::new(10, 0, 0, 3)),
    ] {
        let repr = arp::Repr {
            operation,
            sender_mac: three,
            sender: [10, 0, 0, 3].into(),
            target_mac: own,
            target,
        };
        let mut octets = vec![0; repr.buffer_len()];
        repr.emit(&mut octets);
        said.push(ethernet(own, three, ethertype::ARP, &octets));
    }
    let address = |number| Ipv6Addr::from([0xfe80, 0, 0, 0, 0, 0, 0, number]);
    for (target, message) in [
        (
            address(4),
            ndp::Message::Advertisement {
                router: false,
                solicited: true,
                overrides: true,
                target_mac: Some(four),
            },
        ),
        (
            address(1),
            ndp::Message::Solicitation {
                source_mac: Some(four),
            },
        ),
    ] {
        let repr = ndp::Repr {
            source: address(4),
            destination: address(1),
            target,
            message,
        };
        let mut octets = vec![0; repr.buffer_len()];
        repr.emit(&mut octets);
        let untagged = ethernet(own, four, ethertype::IPV6, &octets);
        let mut tagged = untagged.clone();
        tagged.splice(12..12, [0x81, 0, 0, 7]);
        said.extend([untagged, tagged]);
    }
    said
}

/// A frame in at a port and out of all functions of its path again, both ways.
fn there_and_back(script: Script, frame: &[u8], answer: &[u8]) -> Script {
    let out_of_it = |mut script: Script| {
        // By the other leg; what knows NSH gives it back with a lower index.
        for _ in 0..4 {
            script = script.step(Kind::Back, [0, 0, 0], &[]);
            script = script.step(Kind::Back, [0, 1, 0], &[0, 21, 253]);
        }
        script
    };
    let script = out_of_it(script.step(Kind::Port, [CLIENT0, MENDED, 0], frame));
    out_of_it(script.step(Kind::Port, [SERVER0, MENDED, 0], answer))
}

/// Lives of a forwarder.
fn lives() -> Seeds {
    let mut seeds = Seeds::new();
    let samples = samples();
    for (name, frame) in &samples {
        // Long ones would make a fuzzer slow.
        let hops = if frame.len() < 600 { 27 } else { 3 };
        let mut script = Script::default();
        for port in [CLIENT0, SERVER0, OFFICE, LAN] {
            script = script.step(Kind::Port, [port, MENDED, 0], frame);
        }
        let inner = &frame[14.min(frame.len())..];
        for hop in 0..hops {
            script = script.step(Kind::Service, [hop, hop % 6, 0x20], frame);
        }
        script = script.step(Kind::Service, [3, 0, 4], inner);
        script = script.step(Kind::Overlay, [0, 0, 0], frame);
        script = script.step(Kind::Overlay, [1, 1, 1], frame);
        add(&mut seeds, name, script.plain(Kind::Read, [0; 3]).0);
    }
    // From where another implementation would have sent them.
    for (name, octets) in golden() {
        let payload = octets.get(42..).unwrap_or_default();
        let script = Script::default()
            .step(Kind::Gpe, [0, 0, 0], payload)
            .step(Kind::Vxlan, [4, 0, 0], payload)
            .step(Kind::Port, [LAN, 0, 0], &octets)
            .step(Kind::Port, [4, 0, 0], &octets);
        add(&mut seeds, &format!("as-sent-{name}"), script.0);
    }
    let (syn, answer) = (&samples["tcp-syn"], &samples["tcp-syn-ack"]);
    let capture = br#"{"points":["ingress","function","tunnel","egress","drop"]}"#;
    let watched = Script::default().step(Kind::Capture, [0; 3], capture);
    add(
        &mut seeds,
        "there-and-back",
        there_and_back(watched, syn, answer).0,
    );
    let dns = there_and_back(Script::default(), &samples["dns"], &samples["dns-answer"]);
    add(&mut seeds, "shared-legs", dns.0);
    let tls = &samples["tls"];
    let spread = there_and_back(Script::default(), tls, &TLS.back().tcp(0x10, &[], b""));
    add(&mut seeds, "spread", spread.0);

    let fragments = ["later", "first", "orphan"].map(|name| &samples[&format!("fragment-{name}")]);
    let mut script = Script::default();
    for fragment in fragments {
        script = script.step(Kind::Port, [CLIENT0, MENDED, 0], fragment);
        script = script.step(Kind::Service, [0, 0, 0x20], fragment);
    }
    let script = script.plain(Kind::Time, [4, 0, 0]);
    add(&mut seeds, "fragments", script.0);

    let mut script = Script::default().plain(Kind::Time, [0, 1, 0]);
    for (hop, said) in [6, 7, 8].into_iter().cycle().zip(stations()) {
        script = script.step(Kind::Service, [hop, 0, 0x20], syn);
        script = script.step(Kind::Port, [LAN, 0, 0], &said);
        script = script.plain(Kind::Time, [3, 0, 0]);
    }
    let script = script.plain(Kind::Time, [0xff, 0xff, 1]);
    add(&mut seeds, "neighbours", script.plain(Kind::Read, [0; 3]).0);

    // Questions for life, answered: an echo's kind is the fifth octet of its message.
    let mut script = Script::default();
    for place in [8 + 24 + 4, 14 + 24 + 4, 18 + 24 + 4] {
        script = script.plain(Kind::Time, [0, 101, 0]);
        for last in 0..4 {
            let kind = u8::try_from(place).unwrap();
            script = script.step(Kind::Back, [last, 1, 0], &[0, kind, 2]);
            script = script.step(Kind::Back, [last, 0, 0], &[0, kind, 2]);
        }
    }
    let mut script = script.plain(Kind::Read, [0; 3]);
    for hop in [0, 3, 7, 10, 13] {
        script = script.plain(Kind::Echo, [hop, 0xff, 20]);
        script = script.step(Kind::Back, [0, 0, 0], &[0, 36, 2]);
        script = script.plain(Kind::Echo, [hop, 0x40, 200]);
    }
    let script = script.plain(Kind::Time, [0xff, 0xff, 1]);
    add(&mut seeds, "echoes", script.plain(Kind::Read, [0; 3]).0);

    let mut script = Script::default().plain(Kind::Admit, [CLIENT0, 0, 0]);
    let mut to_guest = samples["dns-answer"].clone();
    to_guest[..6].copy_from_slice(&[2, 0, 0, 0, 0x60, 1]);
    script = script.step(Kind::Guest, [0, MENDED, 0], syn);
    script = script.step(Kind::Service, [12, 0, 0x20], &to_guest);
    script = script.step(Kind::Service, [12, 0, 0x20], &arp_request());
    let script = script
        .plain(Kind::Read, [0; 3])
        .plain(Kind::Admit, [0, 1, 0]);
    add(&mut seeds, "guest", script.0);

    // Probes, answered by whoever got them: ARP becomes a reply, ICMP's kind that of an answer.
    let mut script = Script::default();
    for kind in 0..6 {
        script = script.plain(Kind::Probe, [LAN, kind, 1]);
        let target = SERVER.into_iter().zip(22_u8..);
        let reply: Vec<u8> = [0, 21, 2].into_iter().collect();
        let reply = target.fold(reply, |mut patch, (octet, at)| {
            patch.extend([0, at, octet]);
            patch
        });
        script = script.step(Kind::Back, [0, 5, 0], &reply);
        script = script.step(Kind::Back, [0, 0x86, 0], &[]);
        script = script.step(Kind::Back, [0, 0x86, 0], &[0, 34, 0]);
        script = script.step(Kind::Back, [0, 0x86, 0], &[0, 54, 129]);
        script = script.plain(Kind::Time, [0xff, 0xff, 1]);
    }
    add(&mut seeds, "probes", script.0);

    // Frames that the kernel left open, whole and to be cut, on links with less room.
    for (name, frame) in ["super", "long", "tcp-v6", "dns"].map(|name| (name, &samples[name])) {
        let mut script = Script::default();
        for b in [0, 1, 2, 3, 6, 14, 22, 5, 0x20, 0x22] {
            script = script.plain(Kind::Link, [SERVER0, 1, b & 7]);
            script = script.step(Kind::Port, [CLIENT0, b | 0xc0, 60], frame);
        }
        let script = script.plain(Kind::Refuse, [0; 3]);
        let script = script.step(Kind::Port, [CLIENT0, MENDED, 0], syn);
        add(&mut seeds, &format!("offload-{name}"), script.0);
    }

    // Tables change with frames waiting, flows known and a guest in.
    let mut script = Script::default().plain(Kind::Admit, [OFFICE, 0, 0]);
    for number in 0..10 {
        let frames = [&samples["arp-request"], syn, &samples["fragment-later"]];
        for frame in frames {
            for port in [CLIENT0, OFFICE, 3] {
                script = script.step(Kind::Port, [port, MENDED, 0], frame);
            }
            script = script.step(Kind::Service, [6, 0, 0x20], frame);
            script = script.step(Kind::Back, [1, 0, 0], &[]);
        }
        script = script.plain(Kind::Install, [number, 0, 0]);
        script = script.plain(Kind::Time, [1, 0, number]);
    }
    let down = script.plain(Kind::Link, [CLIENT0, 0, 0]);
    let script = down.step(Kind::Service, [12, 0, 0x20], syn);
    add(&mut seeds, "change", script.plain(Kind::Read, [0; 3]).0);
    seeds
}

/// Tables as their writers write them: `(name, TOML)`.
fn written() -> [(&'static str, &'static str); 5] {
    [
        ("everything", include_str!("steps/everything.toml")),
        ("other", include_str!("steps/other.toml")),
        ("lan", include_str!("../../examples/lan.toml")),
        ("spread", include_str!("../../examples/spread.toml")),
        ("standalone", include_str!("../../examples/standalone.toml")),
    ]
}

/// Requests and answers of the control socket.
fn said() -> Seeds {
    let mut seeds = Seeds::new();
    for (name, text) in written() {
        let tables: Box<Tables> = toml::from_str(text).unwrap();
        let apply = Request::Apply {
            tables: tables.clone(),
        };
        let told = Response::Tables { tables };
        add(
            &mut seeds,
            &format!("apply-{name}"),
            serde_json::to_vec(&apply).unwrap(),
        );
        add(
            &mut seeds,
            &format!("tables-{name}"),
            serde_json::to_vec(&told).unwrap(),
        );
    }
    let mut subject = Subject::new(&built_in(0));
    for life in lives().into_values() {
        subject.run(&life, &mut |a, _| built_in(a));
    }
    let counters = Box::new(subject.counters());
    let told = Response::Counters { counters };
    add(&mut seeds, "counters", serde_json::to_vec(&told).unwrap());
    for (name, text) in [
        ("ask-counters", r#"{"op":"counters"}"#),
        ("ask-status", r#"{"op":"status"}"#),
        ("ask-watch", r#"{"op":"watch"}"#),
        (
            "ask-echo",
            r#"{"op":"echo","echo":{"spi":1,"si":255,"ttl":3,"timeout-ms":9,"size":90}}"#,
        ),
        (
            "ask-capture",
            r#"{"op":"capture","capture":{"spis":[1],"ports":["p"],"functions":["f"],"points":["drop"],"snaplen":64,"packets":3,"seconds":4}}"#,
        ),
        (
            "ask-probe",
            r#"{"op":"probe","probe":{"port":"client","source":"10.0.0.9/24","target":{"tcp":{"address":"10.0.0.2","port":80}},"count":3}}"#,
        ),
        (
            "error",
            r#"{"result":"error","error":{"code":"stale","message":"no"}}"#,
        ),
        (
            "health",
            r#"{"result":"health","event":{"subject":{"tunnel":"b"},"state":"dead","former":"alive"}}"#,
        ),
        (
            "echo",
            r#"{"result":"echo","reply":{"from":"192.0.2.1","code":"end-of-path","rtt-us":9,"spi":1,"si":254,"ttl":3,"mtu":1400,"functions":[{"name":"f","state":"alive","rtt-us":5}]}}"#,
        ),
    ] {
        add(&mut seeds, name, text);
    }
    seeds
}

/// Every target with its inputs.
fn seeds() -> BTreeMap<&'static str, Seeds> {
    let mut wire = samples();
    let inner = WEB.udp(b"payload");
    for (name, octets) in [
        ("nsh", nsh(1, 255, 63, [3; 16], &inner)),
        ("gpe", gpe(7, &nsh(1, 255, 63, [3; 16], &inner))),
        ("vxlan", vxlan(7, &inner)),
    ] {
        add(&mut wire, name, octets);
    }
    for (number, said) in stations().into_iter().enumerate() {
        // Their own readers begin behind Ethernet.
        add(&mut wire, &format!("station-{number}"), said[14..].to_vec());
        add(&mut wire, &format!("station-framed-{number}"), said);
    }
    let echo = b"\x01\0\0\x24\x01\x02\0\0\0\0\0\x07\0\0\0\x08\x01\0\0\x08\x12\xb6\0\0\xc0\0\x02\x01\x03\0\0\x04\0\0\x01\xff";
    add(&mut wire, "sfc-echo", echo);

    let headers = golden().into_iter().filter_map(|(name, octets)| {
        let at = [14, 42, 50].into_iter().find(|&at| {
            let octets = octets.get(at..).unwrap_or_default();
            kc_forwarder::wire::nsh::Packet::new_checked(octets).is_ok()
        })?;
        Some((name.to_owned(), octets[at..].to_vec()))
    });
    let mut toml: Seeds = Seeds::new();
    let mut tables = Seeds::new();
    for (name, text) in written() {
        let json: Tables = toml::from_str(text).unwrap();
        let json = serde_json::to_vec(&json).unwrap();
        add(&mut toml, name, text);
        add(&mut toml, &format!("{name}-json"), &json[..]);
        let life = &lives()["change"];
        let octets = [&json, &[0][..], life].concat();
        add(&mut tables, &format!("json-{name}"), octets);
    }
    for (number, (name, life)) in (1_u8..).zip(lives()) {
        add(&mut tables, &name, [&[number, 0][..], &life].concat());
    }
    let mut functions = Seeds::new();
    for core in 0..6 {
        let mut script = Script(vec![core]);
        for (name, frame) in samples() {
            let one = Script(vec![core]).step(Kind::Port, [0, MENDED, 0], &frame);
            add(&mut functions, &format!("{core}-{name}"), one.0);
            if frame.len() > 600 {
                continue;
            }
            for side in 0..3 {
                // A frame in, the same again and turned round, and an answer.
                script = script.step(Kind::Port, [side, MENDED, 0], &frame);
                script = script.step(Kind::Gpe, [0, 2, side], &[]);
            }
            script = script.step(Kind::Vxlan, [8, 0, 0], &[]);
        }
        add(&mut functions, &format!("{core}"), script.0);
    }
    for (name, rules) in [
        (
            "rules",
            "reject udp from any to any port 53\ndeny tcp from 10.0.0.0/8 to any port 1-70\n",
        ),
        (
            "rules-context",
            "allow icmp from any to fd00::/16 context 0xfff6:1=01020304\ndefault allow",
        ),
    ] {
        add(&mut functions, name, rules);
    }
    BTreeMap::from([
        ("wire", wire),
        ("nsh", headers.collect()),
        ("pipeline", lives()),
        ("tables", tables),
        ("control", said()),
        ("toml", toml),
        ("functions", functions),
    ])
}

fn write(folder: &Path, seeds: BTreeMap<&str, Seeds>) {
    for (target, seeds) in seeds {
        let folder = folder.join(target);
        std::fs::create_dir_all(&folder).unwrap();
        for (name, octets) in seeds {
            std::fs::write(folder.join(name), octets).unwrap();
        }
    }
}

/// What all lives together did.
fn lived() -> (Counters, Balance) {
    let mut subject = Subject::new(&built_in(0));
    for life in lives().into_values() {
        subject.run(&life, &mut |a, _| built_in(a));
        subject.install(&built_in(0));
    }
    (subject.counters(), subject.balance())
}

#[test]
fn seeds_reach_every_way_in_and_out_of_a_forwarder() {
    let seeds = seeds();
    assert!(seeds.values().all(|seeds| seeds.len() >= 10));
    if let Some(folder) = std::env::var_os("KC_FUZZ_SEEDS") {
        write(folder.as_ref(), seeds);
    }
    let (counters, balance) = lived();
    for count in [
        balance.received,
        balance.replicated,
        balance.segmented,
        balance.generated,
        balance.sent,
        balance.consumed,
        balance.dropped,
    ] {
        assert!(count > 10, "{balance:?}");
    }
    for port in &counters.ports {
        assert!(port.tx_packets > 0, "nothing left by {}", port.name);
    }
    for tunnel in &counters.tunnels {
        let passed = tunnel.tx_packets + tunnel.rx_packets;
        assert!(passed > 0, "nothing went through {tunnel:?}");
    }
    for path in &counters.paths {
        assert!(path.packets > 0, "nothing was looked up at {path:?}");
    }
    let drops = counters.drops;
    assert!(drops.len() > 14, "{drops:?}");
}

#[test]
fn what_is_said_over_the_control_socket_is_understood() {
    for (name, octets) in said() {
        let request = serde_json::from_slice::<Request>(&octets).map(drop);
        let response = serde_json::from_slice::<Response>(&octets).map(drop);
        let errors = (request.err(), response.err());
        assert!(
            errors.0.is_none() || errors.1.is_none(),
            "{name}: {errors:?}"
        );
    }
}

#[test]
fn lives_go_well_under_any_tables() {
    let any = |number| Chosen::new(Compiled::new(any_tables(number)).unwrap());
    for (number, life) in (0..).zip(lives().into_values().step_by(4)) {
        let mut subject = Subject::new(&any(number));
        subject.run(&life, &mut |a, b| any(u64::from(a) << 8 | u64::from(b)));
    }
}
