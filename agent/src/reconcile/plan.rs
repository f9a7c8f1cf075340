//! The whole box: every entry's next step, what has left the document, the box's own legs, and
//! whether the tables may be applied.

use super::container::{self, earliest};
use super::{
    Action, Backoffs, Lane, LegState, Observed, Part, Phase, Pulled, Rollouts, Vitals, leg_state,
};
use kc_agent_api::NodeSpec;
use std::collections::BTreeSet;

/// Alias of the box's own legs, by which one that nobody wants any more is known.
pub const HOST_LEG_ALIAS: &str = "kcluster host leg";

/// How long new tables wait for legs that are being made.
const TABLES_PATIENCE_MS: u64 = 2_000;

/// What the shell remembers between two decisions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Memory {
    /// Lanes with a step under way.
    pub in_flight: BTreeSet<Lane>,
    /// Images known to be on the box: document name, part, fingerprint of what is made from it.
    pub images: BTreeSet<(String, Part, String)>,
    /// Who has to wait.
    pub backoffs: Backoffs,
    /// When the document was taken up.
    pub accepted_ms: u64,
    /// How far the forwarder is.
    pub tables: TablesProgress,
    /// How well containers are.
    pub vitals: Vitals,
    /// Changed containers on trial.
    pub rollouts: Rollouts,
    /// Images that were pulled here.
    pub pulled: Pulled,
    /// Whether the engine's disk is so full that images shall go.
    pub disk_full: bool,
    /// The document is known to be an old one: what is missing is made, what runs is left,
    /// whether this document knows it or not.
    pub outdated: bool,
}

/// How far the forwarder is with the document's tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TablesProgress {
    /// They are not handed over yet.
    #[default]
    Due,
    /// Handed over; the answer is on its way.
    Waiting,
    /// In force.
    Applied,
    /// Refused, or no forwarder to be had: nothing to wait for.
    Hopeless,
}

/// What a decision is made from.
#[derive(Debug, Clone, Copy)]
pub struct World<'a> {
    /// What shall be.
    pub spec: &'a NodeSpec,
    /// What is.
    pub seen: &'a Observed,
    /// What is under way.
    pub memory: &'a Memory,
    /// Image of pause containers.
    pub pause_image: &'a str,
    /// Milliseconds of any clock that never goes back.
    pub now_ms: u64,
}

/// What to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Steps, at most one a lane, in document order, removals last.
    pub actions: Vec<Action>,
    /// Hand the tables to the forwarder now.
    pub apply_tables: bool,
    /// Ask again at this time, should nothing happen before.
    pub wake_at_ms: Option<u64>,
}

/// Decides what to do next.
pub fn reconcile(world: &World<'_>) -> Plan {
    let mut plan = Plan::default();
    let mut wiring = host_legs(world, &mut plan);
    if world.seen.engine {
        for want in &world.spec.containers {
            let next = container::next(want, world);
            wiring |= next.wiring;
            plan.actions.extend(next.actions);
            plan.wake_at_ms = earliest(plan.wake_at_ms, next.wake_at_ms);
        }
        probes(world, &mut plan);
    }
    if world.memory.tables == TablesProgress::Due {
        let patience_ends = world.memory.accepted_ms.saturating_add(TABLES_PATIENCE_MS);
        plan.apply_tables = !wiring || world.now_ms >= patience_ends;
        if !plan.apply_tables {
            plan.wake_at_ms = earliest(plan.wake_at_ms, Some(patience_ends));
        }
    }
    let settled = matches!(
        world.memory.tables,
        TablesProgress::Applied | TablesProgress::Hopeless
    );
    if settled && !world.memory.outdated {
        retire(world, &mut plan);
    }
    if world.memory.disk_full && world.seen.engine && !world.memory.outdated {
        let images = world.memory.pulled.surplus(world);
        if !images.is_empty() {
            push(world, &mut plan, Action::Collect { images });
        }
    }
    plan
}

/// Health checks that are due, and when the next one is.
fn probes(world: &World<'_>, plan: &mut Plan) {
    for want in &world.spec.containers {
        let lane = Lane::Probe(want.name.clone());
        match world.memory.vitals.due(want) {
            Some(_) if world.memory.in_flight.contains(&lane) => {}
            Some(due) if due > world.now_ms => {
                plan.wake_at_ms = earliest(plan.wake_at_ms, Some(due));
            }
            Some(_) => plan.actions.extend(container::probe(want, world.seen)),
            None => {}
        }
    }
}

/// Legs of the box itself; says whether one is still missing.
fn host_legs(world: &World<'_>, plan: &mut Plan) -> bool {
    let mut wiring = false;
    for leg in &world.spec.host_legs {
        let host = &world.seen.host;
        if leg_state(leg, Some(host), host) != LegState::Wired {
            wiring |= push(world, plan, Action::WireHost { leg: leg.clone() });
        }
    }
    wiring
}

/// Emits `action` unless its lane is busy or backing off. Says whether it may run now.
fn push(world: &World<'_>, plan: &mut Plan, action: Action) -> bool {
    let lane = action.lane();
    if world.memory.in_flight.contains(&lane) {
        return true;
    }
    if let Some(until) = world.memory.backoffs.waits(&lane, world.now_ms) {
        plan.wake_at_ms = earliest(plan.wake_at_ms, Some(until));
        return false;
    }
    plan.actions.push(action);
    true
}

/// Removes what has left the document: containers before the namespaces they sit in.
fn retire(world: &World<'_>, plan: &mut Plan) {
    let wanted = |name: &str| world.spec.containers.iter().any(|want| want.name == name);
    let mut taken = BTreeSet::new();
    for part in [Part::Main, Part::Pause] {
        for seen in &world.seen.containers {
            let leaves = world.seen.engine
                && seen.part == part
                && seen.phase != Phase::Removing
                && !wanted(&seen.name);
            if leaves && taken.insert(seen.name.clone()) {
                let action = Action::Remove {
                    name: seen.name.clone(),
                    part,
                    id: seen.id.clone(),
                    why: "it has left the document",
                };
                push(world, plan, action);
            }
        }
    }
    for (port, link) in &world.seen.host {
        let ours = link.alias.as_deref() == Some(HOST_LEG_ALIAS);
        let wanted = world
            .spec
            .host_legs
            .iter()
            .any(|leg| leg.port.as_str() == port);
        if ours && !wanted {
            push(world, plan, Action::UnwireHost { port: port.clone() });
        }
    }
}
