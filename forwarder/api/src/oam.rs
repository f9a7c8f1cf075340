//! An echo along a service path: what is asked of a forwarder and what comes back. RFC 9516
//! sections 6 and 6.4 have the wire's side.

use crate::{HealthState, SfName, SffName, Si, Spi, Ttl};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::IpAddr;

/// Longest echo request in octets, NSH included.
pub const MAX_ECHO: u16 = 9000;

/// Longest time an echo may be waited for, in milliseconds.
pub const MAX_ECHO_TIMEOUT_MS: u32 = 60_000;

/// One echo request to be sent down a service path from this forwarder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Echo {
    /// Service path.
    pub spi: Spi,
    /// Where on the path it begins; the highest index that the path has here when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub si: Option<Si>,
    /// SFFs it may reach, this one not counted; 0 asks this forwarder itself and sends nothing.
    /// Absent means as far as the path goes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Ttl>,
    /// How long to wait for the answer, in milliseconds; at most [`MAX_ECHO_TIMEOUT_MS`].
    #[serde(default = "default_timeout")]
    pub timeout_ms: u32,
    /// Length of the request in octets, NSH included, for finding out what fits; rounded
    /// up to a multiple of four. Shorter than the request's own headers means no padding, longer
    /// than [`MAX_ECHO`] is refused.
    #[serde(default)]
    pub size: u16,
}

fn default_timeout() -> u32 {
    1000
}

/// Who answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Responder {
    /// By address, where the SFF was given no name.
    Address(IpAddr),
    /// By the name in its tables.
    Name(SffName),
}

impl fmt::Display for Responder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => f.pad(&address.to_string()),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// What the answer says. RFC 9516 section 9.2.5; `no-next-hop` is of our own making (private use).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EchoCode {
    /// Nothing is wrong, and nothing of what follows is the case: its service index ended at an
    /// SFF on the way.
    NoError,
    /// The echo reached the last SFF of the path.
    EndOfPath,
    /// Its TTL ended at an SFF on the way.
    TtlExceeded,
    /// An SFF on the way has no next hop for it, or one that is down.
    NoNextHop,
    /// The SFF could not read the request.
    Malformed,
    /// The SFF does not know something in the request.
    TlvNotUnderstood,
    /// The SFF did not believe the request.
    AuthenticationFailed,
    /// The request asked for an answer by a path and did not name it.
    ReplyPathMissing,
    /// The SFF does not know the path that the answer was to take.
    ReplyPathNotFound,
    /// The SFF cannot tell that the path for the answer leads to the asker.
    ReplyPathUnverifiable,
    /// Something else, by its number.
    Other(u8),
}

impl fmt::Display for EchoCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::NoError => "no error",
            Self::EndOfPath => "end of the path",
            Self::TtlExceeded => "TTL exceeded",
            Self::NoNextHop => "no next hop",
            Self::Malformed => "request malformed",
            Self::TlvNotUnderstood => "request not understood",
            Self::AuthenticationFailed => "authentication failed",
            Self::ReplyPathMissing => "reply path missing",
            Self::ReplyPathNotFound => "reply path not found",
            Self::ReplyPathUnverifiable => "reply path unverifiable",
            Self::Other(code) => return write!(f, "return code {code}"),
        })
    }
}

/// The answer to an [`Echo`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EchoReply {
    /// Who answered, if it told.
    pub from: Option<Responder>,
    /// What it says.
    pub code: EchoCode,
    /// Time from sending to receiving, in microseconds.
    pub rtt_us: u64,
    /// Service path of the request.
    pub spi: Spi,
    /// Service index with which the request reached the responder, if it told.
    pub si: Option<Si>,
    /// TTL the request was sent with.
    pub ttl: Ttl,
    /// Largest inner IP packet that the responder's next hop on this path takes, if it told.
    pub mtu: Option<u16>,
    /// Functions of this path at the responder, in the order a packet meets them.
    pub functions: Vec<EchoFunction>,
}

/// A function that the path goes through at the responder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EchoFunction {
    /// Instance.
    pub name: SfName,
    /// Whether it lives, as far as its SFF knows.
    pub state: HealthState,
    /// Round trip of the last answered probe, in microseconds.
    pub rtt_us: Option<u32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_echo_needs_no_more_than_its_path() {
        let echo: Echo = serde_json::from_str(r#"{"spi":100}"#).unwrap();
        assert_eq!((echo.si, echo.ttl, echo.timeout_ms), (None, None, 1000));
        assert!(serde_json::from_str::<Echo>(r#"{"spi":100,"tttl":3}"#).is_err());
    }

    #[test]
    fn a_responder_is_an_address_or_a_name() {
        let read = |text: &str| serde_json::from_str::<Responder>(text).unwrap();
        assert!(matches!(read("\"192.0.2.1\""), Responder::Address(_)));
        assert!(matches!(read("\"box-1\""), Responder::Name(_)));
        assert!(serde_json::from_str::<Responder>("\"box 1\"").is_err());
    }

    #[test]
    fn codes_survive_their_text() {
        for code in [EchoCode::NoError, EchoCode::EndOfPath, EchoCode::Other(77)] {
            let text = serde_json::to_string(&code).unwrap();
            assert_eq!(serde_json::from_str::<EchoCode>(&text).unwrap(), code);
        }
    }
}
