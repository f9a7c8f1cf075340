//! The output of a container, as fast as its caller takes it: the engine waits with the rest.

use super::CallError;
use super::container::Container;
use super::flow::{Flow, Stop};
use super::input;
use super::output::Pieces;
use bollard::query_parameters::LogsOptionsBuilder;
use kc_agent_api::ReplyBody;
use std::time::{SystemTime, UNIX_EPOCH};

/// Which lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lines {
    pub(super) tail: Option<u32>,
    pub(super) since_s: Option<u64>,
    pub(super) since_wall_s: Option<u64>,
    pub(super) follow: bool,
    pub(super) timestamps: bool,
}

impl Lines {
    /// The engine's `since`, as far as its API can say it; 0 means always.
    pub(super) fn since(self, now: SystemTime) -> i32 {
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let aged = self.since_s.map(|age| now.saturating_sub(age));
        // 0 would mean "all there is".
        let clamp = |second| i32::try_from(second).unwrap_or(i32::MAX).max(1);
        aged.max(self.since_wall_s).map_or(0, clamp)
    }
}

pub(super) async fn logs(
    flow: &mut Flow<'_>,
    container: &Container,
    lines: Lines,
) -> Result<(), Stop> {
    container.must_exist().await?;
    let begun = ReplyBody::Begun {
        credit: input::WINDOW,
        entry: None,
    };
    flow.send(begun).await?;
    let tail = lines.tail.map_or("all".to_owned(), |tail| tail.to_string());
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .follow(lines.follow)
        .timestamps(lines.timestamps)
        .tail(&tail)
        .since(lines.since(SystemTime::now()))
        .build();
    let output = container.docker.logs(&container.id, Some(options));
    let mut pieces = Pieces::new(Box::pin(output));
    loop {
        flow.room().await?;
        let piece = pieces.next().await.map_err(|e| container.error(e))?;
        let Some((stream, octets)) = piece else {
            // Engines have been seen to end a log that goes on; nobody shall take that for its end.
            if lines.follow && container.runs_on().await? {
                return Err(CallError::LogEnds.into());
            }
            return flow.end(ReplyBody::Ended { exit_code: None }).await;
        };
        flow.send(ReplyBody::output(&octets, stream)).await?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_age_before_the_epoch_is_still_an_age_and_the_later_bound_counts() {
        let now = UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let since = |since_s, since_wall_s| {
            let lines = Lines {
                tail: None,
                since_s,
                since_wall_s,
                follow: false,
                timestamps: false,
            };
            lines.since(now)
        };
        assert_eq!(since(None, None), 0);
        assert_eq!(since(Some(60), None), 1_799_999_940);
        assert_eq!(since(Some(u64::MAX), None), 1);
        assert_eq!(since(None, Some(0)), 1);
        assert_eq!(since(Some(60), Some(1_799_999_990)), 1_799_999_990);
        assert_eq!(since(None, Some(u64::MAX)), i32::MAX);
    }
}
