//! `Secret`: how it is written, and that nothing it holds is ever quoted.

use super::check::Desk;
use super::{ManifestError, Page, Tree, read};
use crate::resource::{
    ApiVersion, DOCKER_CONFIG, Kind, Metadata, Secret, SecretKey, is_docker_config,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kc_agent_api::Hidden;
use serde::Deserialize;
use std::collections::BTreeMap;

/// Most that one secret may hold: it is in the document of every box that needs it.
const MAX_OCTETS: usize = 64 << 10;

/// A secret as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    #[serde(rename = "apiVersion")]
    _api_version: ApiVersion,
    #[serde(rename = "kind")]
    _kind: Kind,
    metadata: Metadata,
    #[serde(default)]
    data: BTreeMap<String, String>,
    #[serde(default)]
    string_data: BTreeMap<String, String>,
}

/// Whether text is, or was meant to be, a secret: then no line of it is shown to anybody.
pub(super) fn is_secret(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut kinds = lower.match_indices("kind");
    let named = kinds.any(|(at, word)| {
        let rest = lower.get(at + word.len()..).unwrap_or_default();
        rest.trim_start_matches(['"', '\'', ' ', '\t', ':'])
            .starts_with("sec")
    });
    named || lower.contains("stringdata")
}

pub(super) fn read(page: &Page<'_>, text: &str, tree: &Tree) -> Result<Secret, ManifestError> {
    let written: Written = read::typed(page, text, Some(tree))?;
    let mut keys = BTreeMap::new();
    for (key, text) in written.data {
        let packed: String = text.split_whitespace().collect();
        let octets = STANDARD.decode(packed).map_err(|_| {
            let (line, column) = tree.locate(&["data", &key]);
            let message = format!("the value of {key} is no base64; plain text is for stringData");
            page.error(line, column, message)
        })?;
        keys.insert(key, SecretKey::new(Hidden::new(octets)));
    }
    for (key, text) in written.string_data {
        if keys.contains_key(&key) {
            let (line, column) = tree.locate(&["stringData", &key]);
            let message = format!("{key} is in data as well");
            return Err(page.error(line, column, message));
        }
        keys.insert(key, SecretKey::new(Hidden::new(text.into_bytes())));
    }
    Ok(Secret {
        api_version: ApiVersion::V1,
        metadata: written.metadata,
        keys,
        since_ms: None,
    })
}

pub(super) fn check(desk: &mut Desk<'_>, secret: &Secret) {
    let message = "a secret needs a key: stringData: {password: …}";
    desk.refuse_if(secret.keys.is_empty(), &["metadata", "name"], message);
    for key in secret.keys.keys() {
        let message = format!("key {key:?} must be 1 to 253 characters of a-z A-Z 0-9 . _ -");
        for field in ["data", "stringData"] {
            if desk.has(&[field, key]) {
                desk.refuse_if(!is_key(key), &[field, key], message.clone());
            }
        }
    }
    let config = secret
        .keys
        .get(DOCKER_CONFIG)
        .and_then(|key| key.value.as_ref());
    if config.is_some_and(|config| !is_docker_config(config.reveal())) {
        let message = format!(
            "{DOCKER_CONFIG} is Docker's config.json: {{\"auths\": {{\"registry\": {{\"auth\": …}}}}}}"
        );
        desk.wrong(&["metadata", "name"], message);
    }
    let total: usize = secret.keys.values().map(|key| key.octets).sum();
    let message = format!("values of {total} octets in all; at most {MAX_OCTETS} are taken");
    desk.refuse_if(total > MAX_OCTETS, &["metadata", "name"], message);
}

/// Whether a key can be the name of a file.
pub(super) fn is_key(key: &str) -> bool {
    let plain = key
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    plain && !key.is_empty() && key.len() <= 253 && key != "." && key != ".."
}
