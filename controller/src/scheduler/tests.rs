//! The published cases, every scheduler's own rule, and properties that hold for all of them.

use super::*;
use crate::topology::ServiceFunction;
use proptest::prelude::*;

/// Mission's topology: SFF1 - SFF2 - SFF3, each with FWi, DPIi, NATi.
fn published() -> Topology {
    let loads = [
        ("fw", [70.0, 80.0, 90.0]),
        ("dpi", [90.0, 80.0, 70.0]),
        ("nat", [90.0, 80.0, 85.0]),
    ];
    let functions = loads.iter().flat_map(|(function, loads)| {
        loads.iter().enumerate().map(|(i, &load)| ServiceFunction {
            name: format!("{}{}", function.to_uppercase(), i + 1).into(),
            function: Name::new(*function).unwrap(),
            sff: format!("SFF{}", i + 1).into(),
            load: Some(load),
            stale: false,
            barred: None,
        })
    });
    Topology::new(
        ["SFF1", "SFF2", "SFF3"],
        [("SFF1", "SFF2", 1), ("SFF2", "SFF3", 1)],
        functions,
    )
}

fn chain() -> Vec<Name> {
    ["fw", "dpi", "nat"]
        .map(|name| Name::new(name).unwrap())
        .to_vec()
}

fn run(scheduler: &dyn Scheduler, topology: &Topology, ingress: Option<&str>) -> Choice {
    let chain = chain();
    let request = Request {
        ingress,
        ..Request::new(topology, &chain)
    };
    scheduler.schedule(&request).unwrap()
}

#[test]
fn with_a_threshold_of_four_the_published_path_comes_out() {
    let choice = run(&LoadPathAware { l_th: 4 }, &published(), None);
    assert_eq!(choice.path, ["FW1", "DPI3", "NAT2"]);
    assert_eq!(choice.explanation.hops, Some(7));
}

#[test]
fn with_a_threshold_of_three_the_published_path_comes_out() {
    let choice = run(&LoadPathAware { l_th: 3 }, &published(), None);
    assert_eq!(choice.path, ["FW1", "DPI2", "NAT2"]);
}

/// The slide prints FW1, DPI2, NAT3 for a threshold of two. No threshold gives that: DPI2 is
/// three hops from FW1, and NAT2 is both nearer to DPI2 and less loaded than NAT3.
#[test]
fn with_a_threshold_of_two_the_algorithm_differs_from_the_slide() {
    let choice = run(&LoadPathAware { l_th: 2 }, &published(), None);
    assert_eq!(choice.path, ["FW1", "DPI1", "NAT1"]);
    for l_th in 0..16 {
        let path = run(&LoadPathAware { l_th }, &published(), None).path;
        assert_ne!(path, ["FW1", "DPI2", "NAT3"], "lTh {l_th}");
    }
}

#[test]
fn every_candidate_of_a_published_case_is_explained() {
    let choice = run(&LoadPathAware { l_th: 3 }, &published(), None);
    insta::assert_snapshot!(choice.explanation);
}

#[test]
fn nothing_within_reach_means_the_nearest_with_ties_by_load() {
    let choice = run(&LoadPathAware { l_th: 1 }, &published(), None);
    assert_eq!(choice.path, ["FW1", "DPI1", "NAT1"]);
    assert!(
        choice.explanation.positions[1]
            .rule
            .contains("none is at most 1 hop from FW1")
    );
}

#[test]
fn load_balance_ignores_distance() {
    let choice = run(&LoadBalance, &published(), None);
    assert_eq!(choice.path, ["FW1", "DPI3", "NAT2"]);
}

#[test]
fn the_shortest_path_starts_where_traffic_enters() {
    let choice = run(&ShortestPath, &published(), Some("SFF3"));
    assert_eq!(choice.path, ["FW3", "DPI3", "NAT3"]);
    assert_eq!(choice.explanation.hops, Some(5));
    let anywhere = run(&ShortestPath, &published(), None);
    assert_eq!(
        anywhere.path,
        ["FW2", "DPI2", "NAT2"],
        "least load among the equally short"
    );
}

