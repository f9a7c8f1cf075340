//! Load decides how many instances there are, and which of them carry chains.

use super::cluster::Cluster;
use super::*;

pub(super) const SCALED: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: dpi}
spec:
  image: d
  alarms:
    - {name: hot, when: cpu > 50% for 5s, clear: 40%, replace: true}
    - {name: idle, when: cpu < 10% for 30s, of: average}
  autoscale: {max: 3, steps: [{alarm: idle, remove: 1}], scaleIn: {cooldown: 20s}}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [dpi]
  from: {node: box1, interface: client0}
  to: {node: box3, interface: server0}
";

fn load_all(cluster: &mut Cluster, percent: f32) {
    let placed: Vec<_> = cluster
        .state
        .instances
        .iter()
        .filter_map(|(name, i)| Some((i.node.clone()?.to_string(), name.clone())))
        .collect();
    for (on, name) in placed {
        cluster.load(&on, &name, percent);
    }
}

fn names(cluster: &Cluster) -> Vec<String> {
    cluster.state.instances.keys().cloned().collect()
}

fn told<'c>(cluster: &'c Cluster, kinds: &[&str]) -> Vec<&'c str> {
    let lines = cluster.story.iter().map(String::as_str);
    let events = lines.filter_map(|line| line.strip_prefix("! "));
    events
        .filter(|event| kinds.iter().any(|kind| event.starts_with(kind)))
        .collect()
}

#[test]
fn from_overload_to_a_new_path_and_back_to_one_instance() {
    let mut cluster = Cluster::new(3);
    cluster.apply(SCALED);
    cluster.settle();
    assert_eq!(cluster.path("web"), ["dpi-1"]);
    cluster.story.clear();
    let on = cluster.state.instances["dpi-1"].node.clone().unwrap();
    cluster.load(on.as_str(), "dpi-1", 95.0);
    cluster.pass(4_000);
    assert_eq!(names(&cluster), ["dpi-1"], "not before the window is over");
    cluster.pass(3_000);
    assert_eq!(names(&cluster), ["dpi-1", "dpi-2"]);
    assert_eq!(cluster.path("web"), ["dpi-2"]);
    assert_ne!(
        cluster.state.instances["dpi-2"].node.as_ref(),
        Some(&on),
        "on another box"
    );
    assert_eq!(
        told(&cluster, &["alarm", "scaled", "path-chosen"]),
        [
            "alarm-firing ServiceFunction/dpi: alarm servicefunction.dpi.hot: cpu of dpi-1 is 95% (cpu > 50% for 5s)",
            "scaled-out ServiceFunction/dpi: dpi grows from 1 to 2: dpi-1 is overloaded (cpu > 50% for 5s), and no other could take chain web",
            "path-chosen Chain/web: chain web: dpi-1 is overloaded (cpu > 50% for 5s); path 2 -> 4: dpi-2",
        ]
    );
    // The one that carries the chain stays, whichever was first.
    load_all(&mut cluster, 2.0);
    cluster.pass(60_000);
    assert_eq!(names(&cluster), ["dpi-2"]);
    assert_eq!(cluster.path("web"), ["dpi-2"]);
    assert_eq!(cluster.status("web"), "Ready");
}

#[test]
fn an_idle_one_takes_the_chain_and_none_is_made() {
    let mut cluster = Cluster::new(3);
    cluster.apply(&SCALED.replace("  autoscale", "  replicas: 2\n  autoscale"));
    cluster.settle();
    let carrying = cluster.path("web").remove(0);
    let on = cluster.state.instances[&carrying].node.clone().unwrap();
    cluster.load(on.as_str(), &carrying, 95.0);
    cluster.pass(7_000);
    assert_ne!(cluster.path("web"), [carrying.as_str()]);
    assert_eq!(names(&cluster), ["dpi-1", "dpi-2"]);
}

