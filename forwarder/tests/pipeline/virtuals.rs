//! Virtual addresses of a segment: ARP is answered here, flows go to members and stay there.

use crate::frames::{CLIENT, Flow, SERVER, ethernet, is_sound, vxlan};
use crate::world::{Sent, World, only};
use kc_forwarder_api::DropReason;

const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
const FIN: u8 = 0x01;
const SERVICE: [u8; 6] = [2, 0, 0, 0, 0, 0xfe];
const LOCAL: [u8; 6] = [2, 0, 0, 0, 1, 1];
const REMOTE: [u8; 6] = [2, 0, 0, 0, 1, 2];

/// The tables with these members of 10.0.0.9: `local`, `remote`, each perhaps `draining`.
fn tables(members: &[(&str, bool)]) -> String {
    let member = |(name, draining): &(&str, bool)| {
        let last = if *name == "local" { 1 } else { 2 };
        format!("{{ mac = \"02:00:00:00:01:0{last}\", draining = {draining} }}")
    };
    let members: Vec<_> = members.iter().map(member).collect();
    format!(
        r#"
        generation = 1
        ports = [{{ name = "a" }}, {{ name = "b" }}]
        underlay = {{ address = "192.168.50.1" }}
        tunnels = [{{ name = "two", transport = {{ vxlan-gpe = {{ remote = "192.168.50.2", vni = 100 }} }},
            liveness = {{ interval-ms = 100 }} }}]
        [[segments]]
        vni = 7
        ports = ["a", "b"]
        peers = ["192.168.50.2", "192.168.50.3"]
        entries = [
            {{ mac = "02:00:00:00:01:01", port = "b" }},
            {{ mac = "02:00:00:00:01:02", peer = "192.168.50.2" }},
        ]
        virtuals = [{{ address = "10.0.0.9", mac = "02:00:00:00:00:fe", members = [{}] }}]
        "#,
        members.join(", ")
    )
}

fn both() -> String {
    tables(&[("local", false), ("remote", false)])
}

/// A frame of a client that uses this port, to the virtual address.
fn to_service(port: u16, flags: u8) -> Vec<u8> {
    let mut frame = flow(port).tcp(flags, &[], b"");
    frame[..6].copy_from_slice(&SERVICE);
    frame
}

fn flow(port: u16) -> Flow {
    Flow {
        source: ("10.0.0.1", port),
        destination: ("10.0.0.9", 80),
    }
}

/// Who got the only frame: by where it went and its MAC address, which have to agree.
fn member(sent: &[Sent], frame: &[u8]) -> &'static str {
    assert_eq!(sent.len(), 1, "{sent:?}");
    let (name, mac, bytes) = match sent[0].via.as_str() {
        "b" => ("local", LOCAL, &sent[0].bytes[..]),
        "vxlan 192.168.50.2" => ("remote", REMOTE, &sent[0].bytes[8..]),
        other => panic!("sent to {other}"),
    };
    assert_eq!(bytes[..6], mac);
    assert_eq!(bytes[6..], frame[6..], "nothing else is changed");
    name
}

fn choose(world: &mut World, port: u16, flags: u8) -> &'static str {
    let frame = to_service(port, flags);
    let sent = world.port("a", &frame);
    member(&sent, &frame)
}

fn arp(operation: u8, sender: [u8; 4], target: [u8; 4], to: [u8; 6]) -> Vec<u8> {
    let mut body = vec![0, 1, 8, 0, 6, 4, 0, operation];
    body.extend(CLIENT);
    body.extend(sender);
    body.extend([0; 6]);
    body.extend(target);
    ethernet(to, CLIENT, 0x0806, &body)
}

#[test]
fn a_question_for_the_address_is_answered_where_it_is_asked_and_not_flooded() {
    let mut world = World::new(&both());
    // As a broadcast, and as kernels ask again whom they know already.
    for to in [[0xff; 6], SERVICE] {
        let answer = only(
            world.port("a", &arp(1, [10, 0, 0, 1], [10, 0, 0, 9], to)),
            "a",
        );
        assert_eq!(answer[..6], CLIENT);
        assert_eq!(answer[6..12], SERVICE);
        assert_eq!(answer[20..22], [0, 2], "a reply");
        assert_eq!(answer[22..28], SERVICE);
        assert_eq!(answer[28..32], [10, 0, 0, 9]);
        assert_eq!(answer[32..38], CLIENT);
        assert_eq!(answer[38..42], [10, 0, 0, 1]);
    }
    // Other questions go to everybody, as ever.
    assert_eq!(
        world
            .port("a", &arp(1, [10, 0, 0, 1], [10, 0, 0, 2], [0xff; 6]))
            .len(),
        3
    );
    // The other box answers its own stations.
    let foreign = arp(1, [10, 0, 0, 3], [10, 0, 0, 9], [0xff; 6]);
    assert!(world.vxlan("192.168.50.2", &vxlan(7, &foreign)).is_empty());
    assert_eq!(world.drops(DropReason::VirtualAddress), 1);
}

