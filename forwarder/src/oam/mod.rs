//! OAM of service paths (RFC 9451, RFC 9516): echo requests and replies as meanings, the keys by
//! which answers find their questions, and the questions under way. Pure. How such packets travel
//! is in the pipeline; how octets lie is in `wire`.
//!
//! **Which SFC elements see them.** SFFs. A function that knows no NSH never gets one: the proxy
//! steps over it. Neither does one that knows NSH: RFC 8300 section 2.2 has an element without
//! OAM procedures discard what has the O bit set, and a path that works would look broken. Functions are
//! asked for life one by one instead, by the SFF they hang on.

mod keys;
mod message;
mod under_way;

pub(crate) use keys::{Key, Keys};
pub(crate) use message::{Heard, Reply, Request, Writer, hear, read, responder};
pub(crate) use under_way::{Asked, MAX_ECHOES, Purpose, UnderWay};

use kc_forwarder_api::EchoReply;

/// What came of an echo that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The number that the asker gave it.
    pub token: u64,
    /// The answer; `None` when there was silence.
    pub reply: Option<EchoReply>,
}

/// Why an echo was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EchoError {
    /// No hop of this path is here.
    #[error("path {0} has no hop on this forwarder")]
    NoPath(kc_forwarder_api::Spi),
    /// Neither a way back along a path nor an address to answer to.
    #[error(
        "path {0} has no reverse path and this forwarder no underlay: no answer could come back"
    )]
    NoReturn(kc_forwarder_api::Spi),
    /// Longer than the first link takes.
    #[error("the first link of the path takes {max} octets at most")]
    TooLong {
        /// Longest request.
        max: u16,
    },
    /// Too many are under way.
    #[error("{0} echoes are under way; try again later")]
    Busy(usize),
}
