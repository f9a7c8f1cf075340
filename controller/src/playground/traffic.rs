//! Sends requests from the client to the server, and judges them together with what every hop
//! counted meanwhile.

use super::control::{Snapshots, snapshots};
use super::launch::combined;
use super::layout::{CLIENT, NAT_ADDRESS, SERVER_ADDRESS, Site};
use super::namespace::inside;
use super::progress::{Interrupt, wait};
use super::trace::{Hop, follow, packets};
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// What `kc-function probe` reports.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Report {
    /// Requests sent.
    pub(super) sent: u64,
    /// Requests answered.
    pub(super) ok: u64,
    /// Median in milliseconds.
    pub(super) p50_ms: Option<f64>,
    /// 99th percentile in milliseconds.
    pub(super) p99_ms: Option<f64>,
    /// Addresses the server saw.
    pub(super) clients: BTreeSet<String>,
    /// What failed requests met.
    pub(super) errors: BTreeMap<String, u64>,
}

/// A hop and the packets it counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counted {
    /// The hop.
    pub(super) hop: Hop,
    /// Packets while the requests ran.
    pub(super) packets: u64,
}

/// One round of requests.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Round {
    /// What the client says.
    pub(super) report: Report,
    /// Hops from client to server.
    pub(super) forward: Vec<Counted>,
    /// Hops from server to client.
    pub(super) back: Vec<Counted>,
}

/// Fewest packets a hop sees of one request on a connection of its own, each way: the
/// connection's start, the data, its end.
const PACKETS_A_REQUEST: u64 = 3;

/// How long the last packets of a round may still be under way.
const SETTLE: Duration = Duration::from_secs(2);

/// Waits until one request gets through, and returns how long that took.
pub(super) fn first_answer(
    function: &Path,
    within: Duration,
    interrupt: &Interrupt,
) -> Result<Duration> {
    let began = Instant::now();
    let mut last = String::new();
    let answered = wait("an answer from the server", within, interrupt, || {
        let report = probe(function, 1)?;
        last = list(&report.errors);
        Ok((report.ok == 1).then(|| began.elapsed()))
    });
    answered.with_context(|| format!("requests through the chain fail: {last}"))
}

