//! Gives every instance a node. Stable: what has a node keeps it until the node is gone for a
//! while, is drained, or no longer suits what the resource says.

use super::draft::Draft;
use super::drain;
use super::evacuate::{self, Hold};
use super::instances::on_a_path;
use super::{Instance, InstanceHealth, PlanEventKind, Step};
use crate::placement::{Room, Wish, choose, suits};
use crate::resource::{Name, PlacementSpec, Requests, Resource, ResourceId, ServiceNetwork};
use crate::shared::Shared;
use kc_agent_api::NodeName;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

/// What an owner says about places.
struct Owner {
    placement: PlacementSpec,
    requests: Requests,
    overlay: bool,
    depends_on: Vec<Name>,
    secrets: bool,
}

fn owner(draft: &Draft<'_>, id: &ResourceId) -> Option<Owner> {
    let resource = draft.state.owner(id)?;
    let work = super::rollout::workload(resource)?;
    let secrets = !work.secrets.is_empty() || work.pull_secret.is_some();
    let depends_on = work.depends_on.clone();
    match resource {
        Resource::ServiceFunction(object) => Some(Owner {
            placement: object.spec.placement.clone(),
            requests: object.spec.resources,
            overlay: false,
            depends_on,
            secrets,
        }),
        Resource::Service(object) => Some(Owner {
            placement: object.spec.placement.clone(),
            requests: object.spec.resources,
            overlay: object.spec.network == ServiceNetwork::Overlay,
            depends_on,
            secrets,
        }),
        Resource::Chain(_) | Resource::Node(_) | Resource::Secret(_) => None,
    }
}

/// Why an instance may not stay where it is, apart from the node being gone.
pub(super) fn unsettled(draft: &Draft<'_>, instance: &Instance) -> Option<String> {
    let node = instance.node.as_ref()?;
    if draft
        .state
        .node_resource(node)
        .is_some_and(|object| object.spec.drain)
    {
        return Some(format!("{node} is drained"));
    }
    if instance.hardware.is_some() {
        return super::physical::unsettled(draft, instance);
    }
    let owner = owner(draft, &instance.owner)?;
    let wish = Wish {
        placement: &owner.placement,
        requests: owner.requests,
        ordinal: instance.ordinal,
    };
    let room = rooms(draft, &instance.owner)
        .into_iter()
        .find(|room| room.node == *node)?;
    suits(&wish, &room)
        .err()
        .map(|reason| format!("{node} no longer suits: {reason}"))
}

/// Every registered node as a place for something of `of`.
fn rooms(draft: &Draft<'_>, of: &ResourceId) -> Vec<Room> {
    let secrets = owner(draft, of).is_some_and(|owner| owner.secrets);
    let room = |(name, record): (&NodeName, &Shared<super::NodeRecord>)| {
        let spec = draft.state.node_resource(name).map(|object| &object.spec);
        let closed = if !record.ready {
            Some(
                record
                    .reason
                    .clone()
                    .unwrap_or_else(|| "not ready".to_owned()),
            )
        } else if spec.is_some_and(|spec| spec.drain) {
            Some("drained".to_owned())
        } else if spec.is_some_and(|spec| spec.cordon) {
            Some("cordoned".to_owned())
        } else if secrets {
            keyless(name, record)
        } else {
            None
        };
        let mut room = Room {
            node: name.clone(),
            labels: draft.state.labels(name),
            closed,
            capacity: record.capacity,
            used_cpu_millis: 0,
            used_memory_bytes: 0,
            siblings: 0,
            containers: 0,
        };
        let here = draft
            .state
            .instances
            .values()
            .filter(|i| i.node.as_ref() == Some(name) && i.hardware.is_none());
        for instance in here {
            let requests = owner(draft, &instance.owner)
                .map(|o| o.requests)
                .unwrap_or_default();
            room.used_cpu_millis += u64::from(requests.cpu_millis());
            room.used_memory_bytes += requests.memory_bytes();
            room.siblings += usize::from(instance.owner == *of);
            room.containers += 1;
        }
        room
    };
    draft.state.nodes.iter().map(room).collect()
}

/// Why nothing with secrets may come to a node.
fn keyless(name: &NodeName, record: &super::NodeRecord) -> Option<String> {
    if record.strange_key.is_some() {
        return Some(format!(
            "its key has changed; `kc trust {name}` takes the new one"
        ));
    }
    let none = record.seal_key.is_none();
    none.then(|| "its agent has no key that secrets could be sealed to".to_owned())
}

