//! Decides whether a chain needs a new path, and which. What is healthy stays: a path is left
//! only when an instance on it died or has to go, or the chain itself was changed; and of a
//! path that is left, healthy instances are kept, because they hold their flows' state.

use super::chains::id;
use super::cluster;
use super::draft::Draft;
use super::places::unsettled;
use super::preference::{bars, going_back, has_first_choice};
use super::search::schedule;
use super::serving::Serving;
use super::survey::topology;
use super::{
    ChainRecord, ChainStatus, Instance, InstanceHealth, PathRecord, Phase, PlanEventKind, Step,
};
use super::{rebalance, relief};
use crate::resource::{Algorithm, ChainSpec, Length, Name};
use crate::shared::Shared;
use crate::topology::Topology;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// Why a new path is wanted.
pub(super) enum Occasion {
    /// The chain carries nothing yet.
    First,
    /// The chain was changed.
    Changed,
    /// The path is dead.
    Fault(String),
    /// An instance has to go, and still runs.
    Leaving(String),
    /// An instance is overloaded, and another can take the chain.
    Overloaded(String),
    /// Another path has been better for long enough.
    Better(String),
    /// What the chain prefers can be used again.
    Back(String),
    /// A member of a cluster comes or goes, and another carries.
    Member(String),
}

impl Occasion {
    fn text(&self) -> &str {
        match self {
            Self::First => "first path",
            Self::Changed => "the chain was changed",
            Self::Fault(reason)
            | Self::Leaving(reason)
            | Self::Overloaded(reason)
            | Self::Back(reason)
            | Self::Member(reason)
            | Self::Better(reason) => reason,
        }
    }
}

fn occasion(
    draft: &Draft<'_>,
    serving: &Serving<'_>,
    name: &Name,
    chain: &ChainRecord,
    spec: &ChainSpec,
) -> Option<Occasion> {
    let Some(carrying) = chain.carrying() else {
        return Some(Occasion::First);
    };
    if let Some(reason) = serving.fault(draft, carrying) {
        return Some(Occasion::Fault(reason));
    }
    if carrying.spec != *spec {
        return Some(Occasion::Changed);
    }
    carrying
        .instances
        .iter()
        .filter(|on_path| on_path.others.is_empty() && !serving.stays(draft, &on_path.name))
        .find_map(|on_path| leaving(draft, &on_path.name))
        .map(Occasion::Leaving)
        .or_else(|| member(draft, name, chain, spec).map(Occasion::Member))
        .or_else(|| relief::wanted(draft, name, chain).map(Occasion::Overloaded))
}

/// Why a cluster on the path shall have other members.
fn member(draft: &Draft<'_>, name: &Name, chain: &ChainRecord, spec: &ChainSpec) -> Option<String> {
    let carrying = chain.carrying()?;
    let clustered = carrying
        .instances
        .iter()
        .any(|on_path| !on_path.others.is_empty() || draft.state.lacking(on_path).is_some());
    if !clustered {
        return None;
    }
    let mut without = relief::without(draft, name, chain, &spec.functions);
    without.extend(bars(draft, name, spec));
    let mut places = carrying.instances.iter();
    places.find_map(|on_path| cluster::change(draft, carrying, on_path, &without))
}

/// Why an instance has to leave its paths although it runs.
pub(super) fn leaving(draft: &Draft<'_>, name: &str) -> Option<String> {
    let instance = draft.state.instances.get(name)?;
    if instance.retiring {
        return Some(format!("{name} is retiring"));
    }
    if draft.state.gives_way(name, &instance.owner) {
        return Some(format!("{name} is about to be changed"));
    }
    let reason = unsettled(draft, instance)?;
    Some(format!("{name} has to {}: {reason}", instance.verb()))
}

