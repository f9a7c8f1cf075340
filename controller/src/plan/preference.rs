//! Whether a chain takes hardware or containers where a type has both, and when it goes back to what it
//! prefers: by a new path like any other, after that could be used for a while without a break. Each
//! return that does not last doubles the time until the next one.

use super::draft::Draft;
use super::physical::{full, of_types};
use super::survey::{Kept, barred};
use super::{ChainRecord, Instance, Phase, relief, survey};
use crate::resource::{ChainSpec, Name, PhysicalPolicy};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A return that lasted for this long was a good one.
const LASTS_MS: u64 = 600_000;
/// Most doublings.
const MAX_SETBACKS: u32 = 6;

/// A chain's way back to what it prefers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Back {
    /// Since when what is preferred can be used, and is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    since_ms: Option<u64>,
    /// When it last went back.
    #[serde(skip_serializing_if = "Option::is_none")]
    went_ms: Option<u64>,
    /// Returns in a row that did not last.
    #[serde(skip_serializing_if = "is_zero")]
    setbacks: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
const fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Back {
    /// Whether there is nothing to remember.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// It goes back.
    pub(super) const fn goes(&mut self, now_ms: u64) {
        self.went_ms = Some(now_ms);
        self.since_ms = None;
    }

    /// Its path has died.
    pub(super) fn falls(&mut self, now_ms: u64) {
        let soon = |went_ms: u64| now_ms.saturating_sub(went_ms) < LASTS_MS;
        self.setbacks = match self.went_ms.take() {
            Some(went_ms) if soon(went_ms) => (self.setbacks + 1).min(MAX_SETBACKS),
            Some(_) => 0,
            None => self.setbacks,
        };
    }
}

/// Instances that a chain may not take, whatever else there is, and why.
pub(super) fn bars(draft: &Draft<'_>, name: &Name, spec: &ChainSpec) -> BTreeMap<String, String> {
    let mut bars = survey::full(draft, name, &spec.functions);
    full(draft, name, &spec.functions, &mut bars);
    forbidden(draft, spec, &mut bars);
    bars
}

/// Instances of the kind that the chain does not take.
fn forbidden(draft: &Draft<'_>, spec: &ChainSpec, without: &mut BTreeMap<String, String>) {
    let policy = spec.scheduler.physical;
    let reason = match policy {
        PhysicalPolicy::Only => "is virtual, and the chain takes only physical ones",
        PhysicalPolicy::Never => "is physical, and the chain takes none",
        PhysicalPolicy::Any | PhysicalPolicy::Prefer | PhysicalPolicy::Spare => return,
    };
    for (name, instance) in of_types(draft, &spec.functions) {
        if instance.hardware.is_some() == (policy == PhysicalPolicy::Never) {
            without.insert(name.clone(), reason.to_owned());
        }
    }
}

/// `without`, and those besides that are only for when there is nothing else; types that are kept
/// apart.
pub(super) fn second_choice(
    draft: &Draft<'_>,
    spec: &ChainSpec,
    kept: &Kept,
    without: &BTreeMap<String, String>,
) -> BTreeMap<String, String> {
    let mut all = without.clone();
    let Some(first_is_physical) = first_choice(spec) else {
        return all;
    };
    for (function, instances) in by_type(draft, spec) {
        let first = instances.iter().find(|(name, instance)| {
            instance.hardware.is_some() == first_is_physical
                && !without.contains_key(*name)
                && is_usable(draft, name, instance)
        });
        let Some((first, _)) = first.filter(|_| !kept.contains_key(function)) else {
            continue;
        };
        let reason = match first_is_physical {
            true => format!("is virtual, and {first} is preferred"),
            false => format!("is spared while {first} can be used"),
        };
        for (name, instance) in &instances {
            if instance.hardware.is_some() != first_is_physical {
                all.entry((*name).clone()).or_insert_with(|| reason.clone());
            }
        }
    }
    all
}

