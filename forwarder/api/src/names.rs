//! Names of ports, functions and tunnels, and MAC addresses as text.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Text that is not a legal name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Wrong length or characters.
    #[error(
        "{kind} name {value:?} must be 1 to {max} characters of a-z A-Z 0-9 . _ -, the first a letter or digit"
    )]
    Malformed {
        /// What was to be named.
        kind: &'static str,
        /// The refused text.
        value: String,
        /// Longest legal name.
        max: usize,
    },
    /// Not six hexadecimal octets.
    #[error("MAC address {0:?} must be six hexadecimal octets such as 02:00:00:00:00:01")]
    Mac(String),
}

fn check(kind: &'static str, max: usize, value: String) -> Result<String, NameError> {
    let legal = !value.is_empty()
        && value.len() <= max
        && value.starts_with(|c: char| c.is_ascii_alphanumeric())
        && value
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
    if legal {
        Ok(value)
    } else {
        Err(NameError::Malformed { kind, value, max })
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, $kind:literal, $max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `value`.
            pub fn new(value: impl Into<String>) -> Result<Self, NameError> {
                check($kind, $max, value.into()).map(Self)
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
                name.0
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
    /// A forwarder port. At most 15 characters, so that it can be the interface's own name.
    PortName, "port", 15
);
name!(
    /// One instance of a service function, such as `fw-1`.
    SfName, "service function", 63
);
name!(
    /// One forwarder among those of a network.
    SffName, "SFF", 63
);
name!(
    /// A group of next hops.
    GroupName, "group", 63
);
name!(
    /// A tunnel to another VTEP.
    TunnelName, "tunnel", 63
);

/// A 48-bit MAC address, written `02:00:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// ff:ff:ff:ff:ff:ff.
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Broadcast and multicast have the lowest bit of the first octet set.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
}

impl FromStr for MacAddr {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let refuse = || NameError::Mac(text.to_owned());
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts
                .next()
                .filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
                .ok_or_else(refuse)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| refuse())?;
        }
        if parts.next().is_some() {
            Err(refuse())
        } else {
            Ok(Self(octets))
        }
    }
}

impl TryFrom<String> for MacAddr {
    type Error = NameError;
    fn try_from(value: String) -> Result<Self, NameError> {
        value.parse()
    }
}

impl From<MacAddr> for String {
    fn from(mac: MacAddr) -> String {
        mac.to_string()
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_name_fits_an_interface_name() {
        assert!(PortName::new("abcdefghijklmno").is_ok());
        assert!(PortName::new("abcdefghijklmnop").is_err());
        assert!(PortName::new("").is_err());
        assert!(PortName::new("a/b").is_err());
    }

    #[test]
    fn a_mac_address_survives_its_text() {
        let mac: MacAddr = "02:00:5e:00:fF:01".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:00:ff:01");
        for wrong in [
            "",
            "02:00",
            "02:00:5e:00:ff:01:02",
            "2:00:5e:00:ff:01",
            "+2:00:5e:00:ff:01",
            "zz:00:5e:00:ff:01",
        ] {
            assert!(wrong.parse::<MacAddr>().is_err(), "{wrong}");
        }
    }
}
