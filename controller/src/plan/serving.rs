//! Instances that run, found once for all paths that lead through them. Whether a path is whole is asked
//! of every chain in every plan, and nearly always it is.

use super::draft::Draft;
use super::places::unsettled;
use super::survey;
use super::{Instance, InstanceHealth, PathInstance, PathRecord};
use crate::shared::Shared;
use foldhash::{HashMap, HashMapExt as _};
use std::collections::BTreeMap;

/// See the module.
pub(super) struct Serving<'a>(HashMap<&'a str, &'a Instance>);

impl<'a> Serving<'a> {
    pub(super) fn new(instances: &'a BTreeMap<String, Shared<Instance>>) -> Self {
        let mut by_name = HashMap::with_capacity(instances.len());
        let running = instances
            .iter()
            .filter(|(_, instance)| instance.health == InstanceHealth::Running);
        by_name.extend(running.map(|(name, instance)| (name.as_str(), &**instance)));
        Self(by_name)
    }

    /// Why a path does not carry traffic, as [`survey::fault`] tells it.
    pub(super) fn fault(&self, draft: &Draft<'_>, path: &PathRecord) -> Option<String> {
        let serves = |on_path: &PathInstance| {
            let instance = self.0.get(on_path.name.as_str());
            let node = instance.and_then(|instance| instance.node.as_ref());
            node == Some(&on_path.node) && draft.is_ready(&on_path.node)
        };
        let mut passed = path.route.iter().flatten();
        let is_whole = path.members().all(serves) && passed.all(|node| draft.is_ready(node));
        if is_whole {
            return None;
        }
        survey::fault(draft, path)
    }

    /// Whether nothing asks an instance to leave its paths.
    pub(super) fn stays(&self, draft: &Draft<'_>, name: &str) -> bool {
        self.0.get(name).is_some_and(|instance| {
            !instance.retiring
                && !draft.state.rollouts.contains_key(&instance.owner)
                && unsettled(draft, instance).is_none()
        })
    }
}
