//! Hardware among the instances: which there is, how it is, how loaded, and when it may not be used.
//! It is where it is: nothing here, or anywhere, places, moves or changes it.

use super::draft::Draft;
use super::instances::{of_type, on_a_path};
use super::places::has_stand_in;
use super::{Instance, InstanceHealth, State};
use crate::observation::Observations;
use crate::resource::{Kind, Name, PhysicalSpec, Resource, ResourceId, rfc3339};
use kc_agent_api::NodeName;
use kc_forwarder_api::{HealthState, PortState};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How long before a window begins its paths leave: time for the slowest change of a path.
const LEAD_MS: u64 = 60_000;
/// How long one that ran may be unknown: a forwarder that was started anew has to ask first.
const UNKNOWN_MS: u64 = 10_000;

/// What is known of a piece of hardware.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Hardware {
    /// What its resource says, or said when it was last on a path.
    pub spec: PhysicalSpec,
    /// Since when nobody knows whether it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    unknown_since_ms: Option<u64>,
}

/// Every piece of hardware that resources speak of, as instances.
pub(super) fn wanted(state: &State) -> Vec<(String, ResourceId, u32)> {
    let functions = state.functions().flat_map(|object| {
        let owner = ResourceId::new(Kind::ServiceFunction, object.metadata.name.clone());
        let hardware = object.spec.physical.iter().zip(1..);
        hardware.map(move |(one, ordinal)| (one.name.to_string(), owner.clone(), ordinal))
    });
    functions.collect()
}

/// What the resource of an instance says of it now.
fn spec<'a>(state: &'a State, name: &str, owner: &ResourceId) -> Option<&'a PhysicalSpec> {
    match state.resources.get(owner)? {
        Resource::ServiceFunction(object) => object.spec.hardware(name),
        _ => None,
    }
}

/// Takes up what resources say of their hardware. What is plugged in elsewhere now loses its paths
/// first, where another can take them.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let names: Vec<String> = wanted(&draft.state).into_iter().map(|one| one.0).collect();
    for name in names {
        let Some(instance) = draft.state.instances.get(&name).filter(|i| !i.retiring) else {
            continue;
        };
        let Some(said) = spec(&draft.state, &name, &instance.owner).cloned() else {
            continue;
        };
        let known = instance.hardware.as_ref();
        if known.is_some_and(|known| known.spec == said) {
            continue;
        }
        let same = known.is_some_and(|known| known.spec.is_plugged_as(&said));
        let busy = !same
            && instance.health == InstanceHealth::Running
            && on_a_path(draft, &name)
            && has_stand_in(draft, &name, instance);
        let mut spec = said;
        if busy && let Some(known) = known {
            spec = PhysicalSpec {
                capacity: spec.capacity,
                maintenance: spec.maintenance,
                ..known.spec.clone()
            };
        }
        if known.is_some_and(|known| known.spec == spec) {
            continue;
        }
        let Some(instance) = draft.state.instances.get_mut(&name) else {
            continue;
        };
        if !same && !busy {
            instance.node = Some(spec.node.clone());
            instance.since = 0;
            instance.health = InstanceHealth::Starting;
        }
        let known = instance.hardware.take().filter(|_| same || busy);
        let unknown_since_ms = known.and_then(|known| known.unknown_since_ms);
        instance.hardware = Some(Hardware {
            spec,
            unknown_since_ms,
        });
    }
}

/// Whether a piece of hardware can be used; nothing while that cannot be told, so that it stays as
/// it was.
pub(super) fn runs(draft: &mut Draft<'_>, name: &str, node: &NodeName) -> Option<bool> {
    let now_ms = draft.now_ms;
    let instance = draft.state.instances.get(name)?;
    let hardware = instance.hardware.as_ref()?;
    let ports: Vec<_> = hardware.spec.ports().cloned().collect();
    for port in &ports {
        match draft.observed.port(node, port) {
            Some(PortState::Up) => {}
            Some(_) => return Some(false),
            None => return None,
        }
    }
    let Some(Resource::ServiceFunction(object)) = draft.state.owner(&instance.owner) else {
        return None;
    };
    let asked = hardware
        .spec
        .can_be_asked(object.spec.is_aware(), object.spec.liveness);
    let answers = match draft.observed.answers(node, name) {
        _ if !asked => Some(true),
        HealthState::Alive => Some(true),
        HealthState::Dead => Some(false),
        HealthState::Unknown if instance.health != InstanceHealth::Running => Some(false),
        HealthState::Unknown => None,
    };
    let known_ms = hardware.unknown_since_ms;
    let since_ms = match answers {
        Some(_) => None,
        None => Some(known_ms.unwrap_or(now_ms).min(now_ms)),
    };
    if since_ms != known_ms {
        let instance = draft.state.instances.get_mut(name)?;
        instance.hardware.as_mut()?.unknown_since_ms = since_ms;
    }
    let Some(since_ms) = since_ms else {
        return answers;
    };
    let until_ms = since_ms.saturating_add(UNKNOWN_MS);
    if now_ms >= until_ms {
        return Some(false);
    }
    draft.wake(until_ms);
    None
}

/// Why one cannot be used, as far as its box tells.
pub(crate) fn ailment(
    observed: &Observations,
    node: &NodeName,
    name: &str,
    spec: &PhysicalSpec,
) -> String {
    let mut ports = spec.ports().map(|port| (port, observed.port(node, port)));
    let lost = ports.find_map(|(port, state)| match state {
        Some(PortState::Up) | None => None,
        Some(PortState::NoCarrier) => Some(format!("has no carrier at {port}")),
        Some(PortState::Absent) => Some(format!("has no {port}")),
    });
    lost.unwrap_or_else(|| match observed.answers(node, name) {
        HealthState::Dead => "answers no more".to_owned(),
        HealthState::Unknown | HealthState::Alive => {
            "has not answered; what cannot needs liveness: {by: carrier}".to_owned()
        }
    })
}

