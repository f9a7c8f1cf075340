//! A drained box is left without a gap: for what serves there and has nobody to stand in for it, another is
//! made elsewhere first, has to show that it works, and takes its place for good. What cannot run
//! elsewhere stays and goes on running, with the reason.

use super::draft::Draft;
use super::instances::on_a_path;
use super::places::{has_stand_in, place};
use super::rollout::{update, workload};
use super::rooms::Rooms;
use super::spare::free_ordinal;
use super::trial::{Progress, Trial};
use super::{Instance, InstanceHealth, PlanEventKind, State};
use crate::resource::{Kind, Resource, ResourceId};
use kc_agent_api::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Who takes a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Substitute {
    /// Its number.
    ordinal: u32,
    /// The number of whom it shall replace, until it has shown that it works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    former: Option<u32>,
    #[serde(flatten)]
    trial: Trial,
}

impl State {
    /// The numbers in place of those that would be there if nothing had been replaced.
    pub(super) fn with_substitutes(&self, id: &ResourceId, usual: BTreeSet<u32>) -> BTreeSet<u32> {
        let Some(places) = self.substitutes.get(id) else {
            return usual;
        };
        let here = places.iter().filter(|(place, _)| usual.contains(place));
        let mut all: BTreeSet<u32> = here
            .flat_map(|(_, taken)| [Some(taken.ordinal), taken.former])
            .flatten()
            .collect();
        let others = usual.iter().filter(|place| !places.contains_key(place));
        // Whoever would have a number that somebody took as a substitute gets the lowest that is free.
        let mut homeless = 0;
        for place in others {
            homeless += usize::from(!all.insert(*place));
        }
        let free: Vec<u32> = (1..).filter(|n| !all.contains(n)).take(homeless).collect();
        all.extend(free);
        all
    }

    /// Whether an instance was made to replace another, and has yet to show that it works.
    pub(super) fn is_on_trial(&self, instance: &Instance) -> bool {
        let places = self.substitutes.get(&instance.owner);
        places.is_some_and(|places| {
            let mut all = places.values();
            all.any(|taken| taken.ordinal == instance.ordinal && taken.former.is_some())
        })
    }

    /// Whether another is being tried out in its place.
    fn is_replaced(&self, instance: &Instance) -> bool {
        let places = self.substitutes.get(&instance.owner);
        places.is_some_and(|places| {
            let mut all = places.values();
            all.any(|taken| taken.former == Some(instance.ordinal))
        })
    }

    /// Whether a user wants a box empty.
    pub(crate) fn is_drained(&self, node: &NodeName) -> bool {
        self.node_resource(node)
            .is_some_and(|object| object.spec.drain)
    }
}

/// Sees how far substitutes are. Who works takes the place before it is decided who is wanted.
pub(super) fn judge(draft: &mut Draft<'_>) {
    let trials: Vec<(ResourceId, u32)> = draft
        .state
        .substitutes
        .iter()
        .flat_map(|(id, places)| places.iter().map(move |place| (id, place)))
        .filter(|(_, (_, taken))| taken.former.is_some())
        .map(|(id, (place, _))| (id.clone(), *place))
        .collect();
    for (id, place) in trials {
        judge_one(draft, &id, place);
    }
}

/// Forgets what is about nobody any more, when all is decided.
pub(super) fn forget(draft: &mut Draft<'_>) {
    let state = &draft.state;
    let there = |id: &ResourceId, ordinal: u32| {
        let instance = state.instances.get(&format!("{}-{ordinal}", id.name));
        instance.is_some_and(|instance| !instance.retiring)
    };
    let places = state.substitutes.iter();
    let places = places.flat_map(|(id, places)| places.iter().map(move |place| (id, place)));
    let over = places.filter(|(id, (_, taken))| {
        let lost = taken.former.is_some_and(|former| !there(id, former));
        lost || !state.resources.contains_key(*id)
    });
    let over: Vec<_> = over.map(|(id, (place, _))| (id.clone(), *place)).collect();
    let stays = |name: &String| {
        let instance = state.instances.get(name);
        let node = instance.and_then(|instance| instance.node.as_ref());
        node.is_some_and(|node| state.is_drained(node) && draft.is_ready(node))
    };
    let gone: Vec<_> = state
        .unmoved
        .keys()
        .filter(|name| !stays(name))
        .cloned()
        .collect();
    for (id, place) in over {
        if let Some(places) = draft.state.substitutes.get_mut(&id) {
            places.remove(&place);
        }
    }
    for name in gone {
        draft.state.unmoved.remove(&name);
    }
    draft
        .state
        .substitutes
        .retain(|_, places| !places.is_empty());
}

