//! The envelope of every payload: version, size limit, and when it was made.

use crate::BootId;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The version this crate writes, and the only one it reads.
pub const VERSION: u32 = 1;

/// When something was measured, by a box that may not know what day it is.
///
/// Wall time is for people. Order within one boot is by `mono_ms`; across boxes by the
/// receiver's own clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Stamp {
    /// Which boot.
    pub boot: BootId,
    /// Milliseconds since that boot (CLOCK_BOOTTIME).
    pub mono_ms: u64,
    /// Milliseconds since 1970 by the box's own clock, right or wrong.
    pub wall_ms: u64,
}

/// Marks types that travel as a whole payload.
pub trait Payload: Serialize + DeserializeOwned {
    /// Name for errors.
    const NAME: &'static str;
}

/// Why a payload was refused.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Not JSON, or not of this shape.
    #[error("malformed {name} payload")]
    Malformed {
        /// What it should have been.
        name: &'static str,
        /// What was wrong with it.
        #[source]
        source: serde_json::Error,
    },
    /// A version from the future.
    #[error("{name} payload has version {found}, this program reads version {VERSION}")]
    Version {
        /// What it should have been.
        name: &'static str,
        /// Its version.
        found: u32,
    },
}

#[derive(Deserialize)]
struct Envelope {
    v: u32,
}

#[derive(Serialize)]
struct Outgoing<'a, T> {
    v: u32,
    #[serde(flatten)]
    body: &'a T,
}

/// Reads a payload after checking its version.
pub fn decode<T: Payload>(bytes: &[u8]) -> Result<T, PayloadError> {
    let malformed = |source| PayloadError::Malformed {
        name: T::NAME,
        source,
    };
    let Envelope { v } = serde_json::from_slice(bytes).map_err(malformed)?;
    if v != VERSION {
        return Err(PayloadError::Version {
            name: T::NAME,
            found: v,
        });
    }
    serde_json::from_slice(bytes).map_err(malformed)
}

/// Writes a payload with its version in front.
pub fn encode<T: Payload>(body: &T) -> Result<Vec<u8>, PayloadError> {
    serde_json::to_vec(&Outgoing { v: VERSION, body }).map_err(|source| PayloadError::Malformed {
        name: T::NAME,
        source,
    })
}
