//! Whatever is asked for and whatever happens, nothing new goes where it may not: not to a box that is away,
//! cordoned, drained or full, and no chain through an instance of another type, on such a box, or with all
//! the chains that it may have.

use super::Cluster;
use super::cluster::node;
use crate::plan::{Plan, State};
use crate::resource::{Name, Requests, Resource};
use kc_agent_api::NodeName;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

#[derive(Debug, Clone)]
struct Function {
    replicas: usize,
    cpu_millis: u64,
    memory_mi: u64,
    max_chains: Option<usize>,
}

#[derive(Debug, Clone)]
enum Turn {
    Die(usize),
    Return(usize),
    /// Cordoned, drained.
    Say(usize, bool, bool),
    Scale(usize, usize),
    /// One function more or less, by another order of its functions.
    Rechain(usize, usize),
    Pass(u64),
}

#[derive(Debug, Clone)]
struct Site {
    boxes: usize,
    functions: Vec<Function>,
    /// Where each begins and ends, and its scheduler.
    chains: Vec<(usize, usize, &'static str)>,
    turns: Vec<Turn>,
}

const SCHEDULERS: [&str; 7] = [
    "{algorithm: load-path-aware, lTh: 4}",
    "{algorithm: random, seed: 3}",
    "{algorithm: round-robin}",
    "{algorithm: load-balance}",
    "{algorithm: shortest-path}",
    "{algorithm: adaptive}",
    "{algorithm: optimal}",
];

fn function(boxes: usize) -> impl Strategy<Value = Function> {
    let cpu = prop::sample::select(vec![50, 100, 700, 1500]);
    let memory = prop::sample::select(vec![16, 64, 300, 600]);
    let max_chains = prop::option::of(1..=2_usize);
    (2..=boxes + 1, cpu, memory, max_chains).prop_map(
        |(replicas, cpu_millis, memory_mi, max_chains)| Function {
            replicas,
            cpu_millis,
            memory_mi,
            max_chains,
        },
    )
}

fn turn(boxes: usize, functions: usize, chains: usize) -> impl Strategy<Value = Turn> {
    let place = 1..=boxes;
    let said = (place.clone(), any::<bool>(), any::<bool>());
    prop_oneof![
        place.clone().prop_map(Turn::Die),
        place.prop_map(Turn::Return),
        said.prop_map(|(place, cordon, drain)| Turn::Say(place, cordon, drain)),
        (0..functions, 1..=boxes + 2).prop_map(|(function, n)| Turn::Scale(function, n)),
        (0..chains, 0..functions).prop_map(|(chain, by)| Turn::Rechain(chain, by)),
        (1_000..20_000_u64).prop_map(Turn::Pass),
    ]
}

fn site() -> impl Strategy<Value = Site> {
    let some = (3..=6_usize, 1..=3_usize, 2..=4_usize);
    some.prop_flat_map(|(boxes, functions, chains)| {
        let end = 1..=boxes;
        let scheduler = prop::sample::select(SCHEDULERS.to_vec());
        let chain = (end.clone(), end, scheduler);
        let turns = prop::collection::vec(turn(boxes, functions, chains), 4..=12);
        let chains = prop::collection::vec(chain, chains);
        let functions = prop::collection::vec(function(boxes), functions);
        (functions, chains, turns).prop_map(move |(functions, chains, turns)| Site {
            boxes,
            functions,
            chains,
            turns,
        })
    })
}

fn function_text(number: usize, function: &Function) -> String {
    let mut text = format!(
        "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {{name: f{number}}}\n\
         spec:\n  image: f\n  replicas: {}\n  resources: {{cpu: {}m, memory: {}Mi}}\n",
        function.replicas, function.cpu_millis, function.memory_mi
    );
    if let Some(most) = function.max_chains {
        writeln!(text, "  maxChains: {most}").unwrap();
    }
    text
}

fn chain_text(number: usize, site: &Site, first: usize) -> String {
    let (from, to, scheduler) = site.chains[number];
    let count = site.functions.len();
    let through: Vec<_> = (0..count)
        .map(|n| format!("f{}", (n + first) % count))
        .collect();
    format!(
        "apiVersion: kcluster/v1\nkind: Chain\nmetadata: {{name: c{number}}}\n\
         spec: {{functions: [{}], scheduler: {scheduler}, \
         from: {{node: box{from}, interface: in{number}}}, to: {{node: box{to}, interface: out{number}}}}}\n",
        through.join(", ")
    )
}

fn requests(state: &State, owner: &crate::resource::ResourceId) -> Requests {
    match state.owner(owner) {
        Some(Resource::ServiceFunction(object)) => object.spec.resources,
        _ => Requests::default(),
    }
}

/// Why nothing new may go to a box.
fn closed(state: &State, place: &NodeName) -> Option<&'static str> {
    let said = state.node_resource(place).map(|object| &object.spec);
    match state.nodes.get(place) {
        None => Some("unknown"),
        Some(record) if !record.ready => Some("away"),
        _ if said.is_some_and(|said| said.drain) => Some("drained"),
        _ if said.is_some_and(|said| said.cordon) => Some("cordoned"),
        _ => None,
    }
}

