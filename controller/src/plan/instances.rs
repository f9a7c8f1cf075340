//! Instances of functions and replicas of services: which there shall be, how they are, and
//! where they run.

use super::draft::Draft;
use super::drain;
use super::{Instance, InstanceHealth, NodeRecord, PlanEventKind, State, Step, ailment, physical};
use crate::observation::answers;
use crate::resource::{Kind, Name, Resource, ResourceId};
use crate::shared::Shared;
use foldhash::HashMap;
use kc_agent_api::{ContainerPhase, ContainerState, Health, NodeName, NodeState};
use kc_forwarder_api::HealthState;
use std::collections::BTreeSet;

/// Most replicas of one resource.
pub const MAX_REPLICAS: u32 = 1000;

/// Takes up what nodes say of their containers.
pub(super) fn observe(draft: &mut Draft<'_>) {
    for name in news(draft) {
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

/// Instances of which boxes say anything new; each box's word is looked up once for all of them.
fn news(draft: &Draft<'_>) -> Vec<String> {
    let word = |(name, record): (&'_ NodeName, &Shared<NodeRecord>)| {
        let seen = draft.observed.nodes.get(name).filter(|_| record.ready);
        let state = seen.and_then(|seen| seen.state.as_ref());
        (
            name.clone(),
            (record.ready, state.map(|state| &state.report)),
        )
    };
    let words: HashMap<NodeName, (bool, Option<&NodeState>)> =
        draft.state.nodes.iter().map(word).collect();
    let is_new = |name: &str, instance: &Instance| {
        let Some(node) = &instance.node else {
            return false;
        };
        let said = match words.get(node) {
            None | Some((false, _)) => return instance.health == InstanceHealth::Running,
            Some((true, None)) => return false,
            Some((true, Some(said))) => said,
        };
        if instance.hardware.is_some() {
            return true;
        }
        if instance.since == 0 || said.spec_generation < instance.since {
            return false;
        }
        let container = said.containers.iter().find(|c| c.name == name);
        let Some(container) = container.filter(|container| is_ready(container)) else {
            return instance.health == InstanceHealth::Running;
        };
        let has_answered = instance.answered.as_ref() == Some(&container.id);
        match answers(said, name) {
            HealthState::Alive if !has_answered => true,
            HealthState::Dead if has_answered => instance.health == InstanceHealth::Running,
            _ => instance.health != InstanceHealth::Running,
        }
    };
    let all = draft.state.instances.iter();
    let new = all.filter(|(name, instance)| is_new(name, instance));
    new.map(|(name, _)| name.clone()).collect()
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
    let wanted = wanted(&draft.state);
    for want in &wanted {
        let mut missing = want.ordinals.clone();
        for (_, instance) in named_after(&draft.state, &want.owner.name) {
            if instance.owner == want.owner && instance.hardware.is_none() {
                missing.remove(&instance.ordinal);
            }
        }
        for ordinal in missing {
            begin(
                draft,
                format!("{}-{ordinal}", want.owner.name),
                &want.owner,
                ordinal,
            );
        }
    }
    let hardware = physical::wanted(&draft.state);
    for (name, owner, ordinal) in &hardware {
        begin(draft, name.clone(), owner, *ordinal);
    }
    let hardware: HashMap<&str, &ResourceId> = hardware
        .iter()
        .map(|(name, owner, _)| (name.as_str(), owner))
        .collect();
    let wanted: HashMap<&ResourceId, &Want> =
        wanted.iter().map(|want| (&want.owner, want)).collect();
    let retires = |name: &str, instance: &Instance| {
        if instance.hardware.is_some() || hardware.contains_key(name) {
            return hardware.get(name) != Some(&&instance.owner);
        }
        let want = wanted.get(&instance.owner);
        !want.is_some_and(|want| want.ordinals.contains(&instance.ordinal))
    };
    let instances = draft.state.instances.iter();
    let changed = instances.filter(|(name, one)| one.retiring != retires(name, one));
    let changed: Vec<String> = changed.map(|(name, _)| name.clone()).collect();
    for name in changed {
        if let Some(instance) = draft.state.instances.get_mut(&name) {
            instance.retiring = !instance.retiring;
        }
    }
    draft.instances_changed();
    physical::settle(draft);
}

/// One more instance, unless there is one of that name: of another kind, that one goes first.
fn begin(draft: &mut Draft<'_>, name: String, owner: &ResourceId, ordinal: u32) {
    if draft.state.instances.contains_key(&name) {
        return;
    }
    draft.state.last_id = draft.state.last_id.saturating_add(1);
    let instance = Instance {
        owner: owner.clone(),
        ordinal,
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
    draft.state.instances.insert(name, instance.into());
}

/// Containers that one resource shall have.
struct Want {
    owner: ResourceId,
    ordinals: BTreeSet<u32>,
}

fn wanted(state: &State) -> Vec<Want> {
    let kinds = [Kind::ServiceFunction, Kind::Service];
    let owners = kinds.into_iter().flat_map(|kind| state.of_kind(kind));
    let want = |(owner, _): (&ResourceId, &Resource)| {
        let mut ordinals = state.with_substitutes(owner, state.ordinals(owner));
        ordinals.extend(state.spare(owner));
        Want {
            owner: owner.clone(),
            ordinals,
        }
    };
    owners.map(want).collect()
}

/// Instances whose names begin with a resource's; its containers are among them.
fn named_after<'a>(
    state: &'a State,
    name: &'a Name,
) -> impl Iterator<Item = (&'a String, &'a Shared<Instance>)> {
    let begin = std::ops::Bound::Included(name.as_str());
    let from = state
        .instances
        .range::<str, _>((begin, std::ops::Bound::Unbounded));
    from.take_while(move |(found, _)| found.starts_with(name.as_str()))
}

/// Instances that are not named after their resource, as hardware is, each with its resource.
pub(super) fn strangers(state: &State) -> Vec<(ResourceId, String)> {
    let all = state.instances.iter();
    let strange = all.filter(|(name, one)| !name.starts_with(one.owner.name.as_str()));
    strange
        .map(|(name, one)| (one.owner.clone(), name.clone()))
        .collect()
}

/// All instances of one resource.
pub(super) fn all_of<'a>(
    draft: &'a Draft<'_>,
    owner: &'a ResourceId,
) -> impl Iterator<Item = (&'a String, &'a Shared<Instance>)> {
    let state = &draft.state;
    let strangers = draft.strangers().iter();
    let strangers = strangers.filter_map(|(_, name)| state.instances.get_key_value(name));
    let all = named_after(state, &owner.name).chain(strangers);
    all.filter(move |(_, instance)| instance.owner == *owner)
}

/// Instances of one function type.
pub(super) fn of_type<'a>(
    draft: &'a Draft<'_>,
    function: &'a Name,
) -> impl Iterator<Item = (&'a String, &'a Shared<Instance>)> {
    let state = &draft.state;
    let all = state.of_kind(Kind::ServiceFunction).chain(&state.retired);
    let owners = all.map(|(id, _)| id);
    let owners = owners.filter(move |id| state.function_type(id) == Some(function));
    owners.flat_map(move |owner| all_of(draft, owner))
}

