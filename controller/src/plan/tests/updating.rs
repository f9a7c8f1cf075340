//! Changed containers: one at a time, each healthy before the next, out of the paths first, and no
//! further than the first box that gives a change up.

use super::cluster::node;
use super::*;

fn images(cluster: &Cluster, owner: &str) -> Vec<String> {
    let wanted = |name: &String| name.starts_with(owner);
    let containers = cluster
        .boxes
        .values()
        .filter_map(|one| one.retained.as_ref());
    let mut images: Vec<_> = containers
        .flat_map(|document| &document.containers)
        .filter(|container| wanted(&container.name))
        .map(|container| format!("{} {}", container.name, container.image))
        .collect();
    images.sort();
    images
}

fn changed(text: &str, image: &str) -> String {
    text.replacen("image: h,", &format!("image: {image},"), 1)
        .replacen("image: f,", &format!("image: {image},"), 1)
}

fn unready(cluster: &mut Cluster, on: &str, container: &str, is: bool) {
    let target = cluster.boxes.get_mut(&node(on)).unwrap();
    if is {
        target.unready.insert(container.to_owned());
    } else {
        target.unready.remove(container);
    }
}

fn rollout(cluster: &Cluster, id: &str) -> Option<String> {
    cluster.state.rollout(&id.parse().unwrap())
}

#[test]
fn what_runs_and_is_not_healthy_joins_no_path() {
    let mut cluster = Cluster::new(3);
    unready(&mut cluster, "box1", "firewall-1", true);
    cluster.apply(WEB);
    cluster.settle();
    cluster.pass(6_000);
    assert!(!cluster.path("web").contains(&"firewall-1".to_owned()));
    let mut cluster = carried();
    unready(&mut cluster, "box1", "firewall-1", true);
    cluster.work(&node("box1"));
    cluster.settle();
    assert!(!cluster.path("web").contains(&"firewall-1".to_owned()));
    assert_eq!(cluster.status("web"), "Ready");
    assert!(
        cluster.told().contains("firewall-1 on box1 is unhealthy"),
        "{}",
        cluster.told()
    );
}

#[test]
fn replicas_are_changed_one_after_another_and_each_waits_for_health() {
    let mut cluster = Cluster::new(3);
    cluster.apply(HELLO);
    cluster.settle();
    for number in 1..=3 {
        unready(
            &mut cluster,
            &format!("box{number}"),
            &format!("hello-{number}"),
            false,
        );
    }
    unready(&mut cluster, "box1", "hello-1", true);
    cluster.settle();
    cluster.apply(&changed(HELLO, "h2"));
    cluster.settle();
    // The one that is not well anyway comes first, and holds the others up.
    assert_eq!(
        images(&cluster, "hello"),
        ["hello-1 h2", "hello-2 h", "hello-3 h"]
    );
    cluster.pass(60_000);
    assert_eq!(
        images(&cluster, "hello"),
        ["hello-1 h2", "hello-2 h", "hello-3 h"]
    );
    let told = rollout(&cluster, "Service/hello").unwrap();
    assert_eq!(told, "changing hello-1, 2 to go");
    unready(&mut cluster, "box1", "hello-1", false);
    unready(&mut cluster, "box2", "hello-2", true);
    cluster.pass(1_000);
    assert_eq!(
        images(&cluster, "hello"),
        ["hello-1 h2", "hello-2 h2", "hello-3 h"]
    );
    // Health is one thing, to keep it is another.
    let second = cluster.boxes.get_mut(&node("box2")).unwrap();
    second.on_trial.insert("hello-2".into());
    second.unready.remove("hello-2");
    cluster.pass(20_000);
    assert_eq!(
        images(&cluster, "hello"),
        ["hello-1 h2", "hello-2 h2", "hello-3 h"]
    );
    let second = cluster.boxes.get_mut(&node("box2")).unwrap();
    second.on_trial.clear();
    cluster.pass(1_000);
    assert_eq!(
        images(&cluster, "hello"),
        ["hello-1 h2", "hello-2 h2", "hello-3 h2"]
    );
    assert_eq!(rollout(&cluster, "Service/hello"), None);
    assert!(
        cluster.told().contains("update-finished"),
        "{}",
        cluster.told()
    );
}

