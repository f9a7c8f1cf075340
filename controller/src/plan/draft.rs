//! A plan in the making: the state as it changes, and what is told on the way.

use super::{PlanEvent, PlanEventKind, State, Step};
use crate::observation::Observations;
use crate::resource::ResourceId;
use kc_agent_api::NodeName;

/// See the module.
pub(super) struct Draft<'a> {
    /// What will be so.
    pub(super) state: State,
    /// What is seen.
    pub(super) observed: &'a Observations,
    /// The controller's clock.
    pub(super) now_ms: u64,
    /// What changes.
    pub(super) steps: Vec<Step>,
    /// What is told.
    pub(super) events: Vec<PlanEvent>,
    /// The earliest time at which something is to be decided again.
    pub(super) wake_at_ms: Option<u64>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(state: &State, observed: &'a Observations, now_ms: u64) -> Self {
        Self {
            state: state.clone(),
            observed,
            now_ms,
            steps: Vec::new(),
            events: Vec::new(),
            wake_at_ms: None,
        }
    }

    /// Plan again at `at_ms` at the latest.
    pub(super) fn wake(&mut self, at_ms: u64) {
        self.wake_at_ms = Some(self.wake_at_ms.map_or(at_ms, |known| known.min(at_ms)));
    }

    /// Tells something.
    pub(super) fn tell(
        &mut self,
        kind: PlanEventKind,
        object: &ResourceId,
        node: Option<&NodeName>,
        message: impl Into<String>,
    ) {
        self.events.push(PlanEvent {
            kind,
            object: object.clone(),
            node: node.cloned(),
            message: message.into(),
        });
    }

    /// Whether a node is registered and counted on.
    pub(super) fn is_ready(&self, node: &NodeName) -> bool {
        self.state.nodes.get(node).is_some_and(|node| node.ready)
    }
}
