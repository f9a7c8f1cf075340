//! Which node a container goes to: by explicit names, labels, free capacity and spread. Decides
//! for one container at a time and says why.

use crate::resource::{PlacementSpec, Requests};
use kc_agent_api::{Capacity, NodeName};
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A container that wants a node.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// What its owner says about places.
    pub placement: &'a PlacementSpec,
    /// What it asks for.
    pub requests: Requests,
    /// 1, 2, 3 … within its owner.
    pub ordinal: u32,
}

/// A node as a place to go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Room<'a> {
    /// The node.
    pub node: &'a NodeName,
    /// Its labels.
    pub labels: &'a BTreeMap<String, String>,
    /// Why nothing new may come here; `None` when it may.
    pub closed: Option<&'a str>,
    /// What it has; zero where that is not known, which limits nothing.
    pub capacity: Capacity,
    /// CPU asked for by what is here, thousandths of a core.
    pub used_cpu_millis: u64,
    /// Memory asked for by what is here, bytes.
    pub used_memory_bytes: u64,
    /// Containers of the same owner here.
    pub siblings: usize,
    /// All containers here.
    pub containers: usize,
}

/// Nodes that are told as refusing when none takes a container.
const TOLD: usize = 16;

/// Whether `wish` may ever be on a node with these labels.
pub fn suits(
    wish: &Wish<'_>,
    node: &NodeName,
    labels: &BTreeMap<String, String>,
) -> Result<(), String> {
    if let Some(pinned) = pinned(wish)
        && pinned != node
    {
        return Err(format!("it belongs on {pinned}"));
    }
    for (key, value) in &wish.placement.node_selector {
        match labels.get(key) {
            Some(found) if found == value => {}
            Some(found) => return Err(format!("its {key} is {found}, not {value}")),
            None => return Err(format!("it has no label {key}={value}")),
        }
    }
    Ok(())
}

/// The node that `wish` names for itself.
pub fn pinned<'a>(wish: &Wish<'a>) -> Option<&'a NodeName> {
    let nodes = &wish.placement.nodes;
    let ordinal = usize::try_from(wish.ordinal).ok()?.checked_sub(1)?;
    nodes.get(ordinal.checked_rem(nodes.len())?)
}

/// Whether `room` has what `wish` asks for.
fn fits(wish: &Wish<'_>, room: &Room<'_>) -> Result<(), String> {
    let cpu = u64::from(room.capacity.cpu_millis);
    let free = cpu.saturating_sub(room.used_cpu_millis);
    let wanted = wish.requests.cpu_millis();
    if cpu > 0 && u64::from(wanted) > free {
        return Err(format!("{free}m of CPU free, {wanted}m asked for"));
    }
    let memory = room.capacity.memory_bytes;
    let free = memory.saturating_sub(room.used_memory_bytes);
    let wanted = wish.requests.memory_bytes();
    if memory > 0 && wanted > free {
        return Err(format!(
            "{} MiB of memory free, {} MiB asked for",
            free >> 20,
            wanted.div_ceil(1 << 20)
        ));
    }
    Ok(())
}

/// Whether `wish` may go to `room` now.
pub fn takes(wish: &Wish<'_>, room: &Room<'_>) -> Result<(), String> {
    suits(wish, room.node, room.labels)?;
    match room.closed {
        Some(reason) => Err(reason.to_owned()),
        None => fits(wish, room),
    }
}