#[test]
fn round_robin_goes_on_where_it_stopped() {
    let (topology, chain) = (published(), chain());
    let mut rotation = BTreeMap::new();
    let mut firsts = Vec::new();
    for _ in 0..4 {
        let request = Request {
            rotation: &rotation,
            ..Request::new(&topology, &chain)
        };
        let path = RoundRobin.schedule(&request).unwrap().path;
        firsts.push(path[0].clone());
        rotation = chain.iter().cloned().zip(path).collect();
    }
    assert_eq!(firsts, ["FW1", "FW2", "FW3", "FW1"]);
}

#[test]
fn the_same_seed_draws_the_same_path() {
    let draw = |seed| run(&Random { seed }, &published(), None).path;
    assert_eq!(draw(7), draw(7));
    let different: std::collections::BTreeSet<_> = (0..32).map(draw).collect();
    assert!(different.len() > 8, "{different:?}");
}

#[test]
fn adaptive_goes_far_only_under_load() {
    // NAT2 has 80 % and has to be taken: DPI2 with as much costs nothing, DPI3 a hop.
    let busy = run(&Adaptive, &published(), None);
    assert_eq!(busy.path, ["FW1", "DPI2", "NAT2"]);
    let mut idle = Vec::new();
    for i in 1..=3u8 {
        for function in chain() {
            idle.push(ServiceFunction {
                name: format!("{function}-{i}").into(),
                function,
                sff: format!("SFF{i}").into(),
                load: Some(30.0 - 4.0 * f32::from(i)),
                stale: false,
                barred: None,
            });
        }
    }
    let links = [("SFF1", "SFF2", 1), ("SFF2", "SFF3", 1)];
    let idle = Topology::new(["SFF1", "SFF2", "SFF3"], links, idle);
    assert_eq!(
        run(&Adaptive, &idle, Some("SFF1")).path,
        ["fw-1", "dpi-1", "nat-1"]
    );
}

#[test]
fn no_usable_instance_is_an_answer_with_reasons() {
    let topology = Topology::new(
        ["a"],
        [],
        [ServiceFunction {
            name: "fw-1".into(),
            function: Name::new("fw").unwrap(),
            sff: "a".into(),
            load: None,
            stale: false,
            barred: Some("is cordoned".into()),
        }],
    );
    let chain = chain();
    let request = Request::new(&topology, &chain);
    let error = LoadBalance.schedule(&request).unwrap_err();
    assert_eq!(
        error.to_string(),
        "no instance of fw can be used: fw-1 is cordoned"
    );
}

fn any_topology() -> impl Strategy<Value = Topology> {
    let function = (
        0..3usize,
        0..5usize,
        proptest::option::of(0.0..120.0f32),
        any::<bool>(),
    );
    let link = (0..5usize, 0..5usize, 1..4u32);
    (
        proptest::collection::vec(function, 0..20),
        proptest::collection::vec(link, 0..12),
    )
        .prop_map(|(functions, links)| {
            let sffs = ["s0", "s1", "s2", "s3", "s4"];
            let types = chain();
            let functions =
                functions
                    .into_iter()
                    .enumerate()
                    .map(|(i, (function, sff, load, up))| ServiceFunction {
                        name: format!("f{i}").into(),
                        function: types[function].clone(),
                        sff: sffs[sff].into(),
                        load,
                        stale: false,
                        barred: (!up).then(|| "is down".to_owned()),
                    });
            let links = links
                .into_iter()
                .map(|(a, b, hops)| (sffs[a], sffs[b], hops));
            Topology::new(sffs, links, functions)
        })
}

/// Worst load and hops of every path there is.
fn every_path(request: &Request<'_>) -> Vec<(f32, u32)> {
    let mut paths = vec![Vec::<String>::new()];
    for function in request.functions {
        let numbers = request.topology.numbers_of(function).iter();
        let instances = numbers.map(|number| request.topology.instance(*number).unwrap());
        let usable: Vec<_> = instances.filter(|sf| sf.barred.is_none()).collect();
        paths = paths
            .iter()
            .flat_map(|path| {
                usable.iter().map(|sf| {
                    let mut path = path.clone();
                    path.push(sf.name.to_string());
                    path
                })
            })
            .collect();
    }
    let facts = paths.iter().filter_map(|path| {
        let loads = path
            .iter()
            .map(|name| request.topology.function(name).unwrap());
        let worst = loads
            .map(|sf| sf.effective_load(MissingLoad::Average))
            .fold(0.0, f32::max);
        Some((worst, survey::total_hops(request, path)?))
    });
    facts.collect()
}

