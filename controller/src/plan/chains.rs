//! Make before break: moves every chain's paths through their lives.
//!
//! A path is Installing until every live hop has acknowledged the generation that brought it and
//! what is new on it has answered its forwarder, for which it has a few seconds,
//! Switching until the live classifiers have acknowledged the one that points at it, then
//! Active. Its predecessor is Superseded meanwhile, Draining for a while after, then gone.
//! Waits are filled in by [`super::documents`] in the same plan, once generations are known;
//! an empty wait can therefore only be seen by a later plan if nothing had to be waited for.

use super::choose::{Scene, choose};
use super::draft::Draft;
use super::serving::Serving;
use super::survey::fault;
use super::{
    ChainRecord, ChainStatus, PathInstance, PathRecord, Phase, PlanEventKind, State, Step,
};
use crate::observation::Observations;
use crate::resource::{ChainSpec, Kind, Name, Resource, ResourceId};
use crate::shared::Shared;
use kc_agent_api::NodeName;
use std::borrow::Cow;
use std::collections::BTreeMap;

/// Name of a chain's resource.
pub(super) fn id(chain: &Name) -> ResourceId {
    ResourceId::new(Kind::Chain, chain.clone())
}

/// Resources as they are while chains are looked at one by one.
type Resources = Shared<BTreeMap<ResourceId, Resource>>;

/// What users want of a chain, if they want it.
fn wanted<'a>(resources: &'a Resources, name: &Name) -> Option<Cow<'a, ChainSpec>> {
    match resources.get(&id(name)) {
        Some(Resource::Chain(object)) => Some(for_path(&object.spec)),
        _ => None,
    }
}

/// What a path is made from: what a chain is watched for is nothing that its path has to change for.
fn for_path(spec: &ChainSpec) -> Cow<'_, ChainSpec> {
    if spec.alarms.is_empty() {
        return Cow::Borrowed(spec);
    }
    Cow::Owned(ChainSpec {
        alarms: Vec::new(),
        ..spec.clone()
    })
}

/// Whether time and news leave a chain as it is.
fn rests(draft: &Draft<'_>, serving: &Serving<'_>, chain: &ChainRecord) -> bool {
    let fault = |path| serving.fault(draft, path);
    let mut paths = chain.paths.iter();
    paths.all(|path| path.phase == Phase::Active && path.dead == fault(path).is_some())
}

/// Moves on what is under way. What this sets free may be removed or moved afterwards.
pub(super) fn progress(draft: &mut Draft<'_>) {
    let (resources, known) = (draft.state.resources.clone(), draft.state.chains.clone());
    let instances = draft.state.instances.clone();
    let serving = Serving::new(&instances);
    for (name, chain) in &known {
        let spec = wanted(&resources, name);
        if spec.is_some() && rests(draft, &serving, chain) {
            continue;
        }
        let mut chain = chain.clone().into_inner();
        expire(draft, name, &mut chain);
        for path in &mut chain.paths {
            // What another path replaced does not come back to life.
            path.dead = fault(draft, path).is_some() || path.dead && path.is_former();
        }
        acknowledge(draft, name, &mut chain);
        match &spec {
            Some(spec) => drop_stale(draft, name, &mut chain, spec),
            None => withdraw(draft, name, &mut chain),
        }
        if spec.is_some() || !chain.paths.is_empty() {
            draft.state.chains.insert(name.clone(), chain.into());
        } else {
            draft.state.chains.remove(name);
            let message = format!("chain {name} is gone from every box");
            draft.tell(PlanEventKind::ChainRemoved, &id(name), None, message);
        }
    }
    draft.paths_changed();
}

/// Finds paths for chains that need one. Sets nothing free.
pub(super) fn begin(draft: &mut Draft<'_>) {
    let (resources, known) = (draft.state.resources.clone(), draft.state.chains.clone());
    let instances = draft.state.instances.clone();
    let scene = Scene::new(&instances);
    let behind = resources.range(ResourceId::before(Kind::Chain)..);
    let wanted = behind.map_while(|(_, resource)| match resource {
        Resource::Chain(object) => Some((&object.metadata.name, &object.spec)),
        _ => None,
    });
    let first = Shared::default();
    for (name, spec) in wanted {
        let chain = known.get(name).unwrap_or(&first);
        if let Some(chosen) = choose(draft, &scene, name, chain, &for_path(spec)) {
            draft.state.chains.insert(name.clone(), chosen.into());
        }
    }
}

/// Whether every live node has the generation it shall have.
fn acknowledged(draft: &Draft<'_>, waits: &BTreeMap<NodeName, u64>) -> bool {
    waits.iter().all(|(node, generation)| {
        !draft.is_ready(node) || draft.observed.acknowledged(node) >= *generation
    })
}

/// Instances that are new on a path and have yet to answer their forwarder: their process runs, and may
/// not have opened its legs. While traffic has another path that is whole, it stays there for them; where
/// it has none, nothing is lost by trying. Hardware answers before it is used at all.
pub(crate) fn unanswered<'a>(
    state: &State,
    observed: &Observations,
    chain: &ChainRecord,
    path: &'a PathRecord,
) -> Vec<&'a str> {
    let Some(carrying) = chain.carrying().filter(|carrying| !carrying.dead) else {
        return Vec::new();
    };
    let is_new = |on_path: &&PathInstance| {
        let mut known = carrying.members();
        !known.any(|known| known.name == on_path.name && known.node == on_path.node)
    };
    let waited_for = |on_path: &&PathInstance| {
        let Some(instance) = state.instances.get(&on_path.name) else {
            return false;
        };
        let Some(Resource::ServiceFunction(object)) = state.owner(&instance.owner) else {
            return false;
        };
        let container = observed.container(&on_path.node, &on_path.name);
        let known = container.is_some_and(|one| instance.answered.as_ref() == Some(&one.id));
        instance.hardware.is_none() && object.spec.can_be_asked() && !known
    };
    let taking = path.instances.iter().flat_map(PathInstance::active);
    let new = taking.filter(is_new);
    let late = new.filter(waited_for);
    late.map(|on_path| on_path.name.as_str()).collect()
}

