//! The end of what a container said, read from the engine with the time of each line.

use crate::last_words::{Line, MOST_LINES, Moment, Tail};
use bollard::Docker;
use bollard::container::LogOutput;
use bollard::errors::Error;
use bollard::query_parameters::LogsOptionsBuilder;
use futures_util::StreamExt as _;
use kc_agent_api::Output;
use std::time::Duration;
use tokio::time::timeout;

/// How long a container that is to be removed is listened to.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a container said last. Nothing waits for it long, and nothing fails because of it.
pub async fn last_words(docker: &Docker, id: &str) -> Tail {
    let mut tail = Tail::default();
    let heard = timeout(PATIENCE, listen(docker, id, None, &mut tail)).await;
    match heard {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(id, %error, "its last words are lost"),
        Err(_) => tracing::debug!(id, "it has more to say than there is time for"),
    }
    tail
}

/// What a container said last, before `until` where that is given.
pub async fn words(docker: &Docker, id: &str, until: Option<Moment>) -> Result<Tail, Error> {
    let mut tail = Tail::default();
    listen(docker, id, until, &mut tail).await?;
    Ok(tail)
}

async fn listen(
    docker: &Docker,
    id: &str,
    until: Option<Moment>,
    tail: &mut Tail,
) -> Result<(), Error> {
    let options = LogsOptionsBuilder::new()
        .stdout(true)
        .stderr(true)
        .timestamps(true);
    // The engine counts lines from the very end, and time in whole seconds.
    let options = match until {
        Some(until) => {
            options.until(i32::try_from(until.seconds.saturating_add(1)).unwrap_or(i32::MAX))
        }
        None => options.tail(&MOST_LINES.to_string()),
    };
    let mut output = docker.logs(id, Some(options.build()));
    while let Some(word) = output.next().await {
        let word = word?;
        let stream = match word {
            LogOutput::StdErr { .. } => Output::Stderr,
            _ => Output::Stdout,
        };
        let line = Line::new(stream, word.into_bytes().to_vec());
        if until.is_none_or(|until| line.at().is_some_and(|at| at < until)) {
            tail.push(line);
        }
    }
    Ok(())
}
