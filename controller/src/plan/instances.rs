//! Instances of functions and replicas of services: which there shall be, how they are, and
//! where they run.

use super::draft::Draft;
use super::drain;
use super::{Instance, InstanceHealth, Phase, PlanEventKind, State, Step, ailment, physical};
use crate::resource::{Kind, ResourceId};
use kc_agent_api::{ContainerPhase, ContainerState, Health, NodeName};
use kc_forwarder_api::HealthState;
use std::collections::BTreeSet;

/// Most replicas of one resource.
pub const MAX_REPLICAS: u32 = 1000;

/// Takes up what nodes say of their containers.
pub(super) fn observe(draft: &mut Draft<'_>) {
    let names: Vec<_> = draft.state.instances.keys().cloned().collect();
    for name in names {
        let Some(instance) = draft.state.instances.get(&name) else {
            continue;
        };
        let Some(node) = instance.node.clone() else {
            continue;
        };
        let (health, owner) = (instance.health, instance.owner.clone());
        let physical = instance.hardware.is_some();
        let running = if draft.is_ready(&node) {
            let taken_up = draft.observed.taken_up(&node);
            if taken_up == 0 || instance.since == 0 || taken_up < instance.since {
                continue;
            }
            let seen = match physical {
                true => physical::runs(draft, &name, &node),
                false => Some(works(draft, &name, &node)),
            };
            let Some(seen) = seen else { continue };
            seen
        } else {
            false
        };
        let next = match (health, running) {
            (_, true) => InstanceHealth::Running,
            (InstanceHealth::Running, false) => InstanceHealth::Down,
            (before, false) => before,
        };
        if next == health {
            continue;
        }
        if let Some(instance) = draft.state.instances.get_mut(&name) {
            instance.health = next;
        }
        match next {
            InstanceHealth::Running => {
                let message = match physical {
                    true => format!("{name} at {node} can be used"),
                    false => format!("{name} runs on {node}"),
                };
                draft.tell(PlanEventKind::Running, &owner, Some(&node), message);
            }
            // The node's own event has told it already.
            InstanceHealth::Down
                if draft.is_ready(&node) && !draft.state.in_turn(&name, &owner) =>
            {
                let words = last_words(draft, &node, &name);
                let message = format!("{name} on {node} {words}");
                draft.tell(PlanEventKind::Died, &owner, Some(&node), message);
            }
            InstanceHealth::Down | InstanceHealth::Starting => {}
        }
    }
}

/// Whether a container runs and answers. One that is silent and has never answered may be of a kind
/// that cannot.
fn works(draft: &mut Draft<'_>, name: &str, node: &NodeName) -> bool {
    let container = draft.observed.container(node, name);
    let Some(container) = container.filter(|container| is_ready(container)) else {
        return false;
    };
    let instance = draft.state.instances.get(name);
    let answered = instance.and_then(|instance| instance.answered.as_ref());
    let has_answered = answered == Some(&container.id);
    match draft.observed.answers(node, name) {
        HealthState::Alive if !has_answered => {
            if let Some(instance) = draft.state.instances.get_mut(name) {
                instance.answered = Some(container.id.clone());
            }
            true
        }
        HealthState::Dead => !has_answered,
        HealthState::Alive | HealthState::Unknown => true,
    }
}

/// Whether a container does its work: it runs, and its health check, where it has one, agrees.
fn is_ready(container: &ContainerState) -> bool {
    let health = container.health;
    container.phase == ContainerPhase::Running
        && health.is_none_or(|health| matches!(health, Health::Healthy | Health::Unknown))
}

fn last_words(draft: &Draft<'_>, node: &NodeName, name: &str) -> String {
    let instance = draft.state.instances.get(name);
    if let Some(hardware) = instance.and_then(|instance| instance.hardware.as_ref()) {
        return ailment(draft.observed, node, name, &hardware.spec);
    }
    let container = draft.observed.container(node, name);
    let silent = draft.observed.answers(node, name) == HealthState::Dead;
    match container.map(|c| (c.phase, c.exit_code, c.error.as_deref())) {
        Some((ContainerPhase::Running, _, None)) if silent => "answers no more".to_owned(),
        Some((ContainerPhase::Running, _, None)) => "is unhealthy".to_owned(),
        Some((_, _, Some(error))) => format!("died ({error})"),
        Some((_, Some(code), None)) => format!("died (exit code {code})"),
        _ => "died".to_owned(),
    }
}

