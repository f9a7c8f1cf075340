//! Requests to an agent and its answers, matched by the id in their topics. An answer may come
//! in several parts; the last one says so.

use crate::Payload;
use kc_forwarder_api::Counters;
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
    /// The forwarder's counters, now.
    Counters,
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
    /// The forwarder's counters.
    Counters {
        /// The counters.
        counters: Box<Counters>,
    },
    /// It could not be done.
    Error {
        /// Why, for people.
        message: String,
    },
}
