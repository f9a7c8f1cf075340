//! Every registered node as a place to go, counted once for all that are placed in one plan and kept in
//! step as they go there. What it answers is what [`choose`] would say of all rooms.

use super::draft::Draft;
use super::{NodeRecord, State};
use crate::placement::{Room, Wish, choose, pinned, takes};
use crate::resource::{PlacementSpec, Requests, Resource, ResourceId};
use crate::shared::Shared;
use foldhash::{HashMap, HashMapExt as _, HashSet};
use kc_agent_api::{Capacity, NodeName};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

/// See the module.
pub(super) struct Rooms {
    /// In the order of their names.
    places: Vec<Place>,
    numbers: HashMap<NodeName, usize>,
    /// Rooms as those that spread prefer them, siblings apart.
    order: BTreeSet<Rank>,
    /// How many of an owner are where.
    siblings: HashMap<ResourceId, HashMap<usize, usize>>,
    /// Addresses in the overlay that somebody has.
    addresses: HashSet<Ipv4Addr>,
    /// Owners of whom none finds a place while nothing moves, and why.
    hopeless: HashMap<ResourceId, String>,
}

struct Place {
    node: NodeName,
    labels: BTreeMap<String, String>,
    /// Why nothing new may come.
    closed: Option<String>,
    /// Why nothing with secrets may come.
    keyless: Option<String>,
    capacity: Capacity,
    used_cpu_millis: u64,
    used_memory_bytes: u64,
    containers: usize,
}

/// Who looks for a room.
pub(super) struct Seeker<'a> {
    pub(super) owner: &'a ResourceId,
    /// It brings secrets.
    pub(super) secrets: bool,
    /// It keeps apart from its siblings.
    pub(super) apart: bool,
}

/// Containers, free CPU, and the room's number.
type Rank = (usize, Reverse<u64>, usize);

impl Place {
    fn rank(&self, number: usize) -> Rank {
        let capacity = u64::from(self.capacity.cpu_millis);
        let free = capacity.saturating_sub(self.used_cpu_millis);
        (self.containers, Reverse(free), number)
    }
}

/// Why nothing with secrets may come to a node.
fn keyless(name: &NodeName, record: &NodeRecord) -> Option<String> {
    if record.strange_key.is_some() {
        return Some(format!(
            "its key has changed; `kc trust {name}` takes the new one"
        ));
    }
    let none = record.seal_key.is_none();
    none.then(|| "its agent has no key that secrets could be sealed to".to_owned())
}

/// Why nothing new may come to a node.
fn closed(state: &State, name: &NodeName, record: &NodeRecord) -> Option<String> {
    let spec = state.node_resource(name).map(|object| &object.spec);
    if !record.ready {
        let reason = record.reason.as_deref().unwrap_or("not ready");
        return Some(reason.to_owned());
    }
    if spec.is_some_and(|spec| spec.drain) {
        return Some("drained".to_owned());
    }
    spec.is_some_and(|spec| spec.cordon)
        .then(|| "cordoned".to_owned())
}

/// What an owner's containers ask for.
pub(super) fn requests(resource: &Resource) -> Requests {
    match resource {
        Resource::ServiceFunction(object) => object.spec.resources,
        Resource::Service(object) => object.spec.resources,
        _ => Requests::default(),
    }
}

/// What an owner says about places.
pub(super) fn placement(resource: &Resource) -> Option<&PlacementSpec> {
    match resource {
        Resource::ServiceFunction(object) => Some(&object.spec.placement),
        Resource::Service(object) => Some(&object.spec.placement),
        _ => None,
    }
}

impl Rooms {
    pub(super) fn new(draft: &Draft<'_>) -> Self {
        let state = &draft.state;
        let place = |(name, record): (&NodeName, &Shared<NodeRecord>)| Place {
            node: name.clone(),
            labels: state.labels(name),
            closed: closed(state, name, record),
            keyless: keyless(name, record),
            capacity: record.capacity,
            used_cpu_millis: 0,
            used_memory_bytes: 0,
            containers: 0,
        };
        let mut rooms = Self {
            places: state.nodes.iter().map(place).collect(),
            numbers: state.nodes.keys().cloned().zip(0..).collect(),
            order: BTreeSet::new(),
            siblings: HashMap::new(),
            addresses: state.instances.values().filter_map(|i| i.address).collect(),
            hopeless: HashMap::new(),
        };
        for instance in state.instances.values() {
            if let Some(node) = instance
                .node
                .as_ref()
                .filter(|_| instance.hardware.is_none())
            {
                rooms.count(state, &instance.owner, node, 1);
            }
        }
        let places = rooms.places.iter().zip(0..);
        rooms.order = places.map(|(place, number)| place.rank(number)).collect();
        rooms
    }

