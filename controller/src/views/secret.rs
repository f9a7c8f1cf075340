//! Secrets as people ask about them: what there is, and how long, and never what it says.

use crate::execute::Snapshot;
use serde::{Deserialize, Serialize};

/// One secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretView {
    /// Name.
    pub name: String,
    /// Its keys.
    pub keys: Vec<SecretKeyView>,
    /// Since when it has these values, milliseconds since 1970.
    pub since_ms: Option<u64>,
    /// Resources whose containers name it, such as `service/db`.
    pub used_by: Vec<String>,
}

/// One key of a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SecretKeyView {
    /// Key.
    pub name: String,
    /// How long its value is.
    pub octets: usize,
}

/// All secrets in name order.
pub fn secrets(moment: &Snapshot) -> Vec<SecretView> {
    let users = moment.state.workloads().collect::<Vec<_>>();
    let view = |secret: &crate::resource::Secret| {
        let name = &secret.metadata.name;
        let named = users.iter().filter(|(_, work)| work.names_secret(name));
        SecretView {
            name: name.to_string(),
            keys: secret
                .keys
                .iter()
                .map(|(key, entry)| SecretKeyView {
                    name: key.clone(),
                    octets: entry.octets,
                })
                .collect(),
            since_ms: secret.since_ms.map(|ms| moment.clock.wall(ms)),
            used_by: named.map(|(id, _)| crate::execute::object(id)).collect(),
        }
    };
    moment.state.secrets().map(view).collect()
}
