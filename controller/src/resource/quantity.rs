//! Amounts of CPU and memory as people write them: `500m`, `1.5`, `64Mi`, `1G`.

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Text that is not an amount.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// Not an amount of CPU.
    #[error("cpu {0:?} must be cores such as 2 or 0.5, or thousandths such as 500m, above zero")]
    Cpu(String),
    /// Not an amount of memory.
    #[error("memory {0:?} must be bytes or a number with Ki, Mi, Gi, k, M or G, above zero")]
    Memory(String),
}

/// CPU in thousandths of a core, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Cpu(u32);

/// Memory in bytes, never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(into = "String")]
pub struct Memory(u64);

impl Cpu {
    /// Thousandths of a core.
    pub const fn millis(self) -> u32 {
        self.0
    }
}

impl Memory {
    /// Bytes.
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

/// A decimal number with at most three places, in thousandths.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(places) || places.len() > 3 {
        return None;
    }
    let fraction: u64 = format!("{places:0<3}").parse().ok()?;
    whole
        .parse::<u64>()
        .ok()?
        .checked_mul(1000)?
        .checked_add(fraction)
}

impl FromStr for Cpu {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let millis = match text.strip_suffix('m') {
            Some(millis) if millis.bytes().all(|b| b.is_ascii_digit()) => millis.parse().ok(),
            Some(_) => None,
            None => thousandths(text),
        };
        millis
            .and_then(|millis: u64| u32::try_from(millis).ok())
            .filter(|&millis| millis > 0)
            .map(Self)
            .ok_or_else(|| QuantityError::Cpu(text.to_owned()))
    }
}

const UNITS: [(&str, u64); 6] = [
    ("Gi", 1 << 30),
    ("Mi", 1 << 20),
    ("Ki", 1 << 10),
    ("G", 1_000_000_000),
    ("M", 1_000_000),
    ("k", 1_000),
];

impl FromStr for Memory {
    type Err = QuantityError;
    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let (number, unit) = UNITS
            .iter()
            .find_map(|&(suffix, unit)| text.strip_suffix(suffix).map(|number| (number, unit)))
            .unwrap_or((text, 1));
        thousandths(number)
            .and_then(|value| value.checked_mul(unit))
            .map(|value| value / 1000)
            .filter(|&bytes| bytes > 0)
            .map(Self)
            .ok_or_else(|| QuantityError::Memory(text.to_owned()))
    }
}

impl fmt::Display for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            f.pad(&(self.0 / 1000).to_string())
        } else {
            f.pad(&format!("{}m", self.0))
        }
    }
}

impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fitting = UNITS
            .iter()
            .take(3)
            .find(|(_, unit)| self.0.is_multiple_of(*unit));
        match fitting {
            Some((suffix, unit)) => f.pad(&format!("{}{suffix}", self.0 / unit)),
            None => f.pad(&self.0.to_string()),
        }
    }
}

impl From<Cpu> for String {
    fn from(cpu: Cpu) -> String {
        cpu.to_string()
    }
}

impl From<Memory> for String {
    fn from(memory: Memory) -> String {
        memory.to_string()
    }
}

/// Takes a scalar however it was written, number or text.
struct Scalar;

impl Visitor<'_> for Scalar {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an amount such as 500m or 64Mi")
    }
    fn visit_str<E: de::Error>(self, value: &str) -> Result<String, E> {
        Ok(value.to_owned())
    }
    fn visit_u64<E: de::Error>(self, value: u64) -> Result<String, E> {
        Ok(value.to_string())
    }
    fn visit_i64<E: de::Error>(self, value: i64) -> Result<String, E> {
        Ok(value.to_string())
    }
    fn visit_f64<E: de::Error>(self, value: f64) -> Result<String, E> {
        Ok(value.to_string())
    }
}

impl<'de> Deserialize<'de> for Cpu {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Scalar)?;
        text.parse().map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for Memory {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_any(Scalar)?;
        text.parse().map_err(de::Error::custom)
    }
}

/// What a container asks of its node, and is limited to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase", default)]
pub struct Requests {
    /// CPU.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Cpu>,
    /// Memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Memory>,
}

impl Requests {
    /// CPU asked for, in thousandths of a core.
    pub fn cpu_millis(&self) -> u32 {
        self.cpu.map_or(0, Cpu::millis)
    }

    /// Memory asked for, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        self.memory.map_or(0, Memory::bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_is_cores_or_thousandths() {
        for (text, millis) in [("500m", 500), ("2", 2000), ("0.25", 250), ("1.5", 1500)] {
            assert_eq!(text.parse::<Cpu>().unwrap().millis(), millis, "{text}");
        }
        for wrong in [
            "",
            "0",
            "m",
            "-1",
            "1.2345",
            "500M",
            "1e3",
            "0.5m",
            "99999999999",
        ] {
            assert!(wrong.parse::<Cpu>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn memory_knows_binary_and_decimal_units() {
        for (text, bytes) in [
            ("64Mi", 64 << 20),
            ("1G", 1_000_000_000),
            ("512", 512),
            ("1.5Ki", 1536),
        ] {
            assert_eq!(text.parse::<Memory>().unwrap().bytes(), bytes, "{text}");
        }
        for wrong in ["", "0", "64MB", "Mi", "-5", "99999999999Gi"] {
            assert!(wrong.parse::<Memory>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_amount_survives_its_text() {
        for text in ["500m", "2"] {
            assert_eq!(text.parse::<Cpu>().unwrap().to_string(), text);
        }
        for text in ["64Mi", "1Gi", "1000", "3Ki"] {
            assert_eq!(text.parse::<Memory>().unwrap().to_string(), text);
        }
        let requests: Requests = serde_json::from_str(r#"{"cpu":0.5,"memory":1048576}"#).unwrap();
        assert_eq!(
            serde_json::to_string(&requests).unwrap(),
            r#"{"cpu":"500m","memory":"1Mi"}"#
        );
    }
}
