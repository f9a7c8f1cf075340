//! Stacks in the state: which resource is whose. The resources themselves are planned like any other.

use super::state::{Applied, Change};
use super::{DeleteError, State};
use crate::resource::{Kind, Name, ResourceId, Stack};
use std::collections::BTreeSet;

/// A stack's own identity.
fn id(name: &Name) -> ResourceId {
    ResourceId::new(Kind::Stack, name.clone())
}

impl State {
    /// The stack that a resource belongs to.
    pub fn stack_of(&self, id: &ResourceId) -> Option<&Name> {
        let mut stacks = self.stacks.iter();
        stacks.find_map(|(name, stack)| stack.members.contains(id).then_some(name))
    }

    /// Adds or replaces stacks, and gives what they do not have any more. Their resources are applied apart.
    pub fn apply_stacks(&mut self, stacks: Vec<Stack>) -> (Vec<Applied>, BTreeSet<ResourceId>) {
        let mut applied = Vec::new();
        let mut left = BTreeSet::new();
        for stack in stacks {
            let name = stack.metadata.name.clone();
            let before = self.stacks.get(&name);
            let change = match before {
                None => Change::Created,
                Some(known) if *known == stack => Change::Unchanged,
                Some(_) => Change::Configured,
            };
            let before = before.into_iter().flat_map(|before| &before.members);
            left.extend(before.filter(|id| !stack.members.contains(id)).cloned());
            applied.push(Applied {
                id: id(&name),
                change,
            });
            self.stacks.insert(name, stack);
        }
        (applied, left)
    }

    /// Takes a stack back, and gives what belonged to it, which then belongs to nobody.
    pub fn delete_stack(&mut self, name: &Name) -> Result<Stack, DeleteError> {
        let stack = self.stacks.remove(name);
        stack.ok_or_else(|| DeleteError::NotFound(id(name)))
    }
}
