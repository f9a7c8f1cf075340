//! Alarms in the planner: who is watched, and what is told.

use super::cluster::{Cluster, node};
use super::{WEB, carried};
use crate::alarm::Standing;
use crate::resource::Name;
use kc_agent_api::PathLoad;
use kc_forwarder_api::{RoundTrip, Si, TunnelName};

const WATCHED: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: dpi}
spec:
  image: d
  replicas: 2
  placement: {nodes: [box1, box2]}
  alarms:
    - {name: hot, when: cpu > 50% for 60s, clear: 40%, severity: critical}
    - {name: busy, when: cpu > 50%, of: average}
---
apiVersion: kcluster/v1
kind: Node
metadata: {name: box1}
spec: {alarms: [{name: hot, when: cpu > 80% for 10s}]}
";

fn loaded(cluster: &mut Cluster, on: &str, container: &str, percent: f32) {
    let target = cluster.boxes.get_mut(&node(on)).unwrap();
    target.loads.insert(container.to_owned(), percent);
}

fn states(cluster: &Cluster) -> Vec<String> {
    let reports = cluster.state.alarm_reports();
    reports
        .map(|report| format!("{} {}", report.name, report.state))
        .collect()
}

#[test]
fn an_alarm_goes_from_its_window_to_its_end() {
    let mut cluster = Cluster::new(2);
    cluster.apply(WATCHED);
    cluster.settle();
    cluster.story.clear();
    loaded(&mut cluster, "box1", "dpi-1", 30.0);
    loaded(&mut cluster, "box2", "dpi-2", 90.0);
    cluster.pass(1_000);
    let pending = [
        "node.box1.hot ok",
        "servicefunction.dpi.busy firing",
        "servicefunction.dpi.hot pending",
    ];
    assert_eq!(states(&cluster), pending, "60 % on the average");
    cluster.pass(61_000);
    let record = &cluster.state.alarms["servicefunction.dpi.hot"];
    assert!(record.worst().is_firing());
    assert_eq!(record.subjects.keys().collect::<Vec<_>>(), ["dpi-2"]);
    loaded(&mut cluster, "box2", "dpi-2", 45.0);
    cluster.pass(1_000);
    assert!(
        cluster.state.alarms["servicefunction.dpi.hot"]
            .worst()
            .is_firing()
    );
    loaded(&mut cluster, "box2", "dpi-2", 40.0);
    cluster.pass(1_000);
    assert_eq!(
        cluster.state.alarms["servicefunction.dpi.hot"].worst(),
        Standing::Ok
    );
    let told: Vec<_> = cluster
        .story
        .iter()
        .filter(|line| line.contains("alarm"))
        .collect();
    assert_eq!(
        told,
        [
            "! alarm-firing ServiceFunction/dpi: alarm servicefunction.dpi.busy: cpu of average is 60% (cpu > 50%)",
            "! alarm-firing ServiceFunction/dpi: alarm servicefunction.dpi.hot: cpu of dpi-2 is 90% (cpu > 50% for 1m)",
            "! alarm-cleared ServiceFunction/dpi: alarm servicefunction.dpi.busy is over: cpu of average is 38%",
            "! alarm-cleared ServiceFunction/dpi: alarm servicefunction.dpi.hot is over: cpu of dpi-2 is 40%",
        ]
    );
}

#[test]
fn an_alarm_goes_with_its_resource_and_its_subject_with_its_instance() {
    let mut cluster = Cluster::new(2);
    cluster.apply(WATCHED);
    cluster.settle();
    loaded(&mut cluster, "box2", "dpi-2", 90.0);
    cluster.pass(62_000);
    cluster.apply(&WATCHED.replace("replicas: 2", "replicas: 1"));
    cluster.settle();
    assert_eq!(
        cluster.state.alarms["servicefunction.dpi.hot"].worst(),
        Standing::Ok
    );
    cluster.delete("ServiceFunction/dpi");
    cluster.settle();
    assert_eq!(states(&cluster), ["node.box1.hot ok"]);
}

#[test]
fn a_chain_that_loses_packets_is_told_and_changes_no_path_for_being_watched() {
    let mut cluster = carried();
    let watched = "\nalarms: [{name: lossy, when: loss > 10% for 5s}]".replace('\n', "\n  ");
    cluster.apply(&format!("{}{watched}\n", WEB.trim_end()));
    cluster.settle();
    assert!(!cluster.told().contains("install"), "{}", cluster.told());
    let spi = cluster.state.chains[&Name::new("web").unwrap()].paths[0].forward;
    let lose = |cluster: &mut Cluster, percent: u64| {
        for _ in 0..40 {
            for (on, si, keeps) in [("box1", 255, 100), ("box3", 252, 100 - percent)] {
                let target = cluster.boxes.get_mut(&node(on)).unwrap();
                let before = target.paths.first().map_or(0, |path| path.packets);
                target.paths = vec![PathLoad {
                    spi,
                    si: Si::new(si).unwrap(),
                    packets: before + keeps,
                    bytes: 0,
                }];
            }
            cluster.pass(500);
        }
    };
    lose(&mut cluster, 5);
    assert!(states(&cluster).contains(&"chain.web.lossy ok".to_owned()));
    lose(&mut cluster, 30);
    assert!(
        states(&cluster).contains(&"chain.web.lossy firing".to_owned()),
        "{}",
        cluster.told()
    );
    assert!(
        cluster.told().contains("loss of web is "),
        "{}",
        cluster.told()
    );
}

#[test]
fn a_chain_and_the_tunnels_under_it_are_told_when_they_get_slow() {
    let mut cluster = Cluster::new(3);
    let watched = "\n  alarms: [{name: slow, when: latency > 20ms for 5s}]\n";
    cluster.apply(&format!("{}{watched}", WEB.trim_end()));
    cluster.apply(
        "apiVersion: kcluster/v1\nkind: Node\nmetadata: {name: box1}\nspec:\n  \
         alarms: [{name: far, when: latency > 20ms for 5s}]\n",
    );
    cluster.settle();
    let measured = |cluster: &mut Cluster, us: u32| {
        for _ in 0..60 {
            let told = ["box2", "box3"].map(|other| RoundTrip {
                tunnel: TunnelName::new(other).unwrap(),
                rtt_us: us,
            });
            cluster.boxes.get_mut(&node("box1")).unwrap().round_trips = told.to_vec();
            cluster.pass(500);
        }
    };
    measured(&mut cluster, 4_000);
    assert_eq!(states(&cluster), ["chain.web.slow ok", "node.box1.far ok"]);
    measured(&mut cluster, 60_000);
    assert_eq!(
        states(&cluster),
        ["chain.web.slow firing", "node.box1.far firing"],
        "{}",
        cluster.told()
    );
    assert!(
        cluster.told().contains("latency of box1->box3 is 2"),
        "{}",
        cluster.told()
    );
}
