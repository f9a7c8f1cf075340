//! Where results go, and what a person sees meanwhile.

use anyhow::{Context, Result};
use kc_tests::bench::record::{Line, Trial};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};

/// An open file of results.
pub(crate) struct Journal {
    file: File,
    /// Where it is.
    pub(crate) path: PathBuf,
    /// Every trial so far.
    pub(crate) trials: Vec<Trial>,
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
            trials: Vec::new(),
            is_terminal: std::io::stderr().is_terminal(),
        })
    }

    /// Keeps a line. A contestant that cannot take part is told to the person, too.
    pub(crate) fn write(&mut self, line: &Line) -> Result<()> {
        serde_json::to_writer(&mut self.file, line)?;
        self.file.write_all(b"\n")?;
        match line {
            Line::Trial(trial) => self.trials.push(trial.clone()),
            Line::Skipped(skipped) => {
                self.clear();
                eprintln!(
                    "skipped: {} in {}: {}",
                    skipped.contestant, skipped.work, skipped.reason
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// What is being done, on a line that the next one overwrites; nothing where there is no terminal.
    pub(crate) fn progress(&self, what: &str) {
        if self.is_terminal {
            eprint!("\r\x1b[K{what}");
        }
    }

    /// What has been done, where nothing else shows progress.
    pub(crate) fn done(&self, what: &str) {
        self.clear();
        eprintln!("{what}");
    }

    /// Takes the line of progress away.
    pub(crate) fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}
