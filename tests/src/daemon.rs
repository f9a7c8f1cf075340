//! The playground's daemons, killed and started again as they were started. A role is what the
//! journal calls one: `box1/agent`, `hub/controller`.

use crate::{namespace, process, wait};
use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use std::fs::OpenOptions;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// SIGKILL, and starts it again.
///
/// # Errors
/// It did not run, or cannot be started.
pub fn restart(role: &str) -> Result<()> {
    let how = process::how(process::of(role)?)?;
    kill(role)?;
    start(role, &how).map(drop)
}

/// SIGKILL; returns when the process has ended.
///
/// # Errors
/// It did not run.
pub fn kill(role: &str) -> Result<()> {
    let pid = process::of(role)?;
    process::signal(pid, Signal::SIGKILL)?;
    let gone = || Ok((!process::alive(pid)).then_some(()));
    wait::until("the end of the process", Duration::from_secs(5), gone)?;
    Ok(())
}

/// Starts it in the namespace that it belongs to.
///
/// # Errors
/// The program cannot be run.
pub fn start(role: &str, how: &process::Start) -> Result<Child> {
    let place = role.split('/').next().unwrap_or(role);
    let (program, arguments) = how.command.split_first().context("no command line")?;
    let name = role.replace('/', "-");
    let log = format!("/run/kcluster-playground/logs/{name}.log");
    let log = OpenOptions::new().append(true).open(log)?;
    let other = log.try_clone()?;
    let child = namespace::inside(&format!("kcpg-{place}"), || {
        Command::new("setsid")
            .arg(program)
            .args(arguments)
            .env_clear()
            .envs(how.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log)
            .stderr(other)
            .spawn()
    })??;
    Ok(child)
}
