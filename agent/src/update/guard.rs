//! The side that guards a version on trial: the agent that ran until now, with nothing of its own
//! left running. It starts the new one as a child, listens to it, and becomes whichever is to stay,
//! under its own process number: a system manager, or whoever started it, sees one process all along.
//!
//! Never are there two agents: the child dies with its guard, by the kernel's hand (PR_SET_PDEATHSIG),
//! whatever program it is.

use super::launch::{self, PACKAGED, TRIAL, become_program};
use super::shelf::Kept;
use super::trial::{Trial, Verdict, Word, Words};
use super::{Candidate, Expectation, Shelf, UpdateError};
use crate::service::{self, NOTIFY_SOCKET};
use kc_agent_api::{UpdateOutcome, UpdateRecord};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid};
use semver::Version;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{Signal as Unix, SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};

/// The verb of [`enter`].
pub const ON_TRIAL: &str = "on-trial";
/// How long a version on trial may take to leave when it is asked to.
const LEAVE: Duration = Duration::from_secs(4);
/// How long its forwarder may take to look at the box's tables.
const CHECK: Duration = Duration::from_secs(20);

/// A trial that is to be held.
#[derive(Debug, Clone)]
pub struct Swap {
    /// What is tried.
    pub candidate: Candidate,
    /// What is expected of it.
    pub expected: Expectation,
    /// Where it lies.
    pub shelf: Shelf,
    /// What runs.
    pub running: Version,
    /// How long it has to get healthy.
    pub limit: Duration,
    /// The tables that its forwarder must take, if it brings one.
    pub tables: PathBuf,
}

/// How a trial was left.
enum Left {
    Decided(Verdict),
    /// Somebody wants the agent to end.
    Told,
}

/// Holds a trial, and becomes what is to stay. Returns only when somebody wants the agent to end, or
/// when nothing can be started any more.
pub fn hold(swap: &Swap) -> io::Result<()> {
    let ourselves = std::env::current_exe();
    let (packaged, version) = (launch::packaged(), swap.candidate.version.to_string());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let left = runtime.block_on(watched(swap, &packaged));
    runtime.shutdown_background();
    let verdict = match left {
        Left::Told => return Ok(()),
        Left::Decided(verdict) => verdict,
    };
    let reason = match verdict {
        Verdict::Taken => {
            tracing::info!(version, "the new version is healthy, and takes over");
            let environment = [(PACKAGED, packaged.to_string())];
            let error = become_program(&swap.shelf.program(&version), &environment);
            give_back(swap);
            format!("it was healthy, and could not be started again: {error}")
        }
        Verdict::Failed(reason) => reason,
    };
    tracing::error!(version, reason, "the update is given up");
    let record = swap.record(UpdateOutcome::Failed, Some(reason));
    let told = false;
    if let Err(error) = swap.shelf.keep(&Kept { record, told }) {
        tracing::error!(%error, "why an update failed cannot be kept");
    }
    swap.shelf.discard(&version);
    // We begin anew, with nothing in memory that a trial may have spoilt.
    if let Ok(path) = ourselves {
        let error = become_program(&path, &[]);
        tracing::error!(%error, path = %path.display(), "our own program is gone");
    }
    // Its file may have been replaced or removed meanwhile: the kernel has it as long as we run.
    Err(become_program(Path::new("/proc/self/exe"), &[]))
}

/// What was started before is started again.
fn give_back(swap: &Swap) {
    let packaged = launch::packaged();
    let given = match swap.running == packaged {
        true => swap.shelf.take_none(),
        false => swap.shelf.take(&swap.running.to_string(), &packaged),
    };
    if let Err(error) = given {
        tracing::error!(%error, "the former version could not be put back");
    }
}

/// The signals by which somebody wants the agent to end.
struct Ends(Unix, Unix);