/// The best room and why it is, or why there is none.
pub fn choose<'a>(
    wish: &Wish<'_>,
    rooms: &'a [Room<'a>],
) -> Result<(&'a Room<'a>, String), String> {
    if let Some(node) = pinned(wish)
        && !rooms.iter().any(|room| room.node == node)
    {
        return Err(format!("node {node} has never registered"));
    }
    let mut open = Vec::new();
    let mut refusals = Vec::new();
    let mut more = 0;
    for room in rooms {
        match takes(wish, room) {
            Ok(()) => open.push(room),
            Err(_) if pinned(wish).is_some_and(|node| node != room.node) => {}
            Err(_) if refusals.len() >= TOLD => more += 1,
            Err(reason) => refusals.push(format!("{}: {reason}", room.node)),
        }
    }
    let cpu_free =
        |room: &Room<'_>| u64::from(room.capacity.cpu_millis).saturating_sub(room.used_cpu_millis);
    let best = if wish.placement.spread {
        open.into_iter().min_by_key(|room| {
            (
                room.siblings,
                room.containers,
                Reverse(cpu_free(room)),
                room.node,
            )
        })
    } else {
        open.into_iter()
            .min_by_key(|room| (Reverse(room.siblings), room.node))
    };
    match best {
        Some(room) => {
            let why = match (pinned(wish).is_some(), wish.placement.spread) {
                (true, _) => "named for it".to_owned(),
                (_, true) if room.siblings == 0 => "no sibling there".to_owned(),
                (_, true) => format!("fewest siblings there, {}", room.siblings),
                (_, false) => "packed".to_owned(),
            };
            Ok((room, why))
        }
        None if refusals.is_empty() => Err("no node has registered".to_owned()),
        None => {
            refusals.extend((more > 0).then(|| format!("and {more} more")));
            Err(refusals.join("; "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(node: &str, siblings: usize, used: u64) -> Room<'static> {
        Room {
            node: Box::leak(Box::new(NodeName::new(node).unwrap())),
            labels: Box::leak(Box::new(BTreeMap::from([("zone".into(), node.into())]))),
            closed: None,
            capacity: Capacity {
                cpu_millis: 1000,
                memory_bytes: 64 << 20,
                disk_bytes: 0,
            },
            used_cpu_millis: used,
            used_memory_bytes: 0,
            siblings,
            containers: siblings,
        }
    }

    fn place(spec: &PlacementSpec, ordinal: u32, rooms: &[Room<'_>]) -> Result<String, String> {
        let wish = Wish {
            placement: spec,
            requests: serde_json::from_str(r#"{"cpu":"500m","memory":"32Mi"}"#).unwrap(),
            ordinal,
        };
        choose(&wish, rooms).map(|(room, _)| room.node.to_string())
    }

    #[test]
    fn siblings_keep_apart_and_the_name_decides_last() {
        let rooms = [room("b", 1, 0), room("c", 0, 0), room("a", 0, 0)];
        assert_eq!(place(&PlacementSpec::default(), 1, &rooms).unwrap(), "a");
    }

    #[test]
    fn without_spread_they_are_packed() {
        let spec = PlacementSpec {
            spread: false,
            ..PlacementSpec::default()
        };
        let rooms = [room("a", 0, 0), room("b", 1, 0)];
        assert_eq!(place(&spec, 1, &rooms).unwrap(), "b");
    }

    #[test]
    fn a_full_or_closed_node_is_refused_with_the_reason() {
        let mut closed = room("b", 0, 0);
        closed.closed = Some("cordoned");
        let reason = place(&PlacementSpec::default(), 1, &[room("a", 0, 600), closed]);
        assert_eq!(
            reason.unwrap_err(),
            "a: 400m of CPU free, 500m asked for; b: cordoned"
        );
    }

    #[test]
    fn labels_select_and_names_pin() {
        let spec = PlacementSpec {
            node_selector: BTreeMap::from([("zone".into(), "b".into())]),
            ..PlacementSpec::default()
        };
        let rooms = [room("a", 0, 0), room("b", 5, 0)];
        assert_eq!(place(&spec, 1, &rooms).unwrap(), "b");
        let pins = PlacementSpec {
            nodes: vec![NodeName::new("a").unwrap(), NodeName::new("b").unwrap()],
            ..PlacementSpec::default()
        };
        assert_eq!(place(&pins, 2, &rooms).unwrap(), "b");
        assert_eq!(place(&pins, 3, &rooms).unwrap(), "a");
    }
}
