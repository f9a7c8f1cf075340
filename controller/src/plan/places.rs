//! Gives every instance a node. Stable: what has a node keeps it until the node is gone for a
//! while, is drained, or no longer suits what the resource says.

use super::addresses;
use super::cluster::keeps_apart;
use super::draft::Draft;
use super::drain;
use super::evacuate::{self, Hold};
use super::instances::{alike, all_of, on_a_path};
use super::rollout::workload;
use super::rooms::{Rooms, Seeker, placement, requests};
use super::{Instance, InstanceHealth, PlanEventKind, Step};
use crate::placement::{Wish, suits};
use crate::resource::{Kind, Name, PlacementSpec, Resource, ResourceId};
use kc_agent_api::NodeName;
use std::net::Ipv4Addr;

/// Why an instance may not stay where it is, apart from the node being gone.
pub(super) fn unsettled(draft: &Draft<'_>, instance: &Instance) -> Option<String> {
    let state = &draft.state;
    let node = instance.node.as_ref()?;
    if draft.said(node).drained {
        return Some(format!("{node} is drained"));
    }
    if instance.hardware.is_some() {
        return super::physical::unsettled(draft, instance);
    }
    if !draft.is_choosy(&instance.owner) {
        return None;
    }
    let resource = state.owner(&instance.owner)?;
    let placement = placement(resource)?;
    state.nodes.get(node)?;
    let wish = wish(resource, placement, instance);
    suits(&wish, node, &state.labels(node))
        .err()
        .map(|reason| format!("{node} no longer suits: {reason}"))
}

fn wish<'a>(resource: &Resource, placement: &'a PlacementSpec, instance: &Instance) -> Wish<'a> {
    Wish {
        placement,
        requests: requests(resource),
        ordinal: instance.ordinal,
    }
}

/// Places what has no node, and moves what must move.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let instances = draft.state.instances.iter();
    let open = instances.filter(|(_, instance)| is_open(draft, instance));
    let mut names: Vec<_> = open.map(|(name, _)| name.clone()).collect();
    names.sort_by(|a, b| crate::topology::by_name(a, b));
    // What moves away makes room for what found none before it. Everything moves at most once:
    // where it goes, it may stay.
    let mut rooms = None;
    let mut refused = Vec::new();
    for _ in 0..=names.len() {
        let steps = draft.steps.len();
        refused.clear();
        for name in &names {
            refused.extend(attempt(draft, &mut rooms, name).map(|reason| (name, reason)));
        }
        if draft.steps.len() == steps {
            break;
        }
    }
    for (name, reason) in refused {
        wait(draft, name, reason);
    }
    addresses::settle(draft, &mut rooms);
}

/// Whether there may be something to do for an instance; nothing that is done for another opens
/// that question for it.
fn is_open(draft: &Draft<'_>, instance: &Instance) -> bool {
    let on = instance.node.as_ref();
    let stays = on.is_some_and(|node| draft.is_ready(node)) && instance.waiting.is_none();
    !instance.retiring
        && instance.hardware.is_none()
        && (!stays || unsettled(draft, instance).is_some())
}

/// Gives one instance a place if it needs one; the reason when there is none.
fn attempt(draft: &mut Draft<'_>, rooms: &mut Option<Rooms>, name: &str) -> Option<String> {
    let known = draft.state.instances.get(name);
    let instance = known.filter(|i| !i.retiring && i.hardware.is_none())?;
    let instance = instance.clone();
    if let Some(node) = &instance.node
        && let Some(held) = evacuate::hold(draft, rooms, name, &instance, node)
    {
        return match held {
            Hold::Stays(why) => Some(why),
            Hold::Waits => {
                if instance.waiting.is_some() {
                    draft.state.instances.get_mut(name)?.waiting = None;
                }
                None
            }
        };
    }
    let leaving = match instance.node.clone() {
        None => None,
        Some(node) => match must_move(draft, rooms, name, &instance, &node) {
            Some(why) => Some((node, why)),
            None => {
                if instance.waiting.is_some() {
                    draft.state.instances.get_mut(name)?.waiting = None;
                }
                return None;
            }
        },
    };
    place(draft, rooms, name, &instance, leaving).err()
}

/// Remembers why an instance has no place, and tells it once.
fn wait(draft: &mut Draft<'_>, name: &str, reason: String) {
    let Some(instance) = draft.state.instances.get_mut(name) else {
        return;
    };
    if instance.waiting.as_ref() == Some(&reason) {
        return;
    }
    instance.waiting = Some(reason.clone());
    let (owner, ordinal) = (instance.owner.clone(), instance.ordinal);
    let here = instance.node.clone();
    // A change that wanted it beside the others goes on without it, as the next plan finds.
    if draft.state.spare(&owner) == Some(ordinal) {
        draft.wake(draft.now_ms);
    }
    match here.filter(|node| draft.state.is_drained(node)) {
        Some(node) => {
            let message = format!("{name} stays on {node}: {reason}");
            draft.tell(PlanEventKind::Stays, &owner, Some(&node), message);
        }
        None => {
            let message = format!("{name} has no place: {reason}");
            draft.tell(PlanEventKind::Unplaced, &owner, None, message);
        }
    }
    draft.steps.push(Step::Unplaced {
        instance: name.to_owned(),
        why: reason,
    });
}

