//! Decides whether a chain needs a new path, and which. What is healthy stays: a path is left
//! only when an instance on it died or has to go, or the chain itself was changed; and of a
//! path that is left, healthy instances are kept, because they hold their flows' state.

use super::chains::id;
use super::draft::Draft;
use super::instances::of_type;
use super::places::unsettled;
use super::preference::{bars, going_back, has_first_choice, release, second_choice};
use super::survey::{Kept, fault, gone, topology};
use super::{
    ChainRecord, ChainStatus, Instance, InstanceHealth, PathInstance, PathRecord, Phase,
    PlanEventKind, Step,
};
use super::{rebalance, relief};
use crate::resource::{Algorithm, ChainSpec, LegSharing, Length, Name, Resource, ReturnPath};
use crate::scheduler::{Choice, Request, from_spec};
use crate::shared::Shared;
use crate::topology::Topology;
use kc_agent_api::NodeName;
use kc_forwarder_api::{Spi, Vid};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// The first VLAN that a chain's legs may have. 1 is left out: many a switch takes it for none.
const FIRST_LEG: u16 = 2;

/// Numbers a path may have, so that 2n and 2n+1 are SPIs.
const PATHS: u32 = 1 << 23;

/// Why a new path is wanted.
enum Occasion {
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
            | Self::Better(reason) => reason,
        }
    }
}

fn occasion(
    draft: &Draft<'_>,
    name: &Name,
    chain: &ChainRecord,
    spec: &ChainSpec,
) -> Option<Occasion> {
    let Some(carrying) = chain.carrying() else {
        return Some(Occasion::First);
    };
    if let Some(reason) = fault(draft, carrying) {
        return Some(Occasion::Fault(reason));
    }
    if carrying.spec != *spec {
        return Some(Occasion::Changed);
    }
    carrying
        .instances
        .iter()
        .find_map(|on_path| leaving(draft, &on_path.name))
        .map(Occasion::Leaving)
        .or_else(|| relief::wanted(draft, name, chain).map(Occasion::Overloaded))
}