/// Sees how far a substitute is.
fn judge_one(draft: &mut Draft<'_>, id: &ResourceId, place: u32) {
    let places = draft.state.substitutes.get(id);
    let Some(taken) = places.and_then(|places| places.get(&place)).cloned() else {
        return;
    };
    let named = |ordinal: u32| format!("{}-{ordinal}", id.name);
    let (name, former) = (named(taken.ordinal), named(taken.former.unwrap_or(place)));
    let instance = draft.state.instances.get(&former);
    let here = instance.and_then(|instance| instance.node.clone());
    if !here
        .as_ref()
        .is_some_and(|node| draft.state.is_drained(node))
    {
        // It was moved or may stay: nobody has to replace it.
        return give_back(draft, id, place, &taken);
    }
    let serves = instance.is_some_and(|instance| instance.health == InstanceHealth::Running);
    let mut trial = taken.trial.clone();
    let progress = trial.look(draft, id, &name);
    let substitute = draft.state.instances.get(&name);
    let runs = substitute.is_some_and(|i| i.health == InstanceHealth::Running);
    match progress {
        Progress::Failed(why) => {
            let message = format!("{name}, made to stand in for it, {why}");
            give_back(draft, id, place, &taken);
            draft.state.unmoved.insert(former, message);
        }
        Progress::Proven => replaced(draft, id, place, &former, &name),
        // There is nothing to lose any more.
        Progress::Open | Progress::Unplaced(_) if runs && !serves => {
            replaced(draft, id, place, &former, &name);
        }
        Progress::Open | Progress::Unplaced(_) => {
            let places = draft.state.substitutes.get_mut(id);
            if let Some(taken) = places.and_then(|places| places.get_mut(&place)) {
                taken.trial = trial;
            }
        }
    }
}

fn replaced(draft: &mut Draft<'_>, id: &ResourceId, place: u32, former: &str, name: &str) {
    let places = draft.state.substitutes.get_mut(id);
    if let Some(taken) = places.and_then(|places| places.get_mut(&place)) {
        taken.former = None;
        taken.trial = Trial::default();
    }
    let instance = draft.state.instances.get(former);
    let node = instance.and_then(|instance| instance.node.clone());
    let message = format!("{name} works, and takes the place of {former}");
    draft.tell(PlanEventKind::Replaced, id, node.as_ref(), message);
}

/// Whoever had the place keeps it.
fn give_back(draft: &mut Draft<'_>, id: &ResourceId, place: u32, taken: &Substitute) {
    let Some(places) = draft.state.substitutes.get_mut(id) else {
        return;
    };
    match taken.former {
        Some(former) if former != place => {
            let back = Substitute {
                ordinal: former,
                former: None,
                trial: Trial::default(),
            };
            places.insert(place, back);
        }
        _ => drop(places.remove(&place)),
    }
    if places.is_empty() {
        draft.state.substitutes.remove(id);
    }
}

/// What becomes of an instance of a drained box that may not just be moved.
pub(super) enum Hold {
    /// It waits until another has taken its place.
    Waits,
    /// It stays, and why.
    Stays(String),
}

