//! A plan in the making: the state as it changes, and what is told on the way.

use super::paths::Paths;
use super::{PathRecord, PlanEvent, PlanEventKind, State, Step};
use super::{instances, relief};
use crate::observation::Observations;
use crate::resource::{Name, ResourceId};
use kc_agent_api::NodeName;
use std::cell::OnceCell;
use std::collections::BTreeMap;

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
    paths: OnceCell<Paths>,
    overloaded: OnceCell<BTreeMap<String, String>>,
    strangers: OnceCell<Vec<(ResourceId, String)>>,
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
            paths: OnceCell::new(),
            overloaded: OnceCell::new(),
            strangers: OnceCell::new(),
        }
    }

    /// Instances that are not named after their resource.
    pub(super) fn strangers(&self) -> &[(ResourceId, String)] {
        self.strangers
            .get_or_init(|| instances::strangers(&self.state))
    }

    /// Instances have come.
    pub(super) fn instances_changed(&mut self) {
        self.strangers = OnceCell::new();
    }

    /// Instances that chains shall leave although they run, as the alarms have been evaluated.
    pub(super) fn overloaded(&self) -> &BTreeMap<String, String> {
        self.overloaded
            .get_or_init(|| relief::overloaded(&self.state))
    }

    /// Which paths lead through what, as of the last time that they changed.
    pub(super) fn paths(&self) -> &Paths {
        self.paths.get_or_init(|| Paths::new(&self.state))
    }

    /// Paths have come, gone, or got into another phase.
    pub(super) fn paths_changed(&mut self) {
        self.paths = OnceCell::new();
    }

    /// One more path has come.
    pub(super) fn path_added(&mut self, chain: &Name, path: &PathRecord) {
        if let Some(paths) = self.paths.get_mut() {
            paths.add(chain, path);
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
