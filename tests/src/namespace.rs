//! Work inside a named network namespace, on a thread of its own.

use anyhow::{Context, Result, anyhow};
use nix::sched::{CloneFlags, setns};
use std::fs::File;

/// Runs `work` in the namespace: its sockets and processes are there.
///
/// # Errors
/// There is no such namespace.
pub fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let path = format!("/run/netns/{name}");
    let file = File::open(&path).with_context(|| format!("no namespace {path}"))?;
    std::thread::scope(|scope| {
        scope
            .spawn(move || -> Result<T> {
                setns(file, CloneFlags::CLONE_NEWNET)?;
                Ok(work())
            })
            .join()
            .map_err(|_| anyhow!("the work in {name} panicked"))?
    })
}
