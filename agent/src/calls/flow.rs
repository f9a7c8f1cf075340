//! An answer in many parts, made no faster than its caller takes it: without credit nothing is
//! read from where it comes, so whatever holds back is held back there.

use super::{Answerer, CallError, refusal};
use crate::forwarder::ForwarderError;
use kc_agent_api::{Reply, ReplyBody};
use tokio::sync::watch;

/// Octets in one part.
pub(super) const PART: usize = 32 << 10;

/// Why an answer ends before its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// Nobody takes it any more.
    Gone,
    /// It cannot be made.
    Error(CallError),
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Self::Error(error)
    }
}

impl From<ForwarderError> for Stop {
    fn from(error: ForwarderError) -> Self {
        Self::Error(error.into())
    }
}

/// An answer under way.
pub(super) struct Flow<'a> {
    answerer: &'a Answerer,
    id: u64,
    part: u32,
    credit: watch::Receiver<u32>,
}

impl<'a> Flow<'a> {
    pub(super) fn new(answerer: &'a Answerer, id: u64, credit: watch::Receiver<u32>) -> Self {
        Self {
            answerer,
            id,
            part: 0,
            credit,
        }
    }

    /// Waits until the caller can take a part more. Whether it is there at all is watched elsewhere.
    pub(super) async fn room(&mut self) -> Result<(), Stop> {
        let part = self.part;
        let room = self.credit.wait_for(|parts| *parts > part).await;
        room.map(drop).map_err(|_| Stop::Gone)
    }

    /// Sends one part.
    pub(super) async fn send(&mut self, body: ReplyBody) -> Result<(), Stop> {
        self.room().await?;
        self.hand_over(body, false).await
    }

    /// Sends the last part.
    pub(super) async fn end(&mut self, body: ReplyBody) -> Result<(), Stop> {
        self.room().await?;
        self.hand_over(body, true).await
    }

    /// Ends as `outcome` says: an error is told, without credit, since nothing follows it.
    pub(super) async fn close(mut self, outcome: Result<(), Stop>) {
        if let Err(Stop::Error(error)) = outcome {
            let _ = self.hand_over(refusal(&error), true).await;
        }
    }

    async fn hand_over(&mut self, body: ReplyBody, last: bool) -> Result<(), Stop> {
        let reply = Reply {
            part: self.part,
            last,
            body,
        };
        self.part = self.part.saturating_add(1);
        if self.answerer.send_part(self.id, &reply).await {
            Ok(())
        } else {
            Err(Stop::Gone)
        }
    }

    /// Allows the caller to send so many parts of input altogether.
    pub(super) fn allow(answerer: &Answerer, id: u64, parts: u32) {
        let reply = Reply {
            part: 0,
            last: false,
            body: ReplyBody::Credit { parts },
        };
        answerer.publish(id, &reply);
    }
}
