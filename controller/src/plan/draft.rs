//! A plan in the making: the state as it changes, and what is told on the way.

use super::paths::Paths;
use super::rooms::placement;
use super::{PathRecord, PlanEvent, PlanEventKind, State, Step};
use super::{instances, relief};
use crate::observation::{NodeObservation, Observations};
use crate::resource::{Kind, Name, Resource, ResourceId};
use foldhash::{HashMap, HashSet};
use kc_agent_api::NodeName;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// What a user has said about a node.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Said {
    /// Nothing new comes to it.
    pub(super) cordoned: bool,
    /// Everything has to leave it.
    pub(super) drained: bool,
}

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
    seen: HashMap<&'a NodeName, &'a NodeObservation>,
    ready: OnceCell<HashSet<NodeName>>,
    said: OnceCell<HashMap<NodeName, Said>>,
    choosy: OnceCell<BTreeSet<ResourceId>>,
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
            seen: observed
                .nodes
                .iter()
                .map(|(name, seen)| (name, &**seen))
                .collect(),
            ready: OnceCell::new(),
            said: OnceCell::new(),
            choosy: OnceCell::new(),
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

    /// What is seen of a node.
    pub(super) fn seen(&self, node: &NodeName) -> Option<&'a NodeObservation> {
        self.seen.get(node).copied()
    }

    /// Whether an owner says where its instances may be; no plan changes that.
    pub(super) fn is_choosy(&self, owner: &ResourceId) -> bool {
        let find = || {
            let owners = self.state.resources.iter().chain(&self.state.retired);
            let choosy = owners.filter(|(_, resource)| {
                let placement = placement(resource);
                placement.is_some_and(|p| !p.nodes.is_empty() || !p.node_selector.is_empty())
            });
            choosy.map(|(id, _)| id.clone()).collect()
        };
        self.choosy.get_or_init(find).contains(owner)
    }

    /// Nodes have come or gone.
    pub(super) fn nodes_changed(&mut self) {
        self.ready = OnceCell::new();
    }

    /// Whether a node is registered and counted on.
    pub(super) fn is_ready(&self, node: &NodeName) -> bool {
        let find = || {
            let nodes = self.state.nodes.iter();
            let ready = nodes.filter(|(_, record)| record.ready);
            ready.map(|(name, _)| name.clone()).collect()
        };
        self.ready.get_or_init(find).contains(node)
    }

    /// What a user has said about a node; no plan changes that.
    pub(super) fn said(&self, node: &NodeName) -> Said {
        let find = || {
            let resources = self.state.of_kind(Kind::Node);
            let said = resources.filter_map(|(id, resource)| {
                let Resource::Node(object) = resource else {
                    return None;
                };
                let said = Said {
                    cordoned: object.spec.cordon,
                    drained: object.spec.drain,
                };
                Some((NodeName::new(id.name.as_str()).ok()?, said))
            });
            said.collect()
        };
        let said = self.said.get_or_init(find).get(node);
        said.copied().unwrap_or_default()
    }
}
