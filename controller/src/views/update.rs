//! Updates of a box's agent.

use kc_agent_api::{UpdateOutcome, UpdateRecord};
use serde::{Deserialize, Serialize};

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpdateStateView {
    /// It is on trial.
    Trying,
    /// It runs.
    Updated,
    /// The former version runs.
    Failed,
    /// The box says what this controller does not know.
    Unknown,
}

/// The newest update of a box's agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateView {
    /// The number by which whoever asked knows it.
    pub attempt: u32,
    /// The version that was to run.
    pub version: String,
    /// The version before.
    pub from: String,
    /// What became of it.
    pub state: UpdateStateView,
    /// Why it failed.
    pub reason: Option<String>,
}

impl From<&UpdateRecord> for UpdateView {
    fn from(record: &UpdateRecord) -> Self {
        Self {
            attempt: record.attempt,
            version: record.version.clone(),
            from: record.from.clone(),
            state: match record.outcome {
                UpdateOutcome::Trying => UpdateStateView::Trying,
                UpdateOutcome::Updated => UpdateStateView::Updated,
                UpdateOutcome::Failed => UpdateStateView::Failed,
                UpdateOutcome::Unknown => UpdateStateView::Unknown,
            },
            reason: record.reason.clone(),
        }
    }
}

/// Another version of an agent; its archive follows in frames of octets.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct UpdateRequest {
    /// A number by which the box's view names this attempt later.
    pub attempt: u32,
    /// Octets of the archive.
    pub size: u64,
    /// What minisign writes beside the archive.
    pub signature: String,
    /// Whether it may be older than what runs.
    #[serde(default)]
    pub allow_downgrade: bool,
}
