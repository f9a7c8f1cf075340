//! Traffic goes to what is new on a path when it has answered its forwarder, and not before.

use super::cluster::node;
use super::*;
use crate::plan::Phase;
use kc_forwarder_api::HealthState::{Alive, Dead, Unknown};

const DPIS: [(&str, &str); 2] = [("box2", "dpi-2"), ("box3", "dpi-3")];

/// A chain that shall leave `dpi-1`, which is well, for one that has never answered.
fn leaving(dpi: &str) -> Cluster {
    let mut cluster = Cluster::new(3);
    for (on, name) in DPIS {
        cluster.answer(on, name, Unknown);
    }
    let text = WEB.replace("{image: d,", &format!("{{image: d, {dpi}"));
    cluster.apply(&text);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["firewall-1", "dpi-1", "nat-1"]);
    cluster.story.clear();
    cluster.apply(&text.replace("image: d,", "image: d2,"));
    rounds(&mut cluster);
    cluster
}

/// Everything that happens without time.
fn rounds(cluster: &mut Cluster) {
    for _ in 0..20 {
        let plan = cluster.think();
        cluster.publish(&plan);
        for name in ["box1", "box2", "box3"] {
            cluster.work(&node(name));
        }
        cluster.check();
    }
}

/// Everything that happens up to a time, with boxes that speak meanwhile.
fn until(cluster: &mut Cluster, then_ms: u64) {
    while cluster.now_ms < then_ms {
        cluster.now_ms = (cluster.now_ms + 500).min(then_ms);
        rounds(cluster);
    }
}

fn installing(cluster: &Cluster) -> bool {
    let mut paths = cluster.state.chains.values().flat_map(|chain| &chain.paths);
    paths.any(|path| matches!(path.phase, Phase::Installing { .. }))
}

fn dpi(cluster: &Cluster) -> String {
    cluster.path("web")[1].clone()
}

#[test]
fn a_path_waits_for_the_first_answer_of_what_is_new_on_it_and_no_longer() {
    let mut cluster = leaving("");
    assert!(installing(&cluster), "{}", cluster.told());
    assert_eq!(dpi(&cluster), "dpi-1");
    let later_ms = cluster.now_ms + 3_000;
    until(&mut cluster, later_ms);
    assert_eq!(dpi(&cluster), "dpi-1", "{}", cluster.told());
    for (on, name) in DPIS {
        cluster.answer(on, name, Alive);
    }
    rounds(&mut cluster);
    assert!(!installing(&cluster), "{}", cluster.told());
    assert_ne!(dpi(&cluster), "dpi-1");
}

#[test]
fn what_cannot_answer_is_waited_for_as_long_as_patience_lasts() {
    for silence in [Unknown, Dead] {
        let mut cluster = leaving("");
        for (on, name) in DPIS {
            cluster.answer(on, name, silence);
        }
        let begun_ms = cluster.now_ms;
        let until_ms = begun_ms + cluster.state.settings.patience_ms;
        rounds(&mut cluster);
        until(&mut cluster, until_ms - 1);
        assert_eq!(cluster.wake_at_ms, Some(until_ms), "{}", cluster.told());
        assert_eq!(dpi(&cluster), "dpi-1");
        until(&mut cluster, until_ms);
        assert_ne!(dpi(&cluster), "dpi-1", "{}", cluster.told());
        assert!(!installing(&cluster));
    }
}

#[test]
fn a_clock_that_was_set_back_does_not_lengthen_the_wait() {
    let mut cluster = leaving("");
    cluster.now_ms -= 500_000;
    rounds(&mut cluster);
    let patience_ms = cluster.state.settings.patience_ms;
    let latest_ms = cluster.now_ms + patience_ms;
    assert!(cluster.wake_at_ms <= Some(latest_ms));
}

#[test]
fn nothing_is_waited_for_where_the_former_path_is_dead() {
    let mut cluster = leaving("");
    assert_eq!(dpi(&cluster), "dpi-1");
    cluster.kill_container("box1", "dpi-1");
    rounds(&mut cluster);
    assert_ne!(dpi(&cluster), "dpi-1", "{}", cluster.told());
    assert!(!installing(&cluster));
}

#[test]
fn what_nobody_asks_is_not_waited_for() {
    for unasked in ["liveness: {by: carrier},", "attachment: one-leg,"] {
        let cluster = leaving(unasked);
        assert_ne!(dpi(&cluster), "dpi-1", "{}", cluster.told());
        assert!(!installing(&cluster));
    }
}