/// Takes off paths whose time has come.
fn expire(draft: &mut Draft<'_>, name: &Name, chain: &mut ChainRecord) {
    let now_ms = draft.now_ms;
    // A clock that was set back must not keep a path for ever.
    let latest_ms = now_ms.saturating_add(draft.state.settings.drain_ms);
    for path in &mut chain.paths {
        if let Phase::Draining { until_ms } = &mut path.phase {
            *until_ms = latest_ms.min(*until_ms);
        }
    }
    for path in &chain.paths {
        if let Phase::Draining { until_ms } = path.phase {
            if until_ms <= now_ms {
                uninstalled(draft, name, path);
            } else {
                draft.wake(until_ms);
            }
        }
    }
    let over = |path: &PathRecord| matches!(path.phase, Phase::Draining { until_ms } if until_ms <= now_ms);
    chain.paths.retain(|path| !over(path));
}

fn uninstalled(draft: &mut Draft<'_>, name: &Name, path: &PathRecord) {
    let spi = path.forward;
    draft.steps.push(Step::Uninstall {
        chain: name.clone(),
        spi,
    });
    let message = format!("chain {name}: path {spi} ({}) removed", path.names());
    draft.tell(PlanEventKind::PathRemoved, &id(name), None, message);
}

/// Moves on what was waiting for acknowledgements.
fn acknowledge(draft: &mut Draft<'_>, name: &Name, chain: &mut ChainRecord) {
    let until_ms = draft.now_ms.saturating_add(draft.state.settings.drain_ms);
    let mut active = None;
    for path in &mut chain.paths {
        match &path.phase {
            Phase::Switching { waits } if acknowledged(draft, waits) => {
                path.phase = Phase::Active;
                active = Some(path.forward);
                let message = format!(
                    "chain {name}: traffic runs over path {} ({})",
                    path.forward,
                    path.names()
                );
                draft.tell(PlanEventKind::PathActive, &id(name), None, message);
            }
            Phase::Withdrawing { waits } if acknowledged(draft, waits) => {
                path.phase = Phase::Draining { until_ms };
                draft.wake(until_ms);
                draft.steps.push(Step::Drain {
                    chain: name.clone(),
                    spi: path.forward,
                });
            }
            _ => {}
        }
    }
    if active.is_some() {
        let superseded = chain
            .paths
            .iter_mut()
            .filter(|path| path.phase == Phase::Superseded);
        for path in superseded {
            path.phase = Phase::Draining { until_ms };
            draft.wake(until_ms);
            draft.steps.push(Step::Drain {
                chain: name.clone(),
                spi: path.forward,
            });
        }
    }
}

/// Gives up a path on its way in that is no longer right; turns classifiers to one that is ready.
fn drop_stale(draft: &mut Draft<'_>, name: &Name, chain: &mut ChainRecord, spec: &ChainSpec) {
    let Some(installing) = chain.installing() else {
        return;
    };
    let spi = installing.forward;
    if installing.spec != *spec || fault(draft, installing).is_some() {
        let stale = installing.clone();
        chain.paths.retain(|path| path.forward != spi);
        uninstalled(draft, name, &stale);
        return;
    }
    let Phase::Installing { waits, until_ms } = &installing.phase else {
        return;
    };
    if !acknowledged(draft, waits) {
        return;
    }
    if !unanswered(&draft.state, draft.observed, chain, installing).is_empty() {
        // A clock that was set back must not keep it waiting for ever.
        let latest_ms = draft
            .now_ms
            .saturating_add(draft.state.settings.patience_ms);
        let until_ms = latest_ms.min(*until_ms);
        if draft.now_ms < until_ms {
            draft.wake(until_ms);
            return;
        }
    }
    let from = chain.carrying().map(|path| path.forward);
    for path in &mut chain.paths {
        match path.phase {
            Phase::Switching { .. } | Phase::Active => path.phase = Phase::Superseded,
            _ => {}
        }
        if path.forward == spi {
            path.phase = Phase::Switching {
                waits: BTreeMap::new(),
            };
        }
    }
    draft.steps.push(Step::Switch {
        chain: name.clone(),
        from,
        to: spi,
    });
}

/// Takes a removed chain's traffic off its paths.
fn withdraw(draft: &mut Draft<'_>, name: &Name, chain: &mut ChainRecord) {
    chain.status = ChainStatus::Leaving;
    if let Some(stale) = chain.installing().cloned() {
        chain.paths.retain(|path| path.forward != stale.forward);
        uninstalled(draft, name, &stale);
    }
    for path in &mut chain.paths {
        match path.phase {
            Phase::Switching { .. } | Phase::Active | Phase::Superseded => {
                path.phase = Phase::Withdrawing {
                    waits: BTreeMap::new(),
                };
                draft.steps.push(Step::Withdraw {
                    chain: name.clone(),
                    spi: path.forward,
                });
            }
            _ => {}
        }
    }
}
