//! NSH context that a classifier puts on.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

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
    /// MD type 2. Without headers it is the shortest NSH.
    Md2 {
        /// Variable-length context headers, in order; 244 octets with their headings and padding
        /// at most, since an NSH has 252.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        headers: Vec<ContextHeader>,
    },
}

impl Default for Metadata {
    fn default() -> Self {
        Self::Md1 { context: [0; 4] }
    }
}

/// One variable-length context header (RFC 8300 section 2.5.1).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ContextHeader {
    /// Metadata class: who defines the type.
    pub class: u16,
    /// Type within the class.
    #[serde(rename = "type")]
    pub kind: u8,
    /// The value, without padding.
    #[serde(default)]
    pub value: ContextValue,
}

/// Value of a context header, up to 127 octets; written in hexadecimal, such as `0a0001ff`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContextValue(Vec<u8>);

/// Not the value of a context header.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ContextValueError {
    /// Other signs than pairs of hexadecimal digits.
    #[error("{0:?} must be hexadecimal digits, two for each octet")]
    Hex(String),
    /// Longer than the header's length field can say.
    #[error("a context value of {0} octets is too long; at most {max} are possible", max = ContextValue::MAX)]
    Long(usize),
}

impl ContextValue {
    /// Longest value in octets: the length field has 7 bits.
    pub const MAX: usize = 127;

    /// Checks the length.
    ///
    /// # Errors
    /// More than [`MAX`](Self::MAX) octets.
    pub fn new(octets: impl Into<Vec<u8>>) -> Result<Self, ContextValueError> {
        let octets = octets.into();
        if octets.len() > Self::MAX {
            Err(ContextValueError::Long(octets.len()))
        } else {
            Ok(Self(octets))
        }
    }

    /// The bare octets.
    pub fn octets(&self) -> &[u8] {
        &self.0
    }
}

impl FromStr for ContextValue {
    type Err = ContextValueError;
    fn from_str(text: &str) -> Result<Self, ContextValueError> {
        let digit = |digit: u8| {
            char::from(digit)
                .to_digit(16)
                .and_then(|d| u8::try_from(d).ok())
        };
        let octet = |pair: &[u8]| match pair {
            &[high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        };
        let octets: Option<Vec<u8>> = text.as_bytes().chunks(2).map(octet).collect();
        Self::new(octets.ok_or_else(|| ContextValueError::Hex(text.to_owned()))?)
    }
}

impl TryFrom<String> for ContextValue {
    type Error = ContextValueError;
    fn try_from(value: String) -> Result<Self, ContextValueError> {
        value.parse()
    }
}

impl From<ContextValue> for String {
    fn from(value: ContextValue) -> String {
        value.to_string()
    }
}

impl fmt::Display for ContextValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|octet| write!(f, "{octet:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_header_is_written_in_hexadecimal() {
        let text = r#"{"md2":{"headers":[{"class":258,"type":5,"value":"0a00FF"}]}}"#;
        let metadata: Metadata = serde_json::from_str(text).unwrap();
        let Metadata::Md2 { headers } = &metadata else {
            panic!("{metadata:?}")
        };
        assert_eq!(headers[0].value.octets(), [10, 0, 255]);
        assert_eq!(headers[0].value.to_string(), "0a00ff");
        assert_eq!(
            serde_json::from_str::<Metadata>(r#"{"md2":{}}"#).unwrap(),
            Metadata::Md2 { headers: vec![] }
        );
    }

    #[test]
    fn a_value_that_no_header_can_hold_is_refused() {
        for wrong in ["0", "0x00", "zz", "é", "00 0"] {
            assert!(
                matches!(
                    wrong.parse::<ContextValue>(),
                    Err(ContextValueError::Hex(_))
                ),
                "{wrong}"
            );
        }
        assert!("00".repeat(127).parse::<ContextValue>().is_ok());
        let error = "00".repeat(128).parse::<ContextValue>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "a context value of 128 octets is too long; at most 127 are possible"
        );
    }
}
