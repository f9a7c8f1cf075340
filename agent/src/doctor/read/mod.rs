//! Reads the facts. Whatever cannot be read is left out or told as it is; nothing here judges.

mod files;
mod network;
mod services;
mod ways;

use super::{Clock, Facts, Process, Runner, judge};
use crate::config::Settings;
use kc_agent_api::Finding;
use kc_forwarder_api::Status;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

/// From where the box is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Vantage {
    /// Out of the running agent.
    Agent,
    /// From a command beside it. `unread` is why the agent's settings cannot be read.
    Command {
        /// The error, when there is one.
        unread: Option<String>,
    },
}

/// Looks at the box for a few seconds at most, and says what it found.
pub async fn examine(settings: &Settings, vantage: Vantage) -> Vec<Finding> {
    let unread = match &vantage {
        Vantage::Agent => None,
        Vantage::Command { unread } => unread.clone(),
    };
    let ((engine, data_root), (broker, controller), forwarder, synchronised) = tokio::join!(
        services::engine(&settings.docker),
        services::broker(settings, unread.is_none()),
        services::forwarder(settings),
        services::synchronised(),
    );
    let network = network::network(settings, &forwarder).await;
    let status = match &forwarder {
        super::Forwarder::Answers { status, .. } => Some(status.as_ref()),
        _ => None,
    };
    let processes = processes(&vantage, status);
    let ledger = settings.state_dir.clone();
    let reading = tokio::task::spawn_blocking(move || {
        files::Files::read(Path::new("/proc"), Path::new("/sys"), &data_root, &ledger)
    });
    let files = reading.await.unwrap_or_default();
    judge(&Facts {
        unread,
        machine: files.machine,
        clock: Clock {
            now: SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default(),
            synchronised,
            rtc: files.rtc,
        },
        engine,
        cards: files.cards,
        disks: files.disks,
        file_system_errors: files.file_system_errors,
        processes,
        network,
        broker,
        controller,
        forwarder,
    })
}

fn processes(vantage: &Vantage, forwarder: Option<&Status>) -> Vec<Process> {
    let proc = Path::new("/proc");
    let status = |pid: &str| files::text(&proc.join(pid).join("status"));
    let agent = match vantage {
        Vantage::Agent => Some("self".to_owned()),
        Vantage::Command { .. } => files::agent(proc),
    };
    let first = match agent {
        Some(pid) => Process {
            runner: Runner::Agent,
            status: status(&pid),
        },
        None => Process {
            runner: Runner::Asker,
            status: status("self"),
        },
    };
    let forwarder = forwarder.map(|forwarder| Process {
        runner: Runner::Forwarder,
        status: status(&forwarder.pid.to_string()),
    });
    [Some(first), forwarder].into_iter().flatten().collect()
}
