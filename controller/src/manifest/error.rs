//! A mistake in a manifest, as a user wants to be told.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One mistake.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ManifestError {
    /// File.
    pub file: String,
    /// Line, from 1; 0 when it is about the file as a whole.
    pub line: u32,
    /// Column in characters, from 1; 0 likewise.
    pub column: u32,
    /// What is wrong.
    pub message: String,
    /// What would be right, when that can be said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The line it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snippet: Option<String>,
}

impl std::error::Error for ManifestError {}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line == 0 {
            write!(f, "{}: {}", self.file, self.message)?;
        } else {
            write!(
                f,
                "{}:{}:{}: {}",
                self.file, self.line, self.column, self.message
            )?;
        }
        if let Some(snippet) = &self.snippet {
            let margin = self.line.to_string();
            let gap = " ".repeat(margin.len());
            let indent = " ".repeat(usize::try_from(self.column).unwrap_or(1).saturating_sub(1));
            write!(f, "\n {margin} | {snippet}\n {gap} | {indent}^")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n hint: {hint}")?;
        }
        Ok(())
    }
}
