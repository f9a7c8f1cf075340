//! Where a container can write: storage of the box that outlives it, and memory.

use serde::{Deserialize, Serialize};

/// Storage of the box. Containers of one box that name the same volume share it, and it is kept
/// when they are replaced, and when they leave the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Volume {
    /// Unique on the box; the engine's volume is called `kc-<name>`.
    pub name: String,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may not write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

impl Volume {
    /// Whether the engine takes `name` for a volume's.
    pub fn is_legal_name(name: &str) -> bool {
        name.len() <= 64
            && name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && name
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
    }
}

/// A file system in memory, empty at each start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tmpfs {
    /// Absolute path in the container.
    pub target: String,
    /// Most it may hold; half the box's memory when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}
