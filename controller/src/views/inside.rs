//! What is asked of a container.

use serde::{Deserialize, Serialize};

/// A command to run.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExecRequest {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Whether frames of octets are its standard input; it is empty otherwise.
    #[serde(default)]
    pub stdin: bool,
    /// Rows and columns of its terminal, if it shall have one.
    #[serde(default)]
    pub tty: Option<(u16, u16)>,
}

/// Files to copy, as a tar archive in frames of octets.
#[derive(Debug, Clone, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CopyRequest {
    /// Path in the container.
    pub path: String,
    /// Into the container, where `path` is a directory, else beside it; out of it otherwise.
    #[serde(default)]
    pub upload: bool,
}
