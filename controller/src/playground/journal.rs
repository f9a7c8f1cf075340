//! What a playground has made, written down before each thing is made, so that `down` finds all
//! of it whatever happened in between. One JSON record a line; a torn last line is ignored.

use super::process::Pid;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// One record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "made")]
pub(super) enum Entry {
    /// The playground itself.
    Playground {
        /// Number of boxes.
        boxes: u8,
        /// The program that sends requests.
        function: PathBuf,
    },
    /// A directory with all below it.
    Directory {
        /// Where.
        path: PathBuf,
    },
    /// A directory that was not there before and goes only if it is empty.
    Shared {
        /// Where.
        path: PathBuf,
    },
    /// A file outside our directories.
    File {
        /// Where.
        path: PathBuf,
    },
    /// A mount point outside our directories.
    Mount {
        /// Where.
        path: PathBuf,
    },
    /// A named network namespace.
    Namespace {
        /// Its name.
        name: String,
    },
    /// The cgroup above all containers of one engine.
    Cgroup {
        /// Its name.
        name: String,
    },
    /// A process is about to start.
    Starting {
        /// What it is here.
        role: String,
    },
    /// A process has started.
    Started {
        /// What it is here.
        role: String,
        /// Which process.
        process: Pid,
    },
    /// Requests went through; `up` is done.
    Ready,
}

/// An open journal.
#[derive(Debug)]
pub(super) struct Journal {
    file: File,
}

impl Journal {
    /// Where the journal of `run` is.
    pub(super) fn path(run: &Path) -> PathBuf {
        run.join("journal.jsonl")
    }

    /// Opens the journal in `run`, made if need be.
    pub(super) fn open(run: &Path) -> Result<Self> {
        let path = Self::path(run);
        let file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)
            .with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { file })
    }

    /// Writes `entry` down: after this returns the thing may be made.
    pub(super) fn note(&self, entry: &Entry) -> Result<()> {
        let mut line = serde_json::to_vec(entry)?;
        line.push(b'\n');
        // One write with O_APPEND: threads that note at the same time do not mix their lines.
        (&self.file)
            .write_all(&line)
            .context("cannot write the journal")
    }

    /// Everything noted in `run`; empty when there is no journal.
    pub(super) fn read(run: &Path) -> Result<Vec<Entry>> {
        let path = Self::path(run);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(parse(&text)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            Err(error) => Err(error).with_context(|| format!("cannot read {}", path.display())),
        }
    }
}

fn parse(text: &str) -> Vec<Entry> {
    text.lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect()
}

/// Number of boxes in a journal, and the program that sends requests.
pub(super) fn playground(entries: &[Entry]) -> Option<(u8, &Path)> {
    entries.iter().find_map(|entry| match entry {
        Entry::Playground { boxes, function } => Some((*boxes, function.as_path())),
        _ => None,
    })
}

/// The processes in a journal, newest start of each role last.
pub(super) fn processes(entries: &[Entry]) -> Vec<(&str, Pid)> {
    entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::Started { role, process } => Some((role.as_str(), *process)),
            _ => None,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_last_line_costs_only_itself() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::open(dir.path()).unwrap();
        let made = Entry::Playground {
            boxes: 3,
            function: "/x".into(),
        };
        journal.note(&made).unwrap();
        journal
            .note(&Entry::Namespace {
                name: "kcpg-lan".into(),
            })
            .unwrap();
        let path = Journal::path(dir.path());
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - 4]).unwrap();
        let entries = Journal::read(dir.path()).unwrap();
        assert_eq!(entries, [made]);
        assert_eq!(playground(&entries), Some((3, Path::new("/x"))));
    }

    #[test]
    fn no_journal_means_nothing_was_made() {
        let dir = tempfile::tempdir().unwrap();
        assert!(Journal::read(dir.path()).unwrap().is_empty());
    }
}
