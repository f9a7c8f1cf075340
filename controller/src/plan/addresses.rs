//! Who has an address in the overlay. Most get theirs with their place; this sees to those whose resource
//! has been changed since.

use super::draft::Draft;
use super::instances::all_of;
use super::rooms::Rooms;
use super::{Instance, State};
use crate::resource::{Kind, Resource, ServiceNetwork};

/// Whether instances of a resource are on the overlay.
pub(super) fn wanted(resource: &Resource) -> bool {
    match resource {
        Resource::Service(object) => object.spec.network == ServiceNetwork::Overlay,
        Resource::ServiceFunction(object) => object.spec.is_told(),
        _ => false,
    }
}

/// Whether an instance is on the overlay, as its resource says or as it said before.
fn needs(state: &State, name: &str, instance: &Instance) -> bool {
    state.owner(&instance.owner).is_some_and(wanted) || state.is_told(name, &instance.owner)
}

/// Gives addresses to those who lack one, and takes back those that nobody needs.
pub(super) fn settle(draft: &mut Draft<'_>, rooms: &mut Option<Rooms>) {
    let state = &draft.state;
    let having = state.instances.iter();
    let having = having.filter(|(_, instance)| instance.address.is_some());
    let spare = having.filter(|(name, instance)| !needs(state, name, instance));
    let kinds = [Kind::ServiceFunction, Kind::Service];
    let owners = kinds.into_iter().flat_map(|kind| state.of_kind(kind));
    let owners = owners.filter(|(_, resource)| wanted(resource));
    let lacking = owners.flat_map(|(owner, _)| all_of(draft, owner));
    let lacking = lacking.filter(|(_, instance)| {
        instance.address.is_none() && instance.node.is_some() && instance.hardware.is_none()
    });
    let changed: Vec<_> = spare.chain(lacking).map(|(name, _)| name.clone()).collect();
    for name in changed {
        change(draft, rooms, &name);
    }
}

fn change(draft: &mut Draft<'_>, rooms: &mut Option<Rooms>, name: &str) {
    let Some(instance) = draft.state.instances.get(name).cloned() else {
        return;
    };
    let Some(node) = &instance.node else { return };
    let rooms = rooms.get_or_insert_with(|| Rooms::new(draft));
    let address = match instance.address {
        Some(_) => None,
        // Where all are taken it does without.
        None => rooms.free_address(&draft.state, node).ok(),
    };
    let (was, is) = ((Some(node), instance.address), (Some(node), address));
    rooms.moved(&draft.state, &instance.owner, was, is);
    if let Some(instance) = draft.state.instances.get_mut(name) {
        instance.address = address;
    }
}