/// Until when it is in maintenance, its lead included, and when that changes next.
pub(crate) fn maintenance(spec: &PhysicalSpec, wall_ms: u64) -> (Option<u64>, Option<u64>) {
    let windows = spec.maintenance.iter();
    let begun = windows.clone().filter_map(|window| {
        let ahead = window.covers(wall_ms.saturating_add(LEAD_MS));
        window.covers(wall_ms).or(ahead)
    });
    let ends = begun.max();
    let begins = windows.filter_map(|window| {
        let next = window.next(wall_ms.saturating_add(LEAD_MS))?;
        Some(next.saturating_sub(LEAD_MS))
    });
    let next = begins.chain(ends).filter(|at| *at > wall_ms).min();
    (ends, next)
}

/// Plans again when the next window begins or ends.
pub(super) fn watch_windows(draft: &mut Draft<'_>) {
    let wall_ms = draft.observed.wall(draft.now_ms);
    let hardware = draft.state.instances.values();
    let hardware = hardware.filter_map(|instance| instance.hardware.as_ref());
    let next = hardware.filter_map(|hardware| maintenance(&hardware.spec, wall_ms).1);
    if let Some(next_ms) = next.min() {
        draft.wake(draft.now_ms.saturating_add(next_ms - wall_ms));
    }
}

/// Why a piece of hardware has to be left although it runs.
pub(super) fn unsettled(draft: &Draft<'_>, instance: &Instance) -> Option<String> {
    let hardware = instance.hardware.as_ref()?;
    let wall_ms = draft.observed.wall(draft.now_ms);
    if let (Some(end_ms), _) = maintenance(&hardware.spec, wall_ms) {
        return Some(format!("maintenance until {}", rfc3339(end_ms)));
    }
    let said = spec(&draft.state, hardware.spec.name.as_str(), &instance.owner)?;
    let same = said.is_plugged_as(&hardware.spec);
    (!same).then(|| "it is plugged in elsewhere now".to_owned())
}

/// Chains whose traffic runs, or is about to run, through an instance.
fn chains_on(state: &State, name: &str) -> u32 {
    let on = |path: &&super::PathRecord| {
        !path.is_former() && path.members().any(|on_path| on_path.name == name)
    };
    let chains = state.chains.values();
    let chains = chains.filter(|chain| chain.paths.iter().any(|path| on(&path)));
    u32::try_from(chains.count()).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "a percentage needs no more")]
fn percent(part: u64, whole: u64) -> f32 {
    part as f32 * 100.0 / whole.max(1) as f32
}

/// Load of a piece of hardware in percent of what it can do, and whether that is old; nothing where
/// it is not known.
pub(crate) fn load(
    state: &State,
    observed: &Observations,
    now_ms: u64,
    name: &str,
    instance: &Instance,
) -> Option<(f32, bool)> {
    let (hardware, node) = (instance.hardware.as_ref()?, instance.node.as_ref()?);
    let capacity = hardware.spec.capacity;
    let chains = capacity.chains.map(|chains| {
        let share = percent(chains_on(state, name).into(), chains.into());
        (share, false)
    });
    let Some(traffic) = capacity.traffic else {
        return chains;
    };
    let max_age_ms = state.settings.load_max_age_ms;
    let mut bits = 0;
    let mut stale = false;
    for port in hardware.spec.ports() {
        let (sent, old) = observed.sent(node, port.as_str(), max_age_ms, now_ms)?;
        bits += sent;
        stale |= old;
    }
    let share = percent(bits, traffic.bits());
    Some((share.max(chains.map_or(0.0, |(share, _)| share)), stale))
}

/// Hardware that `chain` may not take because it does all it can.
pub(super) fn full(
    draft: &Draft<'_>,
    chain: &Name,
    functions: &[Name],
    without: &mut BTreeMap<String, String>,
) {
    for (name, instance) in of_types(draft, functions) {
        let Some(hardware) = &instance.hardware else {
            continue;
        };
        let through = draft.paths().chains_through(name, chain);
        let here = |path: &super::PathRecord| path.members().any(|on_path| on_path.name == *name);
        let own = draft.state.chains.get(chain);
        let carries = own.is_some_and(|own| own.paths.iter().any(here));
        let load = load(&draft.state, draft.observed, draft.now_ms, name, instance);
        let reason = match (hardware.spec.capacity.chains, load) {
            (Some(most), _) if through >= most => {
                format!("already carries {through} chains, all it may")
            }
            (_, Some((load, false))) if load >= 100.0 && !carries => {
                format!("is at {load:.0}% of its capacity")
            }
            _ => continue,
        };
        without.insert(name.clone(), reason);
    }
}

/// Instances of types that have hardware: hardware and containers.
pub(super) fn of_types<'a>(
    draft: &'a Draft<'_>,
    functions: &[Name],
) -> Vec<(&'a String, &'a Instance)> {
    let hardware = draft.state.functions().filter(|object| {
        !object.spec.physical.is_empty()
            && functions.contains(object.spec.type_name(&object.metadata.name))
    });
    let types: Vec<_> = hardware
        .map(|object| object.spec.type_name(&object.metadata.name))
        .collect();
    if types.is_empty() {
        return Vec::new();
    }
    let instances = types.into_iter().flat_map(|name| of_type(draft, name));
    let wanted = instances.filter(|(_, instance)| !instance.retiring);
    let wanted: BTreeMap<_, _> = wanted.map(|(name, one)| (name, &**one)).collect();
    wanted.into_iter().collect()
}
