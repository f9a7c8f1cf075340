//! Names of nodes and domains, and the identity of one boot. Clones of a name share its text.

use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Text that is not a legal name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} {value:?} must be 1 to 63 characters of a-z 0-9 -, the first and last a letter or digit"
)]
pub struct NameError {
    /// What was to be named.
    pub kind: &'static str,
    /// The refused text.
    pub value: String,
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
        #[serde(try_from = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks `value`: an RFC 1123 label, which is also safe inside an MQTT topic.
            pub fn new(value: impl Into<String>) -> Result<Self, NameError> {
                let value = value.into();
                let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
                let legal = value.len() <= 63
                    && edge(value.chars().next())
                    && edge(value.chars().last())
                    && value.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
                if legal { Ok(Self(value.into())) } else { Err(NameError { kind: $kind, value }) }
            }

            /// The bare text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;
            fn try_from(value: String) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl FromStr for $name {
            type Err = NameError;
            fn from_str(value: &str) -> Result<Self, NameError> {
                Self::new(value)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0.as_ref().to_owned()
            }
        }

        impl From<$name> for Arc<str> {
            fn from(name: $name) -> Arc<str> {
                name.0
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    };
}

name!(
    /// One box.
    NodeName, "node name"
);
name!(
    /// One administrative domain: a controller and its boxes.
    DomainName, "domain name"
);

/// The kernel's boot id: changes with every boot, so numbers that restart can be told apart.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BootId(pub String);

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_cannot_break_out_of_its_topic() {
        for wrong in [
            "",
            "Box",
            "a/b",
            "#",
            "+",
            "-a",
            "a-",
            "a b",
            &"x".repeat(64),
        ] {
            assert!(NodeName::new(wrong).is_err(), "{wrong}");
        }
        assert!(NodeName::new("rpi-3").is_ok());
    }
}
