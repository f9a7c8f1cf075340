//! Requests that go through to the forwarder, on a connection of their own so that none waits for
//! another, and answers that stream as fast as the caller takes them: without credit nothing is
//! read, the forwarder then drops what it has no room for, and says so.

use super::flow::{Flow, PART, Stop};
use super::{Answerer, CallError};
use crate::forwarder::Connection;
use kc_agent_api::ReplyBody;
use kc_forwarder_api::{Request, Response};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// Longest capture; whoever wants more asks again.
const STREAM_S: u64 = 600;
/// How long octets may wait for others to share a part.
const GATHER: Duration = Duration::from_millis(50);
/// What an answer may take beyond what was asked for.
const PATIENCE: Duration = Duration::from_secs(5);

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Manner {
    /// In one part, after so long at most.
    Once(Duration),
    /// In many.
    Stream,
}

/// How `request` is answered, if calls may make it.
pub(super) fn manner(request: &Request) -> Result<Manner, CallError> {
    let milliseconds = match request {
        Request::Status | Request::Counters => 0,
        Request::Echo { echo } => echo.timeout_ms.into(),
        Request::Probe { probe } => probe.longest_ms(),
        Request::Capture { .. } => return Ok(Manner::Stream),
        _ => return Err(CallError::NotForCalls),
    };
    Ok(Manner::Once(PATIENCE + Duration::from_millis(milliseconds)))
}

/// Holds a capture to what a call may take.
fn bounded(mut request: Request) -> Request {
    if let Request::Capture { capture } = &mut request {
        let seconds = capture.seconds.unwrap_or(STREAM_S);
        capture.seconds = Some(seconds.min(STREAM_S));
    }
    request
}

impl Answerer {
    /// Asks the forwarder, and hands on what it answers.
    pub(super) async fn pass(
        &self,
        id: u64,
        flow: &mut Flow<'_>,
        request: Request,
    ) -> Result<(), Stop> {
        match manner(&request)? {
            Manner::Once(patience) => {
                let mut forwarder = self.forwarder.open().await?;
                let response = forwarder.ask_within(&request, patience).await?;
                self.send(id, answer(response)).await;
                Ok(())
            }
            Manner::Stream => self.stream(flow, &bounded(request)).await,
        }
    }

    async fn stream(&self, flow: &mut Flow<'_>, request: &Request) -> Result<(), Stop> {
        let mut forwarder = self.forwarder.open().await?;
        let response = forwarder.ask_within(request, PATIENCE).await?;
        flow.send(answer(response)).await?;
        loop {
            flow.room().await?;
            let octets = gather(&mut forwarder).await;
            let body = ReplyBody::data(&octets);
            if octets.is_empty() {
                return flow.end(body).await;
            }
            flow.send(body).await?;
        }
    }
}

/// What the forwarder sends next and shortly after; nothing at its end.
async fn gather(forwarder: &mut Connection) -> Vec<u8> {
    let mut octets = Vec::new();
    // An error is an end as well: what came before it is good.
    if !matches!(forwarder.take(PART, &mut octets).await, Ok(1..)) {
        return Vec::new();
    }
    let until = Instant::now() + GATHER;
    while octets.len() < PART {
        let more = forwarder.take(PART - octets.len(), &mut octets);
        if !matches!(timeout_at(until, more).await, Ok(Ok(1..))) {
            break;
        }
    }
    octets
}

fn answer(response: Response) -> ReplyBody {
    ReplyBody::Forwarder {
        response: Box::new(response),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_forwarder_api::{Capture, Tables};

    #[test]
    fn only_requests_that_change_nothing_are_passed() {
        let tables = || Box::new(Tables::default());
        let capture = Request::Capture {
            capture: Capture::default(),
        };
        assert_eq!(manner(&capture).unwrap(), Manner::Stream);
        assert_eq!(manner(&Request::Status).unwrap(), Manner::Once(PATIENCE));
        for refused in [
            Request::Apply { tables: tables() },
            Request::Check { tables: tables() },
            Request::Tables,
            Request::Watch,
        ] {
            assert!(matches!(manner(&refused), Err(CallError::NotForCalls)));
        }
    }

    #[test]
    fn no_capture_goes_on_for_ever() {
        let capture = |seconds| Request::Capture {
            capture: Capture {
                seconds,
                ..Capture::default()
            },
        };
        assert_eq!(bounded(capture(None)), capture(Some(STREAM_S)));
        assert_eq!(bounded(capture(Some(u64::MAX))), capture(Some(STREAM_S)));
        assert_eq!(bounded(capture(Some(3))), capture(Some(3)));
    }
}
