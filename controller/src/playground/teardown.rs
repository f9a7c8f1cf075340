//! Takes everything of a playground away again, one way for every end of it: `down`, Ctrl-C in
//! the middle of `up`, the kill of anything at any time. Nothing is asked to stop politely,
//! because nothing of it is kept.

use super::journal::{Entry, Journal};
use super::layout::{DATA, PREFIX, RUN};
use super::process::{cgroups, directories, end_all, members, tagged};
use super::{journal, mounts, namespace};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// What was taken away.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Removed {
    /// Processes that still ran.
    pub(super) processes: usize,
    /// Network namespaces.
    pub(super) namespaces: usize,
    /// Mount points.
    pub(super) mounts: usize,
}

impl Removed {
    /// Whether there was nothing.
    pub(super) fn nothing(self) -> bool {
        self == Self::default()
    }
}

/// Removes all of it. Safe to call at any time and again; what cannot be removed is an error
/// that names it, after everything else was removed.
pub(super) fn remove() -> Result<Removed> {
    let run = Path::new(RUN);
    let entries = Journal::read(run)?;
    let mut left = Vec::new();
    let mut removed = Removed {
        processes: end_processes(&entries, &mut left),
        ..Removed::default()
    };
    for name in namespace::named(PREFIX) {
        removed.namespaces += 1;
        complain(&mut left, namespace::remove(&name));
    }
    removed.mounts = unmount(&entries, &mut left);
    for cgroup in cgroups() {
        remove_cgroup(&cgroup, &mut left);
    }
    stale_shim_sockets();
    outside(&entries, &mut left);
    complain(&mut left, remove_tree(Path::new(DATA)));
    if !left.is_empty() {
        bail!("these are left: {}", left.join("; "));
    }
    // The journal goes last: a `down` that failed above can be repeated.
    remove_tree(run)?;
    Ok(removed)
}

fn end_processes(entries: &[Entry], left: &mut Vec<String>) -> usize {
    let noted: Vec<_> = journal::processes(entries);
    let mut seen = BTreeSet::new();
    let living = end_all(Duration::from_secs(60), || {
        let mut all = tagged();
        all.extend(
            noted
                .iter()
                .map(|(_, process)| *process)
                .filter(|process| process.alive()),
        );
        all.extend(cgroups().iter().flat_map(|cgroup| members(cgroup)));
        seen.extend(all.iter().copied());
        all
    });
    left.extend(
        living
            .iter()
            .map(|process| format!("process {}", process.pid)),
    );
    seen.len()
}

fn unmount(entries: &[Entry], left: &mut Vec<String>) -> usize {
    let ours = |path: &&std::path::PathBuf| path.starts_with(RUN) || path.starts_with(DATA);
    let before = mounts::points().iter().filter(ours).count();
    for root in [RUN, DATA] {
        let stuck = mounts::clear(Path::new(root));
        left.extend(stuck.iter().map(|path| format!("mount {}", path.display())));
    }
    for entry in entries {
        if let Entry::Mount { path } = entry
            && directory_is_empty(path)
        {
            mounts::clear(path);
        }
    }
    before
}

fn directory_is_empty(path: &Path) -> bool {
    fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none())
}

/// A cgroup can only be removed from its leaves upwards, and only some moments after its last
/// process has ended.
fn remove_cgroup(path: &Path, left: &mut Vec<String>) {
    for child in directories(path) {
        remove_cgroup(&child, left);
    }
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        match fs::remove_dir(path) {
            Ok(()) => return,
            Err(error) if error.kind() == ErrorKind::NotFound => return,
            Err(error) if Instant::now() >= deadline => {
                return left.push(format!("cgroup {}: {error}", path.display()));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// containerd's shims listen in a directory that is the same for every containerd of a machine.
/// A socket there that refuses a connection belonged to a shim that is dead.
fn stale_shim_sockets() {
    let entries = fs::read_dir("/run/containerd/s")
        .into_iter()
        .flatten()
        .flatten();
    for path in entries.map(|entry| entry.path()) {
        let refused = UnixStream::connect(&path)
            .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
        if refused {
            let _ = fs::remove_file(&path);
        }
    }
}

/// Files and directories that are not below ours.
fn outside(entries: &[Entry], left: &mut Vec<String>) {
    for entry in entries.iter().rev() {
        match entry {
            Entry::File { path } => match fs::remove_file(path) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    left.push(format!("{}: {error}", path.display()));
                }
                _ => {}
            },
            // Not empty: somebody else has come to use it.
            Entry::Shared { path } => drop(fs::remove_dir(path)),
            Entry::Directory { path } => complain(left, remove_tree(path)),
            _ => {}
        }
    }
}

fn complain(left: &mut Vec<String>, result: Result<()>) {
    left.extend(result.err().map(|error| format!("{error:#}")));
}

fn remove_tree(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
