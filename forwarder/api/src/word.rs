//! A word out of a list that later versions may lengthen.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A word that this version knows, or another one as it came. What a program reads from one that
/// may be newer is read as this, so that one new word does not make a whole message malformed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Word<T> {
    /// One of the list.
    Known(T),
    /// A newer version's.
    Unknown(String),
}

impl<T> Word<T> {
    /// The word, if this version knows it.
    pub const fn known(&self) -> Option<&T> {
        match self {
            Self::Known(word) => Some(word),
            Self::Unknown(_) => None,
        }
    }
}

impl<T> From<T> for Word<T> {
    fn from(word: T) -> Self {
        Self::Known(word)
    }
}

impl<T: PartialEq> PartialEq<T> for Word<T> {
    fn eq(&self, other: &T) -> bool {
        self.known() == Some(other)
    }
}

impl<T: fmt::Display> fmt::Display for Word<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(word) => word.fmt(f),
            Self::Unknown(word) => f.pad(word),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::{Backend, PortState, PortStatus};

    #[test]
    fn a_newer_forwarders_words_are_kept_as_they_came() {
        let text = r#"{"name":"a","interface":"a","backend":"dpdk","state":"draining","mtu":1500,
            "reason":"","colour":"green"}"#;
        let status: PortStatus = serde_json::from_str(text).unwrap();
        assert_eq!(status.backend.to_string(), "dpdk");
        assert!(status.state != PortState::Up && status.state != PortState::Absent);
        let text = serde_json::to_string(&status).unwrap();
        assert!(
            text.contains(r#""backend":"dpdk","state":"draining""#),
            "{text}"
        );
    }

    #[test]
    fn what_is_asked_of_this_version_stays_strict() {
        assert!(serde_json::from_str::<Backend>("\"dpdk\"").is_err());
        assert!(toml::from_str::<crate::Port>("name = \"a\"\nbackend = \"dpdk\"").is_err());
    }
}
