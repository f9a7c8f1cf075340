//! Scale of planning: a cluster that the planner itself has built, then what it costs to schedule
//! one chain, to plan when nothing has changed, after every box has told its load, and after the death
//! of a box with all chains on it moved; and how much memory is taken. Prints tables.
//!
//! `PLAN_SIZES` names other clusters than the usual, `boxes:instances:chains`, separated by commas.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a benchmark that finds something amiss should end"
)]

mod cluster;
mod weigh;

use cluster::{Cluster, Size};
use kc_controller::scheduler::{Request, from_spec};
use std::time::{Duration, Instant};

/// The edge as it usually is, on the way up, and far beyond.
const SIZES: &str = "3:9:1,10:100:10,100:1000:100,1000:10000:1000,10000:100000:10000";

/// How often each thing is measured; the middle one is told.
const TIMES: usize = 7;

fn main() {
    if weigh::is_asked() {
        return weigh::answer();
    }
    let sizes = std::env::var("PLAN_SIZES").unwrap_or_else(|_| SIZES.to_owned());
    let sizes: Vec<Size> = sizes.split(',').map(|size| size.parse().unwrap()).collect();
    println!(
        "| boxes, instances, chains | all first paths | one chain | nothing new | every load new | a box dies | the busiest dies |"
    );
    println!("|---|---|---|---|---|---|---|");
    let weights: Vec<_> = sizes.into_iter().map(measure).collect();
    println!("\n{}", weigh::HEAD);
    for weight in weights {
        println!("{weight}");
    }
}

/// The middle of several measurements.
fn middle(mut once: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<_> = (0..TIMES).map(|_| once()).collect();
    times.sort_unstable();
    times[TIMES / 2]
}

fn measure(size: Size) -> String {
    let mut cluster = Cluster::build(size);
    let chain = one_chain(&cluster);
    let nothing = middle(|| cluster.plan().0);
    let loads = middle(|| {
        cluster.tell_loads();
        cluster.plan().0
    });
    let usual = cluster.middling_box();
    let (usual_time, usual_moved, usual_documents) = cluster.death(&usual, TIMES);
    let busiest = cluster.busiest_box();
    let (busiest_time, busiest_moved, busiest_documents) = cluster.death(&busiest, TIMES);
    println!(
        "| {size} | {} | {} | {} | {} | {}, {usual_moved} chains moved, {usual_documents} documents | {}, {busiest_moved} chains moved, {busiest_documents} documents |",
        told(cluster.first_paths),
        told(chain),
        told(nothing),
        told(loads),
        told(usual_time),
        told(busiest_time),
    );
    weigh::all(size, &cluster)
}

/// One chain over the topology that a plan builds once for all of them.
fn one_chain(cluster: &Cluster) -> Duration {
    let topology = cluster.topology();
    let rotation = std::collections::BTreeMap::new();
    let mut longest = Vec::new();
    for object in cluster.state.chains_wanted().take(200) {
        let spec = &object.spec;
        let request = Request {
            ingress: Some(spec.from.node.as_str()),
            egress: Some(spec.to.node.as_str()),
            rotation: &rotation,
            ..Request::new(&topology, &spec.functions)
        };
        let start = Instant::now();
        let choice = from_spec(&spec.scheduler).schedule(&request).unwrap();
        longest.push(start.elapsed());
        drop(choice);
    }
    longest.sort_unstable();
    longest[longest.len() / 2]
}

fn told(time: Duration) -> String {
    let micros = time.as_micros();
    match micros {
        0..1_000 => format!("{micros} µs"),
        1_000..10_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{} ms", micros / 1_000),
    }
}
