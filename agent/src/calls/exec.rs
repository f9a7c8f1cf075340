//! A command in a container: its input, outputs, terminal and exit code. A command whose caller is
//! gone is ended.

use super::container::Container;
use super::flow::{Flow, Stop};
use super::input::{self, Allowance, Word};
use super::output::Pieces;
use super::{Answerer, CallError};
use bollard::Docker;
use bollard::exec::{CreateExecOptions, ResizeExecOptions, StartExecOptions, StartExecResults};
use kc_agent_api::{Output, ReplyBody, Window};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::time::Duration;
use tokio::io::{AsyncWrite, AsyncWriteExt as _};
use tokio::sync::{mpsc, watch};
use tokio::time::sleep;

/// How long the engine may take to say how a command ended whose output has ended.
const EXIT: Duration = Duration::from_secs(2);
/// How often it is asked until then; no event of the engine's is told before the output's end.
const ASK: Duration = Duration::from_millis(20);
/// How long a command may go on after its caller has gone and it was told so.
const GRACE: Duration = Duration::from_secs(2);
/// The engine ends a session of its own accord when it reads its "detach keys", by default one that
/// shells use. These nobody types.
const NO_DETACH: &str = "ctrl-_,ctrl-_,ctrl-_,ctrl-_,ctrl-_,ctrl-_,ctrl-_,ctrl-_";

/// How the engine begins to say, instead of the command and as if it were its output, that the
/// command could not be started.
const NOT_STARTED: &[u8] = b"OCI runtime exec failed:";
/// Exit code of what cannot be run, as shells have it.
const CANNOT: i64 = 126;
/// Exit code of what is not there.
const MISSING: i64 = 127;

/// Whether the engine's complaint is that there is no such program.
fn is_missing(complaint: &[u8]) -> bool {
    let text = String::from_utf8_lossy(complaint);
    ["executable file not found", "no such file or directory"]
        .iter()
        .any(|words| text.contains(words))
}

/// What shall run.
pub(super) struct Wanted {
    pub(super) command: Vec<String>,
    pub(super) stdin: bool,
    pub(super) tty: Option<Window>,
}

/// What its caller sends.
pub(super) struct Ways {
    pub(super) id: u64,
    pub(super) input: mpsc::Receiver<Word>,
    pub(super) window: watch::Receiver<Option<Window>>,
}

/// A command under way; dropped before its end, it is ended.
struct Session {
    docker: Docker,
    exec: String,
    over: bool,
}

impl Drop for Session {
    fn drop(&mut self) {
        if !self.over {
            tokio::spawn(end(self.docker.clone(), std::mem::take(&mut self.exec)));
        }
    }
}

/// Hangs up on a command, and kills it when it does not end by that.
async fn end(docker: Docker, exec: String) {
    for signal in [Signal::SIGHUP, Signal::SIGKILL] {
        let Ok(seen) = docker.inspect_exec(&exec).await else {
            return;
        };
        let pid = seen.pid.and_then(|pid| i32::try_from(pid).ok());
        let (Some(true), Some(pid @ 2..)) = (seen.running, pid) else {
            return;
        };
        // The engine makes it the leader of a session and so of a group.
        let ended = kill(Pid::from_raw(-pid), signal).or_else(|_| kill(Pid::from_raw(pid), signal));
        if let Err(error) = ended {
            tracing::warn!(%error, pid, "a command outlives its caller");
        }
        sleep(GRACE).await;
    }
}