#[test]
fn the_first_box_that_gives_a_change_up_stops_it_until_the_next_change() {
    let mut cluster = Cluster::new(3);
    cluster.apply(HELLO);
    cluster.settle();
    for target in cluster.boxes.values_mut() {
        target.bad_images.insert("bad".into());
    }
    cluster.apply(&changed(HELLO, "bad"));
    cluster.settle();
    cluster.pass(120_000);
    assert_eq!(
        images(&cluster, "hello"),
        ["hello-1 bad", "hello-2 h", "hello-3 h"]
    );
    assert_eq!(
        rollout(&cluster, "Service/hello").unwrap(),
        "stopped, 2 as before: hello-1 on box1 went back to what ran before: it is unhealthy"
    );
    assert_eq!(cluster.told().matches("update-stopped").count(), 1);
    // Going back touches nobody, going on takes everybody along.
    let mut back = cluster.clone();
    back.apply(HELLO);
    back.settle();
    assert_eq!(
        images(&back, "hello"),
        ["hello-1 h", "hello-2 h", "hello-3 h"]
    );
    assert_eq!(rollout(&back, "Service/hello"), None);
    cluster.apply(&changed(HELLO, "h2"));
    cluster.settle();
    assert_eq!(
        images(&cluster, "hello"),
        ["hello-1 h2", "hello-2 h2", "hello-3 h2"]
    );
}

#[test]
fn a_function_leaves_its_paths_before_it_is_changed_and_the_chain_never_breaks() {
    let mut cluster = carried();
    cluster.apply(&changed(WEB, "f2"));
    for _ in 0..40 {
        let document = |n: usize| {
            let target = &cluster.boxes[&node(&format!("box{n}"))];
            target.retained.clone().unwrap()
        };
        let new: Vec<_> = (1..=3)
            .filter(|n| {
                let name = format!("firewall-{n}");
                let containers = document(*n).containers;
                containers.iter().any(|c| c.name == name && c.image == "f2")
            })
            .collect();
        // Whoever is being changed carries nothing at that moment.
        let record = cluster.state.instances.iter();
        for (name, instance) in record {
            let turn = cluster.state.in_turn(name, &instance.owner);
            if turn && !cluster.state.gives_way(name, &instance.owner) {
                assert!(!cluster.path("web").contains(name), "{}", cluster.told());
            }
        }
        let plan = cluster.think();
        cluster.publish(&plan);
        for n in 1..=3 {
            cluster.work(&node(&format!("box{n}")));
        }
        cluster.check();
        assert!(
            !cluster.status("web").starts_with("Broken"),
            "{new:?}\n{}",
            cluster.told()
        );
        cluster.now_ms += 1_000;
    }
    cluster.settle();
    assert_eq!(
        images(&cluster, "firewall"),
        ["firewall-1 f2", "firewall-2 f2", "firewall-3 f2"]
    );
    assert_eq!(cluster.status("web"), "Ready");
    let told = cluster.told();
    assert!(told.contains("firewall-1 is about to be changed"), "{told}");
    assert!(!told.contains("chain-broken"), "{told}");
}

/// The chain with one firewall.
fn alone() -> String {
    WEB.replacen(
        "replicas: 3, placement: {nodes: [box1, box2, box3]}",
        "replicas: 1, resources: {memory: 300Mi}",
        1,
    )
}

/// Takes one turn of everybody; the chain must carry at every moment.
fn turn(cluster: &mut Cluster) {
    let plan = cluster.think();
    cluster.publish(&plan);
    let names: Vec<_> = cluster.boxes.keys().cloned().collect();
    for name in names {
        cluster.work(&name);
    }
    cluster.check();
    let status = cluster.status("web");
    let carries = status == "Ready" || status.starts_with("Changing");
    assert!(carries, "{status}\n{}", cluster.told());
    cluster.now_ms += 1_000;
}

