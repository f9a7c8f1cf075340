//! Lets load decide how many instances there are: gathers what is known of them, asks
//! [`crate::scaling`], and says which instances come and which go.

use super::alarms::measure;
use super::draft::Draft;
use super::{InstanceHealth, PathRecord, PlanEventKind, State, instances, relief};
use crate::alarm::Metric;
use crate::resource::{AutoscaleSpec, Resource, ResourceId};
use crate::scaling::{self, History, Seen};
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

/// How many instances of a resource there shall be, and how that came.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ScaleRecord {
    /// Their numbers.
    ordinals: BTreeSet<u32>,
    history: History,
    /// Why there are as many as there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// Why there are no more or fewer, though somebody wants it.
    #[serde(skip_serializing_if = "Option::is_none")]
    held: Option<String>,
}

/// What a resource says about how many there are of it.
pub(super) fn said(resource: &Resource) -> (u32, Option<&AutoscaleSpec>) {
    match resource {
        // Hardware is no matter of numbers.
        Resource::ServiceFunction(object) if !object.spec.physical.is_empty() => (0, None),
        Resource::ServiceFunction(object) => (object.spec.replicas, object.spec.autoscale.as_ref()),
        Resource::Service(object) => (object.spec.replicas, object.spec.autoscale.as_ref()),
        Resource::Chain(_) | Resource::Node(_) | Resource::Secret(_) => (0, None),
    }
}

impl State {
    /// Numbers of the instances of a resource that there shall be.
    pub(super) fn ordinals(&self, id: &ResourceId) -> BTreeSet<u32> {
        match self.scales.get(id) {
            Some(record) => record.ordinals.clone(),
            None => {
                let replicas = self
                    .resources
                    .get(id)
                    .map_or(0, |resource| said(resource).0);
                (1..=replicas.min(super::MAX_REPLICAS)).collect()
            }
        }
    }

    /// How many instances of a resource there shall be.
    pub fn replicas(&self, id: &ResourceId) -> u32 {
        u32::try_from(self.ordinals(id).len()).unwrap_or(u32::MAX)
    }

    /// How load decides about the number of a resource's instances, for people.
    pub fn scaling(&self, id: &ResourceId) -> Option<String> {
        let (_, spec) = said(self.resources.get(id)?);
        let (spec, record) = (spec?, self.scales.get(id)?);
        let mut text = format!("{} of {} to {}", record.ordinals.len(), spec.min, spec.max);
        for more in [&record.why, &record.held].into_iter().flatten() {
            text.push_str("; ");
            text.push_str(more);
        }
        Some(text)
    }
}

/// Decides for every resource that lets load decide.
pub(super) fn decide(draft: &mut Draft<'_>) {
    let all = draft.state.resources.iter();
    let scaled: Vec<_> = all
        .filter_map(|(id, resource)| Some((id.clone(), said(resource).1?.clone())))
        .collect();
    let known = |id: &ResourceId| scaled.iter().any(|(scaled, _)| scaled == id);
    if !draft.state.scales.keys().all(known) {
        draft.state.scales.retain(|id, _| known(id));
    }
    for (id, spec) in scaled {
        let before = draft.state.scales.get(&id).cloned();
        let mut record = before.clone().unwrap_or_else(|| begin(draft, &id, &spec));
        settle(draft, &id, &spec, &mut record);
        if before.as_ref() != Some(&record) {
            draft.state.scales.insert(id, record);
        }
    }
}

/// Begins with those that there are, or with as many as the resource says.
fn begin(draft: &Draft<'_>, id: &ResourceId, spec: &AutoscaleSpec) -> ScaleRecord {
    let there = instances::of(draft, id).map(|(_, instance)| instance.ordinal);
    let there: BTreeSet<u32> = there.collect();
    let replicas = draft.state.resources.get(id).map_or(1, |r| said(r).0);
    let usual = 1..=replicas.clamp(spec.min.min(spec.max), spec.max);
    ScaleRecord {
        ordinals: if there.is_empty() {
            usual.collect()
        } else {
            there
        },
        ..ScaleRecord::default()
    }
}