/// Holds an instance where it is when moving it would leave a gap, and makes another if one fits
/// elsewhere. `None` when it may be moved.
pub(super) fn hold(
    draft: &mut Draft<'_>,
    rooms: &mut Option<Rooms>,
    name: &str,
    instance: &Instance,
    node: &NodeName,
) -> Option<Hold> {
    if !draft.state.is_drained(node) || !draft.is_ready(node) {
        return None;
    }
    if draft.state.is_replaced(instance) {
        return Some(Hold::Waits);
    }
    if let Some(why) = draft.state.unmoved.get(name) {
        return Some(Hold::Stays(why.clone()));
    }
    let id = &instance.owner;
    let resource = draft.state.resources.get(id)?.clone();
    if let Some(why) = obstacle(&resource, node) {
        return Some(Hold::Stays(why));
    }
    let serves = match id.kind {
        Kind::ServiceFunction => on_a_path(draft, name) && !has_stand_in(draft, name, instance),
        _ => true,
    };
    let runs = instance.health == InstanceHealth::Running;
    if !serves || !runs || !update(&resource).may_surge() {
        return None;
    }
    let place = place_of(&draft.state, instance)?;
    Some(match make(draft, rooms, instance, place) {
        Ok(substitute) => {
            let message = format!("{substitute} shall stand in for {name}, which leaves {node}");
            draft.tell(PlanEventKind::Placed, id, Some(node), message);
            Hold::Waits
        }
        Err(why) => Hold::Stays(why),
    })
}

/// Why an instance can run on this box only.
fn obstacle(resource: &Resource, node: &NodeName) -> Option<String> {
    let placement = match resource {
        Resource::ServiceFunction(object) => &object.spec.placement,
        Resource::Service(object) => &object.spec.placement,
        Resource::Chain(_) | Resource::Node(_) | Resource::Secret(_) => return None,
    };
    if placement.nodes.contains(node) {
        return Some(format!("placement.nodes names {node} for it"));
    }
    let work = workload(resource)?;
    if let Some(device) = work.devices.first() {
        let path = &device.source;
        return Some(format!("it has the box's device {path}"));
    }
    if let Some(volume) = work.volumes.iter().find(|volume| !volume.read_only) {
        let name = &volume.name;
        return Some(format!("its volume {name} is on this box"));
    }
    let mount = work.mounts.iter().find(|mount| !mount.read_only)?;
    Some(format!("it writes to the box's {}", mount.source))
}

/// Whose place an instance has, in the numbers that would be there if nothing had been replaced.
fn place_of(state: &State, instance: &Instance) -> Option<u32> {
    let ordinal = instance.ordinal;
    let Some(places) = state.substitutes.get(&instance.owner) else {
        return Some(ordinal);
    };
    let mut taken = places.iter();
    let taken = taken.find(|(_, taken)| taken.ordinal == ordinal);
    let own = (!places.contains_key(&ordinal)).then_some(ordinal);
    taken.map(|(place, _)| *place).or(own)
}

/// Makes another beside an instance, on the box where one of its kind would go.
fn make(
    draft: &mut Draft<'_>,
    rooms: &mut Option<Rooms>,
    instance: &Instance,
    place_taken: u32,
) -> Result<String, String> {
    let id = &instance.owner;
    let mut ordinal = free_ordinal(&draft.state, id);
    if draft.state.spare(id) == Some(ordinal) {
        ordinal = ordinal.saturating_add(1);
    }
    let name = format!("{}-{ordinal}", id.name);
    let last_id = draft.state.last_id;
    draft.state.last_id = last_id.saturating_add(1);
    let other = Instance {
        ordinal,
        id: draft.state.last_id,
        node: None,
        since: 0,
        address: None,
        health: InstanceHealth::Starting,
        waiting: None,
        draining_ms: None,
        ..instance.clone()
    };
    draft
        .state
        .instances
        .insert(name.clone(), other.clone().into());
    if let Err(why) = place(draft, rooms, &name, &other, None) {
        draft.state.instances.remove(&name);
        draft.state.last_id = last_id;
        return Err(why);
    }
    let substitute = Substitute {
        ordinal,
        former: Some(instance.ordinal),
        trial: Trial::default(),
    };
    let places: &mut BTreeMap<_, _> = draft.state.substitutes.entry(id.clone()).or_default();
    places.insert(place_taken, substitute);
    Ok(name)
}
