//! Names of resources and their kinds.

use kc_agent_api::NodeName;
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// Text that is not a legal name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("name {0:?} must be 1 to 63 characters of a-z 0-9 -, the first and last a letter or digit")]
pub struct NameError(pub String);

/// A resource's name: an RFC 1123 label. Clones share the text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Name(Arc<str>);

impl Name {
    /// Checks `value`.
    pub fn new(value: impl Into<String>) -> Result<Self, NameError> {
        NodeName::new(value)
            .map(|name| Self(name.into()))
            .map_err(|error| NameError(error.value))
    }

    /// The bare text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Name {
    type Error = NameError;
    fn try_from(value: String) -> Result<Self, NameError> {
        Self::new(value)
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(value: &str) -> Result<Self, NameError> {
        Self::new(value)
    }
}

impl From<Name> for String {
    fn from(name: Name) -> String {
        name.0.as_ref().to_owned()
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl From<NodeName> for Name {
    fn from(name: NodeName) -> Self {
        Self(name.into())
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A kind of resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A kind of network function and its instances.
    ServiceFunction,
    /// An ordered list of function types.
    Chain,
    /// A replicated container.
    Service,
    /// A box.
    Node,
    /// Values that only containers see.
    Secret,
    /// Resources made from one template.
    Stack,
}

impl Kind {
    /// All kinds, in the order they are listed to users.
    pub const ALL: [Self; 6] = [
        Self::ServiceFunction,
        Self::Chain,
        Self::Service,
        Self::Node,
        Self::Secret,
        Self::Stack,
    ];

    /// As written in manifests.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ServiceFunction => "ServiceFunction",
            Self::Chain => "Chain",
            Self::Service => "Service",
            Self::Node => "Node",
            Self::Secret => "Secret",
            Self::Stack => "Stack",
        }
    }

    /// As written on the command line and in URLs.
    pub const fn plural(self) -> &'static str {
        match self {
            Self::ServiceFunction => "servicefunctions",
            Self::Chain => "chains",
            Self::Service => "services",
            Self::Node => "nodes",
            Self::Secret => "secrets",
            Self::Stack => "stacks",
        }
    }

    /// Every word that `FromStr` takes for this kind, lower case.
    pub const fn words(self) -> &'static [&'static str] {
        match self {
            Self::ServiceFunction => &["servicefunction", "servicefunctions", "sf"],
            Self::Chain => &["chain", "chains"],
            Self::Service => &["service", "services", "svc"],
            Self::Node => &["node", "nodes"],
            Self::Secret => &["secret", "secrets"],
            Self::Stack => &["stack", "stacks"],
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no kind of resource; kinds are servicefunction, chain, service, node, secret, stack"
)]
pub struct KindError(pub String);

impl FromStr for Kind {
    type Err = KindError;
    fn from_str(text: &str) -> Result<Self, KindError> {
        let word = text.to_ascii_lowercase();
        Self::ALL
            .into_iter()
            .find(|kind| kind.words().contains(&word.as_str()))
            .ok_or_else(|| KindError(text.to_owned()))
    }
}

/// Kind and name, written `Chain/web`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ResourceId {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: Name,
}

impl ResourceId {
    /// Puts the two together.
    pub const fn new(kind: Kind, name: Name) -> Self {
        Self { kind, name }
    }

    /// Not a resource: what all of a kind come behind.
    pub(crate) fn before(kind: Kind) -> Self {
        Self::new(kind, Name("".into()))
    }
}

/// Text that is no `Kind/name`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResourceIdError {
    /// No slash.
    #[error("{0:?} must be written KIND/NAME")]
    Shape(String),
    /// The part before the slash.
    #[error(transparent)]
    Kind(#[from] KindError),
    /// The part behind the slash.
    #[error(transparent)]
    Name(#[from] NameError),
}

impl FromStr for ResourceId {
    type Err = ResourceIdError;
    fn from_str(text: &str) -> Result<Self, ResourceIdError> {
        let (kind, name) = text
            .split_once('/')
            .ok_or_else(|| ResourceIdError::Shape(text.to_owned()))?;
        Ok(Self::new(kind.parse()?, name.parse()?))
    }
}

impl TryFrom<String> for ResourceId {
    type Error = ResourceIdError;
    fn try_from(value: String) -> Result<Self, ResourceIdError> {
        value.parse()
    }
}

impl From<ResourceId> for String {
    fn from(id: ResourceId) -> String {
        id.to_string()
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_found_by_their_usual_words() {
        assert_eq!("sf".parse(), Ok(Kind::ServiceFunction));
        assert_eq!("Chains".parse(), Ok(Kind::Chain));
        assert!("pod".parse::<Kind>().is_err());
        for kind in Kind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(kind.plural().parse(), Ok(kind));
        }
    }

    #[test]
    fn an_id_survives_its_text() {
        let id: ResourceId = "chain/web".parse().unwrap();
        assert_eq!(id.to_string(), "Chain/web");
        assert_eq!(id.to_string().parse::<ResourceId>().unwrap(), id);
        assert!("web".parse::<ResourceId>().is_err());
        assert!("chain/We b".parse::<ResourceId>().is_err());
    }
}
