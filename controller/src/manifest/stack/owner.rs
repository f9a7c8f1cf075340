//! Whose a resource is: a stack's, another stack's, or nobody's.

use crate::manifest::{Asked, Context, Document, ManifestError};
use crate::resource::{Name, ResourceId, Stack};
use std::collections::{BTreeMap, BTreeSet};

/// What stacks that are applied again do not have any more.
pub(in crate::manifest) fn leaving(
    known: &BTreeMap<Name, Stack>,
    applied: &[Stack],
) -> BTreeSet<ResourceId> {
    let gone = applied.iter().flat_map(|stack| {
        let before = known.get(&stack.metadata.name);
        let before = before.into_iter().flat_map(|before| &before.members);
        before.filter(|id| !stack.members.contains(id))
    });
    gone.cloned().collect()
}

/// A resource belongs to one stack only, and none is taken over silently. What belongs to a stack and
/// is applied by itself is, because one may want to try something; the next time the stack is
/// applied it will be as the template says.
pub(in crate::manifest) fn owners(
    documents: &[Document<'_>],
    context: Context<'_>,
    asked: Asked<'_>,
    errors: &mut Vec<ManifestError>,
    warnings: &mut Vec<ManifestError>,
) {
    let owners: BTreeMap<&ResourceId, &Name> = asked
        .stacks
        .values()
        .flat_map(|stack| stack.members.iter().map(|id| (id, &stack.metadata.name)))
        .collect();
    let at = ["metadata", "name"];
    for document in documents {
        let id = document.resource.id();
        match (&document.stack, owners.get(&id)) {
            (Some(own), Some(other)) if own != *other => {
                let message = format!("{id} belongs to stack {other}, and to one stack only");
                errors.push(document.error(&at, message));
            }
            (Some(_), None) if context.resources.contains_key(&id) && !asked.adopt => {
                let message =
                    format!("{id} exists, and belongs to no stack; --adopt takes it into this one");
                errors.push(document.error(&at, message));
            }
            (None, Some(stack)) => {
                let message = format!(
                    "{id} belongs to stack {stack}; the next `kc apply` of that makes it as its template says"
                );
                warnings.push(document.error(&at, message));
            }
            _ => {}
        }
    }
}