impl Ends {
    fn listen() -> io::Result<Self> {
        Ok(Self(
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    }

    async fn told(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

impl Swap {
    /// What is known of it.
    pub fn record(&self, outcome: UpdateOutcome, reason: Option<String>) -> UpdateRecord {
        UpdateRecord {
            attempt: self.candidate.attempt,
            version: self.candidate.version.to_string(),
            from: self.running.to_string(),
            outcome,
            reason,
        }
    }

    fn forwarder(&self) -> PathBuf {
        let agent = self.shelf.program(&self.candidate.version.to_string());
        agent.with_file_name(super::archive::FORWARDER)
    }
}

/// Tries it, and feeds the system manager's watchdog meanwhile.
async fn watched(swap: &Swap, packaged: &Version) -> Left {
    let line = format!("version {} is on trial", swap.candidate.version);
    let fed = service::feed(&line);
    tokio::select! {
        never = fed => match never {},
        left = attempt(swap, packaged) => left,
    }
}

async fn attempt(swap: &Swap, packaged: &Version) -> Left {
    let mut ends = match Ends::listen() {
        Ok(ends) => ends,
        Err(error) => {
            let reason = format!("signals cannot be caught: {error}");
            return Left::Decided(Verdict::Failed(reason));
        }
    };
    let checked = tokio::select! {
        () = ends.told() => return Left::Told,
        checked = check_forwarder(swap) => checked,
    };
    if let Err(reason) = checked {
        return Left::Decided(Verdict::Failed(reason));
    }
    let mut child = match start(swap) {
        Ok(child) => child,
        Err(error) => {
            let reason = format!("it cannot be started: {error}");
            return Left::Decided(Verdict::Failed(reason));
        }
    };
    // Waiting for a child closes its input, unless that is somebody else's.
    let input = child.stdin.take();
    let mut left = listen(swap, &mut child, &mut ends).await;
    if matches!(left, Left::Decided(Verdict::Taken)) {
        // The switch comes first: whoever is killed from here on comes back as the new one.
        let version = swap.candidate.version.to_string();
        let taken = swap.shelf.take(&version, packaged);
        if let Err(error) = taken.map_err(|error| explain(&error)) {
            let reason = format!("it was healthy, and could not be kept: {error}");
            left = Left::Decided(Verdict::Failed(reason));
        } else {
            swap.shelf.prune(&[&version, &swap.running.to_string()]);
        }
    }
    dismiss(&mut child, input, matches!(left, Left::Told)).await;
    left
}

fn explain(error: &UpdateError) -> String {
    crate::keeper::explain(error)
}

/// Its forwarder must take the tables that are in force.
async fn check_forwarder(swap: &Swap) -> Result<(), String> {
    let program = swap.forwarder();
    if !program.exists() || !swap.tables.exists() {
        return Ok(());
    }
    let mut command = Command::new(&program);
    command.arg("check").arg(&swap.tables).kill_on_drop(true);
    command.stdin(Stdio::null()).stdout(Stdio::null());
    let ended = timeout(CHECK, command.output()).await;
    match ended {
        Err(_) => Err(format!(
            "its kc-forwarder was not done with the box's tables after {} s",
            CHECK.as_secs()
        )),
        Ok(Err(error)) => Err(format!("its kc-forwarder cannot be started: {error}")),
        Ok(Ok(output)) if output.status.success() => Ok(()),
        Ok(Ok(output)) => {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or("it said nothing");
            let last: String = last.chars().take(300).collect();
            let how = output.status;
            Err(format!(
                "its kc-forwarder does not take the box's tables ({how}): {last}"
            ))
        }
    }
}

/// Starts it by way of ourselves, see [`enter`].
fn start(swap: &Swap) -> io::Result<Child> {
    let expected = serde_json::to_string(&swap.expected)?;
    let program = swap.shelf.program(&swap.candidate.version.to_string());
    let mut command = Command::new("/proc/self/exe");
    command
        .arg(ON_TRIAL)
        .arg(std::process::id().to_string())
        .arg(program);
    command.args(std::env::args_os().skip(1));
    command
        .env(TRIAL, expected)
        .env(PACKAGED, launch::packaged().to_string());
    // The system manager hears of it from us.
    for name in [NOTIFY_SOCKET, "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.kill_on_drop(true).spawn()
}

/// Listens until it is decided.
async fn listen(swap: &Swap, child: &mut Child, ends: &mut Ends) -> Left {
    let Some(mut said) = child.stdout.take() else {
        return Left::Decided(Verdict::Failed("nothing can be heard of it".to_owned()));
    };
    let (began, mut trial) = (Instant::now(), Trial::new(swap.limit));
    let (mut words, mut buffer, mut open) = (Words::default(), vec![0; 4096], true);
    loop {
        if let Some(verdict) = trial.verdict(began.elapsed()) {
            return Left::Decided(verdict);
        }
        tokio::select! {
            () = ends.told() => return Left::Told,
            ended = child.wait() => {
                let how = ended.map_or_else(|error| error.to_string(), |status| status.to_string());
                // What it said last is in the pipe still.
                if let Ok(Ok(count)) = timeout(Duration::from_millis(50), said.read(&mut buffer)).await {
                    hear(&mut trial, words.push(buffer.get(..count).unwrap_or_default()), began.elapsed());
                }
                return Left::Decided(trial.ended(&how));
            }
            count = said.read(&mut buffer), if open => match count {
                Ok(count @ 1..) => {
                    hear(&mut trial, words.push(buffer.get(..count).unwrap_or_default()), began.elapsed());
                }
                // One that closed its output can say nothing more, and its time runs.
                Ok(0) | Err(_) => open = false,
            },
            () = sleep_until(began + trial.wake()) => {}
        }
    }
}

fn hear(trial: &mut Trial, words: Vec<Word>, now: Duration) {
    for word in words {
        tracing::info!("on trial: {}", word.line().trim_end());
        trial.heard(word, now);
    }
}

/// Has it leave: quietly, since somebody takes its place at once, or aloud. One that does not is
/// killed.
async fn dismiss(child: &mut Child, input: Option<ChildStdin>, aloud: bool) {
    if aloud && let Some(pid) = child.id().and_then(|pid| i32::try_from(pid).ok()) {
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
    } else {
        drop(input);
    }
    if timeout(LEAVE, child.wait()).await.is_err() {
        let _ = child.kill().await;
    }
}

/// What the child does first: it binds its life to its guard's, and becomes `program`. Returns only
/// when that cannot be.
pub fn enter(guard: u32, program: &Path, arguments: &[OsString]) -> io::Error {
    if let Err(error) = set_pdeathsig(Signal::SIGKILL) {
        return error.into();
    }
    // It may have died before that.
    if u32::try_from(getppid().as_raw()) != Ok(guard) {
        return io::ErrorKind::BrokenPipe.into();
    }
    let environment: Vec<_> = std::env::vars_os().collect();
    let error = launch::replace(program, arguments, &environment);
    let word = Word::Waiting(format!("its start: {error}"));
    let _ = io::stdout().write_all(word.line().as_bytes());
    error
}
