//! Hardware beside containers: who is taken, what its death and return do, and what nobody may do to it.

use super::cluster::node;
use super::*;
use crate::plan::{InstanceHealth, hardware_load};
use kc_forwarder_api::{Attachment, HealthState::*};

/// A firewall of hardware at box2, two virtual ones, and a chain over them.
const MIXED: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: fw-box}
spec:
  type: firewall
  physical: [{name: fw-hw, node: box2, inside: eth2, outside: eth3}]
---
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: firewall}
spec: {image: f, replicas: 2, placement: {nodes: [box1, box3]}}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [firewall]
  scheduler: {algorithm: shortest-path, physical: POLICY}
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
";

fn mixed(policy: &str) -> String {
    MIXED.replace("POLICY", policy)
}

fn carried(text: &str) -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.answer("box2", "fw-hw", Alive);
    cluster.apply(text);
    cluster.settle();
    cluster.pass(6_000);
    cluster.story.clear();
    cluster
}

fn health(cluster: &Cluster, instance: &str) -> InstanceHealth {
    cluster.state.instances[instance].health
}

fn why(cluster: &Cluster, instance: &str) -> String {
    let chain = cluster.state.chains.values().next().unwrap();
    let positions = &chain.carrying().unwrap().explanation.positions;
    let mut all = positions.iter().flat_map(|p| &p.candidates);
    all.find(|c| c.instance == instance).unwrap().why.clone()
}

#[test]
fn each_policy_has_its_own_first_choice() {
    for (policy, path) in [
        ("any", "firewall-1"),
        ("prefer", "fw-hw"),
        ("only", "fw-hw"),
        ("spare", "firewall-1"),
        ("never", "firewall-1"),
    ] {
        let cluster = carried(&mixed(policy));
        assert_eq!(cluster.path("web"), [path], "{policy}: {}", cluster.told());
    }
    assert_eq!(
        why(&carried(&mixed("prefer")), "firewall-1"),
        "is virtual, and fw-hw is preferred"
    );
}

#[test]
fn hardware_is_wired_by_its_own_interfaces_and_no_container_is_made() {
    let cluster = carried(&mixed("prefer"));
    let document = cluster.boxes[&node("box2")].retained.clone().unwrap();
    assert_eq!(document.containers, []);
    let tables = &document.forwarder;
    let ports: Vec<_> = tables.ports.iter().map(|p| p.name.as_str()).collect();
    assert_eq!(ports, ["eth2", "eth3"]);
    let function = &tables.functions[0];
    assert_eq!(function.name.as_str(), "fw-hw");
    assert!(
        matches!(&function.attachment, Attachment::TwoLeg { inside, .. } if inside.as_str() == "eth2")
    );
    assert!(function.liveness.is_some());
}

#[test]
fn other_wirings_are_those_of_the_forwarder() {
    let wired = |plug: &str, more: &str| {
        let text = mixed("only").replace("inside: eth2, outside: eth3", plug);
        let text = text.replace("  type: firewall\n", &format!("  type: firewall\n{more}"));
        let mut cluster = Cluster::new(3);
        cluster.apply(&text);
        cluster.settle();
        let function = cluster.boxes[&node("box2")].tables.functions[0].clone();
        (function, health(&cluster, "fw-hw"))
    };
    let (function, health) = wired("port: eth2, mac: \"02:00:00:00:00:07\"", "");
    assert!(matches!(function.attachment, Attachment::OneLeg { .. }));
    assert_eq!(health, InstanceHealth::Running, "nobody can ask it");
    let (function, health) = wired(
        "port: eth2, mac: \"02:00:00:00:00:07\", address: 10.0.0.7",
        "  liveness: {interval: 200ms, misses: 5}\n",
    );
    let liveness = function.liveness.unwrap();
    assert_eq!((liveness.interval_ms, liveness.multiplier), (200, 5));
    assert_eq!(liveness.address.unwrap().to_string(), "10.0.0.7");
    assert_eq!(health, InstanceHealth::Starting, "it has not answered");
    let (function, _) = wired("port: eth2, vlans: {inside: 10, outside: 20}", "");
    assert!(matches!(function.attachment, Attachment::VlanPair { .. }));
    let (function, health) = wired("inside: eth2, outside: eth3", "  liveness: {by: carrier}\n");
    assert_eq!(function.liveness, None);
    assert_eq!(health, InstanceHealth::Running);
}

