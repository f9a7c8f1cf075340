//! What is reported: the observed state of the box in the terms of its document. Pure.

use crate::reconcile::{Lane, LegState, Observed, Part, Phase, World, leg_state};
use kc_agent_api::{ContainerPhase, ContainerSpec, ContainerState, Leg, Network, NodeState};
use kc_forwarder_api::PortStatus;
use std::collections::BTreeMap;

/// What the shell knows beside the [`World`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Generation of the tables in force; 0 while no forwarder answers.
    pub forwarder_generation: u64,
    /// Its ports.
    pub ports: Vec<PortStatus>,
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
    NodeState {
        spec_generation: world.spec.generation,
        forwarder_generation: facts.forwarder_generation,
        containers,
        ports: facts.ports.clone(),
        errors: troubles.chain(failures).collect(),
    }
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
    let wired = match &want.network {
        Network::Host => true,
        Network::Legs(legs) => is_wired(name, legs, world.seen),
    };
    let phase = match main {
        Some(main) if main.phase == Phase::Running && wired => ContainerPhase::Running,
        _ if failure.is_some() => ContainerPhase::Failed,
        _ if pulling => ContainerPhase::Pulling,
        Some(main) if matches!(main.phase, Phase::Exited | Phase::Restarting | Phase::Dead) => {
            ContainerPhase::Exited
        }
        _ => ContainerPhase::Pending,
    };
    ContainerState {
        name: name.clone(),
        id: main.map(|main| main.id.clone()).unwrap_or_default(),
        image: main.map_or(&want.image, |main| &main.image).clone(),
        phase,
        exit_code: main.and_then(|main| main.exit_code),
        restarts: main.map_or(0, |main| main.restarts),
        started_at: main.and_then(|main| main.started_at.clone()),
        error: failure.or_else(|| main.and_then(|main| main.error.clone())),
    }
}

fn is_wired(name: &str, legs: &[Leg], seen: &Observed) -> bool {
    let Some(pause) = seen.find(name, Part::Pause) else {
        return false;
    };
    let main = seen.find(name, Part::Main);
    let together = main.is_some_and(|main| main.netns == pause.netns);
    let inner = seen.inner.get(&pause.id);
    together
        && legs.iter().all(|leg| {
            let inside = inner.and_then(|links| links.get(leg.interface.as_str()));
            let outside = seen.host.get(leg.port.as_str());
            leg_state(leg, inside, outside) == LegState::Wired
        })
}
