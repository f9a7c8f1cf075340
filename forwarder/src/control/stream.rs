//! What a connection carries when somebody else than the request line decides: an answer that
//! comes later than its request, or a stream of octets for as long as both sides like.

use super::connection::write_line;
use crate::runtime::{Later, Part, Taken};
use std::fmt::Debug;
use std::time::Instant;

/// Octets that wait for a slow client before its [`Stream`] is asked for no more. A stream may
/// exceed it by what it makes at once.
pub(super) const ROOM: usize = 256 * 1024;

/// Octets for one connection, made by somebody else. The connection asks for them each time the
/// control thread wakes up and the client has taken most of what was made before; so whoever
/// has news rings the [`Bell`](crate::runtime::Bell). Dropped when the connection ends, however it
/// does.
pub trait Stream: Debug + Send {
    /// Appends what there is to `output` without waiting for anything, at least one piece and
    /// preferably not far beyond `room` octets of them, and says how it goes on.
    fn make(&mut self, now: Instant, output: &mut Vec<u8>, room: usize) -> Flow;

    /// When to be asked again at the latest, though no bell rang.
    fn deadline(&self) -> Option<Instant>;

    /// The client will send nothing more, but still listens. The stream may take it as a wish to
    /// end; an answer that comes later need not care.
    fn half_closed(&mut self) {}
}

/// How a stream goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flow {
    /// Nothing more for now.
    Wait,
    /// There is more than there was room for.
    More,
    /// The last octet is made: the connection answers requests again.
    Done,
    /// The last octet is made: the connection is to be closed behind it.
    Close,
}

/// An answer that was promised, part by part.
#[derive(Debug)]
pub(super) struct Promised {
    later: Later,
    /// Octets that are no lines have been handed over.
    raw: bool,
}

impl From<Later> for Promised {
    fn from(later: Later) -> Self {
        Self { later, raw: false }
    }
}

impl Stream for Promised {
    fn make(&mut self, _: Instant, output: &mut Vec<u8>, room: usize) -> Flow {
        let full = output.len() + room;
        while output.len() < full {
            match self.later.take() {
                Taken::Part(Part::Line(response)) => {
                    if let Err(error) = write_line(output, &response) {
                        tracing::error!(%error, "control socket: an answer could not be written");
                        return Flow::Close;
                    }
                }
                Taken::Part(Part::Raw(octets)) => {
                    output.extend_from_slice(&octets);
                    self.raw = true;
                }
                Taken::Wait => return Flow::Wait,
                Taken::End if self.raw => return Flow::Close,
                Taken::End => return Flow::Done,
            }
        }
        Flow::More
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }
}
