//! The playground's processes, as its journal and the kernel know them.

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// The journal of the playground.
pub const JOURNAL: &str = "/run/kcluster-playground/journal.jsonl";

/// Process id of the newest process with this role: `box1/agent`, `hub/controller`.
///
/// # Errors
/// None was started.
pub fn of(role: &str) -> Result<i32> {
    let text = fs::read_to_string(JOURNAL).context("there is no playground")?;
    let entries = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut pids = entries
        .filter(|entry| entry["role"] == role && entry["made"] == "started")
        .filter_map(|entry| i32::try_from(entry["process"]["pid"].as_i64()?).ok());
    pids.next_back()
        .with_context(|| format!("nothing called {role} was started"))
}

/// How a process was started.
#[derive(Debug, Clone)]
pub struct Start {
    /// Program and arguments.
    pub command: Vec<String>,
    /// Environment.
    pub environment: Vec<(String, String)>,
}

/// How a living process was started.
///
/// # Errors
/// It has ended.
pub fn how(pid: i32) -> Result<Start> {
    let read = |name: &str| -> Result<Vec<String>> {
        let bytes = fs::read(format!("/proc/{pid}/{name}"))?;
        let parts = bytes
            .split(|byte| *byte == 0)
            .filter(|part| !part.is_empty());
        Ok(parts
            .map(|part| String::from_utf8_lossy(part).into_owned())
            .collect())
    };
    let environment = read("environ")?
        .iter()
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    Ok(Start {
        command: read("cmdline")?,
        environment,
    })
}

/// Sends a signal.
///
/// # Errors
/// There is no such process.
pub fn signal(pid: i32, signal: Signal) -> Result<()> {
    kill(Pid::from_raw(pid), signal).with_context(|| format!("cannot signal {pid}"))
}

/// Whether it runs; a zombie does not.
pub fn alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .ok()
        .and_then(|stat| Some(stat.rsplit_once(')')?.1.trim_start().starts_with('Z')))
        == Some(false)
}

/// Every living process in the network namespace of this name, and in the cgroups of its
/// containers: everything that a box is.
///
/// # Errors
/// There is no such namespace.
pub fn of_box(name: &str) -> Result<Vec<i32>> {
    use std::os::unix::fs::MetadataExt;
    let wanted = fs::metadata(format!("/run/netns/{name}"))?.ino();
    let mut found: Vec<i32> = fs::read_dir("/proc")?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| fs::metadata(format!("/proc/{pid}/ns/net")).is_ok_and(|m| m.ino() == wanted))
        .collect();
    for hierarchy in [
        Path::new("/sys/fs/cgroup"),
        Path::new("/sys/fs/cgroup/pids"),
    ] {
        members(&hierarchy.join(name), &mut found);
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

/// The process of this name in a box.
///
/// # Errors
/// There is none.
pub fn named(namespace: &str, name: &str) -> Result<i32> {
    let is = |pid: &i32| {
        fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|comm| comm.trim() == name)
    };
    let mut all = of_box(namespace)?.into_iter().filter(is);
    all.next()
        .with_context(|| format!("no {name} runs in {namespace}"))
}

fn members(cgroup: &Path, found: &mut Vec<i32>) {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    found.extend(text.lines().filter_map(|line| line.parse::<i32>().ok()));
    for child in fs::read_dir(cgroup).into_iter().flatten().flatten() {
        if child.path().is_dir() {
            members(&child.path(), found);
        }
    }
}
