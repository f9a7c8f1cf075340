//! Secrets in the state: since when, which values are still needed, and what containers see of them.

use super::draft::Draft;
use super::{State, Vault};
use crate::resource::{Kind, Name, Resource, ResourceId, Secret, SecretRef, WorkloadSpec};
use std::collections::{BTreeMap, BTreeSet};

/// Secrets by name.
pub(super) type Secrets = BTreeMap<Name, Secret>;

/// Dates new values, and forgets those that nothing names any more.
pub(super) fn settle(draft: &mut Draft<'_>) {
    let now_ms = draft.now_ms;
    let state = &mut draft.state;
    if state.secrets().any(|secret| secret.since_ms.is_none()) {
        for resource in state.resources.values_mut() {
            if let Resource::Secret(secret) = resource {
                secret.since_ms.get_or_insert(now_ms);
            }
        }
    }
    forget_values(&mut draft.state);
}

/// Forgets values that nothing names any more.
fn forget_values(state: &mut State) {
    let held = state.rollouts.values().flat_map(|record| record.secrets());
    let keys = state
        .secrets()
        .chain(state.retired.values().filter_map(secret))
        .chain(held)
        .flat_map(|secret| secret.keys.values());
    let needed: BTreeSet<String> = keys.map(|key| key.version.clone()).collect();
    if !state.vault.holds_only(&needed) {
        state.vault.retain(&needed);
    }
}

/// A file with the value of a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInFile {
    /// `secret/key`.
    pub name: String,
    /// Where in the container.
    pub path: String,
    /// Permissions.
    pub mode: u16,
    /// Which value.
    pub version: String,
}

/// What `refs` come to with `secrets`.
pub(super) fn files<'a>(
    refs: &[SecretRef],
    secrets: impl Fn(&Name) -> Option<&'a Secret>,
) -> Vec<SecretInFile> {
    let each = |reference: &SecretRef| {
        let secret = secrets(&reference.name)?;
        let files = reference.keys(secret).map(|(key, entry)| SecretInFile {
            name: format!("{}/{key}", reference.name),
            path: reference.file(key),
            mode: reference.permissions().unwrap_or(0o400),
            version: entry.version.clone(),
        });
        Some(files.collect::<Vec<_>>())
    };
    refs.iter().filter_map(each).flatten().collect()
}

fn secret(resource: &Resource) -> Option<&Secret> {
    match resource {
        Resource::Secret(secret) => Some(secret),
        _ => None,
    }
}

impl State {
    /// All secrets.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let all = self.of_kind(Kind::Secret);
        all.filter_map(|(_, resource)| secret(resource))
    }

    /// Whether it is a secret that something needs which is on its way out: a function may be on paths for a
    /// while, and what runs keeps what it has.
    pub(super) fn named_by_retired(&self, resource: &Resource) -> bool {
        let Resource::Secret(secret) = resource else {
            return false;
        };
        let leaving = self.retired.values();
        let mut leaving = leaving.filter_map(super::rollout::workload);
        leaving.any(|work| work.names_secret(&secret.metadata.name))
    }

    /// Forgets deleted secrets that nothing on its way out needs any more.
    pub(super) fn forget_secrets(&mut self) {
        let all = self.retired.iter();
        let needless = all
            .filter(|(_, resource)| secret(resource).is_some() && !self.named_by_retired(resource));
        let needless: Vec<ResourceId> = needless.map(|(id, _)| id.clone()).collect();
        if needless.is_empty() {
            return;
        }
        for id in needless {
            self.retired.remove(&id);
        }
        forget_values(self);
    }

    /// Everything asked for that has containers.
    pub fn workloads(&self) -> impl Iterator<Item = (&ResourceId, WorkloadSpec<'_>)> {
        let resources = self.resources.iter();
        resources.filter_map(|(id, resource)| Some((id, super::rollout::workload(resource)?)))
    }

    /// One secret, also one that was deleted while something on its way out needs it.
    pub fn secret(&self, name: &Name) -> Option<&Secret> {
        let id = ResourceId::new(Kind::Secret, name.clone());
        self.owner(&id).and_then(secret)
    }

    pub(super) fn secrets_by_name(&self) -> Secrets {
        let named = |secret: &Secret| (secret.metadata.name.clone(), secret.clone());
        self.secrets().map(named).collect()
    }

    /// Takes values out of what is applied. What is the same as before keeps its date.
    pub(super) fn take_up(vault: &mut Vault, resource: &mut Resource, known: Option<&Resource>) {
        let Resource::Secret(secret) = resource else {
            return;
        };
        vault.take_up(secret);
        if let Some(Resource::Secret(known)) = known
            && known.keys == secret.keys
        {
            secret.since_ms = known.since_ms;
        }
    }
}
