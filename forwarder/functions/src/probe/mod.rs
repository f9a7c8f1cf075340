//! An HTTP client that asks again and again, on a new connection each time, and reports what got
//! through, how fast, the longest silence, and which client addresses the server saw.

mod exchange;
mod report;
mod url;

pub use report::Report;
pub use url::{Url, UrlError};

use crate::duration;
use exchange::ask;
use report::Attempt;
use std::time::{Duration, Instant};

/// What to ask for and how often.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// What to get, as in http://10.0.0.2/
    #[arg(long)]
    pub url: Url,
    /// Requests to send.
    #[arg(long, default_value_t = 20)]
    pub count: u32,
    /// Longest time for one request, from connecting to the answer's last octet.
    #[arg(long, default_value = "2s", value_parser = duration::parse)]
    pub timeout: Duration,
    /// From the start of one request to the start of the next.
    #[arg(long, default_value = "0ms", value_parser = duration::parse)]
    pub interval: Duration,
    /// How to print the report.
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    pub output: Output,
}

/// Forms of the report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    /// A line for each fact.
    Text,
    /// One JSON object on one line.
    Json,
}

/// Sends all requests, one after the other.
pub fn run(options: &Options) -> Report {
    let start = Instant::now();
    let mut attempts = Vec::new();
    for round in 0..options.count {
        let due = options.interval.saturating_mul(round);
        std::thread::sleep(due.saturating_sub(start.elapsed()));
        let begun = start.elapsed();
        let outcome = ask(&options.url, options.timeout);
        if let Err(error) = &outcome {
            tracing::info!(request = round + 1, %error, "failed");
        }
        attempts.push(Attempt {
            begun,
            ended: start.elapsed(),
            outcome,
        });
    }
    Report::of(&attempts)
}
