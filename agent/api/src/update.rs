//! An agent's update: what its archive says of itself, and what became of it on a box.

use serde::{Deserialize, Serialize};

/// Name of the manifest in an update's archive. It comes first.
pub const MANIFEST: &str = "manifest.json";

/// What an archive holds. Unknown fields are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UpdateManifest {
    /// Version of the archive's form: 1.
    pub format: u32,
    /// Version of the agent, as <https://semver.org> has it.
    pub version: String,
    /// CPU architecture in Rust's terms: `x86_64`, `aarch64`, `arm`.
    pub arch: String,
}

/// The newest update of a box, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct UpdateRecord {
    /// Whoever asked for it knows it by this number.
    pub attempt: u32,
    /// The version that was to run.
    pub version: String,
    /// The version that ran before.
    pub from: String,
    /// What became of it.
    pub outcome: UpdateOutcome,
    /// Why it failed, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateOutcome {
    /// It is on trial.
    Trying,
    /// It runs.
    Updated,
    /// The former version runs.
    Failed,
    /// An outcome this version does not know.
    #[serde(other)]
    Unknown,
}
