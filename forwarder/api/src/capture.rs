//! What a capture shows: a request of the control socket that turns its connection into a stream
//! of pcapng (draft-ietf-opsawg-pcapng).

use crate::{PortName, SfName, Spi};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Captures that may run at the same time; one more is refused as `busy`.
pub const MAX_CAPTURES: usize = 4;

/// Entries of each list of a [`Capture`] at most.
pub const MAX_SELECTED: usize = 1024;

/// Octets kept of a frame unless asked otherwise: all of it, super-frames too.
pub const WHOLE_FRAME: u32 = 262_144;

/// Which frames to show, and when to stop.
///
/// The lists narrow each other: a frame is shown when every list that is not empty holds what the
/// frame has. Names must be in the tables in force when the capture begins; afterwards it follows
/// them through changes of tables.
///
/// After [`Response::Capturing`](crate::Response::Capturing), a line like any other, the connection
/// carries one section of pcapng, little-endian, times in nanoseconds. It ends, with a statistics
/// block for each interface, when a limit is reached or the client shuts its writing side down, and
/// the forwarder then closes the connection. What the client sends meanwhile is ignored. A client
/// that reads too slowly loses packets, which are counted; a client that reads nothing at all costs
/// bounded memory and no packet of anybody else.
///
/// Interfaces are called as the port or tunnel is; frames that came or went in UDP have outer headers
/// put in front from what the socket told. Comments are words of the form `key=value` behind the name of the
/// [`CapturePoint`]:
///
/// ```text
/// ingress port=c0 rule=web spi=100 si=255 verdict=path
/// function function=fw-1 port=fa spi=100 si=255
/// function function=fw-1 port=fb spi=100 si=254
/// tunnel tunnel=box2 remote=192.168.50.2 vni=100 spi=100 si=254
/// drop reason=no-path port=c0 spi=100 si=9
/// ```
///
/// Whether a frame came in or went out is in the packet's own flags.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Capture {
    /// Service paths: where a frame comes in, of the path that the classifier chose for it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub spis: Vec<Spi>,
    /// Ports that a frame comes in or leaves by; of a dropped one, the port it came in by.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ports: Vec<PortName>,
    /// Functions that a frame goes into or comes out of; of a dropped one, both count.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<SfName>,
    /// Where to look; everywhere when empty.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub points: Vec<CapturePoint>,
    /// Octets kept of each frame at most.
    pub snaplen: u32,
    /// End after so many packets.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub packets: Option<u64>,
    /// End after so many seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
}

impl Default for Capture {
    /// Everything, whole, until somebody hangs up.
    fn default() -> Self {
        Self {
            spis: Vec::new(),
            ports: Vec::new(),
            functions: Vec::new(),
            points: Vec::new(),
            snaplen: WHOLE_FRAME,
            packets: None,
            seconds: None,
        }
    }
}

/// A place on a frame's way where a capture looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CapturePoint {
    /// Came in by a port that is nobody's leg; the comment says what the classifier made of it.
    Ingress,
    /// Went into a function, or came out of it.
    Function,
    /// Went to another VTEP, or came from one.
    Tunnel,
    /// Left by a port that is nobody's leg.
    Egress,
    /// Was dropped: the frame as it was then, its NSH in front if it was on a path.
    Drop,
}

impl CapturePoint {
    /// Every point, in the order of a frame's way.
    pub const ALL: [Self; 5] = [
        Self::Ingress,
        Self::Function,
        Self::Tunnel,
        Self::Egress,
        Self::Drop,
    ];

    /// The point's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Function => "function",
            Self::Tunnel => "tunnel",
            Self::Egress => "egress",
            Self::Drop => "drop",
        }
    }
}

impl fmt::Display for CapturePoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Text that names no [`CapturePoint`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of ingress, function, tunnel, egress, drop")]
pub struct PointError(String);

impl FromStr for CapturePoint {
    type Err = PointError;
    fn from_str(text: &str) -> Result<Self, PointError> {
        let mut all = Self::ALL.into_iter();
        all.find(|point| point.as_str() == text)
            .ok_or_else(|| PointError(text.to_owned()))
    }
}

/// Why a [`Capture`] cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CaptureError {
    /// A list is too long.
    #[error("a capture names {count} {what}, at most {MAX_SELECTED} are possible")]
    TooMany {
        /// What is listed.
        what: &'static str,
        /// How many.
        count: usize,
    },
    /// A number that makes no sense.
    #[error("{what} {value} is outside {min}..={max}")]
    Range {
        /// The field.
        what: &'static str,
        /// Its value.
        value: u64,
        /// Smallest that makes sense.
        min: u64,
        /// Largest.
        max: u64,
    },
}

impl Capture {
    /// Checks the bounds of lists and numbers.
    ///
    /// # Errors
    /// The first one that is exceeded.
    pub fn check(&self) -> Result<(), CaptureError> {
        for (what, count) in [
            ("SPIs", self.spis.len()),
            ("ports", self.ports.len()),
            ("functions", self.functions.len()),
            ("points", self.points.len()),
        ] {
            if count > MAX_SELECTED {
                return Err(CaptureError::TooMany { what, count });
            }
        }
        for (what, value, max) in [
            ("snaplen", u64::from(self.snaplen), u64::from(WHOLE_FRAME)),
            ("packets", self.packets.unwrap_or(1), u64::MAX),
            ("seconds", self.seconds.unwrap_or(1), 366 * 86_400),
        ] {
            if value < 1 || value > max {
                return Err(CaptureError::Range {
                    what,
                    value,
                    min: 1,
                    max,
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_of_nothing_in_particular_shows_everything() {
        let capture: Capture = serde_json::from_str("{}").unwrap();
        assert_eq!(capture, Capture::default());
        assert_eq!(capture.check(), Ok(()));
        assert!(serde_json::from_str::<Capture>(r#"{"snap":1}"#).is_err());
    }

    #[test]
    fn points_are_written_as_they_are_read() {
        for point in CapturePoint::ALL {
            let json = serde_json::to_string(&point).unwrap();
            assert_eq!(json, format!("\"{point}\""));
            assert_eq!(point.as_str().parse(), Ok(point));
        }
        assert!("inside".parse::<CapturePoint>().is_err());
    }

    #[test]
    fn bounds_are_named() {
        let error = |capture: Capture| capture.check().unwrap_err().to_string();
        let many = Capture {
            spis: vec![Spi::MIN; MAX_SELECTED + 1],
            ..Capture::default()
        };
        assert_eq!(
            error(many),
            "a capture names 1025 SPIs, at most 1024 are possible"
        );
        let none = Capture {
            seconds: Some(0),
            ..Capture::default()
        };
        assert!(error(none).starts_with("seconds 0 is outside 1..="));
    }
}