fn must_move(
    draft: &mut Draft<'_>,
    rooms: &mut Option<Rooms>,
    name: &str,
    instance: &Instance,
    node: &NodeName,
) -> Option<String> {
    let Some(record) = draft.state.nodes.get(node) else {
        return Some(format!("{node} was deleted"));
    };
    if let (false, Some(since)) = (record.ready, record.gone_since_ms) {
        let reason = record.reason.clone().unwrap_or_default();
        let due = since.saturating_add(draft.state.settings.replace_grace_ms);
        if draft.now_ms < due {
            draft.wake(due);
            return None;
        }
        return Some(format!("{node} {reason}"));
    }
    let why = unsettled(draft, instance)?;
    // A function that carries traffic first loses its paths, then its place; unless nothing
    // could take its paths.
    let busy = instance.health == InstanceHealth::Running && on_a_path(draft, name);
    if busy && has_stand_in(draft, name, instance) {
        return None;
    }
    // What finds no other place stays, and goes on serving.
    let resource = draft.state.owner(&instance.owner)?;
    let rooms = rooms.get_or_insert_with(|| Rooms::new(draft));
    let leaves = find(draft, rooms, instance, resource).is_ok();
    (!leaves || drain::is_over(draft, name)).then_some(why)
}

/// Whether another instance of the same type, or of the same service, could take over.
pub(super) fn has_stand_in(draft: &Draft<'_>, name: &str, instance: &Instance) -> bool {
    let mut alike = alike(draft, &instance.owner);
    alike.any(|(other, candidate)| other != name && may_take_over(draft, other, candidate))
}

/// Whether an instance runs, stays where it is, and is free to take what others leave.
pub(super) fn may_take_over(draft: &Draft<'_>, name: &str, instance: &Instance) -> bool {
    instance.health == InstanceHealth::Running
        && !instance.retiring
        && instance
            .node
            .as_ref()
            .is_some_and(|node| draft.is_ready(node))
        && unsettled(draft, instance).is_none()
        && !draft.state.in_turn(name, &instance.owner)
        && !draft.state.is_on_trial(instance)
}

pub(super) fn place(
    draft: &mut Draft<'_>,
    rooms: &mut Option<Rooms>,
    name: &str,
    instance: &Instance,
    leaving: Option<(NodeName, String)>,
) -> Result<(), String> {
    let Some(resource) = draft.state.owner(&instance.owner) else {
        return Ok(());
    };
    let Some(work) = workload(resource) else {
        return Ok(());
    };
    let lacking = work.depends_on.iter().find(|need| !runs(draft, need));
    let found = match lacking {
        Some(need) if leaving.is_none() => Err(format!("waits for a replica of {need}")),
        _ => {
            let rooms = rooms.get_or_insert_with(|| Rooms::new(draft));
            find(draft, rooms, instance, resource)
        }
    };
    let (node, address, why) = match found {
        Ok(found) => found,
        Err(reason) => {
            // A node that was deleted can no longer hold anything; any other does meanwhile.
            if let Some((from, why)) = leaving
                && !draft.state.nodes.contains_key(&from)
            {
                if let Some(instance) = draft.state.instances.get_mut(name) {
                    instance.node = None;
                    instance.address = None;
                    instance.health = InstanceHealth::Starting;
                }
                if let Some(rooms) = rooms {
                    let was = (Some(&from), instance.address);
                    rooms.moved(&draft.state, &instance.owner, was, (None, None));
                }
                draft.steps.push(Step::Move {
                    instance: name.to_owned(),
                    from,
                    to: None,
                    why,
                });
            }
            return Err(reason);
        }
    };
    settle_on(draft, name, node.clone(), address);
    if let Some(rooms) = rooms {
        let was = (instance.node.as_ref(), instance.address);
        rooms.moved(&draft.state, &instance.owner, was, (Some(&node), address));
    }
    let instance_name = name.to_owned();
    let (step, message) = match leaving {
        Some((from, why)) => {
            let message = format!("{name} moves from {from} to {node}: {why}");
            let to = Some(node.clone());
            (
                Step::Move {
                    instance: instance_name,
                    from,
                    to,
                    why,
                },
                message,
            )
        }
        None => {
            let message = format!("{name} goes to {node}: {why}");
            (
                Step::Place {
                    instance: instance_name,
                    node: node.clone(),
                    why,
                },
                message,
            )
        }
    };
    draft.steps.push(step);
    draft.tell(PlanEventKind::Placed, &instance.owner, Some(&node), message);
    Ok(())
}

fn settle_on(draft: &mut Draft<'_>, name: &str, node: NodeName, address: Option<Ipv4Addr>) {
    if let Some(instance) = draft.state.instances.get_mut(name) {
        instance.node = Some(node);
        instance.since = 0;
        instance.address = address;
        instance.health = InstanceHealth::Starting;
        instance.draining_ms = None;
        instance.waiting = None;
    }
}

type Found = (NodeName, Option<Ipv4Addr>, String);

fn find(
    draft: &Draft<'_>,
    rooms: &mut Rooms,
    instance: &Instance,
    resource: &Resource,
) -> Result<Found, String> {
    let (Some(placement), Some(work)) = (placement(resource), workload(resource)) else {
        return Err("it is nothing that has a place".to_owned());
    };
    let secrets = !work.secrets.is_empty() || work.pull_secret.is_some();
    let wish = wish(resource, placement, instance);
    let seeker = Seeker {
        owner: &instance.owner,
        secrets,
        apart: keeps_apart(resource),
    };
    let (node, why) = rooms.find(&wish, &seeker)?;
    let address = match addresses::wanted(resource) {
        true => Some(rooms.free_address(&draft.state, &node)?),
        false => None,
    };
    Ok((node, address, why))
}

/// Whether an instance of a function or service runs; no two of these have one name.
fn runs(draft: &Draft<'_>, need: &Name) -> bool {
    let kinds = [Kind::ServiceFunction, Kind::Service];
    let owners = kinds.map(|kind| ResourceId::new(kind, need.clone()));
    let running = |owner| {
        all_of(draft, owner).any(|(_, instance)| instance.health == InstanceHealth::Running)
    };
    owners.iter().any(running)
}
