//! Chains whose length is what boxes measure between them.

use super::cluster::node;
use super::*;
use kc_forwarder_api::{RoundTrip, TunnelName};

/// The chain, in milliseconds: firewall and DPI on each of three boxes, from box 1 and back to it.
fn quick() -> String {
    let quick = "algorithm: shortest-path, length: latency";
    WEB.replacen("algorithm: load-path-aware, lTh: 4", quick, 1)
}

/// What both boxes measure of the link between them.
fn measure(cluster: &mut Cluster, links: &[(&str, &str, u32)]) {
    for name in ["box1", "box2", "box3"] {
        let ends = links.iter().filter_map(|(a, b, rtt_us)| match name {
            _ if name == *a => Some((*b, *rtt_us)),
            _ if name == *b => Some((*a, *rtt_us)),
            _ => None,
        });
        let told = ends.map(|(to, rtt_us)| RoundTrip {
            tunnel: TunnelName::new(to).unwrap(),
            rtt_us,
        });
        cluster.boxes.get_mut(&node(name)).unwrap().round_trips = told.collect();
    }
    cluster.now_ms += 1_000;
    for name in ["box1", "box2", "box3"] {
        cluster.work(&node(name));
    }
}

fn latency(cluster: &Cluster, a: &str, b: &str) -> Option<String> {
    let latency = cluster.observed.latency(&node(a), &node(b));
    latency.map(|latency| latency.to_string())
}

#[test]
fn measured_links_are_explained_in_milliseconds_and_noise_changes_no_plan() {
    let mut cluster = Cluster::new(3);
    measure(
        &mut cluster,
        &[
            ("box1", "box2", 1_000),
            ("box2", "box3", 1_000),
            ("box1", "box3", 60_000),
        ],
    );
    assert_eq!(latency(&cluster, "box1", "box3").as_deref(), Some("30ms"));
    assert_eq!(
        latency(&cluster, "box3", "box1"),
        latency(&cluster, "box1", "box3")
    );
    cluster.apply(&quick());
    cluster.settle();
    cluster.pass(6_000);
    let chain = &cluster.state.chains[&crate::resource::Name::new("web").unwrap()];
    let path = chain.carrying().unwrap();
    let told = path.explanation.to_string();
    assert!(
        told.contains("length=latency") && told.contains("ms in all"),
        "{told}"
    );
    assert_eq!(path.explanation.hops, None);
    // From box 1 to box 3 the quick way is over box 2.
    let ends: Vec<_> = path.route.iter().flatten().collect();
    assert!(
        !path
            .route
            .iter()
            .any(|leg| leg == &[node("box1"), node("box3")]),
        "{ends:?}"
    );
    let before = cluster.state.chains.clone();
    for round in 0..50_u32 {
        let noise = |rtt_us: u32| rtt_us + rtt_us / 100 * (round * 7 % 20);
        measure(
            &mut cluster,
            &[
                ("box1", "box2", noise(1_000)),
                ("box2", "box3", noise(1_000)),
                ("box1", "box3", noise(60_000)),
            ],
        );
        cluster.settle();
    }
    assert!(cluster.state.chains == before);
}

#[test]
fn a_link_that_nobody_measures_counts_as_the_slowest_and_a_dead_one_is_no_longer_known() {
    let mut cluster = Cluster::new(3);
    measure(&mut cluster, &[("box1", "box2", 30_000)]);
    assert_eq!(latency(&cluster, "box1", "box3"), None);
    cluster.apply(&quick());
    cluster.settle();
    cluster.pass(6_000);
    assert_eq!(cluster.status("web"), "Ready");
    measure(&mut cluster, &[]);
    assert_eq!(latency(&cluster, "box1", "box2"), None);
}