/// What all chains of one plan are chosen on, found for the first that needs it. Choosing changes
/// nothing of it.
pub(super) struct Scene<'a> {
    serving: Serving<'a>,
    topology: OnceCell<Topology>,
    /// The same in milliseconds.
    latency: OnceCell<Topology>,
    /// Types of instances that are starting.
    starting: OnceCell<BTreeSet<Name>>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(instances: &'a BTreeMap<String, Shared<Instance>>) -> Self {
        Self {
            serving: Serving::new(instances),
            topology: OnceCell::new(),
            latency: OnceCell::new(),
            starting: OnceCell::new(),
        }
    }

    fn topology(&self, draft: &Draft<'_>, length: Length) -> &Topology {
        let known = match length {
            Length::Hops => &self.topology,
            Length::Latency => &self.latency,
        };
        known.get_or_init(|| topology(draft, length))
    }

    fn starting(&self, draft: &Draft<'_>) -> &BTreeSet<Name> {
        let starts = |instance: &&Shared<Instance>| {
            let node = instance.node.as_ref();
            instance.health == InstanceHealth::Starting
                && !instance.retiring
                && node.is_some_and(|node| draft.is_ready(node))
        };
        let find = || {
            let starting = draft.state.instances.values().filter(starts);
            let types = starting.filter_map(|i| draft.state.function_type(&i.owner));
            types.cloned().collect()
        };
        self.starting.get_or_init(find)
    }
}

/// Whether a chain whose path is whole may want another.
fn looks_around(chain: &ChainRecord, spec: &ChainSpec) -> bool {
    spec.scheduler.rebalance.is_some()
        || chain.better_since_ms.is_some()
        || has_first_choice(spec)
        || !chain.back.is_default()
}

/// Chooses a path where one is needed, and says how the chain is; nothing where that is as it was.
pub(super) fn choose(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    name: &Name,
    known: &Shared<ChainRecord>,
    spec: &ChainSpec,
) -> Option<ChainRecord> {
    let mut occasion = occasion(draft, &scene.serving, name, known, spec);
    if occasion.is_none() && !looks_around(known, spec) && status(known, None, None) == known.status
    {
        return None;
    }
    let mut chain = known.clone().into_inner();
    if occasion.is_none() {
        occasion = going_back(draft, name, &mut chain, spec).map(Occasion::Back);
    }
    if occasion.is_none() && rebalance::is_due(draft, &mut chain, spec) {
        let topology = scene.topology(draft, spec.scheduler.length);
        occasion = rebalance::better(draft, topology, name, &mut chain, spec).map(Occasion::Better);
    }
    let mut refusal = None;
    if let Some(occasion) = &occasion
        && chain.installing().is_none()
    {
        let early = match occasion {
            Occasion::First => patience(draft, scene, &mut chain, spec),
            _ => None,
        };
        let chosen = match early {
            Some(reason) => Err(reason),
            None => {
                let topology = scene.topology(draft, spec.scheduler.length);
                schedule(draft, topology, name, &chain, spec, occasion)
            }
        };
        match chosen {
            Ok(path) => install(draft, name, &mut chain, path, occasion),
            Err(reason) => refusal = Some(reason),
        }
    }
    let status = status(&chain, occasion.as_ref(), refusal);
    report(draft, name, &chain.status, &status);
    chain.status = status;
    (chain != **known).then_some(chain)
}

/// Why a first path waits: what starts late would otherwise never be chosen.
fn patience(
    draft: &mut Draft<'_>,
    scene: &Scene<'_>,
    chain: &mut ChainRecord,
    spec: &ChainSpec,
) -> Option<String> {
    let since_ms = chain.since_ms.unwrap_or(draft.now_ms).min(draft.now_ms);
    chain.since_ms = Some(since_ms);
    let until_ms = since_ms.saturating_add(draft.state.settings.patience_ms);
    let starting = scene.starting(draft);
    let starting = spec.functions.iter().any(|name| starting.contains(name));
    if !starting || draft.now_ms >= until_ms {
        return None;
    }
    draft.wake(until_ms);
    let seconds = draft.state.settings.patience_ms / 1_000;
    Some(format!("instances are starting; it gives them {seconds} s"))
}

