//! `kc logs`: the output of an instance, wherever it runs.

use super::args::LogsArgs;
use super::client::Client;
use super::failure::Failure;
use super::get::{escape, missing};
use super::kind::Kind;
use super::print;
use crate::views::{InstanceView, LogText};
use std::time::Duration;

/// How often a followed log is asked for.
const PERIOD: Duration = Duration::from_secs(1);

/// Lines looked back for what is known already.
const WINDOW: u32 = 2_000;

/// Prints the output of an instance, and goes on when asked to.
pub(super) async fn logs(client: &Client, args: &LogsArgs) -> Result<(), Failure> {
    let node = place(client, &args.instance).await?;
    let mut path = format!(
        "/api/v1/nodes/{}/logs/{}",
        escape(&node),
        escape(&args.instance)
    );
    let base = path.clone();
    let mut filters = Vec::new();
    if let Some(tail) = args.tail {
        filters.push(format!("tail={tail}"));
    }
    if let Some(since) = args.since {
        filters.push(format!("since={}", since.as_secs().max(1)));
    }
    if !filters.is_empty() {
        path = format!("{path}?{}", filters.join("&"));
    }
    let first: LogText = client.get(&path).await?;
    print::raw(&first.text)?;
    if !args.follow {
        return Ok(());
    }
    let recent = format!("{base}?tail={WINDOW}");
    let mut known = first.text;
    loop {
        tokio::time::sleep(PERIOD).await;
        let now: LogText = client.get(&recent).await?;
        let fresh = fresh(&known, &now.text);
        if !fresh.is_empty() {
            print::raw(fresh)?;
            known = now.text;
        }
    }
}

async fn place(client: &Client, instance: &str) -> Result<String, Failure> {
    let all: Vec<InstanceView> = client.get("/api/v1/instances").await?;
    let Some(found) = all.iter().find(|i| i.name == instance) else {
        let names: Vec<String> = all.into_iter().map(|i| i.name).collect();
        return Err(missing(Kind::Instances, instance, &names));
    };
    found.node.clone().ok_or_else(|| {
        let why = found.reason.as_deref().unwrap_or("it waits for a place");
        Failure::NotFound(format!("{instance} runs nowhere: {why}"))
    })
}

/// What of `now` comes after `known`: the part behind the longest end of `known` that `now`
/// starts with or holds.
fn fresh<'a>(known: &str, now: &'a str) -> &'a str {
    if known.is_empty() {
        return now;
    }
    // A log grows at its end, and its window moves on: look for our last lines in the new text.
    for lines in (1..=3).rev() {
        let starts: Vec<usize> = known
            .trim_end_matches('\n')
            .rmatch_indices('\n')
            .map(|(at, _)| at + 1)
            .chain([0])
            .take(lines)
            .collect();
        let Some(tail) = starts.last().and_then(|&at| known.get(at..)) else {
            continue;
        };
        if let Some(at) = now.rfind(tail) {
            return now.get(at + tail.len()..).unwrap_or("");
        }
    }
    now
}

#[cfg(test)]
mod tests {
    use super::fresh;

    #[test]
    fn only_new_lines_of_a_growing_log_are_printed() {
        assert_eq!(fresh("", "a\n"), "a\n");
        assert_eq!(fresh("a\nb\n", "a\nb\n"), "");
        assert_eq!(fresh("a\nb\n", "a\nb\nc\nd\n"), "c\nd\n");
        assert_eq!(
            fresh("1\n2\n3\n4\n", "3\n4\n5\n"),
            "5\n",
            "the window moved on"
        );
        assert_eq!(
            fresh("1\n2\n", "8\n9\n"),
            "8\n9\n",
            "the log was begun anew"
        );
    }
}