#[test]
fn who_is_alone_gets_a_spare_before_it_is_changed() {
    let mut cluster = Cluster::new(3);
    cluster.apply(&alone());
    cluster.settle();
    unready(&mut cluster, "box2", "firewall-2", true);
    unready(&mut cluster, "box3", "firewall-2", true);
    cluster.apply(&changed(&alone(), "f2"));
    for _ in 0..20 {
        turn(&mut cluster);
        // The new one is not healthy yet: what works stays as it is.
        assert_eq!(images(&cluster, "firewall-1"), ["firewall-1 f"]);
        assert!(cluster.path("web").contains(&"firewall-1".to_owned()));
    }
    assert_eq!(images(&cluster, "firewall-2"), ["firewall-2 f2"]);
    let told = rollout(&cluster, "ServiceFunction/firewall").unwrap();
    assert_eq!(told, "waits for firewall-2, 1 to go");
    unready(&mut cluster, "box2", "firewall-2", false);
    unready(&mut cluster, "box3", "firewall-2", false);
    let mut paths = std::collections::BTreeSet::new();
    for _ in 0..60 {
        turn(&mut cluster);
        paths.insert(cluster.path("web")[0].clone());
        let first = images(&cluster, "firewall-1");
        if first == ["firewall-1 f2"] && rollout(&cluster, "ServiceFunction/firewall").is_some() {
            assert_eq!(cluster.path("web")[0], "firewall-2");
        }
    }
    assert_eq!(paths.len(), 2, "{paths:?}");
    assert_eq!(cluster.path("web")[0], "firewall-1");
    assert_eq!(images(&cluster, "firewall"), ["firewall-1 f2"]);
    assert_eq!(rollout(&cluster, "ServiceFunction/firewall"), None);
}

#[test]
fn a_spare_that_gets_not_healthy_stops_the_change_and_leaves() {
    for (why, told) in [
        ("unhealthy", "is unhealthy"),
        ("silent", "is not healthy after 60 s"),
        ("dead", "ends with 137 after 60 s"),
    ] {
        let mut cluster = Cluster::new(3);
        cluster.apply(&alone());
        cluster.settle();
        for target in cluster.boxes.values_mut() {
            match why {
                "unhealthy" => target.bad_images.insert("bad".into()),
                "silent" => target.unready.insert("firewall-2".into()),
                _ => target.sick.insert("firewall-2".into()),
            };
        }
        cluster.apply(&changed(&alone(), "bad"));
        for _ in 0..100 {
            turn(&mut cluster);
            assert_eq!(images(&cluster, "firewall-1"), ["firewall-1 f"]);
        }
        assert_eq!(images(&cluster, "firewall"), ["firewall-1 f"]);
        let stopped = rollout(&cluster, "ServiceFunction/firewall").unwrap();
        let wanted = format!("stopped, 1 as before: firewall-2, made beside the others, {told}");
        assert_eq!(stopped, wanted);
        assert_eq!(cluster.told().matches("update-stopped").count(), 1);
        // The next change has a spare of its own.
        for target in cluster.boxes.values_mut() {
            target.unready.clear();
            target.sick.clear();
        }
        cluster.apply(&changed(&alone(), "f2"));
        for _ in 0..60 {
            turn(&mut cluster);
        }
        assert_eq!(images(&cluster, "firewall"), ["firewall-1 f2"]);
    }
}

#[test]
fn a_spare_that_nobody_checks_has_to_stay_up_before_it_is_trusted() {
    let mut cluster = Cluster::new(3);
    cluster.apply(&alone());
    cluster.settle();
    for target in cluster.boxes.values_mut() {
        target.unchecked.insert("firewall-2".into());
    }
    let mut steady = cluster.clone();
    // It comes up again and again, and never stays.
    cluster.apply(&changed(&alone(), "f2"));
    for second in 0..100 {
        for target in cluster.boxes.values_mut() {
            match second % 3 {
                0 => target.sick.insert("firewall-2".into()),
                _ => target.sick.remove("firewall-2"),
            };
        }
        turn(&mut cluster);
        assert_eq!(images(&cluster, "firewall-1"), ["firewall-1 f"]);
        assert_eq!(cluster.path("web")[0], "firewall-1");
    }
    let told = rollout(&cluster, "ServiceFunction/firewall").unwrap();
    assert!(told.starts_with("stopped, 1 as before"), "{told}");
    steady.apply(&changed(&alone(), "f2"));
    for _ in 0..60 {
        turn(&mut steady);
    }
    assert_eq!(images(&steady, "firewall"), ["firewall-1 f2"]);
}

