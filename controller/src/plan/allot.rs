//! What a chosen path is given: its boxes from stop to stop, its number, and its VLANs on legs.

use super::draft::Draft;
use super::survey::can_tunnel;
use super::{ChainRecord, PathRecord};
use crate::resource::{ChainSpec, LegSharing, Resource};
use crate::scheduler::Choice;
use crate::topology::Topology;
use kc_agent_api::NodeName;
use kc_forwarder_api::{Spi, Vid};

/// The first VLAN that a chain's legs may have. 1 is left out: many a switch takes it for none.
const FIRST_LEG: u16 = 2;

/// Numbers a path may have, so that 2n and 2n+1 are SPIs.
const PATHS: u32 = 1 << 23;

/// The boxes from each stop to the next.
pub(super) fn route(
    topology: &Topology,
    spec: &ChainSpec,
    choice: &Choice,
) -> Result<Vec<Vec<NodeName>>, String> {
    let functions = choice
        .path
        .iter()
        .filter_map(|name| topology.function(name));
    let stops: Vec<&str> = std::iter::once(spec.from.node.as_str())
        .chain(functions.map(|function| &*function.sff))
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

/// From each stop to the next by one tunnel, where there is one. Where flows have several ways no box may
/// come to guess which of them it is on.
pub(super) fn straight(
    draft: &Draft<'_>,
    topology: &Topology,
    spec: &ChainSpec,
    choice: &Choice,
) -> Option<Vec<Vec<NodeName>>> {
    let functions = choice
        .path
        .iter()
        .filter_map(|name| topology.function(name));
    let places = functions.filter_map(|function| NodeName::new(&*function.sff).ok());
    let mut stops = vec![spec.from.node.clone()];
    stops.extend(places);
    stops.push(spec.to.node.clone());
    let leg = |pair: &[NodeName]| match pair {
        [from, to] if from == to => Some(vec![from.clone()]),
        [from, to] if reach(draft, from, to) => Some(pair.to_vec()),
        _ => None,
    };
    stops.windows(2).map(leg).collect()
}

/// Whether two boxes are one, or one tunnel apart.
pub(super) fn reach(draft: &Draft<'_>, from: &NodeName, to: &NodeName) -> bool {
    let nodes = &draft.state.nodes;
    let joined = nodes.get(from).zip(nodes.get(to));
    from == to || joined.is_some_and(|(a, b)| can_tunnel(a, b))
}

/// The next path number that no path has.
pub(super) fn free_number(draft: &Draft<'_>) -> u32 {
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
pub(super) fn leg(draft: &Draft<'_>, chain: &ChainRecord, name: &str, number: u32) -> Option<Vid> {
    let instance = draft.state.instances.get(name)?;
    let Resource::ServiceFunction(function) = draft.state.owner(&instance.owner)? else {
        return None;
    };
    if function.spec.legs == LegSharing::Shared {
        return None;
    }
    let on = |path: &'_ PathRecord| -> Vec<Vid> {
        let here = path.members().filter(|on_path| on_path.name == name);
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

pub(super) fn spis(number: u32) -> Option<(Spi, Spi)> {
    let forward = number.checked_mul(2)?;
    Some((
        Spi::new(forward).ok()?,
        Spi::new(forward.checked_add(1)?).ok()?,
    ))
}
