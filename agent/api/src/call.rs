//! Requests to an agent and its answers, matched by the id in their topics. An answer may come
//! in several parts; the last one says so.

use crate::{Finding, Payload};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kc_forwarder_api::{Request, Response};
use serde::{Deserialize, Serialize};

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Call {
    /// What is asked.
    pub body: CallBody,
}

impl Payload for Call {
    const NAME: &'static str = "call";
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum CallBody {
    /// A container's output.
    Logs {
        /// Name in the document.
        container: String,
        /// Last lines only; all when absent.
        tail: Option<u32>,
        /// Only lines younger than this many seconds.
        since_s: Option<u64>,
    },
    /// A request to the forwarder: status, counters, an echo, a probe or a capture. Others are
    /// refused, because tables come with the document and with nothing else.
    Forwarder {
        /// The request.
        request: Box<Request>,
        /// Parts the caller can take before it gives more [`CallBody::Credit`].
        credit: u32,
    },
    /// A look at the box: what is wrong with it, and how that is put right.
    Doctor,
    /// The caller of a long answer can take more of it.
    Credit {
        /// Id of the call that is being answered.
        id: u64,
        /// Parts it can take altogether, from the first: said twice, it means the same.
        parts: u32,
    },
    /// Nobody waits for an answer any more.
    Cancel {
        /// Id of the call.
        id: u64,
    },
}

/// One part of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reply {
    /// 0, 1, 2 … within the answer.
    pub part: u32,
    /// Whether this is the last part.
    pub last: bool,
    /// The part.
    pub body: ReplyBody,
}

impl Payload for Reply {
    const NAME: &'static str = "reply";
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum ReplyBody {
    /// Lines of output.
    Logs {
        /// Text, lossily decoded.
        text: String,
    },
    /// The forwarder's answer.
    Forwarder {
        /// The answer.
        response: Box<Response>,
    },
    /// What the look at the box has found.
    Doctor {
        /// Every check, whatever came of it.
        findings: Vec<Finding>,
        /// Milliseconds since 1970 by the box's clock when this was said.
        wall_ms: u64,
    },
    /// Octets that follow the forwarder's answer: a capture's pcapng.
    Data {
        /// The octets, in base64 (RFC 4648 section 4).
        base64: String,
    },
    /// It could not be done.
    Error {
        /// Why, for people.
        message: String,
    },
}

impl ReplyBody {
    /// Octets as a part of an answer.
    pub fn data(octets: &[u8]) -> Self {
        Self::Data {
            base64: STANDARD.encode(octets),
        }
    }
}

/// The octets of a [`ReplyBody::Data`].
///
/// # Errors
/// It is no base64.
pub fn octets(base64: &str) -> Result<Vec<u8>, base64::DecodeError> {
    STANDARD.decode(base64)
}
