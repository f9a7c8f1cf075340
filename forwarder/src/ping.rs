//! `kc-forwarder ping`: echoes down a service path, one after the other.

use crate::args::{Output, Ping};
use crate::{connect, say};
use anyhow::Context;
use kc_forwarder_api::{Echo, EchoCode, EchoReply};
use serde::Serialize;
use std::fmt::Write;
use std::time::{Duration, Instant};

/// What came of all echoes.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Report {
    sent: u32,
    answered: u32,
    /// Answers from the end of the path.
    reached: u32,
    rtt_us: Option<Spread>,
    replies: Vec<Option<EchoReply>>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Spread {
    min: u64,
    avg: u64,
    max: u64,
}

/// Pings; says whether every echo reached the end.
pub(crate) fn run(ping: &Ping) -> anyhow::Result<bool> {
    let mut client = connect(&ping.socket.socket)?;
    let echo = Echo {
        spi: ping.spi,
        si: ping.si,
        ttl: ping.ttl,
        timeout_ms: ping.timeout,
        size: ping.size,
    };
    let mut report = Report::default();
    let interval = Duration::from_millis(u64::from(ping.interval));
    for number in 1..=ping.count {
        let begin = Instant::now();
        let reply = client.echo(echo.clone())?;
        if matches!(ping.output, Output::Table) {
            say(&line(number, reply.as_ref()))?;
        }
        report.hear(reply);
        if number < ping.count {
            std::thread::sleep(interval.saturating_sub(begin.elapsed()));
        }
    }
    report.sum_up();
    match ping.output {
        Output::Json => {
            let text = serde_json::to_string_pretty(&report).context("write the report")?;
            say(&format!("{text}\n"))?;
        }
        Output::Table => say(&report.summary())?,
    }
    Ok(report.reached == report.sent)
}

fn line(number: u32, reply: Option<&EchoReply>) -> String {
    let Some(reply) = reply else {
        return format!("{number}: silence\n");
    };
    let from = reply.from.as_ref().map(ToString::to_string);
    let from = from.unwrap_or_else(|| "an unnamed SFF".to_owned());
    let mut text = format!("{number}: {from}: {}, {} us", reply.code, reply.rtt_us);
    if let Some(mtu) = reply.mtu {
        // Writing to a string cannot fail.
        let _ = write!(text, ", MTU {mtu}");
    }
    text.push('\n');
    text
}

impl Report {
    fn hear(&mut self, reply: Option<EchoReply>) {
        self.sent += 1;
        self.answered += u32::from(reply.is_some());
        let reached = |reply: &EchoReply| reply.code == EchoCode::EndOfPath;
        self.reached += u32::from(reply.as_ref().is_some_and(reached));
        self.replies.push(reply);
    }

    fn sum_up(&mut self) {
        let answers = self.replies.iter().flatten().map(|reply| reply.rtt_us);
        let count = u64::from(self.answered.max(1));
        self.rtt_us = answers.clone().min().map(|min| Spread {
            min,
            avg: answers.clone().sum::<u64>() / count,
            max: answers.max().unwrap_or(min),
        });
    }

    fn summary(&self) -> String {
        let (sent, answered, reached) = (self.sent, self.answered, self.reached);
        let mut text = format!("{sent} sent, {answered} answered, {reached} reached the end");
        if let Some(Spread { min, avg, max }) = self.rtt_us {
            // Writing to a string cannot fail.
            let _ = write!(text, "; round trip min/avg/max {min}/{avg}/{max} us");
        }
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_forwarder_api::{Spi, Ttl};

    #[test]
    fn silence_and_answers_are_summed_up() {
        let reply = |rtt_us, code| EchoReply {
            from: None,
            code,
            rtt_us,
            spi: Spi::MIN,
            si: None,
            ttl: Ttl::MAX,
            mtu: Some(1400),
            functions: Vec::new(),
        };
        let mut report = Report::default();
        report.hear(Some(reply(10, EchoCode::EndOfPath)));
        report.hear(None);
        report.hear(Some(reply(30, EchoCode::NoNextHop)));
        report.sum_up();
        assert_eq!(
            report.summary(),
            "3 sent, 2 answered, 1 reached the end; round trip min/avg/max 10/20/30 us\n"
        );
        assert_eq!(
            line(3, report.replies[2].as_ref()),
            "3: an unnamed SFF: no next hop, 30 us, MTU 1400\n"
        );
    }
}
