//! What is reported: the observed state of the box in the terms of its document. Pure.

use crate::reconcile::{Lane, Part, Phase, World, container_hash, is_wired, waits_for};
use kc_agent_api::{ContainerPhase, ContainerSpec, ContainerState, NodeState};
use kc_forwarder_api::{HealthState, PortStatus, SfName, TunnelName, UnderlayStatus};
use std::collections::BTreeMap;

/// What the shell knows beside the [`World`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Generation of the tables in force; 0 while no forwarder answers.
    pub forwarder_generation: u64,
    /// Its ports.
    pub ports: Vec<PortStatus>,
    /// Its sockets for tunnels over UDP.
    pub underlay: Option<UnderlayStatus>,
    /// What it says of its tunnels.
    pub tunnels: BTreeMap<TunnelName, HealthState>,
    /// What it says of its functions.
    pub functions: BTreeMap<SfName, HealthState>,
    /// Digests of images by the engine's id.
    pub digests: BTreeMap<String, String>,
    /// Last failure of each lane.
    pub failures: BTreeMap<Lane, String>,
    /// Failures that belong to no lane, by what they concern.
    pub troubles: BTreeMap<&'static str, String>,
}

/// The report.
pub fn node_state(world: &World<'_>, facts: &Facts) -> NodeState {
    let mut containers: Vec<ContainerState> = world
        .spec
        .containers
        .iter()
        .map(|want| container_state(want, world, facts))
        .collect();
    containers.sort_by(|a, b| a.name.cmp(&b.name));
    let troubles = facts.troubles.values().cloned();
    let failures = facts.failures.iter();
    let failures = failures.map(|(lane, error)| format!("{}: {error}", lane.object()));
    let tables = &world.spec.forwarder;
    NodeState {
        spec_generation: world.spec.generation,
        forwarder_generation: facts.forwarder_generation,
        containers,
        ports: facts.ports.clone(),
        underlay: facts.underlay.clone(),
        tunnels: in_tables(&facts.tunnels, &tables.tunnels, |tunnel| &tunnel.name),
        functions: in_tables(&facts.functions, &tables.functions, |one| &one.name),
        errors: troubles.chain(failures).collect(),
    }
}

/// The states of what is in the document: of what has left it, the last word is of no interest.
fn in_tables<K: Ord + Clone, T>(
    known: &BTreeMap<K, HealthState>,
    entries: &[T],
    name: impl Fn(&T) -> &K,
) -> BTreeMap<K, HealthState> {
    let states = entries.iter().filter_map(|entry| {
        let name = name(entry);
        Some((name.clone(), *known.get(name)?))
    });
    states.collect()
}