/// Places what has no node, and moves what must move.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let mut names: Vec<_> = draft.state.instances.keys().cloned().collect();
    names.sort_by(|a, b| crate::topology::by_name(a, b));
    // What moves away makes room for what found none before it. Everything moves at most once:
    // where it goes, it may stay.
    let mut refused = Vec::new();
    for _ in 0..=names.len() {
        let steps = draft.steps.len();
        refused.clear();
        for name in &names {
            refused.extend(attempt(draft, name).map(|reason| (name, reason)));
        }
        if draft.steps.len() == steps {
            break;
        }
    }
    for (name, reason) in refused {
        wait(draft, name, reason);
    }
}

/// Gives one instance a place if it needs one; the reason when there is none.
fn attempt(draft: &mut Draft<'_>, name: &str) -> Option<String> {
    let instance = draft
        .state
        .instances
        .get(name)
        .filter(|i| !i.retiring && i.hardware.is_none())?
        .clone();
    if let Some(node) = &instance.node
        && let Some(held) = evacuate::hold(draft, name, &instance, node)
    {
        return match held {
            Hold::Stays(why) => Some(why),
            Hold::Waits => {
                draft.state.instances.get_mut(name)?.waiting = None;
                None
            }
        };
    }
    let leaving = match instance.node.clone() {
        None => None,
        Some(node) => match must_move(draft, name, &instance, &node) {
            Some(why) => Some((node, why)),
            None => {
                draft.state.instances.get_mut(name)?.waiting = None;
                return None;
            }
        },
    };
    place(draft, name, &instance, leaving).err()
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
    let owner = instance.owner.clone();
    let here = instance.node.clone();
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
    let wants = owner(draft, &instance.owner)?;
    let leaves = find(draft, instance, &wants).is_ok();
    (!leaves || drain::is_over(draft, name)).then_some(why)
}

/// Whether another instance of the same type, or of the same service, could take over.
pub(super) fn has_stand_in(draft: &Draft<'_>, name: &str, instance: &Instance) -> bool {
    let function = draft.state.function_type(&instance.owner);
    draft.state.instances.iter().any(|(other, candidate)| {
        other != name
            && (candidate.owner == instance.owner || function.is_some())
            && draft.state.function_type(&candidate.owner) == function
            && may_take_over(draft, other, candidate)
    })
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
    name: &str,
    instance: &Instance,
    leaving: Option<(NodeName, String)>,
) -> Result<(), String> {
    let Some(wants) = owner(draft, &instance.owner) else {
        return Ok(());
    };
    let lacking = wants.depends_on.iter().find(|need| !runs(draft, need));
    let found = match lacking {
        Some(need) if leaving.is_none() => Err(format!("waits for a replica of {need}")),
        _ => find(draft, instance, &wants),
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

fn find(draft: &Draft<'_>, instance: &Instance, wants: &Owner) -> Result<Found, String> {
    let wish = Wish {
        placement: &wants.placement,
        requests: wants.requests,
        ordinal: instance.ordinal,
    };
    let rooms = rooms(draft, &instance.owner);
    let (room, why) = choose(&wish, &rooms)?;
    let address = if wants.overlay {
        Some(free_address(draft, &room.node)?)
    } else {
        None
    };
    Ok((room.node.clone(), address, why))
}

/// The lowest free address of a node's part of the overlay.
fn free_address(draft: &Draft<'_>, node: &NodeName) -> Result<Ipv4Addr, String> {
    let index = draft.state.nodes.get(node).map_or(0, |record| record.index);
    let third = u8::try_from(index)
        .map_err(|_| format!("{node} is beyond the 255 nodes the overlay has room for"))?;
    let taken: BTreeSet<_> = draft
        .state
        .instances
        .values()
        .filter_map(|i| i.address)
        .collect();
    (2..=254)
        .map(|last| Ipv4Addr::new(10, 128, third, last))
        .find(|address| !taken.contains(address))
        .ok_or_else(|| format!("no address is left on {node}"))
}

/// Whether an instance of a function or service runs; no two of these have one name.
fn runs(draft: &Draft<'_>, need: &Name) -> bool {
    draft
        .state
        .instances
        .values()
        .any(|instance| instance.owner.name == *need && instance.health == InstanceHealth::Running)
}
