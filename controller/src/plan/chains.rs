//! Make before break: moves every chain's paths through their lives.
//!
//! A path is Installing until every live hop has acknowledged the generation that brought it,
//! Switching until the live classifiers have acknowledged the one that points at it, then
//! Active. Its predecessor is Superseded meanwhile, Draining for a while after, then gone.
//! Waits are filled in by [`super::documents`] in the same plan, once generations are known;
//! an empty wait can therefore only be seen by a later plan if nothing had to be waited for.

use super::choose::choose;
use super::draft::Draft;
use super::survey::fault;
use super::{ChainRecord, ChainStatus, PathRecord, Phase, PlanEventKind, Step};
use crate::resource::{ChainSpec, Kind, Name, ResourceId};
use kc_agent_api::NodeName;
use std::collections::BTreeMap;

/// Name of a chain's resource.
pub(super) fn id(chain: &Name) -> ResourceId {
    ResourceId::new(Kind::Chain, chain.clone())
}

/// Chains users want.
fn wanted(draft: &Draft<'_>) -> BTreeMap<Name, ChainSpec> {
    let wanted = draft.state.chains_wanted();
    // What a chain is watched for is nothing that its path has to change for.
    let spec = |spec: &ChainSpec| ChainSpec {
        alarms: Vec::new(),
        ..spec.clone()
    };
    wanted
        .map(|object| (object.metadata.name.clone(), spec(&object.spec)))
        .collect()
}

/// Moves on what is under way. What this sets free may be removed or moved afterwards.
pub(super) fn progress(draft: &mut Draft<'_>) {
    let wanted = wanted(draft);
    let known: Vec<Name> = draft.state.chains.keys().cloned().collect();
    for name in known {
        let mut chain = draft.state.chains.remove(&name).unwrap_or_default();
        expire(draft, &name, &mut chain);
        for path in &mut chain.paths {
            // What another path replaced does not come back to life.
            path.dead = fault(draft, path).is_some() || path.dead && path.is_former();
        }
        acknowledge(draft, &name, &mut chain);
        match wanted.get(&name) {
            Some(spec) => drop_stale(draft, &name, &mut chain, spec),
            None => withdraw(draft, &name, &mut chain),
        }
        if wanted.contains_key(&name) || !chain.paths.is_empty() {
            draft.state.chains.insert(name, chain);
        } else {
            let message = format!("chain {name} is gone from every box");
            draft.tell(PlanEventKind::ChainRemoved, &id(&name), None, message);
        }
    }
}

/// Finds paths for chains that need one. Sets nothing free.
pub(super) fn begin(draft: &mut Draft<'_>) {
    let mut topology = None;
    for (name, spec) in wanted(draft) {
        let mut chain = draft.state.chains.remove(&name).unwrap_or_default();
        choose(draft, &mut topology, &name, &mut chain, &spec);
        draft.state.chains.insert(name, chain);
    }
}

/// Whether every live node has the generation it shall have.
fn acknowledged(draft: &Draft<'_>, waits: &BTreeMap<NodeName, u64>) -> bool {
    waits.iter().all(|(node, generation)| {
        !draft.is_ready(node) || draft.observed.acknowledged(node) >= *generation
    })
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
    let Phase::Installing { waits } = &installing.phase else {
        return;
    };
    if !acknowledged(draft, waits) {
        return;
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
