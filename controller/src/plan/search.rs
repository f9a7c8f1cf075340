//! Finds the path that a chain shall have: a scheduler chooses among what the chain may take, what is
//! healthy of its path in hand is kept, and clusters are filled up.

use super::allot::{free_number, leg, route, spis};
use super::choose::{Occasion, leaving};
use super::cluster;
use super::draft::Draft;
use super::instances::of_type;
use super::preference::{bars, release, second_choice};
use super::survey::{Kept, gone};
use super::{ChainRecord, InstanceHealth, PathInstance, PathRecord, Phase};
use super::{rebalance, relief};
use crate::resource::{ChainSpec, Name, ReturnPath};
use crate::scheduler::{Request, from_spec};
use crate::topology::Topology;
use kc_agent_api::NodeName;
use std::collections::BTreeMap;

/// A path for a chain, or why there is none.
pub(super) fn schedule(
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
    let carrying = chain.carrying();
    let attempt = |kept: &Kept, without: &BTreeMap<String, String>| {
        let request = request(draft, topology, chain, spec, kept, without);
        let choice = from_spec(&spec.scheduler).schedule(&request);
        choice
            .map_err(|error| no_path(draft, &error))
            .and_then(|choice| {
                let sets = cluster::sets(draft, topology, spec, carrying, &choice, without);
                let (others, route) = match sets {
                    Some(sets) => sets,
                    None => (Vec::new(), route(topology, spec, &choice)?),
                };
                Ok((choice, others, route))
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
    let (choice, others, route) = match (picky(&idle), occasion) {
        (Err(error), Occasion::Back(_)) => return Err(error),
        (Err(_), Occasion::Overloaded(_)) => anew(&idle)?,
        (Err(_), _) => anew(&idle)
            .or_else(|_| picky(&barred))
            .or_else(|_| anew(&barred))?,
        (found, _) => found?,
    };
    let same = |carrying: &PathRecord| carrying.instances.iter().map(|i| &i.name).eq(&choice.path);
    if back && carrying.is_some_and(same) {
        return Err("there is no way to it".to_owned());
    }
    let number = free_number(draft);
    let others = others.iter().map(Vec::as_slice);
    let others = others.chain(std::iter::repeat(&[][..]));
    let instances = spec
        .functions
        .iter()
        .zip(choice.path.iter().zip(others))
        .filter_map(|(function, (name, others))| {
            let one = |name: &String| {
                Some(PathInstance {
                    function: function.clone(),
                    name: name.clone(),
                    node: NodeName::new(&*topology.function(name)?.sff).ok()?,
                    vlan: leg(draft, chain, name, number),
                    others: Vec::new(),
                    standby: false,
                })
            };
            Some(PathInstance {
                others: others.iter().filter_map(one).collect(),
                standby: !others.is_empty() && cluster::stands_by(draft, name),
                ..one(name)?
            })
        });
    let instances: Vec<_> = instances.collect();
    let is_member = matches!(occasion, Occasion::Member(_));
    if is_member && carrying.is_some_and(|carrying| carrying.instances == instances) {
        return Err("nobody can join it".to_owned());
    }
    let (forward, reverse) = spis(number).ok_or("no path number is left")?;
    Ok(PathRecord {
        forward,
        reverse: (spec.return_path == ReturnPath::Symmetric).then_some(reverse),
        spec: spec.clone().into(),
        instances,
        route,
        explanation: choice.explanation.into(),
        dead: false,
        phase: Phase::Installing {
            waits: BTreeMap::new(),
            until_ms: draft
                .now_ms
                .saturating_add(draft.state.settings.patience_ms),
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
    match occasion {
        Occasion::Changed if !same_choice => return Kept::new(),
        Occasion::Better(_) => return rebalance::clusters(carrying),
        _ => {}
    }
    let relieved = |name: &str| {
        matches!(occasion, Occasion::Overloaded(_)) && relief::overload(draft, name).is_some()
    };
    let is_healthy = |on_path: &&PathInstance| {
        let instance = draft.state.instances.get(&on_path.name);
        instance.is_some_and(|instance| {
            instance.node.as_ref() == Some(&on_path.node)
                && instance.health == InstanceHealth::Running
                && draft.is_ready(&on_path.node)
                && !relieved(&on_path.name)
        }) && leaving(draft, &on_path.name).is_none()
    };
    // Of a cluster whose first has died the next one is the first, and stays it.
    let healthy = carrying.instances.iter();
    let healthy = healthy.filter_map(|on_path| on_path.members().find(is_healthy));
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
