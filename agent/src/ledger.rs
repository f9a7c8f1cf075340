//! The desired document on disk: what the box runs when nobody answers. Every write is
//! temporary file, fsync, rename, fsync of the directory, so that after a power cut the file
//! is old or new, never half; the document before stays beside it. A sum follows the document, because
//! cards lie: a flipped bit may leave a document that reads well and says something else.

use crate::hook::Told;
use crate::reconcile::{Pulled, Rollouts, fnv1a};
use kc_agent_api::{NodeSpec, PayloadError, decode, encode};
use kc_forwarder_api::Tables;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The document in force.
const CURRENT: &str = "spec.json";
/// The one before.
const PREVIOUS: &str = "spec.previous.json";
/// What stands between a document and its sum, 16 hexadecimal digits and a line feed.
const SUM: &[u8] = b"\nsum ";
/// What ran before, of containers whose successors are on trial or were given up.
const ROLLOUTS: &str = "rollouts.json";
/// Which images were pulled here.
const IMAGES: &str = "images.json";
/// What members of clusters were told.
const TOLD: &str = "told.json";

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
    /// The sum behind the document is of another one.
    #[error("{} is damaged: its sum is of other octets", path.display())]
    Sum {
        /// The file.
        path: PathBuf,
    },
    /// What lies beside the document does not read.
    #[error("{} cannot be used", path.display())]
    Aside {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: serde_json::Error,
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
            Err(error @ (LedgerError::Corrupt { .. } | LedgerError::Sum { .. })) => error,
            Err(error) => return Err(error),
        };
        let spec = match read(&self.dir.join(PREVIOUS)) {
            Ok(spec) => spec,
            Err(LedgerError::Corrupt { .. } | LedgerError::Sum { .. }) => None,
            Err(error) => return Err(error),
        };
        Ok(Found::Fallback { spec, error })
    }

    /// Makes `spec` the document in force; the one there becomes the one before, unless
    /// `keep_previous` says that what is there is not worth keeping.
    pub fn store(&self, spec: &NodeSpec, keep_previous: bool) -> Result<(), LedgerError> {
        let path = self.dir.join(CURRENT);
        let mut bytes = encode(spec).map_err(|source| LedgerError::Corrupt {
            path: path.clone(),
            source,
        })?;
        let sum = sum(&bytes);
        bytes.extend_from_slice(SUM);
        bytes.extend_from_slice(sum.as_bytes());
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

impl Ledger {
    /// What ran before, of containers whose successors are on trial or were given up.
    pub fn load_rollouts(&self) -> Result<Rollouts, LedgerError> {
        self.load_aside(ROLLOUTS)
    }

    /// Keeps that.
    pub fn store_rollouts(&self, rollouts: &Rollouts) -> Result<(), LedgerError> {
        self.store_aside(ROLLOUTS, rollouts)
    }
}

/// Which images were pulled here.
impl Ledger {
    /// As it was written down.
    pub fn load_pulled(&self) -> Result<Pulled, LedgerError> {
        self.load_aside(IMAGES)
    }

    /// Writes it down.
    pub fn store_pulled(&self, pulled: &Pulled) -> Result<(), LedgerError> {
        self.store_aside(IMAGES, pulled)
    }

    /// What members of clusters were told.
    pub(crate) fn load_told(&self) -> Result<Told, LedgerError> {
        self.load_aside(TOLD)
    }

    /// Writes it down.
    pub(crate) fn store_told(&self, told: &Told) -> Result<(), LedgerError> {
        self.store_aside(TOLD, told)
    }

    fn load_aside<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, LedgerError> {
        let path = self.dir.join(name);
        match fs::read(&path) {
            Ok(bytes) => {
                let read = serde_json::from_slice(&bytes);
                read.map_err(|source| LedgerError::Aside { path, source })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(T::default()),
            Err(source) => Err(disk("read", &path)(source)),
        }
    }

    fn store_aside(&self, name: &str, what: &impl Serialize) -> Result<(), LedgerError> {
        let path = self.dir.join(name);
        match serde_json::to_vec(what) {
            Ok(bytes) => write_atomically(&path, &bytes),
            Err(source) => Err(LedgerError::Aside { path, source }),
        }
    }
}

/// Writes the tables a restarted forwarder begins with.
pub fn store_tables(path: &Path, tables: &Tables) -> Result<(), LedgerError> {
    let bytes = serde_json::to_vec(tables).map_err(LedgerError::Tables)?;
    write_atomically(path, &bytes)
}

/// Replaces `path` by `bytes`, whole or not at all.
pub fn write_atomically(path: &Path, bytes: &[u8]) -> Result<(), LedgerError> {
    let temporary = temporary(path);
    let file = File::create(&temporary).map_err(disk("create", &temporary))?;
    finish(path, &temporary, file, bytes)
}

/// The same, with permissions of its own, which hold before there is anything to read.
pub(crate) fn write_with_mode(path: &Path, bytes: &[u8], mode: u32) -> Result<(), LedgerError> {
    let temporary = temporary(path);
    // One that a killed writer left may be nobody's to write.
    let _ = fs::remove_file(&temporary);
    let mut options = fs::OpenOptions::new();
    let made = options.write(true).create_new(true).mode(mode);
    let file = made.open(&temporary).map_err(disk("create", &temporary))?;
    // Whatever the process's own mask has taken away.
    file.set_permissions(fs::Permissions::from_mode(mode))
        .map_err(disk("open up", &temporary))?;
    finish(path, &temporary, file, bytes)
}

fn temporary(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    path.with_file_name(format!(".{name}.tmp"))
}

fn finish(path: &Path, temporary: &Path, mut file: File, bytes: &[u8]) -> Result<(), LedgerError> {
    file.write_all(bytes).map_err(disk("write", temporary))?;
    file.sync_all().map_err(disk("sync", temporary))?;
    fs::rename(temporary, path).map_err(disk("rename", path))?;
    if let Some(dir) = path.parent() {
        File::open(dir)
            .and_then(|dir| dir.sync_all())
            .map_err(disk("sync", dir))?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Option<NodeSpec>, LedgerError> {
    match fs::read(path) {
        Ok(bytes) => read_bytes(&bytes, path).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(disk("read", path)(source)),
    }
}

fn read_bytes(bytes: &[u8], path: &Path) -> Result<NodeSpec, LedgerError> {
    let path = path.to_owned();
    let place = bytes.windows(SUM.len()).rposition(|window| window == SUM);
    // Agents before this one wrote no sum, and people write none.
    let document = bytes.get(..place.unwrap_or(bytes.len())).unwrap_or(bytes);
    let summed = place.and_then(|place| bytes.get(place + SUM.len()..));
    if summed.is_some_and(|summed| summed != sum(document).as_bytes()) {
        return Err(LedgerError::Sum { path });
    }
    decode(document).map_err(|source| LedgerError::Corrupt { path, source })
}

/// The sum of a document as it is written. A change of one octet always changes it.
fn sum(document: &[u8]) -> String {
    format!("{:016x}\n", fnv1a(document))
}

fn disk(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> LedgerError {
    let path = path.to_owned();
    move |source| LedgerError::Disk { verb, path, source }
}

#[cfg(test)]
mod tests;
