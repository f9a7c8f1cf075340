//! A mutation applied to a state: pure, on a copy; whoever asked decides whether to keep it.

use super::input::{Changed, Mutation, MutationError, sources};
use crate::manifest::{self, Context};
use crate::plan::{DeleteError, State};
use crate::resource::{Kind, Name, Resource, ResourceId};
use crate::views::ManifestFile;
use kc_agent_api::NodeName;
use std::collections::{BTreeMap, BTreeSet};

/// The state afterwards.
pub(super) struct Mutated {
    pub(super) state: State,
    pub(super) changed: Vec<Changed>,
    pub(super) warnings: Vec<manifest::ManifestError>,
    /// Nodes that are to be forgotten altogether.
    pub(super) forgotten: Vec<NodeName>,
}

/// Applies `mutation` to a copy of `state`.
pub(super) fn mutate(state: &State, mutation: &Mutation) -> Result<Mutated, MutationError> {
    let mut mutated = Mutated {
        state: state.clone(),
        changed: Vec::new(),
        warnings: Vec::new(),
        forgotten: Vec::new(),
    };
    match mutation {
        Mutation::Apply(files) => {
            let nodes: BTreeSet<NodeName> = state.nodes.keys().cloned().collect();
            let loaded = manifest::load(
                &sources(files),
                Context {
                    resources: &state.resources,
                    nodes: &nodes,
                },
            )
            .map_err(MutationError::Manifest)?;
            mutated.warnings = loaded.warnings;
            for applied in mutated.state.apply(loaded.resources) {
                mutated.changed.push(Changed {
                    before: state.resources.get(&applied.id).cloned(),
                    after: mutated.state.resources.get(&applied.id).cloned(),
                    id: applied.id,
                    change: Some(applied.change),
                });
            }
        }
        Mutation::DeleteNamed {
            files,
            ignore_missing,
        } => {
            for id in named(files)? {
                match delete(state, &mut mutated, &id) {
                    Err(DeleteError::NotFound(_)) if *ignore_missing => {}
                    other => other?,
                }
            }
        }
        Mutation::Delete(id) => delete(state, &mut mutated, id)?,
        Mutation::Trust(node) => {
            let Some(trusted) = mutated.state.trust(node) else {
                return Err(MutationError::NoNode(node.clone()));
            };
            let change = if trusted {
                crate::plan::Change::Configured
            } else {
                crate::plan::Change::Unchanged
            };
            mutated.changed.push(Changed {
                id: ResourceId::new(Kind::Node, Name::from(node.clone())),
                change: Some(change),
                before: None,
                after: None,
            });
        }
        Mutation::Cordon {
            node,
            cordon,
            drain,
        } => {
            if !mutated.state.set_cordon(node, *cordon, *drain) {
                return Err(MutationError::NoNode(node.clone()));
            }
            let id = ResourceId::new(Kind::Node, Name::from(node.clone()));
            let before = state.resources.get(&id).cloned();
            let after = mutated.state.resources.get(&id).cloned();
            let change = match (&before, &after) {
                (None, _) => crate::plan::Change::Created,
                (before, after) if before == after => crate::plan::Change::Unchanged,
                _ => crate::plan::Change::Configured,
            };
            mutated.changed.push(Changed {
                id,
                change: Some(change),
                before,
                after,
            });
        }
    }
    Ok(mutated)
}

/// What manifests name, in an order in which it can be taken back: chains before the functions
/// they name, functions and services before those they depend on.
fn named(files: &[ManifestFile]) -> Result<Vec<ResourceId>, MutationError> {
    let loaded = manifest::load(
        &sources(files),
        Context {
            resources: &BTreeMap::new(),
            nodes: &BTreeSet::new(),
        },
    )
    .map_err(MutationError::Manifest)?;
    let rank = |resource: &Resource| match resource.kind() {
        Kind::Chain => 0,
        Kind::Service | Kind::ServiceFunction => 1,
        Kind::Node => 2,
        // Last: everything else may name one.
        Kind::Secret => 3,
    };
    let mut resources = loaded.resources;
    resources.reverse();
    let needed = needed(&resources);
    let depth = |resource: &Resource| needed.get(resource.name()).copied().unwrap_or(0);
    resources.sort_by_key(|resource| (rank(resource), depth(resource)));
    Ok(resources.iter().map(Resource::id).collect())
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

fn delete(before: &State, mutated: &mut Mutated, id: &ResourceId) -> Result<(), DeleteError> {
    mutated.state.delete(id)?;
    if id.kind == Kind::Node
        && let Ok(node) = NodeName::new(id.name.as_str())
        && before.nodes.contains_key(&node)
        && !mutated.state.nodes.contains_key(&node)
    {
        mutated.forgotten.push(node);
    }
    mutated.changed.push(Changed {
        id: id.clone(),
        change: None,
        before: before.resources.get(id).cloned(),
        after: None,
    });
    Ok(())
}
