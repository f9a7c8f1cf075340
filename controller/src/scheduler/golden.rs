//! What every scheduler chooses on many topologies, held fast: whoever changes a scheduler sees
//! here whom it moves.

use super::*;
use crate::topology::{Mesh, ServiceFunction, Sff};
use std::fmt::Write as _;

/// A shape of `boxes` boxes: pairs that are linked; none for a mesh.
type Shape = (&'static str, usize, fn(usize) -> Vec<(usize, usize)>);

const SHAPES: [Shape; 9] = [
    ("mesh", 4, |_| Vec::new()),
    ("line", 5, |n| (1..n).map(|i| (i - 1, i)).collect()),
    ("ring", 6, |n| (0..n).map(|i| (i, (i + 1) % n)).collect()),
    ("star", 6, |n| (1..n).map(|i| (0, i)).collect()),
    ("tree", 7, |n| (1..n).map(|i| ((i - 1) / 2, i)).collect()),
    ("grid", 9, |_| {
        let right = (0..9).filter(|i| i % 3 != 2).map(|i| (i, i + 1));
        right.chain((0..6).map(|i| (i, i + 3))).collect()
    }),
    ("dumbbell", 6, |_| {
        vec![(0, 1), (1, 2), (2, 0), (2, 3), (3, 4), (4, 5), (5, 3)]
    }),
    ("two islands", 6, |_| vec![(0, 1), (1, 2), (3, 4), (4, 5)]),
    ("one box", 1, |_| Vec::new()),
];

/// How loaded the instance of type `t` on box `b` of `n` is, or why it is barred.
type Loads = (
    &'static str,
    fn(usize, usize, usize) -> Result<Option<f32>, &'static str>,
);

const LOADS: [Loads; 5] = [
    ("idle", |_, _, _| Ok(Some(0.0))),
    ("rising away from the start", |_, b, n| {
        Ok(Some(percent(10 + 80 * b / n)))
    }),
    ("falling away from the start", |_, b, n| {
        Ok(Some(percent(90 - 80 * b / n)))
    }),
    ("mixed, some unknown", |t, b, _| {
        Ok(((t + b) % 4 != 3).then(|| percent((37 * b + 61 * t) % 100)))
    }),
    ("mixed, some barred", |t, b, _| match (t + 2 * b) % 5 {
        4 => Err("is down"),
        _ => Ok(Some(percent((53 * b + 29 * t) % 100))),
    }),
];

fn percent(number: usize) -> f32 {
    f32::from(u8::try_from(number).unwrap())
}

#[test]
fn every_scheduler_on_many_topologies() {
    let chain = ["fw", "dpi", "nat"].map(|name| Name::new(name).unwrap());
    let mut story = String::new();
    for ((shape, boxes, links), (loads, load)) in SHAPES
        .into_iter()
        .flat_map(|shape| LOADS.map(|loads| (shape, loads)))
    {
        let names: Vec<_> = (1..=boxes).map(|b| format!("b{b}")).collect();
        let mesh = (shape == "mesh").then_some(Mesh {
            class: 4,
            spoken: false,
        });
        let sffs = names.iter().map(|name| Sff { name, mesh });
        let pairs = links(boxes);
        let pairs = pairs
            .iter()
            .map(|(a, b)| (names[*a].as_str(), names[*b].as_str(), 1));
        let instances = chain.iter().enumerate().flat_map(|(t, function)| {
            let names = &names;
            (0..boxes).map(move |b| {
                let load = load(t, b, boxes);
                ServiceFunction {
                    name: format!("{function}{}", b + 1).into(),
                    function: function.clone(),
                    sff: names[b].as_str().into(),
                    load: load.ok().flatten(),
                    stale: false,
                    barred: load.err().map(str::to_owned),
                }
            })
        });
        let topology = Topology::new(sffs, pairs, instances);
        let request = Request {
            ingress: Some("b1"),
            egress: names.get(boxes / 3).map(String::as_str),
            ..Request::new(&topology, &chain)
        };
        writeln!(story, "{shape}, {loads}: b1 to b{}", boxes / 3 + 1).unwrap();
        for algorithm in Algorithm::ALL {
            let spec = SchedulerSpec {
                algorithm,
                ..SchedulerSpec::default()
            };
            let answer = match from_spec(&spec).schedule(&request) {
                Ok(choice) => {
                    let hops = choice.explanation.hops.unwrap();
                    format!("{} ({hops} hops)", choice.path.join(" "))
                }
                Err(error) => error.to_string(),
            };
            writeln!(story, "  {algorithm:<16}{answer}").unwrap();
        }
    }
    insta::assert_snapshot!(story);
}
