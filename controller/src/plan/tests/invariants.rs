//! What holds for every plan, whatever happens to the cluster.

use super::cluster::node;
use super::*;
use crate::plan::{Phase, plan};
use kc_agent_api::Presence;
use kc_forwarder_api::HealthState;
use proptest::prelude::*;

/// One more firewall, of hardware.
const HARDWARE: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: fw-box}
spec:
  type: firewall
  physical: [{name: fw-hw, node: box2, inside: eth2, outside: eth3, capacity: {chains: 1}}]
";

#[derive(Debug, Clone)]
enum Happening {
    Kill(usize, &'static str),
    Heal(usize, &'static str),
    Cut(usize),
    Mend(usize),
    Offline(usize),
    Cordon(usize, bool, bool),
    Load(usize, &'static str, f32),
    Scale(u32),
    Scheduler(&'static str),
    Clustered(&'static str),
    Answer(bool),
    Plug(bool),
    Time(u64),
    Settle,
}

fn happening() -> impl Strategy<Value = Happening> {
    let place = 1..=3usize;
    let function = prop::sample::select(vec!["firewall", "dpi", "nat"]);
    let schedulers = vec![
        "{algorithm: load-path-aware, lTh: 4}",
        "{algorithm: random, seed: 3}",
        "{algorithm: round-robin}",
        "{algorithm: load-balance}",
        "{algorithm: shortest-path}",
        "{algorithm: adaptive}",
        "{algorithm: adaptive, physical: prefer}",
        "{algorithm: shortest-path, physical: spare}",
        "{algorithm: random, seed: 3, physical: prefer}",
    ];
    prop_oneof![
        (place.clone(), function.clone()).prop_map(|(b, f)| Happening::Kill(b, f)),
        (place.clone(), function.clone()).prop_map(|(b, f)| Happening::Heal(b, f)),
        place.clone().prop_map(Happening::Cut),
        place.clone().prop_map(Happening::Mend),
        place.clone().prop_map(Happening::Offline),
        (place.clone(), any::<bool>(), any::<bool>())
            .prop_map(|(b, c, d)| Happening::Cordon(b, c, d)),
        (place, function, 0.0..100.0f32).prop_map(|(b, f, l)| Happening::Load(b, f, l)),
        (1..5u32).prop_map(Happening::Scale),
        prop::sample::select(schedulers).prop_map(Happening::Scheduler),
        prop::sample::select(vec!["active-standby", "active-active, size: 3"])
            .prop_map(Happening::Clustered),
        any::<bool>().prop_map(Happening::Answer),
        any::<bool>().prop_map(Happening::Plug),
        (0..15_000u64).prop_map(Happening::Time),
        Just(Happening::Settle),
    ]
}

fn happen(cluster: &mut Cluster, happening: &Happening) {
    let name = |number: &usize| format!("box{number}");
    match happening {
        Happening::Kill(b, f) => cluster.kill_container(&name(b), &format!("{f}-{b}")),
        Happening::Heal(b, f) => cluster.heal_container(&name(b), &format!("{f}-{b}")),
        Happening::Cut(b) => cluster.cut(&name(b)),
        Happening::Mend(b) => cluster.mend(&name(b)),
        Happening::Offline(b) => {
            cluster.cut(&name(b));
            cluster.presence(&node(&name(b)), Presence::Offline);
        }
        Happening::Cordon(b, cordon, drain) => {
            cluster.state.set_cordon(&node(&name(b)), *cordon, *drain);
        }
        Happening::Load(b, f, load) => cluster.load(&name(b), &format!("{f}-{b}"), *load),
        Happening::Scale(replicas) => {
            cluster.apply(&WEB.replace("replicas: 3", &format!("replicas: {replicas}")));
        }
        Happening::Scheduler(spec) => {
            cluster.apply(&WEB.replace("{algorithm: load-path-aware, lTh: 4}", spec));
        }
        Happening::Clustered(mode) => {
            let own = format!("image: f, cluster: {{mode: {mode}, hook: {{command: [/sync]}}}}, ");
            cluster.apply(&WEB.replace("image: f, ", &own));
        }
        Happening::Answer(yes) => {
            let health = if *yes {
                HealthState::Alive
            } else {
                HealthState::Dead
            };
            cluster.answer("box2", "fw-hw", health);
        }
        Happening::Plug(carrier) => cluster.plug("box2", "eth2", *carrier),
        Happening::Time(ms) => cluster.now_ms += ms,
        Happening::Settle => {}
    }
}

/// One round of thinking, publishing and working, in which everything is checked.
fn round(cluster: &mut Cluster) {
    let before = cluster.state.clone();
    let plan = cluster.think();
    let again = plan_again(&before, cluster);
    assert!(again == plan, "planning is deterministic");
    // Whoever asks for another plan at once gets it.
    if plan.wake_at_ms.is_none_or(|at_ms| at_ms > cluster.now_ms) {
        let twice = plan_again(&plan.state, cluster);
        assert_eq!(twice.steps, [], "planning twice does nothing more");
        assert!(twice.state == plan.state, "{}", cluster.told());
        assert!(twice.documents == plan.documents);
        assert_eq!(twice.wake_at_ms, plan.wake_at_ms);
    }
    for chain in plan.state.chains.values() {
        let installing = chain
            .paths
            .iter()
            .filter(|p| matches!(p.phase, Phase::Installing { .. }));
        assert!(installing.count() <= 1);
        let carrying = chain
            .paths
            .iter()
            .filter(|p| matches!(p.phase, Phase::Switching { .. } | Phase::Active));
        assert!(carrying.count() <= 1);
        // A path that was chosen just now uses only what may be used.
        let known = |path: &&crate::plan::PathRecord| {
            let old = before.chains.values().flat_map(|chain| &chain.paths);
            old.into_iter().all(|old| old.forward != path.forward)
        };
        for path in chain.paths.iter().filter(known) {
            for on_path in path.members() {
                let instance = &plan.state.instances[&on_path.name];
                assert_eq!(instance.health, crate::plan::InstanceHealth::Running);
                assert!(plan.state.nodes[&on_path.node].ready);
                assert!(!instance.retiring);
            }
        }
    }
    cluster.publish(&plan);
    cluster.check();
    let names: Vec<_> = cluster.boxes.keys().cloned().collect();
    for name in &names {
        cluster.work(name);
        cluster.check();
    }
}

fn plan_again(state: &crate::plan::State, cluster: &Cluster) -> crate::plan::Plan {
    plan(state, &cluster.observed, cluster.now_ms)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_no_classifier_points_into_the_void(
        happenings in prop::collection::vec(happening(), 1..24),
    ) {
        let mut cluster = Cluster::new(3);
        cluster.apply(WEB);
        cluster.apply(HARDWARE);
        for happening in &happenings {
            happen(&mut cluster, happening);
            round(&mut cluster);
        }
        // Once everything is well again, the chain is whole.
        for number in 1..=3 {
            let name = format!("box{number}");
            cluster.mend(&name);
            cluster.boxes.get_mut(&node(&name)).unwrap().sick.clear();
            cluster.state.set_cordon(&node(&name), false, false);
        }
        cluster.pass(12_000);
        prop_assert_eq!(cluster.status("web"), "Ready", "{}", cluster.told());
    }
}
