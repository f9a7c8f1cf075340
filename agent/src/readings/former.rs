//! A file that remembers where discovery messages of ours may lie, so that they can be removed
//! when discovery is switched off or its prefix changes. Written only when that changes.

use crate::ledger::{LedgerError, write_atomically};
use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// One base a line.
const FILE: &str = "discovery";

/// The memory of one agent.
#[derive(Debug)]
pub struct Former {
    path: PathBuf,
    bases: BTreeSet<String>,
}

impl Former {
    /// Reads what is in `state_dir`. A file that cannot be read is as good as none: what it
    /// said is retained by some broker until somebody removes it there.
    pub fn open(state_dir: &Path) -> Self {
        let path = state_dir.join(FILE);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let bases = text.lines().filter(|line| is_base(line));
        let bases = bases.map(str::to_owned).collect();
        Self { path, bases }
    }

    /// Where messages may lie.
    pub fn bases(&self) -> impl Iterator<Item = String> {
        self.bases.iter().cloned()
    }

    /// Messages may lie below `base` from now on.
    pub fn remember(&mut self, base: String) -> Result<(), LedgerError> {
        if self.bases.insert(base) {
            self.write()?;
        }
        Ok(())
    }

    /// All else has been removed.
    pub fn keep_only(&mut self, base: Option<&str>) -> Result<(), LedgerError> {
        let before = self.bases.len();
        self.bases.retain(|known| Some(known.as_str()) == base);
        if self.bases.len() != before {
            self.write()?;
        }
        Ok(())
    }

    fn write(&self) -> Result<(), LedgerError> {
        if self.bases.is_empty() {
            return match std::fs::remove_file(&self.path) {
                Err(source) if source.kind() != ErrorKind::NotFound => Err(LedgerError::Disk {
                    verb: "remove",
                    path: self.path.clone(),
                    source,
                }),
                _ => Ok(()),
            };
        }
        let text: String = self.bases.iter().map(|base| format!("{base}\n")).collect();
        write_atomically(&self.path, text.as_bytes())
    }
}

/// Whether a line can be what we have written: the broker refuses a link with a bad filter.
fn is_base(line: &str) -> bool {
    !line.is_empty() && !line.contains(['+', '#', '\0']) && line.contains("/device/kcluster_")
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "homeassistant/device/kcluster_lab_a";
    const B: &str = "house/device/kcluster_lab_a";

    #[test]
    fn what_was_told_is_remembered_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let bases = || Former::open(dir.path()).bases().collect::<Vec<_>>();
        assert!(bases().is_empty());
        let mut former = Former::open(dir.path());
        former.remember(A.into()).unwrap();
        former.remember(B.into()).unwrap();
        assert_eq!(bases(), [A, B]);
        former.keep_only(Some(B)).unwrap();
        assert_eq!(bases(), [B]);
        former.keep_only(None).unwrap();
        assert!(!dir.path().join(FILE).exists());
        former.keep_only(None).unwrap();
    }

    #[test]
    fn a_damaged_file_names_no_filter_that_a_broker_refuses() {
        let dir = tempfile::tempdir().unwrap();
        let text = format!("\n#\nhomeassistant/+/device/kcluster_x\n{A}\nnonsense\n");
        std::fs::write(dir.path().join(FILE), text).unwrap();
        assert_eq!(Former::open(dir.path()).bases().collect::<Vec<_>>(), [A]);
    }
}