#[test]
fn a_preferred_one_that_dies_is_left_and_gone_back_to_after_a_while() {
    let mut cluster = carried(&mixed("prefer"));
    cluster.answer("box2", "fw-hw", Dead);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1"]);
    assert_eq!(cluster.status("web"), "Ready");
    cluster.pass(60_000);
    assert_eq!(cluster.path("web"), ["firewall-1"]);
    cluster.answer("box2", "fw-hw", Alive);
    cluster.settle();
    cluster.pass(8_000);
    assert_eq!(cluster.path("web"), ["firewall-1"], "it has to last first");
    cluster.pass(10_000);
    assert_eq!(cluster.path("web"), ["fw-hw"], "{}", cluster.told());
    insta::assert_snapshot!(cluster.told());
}

#[test]
fn without_a_preference_the_chain_stays_where_it_is() {
    for policy in ["any", "spare", "never"] {
        let mut cluster = carried(&mixed(policy));
        cluster.kill_container("box1", "firewall-1");
        cluster.settle();
        assert_eq!(cluster.path("web"), ["firewall-2"], "{policy}");
        cluster.answer("box2", "fw-hw", Dead);
        cluster.answer("box2", "fw-hw", Alive);
        cluster.pass(60_000);
        assert_eq!(cluster.path("web"), ["firewall-2"], "{policy}");
    }
    // Where it is the only one left, the chain that spares it takes it, and gives it back.
    let mut cluster = carried(&mixed("spare"));
    cluster.kill_container("box1", "firewall-1");
    cluster.kill_container("box3", "firewall-2");
    cluster.settle();
    assert_eq!(cluster.path("web"), ["fw-hw"]);
    cluster.heal_container("box3", "firewall-2");
    cluster.pass(20_000);
    assert_eq!(cluster.path("web"), ["firewall-2"], "{}", cluster.told());
}

#[test]
fn one_that_comes_and_goes_is_trusted_ever_later() {
    let mut cluster = carried(&mixed("prefer"));
    let mut returns = Vec::new();
    for _ in 0..4 {
        cluster.answer("box2", "fw-hw", Dead);
        cluster.settle();
        assert_eq!(cluster.path("web"), ["firewall-1"]);
        cluster.answer("box2", "fw-hw", Alive);
        let began = cluster.now_ms;
        while cluster.path("web") != ["fw-hw"] {
            cluster.pass(1_000);
            assert!(cluster.now_ms < began + 300_000, "never goes back");
        }
        returns.push((cluster.now_ms - began) / 1_000);
    }
    assert!(
        returns.windows(2).all(|pair| pair[0] < pair[1]),
        "{returns:?}"
    );
    assert!(returns[3] >= 80, "{returns:?}");
}

#[test]
fn a_lost_cable_is_a_death_also_where_nobody_asks() {
    let quiet = mixed("prefer").replace(
        "type: firewall\n",
        "type: firewall\n  liveness: {by: carrier}\n",
    );
    for text in [mixed("prefer"), quiet] {
        let mut cluster = carried(&text);
        assert_eq!(cluster.path("web"), ["fw-hw"]);
        cluster.plug("box2", "eth3", false);
        cluster.settle();
        assert_eq!(cluster.path("web"), ["firewall-1"]);
        assert!(
            cluster
                .told()
                .contains("fw-hw on box2 has no carrier at eth3"),
            "{}",
            cluster.told()
        );
        cluster.plug("box2", "eth3", true);
        cluster.pass(20_000);
        assert_eq!(cluster.path("web"), ["fw-hw"]);
        cluster.cut("box2");
        cluster.pass(5_000);
        assert_eq!(cluster.path("web"), ["firewall-1"]);
    }
}

#[test]
fn a_forwarder_that_starts_anew_takes_nothing_out_of_its_paths() {
    let mut cluster = carried(&mixed("prefer"));
    cluster.answer("box2", "fw-hw", Unknown);
    cluster.pass(5_000);
    assert_eq!(cluster.path("web"), ["fw-hw"]);
    cluster.pass(10_000);
    assert_eq!(cluster.path("web"), ["firewall-1"], "it is silent for good");
}

#[test]
fn a_container_that_answered_and_does_no_longer_is_left() {
    let mut cluster = Cluster::new(3);
    cluster.answer("box1", "firewall-1", Unknown);
    cluster.apply(&mixed("never"));
    cluster.settle();
    // One that never answered may be of a kind that cannot.
    cluster.answer("box1", "firewall-1", Dead);
    cluster.pass(5_000);
    assert_eq!(cluster.path("web"), ["firewall-1"]);
    cluster.answer("box1", "firewall-1", Alive);
    cluster.settle();
    cluster.answer("box1", "firewall-1", Dead);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-2"]);
    assert!(
        cluster
            .told()
            .contains("firewall-1 on box1 answers no more"),
        "{}",
        cluster.told()
    );
    cluster.answer("box1", "firewall-1", Alive);
    cluster.pass(60_000);
    assert_eq!(cluster.path("web"), ["firewall-2"], "no flapping back");
    assert_eq!(health(&cluster, "firewall-1"), InstanceHealth::Running);
}

