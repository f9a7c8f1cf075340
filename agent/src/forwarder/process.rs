//! Starting the program so that it outlives us: a process group of its own, and a file, not a
//! pipe, for what it says. And the end of one that another agent has started.

use super::ForwarderError;
use super::connection::Connection;
use crate::service::NOTIFY_SOCKET;
use nix::sys::signal::kill;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

/// A log longer than this is put aside at the next start.
const LOG_LIMIT: u64 = 1 << 20;
/// Time from start to first answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a forwarder's things are.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) program: PathBuf,
    pub(super) socket: PathBuf,
    pub(super) tables: PathBuf,
    pub(super) log: PathBuf,
}

/// Starts the program and waits until it answers.
pub(super) async fn start(
    place: &Place,
    with_tables: bool,
) -> Result<(Child, Connection), ForwarderError> {
    let mut command = Command::new(&place.program);
    command.arg("run").arg("--socket").arg(&place.socket);
    if with_tables && place.tables.exists() {
        command.arg("--config").arg(&place.tables);
    }
    let log = open_log(&place.log)?;
    let refuse = |source| ForwarderError::Log {
        path: place.log.clone(),
        source,
    };
    let errors = log.try_clone().map_err(refuse)?;
    // Signals to our own group, such as Ctrl-C, are not meant for it.
    command.process_group(0).kill_on_drop(false);
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    // It is part of our service, and none of its own.
    command.env_remove(NOTIFY_SOCKET);
    let started = command.spawn();
    let mut child = started.map_err(|source| ForwarderError::Start {
        program: place.program.clone(),
        source,
    })?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Ok(connection) = Connection::open(&place.socket).await {
            return Ok((child, connection));
        }
        // Its end, or the next look at the socket, whichever is first.
        match tokio::time::timeout(Duration::from_millis(2), child.wait()).await {
            Ok(Ok(status)) => {
                let last = last_line(&place.log);
                return Err(ForwarderError::Ended { status, last });
            }
            Ok(Err(error)) => return Err(ForwarderError::Broken(error)),
            Err(_) if Instant::now() > deadline => {
                let _ = child.kill().await;
                return Err(ForwarderError::Absent);
            }
            Err(_) => {}
        }
    }
}

fn open_log(path: &Path) -> Result<File, ForwarderError> {
    if std::fs::metadata(path).is_ok_and(|log| log.len() > LOG_LIMIT) {
        let _ = std::fs::rename(path, path.with_extension("log.1"));
    }
    let opened = OpenOptions::new().create(true).append(true).open(path);
    opened.map_err(|source| ForwarderError::Log {
        path: path.to_owned(),
        source,
    })
}

/// What the program said last.
pub(super) fn last_line(path: &Path) -> String {
    let tail = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(2048)))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        std::io::Result::Ok(bytes)
    };
    let bytes = tail().unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rfind(|line| !line.trim().is_empty());
    line.unwrap_or("it said nothing").to_owned()
}

/// The program of a forwarder that answers, when it is another than ours.
pub(super) fn former(place: &Place, connection: &Connection) -> Option<PathBuf> {
    let theirs = std::fs::read_link(format!("/proc/{}/exe", connection.pid?)).ok()?;
    let ours = std::fs::canonicalize(&place.program).ok()?;
    (theirs != ours).then_some(theirs)
}

/// Waits a moment for a process that we did not start to be gone, so that its successor does not
/// meet its socket. It may be a child of ours all the same: of the version that we were before.
pub(super) async fn wait_for_end(pid: Option<i32>) {
    let Some(pid) = pid.map(Pid::from_raw) else {
        return;
    };
    for _ in 0..100 {
        let reaped = waitpid(pid, Some(WaitPidFlag::WNOHANG));
        let gone = matches!(
            reaped,
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
        );
        if gone || kill(pid, None).is_err() {
            return;
        }
        sleep(Duration::from_millis(2)).await;
    }
}