/// Sends `count` requests and counts at every hop.
pub(super) fn round(function: &Path, sites: &[Site], count: u32) -> Result<Round> {
    let (Some(first), Some(last)) = (sites.first(), sites.last()) else {
        bail!("there are no boxes");
    };
    let before = snapshots(sites)?;
    let forward = follow(&before, &first.name, "client0")?;
    let back = follow(&before, &last.name, "server0")?;
    let report = probe(function, count)?;
    let wanted = u64::from(count) * PACKETS_A_REQUEST;
    let deadline = Instant::now() + SETTLE;
    loop {
        let after = snapshots(sites)?;
        let round = Round {
            report: report.clone(),
            forward: counted(&before, &after, &forward),
            back: counted(&before, &after, &back),
        };
        let settled = round.hops().all(|hop| hop.packets >= wanted);
        if settled || Instant::now() >= deadline {
            return Ok(round);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn counted(before: &Snapshots, after: &Snapshots, hops: &[Hop]) -> Vec<Counted> {
    hops.iter()
        .map(|hop| Counted {
            hop: hop.clone(),
            packets: packets(after, hop).saturating_sub(packets(before, hop)),
        })
        .collect()
}

impl Round {
    fn hops(&self) -> impl Iterator<Item = &Counted> {
        self.forward.iter().chain(&self.back)
    }

    /// What is wrong with it: a request without an answer, a hop that did not count them all.
    pub(super) fn faults(&self) -> Vec<String> {
        let report = &self.report;
        let mut faults = Vec::new();
        if report.ok < report.sent || report.sent == 0 {
            faults.push(format!(
                "{} of {} requests got through: {}",
                report.ok,
                report.sent,
                list(&report.errors)
            ));
        }
        let seen: Vec<_> = report.clients.iter().map(String::as_str).collect();
        if report.ok > 0 && seen != [NAT_ADDRESS.to_string()] {
            let seen = seen.join(", ");
            faults.push(format!(
                "the server saw {seen}, not only the NAT's {NAT_ADDRESS}"
            ));
        }
        let wanted = report.sent * PACKETS_A_REQUEST;
        faults.extend(self.hops().filter(|hop| hop.packets < wanted).map(|hop| {
            format!(
                "{} counted {} packets of path {} at index {}, fewer than {wanted}",
                hop.hop.node, hop.packets, hop.hop.spi, hop.hop.si
            )
        }));
        faults
    }
}

fn list(errors: &BTreeMap<String, u64>) -> String {
    let each = errors
        .iter()
        .map(|(error, count)| format!("{count}× {error}"));
    each.collect::<Vec<_>>().join(", ")
}

/// Runs the probe in the client's namespace.
fn probe(function: &Path, count: u32) -> Result<Report> {
    let url = format!("http://{SERVER_ADDRESS}/");
    let count = count.to_string();
    let text = inside(CLIENT, || {
        let mut probe = Command::new(function);
        probe.args([
            "probe", "--url", &url, "--count", &count, "--output", "json",
        ]);
        // It ends with 1 when requests failed, and reports all the same.
        combined(&mut probe)
    })??;
    let line = text.lines().find(|line| line.starts_with('{'));
    let line = line.with_context(|| format!("the probe reports nothing: {text}"))?;
    serde_json::from_str(line).with_context(|| format!("the probe reports {line}"))
}

#[cfg(test)]
mod tests {
    use super::super::trace::Step;
    use super::*;
    use kc_forwarder_api::{Direction, Si, Spi};

    fn hop(si: u64, packets: u64) -> Counted {
        Counted {
            hop: Hop {
                node: "box1".into(),
                spi: Spi::try_from(2).unwrap(),
                si: Si::try_from(si).unwrap(),
                to: Step::Function {
                    name: "firewall-1".into(),
                    direction: Direction::Forward,
                },
            },
            packets,
        }
    }

    fn passed(sent: u64, ok: u64) -> Report {
        Report {
            sent,
            ok,
            clients: BTreeSet::from([NAT_ADDRESS.to_string()]),
            ..Report::default()
        }
    }

    #[test]
    fn a_round_is_good_when_every_request_and_every_hop_is() {
        let round = Round {
            report: passed(10, 10),
            forward: vec![hop(255, 50), hop(254, 50)],
            back: vec![hop(255, 40)],
        };
        assert_eq!(round.faults(), Vec::<String>::new());
    }

    #[test]
    fn a_hop_that_counted_nothing_is_named() {
        let round = Round {
            report: passed(10, 10),
            forward: vec![hop(255, 50), hop(254, 0)],
            back: Vec::new(),
        };
        let faults = round.faults();
        assert_eq!(faults.len(), 1);
        assert!(faults[0].contains("index 254, fewer than 30"), "{faults:?}");
    }

    #[test]
    fn a_request_that_went_round_the_nat_is_a_fault() {
        let mut round = Round {
            report: passed(10, 10),
            ..Round::default()
        };
        round.report.clients.insert("10.0.0.1".into());
        let faults = round.faults();
        assert!(faults[0].contains("saw 10.0.0.1, 10.0.0.100"), "{faults:?}");
    }

    #[test]
    fn a_lost_request_and_no_request_at_all_are_faults() {
        let mut round = Round {
            report: passed(10, 9),
            ..Round::default()
        };
        round.report.errors.insert("no answer in time".into(), 1);
        let fault = "9 of 10 requests got through: 1× no answer in time";
        assert_eq!(round.faults(), [fault]);
        round.report = passed(0, 0);
        assert_eq!(round.faults().len(), 1);
    }
}
