//! The compiled classifier against the plain reading of the rules, one by one from the top.

use super::fields::Subject;
use super::search::{Classifier, Condition};
use fastrand::Rng;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use kc_forwarder_api::{MacAddr, Match, PortRange, Protocol};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

fn meets(matches: &Match, port: Option<u16>, subject: &Subject) -> bool {
    let ip = subject.ip;
    let within = |net: Option<IpNet>, address: Option<IpAddr>| {
        net.is_none_or(|net| address.is_some_and(|address| net.contains(&address)))
    };
    let ranged = |range: Option<PortRange>, port: Option<u16>| {
        range.is_none_or(|range| port.is_some_and(|port| range.contains(port)))
    };
    port.is_none_or(|port| port == subject.port)
        && matches.vlan.is_none_or(|vlan| vlan == subject.vlan)
        && matches
            .source_mac
            .is_none_or(|mac| mac.0 == subject.source_mac)
        && matches
            .destination_mac
            .is_none_or(|mac| mac.0 == subject.destination_mac)
        && matches
            .ethertype
            .is_none_or(|ethertype| ethertype == subject.ethertype)
        && within(matches.source, ip.map(|(source, _, _)| source))
        && within(
            matches.destination,
            ip.map(|(_, destination, _)| destination),
        )
        && matches
            .protocol
            .is_none_or(|protocol| ip.is_some_and(|(_, _, p)| p == protocol.0))
        && ranged(
            matches.source_ports,
            subject.ports.map(|(source, _)| source),
        )
        && ranged(
            matches.destination_ports,
            subject.ports.map(|(_, destination)| destination),
        )
}

/// Few values, so that rules and frames meet often.
fn address(rng: &mut Rng) -> IpAddr {
    let bits = rng.u32(..) & 0x0103_0103;
    if rng.u8(0..3) == 0 {
        IpAddr::V6(Ipv6Addr::from_bits(
            u128::from(bits) << 96 | u128::from(bits),
        ))
    } else {
        IpAddr::V4(Ipv4Addr::from_bits(bits))
    }
}

fn net(rng: &mut Rng, v6: bool) -> IpNet {
    loop {
        match address(rng) {
            IpAddr::V4(v4) if !v6 => return Ipv4Net::new(v4, rng.u8(0..=32)).unwrap().into(),
            IpAddr::V6(v6_address) if v6 => {
                return Ipv6Net::new(v6_address, rng.u8(0..=128)).unwrap().into();
            }
            _ => {}
        }
    }
}

fn range(rng: &mut Rng) -> PortRange {
    let (a, b) = (rng.u16(0..64), rng.u16(0..64));
    match rng.u8(0..4) {
        0 => PortRange::new(a, a),
        1 => PortRange::new(1, 65_534),
        _ => PortRange::new(a.min(b), a.max(b)),
    }
    .unwrap()
}

fn any_match(rng: &mut Rng) -> (Match, Option<u16>) {
    let v6 = rng.u8(0..3) == 0;
    let mut some = |chance: u8| rng.u8(0..chance) == 0;
    let wants = [
        some(3),
        some(6),
        some(8),
        some(8),
        some(8),
        some(2),
        some(2),
        some(3),
        some(3),
        some(3),
    ];
    let [
        port,
        vlan,
        source_mac,
        destination_mac,
        ethertype,
        source,
        destination,
        protocol,
        from,
        to,
    ] = wants;
    let matches = Match {
        port: None,
        vlan: vlan.then(|| rng.u16(0..2)),
        source_mac: source_mac.then(|| MacAddr([2, 0, 0, 0, 0, rng.u8(0..2)])),
        destination_mac: destination_mac.then(|| MacAddr([2, 0, 0, 0, 0, rng.u8(0..2)])),
        ethertype: ethertype.then(|| *rng.choice(&[0x0800, 0x86dd, 0x0806]).unwrap()),
        source: source.then(|| net(rng, v6)),
        destination: destination.then(|| net(rng, v6)),
        protocol: protocol.then(|| Protocol(*rng.choice(&[6, 17, 1]).unwrap())),
        source_ports: from.then(|| range(rng)),
        destination_ports: to.then(|| range(rng)),
    };
    (matches, port.then(|| rng.u16(0..3)))
}

fn any_subject(rng: &mut Rng) -> Subject {
    let is_ip = rng.u8(0..8) != 0;
    let (source, destination) = loop {
        let (source, destination) = (address(rng), address(rng));
        if source.is_ipv4() == destination.is_ipv4() {
            break (source, destination);
        }
    };
    let protocol = *rng.choice(&[6, 17, 1]).unwrap();
    let ported = is_ip && protocol != 1 && rng.u8(0..5) != 0;
    Subject {
        port: rng.u16(0..3),
        vlan: rng.u16(0..2),
        ethertype: match (is_ip, source.is_ipv4()) {
            (true, true) => 0x0800,
            (true, false) => 0x86dd,
            _ => 0x0806,
        },
        source_mac: [2, 0, 0, 0, 0, rng.u8(0..2)],
        destination_mac: [2, 0, 0, 0, 0, rng.u8(0..2)],
        ip: is_ip.then_some((source, destination, protocol)),
        ports: ported.then(|| (rng.u16(0..64), rng.u16(0..64))),
    }
}

#[test]
fn the_first_rule_that_matches_wins_as_if_they_were_read_one_by_one() {
    for seed in 0..200 {
        let rng = &mut Rng::with_seed(seed);
        let rules: Vec<_> = (0..rng.usize(0..80)).map(|_| any_match(rng)).collect();
        let conditions = rules.iter().map(|(matches, port)| Condition {
            matches,
            port: *port,
        });
        let classifier = Classifier::new(conditions);
        for _ in 0..200 {
            let subject = any_subject(rng);
            let read = rules
                .iter()
                .position(|(matches, port)| meets(matches, *port, &subject));
            let found = classifier.first_match(&subject);
            assert_eq!(
                found,
                read.map(|rule| u32::try_from(rule).unwrap()),
                "{seed}: {subject:?}"
            );
        }
    }
}

#[test]
fn a_zero_prefix_matches_its_family_and_not_the_other() {
    let matches = Match {
        source: Some("0.0.0.0/0".parse().unwrap()),
        ..Match::default()
    };
    let classifier = Classifier::new(
        [Condition {
            matches: &matches,
            port: None,
        }]
        .into_iter(),
    );
    let rng = &mut Rng::with_seed(1);
    for _ in 0..100 {
        let subject = any_subject(rng);
        let v4 = subject.ip.is_some_and(|(source, _, _)| source.is_ipv4());
        assert_eq!(classifier.first_match(&subject).is_some(), v4);
    }
}
