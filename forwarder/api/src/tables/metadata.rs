//! NSH context that a classifier puts on.

use serde::{Deserialize, Serialize};

/// NSH context headers (RFC 8300 sections 2.4 and 2.5).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Metadata {
    /// MD type 1: sixteen octets, written as four words.
    Md1 {
        /// The fixed-length context header, most significant word first.
        context: [u32; 4],
    },
    /// MD type 2 without any variable-length header: the shortest NSH.
    Md2,
}

impl Default for Metadata {
    fn default() -> Self {
        Self::Md1 { context: [0; 4] }
    }
}
