//! Network namespaces: made and removed by name, entered by a thread of their own.

use super::layout::namespace_file;
use anyhow::{Context, Result, anyhow};
use nix::mount::{MntFlags, umount2};
use nix::sched::{CloneFlags, setns};
use std::fs::{self, File};
use std::path::Path;

/// Runs `work` on a thread inside the namespace `name`: sockets it opens and processes it
/// starts stay there.
///
/// `setns` moves one thread only, which ends here, so that no other work is ever found there.
pub(super) fn inside<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T> {
    let path = namespace_file(name);
    let file = File::open(&path).with_context(|| format!("no network namespace {name}"))?;
    std::thread::scope(|scope| {
        scope
            .spawn(move || -> Result<T> {
                setns(file, CloneFlags::CLONE_NEWNET)
                    .with_context(|| format!("cannot enter namespace {name}"))?;
                Ok(work())
            })
            .join()
            .map_err(|_| anyhow!("the thread in namespace {name} panicked"))?
    })
}

/// Turns IPv6 off on all interfaces of a namespace that are still to come: the playground
/// speaks IPv4, and neighbour discovery would only blur the counters.
pub(super) fn without_ipv6(name: &str) -> Result<()> {
    inside(name, || {
        for which in ["all", "default"] {
            let path = format!("/proc/sys/net/ipv6/conf/{which}/disable_ipv6");
            if Path::new(&path).exists() {
                fs::write(&path, "1").with_context(|| format!("cannot write {path}"))?;
            }
        }
        Ok(())
    })?
}

/// Removes the name; the namespace itself ends with its last process.
pub(super) fn remove(name: &str) -> Result<()> {
    let path = namespace_file(name);
    if path.exists() {
        // EINVAL: the name was made, the namespace was not yet bound to it.
        let _ = umount2(&path, MntFlags::MNT_DETACH);
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(())
}

/// Named namespaces that begin with `prefix`.
pub(super) fn named(prefix: &str) -> Vec<String> {
    let entries = fs::read_dir("/run/netns").into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with(prefix))
        .collect();
    names.sort();
    names
}