#[test]
fn a_chain_whose_own_load_it_is_goes_round_no_circle() {
    let mut cluster = Cluster::new(3);
    cluster.apply(SCALED);
    cluster.settle();
    let mut seen = std::collections::BTreeMap::new();
    for _ in 0..240 {
        load_all(&mut cluster, 20.0);
        let carrying = cluster.path("web").remove(0);
        let on = cluster.state.instances[&carrying].node.clone().unwrap();
        cluster.load(on.as_str(), &carrying, 95.0);
        cluster.pass(500);
        *seen.entry(carrying).or_insert(0) += 1;
    }
    let moves = told(&cluster, &["path-chosen"]).len();
    assert!(
        moves <= 3,
        "each at most once in {} s: {}",
        120,
        cluster.told()
    );
    assert_eq!(names(&cluster), ["dpi-1", "dpi-2", "dpi-3"], "{seen:?}");
    assert!(
        cluster
            .state
            .scaling(&"ServiceFunction/dpi".parse().unwrap())
            .unwrap()
            .contains("most")
    );
}

#[test]
fn overload_without_anybody_else_and_without_room_leaves_the_chain_where_it_is() {
    let mut cluster = Cluster::new(1);
    let text = SCALED.replace("box3", "box1").replace("max: 3", "max: 1");
    cluster.apply(&text);
    cluster.settle();
    cluster.load("box1", "dpi-1", 95.0);
    cluster.pass(20_000);
    assert_eq!(cluster.path("web"), ["dpi-1"]);
    assert_eq!(cluster.status("web"), "Ready");
    assert_eq!(names(&cluster), ["dpi-1"]);
}

#[test]
fn a_service_follows_its_target_out_and_in() {
    let service = "\
apiVersion: kcluster/v1
kind: Service
metadata: {name: shop}
spec:
  image: s
  replicas: 2
  autoscale: {min: 2, max: 4, target: {cpu: 60%}, scaleIn: {cooldown: 10s, stabilization: 60s}}
";
    let mut cluster = Cluster::new(3);
    cluster.apply(service);
    cluster.settle();
    load_all(&mut cluster, 100.0);
    cluster.pass(1_000);
    assert_eq!(names(&cluster), ["shop-1", "shop-2", "shop-3", "shop-4"]);
    load_all(&mut cluster, 10.0);
    cluster.pass(55_000);
    assert_eq!(names(&cluster).len(), 4, "{}", cluster.told());
    cluster.pass(20_000);
    assert_eq!(names(&cluster), ["shop-1", "shop-2"]);
    // Where load no longer decides, the manifest does again.
    cluster.apply(&service.replace("  autoscale", "  labels: {a: b}\n#"));
    cluster.settle();
    assert!(cluster.state.scales.is_empty());
}

#[test]
fn a_path_gives_way_only_to_one_that_has_been_better_by_the_margin_for_long_enough() {
    let text = WEB.replace(
        "{algorithm: load-path-aware, lTh: 4}",
        "{algorithm: load-balance, rebalance: {margin: 20, for: 10s}}",
    );
    let mut cluster = Cluster::new(3);
    cluster.apply(&text);
    cluster.settle();
    let before = cluster.path("web");
    let carries = |cluster: &Cluster, n: usize| cluster.path("web")[n].clone();
    let dpi = carries(&cluster, 1);
    let on = cluster.state.instances[&dpi].node.clone().unwrap();
    load_all(&mut cluster, 10.0);
    cluster.load(on.as_str(), &dpi, 25.0);
    cluster.pass(30_000);
    assert_eq!(cluster.path("web"), before, "15 points are no 20");
    for _ in 0..4 {
        cluster.load(on.as_str(), &dpi, 95.0);
        cluster.pass(8_000);
        cluster.load(on.as_str(), &dpi, 25.0);
        cluster.pass(1_000);
    }
    assert_eq!(cluster.path("web"), before, "never for long enough");
    cluster.load(on.as_str(), &dpi, 95.0);
    cluster.pass(11_000);
    assert_ne!(carries(&cluster, 1), dpi);
    let moved = told(&cluster, &["path-chosen"]);
    assert_eq!(moved.len(), 2, "{moved:?}");
    assert!(moved[1].contains("points less, for 10s"), "{moved:?}");
    cluster.pass(60_000);
    assert_eq!(
        told(&cluster, &["path-chosen"]).len(),
        2,
        "and there it rests"
    );
}
