//! The tables `[home-assistant]` and `[prometheus]` of the configuration. A table that is not
//! there is a rendering nobody wants.

use serde::Deserialize;
use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// Why a setting was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReadingsError {
    /// No topic can begin like that.
    #[error(
        "prefix {0:?} must be levels of an MQTT topic, such as homeassistant: none empty, no + and no #"
    )]
    Prefix(String),
    /// Nothing one can listen on.
    #[error("listen {0:?} must be ADDRESS:PORT, such as 127.0.0.1:9273")]
    Listen(String),
}

/// How a box shows up in Home Assistant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct HomeAssistant {
    /// Where Home Assistant looks for devices.
    pub prefix: TopicPrefix,
}

/// How Prometheus reads a box.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Prometheus {
    /// Where it may ask.
    pub listen: Listen,
}

/// The first levels of a topic; Home Assistant's own default is `homeassistant`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct TopicPrefix(String);

impl Default for TopicPrefix {
    fn default() -> Self {
        Self("homeassistant".into())
    }
}

impl FromStr for TopicPrefix {
    type Err = ReadingsError;
    fn from_str(text: &str) -> Result<Self, ReadingsError> {
        let legal = |level: &str| !level.is_empty() && !level.contains(['+', '#', '\0']);
        // A topic that begins with $ is the broker's own (MQTT 3.1.1 section 4.7.2).
        if text.split('/').all(legal) && !text.starts_with('$') && text.len() <= 255 {
            Ok(Self(text.to_owned()))
        } else {
            Err(ReadingsError::Prefix(text.to_owned()))
        }
    }
}

impl TryFrom<String> for TopicPrefix {
    type Error = ReadingsError;
    fn try_from(text: String) -> Result<Self, ReadingsError> {
        text.parse()
    }
}

impl fmt::Display for TopicPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// An address and a port to listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Listen(pub SocketAddr);

impl FromStr for Listen {
    type Err = ReadingsError;
    fn from_str(text: &str) -> Result<Self, ReadingsError> {
        let refuse = |_| ReadingsError::Listen(text.to_owned());
        text.parse().map(Self).map_err(refuse)
    }
}

impl TryFrom<String> for Listen {
    type Error = ReadingsError;
    fn try_from(text: String) -> Result<Self, ReadingsError> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_may_have_levels_but_no_wildcards() {
        for right in ["homeassistant", "house/discovery", "haus ä"] {
            assert_eq!(right.parse::<TopicPrefix>().unwrap().to_string(), right);
        }
        for wrong in ["", "/", "a//b", "a/", "+", "a/#", "$SYS/a", "a\0"] {
            assert!(wrong.parse::<TopicPrefix>().is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn an_address_to_listen_on_has_a_port_and_no_name() {
        assert!("[::]:9273".parse::<Listen>().is_ok());
        for wrong in ["9273", "127.0.0.1", "localhost:9273", ":9273", "1.2.3.4:x"] {
            let error = wrong.parse::<Listen>().unwrap_err().to_string();
            assert!(error.contains("127.0.0.1:9273"), "{error}");
        }
    }
}
