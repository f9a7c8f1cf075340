//! Replicas that are about to go, for whatever reason, first keep the flows that they have and get no new
//! ones, until every box says that none is left or the drain time has passed. Who serves alone would
//! get new flows all the same, so nothing is won by waiting for it.

use super::draft::Draft;
use super::places::{has_stand_in, unsettled};
use super::{InstanceHealth, Step, can_tunnel};
use crate::render;
use crate::resource::{Resource, ServiceNetwork};
use kc_agent_api::NodeName;

/// While something drains, what boxes say of its flows is looked at so often.
const LOOK_MS: u64 = 1_000;

/// Whether an instance may go now. It begins to drain otherwise, or goes on with it.
pub(super) fn is_over(draft: &mut Draft<'_>, name: &str) -> bool {
    let Some(instance) = draft.state.instances.get(name) else {
        return true;
    };
    // A deleted service is gone for its clients anyway, and so are its replicas.
    let Some(Resource::Service(service)) = draft.state.resources.get(&instance.owner) else {
        return true;
    };
    let serves = service.spec.network == ServiceNetwork::Overlay
        && instance.health == InstanceHealth::Running
        && draft.state.virtual_address(&instance.owner).is_some();
    let drain_ms = service.spec.drain_ms();
    // A clock that was set back must not put off the end.
    let known_ms = instance.draining_ms.map(|at_ms| at_ms.min(draft.now_ms));
    let alone = known_ms.is_none() && !has_stand_in(draft, name, instance);
    if !serves || drain_ms == 0 || alone {
        return true;
    }
    let node = instance.node.clone();
    let since_ms = known_ms.unwrap_or(draft.now_ms);
    if known_ms.is_some() && is_idle(draft, name, since_ms) {
        return true;
    }
    let until_ms = since_ms.saturating_add(drain_ms);
    if draft.now_ms >= until_ms {
        return true;
    }
    if instance.draining_ms != Some(since_ms) {
        if known_ms.is_none() {
            draft.steps.push(Step::DrainReplica {
                instance: name.to_owned(),
                node,
            });
        }
        if let Some(instance) = draft.state.instances.get_mut(name) {
            instance.draining_ms = Some(since_ms);
        }
    }
    draft.wake(until_ms.min(draft.now_ms.saturating_add(LOOK_MS)));
    false
}

/// Whether every box that may have a client has said since then that no flow of its clients goes there.
fn is_idle(draft: &Draft<'_>, name: &str, since_ms: u64) -> bool {
    let nodes = &draft.state.nodes;
    let Some(instance) = draft.state.instances.get(name) else {
        return true;
    };
    let place = instance.node.as_ref();
    let Some((place, there)) = place.and_then(|node| nodes.get_key_value(node)) else {
        return true;
    };
    let mac = render::overlay_mac(instance);
    let says_so = |node: &NodeName| {
        let load = draft.observed.nodes.get(node)?.load.as_ref()?;
        let told = load.report.draining.iter().find(|told| told.mac == mac)?;
        Some(load.at_ms >= since_ms && told.flows == 0)
    };
    let mut reach = nodes.iter().filter(|(node, record)| {
        let reaches = *node == place || can_tunnel(record, there);
        record.ready && reaches && render::is_in_overlay(record)
    });
    reach.all(|(node, _)| says_so(node).unwrap_or(false))
}

/// Lets those have new flows again who are no longer to go.
pub(super) fn give_up(draft: &mut Draft<'_>) {
    let draining = draft.state.instances.iter();
    let draining = draining.filter(|(_, instance)| instance.draining_ms.is_some());
    let stays = draining.filter(|(name, instance)| {
        instance.health != InstanceHealth::Running
            || !instance.retiring
                && !draft.state.gives_way(name, &instance.owner)
                && unsettled(draft, instance).is_none()
    });
    let names: Vec<_> = stays.map(|(name, _)| name.clone()).collect();
    for name in names {
        if let Some(instance) = draft.state.instances.get_mut(&name) {
            instance.draining_ms = None;
        }
    }
}