/// Why an instance has to leave its paths although it runs.
fn leaving(draft: &Draft<'_>, name: &str) -> Option<String> {
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
#[derive(Default)]
pub(super) struct Scene {
    topology: OnceCell<Topology>,
    /// The same in milliseconds.
    latency: OnceCell<Topology>,
    /// Types of instances that are starting.
    starting: OnceCell<BTreeSet<Name>>,
}

impl Scene {
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
    scene: &mut Scene,
    name: &Name,
    known: &Shared<ChainRecord>,
    spec: &ChainSpec,
) -> Option<ChainRecord> {
    let mut occasion = occasion(draft, name, known, spec);
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
    scene: &Scene,
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

fn schedule(
    draft: &Draft<'_>,
    topology: &Topology,
    name: &Name,
    chain: &ChainRecord,
    spec: &ChainSpec,
    occasion: &Occasion,
) -> Result<PathRecord, String> {
    for end in [&spec.from, &spec.to] {
        if let Some(reason) = gone(draft, &end.node) {
            return Err(format!("{} {reason}", end.node));
        }
    }
    let back = matches!(occasion, Occasion::Back(_));
    let mut kept = kept(draft, chain, spec, occasion);
    if back {
        release(draft, name, chain, spec, &mut kept);
    }
    let barred = bars(draft, name, spec);
    // Where the overloaded ones are all there is, a chain that has nothing takes them.
    let mut idle = relief::without(draft, name, chain, &spec.functions);
    idle.extend(barred.clone());
    let attempt = |kept: &Kept, without: &BTreeMap<String, String>| {
        let request = request(draft, topology, chain, spec, kept, without);
        let choice = from_spec(&spec.scheduler).schedule(&request);
        choice
            .map_err(|error| no_path(draft, &error))
            .and_then(|choice| {
                let route = route(topology, spec, &choice)?;
                Ok((choice, route))
            })
    };
    let picky = |without| {
        let first = |kept: &Kept| attempt(kept, &second_choice(draft, spec, kept, without));
        match first(&kept) {
            Err(_) if !kept.is_empty() && !back => first(&Kept::new()),
            other => other,
        }
    };
    let anew = |without| match attempt(&kept, without) {
        Err(_) if !kept.is_empty() => attempt(&Kept::new(), without),
        other => other,
    };
    let (choice, route) = match (picky(&idle), occasion) {
        (Err(error), Occasion::Back(_)) => return Err(error),
        (Err(_), Occasion::Overloaded(_)) => anew(&idle)?,
        (Err(_), _) => anew(&idle)
            .or_else(|_| picky(&barred))
            .or_else(|_| anew(&barred))?,
        (found, _) => found?,
    };
    let same = |carrying: &PathRecord| carrying.instances.iter().map(|i| &i.name).eq(&choice.path);
    if back && chain.carrying().is_some_and(same) {
        return Err("there is no way to it".to_owned());
    }
    let number = free_number(draft);
    let instances = spec
        .functions
        .iter()
        .zip(&choice.path)
        .filter_map(|(function, name)| {
            Some(PathInstance {
                function: function.clone(),
                name: name.clone(),
                node: NodeName::new(topology.function(name)?.sff.as_str()).ok()?,
                vlan: leg(draft, chain, name, number),
            })
        });
    let (forward, reverse) = spis(number).ok_or("no path number is left")?;
    Ok(PathRecord {
        forward,
        reverse: (spec.return_path == ReturnPath::Symmetric).then_some(reverse),
        spec: spec.clone().into(),
        instances: instances.collect(),
        route,
        explanation: choice.explanation.into(),
        dead: false,
        phase: Phase::Installing {
            waits: BTreeMap::new(),
        },
    })
}

/// What a scheduler is asked for a chain.
pub(super) fn request<'a>(
    draft: &'a Draft<'_>,
    topology: &'a Topology,
    chain: &ChainRecord,
    spec: &'a ChainSpec,
    kept: &'a Kept,
    without: &'a BTreeMap<String, String>,
) -> Request<'a> {
    Request {
        topology,
        functions: &spec.functions,
        ingress: Some(spec.from.node.as_str()),
        egress: Some(spec.to.node.as_str()),
        rotation: &draft.state.rotation,
        draws: chain.draws,
        kept,
        without,
        missing: spec.scheduler.missing_load,
    }
}

/// Instances of the path in hand that a new one keeps.
fn kept(draft: &Draft<'_>, chain: &ChainRecord, spec: &ChainSpec, occasion: &Occasion) -> Kept {
    let Some(carrying) = chain.carrying() else {
        return Kept::new();
    };
    let same_choice =
        carrying.spec.functions == spec.functions && carrying.spec.scheduler == spec.scheduler;
    if matches!(occasion, Occasion::Changed) && !same_choice
        || matches!(occasion, Occasion::Better(_))
    {
        return Kept::new();
    }
    let relieved = |name: &str| {
        matches!(occasion, Occasion::Overloaded(_)) && relief::overload(draft, name).is_some()
    };
    let healthy = carrying.instances.iter().filter(|on_path| {
        let instance = draft.state.instances.get(&on_path.name);
        instance.is_some_and(|instance| {
            instance.node.as_ref() == Some(&on_path.node)
                && instance.health == InstanceHealth::Running
                && draft.is_ready(&on_path.node)
                && !relieved(&on_path.name)
        }) && leaving(draft, &on_path.name).is_none()
    });
    healthy
        .map(|on_path| (on_path.function.clone(), on_path.name.clone()))
        .collect()
}

