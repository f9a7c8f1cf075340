//! The desired document on disk: what the box runs when nobody answers. Every write is
//! temporary file, fsync, rename, fsync of the directory, so that after a power cut the file
//! is old or new, never half; the document before stays beside it.

use kc_agent_api::{NodeSpec, PayloadError, decode, encode};
use kc_forwarder_api::Tables;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The document in force.
const CURRENT: &str = "spec.json";
/// The one before.
const PREVIOUS: &str = "spec.previous.json";

/// Why the ledger cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The disk refuses.
    #[error("cannot {verb} {}", path.display())]
    Disk {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What is there is no document.
    #[error("{} is no node document", path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: PayloadError,
    },
    /// The tables cannot be written as JSON.
    #[error("tables do not serialise")]
    Tables(#[source] serde_json::Error),
}

/// What was found at start.
#[derive(Debug)]
pub enum Found {
    /// Nothing yet: a new box.
    Nothing,
    /// The document in force.
    Current(NodeSpec),
    /// The document in force could not be used; this is the one before, if there is any.
    Fallback {
        /// The document before.
        spec: Option<NodeSpec>,
        /// Why the newer one was not used.
        error: LedgerError,
    },
}

/// Whether a document may be taken up over another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Newer: take it up.
    Newer,
    /// The one in force: nothing to do.
    Same,
    /// An older generation: refuse.
    Older,
    /// Another document under the generation in force: refuse.
    Contradiction,
}

/// Judges `offered` against what is in force.
pub fn judge(in_force: Option<&NodeSpec>, offered: &NodeSpec) -> Verdict {
    match in_force {
        Some(old) if offered.generation < old.generation => Verdict::Older,
        Some(old) if offered.generation == old.generation && offered == old => Verdict::Same,
        Some(old) if offered.generation == old.generation => Verdict::Contradiction,
        _ => Verdict::Newer,
    }
}

/// The files of one agent.
#[derive(Debug, Clone)]
pub struct Ledger {
    dir: PathBuf,
}

impl Ledger {
    /// The ledger in `dir`, which is made when missing.
    pub fn open(dir: impl Into<PathBuf>) -> Result<Self, LedgerError> {
        let dir = dir.into();
        fs::create_dir_all(&dir).map_err(disk("create", &dir))?;
        Ok(Self { dir })
    }