fn container_state(want: &ContainerSpec, world: &World<'_>, facts: &Facts) -> ContainerState {
    let name = &want.name;
    let main = world.seen.find(name, Part::Main);
    let lanes = [
        Lane::Container(name.clone()),
        Lane::Image(name.clone(), Part::Main),
        Lane::Image(name.clone(), Part::Pause),
    ];
    let failure = lanes
        .iter()
        .find_map(|lane| facts.failures.get(lane))
        .cloned();
    let pulling = lanes[1..]
        .iter()
        .any(|lane| world.memory.in_flight.contains(lane));
    let wired = is_wired(want, world.seen);
    let phase = match main {
        Some(main) if main.phase == Phase::Running && wired => ContainerPhase::Running,
        _ if failure.is_some() => ContainerPhase::Failed,
        _ if pulling => ContainerPhase::Pulling,
        Some(main) if matches!(main.phase, Phase::Exited | Phase::Restarting | Phase::Dead) => {
            ContainerPhase::Exited
        }
        _ => ContainerPhase::Pending,
    };
    let rolled_back = world.memory.rollouts.why(name).map(str::to_owned);
    let right = main.is_some_and(|main| main.hash == container_hash(want));
    // What came back was made from an image by its id; its name says more.
    let image = main
        .filter(|_| !right)
        .map_or(&want.image, |main| &main.image);
    let waits = || {
        let need = waits_for(want, world).filter(|_| phase != ContainerPhase::Running);
        need.map(|need| format!("waits for {need} to be ready"))
    };
    ContainerState {
        name: name.clone(),
        id: main.map(|main| main.id.clone()).unwrap_or_default(),
        image: image.clone(),
        phase,
        exit_code: main.and_then(|main| main.exit_code),
        restarts: main.map_or(0, |main| main.restarts),
        started_at: main.and_then(|main| main.started_at.clone()),
        error: failure
            .or_else(|| main.and_then(|main| main.error.clone()))
            .or_else(waits),
        health: main.and_then(|main| world.memory.vitals.health(want, main)),
        digest: main
            .and_then(|main| facts.digests.get(main.image_id.as_ref()?))
            .cloned(),
        former: main.is_some() && (!right || rolled_back.is_some()),
        rolled_back,
        on_trial: world.memory.rollouts.on_trial(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reconcile::model::{Model, container, leg};
    use kc_agent_api::Network;

    fn settled() -> Model {
        let wired = |name: &str| Network::Legs(vec![leg("eth0", &format!("{name}e"))]);
        let mut model = Model::new(vec![
            container("fw", wired("fw")),
            container("dpi", wired("dpi")),
        ]);
        model.settle();
        model
    }

    fn phase(model: &Model, facts: &Facts) -> ContainerPhase {
        node_state(&model.world(), facts).containers[1].phase
    }

    #[test]
    fn running_means_running_and_wired() {
        let mut model = settled();
        let state = node_state(&model.world(), &Facts::default());
        let names: Vec<_> = state
            .containers
            .iter()
            .map(|container| container.name.as_str())
            .collect();
        assert_eq!(names, ["dpi", "fw"]);
        assert_eq!(phase(&model, &Facts::default()), ContainerPhase::Running);
        model.cut("fwe");
        assert_eq!(phase(&model, &Facts::default()), ContainerPhase::Pending);
    }

    #[test]
    fn a_container_in_a_namespace_its_pause_has_left_does_not_run() {
        let mut model = settled();
        let pause = model.id("fw", Part::Pause);
        model.end(&pause, Phase::Exited);
        model.run(&pause);
        assert_eq!(phase(&model, &Facts::default()), ContainerPhase::Pending);
    }

    #[test]
    fn an_end_a_failure_and_a_pull_are_told_apart() {
        let mut model = settled();
        model.end(&model.id("fw", Part::Main), Phase::Exited);
        let state = node_state(&model.world(), &Facts::default());
        assert_eq!(state.containers[1].phase, ContainerPhase::Exited);
        assert_eq!(state.containers[1].exit_code, Some(137));

        let failure = (Lane::Container("fw".into()), "no such program".to_owned());
        let failures = BTreeMap::from([failure]);
        let facts = Facts {
            failures,
            ..Facts::default()
        };
        let state = node_state(&model.world(), &facts);
        assert_eq!(state.containers[1].phase, ContainerPhase::Failed);
        assert_eq!(
            state.containers[1].error.as_deref(),
            Some("no such program")
        );
        assert_eq!(state.errors, ["fw: no such program"]);

        model.seen.containers.clear();
        model
            .memory
            .in_flight
            .insert(Lane::Image("fw".into(), Part::Main));
        assert_eq!(phase(&model, &Facts::default()), ContainerPhase::Pulling);
    }

    #[test]
    fn troubles_come_before_failures() {
        let model = settled();
        let failures = BTreeMap::from([(Lane::HostLeg("kcsvc-p".into()), "taken".to_owned())]);
        let troubles = BTreeMap::from([("engine", "no engine".to_owned())]);
        let facts = Facts {
            failures,
            troubles,
            forwarder_generation: 4,
            ..Facts::default()
        };
        let state = node_state(&model.world(), &facts);
        assert_eq!(state.errors, ["no engine", "kcsvc-p: taken"]);
        assert_eq!((state.spec_generation, state.forwarder_generation), (1, 4));
    }
}
