//! Resources as manifests. Values of secrets are in them, which are on no other way out of a resource.

use crate::manifest::tree::Place;
use crate::resource::{ApiVersion, Kind, Metadata, Resource};
use serde::Serialize;
use std::collections::BTreeMap;

/// A resource, and where it came from.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Made {
    pub(super) resource: Resource,
    pub(super) place: Place,
    /// The keys that lead there, such as `services.web`.
    pub(super) path: String,
}

/// A resource as it is written.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Manifest<'a> {
    /// A secret, with its values.
    Secret(SecretManifest<'a>),
    /// Any other.
    Plain(&'a Resource),
}

/// A secret as it is written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecretManifest<'a> {
    kind: Kind,
    api_version: ApiVersion,
    metadata: &'a Metadata,
    string_data: BTreeMap<&'a str, &'a str>,
}

impl std::fmt::Debug for SecretManifest<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretManifest({})", self.metadata.name)
    }
}

impl<'a> From<&'a Resource> for Manifest<'a> {
    fn from(resource: &'a Resource) -> Self {
        let Resource::Secret(secret) = resource else {
            return Self::Plain(resource);
        };
        let text = |value: &'a kc_agent_api::Hidden| std::str::from_utf8(value.reveal()).ok();
        let values = secret.keys.iter().filter_map(|(key, entry)| {
            let value = entry.value.as_ref().and_then(text)?;
            Some((key.as_str(), value))
        });
        Self::Secret(SecretManifest {
            kind: Kind::Secret,
            api_version: secret.api_version,
            metadata: &secret.metadata,
            string_data: values.collect(),
        })
    }
}

/// All of them in one text, and the line that each begins at.
pub(super) fn written(made: &[Made]) -> (String, Vec<usize>) {
    let mut text = String::new();
    let mut lines = Vec::new();
    for one in made {
        lines.push(text.matches('\n').count() + 1);
        text.push_str("---\n");
        let manifest = Manifest::from(&one.resource);
        text.push_str(&serde_saphyr::to_string(&manifest).unwrap_or_default());
        if !text.ends_with('\n') {
            text.push('\n');
        }
    }
    (text, lines)
}
