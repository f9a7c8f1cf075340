//! What all attempts add up to.

use super::exchange::{Answer, ExchangeError};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

/// One request: when, and what came of it. Times are from the start of the probe.
#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) begun: Duration,
    pub(super) ended: Duration,
    pub(super) outcome: Result<Answer, ExchangeError>,
}

/// The sum of a probe.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Report {
    /// Requests sent.
    pub sent: u64,
    /// Requests answered with a whole body and a status below 400.
    pub ok: u64,
    /// The others.
    pub failed: u64,
    /// Median time of a good request, in milliseconds.
    pub p50_ms: Option<f64>,
    /// 99th percentile, nearest rank.
    pub p99_ms: Option<f64>,
    /// Longest wait for an answer: from the start of the first request after a good one to the
    /// end of the next good one, failed requests between them included.
    pub max_gap_ms: f64,
    /// Octets of all bodies.
    pub bytes: u64,
    /// Client addresses the server saw.
    pub clients: BTreeSet<String>,
    /// Host names of the servers that answered.
    pub servers: BTreeSet<String>,
    /// What failed requests met, and how often.
    pub errors: BTreeMap<String, u64>,
}

impl Report {
    /// Adds up `attempts`, which are in order of time.
    pub(super) fn of(attempts: &[Attempt]) -> Self {
        let mut report = Self {
            sent: attempts.len() as u64,
            ok: 0,
            failed: 0,
            p50_ms: None,
            p99_ms: None,
            max_gap_ms: 0.0,
            bytes: 0,
            clients: BTreeSet::new(),
            servers: BTreeSet::new(),
            errors: BTreeMap::new(),
        };
        let mut times = Vec::new();
        // The first attempt since which nothing has come back.
        let mut silent_since = None;
        for attempt in attempts {
            let since = *silent_since.get_or_insert(attempt.begun);
            let gap = milliseconds(attempt.ended.saturating_sub(since));
            report.max_gap_ms = report.max_gap_ms.max(gap);
            match &attempt.outcome {
                Ok(answer) => {
                    silent_since = None;
                    report.ok += 1;
                    report.bytes += answer.length;
                    report.clients.extend(answer.client.clone());
                    report.servers.extend(answer.hostname.clone());
                    times.push(milliseconds(attempt.ended.saturating_sub(attempt.begun)));
                }
                Err(error) => {
                    report.failed += 1;
                    *report.errors.entry(error.to_string()).or_default() += 1;
                }
            }
        }
        times.sort_by(f64::total_cmp);
        report.p50_ms = percentile(&times, 50);
        report.p99_ms = percentile(&times, 99);
        report
    }
}

/// Milliseconds with three decimals.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// Nearest-rank percentile of sorted `times`.
fn percentile(times: &[f64], percent: usize) -> Option<f64> {
    let rank = (times.len() * percent).div_ceil(100);
    times.get(rank.checked_sub(1)?).copied()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |set: &BTreeSet<String>| {
            let names: Vec<&str> = set.iter().map(String::as_str).collect();
            if names.is_empty() {
                "-".to_owned()
            } else {
                names.join(" ")
            }
        };
        let time = |time: Option<f64>| time.map_or("-".to_owned(), |time| format!("{time:.1} ms"));
        writeln!(
            f,
            "requests  {} sent, {} ok, {} failed",
            self.sent, self.ok, self.failed
        )?;
        writeln!(
            f,
            "latency   p50 {}, p99 {}",
            time(self.p50_ms),
            time(self.p99_ms)
        )?;
        writeln!(f, "max gap   {:.1} ms", self.max_gap_ms)?;
        writeln!(f, "bytes     {}", self.bytes)?;
        writeln!(f, "clients   {}", list(&self.clients))?;
        write!(f, "servers   {}", list(&self.servers))?;
        for (error, count) in &self.errors {
            write!(f, "\nfailed    {count} x {error}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(begun: u64, ended: u64, outcome: Result<&str, ExchangeError>) -> Attempt {
        Attempt {
            begun: Duration::from_millis(begun),
            ended: Duration::from_millis(ended),
            outcome: outcome.map(|client| Answer {
                length: 10,
                client: Some(client.to_owned()),
                hostname: None,
            }),
        }
    }

    #[test]
    fn the_gap_spans_every_failed_request_between_two_good_ones() {
        let report = Report::of(&[
            attempt(0, 10, Ok("10.0.0.1")),
            attempt(100, 2100, Err(ExchangeError::Timeout)),
            attempt(2100, 2101, Err(ExchangeError::Refused)),
            attempt(2200, 2230, Ok("10.0.0.100")),
        ]);
        assert_eq!((report.sent, report.ok, report.failed), (4, 2, 2));
        assert_eq!(report.max_gap_ms, 2130.0);
        assert_eq!(report.p50_ms, Some(10.0));
        assert_eq!(report.p99_ms, Some(30.0));
        assert_eq!(report.bytes, 20);
        assert_eq!(report.clients.len(), 2);
        assert_eq!(report.errors["no answer in time"], 1);
    }

    #[test]
    fn a_probe_without_any_answer_has_no_latency() {
        let report = Report::of(&[attempt(0, 50, Err(ExchangeError::Timeout))]);
        assert_eq!((report.p50_ms, report.max_gap_ms), (None, 50.0));
        let json = serde_json::to_value(&report).unwrap();
        assert!(json["p50-ms"].is_null());
        assert_eq!(json["max-gap-ms"], 50.0);
    }
}
