//! Where results go, and what a person sees meanwhile.

use crate::contestant::{Contestant, Entrant, Hall};
use crate::interrupt;
use crate::work::{Task, Work};
use anyhow::{Context, Result};
use kc_tests::bench::record::{Line, Skipped};
use kc_tests::bench::report::Report;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An open file of results.
pub(crate) struct Journal {
    file: File,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Every line so far.
    pub(crate) lines: Vec<Line>,
    is_terminal: bool,
}

impl Journal {
    /// A new file.
    pub(crate) fn create(path: &Path) -> Result<Self> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        Ok(Self {
            file: File::create(path).with_context(|| path.display().to_string())?,
            path: path.to_owned(),
            lines: Vec::new(),
            is_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// Sets a contestant up, with this program where it is ours; `None`, and a line, when it cannot
    /// take part.
    pub(crate) fn enter(
        &mut self,
        hall: &Hall,
        contestant: &Contestant,
        forwarder: &Path,
        task: Task,
    ) -> Result<Option<Entrant>> {
        self.progress(&format!("{}: {} enters", task.work, contestant.name));
        match contestant.enter(hall, forwarder, task) {
            Ok(entrant) => Ok(Some(entrant)),
            Err(error) => {
                self.skip(contestant.name, task.work, &format!("{error:#}"))?;
                Ok(None)
            }
        }
    }

    /// Notes that somebody cannot take part, unless all was told to stop.
    pub(crate) fn skip(&mut self, name: &str, work: Work, reason: &str) -> Result<()> {
        interrupt::sleep(Duration::ZERO)?;
        self.write(&Line::Skipped(Skipped {
            contestant: name.to_owned(),
            work: work.name().to_owned(),
            reason: reason.to_owned(),
        }))
    }

    /// Keeps a line. A contestant that cannot take part is told to the person, too.
    pub(crate) fn write(&mut self, line: &Line) -> Result<()> {
        serde_json::to_writer(&mut self.file, line)?;
        self.file.write_all(b"\n")?;
        if let Line::Skipped(skipped) = line {
            self.clear();
            eprintln!(
                "skipped: {} in {}: {}",
                skipped.contestant, skipped.work, skipped.reason
            );
        }
        self.lines.push(line.clone());
        Ok(())
    }

    /// Prints what is known of capacity in a work.
    pub(crate) fn show_capacity(&self, work: Work) {
        let table = Report::of(&self.lines).capacity(work.name());
        self.clear();
        if !table.is_empty() {
            println!("{work}: {}\n{}", work.title(), table.text());
        }
    }

    /// What is being done, on a line that the next one overwrites; nothing where there is no terminal.
    pub(crate) fn progress(&self, what: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K{what}");
        }
    }

    /// Takes the line of progress away.
    pub(crate) fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}