#[test]
fn maintenance_is_left_before_it_begins_and_may_be_taken_after() {
    // The cluster's clock begins at 1970-01-01T00:16:40Z.
    let window = "1970-01-01T00:20:00Z/1970-01-01T00:30:00Z";
    let text = mixed("prefer").replace(
        "outside: eth3}",
        &format!("outside: eth3, maintenance: [{window}]}}"),
    );
    let mut cluster = carried(&text);
    assert_eq!(cluster.path("web"), ["fw-hw"]);
    assert!(cluster.wake_at_ms.unwrap() <= 19 * 60_000);
    cluster.pass(18 * 60_000 - cluster.now_ms);
    assert_eq!(cluster.path("web"), ["fw-hw"]);
    cluster.pass(90_000);
    assert_eq!(cluster.path("web"), ["firewall-1"], "half a minute before");
    assert!(
        cluster
            .told()
            .contains("fw-hw has to be left: maintenance until 1970-01-01T00:30:00Z"),
        "{}",
        cluster.told()
    );
    assert!(
        !cluster.told().contains("broken"),
        "make before break: {}",
        cluster.told()
    );
    cluster.pass(31 * 60_000 - cluster.now_ms);
    assert_eq!(cluster.path("web"), ["fw-hw"], "{}", cluster.told());
}

#[test]
fn capacity_is_a_limit_and_its_share_a_load() {
    let two = mixed("prefer").replace(
        "outside: eth3}",
        "outside: eth3, capacity: {chains: 2, traffic: 100Mbit/s}}",
    );
    let second = two.rsplit("---\n").next().unwrap();
    let more = |name: &str| {
        let ends = second.replace("name: web", &format!("name: {name}"));
        ends.replace("client0", &format!("c-{name}"))
            .replace("server0", &format!("s-{name}"))
    };
    let mut cluster = carried(&two);
    let load = |cluster: &Cluster| {
        let instance = &cluster.state.instances["fw-hw"];
        hardware_load(
            &cluster.state,
            &cluster.observed,
            cluster.now_ms,
            "fw-hw",
            instance,
        )
    };
    assert_eq!(load(&cluster), None, "nobody knows what passes");
    for sent in [0, 2_000_000] {
        let target = cluster.boxes.get_mut(&node("box2")).unwrap();
        target.sent = [("eth2".to_owned(), sent), ("eth3".to_owned(), sent)].into();
        cluster.now_ms += 1_000;
        cluster.settle();
    }
    // Of 100 Mbit/s, 2 x 16 Mbit/s; of 2 chains, one.
    assert_eq!(load(&cluster), Some((50.0, false)));
    cluster.apply(&more("b"));
    cluster.settle();
    cluster.apply(&more("c"));
    cluster.settle();
    assert_eq!(
        (cluster.path("b"), cluster.path("c")),
        (vec!["fw-hw".into()], vec!["firewall-1".into()])
    );
    assert_eq!(load(&cluster), Some((100.0, false)));
}

#[test]
fn a_drained_box_keeps_its_hardware_and_loses_its_paths() {
    let mut cluster = carried(&mixed("prefer"));
    cluster.state.set_cordon(&node("box2"), true, true);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1"]);
    assert_eq!(cluster.state.instances["fw-hw"].node, Some(node("box2")));
    assert!(!cluster.told().contains("move fw-hw"), "{}", cluster.told());
    cluster.state.set_cordon(&node("box2"), false, false);
    cluster.pass(20_000);
    assert_eq!(cluster.path("web"), ["fw-hw"]);
}

#[test]
fn what_is_plugged_in_elsewhere_loses_its_paths_first() {
    let mut cluster = carried(&mixed("prefer"));
    cluster.answer("box3", "fw-hw", Alive);
    cluster.apply(&mixed("prefer").replace("node: box2", "node: box3"));
    cluster.settle();
    let story = cluster.told();
    assert!(
        story.contains("it is plugged in elsewhere now; path"),
        "{story}"
    );
    cluster.pass(20_000);
    assert_eq!(cluster.path("web"), ["fw-hw"]);
    assert_eq!(cluster.state.instances["fw-hw"].node, Some(node("box3")));
    assert_eq!(cluster.boxes[&node("box2")].tables.functions, []);
}

#[test]
fn deleted_hardware_leaves_its_box_as_it_was() {
    let mut cluster = carried(&mixed("prefer"));
    cluster.delete("ServiceFunction/fw-box");
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1"]);
    assert!(!cluster.state.instances.contains_key("fw-hw"));
    let tables = &cluster.boxes[&node("box2")].tables;
    assert_eq!(
        (&tables.ports[..], &tables.functions[..]),
        (&[][..], &[][..])
    );
}