fn no_path(draft: &Draft<'_>, error: &crate::scheduler::NoPath) -> String {
    let instances = of_type(draft, &error.function);
    let unplaced: BTreeMap<_, _> = instances
        .filter(|(_, i)| i.node.is_none() && !i.retiring)
        .collect();
    let unplaced: Vec<_> = unplaced
        .into_keys()
        .map(|name| format!("{name} has no place"))
        .collect();
    match (error.left.is_empty(), unplaced.is_empty()) {
        (_, true) => error.to_string(),
        (true, false) => {
            format!(
                "no instance of {} can be used: {}",
                error.function,
                unplaced.join("; ")
            )
        }
        (false, false) => format!("{error}; {}", unplaced.join("; ")),
    }
}

/// The boxes from each stop to the next.
fn route(
    topology: &Topology,
    spec: &ChainSpec,
    choice: &Choice,
) -> Result<Vec<Vec<NodeName>>, String> {
    let functions = choice
        .path
        .iter()
        .filter_map(|name| topology.function(name));
    let stops: Vec<&str> = std::iter::once(spec.from.node.as_str())
        .chain(functions.map(|function| function.sff.as_str()))
        .chain([spec.to.node.as_str()])
        .collect();
    stops
        .windows(2)
        .map(|pair| {
            let [from, to] = pair else {
                return Ok(Vec::new());
            };
            let mut leg = vec![*from];
            let mut here = *from;
            while here != *to {
                here = topology
                    .next_sff(here, to)
                    .ok_or_else(|| format!("there is no way from {from} to {to}"))?;
                leg.push(here);
            }
            leg.into_iter()
                .map(|node| NodeName::new(node).map_err(|error| error.to_string()))
                .collect()
        })
        .collect()
}

/// The next path number that no path has.
fn free_number(draft: &Draft<'_>) -> u32 {
    let mut number = draft.state.last_path;
    loop {
        number = (number + 1) % PATHS;
        if number != 0 && !draft.paths().has_number(number) {
            return number;
        }
    }
}

/// The VLAN of a chain on the legs of an instance, where it has one of its own. Successive paths
/// of a chain keep it, and with it what the function knows of their flows. `number`, of the path
/// that is the first to need it, is where the search for a free one begins, so that one that has
/// become free is not taken again at once.
fn leg(draft: &Draft<'_>, chain: &ChainRecord, name: &str, number: u32) -> Option<Vid> {
    let instance = draft.state.instances.get(name)?;
    let Resource::ServiceFunction(function) = draft.state.owner(&instance.owner)? else {
        return None;
    };
    if function.spec.legs == LegSharing::Shared {
        return None;
    }
    let on = |path: &'_ PathRecord| -> Vec<Vid> {
        let here = path.instances.iter().filter(|on_path| on_path.name == name);
        here.filter_map(|on_path| on_path.vlan).collect()
    };
    if let Some(own) = chain.paths.iter().rev().flat_map(on).next() {
        return Some(own);
    }
    let taken = draft.paths().vlans(name);
    let count = u32::from(Vid::MAX.get() - FIRST_LEG + 1);
    let nth = |n: u32| Vid::new(FIRST_LEG + u16::try_from(n % count).ok()?).ok();
    (number..number + count)
        .filter_map(nth)
        .find(|vlan| !taken.contains(vlan))
}

fn spis(number: u32) -> Option<(Spi, Spi)> {
    let forward = number.checked_mul(2)?;
    Some((
        Spi::new(forward).ok()?,
        Spi::new(forward.checked_add(1)?).ok()?,
    ))
}

fn install(
    draft: &mut Draft<'_>,
    name: &Name,
    chain: &mut ChainRecord,
    path: PathRecord,
    occasion: &Occasion,
) {
    draft.state.last_path = path.forward.get() / 2;
    let taken: Vec<_> = path.instances.iter().map(|i| i.name.clone()).collect();
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
    draft.tell(PlanEventKind::PathChosen, &id(name), None, story);
    draft.steps.push(Step::Install {
        chain: name.clone(),
        spi,
        reverse: path.reverse,
        instances: path
            .instances
            .iter()
            .map(|i| format!("{}@{}", i.name, i.node))
            .collect(),
        why: occasion.text().to_owned(),
    });
    draft.path_added(name, &path);
    chain.paths.push(path);
}