    /// Reads the document in force, or the one before when that is all there is.
    pub fn load(&self) -> Result<Found, LedgerError> {
        let error = match read(&self.dir.join(CURRENT)) {
            Ok(Some(spec)) => return Ok(Found::Current(spec)),
            Ok(None) => {
                // Only ever seen when somebody removed the file: a rename leaves no gap.
                return Ok(Found::Nothing);
            }
            Err(error @ LedgerError::Corrupt { .. }) => error,
            Err(error) => return Err(error),
        };
        let spec = match read(&self.dir.join(PREVIOUS)) {
            Ok(spec) => spec,
            Err(LedgerError::Corrupt { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Found::Fallback { spec, error })
    }

    /// Makes `spec` the document in force; the one there becomes the one before, unless
    /// `keep_previous` says that what is there is not worth keeping.
    pub fn store(&self, spec: &NodeSpec, keep_previous: bool) -> Result<(), LedgerError> {
        let path = self.dir.join(CURRENT);
        let bytes = encode(spec).map_err(|source| LedgerError::Corrupt {
            path: path.clone(),
            source,
        })?;
        if keep_previous && path.exists() {
            // A second name first, then the rename over the first: at no moment is there none.
            let link = self.dir.join(".previous.tmp");
            let _ = fs::remove_file(&link);
            fs::hard_link(&path, &link).map_err(disk("link", &link))?;
            let previous = self.dir.join(PREVIOUS);
            fs::rename(&link, &previous).map_err(disk("rename", &previous))?;
            // Renaming one name of a file over another of the same file does nothing at all.
            let _ = fs::remove_file(&link);
        }
        write_atomically(&path, &bytes)
    }
}

/// Writes the tables a restarted forwarder begins with.
pub fn store_tables(path: &Path, tables: &Tables) -> Result<(), LedgerError> {
    let bytes = serde_json::to_vec(tables).map_err(LedgerError::Tables)?;
    write_atomically(path, &bytes)
}

/// Replaces `path` by `bytes`, whole or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let temporary = path.with_file_name(format!(".{name}.tmp"));
    let mut file = File::create(&temporary).map_err(disk("create", &temporary))?;
    file.write_all(bytes).map_err(disk("write", &temporary))?;
    file.sync_all().map_err(disk("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(disk("rename", path))?;
    if let Some(dir) = path.parent() {
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(disk("sync", dir))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<NodeSpec>, LedgerError> {
    match fs::read(path) {
        Ok(bytes) => match decode(&bytes) {
            Ok(spec) => Ok(Some(spec)),
            Err(source) => Err(LedgerError::Corrupt {
                path: path.to_owned(),
                source,
            }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(disk("read", path)(source)),
    }
}

fn disk(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Disk { verb, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(generation: u64) -> NodeSpec {
        NodeSpec {
            generation,
            ..NodeSpec::default()
        }
    }

    fn ledger() -> (tempfile::TempDir, Ledger) {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path().join("state")).unwrap();
        (dir, ledger)
    }

    #[test]
    fn a_new_box_has_nothing() {
        let (_dir, ledger) = ledger();
        assert!(matches!(ledger.load().unwrap(), Found::Nothing));
    }

    #[test]
    fn what_was_stored_is_found_and_the_one_before_is_kept() {
        let (_dir, ledger) = ledger();
        for generation in 1..=3 {
            ledger.store(&spec(generation), true).unwrap();
        }
        let Found::Current(found) = ledger.load().unwrap() else {
            panic!()
        };
        assert_eq!(found, spec(3));
        assert_eq!(read(&ledger.dir.join(PREVIOUS)).unwrap(), Some(spec(2)));
    }

    #[test]
    fn a_document_cut_anywhere_falls_back_to_the_one_before() {
        let (_dir, ledger) = ledger();
        ledger.store(&spec(1), true).unwrap();
        ledger.store(&spec(2), true).unwrap();
        let whole = fs::read(ledger.dir.join(CURRENT)).unwrap();
        for length in 0..whole.len() {
            fs::write(ledger.dir.join(CURRENT), &whole[..length]).unwrap();
            let Found::Fallback { spec: found, .. } = ledger.load().unwrap() else {
                panic!("{length}")
            };
            assert_eq!(found, Some(spec(1)));
        }
    }

    #[test]
    fn two_ruined_documents_are_said_and_leave_the_box_as_new() {
        let (_dir, ledger) = ledger();
        fs::write(ledger.dir.join(CURRENT), b"\0\0\0").unwrap();
        fs::write(ledger.dir.join(PREVIOUS), b"{").unwrap();
        let Found::Fallback { spec: None, error } = ledger.load().unwrap() else {
            panic!()
        };
        assert!(error.to_string().contains("spec.json"), "{error}");
    }

    #[test]
    fn a_crash_before_the_rename_leaves_the_old_document() {
        let (_dir, ledger) = ledger();
        ledger.store(&spec(1), true).unwrap();
        ledger.store(&spec(2), true).unwrap();
        // What a crash leaves at each step of the next store.
        fs::write(ledger.dir.join(".spec.json.tmp"), b"{\"v\":1,\"gen").unwrap();
        fs::hard_link(ledger.dir.join(CURRENT), ledger.dir.join(".previous.tmp")).unwrap();
        let Found::Current(found) = ledger.load().unwrap() else {
            panic!()
        };
        assert_eq!(found, spec(2));
        ledger.store(&spec(3), true).unwrap();
        let Found::Current(found) = ledger.load().unwrap() else {
            panic!()
        };
        assert_eq!(found, spec(3));
        assert_eq!(read(&ledger.dir.join(PREVIOUS)).unwrap(), Some(spec(2)));
    }

    #[test]
    fn a_ruined_document_does_not_push_out_the_good_one_before() {
        let (_dir, ledger) = ledger();
        ledger.store(&spec(1), true).unwrap();
        ledger.store(&spec(2), true).unwrap();
        fs::write(ledger.dir.join(CURRENT), b"ruin").unwrap();
        ledger.store(&spec(3), false).unwrap();
        assert_eq!(read(&ledger.dir.join(PREVIOUS)).unwrap(), Some(spec(1)));
    }

    #[test]
    fn an_older_or_contradicting_document_is_refused() {
        let other = NodeSpec {
            load_interval_s: 9,
            ..spec(5)
        };
        assert_eq!(judge(None, &spec(0)), Verdict::Newer);
        assert_eq!(judge(Some(&spec(5)), &spec(6)), Verdict::Newer);
        assert_eq!(judge(Some(&spec(5)), &spec(5)), Verdict::Same);
        assert_eq!(judge(Some(&spec(5)), &other), Verdict::Contradiction);
        assert_eq!(judge(Some(&spec(5)), &spec(4)), Verdict::Older);
    }
}
