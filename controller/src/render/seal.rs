//! What a node's containers are told that nobody else may read, sealed to that node.

use crate::plan::{Instance, NodeRecord, State};
use crate::resource::{Secret, WorkloadSpec, login};
use kc_agent_api::{PublicKey, PullSecret, Sealed, Sealing, SecretFile};
use std::cell::OnceCell;

/// Seals to one node. The key agreement is made when the first value is sealed, and once.
pub(super) struct Sealer<'a> {
    state: &'a State,
    to: Option<PublicKey>,
    sealing: OnceCell<Sealing>,
}

impl<'a> Sealer<'a> {
    /// To the key that is believed to be the node's.
    pub(super) fn new(state: &'a State, record: &NodeRecord) -> Self {
        Self {
            state,
            to: record.seal_key,
            sealing: OnceCell::new(),
        }
    }

    /// What an instance has: its files, and who pulls its image.
    pub(super) fn of(
        &self,
        name: &str,
        instance: &Instance,
        work: WorkloadSpec<'_>,
    ) -> (Vec<SecretFile>, Option<PullSecret>) {
        let files = self.state.secret_files(name, &instance.owner);
        let files = files.into_iter().filter_map(|file| {
            let value = self.state.vault.value(&file.version)?;
            Some(SecretFile {
                sealed: self.seal(&file.name, value.reveal())?,
                name: file.name,
                path: file.path,
                mode: file.mode,
                version: file.version,
            })
        });
        let secret = work.pull_secret.as_ref();
        let secret = secret.and_then(|name| self.state.secret(name));
        (
            files.collect(),
            secret.and_then(|secret| self.login(secret, work.image)),
        )
    }

    fn login(&self, secret: &Secret, image: &str) -> Option<PullSecret> {
        let name = secret.metadata.name.to_string();
        let value = |key: &str| {
            let version = &secret.keys.get(key)?.version;
            Some(self.state.vault.value(version)?.reveal())
        };
        let login = login(value, image)?;
        let octets = zeroize::Zeroizing::new(serde_json::to_vec(&login).ok()?);
        Some(PullSecret {
            sealed: self.seal(&name, &octets)?,
            version: self
                .state
                .vault
                .version(&[b"pull", name.as_bytes(), &octets]),
            name,
        })
    }

    fn seal(&self, name: &str, value: &[u8]) -> Option<Sealed> {
        let (to, vault) = (self.to?, &self.state.vault);
        let sealing = self.sealing.get_or_init(|| vault.sealing(to));
        Some(vault.seal(sealing, to, name, value))
    }
}
