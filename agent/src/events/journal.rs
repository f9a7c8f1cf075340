//! The spool's copy in a file: a line for everything that happened to it, appended in one write, and
//! written anew when it has grown out of proportion. Holds no policy; a disk that refuses costs the copy,
//! never the events.

use super::spool::Lost;
use crate::ledger::write_atomically;
use kc_agent_api::{BootId, Event, EventAck};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

/// A journal is written anew when it is longer than this and than twice what it is for.
const SLACK: u64 = 64 << 10;

/// What happened to the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Line {
    /// How it was when the journal was written anew.
    Head {
        /// The newest boot and its highest number.
        accounted: Option<(BootId, u64)>,
        /// Losses to be told.
        lost: Vec<Lost>,
    },
    /// An event came in.
    Event(Event),
    /// Some were acknowledged.
    Ack(EventAck),
    /// The losses so far are told by the events that follow.
    Told,
}

/// The file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    length: u64,
    durable: bool,
    /// A write has failed: what the file's end looks like is not known.
    spoilt: bool,
}

impl Journal {
    /// Opens the file and reads what is in it. Lines that make no sense are passed over: the last one
    /// may be half, when a former agent was killed or its disk was full.
    pub(super) fn open(path: &Path, durable: bool) -> (Self, Vec<Line>) {
        let text = std::fs::read(path).unwrap_or_default();
        let mut spoilt = !text.is_empty() && !text.ends_with(b"\n");
        let mut lines = Vec::new();
        for line in text
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
        {
            match serde_json::from_slice(line) {
                Ok(line) => lines.push(line),
                Err(error) => {
                    tracing::warn!(%error, path = %path.display(), "a line of the events' copy is lost");
                    spoilt = true;
                }
            }
        }
        let opened = OpenOptions::new().create(true).append(true).open(path);
        if let Err(error) = &opened {
            tracing::warn!(%error, path = %path.display(), "events have no copy");
        }
        let journal = Self {
            path: path.to_owned(),
            file: opened.ok(),
            length: u64::try_from(text.len()).unwrap_or(u64::MAX),
            durable,
            spoilt,
        };
        (journal, lines)
    }

    /// Appends lines, all or none as far as the disk goes along.
    pub(super) fn append(&mut self, lines: &[Line]) {
        let Some(file) = self.file.as_mut().filter(|_| !self.spoilt) else {
            return;
        };
        let bytes = written(lines);
        let mut done = file.write_all(&bytes);
        if done.is_ok() && self.durable {
            done = file.sync_data();
        }
        self.length += u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        if let Err(error) = done {
            tracing::warn!(%error, path = %self.path.display(), "events have no copy for now");
            self.spoilt = true;
        }
    }

    /// Whether it is time to write it anew, for `bytes` of events.
    pub(super) fn outgrown(&self, bytes: usize) -> bool {
        let wanted = u64::try_from(bytes).unwrap_or(u64::MAX);
        self.spoilt || self.length > wanted.saturating_mul(2).saturating_add(SLACK)
    }

    /// Writes it anew. When that fails the next one tries again.
    pub(super) fn rewrite(&mut self, lines: &[Line]) {
        let bytes = written(lines);
        let done = write_atomically(&self.path, &bytes);
        let opened = done.map(|()| OpenOptions::new().append(true).open(&self.path));
        match opened {
            Ok(Ok(file)) => {
                self.file = Some(file);
                self.length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
                self.spoilt = false;
            }
            Ok(Err(_)) | Err(_) => self.spoilt = true,
        }
    }
}

fn written(lines: &[Line]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for line in lines {
        // Text and numbers, which JSON always takes.
        if serde_json::to_writer(&mut bytes, line).is_ok() {
            bytes.push(b'\n');
        }
    }
    bytes
}