#[test]
fn a_change_of_a_change_gets_a_spare_of_its_own() {
    let mut cluster = Cluster::new(3);
    cluster.apply(&alone());
    cluster.settle();
    cluster.apply(&changed(&alone(), "f2"));
    // Stopped at every moment of the first change.
    for moment in 0..30 {
        let mut cluster = cluster.clone();
        for _ in 0..moment {
            turn(&mut cluster);
        }
        cluster.apply(&changed(&alone(), "f3"));
        for _ in 0..100 {
            turn(&mut cluster);
        }
        assert_eq!(images(&cluster, "firewall"), ["firewall-1 f3"], "{moment}");
    }
}

#[test]
fn where_there_is_no_room_for_a_spare_or_none_may_be_changes_are_made_in_place() {
    let narrow = alone().replace("300Mi", "800Mi");
    let sole = alone().replacen("replicas: 1", "replicas: 1, update: {maxSurge: 0}", 1);
    let written = alone().replacen(
        "replicas: 1",
        "replicas: 1, mounts: [{source: /var/lib/x, target: /x}]",
        1,
    );
    for (boxes, text) in [(1, narrow), (3, sole), (3, written)] {
        let text = if boxes == 1 {
            text.replace("node: box3", "node: box1").replace(
                "replicas: 3, placement: {nodes: [box1, box2, box3]}",
                "replicas: 1",
            )
        } else {
            text
        };
        let mut cluster = Cluster::new(boxes);
        cluster.apply(&text);
        cluster.settle();
        assert_eq!(cluster.status("web"), "Ready", "{}", cluster.told());
        cluster.apply(&changed(&text, "f2"));
        cluster.settle();
        assert_eq!(images(&cluster, "firewall"), ["firewall-1 f2"]);
        assert_eq!(rollout(&cluster, "ServiceFunction/firewall"), None);
        let told = cluster.told();
        assert_eq!(
            told.contains("no room for firewall-2"),
            boxes == 1,
            "{told}"
        );
        assert!(!told.contains("firewall-2 goes to"), "{told}");
    }
}

#[test]
fn a_service_with_one_replica_has_another_while_it_is_changed() {
    let one = HELLO.replace("replicas: 3", "replicas: 1");
    let mut cluster = Cluster::new(2);
    cluster.apply(&one);
    cluster.settle();
    cluster.apply(&changed(&one, "h2"));
    let mut before = images(&cluster, "hello-1");
    for _ in 0..30 {
        let plan = cluster.think();
        cluster.publish(&plan);
        let now = images(&cluster, "hello-1");
        if now != before {
            let spare = &cluster.state.instances["hello-2"];
            assert_eq!(spare.health, crate::plan::InstanceHealth::Running);
        }
        before = now;
        for name in ["box1", "box2"] {
            cluster.work(&node(name));
        }
        cluster.now_ms += 1_000;
    }
    assert_eq!(images(&cluster, "hello"), ["hello-1 h2"]);
}

#[test]
fn two_resources_of_one_type_take_turns() {
    let both = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: fw-a}
spec: {image: A, type: firewall}
---
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: fw-b}
spec: {image: B, type: firewall}
";
    let mut cluster = Cluster::new(2);
    cluster.apply(both);
    cluster.settle();
    for name in ["fw-a-1", "fw-b-1"] {
        for number in 1..=2 {
            unready(&mut cluster, &format!("box{number}"), name, true);
        }
    }
    cluster.apply(
        &both
            .replace("image: A", "image: C")
            .replace("image: B", "image: D"),
    );
    cluster.settle();
    assert_eq!(images(&cluster, "fw"), ["fw-a-1 C", "fw-b-1 B"]);
    for number in 1..=2 {
        unready(&mut cluster, &format!("box{number}"), "fw-a-1", false);
    }
    cluster.pass(1_000);
    assert_eq!(images(&cluster, "fw"), ["fw-a-1 C", "fw-b-1 D"]);
}

#[test]
fn a_box_that_is_away_holds_nobody_up() {
    let mut cluster = Cluster::new(3);
    let pinned = HELLO.replace(
        "replicas: 3,",
        "replicas: 3, placement: {nodes: [box1, box2, box3]},",
    );
    cluster.apply(&pinned);
    cluster.settle();
    cluster.cut("box1");
    cluster.pass(20_000);
    cluster.apply(&changed(&pinned, "h2"));
    cluster.settle();
    assert_eq!(rollout(&cluster, "Service/hello"), None);
    assert_eq!(
        images(&cluster, "hello"),
        ["hello-1 h2", "hello-2 h2", "hello-3 h2"]
    );
}
