//! Clusters of a function: where members are, who carries, and who comes after one that died.

use super::cluster::node;
use super::*;
use kc_agent_api::Network;
use kc_forwarder_api::{HealthState, NextHop};
use std::collections::BTreeSet;

const CLUSTER: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: firewall}
spec: {image: f, replicas: 3, cluster: {mode: active-standby}}
---
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: dpi}
spec: {image: d, placement: {nodes: [box3]}}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [firewall, dpi]
  scheduler: {algorithm: shortest-path}
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
";

fn active() -> String {
    CLUSTER.replace("active-standby", "active-active, size: 3")
}

fn carried(text: &str) -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.apply(text);
    cluster.settle();
    cluster.story.clear();
    cluster
}

/// The members at the first place of the path, `name` or `name~` of one that stands by.
fn set(cluster: &Cluster) -> Vec<String> {
    let chain = cluster.state.chains.values().next().unwrap();
    let first = &chain.carrying().unwrap().instances[0];
    let others = first.others.iter();
    let mark = if first.standby { "~" } else { "" };
    let others = others.map(|other| format!("{}{mark}", other.name));
    std::iter::once(first.name.clone()).chain(others).collect()
}

#[test]
fn a_chain_gets_members_on_different_boxes() {
    let cluster = carried(CLUSTER);
    assert_eq!(set(&cluster), ["firewall-1", "firewall-2~"]);
    let cluster = carried(&active());
    assert_eq!(set(&cluster), ["firewall-1", "firewall-2", "firewall-3"]);
}

#[test]
fn every_box_that_flows_come_from_or_go_to_knows_the_members_by_the_same_names() {
    let cluster = carried(CLUSTER);
    let keys = |name: &str| -> Vec<(String, bool)> {
        let groups = &cluster.boxes[&node(name)].tables.groups;
        assert!(groups.iter().all(|group| group.keep_arrivals));
        let members = groups.iter().flat_map(|group| &group.members);
        members.map(|m| (m.key().to_owned(), m.backup)).collect()
    };
    let both = [
        ("firewall-1".to_owned(), false),
        ("firewall-2".to_owned(), true),
    ];
    for name in ["box1", "box2", "box3"] {
        assert_eq!(keys(name), both, "{name}");
    }
    let documents: Vec<_> = ["box1", "box2", "box3"]
        .into_iter()
        .map(|name| {
            let tables = &cluster.boxes[&node(name)].tables;
            serde_json::to_string_pretty(&(&tables.groups, &tables.paths)).unwrap()
        })
        .collect();
    insta::assert_snapshot!(documents.join("\n"));
    let liveness = cluster.boxes[&node("box1")].tables.functions[0]
        .liveness
        .clone();
    assert_eq!(liveness.unwrap().interval_ms, 100);
}

