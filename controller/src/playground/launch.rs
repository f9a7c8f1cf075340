//! Starts programs: short ones whose output matters, and daemons that outlive us, in a session
//! and a network namespace of their own, with their output in a log file.

use super::journal::{Entry, Journal};
use super::layout::RUN;
use super::namespace::inside;
use super::process::{Pid, TAG};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Runs a command to its end and returns what it printed; what it complained about becomes the
/// error.
pub(super) fn output(command: &mut Command, input: &[u8]) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command
        // It may outlive us when we are killed; `down` shall find it.
        .env(TAG, RUN)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot run {name}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        // A command that ends early says why itself.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command to its end and returns all it printed, however it ended.
pub(super) fn combined(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .env(TAG, RUN)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("cannot run {name}"))?;
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    Ok(text)
}

/// A program that shall go on when we have ended.
#[derive(Debug)]
pub(super) struct Daemon {
    /// What it is here: `hub/broker`, `box1/agent`.
    pub(super) role: String,
    /// Namespace it lives in.
    pub(super) namespace: String,
    /// Executable.
    pub(super) program: PathBuf,
    /// Arguments.
    pub(super) arguments: Vec<OsString>,
}

impl Daemon {
    /// A daemon called `role` in `namespace`.
    pub(super) fn new(role: &str, namespace: &str, program: impl Into<PathBuf>) -> Self {
        Self {
            role: role.to_owned(),
            namespace: namespace.to_owned(),
            program: program.into(),
            arguments: Vec::new(),
        }
    }

    /// One more argument.
    pub(super) fn arg(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// More arguments.
    pub(super) fn args(mut self, arguments: &[&str]) -> Self {
        self.arguments.extend(arguments.iter().map(OsString::from));
        self
    }

    /// Starts it.
    pub(super) fn start(self, journal: &Journal) -> Result<Running> {
        let log = log_file(&self.role);
        let file = OpenOptions::new().create(true).append(true).open(&log)?;
        let (for_output, for_errors) = (file.try_clone()?, file);
        let role = self.role.clone();
        journal.note(&Entry::Starting { role: role.clone() })?;
        // setsid(1) becomes the program: it forks only where it leads a process group.
        let spawned = inside(&self.namespace, move || {
            Command::new("setsid")
                .arg(&self.program)
                .args(&self.arguments)
                .env(TAG, RUN)
                .current_dir("/")
                .stdin(Stdio::null())
                .stdout(for_output)
                .stderr(for_errors)
                .spawn()
        })?;
        let child = spawned.with_context(|| format!("cannot start {role}"))?;
        let process = i32::try_from(child.id()).ok().and_then(Pid::find);
        if let Some(process) = process {
            journal.note(&Entry::Started {
                role: role.clone(),
                process,
            })?;
        }
        Ok(Running { role, child })
    }
}

/// A daemon that was started.
#[derive(Debug)]
pub(super) struct Running {
    role: String,
    child: Child,
}

impl Running {
    /// An error with the end of its log, once the daemon has ended.
    pub(super) fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let log = log_file(&self.role);
            bail!(
                "{} ended with {status}; the end of {}:\n{}",
                self.role,
                log.display(),
                tail(&log, 12)
            );
        }
        Ok(())
    }
}

/// Where a daemon's output goes.
pub(super) fn log_file(role: &str) -> PathBuf {
    logs().join(format!("{}.log", role.replace('/', "-")))
}

/// Where all logs are.
pub(super) fn logs() -> PathBuf {
    Path::new(RUN).join("logs")
}

/// The last lines of a file, indented.
pub(super) fn tail(path: &Path, lines: usize) -> String {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text.lines().collect();
    let from = all.len().saturating_sub(lines);
    let indented = all.iter().skip(from).map(|line| format!("  | {line}"));
    indented.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_command_complains_about_becomes_the_error() {
        let mut good = Command::new("cat");
        assert_eq!(output(&mut good, b"text").unwrap(), "text");
        let mut bad = Command::new("sh");
        bad.args(["-c", "echo no such thing >&2; exit 3"]);
        let error = output(&mut bad, b"").unwrap_err().to_string();
        assert!(error.contains("sh ended with"), "{error}");
        assert!(error.ends_with("no such thing"), "{error}");
    }

    #[test]
    fn the_tail_is_the_last_lines() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "a\nb\nc\n").unwrap();
        assert_eq!(tail(&path, 2), "  | b\n  | c");
        assert_eq!(tail(&dir.path().join("none"), 2), "");
    }
}
