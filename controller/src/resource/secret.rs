//! `Secret`: values for containers that nobody else may read. What is shown, stored with the
//! resource and compared is how long each value is and a keyed fingerprint; the value itself is only
//! ever on its way into the vault of [`crate::plan`].

use super::{ApiVersion, Metadata, Name};
use kc_agent_api::Hidden;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Values under one name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Secret {
    /// Always `kcluster/v1`.
    pub api_version: ApiVersion,
    /// Who it is.
    pub metadata: Metadata,
    /// Its values by key.
    pub keys: BTreeMap<String, SecretKey>,
    /// Since when it has these values.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since_ms: Option<u64>,
}

/// What may be known of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretKey {
    /// How long it is.
    pub octets: usize,
    /// Another for every other value, and without the controller's key nobody can try values on it.
    pub version: String,
    /// The value, between manifest and vault.
    #[serde(skip)]
    pub value: Option<Hidden>,
}

impl SecretKey {
    /// A value as a manifest brings it.
    pub fn new(value: Hidden) -> Self {
        Self {
            octets: value.reveal().len(),
            version: String::new(),
            value: Some(value),
        }
    }
}

/// A secret in a container: one of its keys, or all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct SecretRef {
    /// The secret.
    pub name: Name,
    /// Its key; all of them when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// Absolute path in the container: of the file with `key`, of the directory without;
    /// `/run/secrets/<name>` and in it `<key>` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// Permissions, `0400` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<String>,
}

impl SecretRef {
    /// The keys that are meant, of those the secret has.
    pub fn keys<'a>(
        &'a self,
        secret: &'a Secret,
    ) -> impl Iterator<Item = (&'a String, &'a SecretKey)> {
        let meant = |key: &String| self.key.as_ref().is_none_or(|only| only == key);
        secret.keys.iter().filter(move |(key, _)| meant(key))
    }

    /// Where the file of `key` is in the container.
    pub fn file(&self, key: &str) -> String {
        match (&self.path, &self.key) {
            (Some(path), Some(_)) => path.clone(),
            (Some(dir), None) => format!("{}/{key}", dir.trim_end_matches('/')),
            (None, _) => format!("/run/secrets/{}/{key}", self.name),
        }
    }

    /// Permissions as a number; `None` for what are none.
    pub fn permissions(&self) -> Option<u16> {
        let Some(mode) = &self.mode else {
            return Some(0o400);
        };
        let digits =
            matches!(mode.len(), 3 | 4) && mode.bytes().all(|b| (b'0'..=b'7').contains(&b));
        let mode = u16::from_str_radix(mode, 8).ok().filter(|_| digits)?;
        (mode & 0o777 == mode && mode & 0o400 != 0).then_some(mode)
    }
}
