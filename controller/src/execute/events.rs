//! What goes into the history, from planner, agents and the owner itself.

use super::clock::wall_ms;
use crate::plan::PlanEvent;
use crate::resource::{Kind, ResourceId};
use crate::store::{NewEvent, Origin};
use kc_agent_api::{Event, NodeName};

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
    fn a_long_message_is_cut_between_characters() {
        let cut = short("ü".repeat(5_000));
        assert!(cut.len() <= LONGEST + 3, "{}", cut.len());
        assert!(cut.ends_with("ü…"));
    }
}
