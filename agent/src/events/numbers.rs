//! The last number used, in memory and in a file.

use crate::status::Boot;
use kc_agent_api::BootId;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// What a former agent has used, by the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Used {
    /// In this boot.
    pub(super) boot: BootId,
    /// Numbers up to this one were not used.
    pub(super) before: u64,
    /// The last one.
    pub(super) last: u64,
}

/// Hands out numbers; none comes twice in one boot.
#[derive(Debug)]
pub(super) struct Numbers {
    before: u64,
    last: u64,
    file: Option<File>,
}

impl Numbers {
    /// Goes on where the file says, and returns what that is.
    pub(super) fn open(path: &Path, boot: &Boot) -> (Self, Option<Used>) {
        let read = std::fs::read_to_string(path).ok();
        let used = read.and_then(|text| read_line(&text));
        let (before, last) = match &used {
            Some(used) if used.boot == *boot.id() => (used.before, used.last),
            Some(_) => (0, 0),
            // What was used before is not known where the file is missing or makes no sense: somebody may
            // have cleared the directory since the boot. Nothing happens a thousand times a second, so
            // this is higher than any number used.
            None => (boot.stamp().mono_ms, boot.stamp().mono_ms),
        };
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path);
        if let Err(error) = &file {
            tracing::warn!(%error, path = %path.display(), "event numbers are not kept");
        }
        let numbers = Self {
            before,
            last,
            file: file.ok(),
        };
        (numbers, used)
    }

    /// Numbers up to `used` are known to be used.
    pub(super) fn used(&mut self, used: u64) {
        self.last = self.last.max(used);
    }

    /// The next one; it is in the file when this returns.
    pub(super) fn next(&mut self, boot: &Boot) -> u64 {
        self.last += 1;
        // One write of the same length every time, into room that is there since the first: a
        // reader finds the old number or the new one, also when the disk is full.
        let line = format!("{} {:020} {:020}\n", boot.id(), self.last, self.before);
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(line.as_bytes(), 0)
        {
            tracing::warn!(%error, "an event number is not kept");
        }
        self.last
    }
}

/// The file's first line; `None` when it makes no sense.
fn read_line(text: &str) -> Option<Used> {
    let mut fields = text.lines().next()?.split_ascii_whitespace();
    let boot = BootId(fields.next()?.to_owned());
    let last = fields.next()?.parse().ok()?;
    // Agents before this one began at 0 and wrote no more.
    let before = fields.next().map_or(Ok(0), str::parse).ok()?;
    Some(Used { boot, before, last })
}
