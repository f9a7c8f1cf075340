//! What a container is given that nobody else may read.

use crate::Sealed;
use serde::{Deserialize, Serialize};

/// A file of a container, kept in the box's memory and mounted read-only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct SecretFile {
    /// `secret/key`, the name the value is sealed under.
    pub name: String,
    /// Absolute path in the container.
    pub path: String,
    /// Permissions, such as 0o400.
    #[serde(default = "owners")]
    pub mode: u16,
    /// Changes with the value, and tells nothing of it to whoever lacks the controller's key.
    pub version: String,
    /// The value.
    pub sealed: Sealed,
}

fn owners() -> u16 {
    0o400
}

/// Who pulls an image: a [`PullLogin`], sealed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PullSecret {
    /// The secret, the name the value is sealed under.
    pub name: String,
    /// Changes with the value.
    pub version: String,
    /// The value.
    pub sealed: Sealed,
}

/// What a registry is told. Exists between opening it and asking the engine, and in nobody's log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PullLogin {
    /// User.
    pub username: String,
    /// Password, or token.
    pub password: String,
    /// The registry; that of the image when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
}

impl std::fmt::Debug for PullLogin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PullLogin(***)")
    }
}

impl Drop for PullLogin {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.password);
    }
}
