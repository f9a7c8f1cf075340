//! Classifier rules: what enters a chain's ends goes down the path that carries the chain.
//! Chains that pick traffic come before those that take everything, then the name decides.

use super::scene::Scene;
use crate::resource::TrafficMatch;
use kc_agent_api::NodeName;
use kc_forwarder_api::{Action, Match, Metadata, PortName, Protocol, Rule, Si, Spi};

const ARP: u16 = 0x0806;
const IPV6: u16 = 0x86dd;

/// All rules of `node`, first match wins.
pub(super) fn rules(scene: &Scene<'_>, node: &NodeName) -> Vec<Rule> {
    let passing = scene.passing(node).iter();
    let carried = passing.filter(|passing| passing.carrying);
    let mut carried: Vec<_> = carried.map(|p| (p.chain, p.path)).collect();
    carried.sort_by_key(|(name, path)| (path.spec.matches.is_empty(), *name));
    let mut rules = Vec::new();
    for (name, path) in carried {
        let spec = &path.spec;
        if spec.from.node == *node {
            let port = &spec.from.interface;
            rules.extend(entry(name.as_str(), port, path.forward, &spec.matches));
        }
        if let Some(reverse) = path.reverse.filter(|_| spec.to.node == *node) {
            let back: Vec<_> = spec.matches.iter().map(mirrored).collect();
            let name = format!("{name}/return");
            rules.extend(entry(&name, &spec.to.interface, reverse, &back));
        }
    }
    rules
}

/// The same traffic seen from the far end.
fn mirrored(traffic: &TrafficMatch) -> TrafficMatch {
    TrafficMatch {
        protocol: traffic.protocol,
        source: traffic.destination,
        destination: traffic.source,
        source_ports: traffic.destination_ports,
        destination_ports: traffic.source_ports,
        vlan: traffic.vlan,
    }
}

fn entry(name: &str, port: &PortName, spi: Spi, traffic: &[TrafficMatch]) -> Vec<Rule> {
    let si = Si::MAX;
    let rule = |suffix: String, matches: Match| Rule {
        name: format!("{name}/{suffix}"),
        matches: Match {
            port: Some(port.clone()),
            ..matches
        },
        action: Action::Path {
            spi,
            si,
            ttl: None,
            metadata: Metadata::default(),
        },
    };
    if traffic.is_empty() {
        return vec![rule("all".to_owned(), Match::default())];
    }
    let mut rules: Vec<_> = traffic
        .iter()
        .enumerate()
        .map(|(number, traffic)| {
            let matches = Match {
                vlan: traffic.vlan,
                source: traffic.source,
                destination: traffic.destination,
                protocol: traffic.protocol,
                source_ports: traffic.source_ports,
                destination_ports: traffic.destination_ports,
                ..Match::default()
            };
            rule((number + 1).to_string(), matches)
        })
        .collect();
    // Without address resolution the picked traffic would never come.
    let arp = Match {
        ethertype: Some(ARP),
        ..Match::default()
    };
    let nd = Match {
        ethertype: Some(IPV6),
        protocol: Some(Protocol::ICMPV6),
        ..Match::default()
    };
    rules.push(rule("arp".to_owned(), arp));
    rules.push(rule("nd".to_owned(), nd));
    rules
}
