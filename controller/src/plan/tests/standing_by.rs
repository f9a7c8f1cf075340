//! Whatever boxes die and come back, in whatever order: members of a cluster are on different boxes, a set is
//! as whole as what lives allows, and a chain that has somebody left is never broken.

use super::Cluster;
use crate::plan::{InstanceHealth, PathInstance};
use proptest::prelude::*;
use std::collections::BTreeSet;

/// A function of which chains get several.
#[derive(Debug, Clone)]
struct Function {
    replicas: usize,
    size: usize,
    standby: bool,
}

#[derive(Debug, Clone)]
struct Site {
    boxes: usize,
    functions: Vec<Function>,
    /// The functions that each leads through, by number, and its ends.
    chains: Vec<(Vec<usize>, usize, usize)>,
    /// Boxes that die, or come back where they are dead.
    turns: Vec<usize>,
}

fn function(boxes: usize) -> impl Strategy<Value = Function> {
    let replicas = (2..=boxes).prop_flat_map(|replicas| (Just(replicas), 2..=replicas.min(4)));
    (replicas, any::<bool>()).prop_map(|((replicas, size), standby)| Function {
        replicas,
        size,
        standby,
    })
}

fn site() -> impl Strategy<Value = Site> {
    let some = (3..=6usize, 1..=3usize);
    some.prop_flat_map(|(boxes, functions)| {
        let all: Vec<usize> = (0..functions).collect();
        let through = prop::sample::subsequence(all, 1..=functions);
        let chains = prop::collection::vec((through, 1..=boxes, 1..=boxes), 1..=3);
        let turns = prop::collection::vec(1..=boxes, 1..=5);
        let functions = prop::collection::vec(function(boxes), functions);
        let parts = (functions, chains, turns);
        parts.prop_map(move |(functions, chains, turns)| Site {
            boxes,
            functions,
            chains,
            turns,
        })
    })
}

fn manifest(site: &Site) -> String {
    let functions = site.functions.iter().enumerate().map(|(number, function)| {
        let mode = match function.standby {
            true => "active-standby",
            false => "active-active",
        };
        format!(
            "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {{name: f{number}}}\n\
             spec: {{image: f, replicas: {}, cluster: {{mode: {mode}, size: {}}}}}\n",
            function.replicas, function.size
        )
    });
    let chains = site.chains.iter().enumerate();
    let chains = chains.map(|(number, (through, from, to))| {
        let through: Vec<_> = through.iter().map(|one| format!("f{one}")).collect();
        format!(
            "apiVersion: kcluster/v1\nkind: Chain\nmetadata: {{name: c{number}}}\n\
             spec: {{functions: [{}], from: {{node: box{from}, interface: in{number}}}, \
             to: {{node: box{to}, interface: out{number}}}}}\n",
            through.join(", ")
        )
    });
    functions.chain(chains).collect::<Vec<_>>().join("---\n")
}

/// The set at each place of a chain's path.
fn sets(cluster: &Cluster, chain: usize) -> Vec<PathInstance> {
    let chain = &cluster.state.chains[format!("c{chain}").as_str()];
    chain.carrying().unwrap().instances.clone()
}

fn check(cluster: &Cluster, site: &Site, dead: &BTreeSet<usize>) {
    let told = || cluster.told();
    let alive = site.boxes - dead.len();
    for (number, (through, from, to)) in site.chains.iter().enumerate() {
        if dead.contains(from) || dead.contains(to) {
            continue;
        }
        let sets = sets(cluster, number);
        assert_eq!(sets.len(), through.len());
        for (set, function) in sets.iter().zip(through) {
            let function = &site.functions[*function];
            let wanted = function.size.min(function.replicas).min(alive);
            assert_eq!(set.members().count(), wanted, "{set:?}\n{}", told());
            assert!(set.others.is_empty() || set.standby == function.standby);
            for one in set.members() {
                assert!(cluster.boxes[&one.node].up, "{one:?}\n{}", told());
                let health = cluster.state.instances[&one.name].health;
                assert_eq!(health, InstanceHealth::Running);
            }
        }
        assert_eq!(cluster.status(&format!("c{number}")), "Ready", "{}", told());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_chain_has_somebody_who_stands_by_for_as_long_as_there_is_a_box_for_that(site in site()) {
        let mut cluster = Cluster::new(site.boxes);
        cluster.apply(&manifest(&site));
        cluster.pass(6_000);
        let mut dead = BTreeSet::new();
        check(&cluster, &site, &dead);
        for turn in &site.turns {
            cluster.story.clear();
            let name = format!("box{turn}");
            if dead.remove(turn) {
                cluster.mend(&name);
            } else if dead.len() + 1 < site.boxes {
                cluster.cut(&name);
                dead.insert(*turn);
                // Long before anything is placed elsewhere whoever stood by has taken over.
                cluster.pass(4_000);
            }
            for (number, (_, from, to)) in site.chains.iter().enumerate() {
                let ends = [from, to].iter().any(|end| dead.contains(end));
                let broken = format!("chain c{number} is broken");
                prop_assert!(ends || !cluster.told().contains(&broken), "{}", cluster.told());
            }
            cluster.pass(16_000);
            check(&cluster, &site, &dead);
        }
    }
}
