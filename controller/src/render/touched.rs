//! Which documents a change of the state can change. What [`super::documents`] looks at is compared here,
//! and where that is too far-reaching to be told by node, all may differ: the answer may name
//! too many, never too few.

use super::MESH;
use super::scene::has_overlay;
use crate::plan::{ChainRecord, Instance, NodeRecord, State};
use crate::resource::{Kind, ResourceId};
use crate::shared::{Shared, differences};
use kc_agent_api::NodeName;
use std::collections::BTreeSet;

/// Nodes whose documents may differ between two states; `None` when any may.
pub fn touched(before: &State, after: &State) -> Option<BTreeSet<NodeName>> {
    if before.vault != after.vault || before.virtuals != after.virtuals {
        return None;
    }
    let whole = has_overlay(after);
    if whole != has_overlay(before) {
        return None;
    }
    let mut touched = Touched::default();
    touched.nodes(before, after, whole)?;
    touched.instances(before, after)?;
    touched.owners(before, after, whole)?;
    touched.chains(before, after);
    Some(touched.names)
}

#[derive(Default)]
struct Touched {
    names: BTreeSet<NodeName>,
    /// Nodes that others see differently.
    moved: BTreeSet<NodeName>,
}

/// What a document says of its own node and of others.
fn as_rendered(record: &NodeRecord) -> impl PartialEq + use<> {
    let NodeRecord {
        index,
        vtep,
        underlay_mtu,
        seal_key,
        ..
    } = record;
    (*index, *vtep, *underlay_mtu, *seal_key)
}

impl Touched {
    fn nodes(&mut self, before: &State, after: &State, whole: bool) -> Option<()> {
        let same = |a: &Shared<NodeRecord>, b: &Shared<NodeRecord>| {
            a.is(b) || as_rendered(a) == as_rendered(b)
        };
        for (name, ..) in differences(&before.nodes, &after.nodes, same) {
            self.moved.insert(name.clone());
            self.names.insert(name.clone());
        }
        let meshed = before.nodes.len().min(after.nodes.len()) <= MESH;
        (self.moved.is_empty() || !whole && !meshed).then_some(())
    }

    fn instances(&mut self, before: &State, after: &State) -> Option<()> {
        let same = |a: &Shared<Instance>, b: &Shared<Instance>| a.is(b) || a == b;
        for (_, was, is) in differences(&before.instances, &after.instances, same) {
            for instance in was.into_iter().chain(is) {
                if instance.address.is_some() {
                    return None;
                }
                self.names.extend(instance.node.clone());
            }
        }
        Some(())
    }

    /// What containers are made of.
    fn owners(&mut self, before: &State, after: &State, whole: bool) -> Option<()> {
        let mut owners: BTreeSet<&ResourceId> = BTreeSet::new();
        let resources = differences(&before.resources, &after.resources, |a, b| a == b);
        let retired = differences(&before.retired, &after.retired, |a, b| a == b);
        for (id, ..) in resources.into_iter().chain(retired) {
            match id.kind {
                Kind::ServiceFunction => drop(owners.insert(id)),
                Kind::Service if !whole => drop(owners.insert(id)),
                // Paths remember their chain; what is said of a node changes what is decided.
                Kind::Chain | Kind::Node | Kind::Stack => {}
                Kind::Service | Kind::Secret => return None,
            }
        }
        let rollouts = differences(&before.rollouts, &after.rollouts, |a, b| a == b);
        for (id, ..) in rollouts {
            if whole && id.kind == Kind::Service {
                return None;
            }
            owners.insert(id);
        }
        if owners.is_empty() {
            return Some(());
        }
        let instances = before.instances.values().chain(after.instances.values());
        let theirs = instances.filter(|instance| owners.contains(&instance.owner));
        self.names
            .extend(theirs.filter_map(|instance| instance.node.clone()));
        Some(())
    }

    fn chains(&mut self, before: &State, after: &State) {
        let same = |a: &Shared<ChainRecord>, b: &Shared<ChainRecord>| a.is(b) || a.paths == b.paths;
        for (_, was, is) in differences(&before.chains, &after.chains, same) {
            let records = was.into_iter().chain(is);
            for path in records.flat_map(|record| &record.paths) {
                self.names.extend(path.nodes().into_iter().cloned());
                self.names.extend(path.ends().into_iter().cloned());
            }
        }
        if self.moved.is_empty() {
            return;
        }
        // What is new is among the differences; what stayed is in both.
        for path in after.chains.values().flat_map(|chain| &chain.paths) {
            let nodes = path.nodes();
            if nodes.iter().any(|node| self.moved.contains(*node)) {
                self.names.extend(nodes.into_iter().cloned());
            }
        }
    }
}