#[test]
fn nobody_may_claim_the_address() {
    let mut world = World::new(&both());
    let claims = [
        arp(2, [10, 0, 0, 9], [10, 0, 0, 1], [0xff; 6]),
        arp(1, [10, 0, 0, 9], [10, 0, 0, 9], [0xff; 6]),
        arp(1, [10, 0, 0, 9], [10, 0, 0, 2], [0xff; 6]),
    ];
    for claim in &claims {
        assert!(world.port("a", claim).is_empty());
        assert!(world.vxlan("192.168.50.2", &vxlan(7, claim)).is_empty());
    }
    assert_eq!(world.drops(DropReason::VirtualAddress), 6);
    // Not by its MAC address either: frames to it are not bridged by what was learned.
    let mut claim = flow(1).udp(b"mine");
    claim[6..12].copy_from_slice(&SERVICE);
    world.port("b", &claim);
    let mut frame = to_service(5000, SYN);
    frame[30..34].copy_from_slice(&[10, 0, 0, 8]);
    assert!(world.port("a", &frame).is_empty(), "another address");
    assert_eq!(world.drops(DropReason::VirtualAddress), 7);
}

#[test]
fn flows_stay_while_members_join_drain_and_tables_are_swapped() {
    let mut world = World::new(&tables(&[("local", false)]));
    assert_eq!(choose(&mut world, 1000, SYN), "local");
    world.install(&both());
    let mut known: Vec<_> = (1000..1100)
        .map(|port| (port, choose(&mut world, port, SYN)))
        .collect();
    assert_eq!(known[0].1, "local", "it was there before");
    assert!(known.iter().any(|(_, member)| *member == "remote"));
    for (port, member) in &known {
        assert_eq!(choose(&mut world, *port, ACK), *member);
    }
    world.install(&tables(&[("local", true), ("remote", false)]));
    for (port, member) in &known {
        assert_eq!(
            choose(&mut world, *port, ACK),
            *member,
            "it drains, and keeps what it has"
        );
    }
    known.extend((2000..2100).map(|port| (port, "remote")));
    for (port, member) in &known[100..] {
        assert_eq!(
            choose(&mut world, *port, SYN),
            *member,
            "nothing new comes to it"
        );
    }
    let counters = world.counters();
    let members = &counters.virtuals[0].members;
    assert_eq!((members[0].draining, members[1].draining), (true, false));
    assert_eq!(members[0].flows + members[1].flows, 200);
    // Flows of the one that has gone go to the other at once.
    world.install(&tables(&[("remote", false)]));
    for (port, _) in &known {
        assert_eq!(choose(&mut world, *port, ACK), "remote");
    }
    world.install(&tables(&[]));
    assert!(world.port("a", &to_service(1000, ACK)).is_empty());
    assert_eq!(world.drops(DropReason::GroupDown), 1);
}

#[test]
fn a_member_whose_port_is_down_loses_its_flows_and_no_others() {
    let mut world = World::new(&both());
    let before: Vec<_> = (1000..1100)
        .map(|port| choose(&mut world, port, SYN))
        .collect();
    world.set_port("b", false, 1500);
    for port in 1000..1100 {
        assert_eq!(choose(&mut world, port, ACK), "remote");
    }
    world.set_port("b", true, 1500);
    for (port, before) in (1000..1100).zip(&before) {
        assert_eq!(
            choose(&mut world, port, ACK),
            "remote",
            "it stays now, {before}"
        );
    }
}

#[test]
fn members_on_a_box_that_no_longer_answers_lose_their_flows() {
    let mut world = World::new(&both());
    let other = both().replace("192.168.50.1", "192.168.50.9");
    let other = other.replace("192.168.50.2", "192.168.50.1");
    let mut other = World::new(&other.replace("192.168.50.9", "192.168.50.2"));
    for probe in world.tick() {
        let answer = only(other.gpe("192.168.50.1", &probe.bytes), "gpe 192.168.50.1");
        assert_eq!(world.gpe("192.168.50.2", &answer), []);
    }
    let told = world.counters().round_trips;
    assert_eq!(told[0].tunnel.as_str(), "two");
    let spread: Vec<_> = (1000..1050)
        .map(|port| choose(&mut world, port, SYN))
        .collect();
    assert!(spread.contains(&"remote"));
    while world.pipeline.health_events().len() < 2 {
        world.now_ms = world.pipeline.next_deadline().unwrap();
        world.tick();
        if world.now_ms > 10_000 {
            break;
        }
    }
    for port in 1000..1050 {
        assert_eq!(choose(&mut world, port, ACK), "local");
    }
    assert!(world.counters().round_trips.is_empty(), "it is dead");
}

