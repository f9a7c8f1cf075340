//! Drained boxes: left without a gap, or not left and told why.

use super::cluster::node;
use super::*;
use crate::plan::InstanceHealth;
use proptest::prelude::*;
use std::collections::BTreeSet;

const ONE: &str = "\
apiVersion: kcluster/v1
kind: Service
metadata: {name: hello}
spec: {image: h, resources: {cpu: 500m}}
";

const ALONE: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: fw}
spec: {image: f}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec: {functions: [fw], from: {node: box2, interface: c0}, to: {node: box3, interface: s0}}
";

/// Where the running ones are.
fn running(cluster: &Cluster) -> Vec<(String, String)> {
    let all = cluster.state.instances.iter();
    let all = all.filter(|(_, instance)| instance.health == InstanceHealth::Running);
    all.map(|(name, instance)| (name.clone(), instance.node.as_ref().unwrap().to_string()))
        .collect()
}

/// A round of everybody's work; `true` when nothing happens any more.
fn round(cluster: &mut Cluster) -> bool {
    let plan = cluster.think();
    cluster.publish(&plan);
    let names: Vec<_> = cluster.boxes.keys().cloned().collect();
    let mut news = false;
    for name in &names {
        news |= cluster.work(name);
    }
    cluster.check();
    cluster.now_ms += 1_000;
    plan.steps.is_empty() && !news && plan.wake_at_ms.is_none()
}

fn drain(cluster: &mut Cluster, name: &str) {
    assert!(cluster.state.set_cordon(&node(name), true, true));
}

fn stays(cluster: &Cluster, name: &str) -> String {
    cluster.state.instances[name]
        .waiting
        .clone()
        .unwrap_or_default()
}

#[test]
fn a_lonely_replica_goes_when_another_works_and_not_before() {
    let mut cluster = Cluster::new(2);
    cluster.apply(ONE);
    cluster.settle();
    assert_eq!(running(&cluster), [("hello-1".into(), "box1".into())]);
    let other = cluster.boxes.get_mut(&node("box2")).unwrap();
    other.unready.insert("hello-2".into());
    drain(&mut cluster, "box1");
    for _ in 0..20 {
        round(&mut cluster);
        assert!(running(&cluster).contains(&("hello-1".into(), "box1".into())));
    }
    let other = cluster.boxes.get_mut(&node("box2")).unwrap();
    other.unready.clear();
    for _ in 0..20 {
        round(&mut cluster);
        assert!(!running(&cluster).is_empty());
    }
    assert_eq!(running(&cluster), [("hello-2".into(), "box2".into())]);
    assert_eq!(cluster.state.instances.len(), 1);
    assert!(
        cluster
            .told()
            .contains("hello-2 works, and takes the place of hello-1")
    );
    // As many as are asked for, whatever numbers they have.
    cluster.apply(&ONE.replace("image: h", "image: h, replicas: 3"));
    drain(&mut cluster, "box1");
    assert!(cluster.state.set_cordon(&node("box1"), false, false));
    cluster.settle();
    assert_eq!(running(&cluster).len(), 3);
    assert!(
        running(&cluster).contains(&("hello-2".into(), "box2".into())),
        "it stays"
    );
    cluster.apply(ONE);
    cluster.settle();
    assert_eq!(running(&cluster), [("hello-2".into(), "box2".into())]);
}

#[test]
fn a_lonely_function_leaves_its_path_for_one_that_works() {
    let mut cluster = Cluster::new(3);
    cluster.apply(ALONE);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["fw-1"]);
    // Without a health check it has to stay up for a while.
    let other = cluster.boxes.get_mut(&node("box2")).unwrap();
    other.unchecked.insert("fw-2".into());
    drain(&mut cluster, "box1");
    let mut paths = vec![cluster.path("web")];
    for _ in 0..60 {
        round(&mut cluster);
        assert!(
            !cluster.status("web").starts_with("Broken"),
            "{}",
            cluster.told()
        );
        let path = cluster.path("web");
        if paths.last() != Some(&path) {
            paths.push(path);
        }
    }
    assert_eq!(
        paths,
        [["fw-1"], ["fw-2"]],
        "one change, and at no time none"
    );
    assert_eq!(running(&cluster), [("fw-2".into(), "box2".into())]);
}

