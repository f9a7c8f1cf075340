//! A mutation applied to a state: pure, on a copy; whoever asked decides whether to keep it.

use super::input::{Changed, Mutation, MutationError, Shown, sources};
use super::order::order;
use crate::manifest::{self, Asked, Context, Named};
use crate::plan::{DeleteError, State};
use crate::resource::{Kind, Name, ResourceId};
use crate::views::ManifestFile;
use kc_agent_api::NodeName;
use std::collections::BTreeSet;

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
        Mutation::Apply {
            files,
            parameters,
            adopt,
        } => {
            let asked = Asked {
                stacks: &state.stacks,
                parameters,
                adopt: *adopt,
            };
            apply(state, &mut mutated, files, asked)?;
        }
        Mutation::DeleteNamed {
            files,
            ignore_missing,
        } => {
            let named = manifest::name(&sources(files)).map_err(MutationError::Manifest)?;
            take_back(state, &mut mutated, named, *ignore_missing)?;
        }
        Mutation::Delete(id) if id.kind == Kind::Stack => {
            let named = Named {
                stacks: vec![id.name.clone()],
                ..Named::default()
            };
            take_back(state, &mut mutated, named, false)?;
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
            let before = shown(state, &id);
            let after = shown(&mutated.state, &id);
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
        before: shown(before, id),
        after: None,
    });
    Ok(())
}

/// Takes manifests up. What stacks do not have any more goes, by the rules for what is deleted by hand.
fn apply(
    state: &State,
    mutated: &mut Mutated,
    files: &[ManifestFile],
    asked: Asked<'_>,
) -> Result<(), MutationError> {
    let nodes: BTreeSet<NodeName> = state.nodes.keys().cloned().collect();
    let context = Context {
        resources: &state.resources,
        nodes: &nodes,
    };
    let loaded = manifest::load_with(&sources(files), context, asked);
    let loaded = loaded.map_err(MutationError::Manifest)?;
    mutated.warnings = loaded.warnings;
    let (mut applied, left) = mutated.state.apply_stacks(loaded.stacks);
    applied.extend(mutated.state.apply(loaded.resources));
    for applied in applied {
        mutated.changed.push(Changed {
            before: shown(state, &applied.id),
            after: shown(&mutated.state, &applied.id),
            id: applied.id,
            change: Some(applied.change),
        });
    }
    let left = left.iter().filter_map(|id| state.resources.get(id));
    for id in order(left.cloned().collect()) {
        delete(state, mutated, &id)?;
    }
    Ok(())
}

/// Takes back what was named: stacks with all that belongs to them, as one with the rest.
fn take_back(
    state: &State,
    mutated: &mut Mutated,
    named: Named,
    ignore_missing: bool,
) -> Result<(), DeleteError> {
    let mut resources = named.resources;
    for name in &named.stacks {
        let stack = match mutated.state.delete_stack(name) {
            Err(DeleteError::NotFound(_)) if ignore_missing => continue,
            other => other?,
        };
        let id = ResourceId::new(Kind::Stack, name.clone());
        mutated.changed.push(Changed {
            before: shown(state, &id),
            after: None,
            id,
            change: None,
        });
        resources.retain(|resource| !stack.members.contains(&resource.id()));
        let members = stack.members.iter();
        resources.extend(members.filter_map(|id| state.resources.get(id)).cloned());
    }
    for id in order(resources) {
        match delete(state, mutated, &id) {
            Err(DeleteError::NotFound(_)) if ignore_missing => {}
            other => other?,
        }
    }
    Ok(())
}

/// What can be shown of a resource or a stack.
fn shown(state: &State, id: &ResourceId) -> Option<Shown> {
    match id.kind {
        Kind::Stack => state.stacks.get(&id.name).cloned().map(Shown::Stack),
        _ => state
            .resources
            .get(id)
            .cloned()
            .map(Box::new)
            .map(Shown::Resource),
    }
}
