//! Replicas that are to go lose their flows first, and nobody else loses any.

use super::cluster::node;
use super::*;
use kc_forwarder_api::VirtualAddress;
use std::collections::BTreeSet;

/// What the box's tables say of the only service's address.
fn service(cluster: &Cluster, on: &str) -> VirtualAddress {
    let tables = &cluster.boxes[&node(on)].tables;
    tables.segments[0].virtuals[0].clone()
}

/// Members and those of them that drain, alike on all boxes.
fn members(cluster: &Cluster) -> (usize, usize) {
    let all: BTreeSet<_> = cluster
        .boxes
        .iter()
        .filter(|(_, one)| one.up)
        .map(|(name, _)| {
            let members = service(cluster, name.as_str()).members;
            (members.len(), members.iter().filter(|m| m.draining).count())
        })
        .collect();
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().unwrap()
}

fn with_flows(cluster: &mut Cluster, flows: u64) {
    cluster.boxes.get_mut(&node("box3")).unwrap().flows = flows;
}

fn serving() -> Cluster {
    let mut cluster = Cluster::new(3);
    cluster.apply(HELLO);
    cluster.settle();
    assert_eq!(members(&cluster), (3, 0));
    cluster
}

fn scaled(replicas: u32) -> String {
    HELLO.replace("replicas: 3", &format!("replicas: {replicas}"))
}

#[test]
fn a_replica_too_many_goes_when_its_last_flow_has_ended() {
    let mut cluster = serving();
    with_flows(&mut cluster, 2);
    cluster.apply(&scaled(2));
    cluster.settle();
    cluster.pass(5_000);
    assert_eq!(members(&cluster), (3, 1));
    assert!(cluster.told().contains("drain hello-3 on box3"));
    assert!(cluster.state.instances.contains_key("hello-3"));
    with_flows(&mut cluster, 0);
    cluster.pass(1_500);
    assert_eq!(members(&cluster), (2, 0));
    assert!(!cluster.state.instances.contains_key("hello-3"));
}

#[test]
fn flows_that_never_end_are_waited_for_no_longer_than_the_drain_time() {
    for (line, drain_ms) in [("", 10_000), ("drain: 30s, ", 30_000)] {
        let mut cluster = Cluster::new(3);
        let with = |text: &str| text.replace("replicas", &format!("{line}replicas"));
        cluster.apply(&with(HELLO));
        cluster.settle();
        with_flows(&mut cluster, 1);
        cluster.apply(&with(&scaled(2)));
        cluster.settle();
        cluster.pass(drain_ms - 500);
        assert!(cluster.state.instances.contains_key("hello-3"));
        cluster.pass(1_000);
        assert!(!cluster.state.instances.contains_key("hello-3"));
    }
}

#[test]
fn who_is_wanted_again_gets_new_flows_again() {
    let mut cluster = serving();
    with_flows(&mut cluster, 1);
    cluster.apply(&scaled(2));
    cluster.settle();
    assert_eq!(members(&cluster), (3, 1));
    cluster.apply(HELLO);
    cluster.settle();
    assert_eq!(members(&cluster), (3, 0));
    // And when it is to go once more, the time begins anew.
    cluster.pass(8_000);
    cluster.apply(&scaled(2));
    cluster.settle();
    cluster.pass(9_000);
    assert!(cluster.state.instances.contains_key("hello-3"));
}

#[test]
fn whose_turn_it_is_drains_before_it_is_changed_and_is_no_member_while_it_is() {
    let mut cluster = serving();
    with_flows(&mut cluster, 1);
    cluster.apply(&HELLO.replace("image: h,", "image: h2,"));
    cluster.settle();
    assert_eq!(members(&cluster), (3, 1));
    assert_eq!(cluster.boxes[&node("box1")].images["hello-1"], "h");
    let first = cluster.boxes.get_mut(&node("box1")).unwrap();
    first.on_trial.insert("hello-1".into());
    cluster.pass(10_500);
    assert_eq!(cluster.boxes[&node("box1")].images["hello-1"], "h2");
    assert_eq!(members(&cluster), (2, 0), "it has yet to prove itself");
    with_flows(&mut cluster, 0);
    let first = cluster.boxes.get_mut(&node("box1")).unwrap();
    first.on_trial.clear();
    cluster.pass(5_000);
    assert_eq!(members(&cluster), (3, 0));
    assert_eq!(cluster.boxes[&node("box3")].images["hello-3"], "h2");
}

#[test]
fn a_drained_box_is_left_only_by_what_has_drained() {
    let mut cluster = serving();
    with_flows(&mut cluster, 1);
    assert!(cluster.state.set_cordon(&node("box1"), true, true));
    cluster.settle();
    cluster.pass(5_000);
    assert_eq!(cluster.state.instances["hello-1"].node, Some(node("box1")));
    assert_eq!(members(&cluster), (4, 1), "another serves before it goes");
    cluster.pass(6_000);
    assert!(!cluster.state.instances.contains_key("hello-1"));
    assert_eq!(members(&cluster), (3, 0));
}

#[test]
fn who_does_not_run_or_serves_alone_is_not_waited_for() {
    let mut cluster = serving();
    with_flows(&mut cluster, 1);
    cluster.kill_container("box3", "hello-3");
    cluster.settle();
    assert_eq!(members(&cluster), (2, 0), "the dead are no members");
    cluster.apply(&scaled(2));
    cluster.settle();
    assert!(!cluster.state.instances.contains_key("hello-3"));
    cluster.apply(&scaled(1));
    cluster.pass(11_000);
    cluster.apply(&scaled(0));
    cluster.settle();
    assert!(cluster.state.instances.is_empty());
    assert_eq!(members(&cluster), (0, 0), "the address stays");
}

#[test]
fn an_address_is_a_services_own_for_as_long_as_it_exists() {
    let mut cluster = serving();
    let first = service(&cluster, "box2");
    assert_eq!(first.address.octets(), [10, 128, 0, 1]);
    cluster.apply(&HELLO.replace("hello", "other"));
    cluster.apply(&scaled(0));
    cluster.settle();
    let virtuals = |cluster: &Cluster| {
        let tables = &cluster.boxes[&node("box2")].tables;
        let all = tables.segments[0].virtuals.iter();
        all.map(|known| known.address.octets()[3])
            .collect::<Vec<_>>()
    };
    assert_eq!(virtuals(&cluster), [1, 2]);
    cluster.delete("Service/hello");
    cluster.settle();
    assert_eq!(virtuals(&cluster), [2]);
    cluster.apply(HELLO);
    cluster.settle();
    assert_eq!(
        virtuals(&cluster),
        [2, 3],
        "one that was used lately is not given to another"
    );
    let host = HELLO.replace("replicas", "network: host, replicas");
    cluster.apply(&host.replace("hello", "plain"));
    cluster.settle();
    assert_eq!(virtuals(&cluster), [2, 3]);
}
