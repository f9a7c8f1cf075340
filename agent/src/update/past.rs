//! What an agent that starts finds of updates before it: which version it is itself, and what became of
//! the newest one.

use super::shelf::Kept;
use super::{Shelf, archive, launch, policy};
use crate::config::Settings;
use crate::keeper::explain;
use kc_agent_api::{EventKind, UpdateOutcome, UpdateRecord};
use semver::Version;

/// What came before.
#[derive(Debug)]
pub struct Past {
    /// The version that runs.
    pub running: Version,
    /// The newest update.
    pub record: Option<UpdateRecord>,
    /// What is to be told of it, if nobody has heard it yet.
    pub news: Option<(EventKind, String)>,
    /// Whether a forwarder of the former version is to be replaced.
    pub new_forwarder: bool,
}

impl Past {
    /// Reads it. Whoever is on trial decides nothing, and leaves all that to those who come after.
    pub fn read(shelf: &Shelf, settings: &Settings, on_trial: bool) -> Self {
        let exe = std::env::current_exe().ok();
        let shelved = exe.as_deref().and_then(|exe| shelf.version_of(exe));
        let forwarder = exe
            .as_deref()
            .map(|exe| exe.with_file_name(archive::FORWARDER));
        let brings_one = shelved.is_some() && forwarder.as_deref() == Some(&*settings.forwarder);
        let running = shelved.unwrap_or_else(launch::built);
        let mut past = Self {
            running,
            record: None,
            news: None,
            new_forwarder: false,
        };
        if !on_trial {
            shelf.sweep();
        }
        let Some(kept) = shelf.record() else {
            return past;
        };
        if on_trial {
            past.record = Some(kept.record);
            return past;
        }
        let record = policy::settled(kept.record, &past.running.to_string());
        if !kept.told {
            past.new_forwarder = brings_one && record.outcome == UpdateOutcome::Updated;
            past.news = Some(news(&record, &past.running));
            if record.outcome == UpdateOutcome::Failed {
                shelf.discard(&record.version);
            }
            let told = true;
            let kept = Kept {
                record: record.clone(),
                told,
            };
            if let Err(error) = shelf.keep(&kept) {
                tracing::warn!("{}", explain(&error));
            }
        }
        past.record = Some(record);
        past
    }
}

fn news(record: &UpdateRecord, running: &Version) -> (EventKind, String) {
    let UpdateRecord { version, from, .. } = record;
    if record.outcome == UpdateOutcome::Updated {
        let told = format!("version {version} runs now, after {from}");
        return (EventKind::AgentUpdated, told);
    }
    let reason = record.reason.as_deref().unwrap_or("nobody knows why");
    let told = format!("version {version} was given up for {running}: {reason}");
    (EventKind::AgentUpdateFailed, told)
}
