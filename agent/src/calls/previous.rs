//! What ran before under a container's name: the same container before its present start, as the
//! engine has it; else the one that was removed.

use super::CallError;
use super::container::Container;
use super::flow::{Flow, PART, Stop};
use super::input;
use super::logs::Lines;
use crate::docker;
use crate::last_words::{LastWords, Line, Moment, Tail};
use bollard::models::ContainerState;
use kc_agent_api::ReplyBody;
use std::sync::Arc;
use std::time::SystemTime;

pub(super) async fn previous(
    flow: &mut Flow<'_>,
    container: &Container,
    kept: &LastWords,
    lines: Lines,
) -> Result<(), Stop> {
    let tail = find(container, kept).await?;
    let begun = ReplyBody::Begun {
        credit: input::WINDOW,
        entry: None,
    };
    flow.send(begun).await?;
    let since = u64::try_from(lines.since(SystemTime::now())).unwrap_or(0);
    let lines: Vec<(_, &[u8])> = tail
        .lines(lines.tail, since)
        .map(|line: &Line| line.said(lines.timestamps))
        .collect();
    for run in lines.chunk_by(|(one, _), (next, _)| one == next) {
        let octets: Vec<u8> = run
            .iter()
            .flat_map(|(_, octets)| *octets)
            .copied()
            .collect();
        for part in octets.chunks(PART) {
            let stream = run.first().map(|(stream, _)| *stream).unwrap_or_default();
            flow.send(ReplyBody::output(part, stream)).await?;
        }
    }
    flow.end(ReplyBody::Ended { exit_code: None }).await
}

/// The nearest that ran before.
async fn find(container: &Container, kept: &LastWords) -> Result<Arc<Tail>, CallError> {
    let asked = container
        .docker
        .inspect_container(&container.id, None)
        .await;
    let earlier = match asked {
        Ok(seen) => {
            let restarts = seen.restart_count.unwrap_or(0);
            seen.state.map(|state| earlier(&state, restarts))
        }
        Err(error) => match container.error(error) {
            CallError::NoContainer { .. } => None,
            error => return Err(error),
        },
    };
    let until = match earlier {
        None | Some(Earlier::Nothing) => None,
        Some(Earlier::Before(moment)) => Some(Some(moment)),
        Some(Earlier::All) => Some(None),
    };
    if let Some(until) = until {
        let words = docker::words(&container.docker, &container.id, until).await;
        let tail = words.map_err(|error| container.error(error))?;
        if !tail.is_empty() {
            return Ok(Arc::new(tail));
        }
    }
    let former = kept.of(&container.name);
    former.ok_or_else(|| CallError::NoPrevious {
        name: container.name.clone(),
    })
}

/// What of a container's words is from before its present life.
#[derive(Debug, PartialEq, Eq)]
enum Earlier {
    /// It is its first.
    Nothing,
    /// What it said until then.
    Before(Moment),
    /// All of it: it has ended, and is to be started again.
    All,
}

/// Where a container's present life begins: between the end of the one before and its start, since
/// what a process says at once is older than the time at which the engine finds that it started.
fn earlier(state: &ContainerState, restarts: i64) -> Earlier {
    let moment = |text: &Option<String>| text.as_ref()?.parse::<Moment>().ok();
    let (Some(started), Some(finished)) = (moment(&state.started_at), moment(&state.finished_at))
    else {
        return Earlier::Nothing;
    };
    match finished < started {
        true => Earlier::Before(finished.half_way(started)),
        false if restarts > 0 => Earlier::All,
        false => Earlier::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_begins_between_the_end_of_the_one_before_and_its_start() {
        let earlier = |started: &str, finished: &str, restarts| {
            let state = ContainerState {
                started_at: Some(started.to_owned()),
                finished_at: Some(finished.to_owned()),
                ..ContainerState::default()
            };
            earlier(&state, restarts)
        };
        let never = "0001-01-01T00:00:00Z";
        let (four, five, six) = (
            "2026-01-01T00:00:04Z",
            "2026-01-01T00:00:05Z",
            "2026-01-01T00:00:06Z",
        );
        let between = "2026-01-01T00:00:04.5Z".parse().unwrap();
        assert_eq!(earlier(five, never, 0), Earlier::Nothing, "its first");
        assert_eq!(earlier(five, four, 0), Earlier::Before(between));
        assert_eq!(earlier(five, six, 0), Earlier::Nothing, "it ended");
        assert_eq!(earlier(five, six, 2), Earlier::All, "again and again");
        assert_eq!(earlier(never, never, 0), Earlier::Nothing, "never started");
    }
}
