//! Identifiers carried in headers, each checked once at the edge: SPI, SI, TTL (RFC 8300
//! section 2.3 and 2.2) and VNI (RFC 7348 section 5).

use serde::{Deserialize, Serialize};
use std::fmt;

/// A value that does not fit its header field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} {value} is outside {min}..={max}")]
pub struct IdError {
    /// The field's name as the RFC writes it.
    pub field: &'static str,
    /// The value that was refused.
    pub value: u64,
    /// The smallest legal value.
    pub min: u64,
    /// The largest legal value.
    pub max: u64,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $field:literal, $repr:ty, $min:literal ..= $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name($repr);

        impl $name {
            /// The smallest legal value.
            pub const MIN: Self = Self($min);
            /// The largest legal value.
            pub const MAX: Self = Self($max);

            /// Checks `value` against the width of the field.
            pub const fn new(value: $repr) -> Result<Self, IdError> {
                #[expect(clippy::allow_attributes, reason = "one macro, several widths")]
                #[allow(unused_comparisons, clippy::absurd_extreme_comparisons, reason = "trivially true for full-width fields")]
                if value >= $min && value <= $max {
                    Ok(Self(value))
                } else {
                    Err(IdError { field: $field, value: value as u64, min: $min, max: $max })
                }
            }

            /// The bare number.
            pub const fn get(self) -> $repr {
                self.0
            }
        }

        impl TryFrom<u64> for $name {
            type Error = IdError;
            fn try_from(value: u64) -> Result<Self, IdError> {
                match <$repr>::try_from(value) {
                    Ok(narrow) => Self::new(narrow),
                    Err(_) => Err(IdError { field: $field, value, min: $min, max: $max }),
                }
            }
        }

        impl From<$name> for u64 {
            fn from(id: $name) -> u64 {
                u64::from(id.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// Service Path Identifier, 24 bits.
    Spi, "SPI", u32, 0 ..= 0xff_ffff
);
id!(
    /// Service Index, 8 bits; falls by one at every service function.
    Si, "SI", u8, 0 ..= 255
);
id!(
    /// NSH TTL, 6 bits. An incoming 0 counts as 64 (RFC 8300 section 2.2).
    Ttl, "TTL", u8, 0 ..= 63
);
id!(
    /// VXLAN Network Identifier, 24 bits, never zero here: zero means "no VNI" in too many tools.
    Vni, "VNI", u32, 1 ..= 0xff_ffff
);
id!(
    /// VLAN identifier, 12 bits; 0 means "no VLAN" and 4095 is reserved (IEEE 802.1Q).
    Vid, "VLAN", u16, 1 ..= 4094
);

impl Si {
    /// The index after one more service function, or `None` when the path is exhausted.
    pub const fn next(self) -> Option<Self> {
        match self.0.checked_sub(1) {
            Some(next) => Some(Self(next)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_not_a_legal_vni() {
        let error = Vni::new(0).unwrap_err();
        assert_eq!(error.to_string(), "VNI 0 is outside 1..=16777215");
    }

    #[test]
    fn an_spi_of_25_bits_is_refused_and_named() {
        let error = serde_json::from_str::<Spi>("16777216").unwrap_err();
        assert!(error.to_string().contains("SPI 16777216"), "{error}");
    }

    #[test]
    fn the_service_index_ends_at_zero() {
        assert_eq!(Si::new(1).unwrap().next(), Some(Si::MIN));
        assert_eq!(Si::MIN.next(), None);
    }
}