/// Instances that came to a box in this plan.
fn placed(before: &State, after: &State) {
    let mut crowded = BTreeSet::new();
    for (name, instance) in &after.instances {
        let Some(place) = &instance.node else {
            continue;
        };
        let was = before.instances.get(name).and_then(|was| was.node.as_ref());
        if was != Some(place) {
            assert_eq!(closed(after, place), None, "{name} went to {place}");
            crowded.insert(place);
        }
    }
    for place in crowded {
        let here = after.instances.values();
        let here = here.filter(|instance| instance.node.as_ref() == Some(place));
        let (mut cpu, mut memory) = (0, 0);
        for instance in here {
            let asked = requests(after, &instance.owner);
            cpu += asked.cpu_millis();
            memory += asked.memory_bytes();
        }
        let room = after.nodes[place].capacity;
        assert!(cpu <= room.cpu_millis, "{place}: {cpu} of {room:?}");
        assert!(memory <= room.memory_bytes, "{place}: {memory} of {room:?}");
    }
}

/// Paths that were chosen in this plan.
fn chosen(before: &State, after: &State) {
    let mut carried: BTreeMap<&str, BTreeSet<&Name>> = BTreeMap::new();
    for (chain, record) in &after.chains {
        let current = record.installing().into_iter().chain(record.carrying());
        for on_path in current.flat_map(|path| path.members()) {
            carried.entry(&on_path.name).or_default().insert(chain);
        }
    }
    for (chain, record) in &after.chains {
        let known = before.chains.get(chain);
        let is_new = |forward| {
            let mut paths = known.into_iter().flat_map(|known| &known.paths);
            paths.all(|old| old.forward != forward)
        };
        for path in record.paths.iter().filter(|path| is_new(path.forward)) {
            let had: BTreeSet<_> = known
                .into_iter()
                .flat_map(|known| &known.paths)
                .flat_map(|path| path.members())
                .map(|on_path| &on_path.name)
                .collect();
            for (on_path, function) in path.instances.iter().zip(&path.spec.functions) {
                let name = &on_path.name;
                let instance = &after.instances[name];
                assert_eq!(after.function_type(&instance.owner), Some(function));
                assert_eq!(instance.node.as_ref(), Some(&on_path.node));
                // What a chain has it may keep.
                if had.contains(name) {
                    continue;
                }
                let closed = closed(after, &on_path.node);
                assert_eq!(closed, None, "{chain} took {name} on {}", on_path.node);
                let Some(Resource::ServiceFunction(object)) = after.owner(&instance.owner) else {
                    panic!("{name} is of no function");
                };
                let most = object
                    .spec
                    .max_chains
                    .map_or(usize::MAX, |most| most as usize);
                let through = carried[name.as_str()].len();
                assert!(through <= most, "{name} carries {through} chains of {most}");
            }
        }
    }
}

/// Thinks and works until nothing is left to do, and judges every plan.
fn settle(cluster: &mut Cluster) {
    for _ in 0..60 {
        let before = cluster.state.clone();
        let plan: Plan = cluster.think();
        placed(&before, &plan.state);
        chosen(&before, &plan.state);
        cluster.publish(&plan);
        let names: Vec<_> = cluster.boxes.keys().cloned().collect();
        let mut news = plan.wake_at_ms.is_some_and(|at_ms| at_ms <= cluster.now_ms);
        for name in &names {
            news |= cluster.work(name);
        }
        cluster.check();
        if plan.steps.is_empty() && !news {
            return;
        }
    }
    panic!("never settles: {}", cluster.told());
}

fn take(cluster: &mut Cluster, site: &Site, turn: &Turn) {
    match turn {
        Turn::Die(place) => {
            cluster.cut(&format!("box{place}"));
            // Its silence is noticed after a while.
            take(cluster, site, &Turn::Pass(4_000));
        }
        Turn::Return(place) => cluster.mend(&format!("box{place}")),
        Turn::Say(place, cordon, drain) => {
            cluster
                .state
                .set_cordon(&node(&format!("box{place}")), *cordon, *drain);
        }
        Turn::Scale(number, replicas) => {
            let function = Function {
                replicas: *replicas,
                ..site.functions[*number].clone()
            };
            cluster.apply(&function_text(*number, &function));
        }
        Turn::Rechain(number, first) => cluster.apply(&chain_text(*number, site, *first)),
        Turn::Pass(milliseconds) => {
            let until = cluster.now_ms + milliseconds;
            while cluster.now_ms < until {
                cluster.now_ms = (cluster.now_ms + 1_000).min(until);
                settle(cluster);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_new_goes_where_it_may_not(site in site()) {
        let mut cluster = Cluster::new(site.boxes);
        for (number, function) in site.functions.iter().enumerate() {
            cluster.apply(&function_text(number, function));
        }
        for number in 0..site.chains.len() {
            cluster.apply(&chain_text(number, &site, 0));
        }
        settle(&mut cluster);
        take(&mut cluster, &site, &Turn::Pass(6_000));
        for turn in &site.turns {
            take(&mut cluster, &site, turn);
            settle(&mut cluster);
        }
        take(&mut cluster, &site, &Turn::Pass(12_000));
    }
}