/// Instances of the same function type as those of `owner`, or of the same service.
pub(super) fn alike<'a>(
    draft: &'a Draft<'_>,
    owner: &'a ResourceId,
) -> impl Iterator<Item = (&'a String, &'a Shared<Instance>)> {
    let function = draft.state.function_type(owner);
    let of_type = function.into_iter().flat_map(|name| of_type(draft, name));
    let own = function.is_none().then(|| all_of(draft, owner));
    of_type.chain(own.into_iter().flatten())
}

/// Removes what is retiring, on no path any more, and drained.
pub(super) fn sweep(draft: &mut Draft<'_>) {
    let instances = draft.state.instances.iter();
    let retiring = instances.filter(|(_, instance)| instance.retiring);
    let names: Vec<_> = retiring.map(|(name, _)| name.clone()).collect();
    for name in names {
        if on_a_path(draft, &name) || !drain::is_over(draft, &name) {
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
    let retired = draft.state.retired.keys();
    let needless =
        retired.filter(|id| id.kind != Kind::Secret && all_of(draft, id).next().is_none());
    for id in needless.cloned().collect::<Vec<_>>() {
        draft.state.retired.remove(&id);
    }
    draft.state.forget_secrets();
}

/// Instances of one resource that are wanted, by name.
pub(super) fn of<'a>(
    draft: &'a Draft<'_>,
    owner: &'a ResourceId,
) -> impl Iterator<Item = (&'a String, &'a Instance)> {
    let all = all_of(draft, owner).filter(|(_, instance)| !instance.retiring);
    all.map(|(name, instance)| (name, &**instance))
}

/// Whether any path still needs the instance where it is.
pub(super) fn on_a_path(draft: &Draft<'_>, name: &str) -> bool {
    let instance = draft.state.instances.get(name);
    let node = instance.and_then(|instance| instance.node.as_ref());
    node.is_some_and(|node| draft.paths().pass(name, node))
}