pub(super) async fn exec(
    answerer: &Answerer,
    flow: &mut Flow<'_>,
    container: &Container,
    wanted: Wanted,
    mut ways: Ways,
) -> Result<(), Stop> {
    if !answerer.settings.allow_exec {
        return Err(CallError::Forbidden.into());
    }
    let docker = &container.docker;
    let tty = wanted.tty.is_some();
    let options = CreateExecOptions {
        attach_stdin: Some(wanted.stdin),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        tty: Some(tty),
        detach_keys: Some(NO_DETACH.to_owned()),
        cmd: Some(wanted.command),
        ..CreateExecOptions::default()
    };
    let created = docker.create_exec(&container.id, options).await;
    let exec = created.map_err(|error| container.error(error))?.id;
    let mut session = Session {
        docker: docker.clone(),
        exec,
        over: false,
    };
    let options = StartExecOptions {
        tty,
        ..StartExecOptions::default()
    };
    let started = docker.start_exec(&session.exec, Some(options)).await;
    let StartExecResults::Attached { output, input } =
        started.map_err(|error| container.error(error))?
    else {
        return Err(CallError::Detached.into());
    };
    if let Some(window) = wanted.tty {
        resize(docker, &session.exec, window).await;
    }
    let begun = ReplyBody::Begun {
        credit: input::WINDOW,
        entry: None,
    };
    flow.send(begun).await?;
    let outward = async {
        let mut pieces = Pieces::new(output);
        let mut complaint: Option<Vec<u8>> = None;
        loop {
            flow.room().await?;
            let piece = pieces.next().await.map_err(|e| container.error(e))?;
            let Some((stream, octets)) = piece else {
                return Ok(complaint);
            };
            if let Some(octets) = complaint.take() {
                flow.send(ReplyBody::output(&octets, Output::Stdout))
                    .await?;
            } else if octets.starts_with(NOT_STARTED) {
                complaint = Some(octets);
                continue;
            }
            flow.send(ReplyBody::output(&octets, stream)).await?;
        }
    };
    let inward = async {
        if wanted.stdin {
            hand_in(answerer, ways.id, &mut ways.input, input).await?;
        }
        std::future::pending().await
    };
    let sizes = async {
        while ways.window.changed().await.is_ok() {
            let window = *ways.window.borrow_and_update();
            if let Some(window) = window {
                resize(docker, &session.exec, window).await;
            }
        }
        std::future::pending().await
    };
    let done: Result<Option<Vec<u8>>, Stop> = tokio::select! {
        done = outward => done,
        done = inward => done,
        never = sizes => never,
    };
    let complaint = done?;
    let mut exit_code = exit_code(docker, &session.exec).await;
    session.over = exit_code.is_some();
    if let Some(octets) = complaint {
        let started = exit_code != Some(CANNOT);
        let stream = if started {
            Output::Stdout
        } else {
            Output::Stderr
        };
        if !started && is_missing(&octets) {
            exit_code = Some(MISSING);
        }
        flow.send(ReplyBody::output(&octets, stream)).await?;
    }
    flow.end(ReplyBody::Ended { exit_code }).await
}

/// Writes input where it belongs, to its end.
pub(super) async fn hand_in(
    answerer: &Answerer,
    id: u64,
    words: &mut mpsc::Receiver<Word>,
    mut stdin: std::pin::Pin<Box<dyn AsyncWrite + Send>>,
) -> Result<(), Stop> {
    let mut allowance = Allowance::default();
    let mut closed = false;
    loop {
        match words.recv().await {
            Some(Word::Octets(octets)) => {
                // A command may close its input and go on.
                if !closed {
                    let written = async {
                        stdin.write_all(&octets).await?;
                        stdin.flush().await
                    };
                    closed = written.await.is_err();
                }
                if let Some(parts) = allowance.taken() {
                    Flow::allow(answerer, id, parts);
                }
            }
            Some(Word::End) => {
                let _ = stdin.shutdown().await;
                return Ok(());
            }
            None => return Err(CallError::InputLost.into()),
        }
    }
}

async fn resize(docker: &Docker, exec: &str, window: Window) {
    let options = ResizeExecOptions {
        height: window.rows,
        width: window.columns,
    };
    // A command may have ended meanwhile.
    if let Err(error) = docker.resize_exec(exec, options).await {
        tracing::debug!(%error, "a terminal keeps its size");
    }
}

/// How a command ended; `None` when it has only closed its output.
async fn exit_code(docker: &Docker, exec: &str) -> Option<i64> {
    let asked = async {
        loop {
            let seen = docker.inspect_exec(exec).await.ok()?;
            if seen.running != Some(true) {
                return seen.exit_code;
            }
            sleep(ASK).await;
        }
    };
    tokio::time::timeout(EXIT, asked).await.ok().flatten()
}
