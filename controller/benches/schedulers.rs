//! Every scheduler against the best path there is, on a thousand random clusters: how loaded the
//! most loaded instance is, how long the path, and what both cost together. Prints a table and
//! writes `schedulers.svg` into the folder named by `BENCH_OUT`, if it is set.

#![expect(
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    reason = "a benchmark that finds something amiss should end"
)]

use kc_controller::resource::{Algorithm, MissingLoad, Name, SchedulerSpec, Threshold};
use kc_controller::scheduler::{DEFAULT_HOP_WEIGHT, Request, cost, from_spec};
use kc_controller::topology::{Mesh, ServiceFunction, Sff, Topology};
use std::fmt::Write as _;

const CLUSTERS: u64 = 1000;

/// How a cluster is linked.
const SHAPES: [&str; 4] = ["mesh", "line", "tree", "random"];

struct Cluster {
    topology: Topology,
    chain: Vec<Name>,
    ingress: String,
    egress: String,
}

fn cluster(seed: u64) -> Cluster {
    let mut random = fastrand::Rng::with_seed(seed);
    let boxes = random.usize(10..=200);
    let shape = SHAPES[seed as usize % SHAPES.len()];
    let names: Vec<_> = (0..boxes).map(|i| format!("box{i}")).collect();
    let mut links = Vec::new();
    for i in 1..boxes {
        let to = match shape {
            "line" => Some(i - 1),
            "tree" => Some((i - 1) / 3),
            "random" => Some(random.usize(0..i)),
            _ => None,
        };
        links.extend(to.map(|to| (i, to)));
    }
    if shape == "random" {
        links.extend((0..boxes).map(|_| (random.usize(0..boxes), random.usize(0..boxes))));
    }
    let mesh = (shape == "mesh").then_some(Mesh {
        class: 4,
        spoken: false,
    });
    let chain: Vec<_> = (0..random.usize(3..=5))
        .map(|i| Name::new(format!("type{i}")).unwrap())
        .collect();
    let mut instances = Vec::new();
    for function in &chain {
        for i in 0..random.usize(2..=boxes.min(40)) {
            instances.push(ServiceFunction {
                name: format!("{function}-{i}").into(),
                function: function.clone(),
                sff: names[random.usize(0..boxes)].as_str().into(),
                load: Some(5.0 + 90.0 * random.f32()),
                stale: false,
                barred: None,
            });
        }
    }
    let sffs = names.iter().map(|name| Sff { name, mesh });
    let links = links
        .iter()
        .map(|(a, b)| (names[*a].as_str(), names[*b].as_str(), 1));
    Cluster {
        topology: Topology::new(sffs, links, instances),
        chain,
        ingress: names[random.usize(0..boxes)].clone(),
        egress: names[random.usize(0..boxes)].clone(),
    }
}

/// What one scheduler did on all clusters.
#[derive(Default)]
struct Record {
    name: String,
    worst: Vec<f64>,
    hops: Vec<f64>,
    /// Its cost over that of the best path.
    ratio: Vec<f64>,
}

fn middle(values: &[f64], part: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part) as usize]
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

fn main() {
    let mut specs = vec![(Algorithm::Optimal, None)];
    specs.extend([2, 3, 4, 6].map(|l_th| (Algorithm::LoadPathAware, Some(l_th))));
    let others = Algorithm::ALL.into_iter();
    specs.extend(
        others
            .filter(|a| !matches!(a, Algorithm::Optimal | Algorithm::LoadPathAware))
            .map(|a| (a, None)),
    );
    let schedulers: Vec<_> = specs
        .into_iter()
        .map(|(algorithm, l_th)| {
            from_spec(&SchedulerSpec {
                algorithm,
                l_th: l_th.map(Threshold::Hops),
                ..SchedulerSpec::default()
            })
        })
        .collect();
    let mut records: Vec<Record> = schedulers
        .iter()
        .map(|scheduler| Record {
            name: scheduler.name(),
            ..Record::default()
        })
        .collect();
    for seed in 0..CLUSTERS {
        let cluster = cluster(seed);
        let request = Request {
            ingress: Some(&cluster.ingress),
            egress: Some(&cluster.egress),
            draws: seed,
            ..Request::new(&cluster.topology, &cluster.chain)
        };
        let mut best = None;
        for (scheduler, record) in schedulers.iter().zip(&mut records) {
            let choice = scheduler.schedule(&request).unwrap();
            let loads = choice
                .path
                .iter()
                .map(|name| cluster.topology.function(name).unwrap());
            let worst = loads
                .map(|sf| sf.effective_load(MissingLoad::Average))
                .fold(0.0, f32::max);
            let hops = choice.explanation.hops.unwrap();
            let cost = cost(worst, hops, DEFAULT_HOP_WEIGHT);
            record.worst.push(worst.into());
            record.hops.push(hops.into());
            record.ratio.push(cost / *best.get_or_insert(cost));
        }
    }
    println!(
        "| scheduler | worst load, mean | hops, mean | cost over optimal: mean | p50 | p90 | p99 |"
    );
    println!("|---|---|---|---|---|---|---|");
    for record in &records {
        println!(
            "| {} | {:.1} % | {:.2} | {:.3} | {:.3} | {:.3} | {:.3} |",
            record.name,
            mean(&record.worst),
            mean(&record.hops),
            mean(&record.ratio),
            middle(&record.ratio, 0.5),
            middle(&record.ratio, 0.9),
            middle(&record.ratio, 0.99)
        );
    }
    if let Some(folder) = std::env::var_os("BENCH_OUT") {
        let path = std::path::Path::new(&folder).join("schedulers.svg");
        std::fs::write(&path, plot(&records)).unwrap();
        println!("{}", path.display());
    }
}

/// Worst load over hops, one point a scheduler.
fn plot(records: &[Record]) -> String {
    let (x_end, y_end) = (60.0, 100.0);
    let place = |hops: f64, load: f64| (60.0 + hops / x_end * 520.0, 360.0 - load / y_end * 320.0);
    let mut svg = String::from(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 640 400' font-family='sans-serif' font-size='11'>\
         <rect width='640' height='400' fill='white'/>\
         <path d='M60 40V360H580' fill='none' stroke='black'/>\
         <text x='320' y='392' text-anchor='middle'>hops, mean</text>\
         <text transform='translate(18 200) rotate(-90)' text-anchor='middle'>load of the most loaded instance, mean (%)</text>",
    );
    for tick in 0..=6 {
        let (x, _) = place(f64::from(tick) * 10.0, 0.0);
        let _ = write!(
            svg,
            "<text x='{x}' y='375' text-anchor='middle'>{}</text>",
            tick * 10
        );
    }
    for tick in 0..=5 {
        let (_, y) = place(0.0, f64::from(tick) * 20.0);
        let _ = write!(
            svg,
            "<text x='52' y='{y}' text-anchor='end'>{}</text>",
            tick * 20
        );
    }
    for record in records {
        let (x, y) = place(mean(&record.hops), mean(&record.worst));
        let _ = write!(
            svg,
            "<circle cx='{x:.1}' cy='{y:.1}' r='4'/><text x='{:.1}' y='{:.1}'>{}</text>",
            x + 7.0,
            y + 4.0,
            record.name
        );
    }
    svg.push_str("</svg>\n");
    svg
}