/// Of two kinds, which comes first; nothing where neither does.
const fn first_choice(spec: &ChainSpec) -> Option<bool> {
    match spec.scheduler.physical {
        PhysicalPolicy::Prefer => Some(true),
        PhysicalPolicy::Spare => Some(false),
        PhysicalPolicy::Any | PhysicalPolicy::Only | PhysicalPolicy::Never => None,
    }
}

/// Whether one kind comes first.
pub(super) const fn has_first_choice(spec: &ChainSpec) -> bool {
    first_choice(spec).is_some()
}

type Instances<'a> = Vec<(&'a String, &'a Instance)>;

fn by_type<'a>(draft: &'a Draft<'_>, spec: &ChainSpec) -> BTreeMap<&'a Name, Instances<'a>> {
    let mut types: BTreeMap<&Name, Instances<'_>> = BTreeMap::new();
    for (name, instance) in of_types(draft, &spec.functions) {
        if let Some(function) = draft.state.function_type(&instance.owner) {
            types.entry(function).or_default().push((name, instance));
        }
    }
    types
}

fn is_usable(draft: &Draft<'_>, name: &str, instance: &Instance) -> bool {
    let node = instance.node.as_ref();
    node.is_some_and(|node| barred(draft, name, instance, node).is_none())
}

/// By type: what the chain runs through though another kind comes first and could be used.
fn makeshifts(draft: &Draft<'_>, name: &Name, chain: &ChainRecord, spec: &ChainSpec) -> Kept {
    let mut found = Kept::new();
    let (Some(first_is_physical), Some(carrying)) = (first_choice(spec), chain.carrying()) else {
        return found;
    };
    let mut without = relief::without(draft, name, chain, &spec.functions);
    without.extend(bars(draft, name, spec));
    for (function, instances) in by_type(draft, spec) {
        let on_path = carrying.instances.iter();
        let mut on_path = on_path.filter(|on_path| on_path.function == *function);
        let Some(on_path) = on_path.next() else {
            continue;
        };
        let second = draft.state.instances.get(&on_path.name);
        let second = second.is_some_and(|i| i.hardware.is_some() != first_is_physical);
        let first = instances.iter().find(|(name, instance)| {
            instance.hardware.is_some() == first_is_physical
                && !without.contains_key(*name)
                && is_usable(draft, name, instance)
        });
        if let Some((first, _)) = first.filter(|_| second) {
            found.insert(function.clone(), (*first).clone());
        }
    }
    found
}

/// Why a chain that carries goes back to what it prefers, when its time has come.
pub(super) fn going_back(
    draft: &mut Draft<'_>,
    name: &Name,
    chain: &mut ChainRecord,
    spec: &ChainSpec,
) -> Option<String> {
    let steady = chain
        .carrying()
        .is_some_and(|path| path.phase == Phase::Active);
    if !steady || chain.installing().is_some() {
        return None;
    }
    let makeshifts = makeshifts(draft, name, chain, spec);
    let Some(first) = makeshifts.into_values().next() else {
        chain.back.since_ms = None;
        return None;
    };
    let since_ms = chain
        .back
        .since_ms
        .unwrap_or(draft.now_ms)
        .min(draft.now_ms);
    chain.back.since_ms = Some(since_ms);
    let settle_ms = draft.state.settings.settle_ms << chain.back.setbacks.min(MAX_SETBACKS);
    let due_ms = since_ms.saturating_add(settle_ms);
    if draft.now_ms < due_ms {
        draft.wake(due_ms);
        return None;
    }
    Some(format!("{first} can be used again"))
}

/// Lets go of what stands in for something better.
pub(super) fn release(
    draft: &Draft<'_>,
    name: &Name,
    chain: &ChainRecord,
    spec: &ChainSpec,
    kept: &mut Kept,
) {
    for function in makeshifts(draft, name, chain, spec).keys() {
        kept.remove(function);
    }
}