#[test]
fn a_draining_member_tells_when_its_last_flow_is_over() {
    let mut world = World::new(&tables(&[("local", false)]));
    choose(&mut world, 1000, SYN);
    choose(&mut world, 1000, ACK);
    world.install(&tables(&[("local", true), ("remote", false)]));
    choose(&mut world, 1000, FIN | ACK);
    choose(&mut world, 1000, ACK);
    let flows = |world: &World| world.counters().virtuals[0].members[0].flows;
    world.pipeline.expire(world.now_ms);
    assert_eq!(flows(&world), 1);
    world.now_ms += 5_001;
    world.pipeline.expire(world.now_ms);
    assert_eq!(flows(&world), 0);
}

#[test]
fn only_the_box_of_the_client_spreads() {
    let mut world = World::new(&both());
    let sent = world.vxlan("192.168.50.3", &vxlan(7, &to_service(1000, SYN)));
    assert!(sent.is_empty());
    assert_eq!(world.drops(DropReason::VirtualAddress), 1);
    // What it has spread comes as a frame for one of ours.
    let mut chosen = to_service(1000, SYN);
    chosen[..6].copy_from_slice(&LOCAL);
    assert_eq!(
        only(world.vxlan("192.168.50.3", &vxlan(7, &chosen)), "b"),
        chosen
    );
}

#[test]
fn errors_and_fragments_go_where_their_flow_goes() {
    let mut world = World::new(&both());
    for port in 1000..1040 {
        let mut datagram = flow(port).udp(&[7; 1400]);
        datagram[..6].copy_from_slice(&SERVICE);
        let sent = world.port("a", &datagram);
        let whole = member(&sent, &datagram);
        let parts = fragments(&datagram);
        // The second overtakes the first.
        assert!(world.port("a", &parts[1]).is_empty());
        let sent = world.port("a", &parts[0]);
        assert_eq!(sent.len(), 2);
        for (sent, part) in sent.into_iter().zip(&parts) {
            assert_eq!(member(&[sent], part), whole);
        }
        // An error about an answer of that member, whoever it comes from.
        let answer = flow(port).back().udp(b"answer");
        let error = icmp_error(&answer[14..]);
        let sent = world.port("a", &error);
        assert_eq!(member(&sent, &error), whole);
    }
}

#[test]
fn an_echo_is_a_flow_too() {
    let mut world = World::new(&both());
    let mut seen = std::collections::BTreeSet::new();
    for ident in 0..32_u8 {
        let mut body = vec![8, 0, 0, 0, 0, ident, 0, 1];
        let sum = body
            .chunks(2)
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
            .sum::<u32>();
        body[2..4].copy_from_slice(&(!u16::try_from(sum).unwrap()).to_be_bytes());
        let frame = ip_frame(1, &body);
        assert!(is_sound(&frame));
        let first = member(&world.port("a", &frame), &frame);
        assert_eq!(member(&world.port("a", &frame), &frame), first);
        seen.insert(first);
    }
    assert_eq!(seen.len(), 2);
}

/// A datagram in two fragments.
fn fragments(frame: &[u8]) -> [Vec<u8>; 2] {
    let part = |from: usize, to: usize, more: bool| {
        let mut part = frame[..34].to_vec();
        part.extend(&frame[34 + from..34 + to]);
        part[16..18].copy_from_slice(&u16::try_from(20 + to - from).unwrap().to_be_bytes());
        let offset = u16::try_from(from / 8).unwrap() | if more { 0x2000 } else { 0 };
        part[20..22].copy_from_slice(&offset.to_be_bytes());
        part[18..20].copy_from_slice(&frame[34..36]);
        sum_header(&mut part);
        part
    };
    let length = frame.len() - 34;
    [part(0, 800, true), part(800, length, false)]
}

fn icmp_error(quoted: &[u8]) -> Vec<u8> {
    let mut body = vec![3, 4, 0, 0, 0, 0, 5, 0];
    body.extend(&quoted[..28]);
    ip_frame(1, &body)
}

/// From some router to the virtual address.
fn ip_frame(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = flow(1).udp(&vec![0; payload.len() - 8]);
    frame[..6].copy_from_slice(&SERVICE);
    frame[6..12].copy_from_slice(&SERVER);
    frame[23] = protocol;
    frame[34..].copy_from_slice(payload);
    sum_header(&mut frame);
    frame
}

fn sum_header(frame: &mut [u8]) {
    frame[24..26].fill(0);
    let words = frame[14..34].chunks(2);
    let sum = words
        .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])))
        .sum::<u32>();
    let folded = u16::try_from((sum & 0xffff) + (sum >> 16)).unwrap();
    frame[24..26].copy_from_slice(&(!folded).to_be_bytes());
}
