//! What goes into the history, from planner, agents and the owner itself.

use super::clock::wall_ms;
use crate::plan::PlanEvent;
use crate::resource::{Kind, ResourceId};
use crate::store::{NewEvent, Origin};
use kc_agent_api::{BootId, Event, EventAck, NodeName};
use std::collections::{BTreeMap, BTreeSet};

/// Longest text kept of one field; agents pass on what programs print.
const LONGEST: usize = 4_096;

/// A planner's event.
pub(super) fn planned(event: PlanEvent) -> NewEvent {
    NewEvent {
        at_ms: wall_ms(),
        node: event.node,
        kind: event.kind.as_str().to_owned(),
        object: object(&event.object),
        message: event.message,
        origin: None,
    }
}

/// An agent's event, with the time of receipt.
pub(super) fn reported(node: NodeName, event: Event) -> NewEvent {
    NewEvent {
        at_ms: wall_ms(),
        node: Some(node),
        kind: event.kind.as_str().to_owned(),
        object: short(event.object),
        message: short(event.message),
        origin: Some(Origin {
            boot: event.at.boot,
            sequence: event.sequence,
            mono_ms: event.at.mono_ms,
        }),
    }
}

/// What each box is told of the events of one transaction that is on the disk, by box and boot.
pub(super) fn acknowledgements(stored: &[NewEvent]) -> Vec<(NodeName, EventAck)> {
    let mut numbers: BTreeMap<(&NodeName, &BootId), BTreeSet<u64>> = BTreeMap::new();
    for event in stored {
        if let (Some(node), Some(origin)) = (&event.node, &event.origin) {
            let of = numbers.entry((node, &origin.boot)).or_default();
            of.insert(origin.sequence);
        }
    }
    let acknowledge = |((node, boot), numbers): ((&NodeName, &BootId), BTreeSet<u64>)| {
        let ack = EventAck {
            boot: boot.clone(),
            stored: ranges(numbers),
        };
        (node.clone(), ack)
    };
    numbers.into_iter().map(acknowledge).collect()
}

/// Numbers in order, those that follow each other put together.
fn ranges(numbers: BTreeSet<u64>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<(u64, u64)> = Vec::new();
    for number in numbers {
        match ranges.last_mut() {
            Some((_, to)) if to.checked_add(1) == Some(number) => *to = number,
            _ => ranges.push((number, number)),
        }
    }
    ranges
}

/// An event of the controller's own.
pub(super) fn own(node: Option<NodeName>, kind: &str, object: &str, message: String) -> NewEvent {
    NewEvent {
        at_ms: wall_ms(),
        node,
        kind: kind.to_owned(),
        object: object.to_owned(),
        message: short(message),
        origin: None,
    }
}

/// `chain/web`, as `kc` writes it.
pub(crate) fn object(id: &ResourceId) -> String {
    format!("{}/{}", word(id.kind), id.name)
}

/// A kind as `kc` writes it.
pub(crate) const fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::ServiceFunction => "function",
        Kind::Chain => "chain",
        Kind::Service => "service",
        Kind::Node => "node",
        Kind::Secret => "secret",
        Kind::Stack => "stack",
    }
}

fn short(mut text: String) -> String {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rev().find(|&at| text.is_char_boundary(at));
        text.truncate(end.unwrap_or(0));
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stored_event_is_acknowledged_by_box_and_boot_and_no_other() {
        let event = |node: &str, boot: &str, sequence| NewEvent {
            origin: Some(Origin {
                boot: BootId(boot.into()),
                sequence,
                mono_ms: 0,
            }),
            ..own(Some(NodeName::new(node).unwrap()), "k", "o", String::new())
        };
        let events = [
            event("a", "x", 3),
            event("a", "x", 1),
            event("a", "x", 2),
            event("a", "x", 2),
            event("a", "x", 7),
            event("b", "x", u64::MAX),
            event("a", "y", 4),
            own(None, "k", "o", String::new()),
        ];
        let told: Vec<_> = acknowledgements(&events)
            .into_iter()
            .map(|(node, ack)| (node.to_string(), ack.boot.0, ack.stored))
            .collect();
        let wanted = [
            ("a", "x", vec![(1, 3), (7, 7)]),
            ("a", "y", vec![(4, 4)]),
            ("b", "x", vec![(u64::MAX, u64::MAX)]),
        ];
        let wanted = wanted.map(|(node, boot, stored)| (node.to_owned(), boot.to_owned(), stored));
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_long_message_is_cut_between_characters() {
        let cut = short("ü".repeat(5_000));
        assert!(cut.len() <= LONGEST + 3, "{}", cut.len());
        assert!(cut.ends_with("ü…"));
    }
}
