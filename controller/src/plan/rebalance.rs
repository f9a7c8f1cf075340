//! Lets a healthy path give way to a better one, where its chain asks for that: only for a gain above
//! a margin, and only when the gain has been there for a while. So load that comes and goes moves
//! nothing, and what moved has to be beaten by as much again.

use super::draft::Draft;
use super::preference::{bars, second_choice};
use super::search::request;
use super::survey::Kept;
use super::{ChainRecord, PathRecord, Phase};
use crate::resource::{ChainSpec, Name};
use crate::scheduler::{DEFAULT_HOP_WEIGHT, from_spec, price};
use crate::topology::Topology;

/// Whether the chain wants to know of better paths, and none is on its way.
pub(super) fn is_due(draft: &Draft<'_>, chain: &mut ChainRecord, spec: &ChainSpec) -> bool {
    let settled = chain
        .carrying()
        .is_some_and(|path| path.phase == Phase::Active);
    let due = spec.scheduler.rebalance.is_some() && settled && chain.installing().is_none();
    // A clock that was set back must not put it off for ever.
    chain.better_since_ms = chain
        .better_since_ms
        .filter(|_| due)
        .map(|since_ms| since_ms.min(draft.now_ms));
    due
}

/// Why the chain shall move now.
pub(super) fn better(
    draft: &mut Draft<'_>,
    topology: &Topology,
    name: &Name,
    chain: &mut ChainRecord,
    spec: &ChainSpec,
) -> Option<String> {
    let rebalance = spec.scheduler.rebalance?;
    let gain = gain(draft, topology, name, chain, spec);
    let gain = gain.filter(|gain| *gain > f64::from(rebalance.margin));
    let Some(gain) = gain else {
        chain.better_since_ms = None;
        return None;
    };
    let since_ms = *chain.better_since_ms.get_or_insert(draft.now_ms);
    let due_ms = since_ms.saturating_add(rebalance.window.millis().into());
    if draft.now_ms < due_ms {
        draft.wake(due_ms);
        return None;
    }
    Some(format!(
        "another path costs {gain:.0} points less, for {}",
        rebalance.window
    ))
}

/// The first of each cluster on a path.
pub(super) fn clusters(path: &PathRecord) -> Kept {
    let sets = path.instances.iter();
    let sets = sets.filter(|on_path| !on_path.others.is_empty());
    sets.map(|first| (first.function.clone(), first.name.clone()))
        .collect()
}

/// By how many points the path that would be chosen now costs less than the one in hand.
fn gain(
    draft: &Draft<'_>,
    topology: &Topology,
    name: &Name,
    chain: &ChainRecord,
    spec: &ChainSpec,
) -> Option<f64> {
    // Members of a cluster share the flows by themselves.
    let kept = clusters(chain.carrying()?);
    let without = second_choice(draft, spec, &kept, &bars(draft, name, spec));
    let request = request(draft, topology, chain, spec, &kept, &without);
    let best = from_spec(&spec.scheduler).schedule(&request).ok()?;
    let carrying = chain.carrying()?.instances.iter();
    let carrying: Vec<String> = carrying.map(|on_path| on_path.name.clone()).collect();
    let weight = spec.scheduler.hop_weight.unwrap_or(DEFAULT_HOP_WEIGHT);
    Some(price(&request, &carrying, weight)? - price(&request, &best.path, weight)?)
}
