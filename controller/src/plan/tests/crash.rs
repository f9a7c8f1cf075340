//! The controller may die between any two things it does: what it stored is enough to go on.

use super::cluster::node;
use super::*;

/// Runs `story` with a crash after the n-th thought, for every n that is reached, and expects
/// the same end as without.
fn survives(start: &Cluster, disturb: impl Fn(&mut Cluster), expect: &[&str]) {
    for crash_at in 0..40 {
        let mut cluster = start.clone();
        disturb(&mut cluster);
        let mut thoughts = 0;
        loop {
            let plan = cluster.think();
            let dies = thoughts == crash_at;
            thoughts += 1;
            if dies {
                // Stored, not published, and everything that was only in memory is lost; the
                // broker still holds what each box said last.
                let remembered = std::mem::take(&mut cluster.observed);
                cluster.now_ms += 700;
                cluster.observed.link_up(cluster.now_ms);
                for (name, seen) in remembered.nodes {
                    let seen = seen.into_inner();
                    if let Some(status) = seen.status {
                        cluster.observed.status(status.report, cluster.now_ms);
                    }
                    if let Some(state) = seen.state {
                        cluster
                            .observed
                            .state(&name, state.report, true, cluster.now_ms);
                    }
                }
                continue;
            }
            cluster.publish(&plan);
            cluster.check();
            let names: Vec<_> = cluster.boxes.keys().cloned().collect();
            for name in &names {
                cluster.work(name);
                cluster.check();
            }
            if plan.steps.is_empty() && thoughts > crash_at {
                break;
            }
            cluster.now_ms += 100;
            assert!(thoughts < 400, "never settles: {}", cluster.told());
        }
        cluster.pass(30_000);
        assert_eq!(
            cluster.path("web"),
            expect,
            "crash at {crash_at}: {}",
            cluster.told()
        );
        let paths = cluster.state.chains.values().map(|chain| chain.paths.len());
        assert_eq!(paths.sum::<usize>(), 1, "crash at {crash_at}");
        for (name, entry) in cluster.boxes.iter().filter(|(_, b)| b.up) {
            assert_eq!(entry.spec_generation, cluster.state.nodes[name].generation);
        }
    }
}

#[test]
fn a_first_apply_survives_a_crash_anywhere() {
    let expect = ["firewall-1", "dpi-1", "nat-1"];
    survives(&Cluster::new(3), |cluster| cluster.apply(WEB), &expect);
}

#[test]
fn a_path_change_survives_a_crash_anywhere() {
    let kill = |cluster: &mut Cluster| cluster.kill_container("box1", "dpi-1");
    survives(&carried(), kill, &["firewall-1", "dpi-2", "nat-1"]);
}

#[test]
fn a_dead_box_survives_a_crash_anywhere() {
    let mut cluster = Cluster::new(3);
    cluster.apply(WEB);
    cluster.load("box1", "nat-1", 90.0);
    cluster.load("box3", "nat-3", 90.0);
    cluster.settle();
    let cut = |cluster: &mut Cluster| cluster.cut("box2");
    survives(&cluster, cut, &["firewall-1", "dpi-1", "nat-1"]);
}

#[test]
fn a_relief_survives_a_crash_anywhere() {
    let mut cluster = Cluster::new(3);
    let text = super::scaling::SCALED.replace("cpu > 50% for 5s", "cpu > 50%");
    cluster.apply(&text);
    cluster.settle();
    let burn = |cluster: &mut Cluster| cluster.load("box1", "dpi-1", 95.0);
    assert_eq!(cluster.state.instances["dpi-1"].node, Some(node("box1")));
    survives(&cluster, burn, &["dpi-2"]);
}

#[test]
fn a_restarted_controller_changes_nothing() {
    let mut cluster = carried();
    cluster.apply(HELLO);
    cluster.settle();
    let before = cluster.think().documents;
    cluster.story.clear();
    cluster.observed = Default::default();
    cluster.now_ms += 60_000;
    assert_eq!(
        cluster.think().documents,
        before,
        "while the broker is not there yet"
    );
    cluster.observed.link_up(cluster.now_ms);
    assert_eq!(
        cluster.think().documents,
        before,
        "before any box was heard"
    );
    for name in ["box1", "box2", "box3"] {
        cluster.now_ms += 500;
        cluster.work(&node(name));
        assert_eq!(cluster.think().documents, before);
    }
    assert_eq!(cluster.story, Vec::<String>::new());
}

#[test]
fn a_lost_broker_moves_nothing() {
    let mut cluster = carried();
    cluster.observed.link_down();
    cluster.now_ms += 600_000;
    assert!(cluster.think().steps.is_empty());
    cluster.observed.link_up(cluster.now_ms);
    cluster.now_ms += 4_000;
    assert!(
        cluster.think().steps.is_empty(),
        "agents may take a while to come back"
    );
    for name in ["box1", "box2"] {
        cluster.work(&node(name));
    }
    cluster.now_ms += 5_000;
    for name in ["box1", "box2"] {
        cluster.work(&node(name));
    }
    cluster.think();
    assert!(
        cluster.told().contains("box3 stopped reporting"),
        "{}",
        cluster.told()
    );
    assert!(!cluster.told().contains("box1"), "{}", cluster.told());
}

#[test]
fn a_controller_that_lost_its_memory_overtakes_the_boxes() {
    let mut cluster = carried();
    for entry in cluster.boxes.values_mut() {
        entry.spec_generation += 50;
        entry.tables.generation += 50;
        // What the broker holds is what the old controller sent.
        if let Some(retained) = &mut entry.retained {
            retained.generation += 50;
            retained.forwarder.generation += 50;
        }
    }
    for name in ["box1", "box2", "box3"] {
        cluster.work(&node(name));
    }
    cluster.state = Default::default();
    cluster.apply(WEB);
    cluster.settle();
    assert_eq!(cluster.status("web"), "Ready");
    assert!(
        cluster
            .state
            .nodes
            .values()
            .all(|node| node.generation > 50)
    );
}

#[test]
fn a_clock_that_was_set_back_keeps_nothing_for_ever() {
    let mut cluster = carried();
    cluster.kill_container("box1", "dpi-1");
    for _ in 0..4 {
        let plan = cluster.think();
        cluster.publish(&plan);
        for name in ["box1", "box2", "box3"] {
            cluster.work(&node(name));
        }
    }
    assert_eq!(cluster.state.chains.values().next().unwrap().paths.len(), 2);
    cluster.observed = Default::default();
    cluster.now_ms = 5_000;
    cluster.observed.link_up(5_000);
    for name in ["box1", "box2", "box3"] {
        cluster.presence(&node(name), kc_agent_api::Presence::Online);
    }
    cluster.pass(10_000);
    assert_eq!(cluster.state.chains.values().next().unwrap().paths.len(), 1);
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-2", "nat-1"]);
}