/// Brings the set of instances in line with what is wanted.
pub(super) fn reconcile(draft: &mut Draft<'_>) {
    let wanted = wanted(draft);
    for (name, owner, ordinal) in &wanted {
        match draft.state.instances.get_mut(name) {
            Some(instance) if instance.owner == *owner => instance.retiring = false,
            // Same name under another kind: the old one goes first.
            Some(instance) => instance.retiring = true,
            None => {
                draft.state.last_id = draft.state.last_id.saturating_add(1);
                let instance = Instance {
                    owner: owner.clone(),
                    ordinal: *ordinal,
                    id: draft.state.last_id,
                    node: None,
                    since: 0,
                    address: None,
                    health: InstanceHealth::Starting,
                    answered: None,
                    hardware: None,
                    retiring: false,
                    draining_ms: None,
                    waiting: None,
                };
                draft.state.instances.insert(name.clone(), instance.into());
            }
        }
    }
    let wanted: BTreeSet<_> = wanted
        .into_iter()
        .map(|(name, owner, _)| (name, owner))
        .collect();
    for (name, instance) in &mut draft.state.instances {
        if !wanted.contains(&(name.clone(), instance.owner.clone())) {
            instance.retiring = true;
        }
    }
    physical::settle(draft);
}

fn wanted(draft: &Draft<'_>) -> Vec<(String, ResourceId, u32)> {
    let state = &draft.state;
    let kinds = [Kind::ServiceFunction, Kind::Service];
    let owners = state.resources.keys();
    owners
        .filter(|owner| kinds.contains(&owner.kind))
        .flat_map(|owner| {
            let mut ordinals = state.with_substitutes(owner, state.ordinals(owner));
            ordinals.extend(state.spare(owner));
            let named = |ordinal| (format!("{}-{ordinal}", owner.name), owner.clone(), ordinal);
            ordinals.into_iter().map(named)
        })
        .chain(physical::wanted(state))
        .collect()
}

/// Removes what is retiring, on no path any more, and drained.
pub(super) fn sweep(draft: &mut Draft<'_>) {
    let names: Vec<_> = draft.state.instances.keys().cloned().collect();
    for name in names {
        let retiring = draft.state.instances.get(&name).is_some_and(|i| i.retiring);
        if !retiring || on_a_path(draft, &name) || !drain::is_over(draft, &name) {
            continue;
        }
        if let Some(instance) = draft.state.instances.remove(&name) {
            let node = instance.node.as_ref();
            let message = match node {
                Some(node) => format!("{name} leaves {node}"),
                None => format!("{name} is no longer wanted"),
            };
            draft.tell(PlanEventKind::Retired, &instance.owner, node, message);
            draft.steps.push(Step::Remove {
                instance: name,
                node: instance.into_inner().node,
            });
        }
    }
    let instances = &draft.state.instances;
    draft.state.retired.retain(|id, _| {
        id.kind == Kind::Secret || instances.values().any(|instance| instance.owner == *id)
    });
    draft.state.forget_secrets();
}

/// Instances of one resource that are wanted, by name.
pub(super) fn of<'a>(
    state: &'a State,
    owner: &'a ResourceId,
) -> impl Iterator<Item = (&'a String, &'a Instance)> {
    let all = state.instances.iter();
    all.map(|(name, instance)| (name, &**instance))
        .filter(move |(_, instance)| instance.owner == *owner && !instance.retiring)
}

/// Whether any path still needs the instance where it is.
pub(super) fn on_a_path(draft: &Draft<'_>, name: &str) -> bool {
    let Some(instance) = draft.state.instances.get(name) else {
        return false;
    };
    let paths = draft.state.chains.values().flat_map(|chain| &chain.paths);
    paths
        .flat_map(|path| &path.instances)
        .any(|on_path| on_path.name == name && instance.node.as_ref() == Some(&on_path.node))
}

/// How many other chains send new traffic through the instance.
pub(super) fn chains_through(draft: &Draft<'_>, name: &str, but: &crate::resource::Name) -> u32 {
    let chains = draft.state.chains.iter().filter(|(chain, _)| *chain != but);
    let through = chains.filter(|(_, record)| {
        let current = |phase: &Phase| {
            matches!(
                phase,
                Phase::Installing { .. } | Phase::Switching { .. } | Phase::Active
            )
        };
        let paths = record.paths.iter().filter(|path| current(&path.phase));
        paths
            .flat_map(|path| &path.instances)
            .any(|on_path| on_path.name == name)
    });
    u32::try_from(through.count()).unwrap_or(u32::MAX)
}