#[test]
fn the_one_that_stands_by_takes_over_and_stays_and_another_stands_by() {
    let mut cluster = carried(CLUSTER);
    cluster.answer("box1", "firewall-1", HealthState::Alive);
    cluster.settle();
    cluster.answer("box1", "firewall-1", HealthState::Dead);
    cluster.settle();
    assert_eq!(
        set(&cluster),
        ["firewall-2", "firewall-3~"],
        "{}",
        cluster.told()
    );
    assert!(!cluster.told().contains("broken"), "{}", cluster.told());
    cluster.answer("box1", "firewall-1", HealthState::Alive);
    cluster.pass(30_000);
    assert_eq!(set(&cluster), ["firewall-2", "firewall-3~"], "it stays");
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn a_set_that_is_not_whole_says_so_and_is_filled_when_it_can_be() {
    let mut cluster = carried(CLUSTER);
    cluster.kill_container("box2", "firewall-2");
    cluster.kill_container("box3", "firewall-3");
    cluster.settle();
    assert_eq!(set(&cluster), ["firewall-1"]);
    assert!(
        cluster
            .told()
            .contains("cluster of firewall has 1 of 2 members"),
        "{}",
        cluster.told()
    );
    assert_eq!(cluster.status("web"), "Ready");
    cluster.heal_container("box3", "firewall-3");
    cluster.settle();
    assert_eq!(set(&cluster), ["firewall-1", "firewall-3~"]);
    assert!(
        cluster.told().contains("firewall-3 joins firewall-1"),
        "{}",
        cluster.told()
    );
    // Its only way out of the last one is that this one dies, too.
    cluster.kill_container("box1", "firewall-1");
    cluster.kill_container("box3", "firewall-3");
    cluster.settle();
    assert!(
        cluster.status("web").starts_with("Broken"),
        "{}",
        cluster.status("web")
    );
    cluster.heal_container("box2", "firewall-2");
    cluster.settle();
    assert_eq!(set(&cluster), ["firewall-2"]);
}

#[test]
fn a_box_with_a_member_dies_and_no_path_is_dead_for_it() {
    for text in [CLUSTER.to_owned(), active()] {
        let mut cluster = carried(&text);
        cluster.cut("box2");
        cluster.pass(5_000);
        assert!(!cluster.told().contains("broken"), "{}", cluster.told());
        assert_eq!(cluster.status("web"), "Ready");
        let members = set(&cluster);
        assert!(
            members[0] == "firewall-1" && !members.iter().any(|m| m.starts_with("firewall-2")),
            "{members:?}"
        );
        assert_eq!(members.len(), 2);
    }
}

#[test]
fn a_drained_member_is_replaced_and_a_change_of_mode_is_a_new_path() {
    let mut cluster = carried(CLUSTER);
    cluster.state.set_cordon(&node("box1"), true, true);
    cluster.settle();
    assert_eq!(
        set(&cluster),
        ["firewall-2", "firewall-3~"],
        "{}",
        cluster.told()
    );
    cluster.apply(&active().replace("size: 3", "size: 2"));
    cluster.settle();
    assert_eq!(set(&cluster), ["firewall-2", "firewall-3"]);
    cluster.apply(&CLUSTER.replace(", cluster: {mode: active-standby}", ""));
    cluster.settle();
    assert_eq!(set(&cluster), ["firewall-2"]);
    let groups = cluster.boxes.values().map(|one| one.tables.groups.len());
    assert_eq!(groups.sum::<usize>(), 0);
}

#[test]
fn members_keep_apart_and_who_finds_no_box_of_its_own_waits() {
    let mut cluster = Cluster::new(2);
    cluster.apply(&CLUSTER.replace("box3", "box2"));
    cluster.settle();
    let waiting = cluster.state.instances["firewall-3"].waiting.as_deref();
    assert_eq!(
        waiting,
        Some(
            "box1: another member of its cluster is there; box2: another member of its cluster is there"
        )
    );
    assert_eq!(set(&cluster), ["firewall-1", "firewall-2~"]);
}

#[test]
fn an_update_takes_one_member_at_a_time_and_another_carries() {
    let mut cluster = carried(CLUSTER);
    cluster.apply(&CLUSTER.replace("image: f,", "image: g,"));
    cluster.pass(60_000);
    assert!(!cluster.told().contains("broken"), "{}", cluster.told());
    for one in cluster.boxes.values() {
        assert!(
            one.images.values().all(|image| image != "f"),
            "{}",
            cluster.told()
        );
    }
    assert_eq!(set(&cluster).len(), 2);
}

#[test]
fn chains_end_where_their_members_are_too() {
    // Both ends and a member on one box, and a second cluster behind the first.
    let text = CLUSTER
        .replace(
            "spec: {image: d, placement: {nodes: [box3]}}",
            "spec: {image: d, replicas: 2, cluster: {mode: active-active}, legs: per-path}",
        )
        .replace("to: {node: box3", "to: {node: box1");
    let mut cluster = carried(&text);
    cluster.check();
    let tables = &cluster.boxes[&node("box1")].tables;
    let groups = tables.paths.iter().flat_map(|path| &path.hops);
    let groups = groups.filter(|hop| matches!(hop.to, NextHop::Group { .. }));
    assert_eq!((groups.count(), tables.groups.len()), (4, 2));
    cluster.kill_container("box1", "dpi-1");
    cluster.settle();
    assert_eq!(cluster.path("web").len(), 2);
}

#[test]
fn members_with_a_hook_are_told_what_they_are_and_who_else_there_is() {
    let hook = "mode: active-standby, hook: {command: [/sync]}";
    let mut cluster = carried(&CLUSTER.replace("mode: active-standby", hook));
    let told = |cluster: &Cluster, on: &str, name: &str| {
        let document = cluster.boxes[&node(on)].retained.clone().unwrap();
        let container = document.containers.into_iter().find(|c| c.name == name);
        let container = container.unwrap();
        let membership = container.cluster.unwrap();
        assert_eq!(membership.hook, ["/sync"]);
        let parts = membership.chains.into_iter().map(|(chain, part)| {
            let peers: Vec<_> = part.peers.iter().map(ToString::to_string).collect();
            format!("{chain} {}: {}", part.role.as_str(), peers.join(" "))
        });
        let Network::Legs(legs) = container.network else {
            panic!("{:?}", container.network)
        };
        let sync = legs.iter().find(|leg| leg.interface.as_str() == "sync");
        let sync = sync.unwrap().addresses[0].addr();
        assert_eq!(membership.address, Some(sync));
        format!("{sync} {}", parts.collect::<Vec<_>>().join("; "))
    };
    assert_eq!(
        told(&cluster, "box1", "firewall-1"),
        "10.128.1.2 web active: firewall-2@box2/10.128.2.2/standby"
    );
    assert_eq!(
        told(&cluster, "box2", "firewall-2"),
        "10.128.2.2 web standby: firewall-1@box1/10.128.1.2/active"
    );
    assert_eq!(told(&cluster, "box3", "firewall-3"), "10.128.3.2 ");
    cluster.kill_container("box1", "firewall-1");
    cluster.settle();
    assert_eq!(
        told(&cluster, "box2", "firewall-2"),
        "10.128.2.2 web active: firewall-3@box3/10.128.3.2/standby"
    );
    assert_eq!(told(&cluster, "box1", "firewall-1"), "10.128.1.2 ");
}

#[test]
fn where_tunnels_are_only_where_paths_are_members_have_them_too() {
    let text = CLUSTER
        .replace(
            "replicas: 3,",
            "replicas: 4, placement: {nodes: [box5, box6, box7, box8]},",
        )
        .replace(
            "mode: active-standby",
            "mode: active-standby, size: 3, hook: {command: [/sync]}",
        );
    let mut cluster = Cluster::new(66);
    cluster.apply(&text);
    cluster.settle();
    cluster.check();
    assert_eq!(set(&cluster), ["firewall-1", "firewall-2~", "firewall-3~"]);
    let tunnels = |cluster: &Cluster, on: &str| -> Vec<String> {
        let tunnels = cluster.boxes[&node(on)].tables.tunnels.iter();
        tunnels.map(|tunnel| tunnel.name.to_string()).collect()
    };
    assert_eq!(tunnels(&cluster, "box6"), ["box1", "box3", "box5", "box7"]);
    assert_eq!(tunnels(&cluster, "box9"), [""; 0]);
    // Whoever moves to another address is reached there.
    cluster.moves("box5", [192, 168, 51, 5].into());
    cluster.settle();
    cluster.cut("box5");
    cluster.pass(5_000);
    assert_eq!(set(&cluster), ["firewall-2", "firewall-3~", "firewall-4~"]);
}

#[test]
fn who_cannot_be_reached_by_a_tunnel_joins_nobody() {
    let mut cluster = Cluster::new(3);
    cluster.moves("box2", "fd00::2".parse().unwrap());
    cluster.apply(CLUSTER);
    cluster.settle();
    assert_eq!(set(&cluster), ["firewall-1", "firewall-3~"]);
    cluster.kill_container("box3", "firewall-3");
    cluster.settle();
    cluster.pass(10_000);
    assert_eq!(set(&cluster), ["firewall-1"]);
    let paths = cluster.told().matches("  install web").count();
    assert_eq!(paths, 2, "{}", cluster.told());
}

#[test]
fn an_overloaded_one_is_left_to_one_that_carries_nothing_yet() {
    let alarm = "alarms: [{name: hot, when: cpu > 80% for 1s, replace: true}], image: f";
    for (text, before, after) in [
        (
            CLUSTER.to_owned(),
            ["firewall-1", "firewall-2~"],
            ["firewall-2", "firewall-3~"],
        ),
        (
            active().replace("size: 3", "size: 2"),
            ["firewall-1", "firewall-2"],
            ["firewall-2", "firewall-3"],
        ),
    ] {
        let mut cluster = carried(&text.replace("image: f", alarm));
        assert_eq!(set(&cluster), before);
        for _ in 0..5 {
            cluster.load("box1", "firewall-1", 95.0);
            cluster.pass(1_000);
        }
        assert_eq!(set(&cluster), after, "{}", cluster.told());
        let told = cluster.told().matches("overloaded").count();
        assert!(told < 4, "it goes round: {}", cluster.told());
    }
    // Where all carry, nobody is left.
    let mut cluster = carried(&active().replace("image: f", alarm));
    for _ in 0..5 {
        cluster.load("box1", "firewall-1", 95.0);
        cluster.pass(1_000);
    }
    assert_eq!(set(&cluster), ["firewall-1", "firewall-2", "firewall-3"]);
}

#[test]
fn a_hook_that_comes_later_comes_to_one_member_after_another_and_with_an_address() {
    let mut cluster = carried(CLUSTER);
    let addresses = |cluster: &Cluster| -> Vec<String> {
        let instances = cluster.state.instances.iter();
        let firewalls = instances.filter(|(name, _)| name.starts_with("firewall"));
        let addresses = firewalls.filter_map(|(_, instance)| instance.address);
        addresses.map(|address| address.to_string()).collect()
    };
    let legs = |cluster: &Cluster| -> usize {
        let boxes = cluster
            .boxes
            .values()
            .filter_map(|one| one.retained.as_ref());
        let containers = boxes.flat_map(|document| &document.containers);
        let legs = containers.flat_map(|container| match &container.network {
            Network::Legs(legs) => legs.as_slice(),
            _ => &[],
        });
        legs.filter(|leg| leg.interface.as_str() == "sync").count()
    };
    assert_eq!((addresses(&cluster).len(), legs(&cluster)), (0, 0));
    let hook = "mode: active-standby, hook: {command: [/sync]}";
    cluster.apply(&CLUSTER.replace("mode: active-standby", hook));
    let mut seen = BTreeSet::new();
    for _ in 0..400 {
        let plan = cluster.think();
        cluster.publish(&plan);
        seen.insert(legs(&cluster));
        let names: Vec<_> = cluster.boxes.keys().cloned().collect();
        for name in &names {
            cluster.work(name);
            cluster.check();
        }
        cluster.now_ms += 250;
    }
    assert_eq!(seen, BTreeSet::from([0, 1, 2, 3]), "{}", cluster.told());
    assert_eq!(
        addresses(&cluster),
        ["10.128.1.2", "10.128.2.2", "10.128.3.2"]
    );
    assert!(!cluster.told().contains("broken"), "{}", cluster.told());
    cluster.apply(CLUSTER);
    cluster.pass(60_000);
    assert_eq!((addresses(&cluster).len(), legs(&cluster)), (0, 0));
}