proptest! {
    #[test]
    fn no_scheduler_takes_a_barred_or_wrong_instance(
        topology in any_topology(),
        l_th in 1..6u32,
        ingress in proptest::option::of(0..5usize),
        egress in proptest::option::of(0..5usize),
        draws in any::<u64>(),
    ) {
        let sffs = ["s0", "s1", "s2", "s3", "s4"];
        let functions = chain();
        let request = Request {
            ingress: ingress.map(|i| sffs[i]),
            egress: egress.map(|i| sffs[i]),
            draws,
            ..Request::new(&topology, &functions)
        };
        let all: [&dyn Scheduler; 7] = [
            &Random { seed: 1 }, &RoundRobin, &LoadBalance, &ShortestPath, &LoadPathAware { l_th }, &Adaptive,
            &Optimal { hop_weight: 5 },
        ];
        let every = every_path(&request);
        let mut shortest = None;
        for scheduler in all {
            let answer = scheduler.schedule(&request);
            prop_assert_eq!(&answer, &scheduler.schedule(&request));
            let Ok(choice) = answer else {
                // Step by step and from nowhere in particular, one may start on an island.
                let whole = matches!(scheduler.name().as_str(), "shortest-path" | "optimal hopWeight=5");
                let bound = whole || ingress.is_some() || egress.is_some();
                prop_assert!(every.is_empty() || !bound, "{} found no path", scheduler.name());
                continue;
            };
            prop_assert_eq!(choice.path.len(), functions.len());
            for (name, function) in choice.path.iter().zip(&functions) {
                let sf = topology.function(name).unwrap();
                prop_assert_eq!(&sf.function, function);
                prop_assert!(sf.barred.is_none());
            }
            for (position, name) in choice.explanation.positions.iter().zip(&choice.path) {
                let taken: Vec<_> = position.candidates.iter().filter(|c| c.taken).collect();
                prop_assert_eq!(taken.len(), 1);
                prop_assert_eq!(&taken[0].instance, name);
                prop_assert!(position.candidates.iter().all(|c| !c.why.is_empty()));
                prop_assert_eq!(position.candidates.len() + position.more, topology.numbers_of(&position.function).len());
            }
            match scheduler.name().as_str() {
                "shortest-path" => {
                    shortest = choice.explanation.hops;
                    prop_assert_eq!(shortest, every.iter().map(|(_, hops)| *hops).min());
                }
                "optimal hopWeight=5" => {
                    let best = every.iter().map(|(worst, hops)| cost(*worst, *hops, 5));
                    let worst = choice.path.iter().map(|name| topology.function(name).unwrap());
                    let worst = worst.map(|sf| sf.effective_load(MissingLoad::Average)).fold(0.0, f32::max);
                    let own = cost(worst, choice.explanation.hops.unwrap(), 5);
                    prop_assert_eq!(Some(own), best.min_by(f64::total_cmp));
                }
                _ => {}
            }
        }
        for scheduler in all {
            if let (Some(shortest), Ok(choice)) = (shortest, scheduler.schedule(&request)) {
                prop_assert!(choice.explanation.hops.unwrap() >= shortest);
            }
        }
    }
}

#[test]
fn what_an_old_load_counts_as_is_the_chains_to_say() {
    let instance = |name: &str, load, stale| ServiceFunction {
        name: name.into(),
        function: Name::new("fw").unwrap(),
        sff: "a".into(),
        load,
        stale,
        barred: None,
    };
    let instances = [
        instance("fw-1", Some(60.0), false),
        instance("fw-2", Some(10.0), true),
        instance("fw-3", None, false),
    ];
    let topology = Topology::new(["a"], [], instances);
    let chain = [Name::new("fw").unwrap()];
    let taken = |missing| {
        let request = Request {
            missing,
            ..Request::new(&topology, &chain)
        };
        LoadBalance.schedule(&request).unwrap().path.remove(0)
    };
    assert_eq!(taken(MissingLoad::LastKnown), "fw-2");
    assert_eq!(
        taken(MissingLoad::Average),
        "fw-2",
        "half loaded, and first by name"
    );
    assert_eq!(taken(MissingLoad::Pessimistic), "fw-1");
}