    /// Adds a container of `owner` to what is on a node, or takes one off.
    fn count(&mut self, state: &State, owner: &ResourceId, node: &NodeName, by: isize) {
        let Some(&number) = self.numbers.get(node) else {
            return;
        };
        let requests = state.owner(owner).map(requests).unwrap_or_default();
        let cpu = u64::from(requests.cpu_millis());
        let memory = requests.memory_bytes();
        let Some(place) = self.places.get_mut(number) else {
            return;
        };
        let times = i64::try_from(by).unwrap_or(0);
        let add = |to: u64, what: u64| {
            let what = i64::try_from(what).unwrap_or(i64::MAX);
            to.saturating_add_signed(what.saturating_mul(times))
        };
        place.used_cpu_millis = add(place.used_cpu_millis, cpu);
        place.used_memory_bytes = add(place.used_memory_bytes, memory);
        place.containers = place.containers.saturating_add_signed(by);
        let of_owner = match self.siblings.get_mut(owner) {
            Some(of_owner) => of_owner,
            None => self.siblings.entry(owner.clone()).or_default(),
        };
        let siblings = of_owner.entry(number).or_default();
        *siblings = siblings.saturating_add_signed(by);
    }

    /// One of `owner` has gone from one node to another.
    pub(super) fn moved(
        &mut self,
        state: &State,
        owner: &ResourceId,
        from: (Option<&NodeName>, Option<Ipv4Addr>),
        to: (Option<&NodeName>, Option<Ipv4Addr>),
    ) {
        let nodes = [(from.0, -1), (to.0, 1)];
        for (node, by) in nodes {
            let Some(node) = node else { continue };
            let number = self.numbers.get(node).copied();
            let rank = |places: &[Place]| {
                let number = number?;
                Some(places.get(number)?.rank(number))
            };
            let before = rank(&self.places);
            self.count(state, owner, node, by);
            if let Some(before) = before {
                self.order.remove(&before);
            }
            self.order.extend(rank(&self.places));
        }
        if let Some(address) = from.1 {
            self.addresses.remove(&address);
        }
        self.addresses.extend(to.1);
        self.hopeless.clear();
    }

    /// A room as somebody finds it.
    fn room(&self, number: usize, seeker: &Seeker<'_>) -> Option<Room<'_>> {
        let place = self.places.get(number)?;
        let of_owner = self.siblings.get(seeker.owner);
        let siblings = of_owner.and_then(|of| of.get(&number)).copied();
        let siblings = siblings.unwrap_or(0);
        let keyless = place.keyless.as_deref().filter(|_| seeker.secrets);
        let met = seeker.apart && siblings > 0;
        let met = met.then_some("another member of its cluster is there");
        Some(Room {
            node: &place.node,
            labels: &place.labels,
            closed: place.closed.as_deref().or(keyless).or(met),
            capacity: place.capacity,
            used_cpu_millis: place.used_cpu_millis,
            used_memory_bytes: place.used_memory_bytes,
            siblings,
            containers: place.containers,
        })
    }

    /// Where somebody goes and why, or why it can go nowhere.
    pub(super) fn find(
        &mut self,
        wish: &Wish<'_>,
        seeker: &Seeker<'_>,
    ) -> Result<(NodeName, String), String> {
        if let Some(node) = pinned(wish) {
            let number = self.numbers.get(node);
            let room = number.and_then(|&number| self.room(number, seeker));
            return chosen(wish, room.as_slice());
        }
        if let Some(reason) = self.hopeless.get(seeker.owner) {
            return Err(reason.clone());
        }
        let found = self.search(wish, seeker);
        if let Err(reason) = &found {
            self.hopeless.insert(seeker.owner.clone(), reason.clone());
        }
        found
    }

    fn search(&self, wish: &Wish<'_>, seeker: &Seeker<'_>) -> Result<(NodeName, String), String> {
        let room = |number| self.room(number, seeker);
        if wish.placement.spread {
            // Nothing is before the first in rank that has no sibling.
            let ranked = self.order.iter();
            let lonely =
                ranked.filter_map(|&(_, _, number)| room(number).filter(|r| r.siblings == 0));
            for room in lonely {
                if takes(wish, &room).is_ok() {
                    return chosen(wish, &[room]);
                }
            }
        }
        let all: Vec<Room<'_>> = (0..self.places.len()).filter_map(room).collect();
        chosen(wish, &all)
    }

    /// The lowest free address of a node's part of the overlay.
    pub(super) fn free_address(&self, state: &State, node: &NodeName) -> Result<Ipv4Addr, String> {
        let index = state.nodes.get(node).map_or(0, |record| record.index);
        let third = u8::try_from(index)
            .map_err(|_| format!("{node} is beyond the 255 nodes the overlay has room for"))?;
        (2..=254)
            .map(|last| Ipv4Addr::new(10, 128, third, last))
            .find(|address| !self.addresses.contains(address))
            .ok_or_else(|| format!("no address is left on {node}"))
    }
}

fn chosen(wish: &Wish<'_>, rooms: &[Room<'_>]) -> Result<(NodeName, String), String> {
    choose(wish, rooms).map(|(room, why)| (room.node.clone(), why))
}
