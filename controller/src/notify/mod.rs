//! Tells people of alarms: a POST to a webhook when one begins to fire, and when it is over. What
//! is told of an alarm replaces what was to be told of it before, so that a receiver that was away
//! hears how things are, and not all that has been.
//!
//! At least once: after a restart of the controller what fires is told again.

mod queue;
#[cfg(test)]
mod tests;

use crate::alarm::AlarmReport;
use queue::Queue;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How long a receiver may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// Most receivers; more are a mistake, and told.
const MOST: usize = 64;
/// Changes that may wait for one receiver's task.
const WAITING: usize = 1_000;

/// What a receiver gets, as JSON.
#[derive(Debug, Serialize)]
struct Notice<'a> {
    v: u32,
    domain: &'a str,
    /// In one line for people; what Slack, Mattermost and the like show.
    text: String,
    alarm: &'a AlarmReport,
}

/// One change for one receiver.
type Change = (String, Vec<u8>);

/// Everybody who is told.
pub(crate) struct Notifier {
    domain: String,
    /// Who is told of every alarm.
    always: Vec<String>,
    receivers: BTreeMap<String, mpsc::Sender<Change>>,
    /// Whether it fires, of alarms that somebody is told of.
    told: BTreeMap<String, bool>,
}

impl Notifier {
    pub(crate) fn new(domain: String, always: Vec<String>) -> Self {
        Self {
            domain,
            always,
            receivers: BTreeMap::new(),
            told: BTreeMap::new(),
        }
    }

    /// Takes up how all alarms stand, and who wants to hear of each.
    pub(crate) fn update<'a>(&mut self, alarms: impl Iterator<Item = (AlarmReport, &'a [String])>) {
        let before = std::mem::take(&mut self.told);
        for (report, urls) in alarms {
            if urls.is_empty() && self.always.is_empty() {
                continue;
            }
            let fires = report.state == "firing";
            let fired = before.get(&report.name).copied().unwrap_or(false);
            self.told.insert(report.name.clone(), fires);
            if fires != fired {
                self.tell(&report, urls);
            }
        }
    }

    fn tell(&mut self, report: &AlarmReport, urls: &[String]) {
        let notice = Notice {
            v: 1,
            domain: &self.domain,
            text: report.line(),
            alarm: report,
        };
        let body = match serde_json::to_vec(&notice) {
            Ok(body) => body,
            Err(error) => return tracing::error!(%error, "unwritable notice"),
        };
        let mut all: Vec<_> = self.always.iter().chain(urls).cloned().collect();
        all.sort();
        all.dedup();
        for url in all {
            let known = self.receivers.contains_key(&url);
            if !known && self.receivers.len() >= MOST {
                tracing::error!(
                    alarm = report.name,
                    "nobody more is told: {MOST} receivers are all there may be"
                );
                continue;
            }
            let receiver = self.receivers.entry(url).or_insert_with_key(|url| {
                let (sender, changes) = mpsc::channel(WAITING);
                tokio::spawn(serve(url.clone(), changes));
                sender
            });
            if receiver
                .try_send((report.name.clone(), body.clone()))
                .is_err()
            {
                tracing::error!(alarm = report.name, "too much waits to be told");
            }
        }
    }
}

/// Serves one receiver until nobody can want it to.
async fn serve(url: String, mut changes: mpsc::Receiver<Change>) {
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .user_agent(concat!("kc-controller/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    // An address may hold a password or a token: the log gets its host only.
    let host = url.split('/').nth(2).unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default().to_owned();
    let mut queue = Queue::default();
    let begin = Instant::now();
    let now_ms = || u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
    loop {
        let wait = queue.due_in(now_ms()).map(Duration::from_millis);
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            change = changes.recv() => match change {
                Some((alarm, body)) => queue.push(alarm, body, now_ms()),
                None => return,
            },
            () = due => {
                let Some((alarm, body)) = queue.next(now_ms()) else {
                    continue;
                };
                let (agent, url) = (agent.clone(), url.clone());
                let post = move || {
                    let request = agent.post(&url).content_type("application/json");
                    request.send(&body[..]).map(drop)
                };
                match tokio::task::spawn_blocking(post).await {
                    Ok(Ok(())) => queue.done(&alarm),
                    Ok(Err(error)) => {
                        let again = queue.failed(&alarm, now_ms());
                        tracing::warn!(%host, alarm, %error, again, "an alarm could not be told");
                    }
                    Err(error) => {
                        queue.failed(&alarm, now_ms());
                        tracing::error!(%error, "a notice ended oddly");
                    }
                }
            }
        }
    }
}
