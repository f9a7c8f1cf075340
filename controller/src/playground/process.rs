//! Processes: which of them are ours, whether they still run, and their end. A process is known
//! by its id and start time, because ids are used again; and every process we start carries
//! [`TAG`] in its environment, which its children inherit.

use super::layout::{PREFIX, RUN};
use nix::sys::signal::{Signal, kill};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Environment variable that marks our processes; its value is [`RUN`].
pub(super) const TAG: &str = "KCLUSTER_PLAYGROUND";

/// One process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct Pid {
    /// Process id.
    pub(super) pid: i32,
    /// Start time in clock ticks since boot.
    pub(super) start: u64,
}

impl Pid {
    /// The living process with this id; a zombie does not live.
    pub(super) fn find(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let start = start_time(&stat)?;
        Some(Self { pid, start })
    }

    /// Whether this very process still runs.
    pub(super) fn alive(self) -> bool {
        Self::find(self.pid) == Some(self)
    }

    fn signal(self, signal: Signal) {
        if self.alive() {
            // It may end between the look and the signal; that is what was wanted.
            let _ = kill(nix::unistd::Pid::from_raw(self.pid), signal);
        }
    }
}

/// Field 22 of `/proc/<pid>/stat`, or nothing for a zombie. The command, field 2, may hold
/// blanks and parentheses.
fn start_time(stat: &str) -> Option<u64> {
    let (_, after) = stat.rsplit_once(')')?;
    let fields: Vec<&str> = after.split_whitespace().collect();
    match fields.first() {
        None | Some(&"Z" | &"X") => None,
        Some(_) => fields.get(19)?.parse().ok(),
    }
}

/// Every living process that carries our tag, but for this one and those above it.
pub(super) fn tagged() -> BTreeSet<Pid> {
    let wanted = format!("{TAG}={RUN}").into_bytes();
    let carries = |pid: i32| {
        fs::read(format!("/proc/{pid}/environ"))
            .is_ok_and(|bytes| bytes.split(|byte| *byte == 0).any(|pair| pair == wanted))
    };
    let above = ancestors();
    all()
        .filter(|pid| !above.contains(pid) && carries(*pid))
        .filter_map(Pid::find)
        .collect()
}

fn all() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn ancestors() -> BTreeSet<i32> {
    let mut found = BTreeSet::new();
    let mut next = i32::try_from(std::process::id()).ok();
    while let Some(pid) = next.filter(|pid| *pid > 0 && found.insert(*pid)) {
        next = fs::read_to_string(format!("/proc/{pid}/stat"))
            .ok()
            .and_then(|stat| {
                stat.rsplit_once(')')?
                    .1
                    .split_whitespace()
                    .nth(1)?
                    .parse()
                    .ok()
            });
    }
    found
}

/// The cgroups of our engines' containers in every hierarchy, wherever below it they are.
pub(super) fn cgroups() -> Vec<PathBuf> {
    let mut found = Vec::new();
    search(Path::new("/sys/fs/cgroup"), 6, &mut found);
    found
}

fn search(directory: &Path, depth: u8, found: &mut Vec<PathBuf>) {
    for child in directories(directory) {
        let ours = child
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(&format!("{PREFIX}box")));
        if ours {
            found.push(child);
        } else if depth > 0 {
            search(&child, depth - 1, found);
        }
    }
}

pub(super) fn directories(of: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(of).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

/// The living processes in a cgroup and below it.
pub(super) fn members(cgroup: &Path) -> BTreeSet<Pid> {
    let text = fs::read_to_string(cgroup.join("cgroup.procs")).unwrap_or_default();
    let own = text
        .lines()
        .filter_map(|line| line.parse().ok())
        .filter_map(Pid::find);
    own.chain(directories(cgroup).iter().flat_map(|child| members(child)))
        .collect()
}

/// Kills what `find` finds until it finds nothing more; returns what still lives at the end.
pub(super) fn end_all(within: Duration, mut find: impl FnMut() -> BTreeSet<Pid>) -> BTreeSet<Pid> {
    let deadline = Instant::now() + within;
    loop {
        let living = find();
        if living.is_empty() || Instant::now() >= deadline {
            return living;
        }
        for process in &living {
            process.signal(Signal::SIGKILL);
        }
        let round = Instant::now() + Duration::from_millis(500);
        while Instant::now() < round && living.iter().any(|process| process.alive()) {
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_time_is_found_behind_a_command_with_blanks() {
        let rest = "S 1 7 7 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 12345 99";
        assert_eq!(start_time(&format!("7 (a) b) {rest}")), Some(12345));
        let zombie = rest.replacen('S', "Z", 1);
        assert_eq!(start_time(&format!("7 (a) {zombie}")), None);
    }

    #[test]
    fn this_process_lives_and_is_never_among_the_tagged() {
        let own = i32::try_from(std::process::id()).unwrap();
        let me = Pid::find(own).unwrap();
        assert!(me.alive());
        let former = Pid {
            start: me.start - 1,
            ..me
        };
        assert!(!former.alive(), "another process had the id");
        assert!(ancestors().contains(&own));
    }
}
