//! An instance more than wanted, for as long as a change goes on: made as the resource now says, it
//! has to be healthy before those are touched for whom nobody else could stand in. What does not
//! get healthy is seen here first, and nothing that worked has been given up for it.

use super::draft::Draft;
use super::instances::on_a_path;
use super::places::has_stand_in;
use super::rollout::{update, workload};
use super::trial::{Progress, Trial};
use super::{Instance, InstanceHealth, PlanEventKind, State};
use crate::resource::{Resource, ResourceId, ServiceNetwork};
use serde::{Deserialize, Serialize};

/// The spare of one change.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Spare {
    /// Its number, higher than those of all that are wanted.
    ordinal: u32,
    /// Whether it works.
    #[serde(flatten)]
    trial: Trial,
    /// It has shown that it works.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    proven: bool,
    /// Why there is none, and changes are made in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    unplaced: Option<String>,
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
pub(super) fn free_ordinal(state: &State, id: &ResourceId) -> u32 {
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
    let record = draft.state.rollouts.get(id);
    let Some(mut trial) = record.and_then(|record| Some(record.spare.as_ref()?.trial.clone()))
    else {
        return;
    };
    let progress = trial.look(draft, id, &name);
    if matches!(progress, Progress::Unplaced(_) | Progress::Failed(_)) {
        // It goes in the next plan.
        draft.wake(draft.now_ms);
    }
    let Some(record) = draft.state.rollouts.get_mut(id) else {
        return;
    };
    let Some(spare) = record.spare.as_mut() else {
        return;
    };
    spare.trial = trial;
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
