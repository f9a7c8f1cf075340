//! The order in which resources can be taken back: chains before the functions they name, functions
//! and services before those they depend on.

use crate::resource::{Kind, Name, Resource, ResourceId};
use std::collections::BTreeMap;

/// Sorts what is to be taken back; of equals, what was written last goes first.
pub(super) fn order(mut resources: Vec<Resource>) -> Vec<ResourceId> {
    let rank = |resource: &Resource| match resource.kind() {
        Kind::Chain => 0,
        Kind::Service | Kind::ServiceFunction => 1,
        Kind::Node | Kind::Stack => 2,
        // Last: everything else may name one.
        Kind::Secret => 3,
    };
    resources.reverse();
    let needed = needed(&resources);
    let depth = |resource: &Resource| needed.get(resource.name()).copied().unwrap_or(0);
    resources.sort_by_key(|resource| (rank(resource), depth(resource)));
    resources.iter().map(Resource::id).collect()
}

/// How many are in the longest row of functions and services that need one another, down to each.
fn needed(resources: &[Resource]) -> BTreeMap<Name, usize> {
    let needs: BTreeMap<&Name, &[Name]> = resources
        .iter()
        .filter_map(|resource| match resource {
            Resource::Service(object) => Some((&object.metadata.name, &*object.spec.depends_on)),
            Resource::ServiceFunction(object) => {
                Some((&object.metadata.name, &*object.spec.depends_on))
            }
            _ => None,
        })
        .collect();
    let mut waiting: BTreeMap<&Name, usize> = BTreeMap::new();
    for need in needs.values().copied().flatten() {
        *waiting.entry(need).or_default() += 1;
    }
    let mut ready: Vec<&Name> = needs.keys().copied().collect();
    ready.retain(|name| !waiting.contains_key(name));
    let mut depths = BTreeMap::new();
    while let Some(name) = ready.pop() {
        let depth = depths.get(name).copied().unwrap_or(0);
        for need in needs.get(name).copied().into_iter().flatten() {
            let deeper = depths.entry(need.clone()).or_insert(0);
            *deeper = (*deeper).max(depth + 1);
            let left = waiting.get_mut(need);
            if left.is_some_and(|left| {
                *left -= 1;
                *left == 0
            }) {
                ready.push(need);
            }
        }
    }
    depths
}