#[test]
fn what_cannot_run_elsewhere_stays_and_goes_on_running() {
    for (with, why) in [
        (
            "placement: {nodes: [box1]}",
            "placement.nodes names box1 for it",
        ),
        (
            "placement: {nodeSelector: {box: box1}}",
            "box2: its box is box2, not box1",
        ),
        (
            "volumes: [{name: data, target: /d}]",
            "its volume data is on this box",
        ),
        (
            "devices: [{source: /dev/ttyUSB0}]",
            "it has the box's device /dev/ttyUSB0",
        ),
        (
            "mounts: [{source: /srv, target: /srv}]",
            "it writes to the box's /srv",
        ),
        (
            "resources: {memory: 700Mi}",
            "324 MiB of memory free, 700 MiB asked for",
        ),
    ] {
        let mut cluster = Cluster::new(2);
        let large = ONE
            .replace("hello", "large")
            .replace("cpu: 500m", "memory: 700Mi");
        let large = large.replace("image: h,", "image: h, placement: {nodes: [box2]},");
        let one = ONE.replace("resources: {cpu: 500m}", with);
        cluster.apply(&format!("{large}---\n{one}"));
        cluster.settle();
        let before = running(&cluster);
        assert!(
            before.contains(&("hello-1".into(), "box1".into())),
            "{with}: {before:?}"
        );
        drain(&mut cluster, "box1");
        cluster.settle();
        assert_eq!(running(&cluster), before, "{with}");
        let told = stays(&cluster, "hello-1");
        assert!(told.contains(why), "{with}: {told}");
        let events = cluster.told();
        assert_eq!(
            events.matches("stays on box1").count(),
            1,
            "{with}: {events}"
        );
        assert!(cluster.state.set_cordon(&node("box1"), false, false));
        cluster.settle();
        assert_eq!(stays(&cluster, "hello-1"), "", "{with}");
    }
}

#[test]
fn room_that_comes_later_is_taken() {
    let mut cluster = Cluster::new(2);
    let large = ONE.replace("cpu: 500m", "memory: 700Mi");
    let other = large
        .replace("hello", "large")
        .replace("image: h,", "image: h, placement: {nodes: [box2]},");
    cluster.apply(&format!("{other}---\n{large}"));
    cluster.settle();
    drain(&mut cluster, "box1");
    cluster.settle();
    assert!(stays(&cluster, "hello-1").contains("memory free"));
    cluster.delete("Service/large");
    cluster.settle();
    assert_eq!(running(&cluster), [("hello-2".into(), "box2".into())]);
}

#[test]
fn a_substitute_that_does_not_work_is_given_up_and_nothing_was_lost() {
    let mut cluster = Cluster::new(2);
    cluster.apply(ONE);
    cluster.settle();
    let other = cluster.boxes.get_mut(&node("box2")).unwrap();
    other.bad_images.insert("h".into());
    drain(&mut cluster, "box1");
    cluster.settle();
    for _ in 0..100 {
        round(&mut cluster);
    }
    assert_eq!(running(&cluster), [("hello-1".into(), "box1".into())]);
    assert_eq!(
        stays(&cluster, "hello-1"),
        "hello-2, made to stand in for it, is unhealthy"
    );
    assert_eq!(
        cluster.told().matches("shall stand in").count(),
        1,
        "tried once"
    );
    assert!(cluster.state.substitutes.is_empty());
}

#[test]
fn a_drain_that_is_taken_back_leaves_everything_as_it_was() {
    let mut cluster = Cluster::new(2);
    cluster.apply(ONE);
    cluster.settle();
    let other = cluster.boxes.get_mut(&node("box2")).unwrap();
    other.unready.insert("hello-2".into());
    drain(&mut cluster, "box1");
    round(&mut cluster);
    assert!(cluster.state.instances.contains_key("hello-2"));
    assert!(cluster.state.set_cordon(&node("box1"), false, false));
    cluster.settle();
    assert_eq!(running(&cluster), [("hello-1".into(), "box1".into())]);
    assert_eq!(cluster.state.instances.len(), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Boxes are drained and freed as somebody likes: there are always as many as were asked for, and
    /// while a box that is not drained has room, none of them stops.
    #[test]
    fn draining_around_loses_nobody(replicas in 1u32..4, moves in prop::collection::vec((1usize..4, any::<bool>()), 1..8)) {
        let mut cluster = Cluster::new(3);
        cluster.apply(&ONE.replace("image: h", &format!("image: h, replicas: {replicas}")));
        cluster.settle();
        for (which, on) in moves {
            cluster.state.set_cordon(&node(&format!("box{which}")), on, on);
            for _ in 0..30 {
                round(&mut cluster);
                let count = u32::try_from(running(&cluster).len()).unwrap();
                prop_assert!(count >= replicas, "{}", cluster.told());
            }
            let count = u32::try_from(running(&cluster).len()).unwrap();
            prop_assert_eq!(count, replicas, "{}", cluster.told());
            let names: BTreeSet<_> = running(&cluster).into_iter().map(|(name, _)| name).collect();
            prop_assert_eq!(names.len(), running(&cluster).len());
        }
    }
}
