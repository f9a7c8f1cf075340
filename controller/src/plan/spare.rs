//! An instance more than wanted, for as long as a change goes on: made as the resource now says, it
//! has to be healthy before those are touched for whom nobody else could stand in. What does not
//! get healthy is seen here first, and nothing that worked has been given up for it.

use super::draft::Draft;
use super::instances::on_a_path;
use super::places::has_stand_in;
use super::rollout::{update, workload};
use super::{Instance, InstanceHealth, PlanEventKind, State};
use crate::resource::{Resource, ResourceId, ServiceNetwork};
use kc_agent_api::{ContainerPhase, ContainerState, Health, UpdatePolicy};
use serde::{Deserialize, Serialize};

/// The spare of one change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spare {
    /// Its number, higher than those of all that are wanted.
    ordinal: u32,
    /// When its image was there, and it was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    made_ms: Option<u64>,
    /// What runs, while nobody checks its health, and since when.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<Run>,
    /// It has shown that it works.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    proven: bool,
    /// Why there is none, and changes are made in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    unplaced: Option<String>,
}

/// One life of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Run {
    started_at: Option<String>,
    since_ms: u64,
}

/// How far a spare is.
enum Progress {
    Proven,
    Open,
    /// No box has room for it.
    Unplaced(String),
    /// It is there, and not healthy.
    Failed(String),
}

impl State {
    /// The number of the spare of a resource, while there shall be one.
    pub(super) fn spare(&self, id: &ResourceId) -> Option<u32> {
        let spare = self.rollouts.get(id)?.spare.as_ref()?;
        spare.unplaced.is_none().then_some(spare.ordinal)
    }
}

/// Whether two of it may run at once: they share no port of a box, no device of it, and nothing that
/// is written to.
fn may_be_doubled(resource: &Resource) -> bool {
    let host = match resource {
        Resource::Service(object) => object.spec.network == ServiceNetwork::Host,
        _ => false,
    };
    let shared = workload(resource).is_some_and(|work| {
        work.mounts.iter().any(|mount| !mount.read_only)
            || work.volumes.iter().any(|volume| !volume.read_only)
            || !work.devices.is_empty()
    });
    !host && !shared && update(resource).may_surge()
}

/// Whether the change of `name` would take away what nobody else does.
fn is_alone(draft: &Draft<'_>, name: &str, instance: &Instance) -> bool {
    let serves = match draft.state.function_type(&instance.owner) {
        Some(_) => on_a_path(draft, name),
        None => true,
    };
    instance.health == InstanceHealth::Running && serves && !has_stand_in(draft, name, instance)
}

/// Whether `name` may be changed now; asks for a spare where that is what it waits for.
pub(super) fn may_go(draft: &mut Draft<'_>, id: &ResourceId, name: &str) -> bool {
    let (Some(instance), Some(resource)) = (draft.state.instances.get(name), draft.state.owner(id))
    else {
        return true;
    };
    let record = draft.state.rollouts.get(id);
    if let Some(spare) = record.and_then(|record| record.spare.as_ref()) {
        return spare.proven || spare.unplaced.is_some();
    }
    if !is_alone(draft, name, instance) || !may_be_doubled(resource) {
        return true;
    }
    let ordinal = free_ordinal(&draft.state, id);
    if let Some(record) = draft.state.rollouts.get_mut(id) {
        record.spare = Some(Spare {
            ordinal,
            ..Spare::default()
        });
    }
    let message = format!("{}-{ordinal} shall stand in for {name}", id.name);
    draft.tell(PlanEventKind::Updating, id, None, message);
    draft.wake(draft.now_ms);
    false
}

/// The lowest number above those wanted that nobody has, not even one that is about to go.
fn free_ordinal(state: &State, id: &ResourceId) -> u32 {
    let last = state.ordinals(id).last().copied().unwrap_or(0);
    let taken = |ordinal: &u32| {
        !state
            .instances
            .contains_key(&format!("{}-{ordinal}", id.name))
    };
    (last.saturating_add(1)..).find(taken).unwrap_or(u32::MAX)
}

/// Sees how far the spare of `id` is. One that does not get healthy stops the change.
pub(super) fn judge(draft: &mut Draft<'_>, id: &ResourceId) {
    let Some(ordinal) = draft.state.spare(id) else {
        return;
    };
    let name = format!("{}-{ordinal}", id.name);
    let progress = progress(draft, id, &name);
    let Some(record) = draft.state.rollouts.get_mut(id) else {
        return;
    };
    let Some(spare) = record.spare.as_mut() else {
        return;
    };
    match progress {
        Progress::Open => {}
        Progress::Proven => spare.proven = true,
        Progress::Unplaced(why) => {
            let message = format!("no room for {name}, changing in place: {why}");
            spare.unplaced = Some(why);
            draft.tell(PlanEventKind::Updating, id, None, message);
        }
        Progress::Failed(why) => {
            let message = format!("{name}, made beside the others, {why}");
            record.spare = None;
            record.stopped = Some(message.clone());
            let instance = draft.state.instances.get(&name);
            let node = instance.and_then(|instance| instance.node.clone());
            draft.tell(PlanEventKind::UpdateStopped, id, node.as_ref(), message);
        }
    }
}

fn progress(draft: &mut Draft<'_>, id: &ResourceId, name: &str) -> Progress {
    let Some(instance) = draft.state.instances.get(name) else {
        return Progress::Open;
    };
    if let Some(why) = &instance.waiting {
        return Progress::Unplaced(why.clone());
    }
    let runs = instance.health == InstanceHealth::Running;
    let node = instance.node.as_ref();
    let Some(container) = node.and_then(|node| draft.observed.container(node, name)) else {
        return Progress::Open;
    };
    match container.health {
        Some(Health::Unhealthy) => return Progress::Failed("is unhealthy".to_owned()),
        Some(Health::Healthy) if runs => return Progress::Proven,
        // An image may take its time, and a registry may be away: nothing is lost by waiting.
        _ if container.id.is_empty() => return Progress::Open,
        _ => {}
    }
    let (started_at, why) = (container.started_at.clone(), why_not(container));
    let policy = draft
        .state
        .owner(id)
        .map(|resource| update(resource).policy());
    let deadline_ms = policy.map_or(0, |policy| u64::from(policy.deadline_ms));
    let now_ms = draft.now_ms;
    let record = draft.state.rollouts.get_mut(id);
    let Some(spare) = record.and_then(|record| record.spare.as_mut()) else {
        return Progress::Open;
    };
    let made_ms = *spare.made_ms.get_or_insert(now_ms);
    let run = Run {
        started_at,
        since_ms: now_ms,
    };
    let same = spare.run.take();
    let same = same.filter(|before| before.started_at == run.started_at);
    spare.run = runs.then(|| same.unwrap_or(run));
    let until_ms = match &spare.run {
        Some(run) => run
            .since_ms
            .saturating_add(UpdatePolicy::PROOF_MS.min(deadline_ms)),
        None => made_ms.saturating_add(deadline_ms),
    };
    if now_ms < until_ms {
        draft.wake(until_ms);
        return Progress::Open;
    }
    if runs {
        return Progress::Proven;
    }
    let seconds = deadline_ms.div_ceil(1_000);
    Progress::Failed(format!("{why} after {seconds} s"))
}

fn why_not(container: &ContainerState) -> String {
    match (container.phase, &container.error, container.exit_code) {
        (ContainerPhase::Running, ..) => "is not healthy".to_owned(),
        (_, Some(error), _) => format!("does not start ({error})"),
        (_, None, Some(code)) => format!("ends with {code}"),
        (_, None, None) => "does not start".to_owned(),
    }
}
