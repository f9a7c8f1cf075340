//! Answers to changes, and errors.

use crate::manifest::ManifestError;
use serde::{Deserialize, Serialize};

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepView {
    /// For people, one line.
    pub text: String,
}

/// What a change did, or would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApplyResult {
    /// Whether nothing was changed because a rehearsal was asked for.
    pub dry_run: bool,
    /// Revision of the state the answer speaks of.
    pub revision: u64,
    /// `created function/firewall`, `unchanged chain/web` …: a line each resource.
    pub resources: Vec<ResourceChange>,
    /// What is odd but not wrong.
    #[serde(default)]
    pub warnings: Vec<ManifestProblem>,
    /// What follows from it on the boxes.
    pub steps: Vec<StepView>,
    /// What leaves a box that is to be drained, and what stays, as far as can be said now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evacuation: Option<super::EvacuationView>,
}

impl ApplyResult {
    /// Whether anything is different.
    pub fn changes_something(&self) -> bool {
        self.resources.iter().any(|r| r.change != Change::Unchanged)
    }
}

/// What happens to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ResourceChange {
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// What happens to it.
    pub change: Change,
    /// A unified diff of its manifest; empty when unchanged.
    #[serde(default)]
    pub diff: String,
}

/// What happens to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It is new.
    Created,
    /// It becomes another.
    Configured,
    /// It stays.
    Unchanged,
    /// It goes.
    Deleted,
}

impl std::fmt::Display for Change {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
            Self::Deleted => "deleted",
        })
    }
}

/// Every error has this shape.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorReply {
    /// The error.
    pub error: ErrorBody,
}

/// One error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ErrorBody {
    /// For programs: `not-found`, `invalid-manifest`, `unauthorized` …
    pub code: String,
    /// For people.
    pub message: String,
    /// What is wrong in a manifest, each at its place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<ManifestProblem>,
}

/// One mistake in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ManifestProblem {
    /// File.
    pub file: String,
    /// Line, from 1.
    pub line: Option<u64>,
    /// Column, from 1.
    pub column: Option<u64>,
    /// What is wrong, and what would be right.
    pub message: String,
    /// The lines around it, with a mark.
    pub snippet: Option<String>,
}

impl From<ManifestError> for ManifestProblem {
    fn from(error: ManifestError) -> Self {
        let whole = error.line == 0;
        let mark = error.snippet.as_ref().map(|line| {
            let number = error.line.to_string();
            let gap = " ".repeat(number.len());
            let before = usize::try_from(error.column).unwrap_or(1).saturating_sub(1);
            format!(" {number} | {line}\n {gap} | {}^", " ".repeat(before))
        });
        let message = match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        };
        Self {
            file: error.file,
            line: (!whole).then_some(error.line.into()),
            column: (!whole && error.column != 0).then_some(error.column.into()),
            message,
            snippet: mark,
        }
    }
}

/// Manifests sent together: all of them are taken, or none.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ManifestFiles {
    /// The files.
    pub files: Vec<ManifestFile>,
    /// Parameters of stacks among them, each `NAME=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameters: Vec<String>,
    /// Files of parameters: YAML, `NAME: VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parameter_files: Vec<ManifestFile>,
    /// Stacks take over resources that exist and belong to none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub adopt: bool,
}

impl std::fmt::Debug for ManifestFiles {
    /// Parameters may be hidden.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (files, parameters) = (&self.files, self.parameters.len());
        write!(f, "ManifestFiles({files:?}, {parameters} parameters)")
    }
}

/// One file of manifests.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct ManifestFile {
    /// Name, for error messages.
    pub name: String,
    /// YAML, one or more documents.
    pub content: String,
}

impl std::fmt::Debug for ManifestFile {
    /// Secrets may be in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "ManifestFile({}, {} octets)",
            self.name,
            self.content.len()
        )
    }
}
