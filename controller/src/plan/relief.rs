//! Chains leave an instance that an alarm with `replace` fires for, if another can take them: one
//! that runs, is not overloaded itself, and was not left by the same chain a while ago. Where nobody
//! can, one more instance is asked for, and the chain moves when that one runs.

use super::draft::Draft;
use super::instances::{self, of_type};
use super::places::may_take_over;
use super::{ChainRecord, Instance, InstanceHealth, PathInstance, State};
use crate::resource::{Name, Resource, ResourceId};
use std::collections::BTreeMap;

/// Instances that chains shall leave although they run, each with the reason.
pub(super) fn overloaded(state: &State) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for alarm in state.alarms.values().filter(|alarm| alarm.spec.replace) {
        let subjects = alarm.subjects.iter();
        let firing = subjects.filter(|(_, subject)| subject.standing.is_firing());
        for (name, _) in firing {
            let instance = state.instances.get(name);
            if instance.is_some_and(|instance| instance.owner == alarm.owner) {
                let why = || format!("{name} is overloaded ({})", alarm.spec.when);
                found.entry(name.clone()).or_insert_with(why);
            }
        }
    }
    found
}

/// Why chains shall leave an instance, though it runs.
pub(super) fn overload<'a>(draft: &'a Draft<'_>, name: &str) -> Option<&'a String> {
    draft.overloaded().get(name)
}

/// Why a chain may not be relieved by an instance, which it could take otherwise.
fn unfit(
    draft: &Draft<'_>,
    chain: (&Name, &ChainRecord),
    name: &str,
    instance: &Instance,
) -> Option<String> {
    let (chain, record) = chain;
    if let Some(why) = overload(draft, name) {
        return Some(why.clone());
    }
    if left_lately(draft, record, name) {
        return Some("was overloaded with this chain a while ago".to_owned());
    }
    let limit = match draft.state.owner(&instance.owner) {
        Some(Resource::ServiceFunction(function)) => function.spec.max_chains,
        _ => None,
    };
    let full = limit.is_some_and(|limit| draft.paths().chains_through(name, chain) >= limit);
    full.then(|| "carries all the chains it may".to_owned())
}

/// Whether the chain left it for being overloaded, and would only come back to leave it again.
fn left_lately(draft: &Draft<'_>, chain: &ChainRecord, name: &str) -> bool {
    let hold = draft.state.settings.relief_hold_ms;
    let left = chain.left.get(name);
    left.is_some_and(|at_ms| draft.now_ms < at_ms.saturating_add(hold))
}

/// Whether an instance could take the chain that is none of those which carry it at one place of its path.
fn has_relief(draft: &Draft<'_>, chain: (&Name, &ChainRecord), on_path: &PathInstance) -> bool {
    of_type(draft, &on_path.function).any(|(other, candidate)| {
        on_path.active().all(|carries| *other != carries.name)
            && may_take_over(draft, other, candidate)
            && unfit(draft, chain, other, candidate).is_none()
    })
}

/// Why a chain shall move, though all of its path runs; nothing while nobody could take it.
pub(super) fn wanted(draft: &Draft<'_>, name: &Name, chain: &ChainRecord) -> Option<String> {
    let carrying = chain.carrying()?;
    carrying.instances.iter().find_map(|on_path| {
        let mut carries = on_path.active();
        let why = carries.find_map(|carries| overload(draft, &carries.name))?;
        let relief = has_relief(draft, (name, chain), on_path);
        relief.then(|| why.clone())
    })
}

/// Of the given types, instances that may not be taken by a chain that is to be relieved; those that carry
/// all they may apart.
pub(super) fn without(
    draft: &Draft<'_>,
    name: &Name,
    chain: &ChainRecord,
    functions: &[Name],
) -> BTreeMap<String, String> {
    let names = draft.overloaded().keys().chain(chain.left.keys());
    let unfit = names.filter_map(|other| {
        let instance = draft.state.instances.get(other)?;
        let function = draft.state.function_type(&instance.owner)?;
        let ours = functions.contains(function);
        let why = unfit(draft, (name, chain), other, instance).filter(|_| ours)?;
        Some((other.clone(), why))
    });
    unfit.collect()
}

/// Why one more instance of a resource is needed: a chain would leave one, and nobody can take it.
pub(super) fn need(draft: &Draft<'_>, id: &ResourceId) -> Option<String> {
    let state = &draft.state;
    let fires = |alarm: &super::AlarmRecord| {
        alarm.owner == *id && alarm.spec.replace && alarm.worst().is_firing()
    };
    if !state.alarms.values().any(fires) {
        return None;
    }
    let mut overloaded = instances::of(draft, id).filter_map(|(name, instance)| {
        let runs = instance.health == InstanceHealth::Running;
        Some((name, overload(draft, name).filter(|_| runs)?))
    });
    overloaded.find_map(|(name, why)| {
        let mut stuck = state.chains.iter().filter(|(chain, record)| {
            let places = record.carrying().into_iter();
            let mut places = places.flat_map(|path| &path.instances);
            let place = places.find(|place| place.active().any(|one| one.name == *name));
            place.is_some_and(|place| !has_relief(draft, (chain, record), place))
        });
        let (chain, _) = stuck.next()?;
        Some(format!("{why}, and no other could take chain {chain}"))
    })
}

/// Notes whom a chain leaves for being overloaded, and forgets whom it may come back to.
pub(super) fn note(draft: &Draft<'_>, chain: &mut ChainRecord, taken: &[String]) {
    let Some(carrying) = chain.carrying() else {
        return;
    };
    let left: Vec<_> = carrying
        .members()
        .filter(|on_path| !taken.contains(&on_path.name))
        .filter(|on_path| {
            let there = draft.state.instances.contains_key(&on_path.name);
            there && overload(draft, &on_path.name).is_some()
        })
        .map(|on_path| on_path.name.clone())
        .collect();
    let hold = draft.state.settings.relief_hold_ms;
    let now_ms = draft.now_ms;
    chain
        .left
        .retain(|_, at_ms| now_ms < at_ms.saturating_add(hold));
    chain
        .left
        .extend(left.into_iter().map(|name| (name, now_ms)));
}