/// Decides until there is nothing more to decide: what one change leads to is seen at once.
fn settle(draft: &mut Draft<'_>, id: &ResourceId, spec: &AutoscaleSpec, record: &mut ScaleRecord) {
    const MOST: usize = 4;
    for _ in 0..MOST {
        let need = relief::need(draft, id);
        let seen = seen(draft, id, record, need);
        let decision = scaling::decide(spec, &mut record.history, &seen, draft.now_ms);
        if let Some(at_ms) = decision.wake_at_ms {
            draft.wake(at_ms);
        }
        record.held = decision.held;
        let Some((replicas, why)) = decision.change else {
            return;
        };
        resize(draft, id, record, replicas, &why);
        record.why = Some(why);
    }
}

fn seen<'s>(
    draft: &'s Draft<'_>,
    id: &'s ResourceId,
    record: &ScaleRecord,
    need: Option<String>,
) -> Seen<'s> {
    let mut seen = Seen {
        need,
        ..Seen::default()
    };
    for ordinal in &record.ordinals {
        seen.wanted += 1;
        let name = name(id, *ordinal);
        let instance = draft.state.instances.get(&name);
        let runs = instance
            .filter(|instance| instance.owner == *id && instance.health == InstanceHealth::Running);
        let Some(instance) = runs else {
            seen.coming += 1;
            continue;
        };
        for metric in Metric::ALL {
            let Some(value) = measure(draft, &name, instance, metric) else {
                continue;
            };
            seen.measured.entry(metric).or_default().push(value);
        }
    }
    let alarms = draft.state.alarms.values();
    let firing = alarms.filter(|alarm| alarm.owner == *id && alarm.worst().is_firing());
    seen.firing = firing.map(|alarm| &alarm.spec.name).collect();
    seen
}

fn name(id: &ResourceId, ordinal: u32) -> String {
    format!("{}-{ordinal}", id.name)
}

/// Says who comes, or who goes.
fn resize(
    draft: &mut Draft<'_>,
    id: &ResourceId,
    record: &mut ScaleRecord,
    replicas: u32,
    why: &str,
) {
    let before = record.ordinals.len();
    let wanted = usize::try_from(replicas).unwrap_or(usize::MAX);
    while record.ordinals.len() < wanted {
        let next = joining(draft, id, &record.ordinals);
        if !record.ordinals.insert(next) {
            break;
        }
    }
    while record.ordinals.len() > wanted {
        let Some(next) = leaving(draft, id, &record.ordinals) else {
            break;
        };
        record.ordinals.remove(&next);
    }
    let (kind, verb) = match record.ordinals.len() > before {
        true => (PlanEventKind::ScaledOut, "grows"),
        false => (PlanEventKind::ScaledIn, "shrinks"),
    };
    let after = record.ordinals.len();
    let message = format!("{} {verb} from {before} to {after}: {why}", id.name);
    draft.tell(kind, id, None, message);
}

/// The number of the next instance: of one that is on its way out, because it is there already and
/// may still run; else the lowest that nobody has.
fn joining(draft: &Draft<'_>, id: &ResourceId, ordinals: &BTreeSet<u32>) -> u32 {
    let all = &draft.state.instances;
    let leaving = all.values().filter(|instance| {
        instance.owner == *id && instance.retiring && !ordinals.contains(&instance.ordinal)
    });
    let best = leaving.min_by_key(|i| (i.health != InstanceHealth::Running, i.ordinal));
    let free = |n: &u32| !ordinals.contains(n) && !all.contains_key(&name(id, *n));
    match best {
        Some(instance) => instance.ordinal,
        None => (1..=u32::MAX).find(free).unwrap_or(u32::MAX),
    }
}

/// The number of the instance that is missed least: one that does not run, then one that carries
/// fewest chains, then the newest.
fn leaving(draft: &Draft<'_>, id: &ResourceId, ordinals: &BTreeSet<u32>) -> Option<u32> {
    let mut carries: BTreeMap<&str, u32> = BTreeMap::new();
    let paths = draft
        .state
        .chains
        .values()
        .filter_map(|chain| chain.carrying());
    for on_path in paths.flat_map(PathRecord::members) {
        *carries.entry(&on_path.name).or_default() += 1;
    }
    let missed = |ordinal: &&u32| {
        let name = name(id, **ordinal);
        let runs =
            draft.state.instances.get(&name).map(|i| i.health) == Some(InstanceHealth::Running);
        (
            runs,
            carries.get(name.as_str()).copied(),
            Reverse(**ordinal),
        )
    };
    ordinals.iter().min_by_key(missed).copied()
}