fn status(
    chain: &ChainRecord,
    occasion: Option<&Occasion>,
    refusal: Option<String>,
) -> ChainStatus {
    let coming = chain.installing().is_some();
    let switching = chain
        .carrying()
        .is_some_and(|path| matches!(path.phase, Phase::Switching { .. }));
    match (occasion, refusal) {
        (Some(Occasion::First), Some(reason)) => ChainStatus::Waiting { reason },
        (Some(Occasion::Fault(fault)), Some(reason)) => ChainStatus::Broken {
            reason: format!("{fault}; {reason}"),
        },
        (Some(Occasion::Changed), Some(reason)) => ChainStatus::Changing {
            reason: format!("the former path stays: {reason}"),
        },
        (Some(occasion), None) if coming => ChainStatus::Changing {
            reason: occasion.text().to_owned(),
        },
        _ if switching => ChainStatus::Changing {
            reason: "classifiers are being turned".to_owned(),
        },
        _ => ChainStatus::Ready,
    }
}

fn report(draft: &mut Draft<'_>, name: &Name, before: &ChainStatus, after: &ChainStatus) {
    if before == after {
        return;
    }
    let (kind, message) = match after {
        ChainStatus::Waiting { reason } => (
            PlanEventKind::ChainWaiting,
            format!("chain {name} waits: {reason}"),
        ),
        ChainStatus::Broken { reason } => (
            PlanEventKind::ChainBroken,
            format!("chain {name} is broken: {reason}"),
        ),
        ChainStatus::Ready if matches!(before, ChainStatus::Broken { .. }) => (
            PlanEventKind::ChainMended,
            format!("chain {name} is whole again"),
        ),
        _ => return,
    };
    if let Some(reason) = after.reason() {
        draft.steps.push(Step::Hold {
            chain: name.clone(),
            why: reason.to_owned(),
        });
    }
    draft.tell(kind, &id(name), None, message);
}

fn install(
    draft: &mut Draft<'_>,
    name: &Name,
    chain: &mut ChainRecord,
    path: PathRecord,
    occasion: &Occasion,
) {
    draft.state.last_path = path.forward.get() / 2;
    let taken: Vec<_> = path.members().map(|i| i.name.clone()).collect();
    relief::note(draft, chain, &taken);
    chain.better_since_ms = None;
    chain.draws = chain.draws.saturating_add(1);
    match occasion {
        Occasion::Back(_) => chain.back.goes(draft.now_ms),
        Occasion::Fault(_) => chain.back.falls(draft.now_ms),
        _ => {}
    }
    if path.spec.scheduler.algorithm == Algorithm::RoundRobin {
        for on_path in &path.instances {
            draft
                .state
                .rotation
                .insert(on_path.function.clone(), on_path.name.clone());
        }
    }
    let spi = path.forward;
    let story = match (occasion, chain.carrying()) {
        (Occasion::First, _) | (_, None) => format!("chain {name}: path {spi}: {}", path.names()),
        (occasion, Some(old)) => format!(
            "chain {name}: {}; path {} -> {spi}: {}",
            occasion.text(),
            old.forward,
            path.names()
        ),
    };
    let lacking = path.instances.iter();
    let lacking = lacking.filter_map(|on_path| draft.state.lacking(on_path));
    let story = std::iter::once(story)
        .chain(lacking)
        .collect::<Vec<_>>()
        .join("; ");
    draft.tell(PlanEventKind::PathChosen, &id(name), None, story);
    draft.steps.push(Step::Install {
        chain: name.clone(),
        spi,
        reverse: path.reverse,
        instances: path
            .instances
            .iter()
            .map(|on_path| {
                let each = on_path.members().map(|i| format!("{}@{}", i.name, i.node));
                each.collect::<Vec<_>>().join("+")
            })
            .collect(),
        why: occasion.text().to_owned(),
    });
    draft.path_added(name, &path);
    chain.paths.push(path);
}
