//! Where versions lie on this box's disk, below its state directory:
//!
//! ```text
//! update.json                 the newest update, and what became of it
//! versions/0.2.0/             kc-agent, perhaps kc-forwarder, manifest.json, base
//! versions/current -> 0.2.0   the last version that was healthy on this box
//! ```
//!
//! `base` is the version of the system's own package at the time it was taken. Every change is a
//! rename, so that a power cut leaves the old or the new, and leftovers that the next start removes.

use super::error::disk;
use super::{UpdateError, archive, policy};
use crate::ledger::write_atomically;
use crate::load;
use kc_agent_api::{MANIFEST, UpdateManifest, UpdateRecord};
use semver::Version;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{ErrorKind, Seek as _};
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

const CURRENT: &str = "current";
const BASE: &str = "base";
/// An archive that is still coming, and what is unpacked of it.
const INCOMING: &str = ".incoming.tar";
const STAGED: &str = ".incoming";
/// Octets of the disk that an update leaves to others.
const SPARE: u64 = 16 << 20;

/// The versions of one box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shelf {
    dir: PathBuf,
    record: PathBuf,
}

/// The version that was taken last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Current {
    /// Which.
    pub version: Version,
    /// The system's package at that time.
    pub base: Option<Version>,
    /// Its agent.
    pub program: PathBuf,
}

/// What is kept of an update.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The update.
    #[serde(flatten)]
    pub record: UpdateRecord,
    /// Whether its end was told as an event.
    #[serde(default)]
    pub told: bool,
}

/// An archive on its way; removed when dropped.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    file: File,
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

impl Incoming {
    /// A second handle on the file, for whoever writes.
    ///
    /// # Errors
    /// No more files can be opened.
    pub fn writer(&self) -> Result<File, UpdateError> {
        self.file.try_clone().map_err(disk("open", &self.path))
    }

    /// The file's name, for errors.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A directory that goes unless it is kept.
struct Staged(Option<PathBuf>);

impl Drop for Staged {
    fn drop(&mut self) {
        if let Some(path) = self.0.take() {
            let _ = fs::remove_dir_all(path);
        }
    }
}

impl Shelf {
    /// The versions below `state_dir`.
    pub fn below(state_dir: &Path) -> Self {
        Self {
            dir: state_dir.join("versions"),
            record: state_dir.join("update.json"),
        }
    }

    /// The agent of a version.
    pub fn program(&self, version: &str) -> PathBuf {
        self.dir.join(version).join(archive::AGENT)
    }

    /// The version whose agent is at `exe`, when it lies here.
    pub fn version_of(&self, exe: &Path) -> Option<Version> {
        let dir = exe.parent()?;
        if fs::canonicalize(&self.dir).ok()? != fs::canonicalize(dir.parent()?).ok()? {
            return None;
        }
        let text = fs::read(dir.join(MANIFEST)).ok()?;
        let manifest: UpdateManifest = serde_json::from_slice(&text).ok()?;
        policy::version(&manifest.version).ok()
    }

    /// The version that was taken last, when there is one.
    pub fn current(&self) -> Option<Current> {
        let name = fs::read_link(self.dir.join(CURRENT)).ok()?;
        let version = policy::version(name.to_str()?).ok()?;
        let program = self.program(&version.to_string());
        let base = fs::read_to_string(self.dir.join(&name).join(BASE)).ok();
        let base = base.and_then(|base| policy::version(base.trim()).ok());
        program.is_file().then_some(Current {
            version,
            base,
            program,
        })
    }

    /// From now on `version` is what this box starts.
    ///
    /// # Errors
    /// The disk refuses; then what was started before still is.
    pub fn take(&self, version: &str, base: &Version) -> Result<(), UpdateError> {
        let path = self.dir.join(version).join(BASE);
        write_atomically(&path, base.to_string().as_bytes())?;
        let temporary = self.dir.join(".current");
        let _ = fs::remove_file(&temporary);
        symlink(version, &temporary).map_err(disk("create", &temporary))?;
        let current = self.dir.join(CURRENT);
        fs::rename(&temporary, &current).map_err(disk("rename", &current))?;
        self.sync()
    }

    /// From now on the system's own package is what this box starts, unless something is taken again.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn take_none(&self) -> Result<(), UpdateError> {
        let current = self.dir.join(CURRENT);
        match fs::remove_file(&current) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(disk("remove", &current)(error))
            }
            _ => self.sync(),
        }
    }

    fn sync(&self) -> Result<(), UpdateError> {
        let synced = File::open(&self.dir).and_then(|dir| dir.sync_all());
        synced.map_err(disk("sync", &self.dir))
    }

    /// Removes a version that was given up.
    pub fn discard(&self, version: &str) {
        // What stays takes room, and no more.
        let _ = fs::remove_dir_all(self.dir.join(version));
    }

    /// Removes what an interrupted update has left.
    pub fn sweep(&self) {
        let _ = fs::remove_file(self.dir.join(INCOMING));
        let _ = fs::remove_dir_all(self.dir.join(STAGED));
    }

    /// Removes all versions but those named, and what an interrupted update has left.
    pub fn prune(&self, keep: &[&str]) {
        let listed = fs::read_dir(&self.dir).into_iter().flatten().flatten();
        for entry in listed {
            let (name, path) = (entry.file_name(), entry.path());
            let kept = name == CURRENT || keep.iter().any(|keep| name == *keep);
            if !kept {
                let removed = match entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    true => fs::remove_dir_all(&path),
                    false => fs::remove_file(&path),
                };
                if let Err(error) = removed {
                    tracing::warn!(%error, path = %path.display(), "an old version stays");
                }
            }
        }
    }

    /// The newest update. One that cannot be read is none: it decides nothing.
    pub fn record(&self) -> Option<Kept> {
        let text = fs::read(&self.record).ok()?;
        serde_json::from_slice(&text).ok()
    }

    /// Keeps what is known of it.
    ///
    /// # Errors
    /// The disk refuses.
    pub fn keep(&self, kept: &Kept) -> Result<(), UpdateError> {
        let text = serde_json::to_vec(kept).map_err(UpdateError::Manifest)?;
        Ok(write_atomically(&self.record, &text)?)
    }

    /// Makes room for an archive of `size` octets and what is in it.
    ///
    /// # Errors
    /// There is none.
    pub fn incoming(&self, size: u64) -> Result<Incoming, UpdateError> {
        fs::create_dir_all(&self.dir).map_err(disk("create", &self.dir))?;
        let needed = size.saturating_mul(2).saturating_add(SPARE);
        let (used, total) = load::disk(&self.dir).unwrap_or((0, u64::MAX));
        let free = total.saturating_sub(used);
        if free < needed {
            let path = self.dir.clone();
            return Err(UpdateError::NoRoom { path, needed, free });
        }
        let path = self.dir.join(INCOMING);
        let _ = fs::remove_file(&path);
        let mut options = File::options();
        options.read(true).write(true).create_new(true).mode(0o600);
        let file = options.open(&path).map_err(disk("create", &path))?;
        Ok(Incoming { path, file })
    }

    /// Unpacks an archive that was verified, and puts it among the versions.
    ///
    /// # Errors
    /// As those of [`archive::unpack`]; nothing is left of it then.
    pub fn put(
        &self,
        incoming: &Incoming,
        arch: &'static str,
        accept: impl FnOnce(&Version) -> Result<(), UpdateError>,
    ) -> Result<Version, UpdateError> {
        let path = self.dir.join(STAGED);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).map_err(disk("create", &path))?;
        let mut staged = Staged(Some(path.clone()));
        let mut file = &incoming.file;
        file.rewind().map_err(disk("read", &incoming.path))?;
        let version = archive::unpack(file, arch, &path, accept)?;
        let place = self.dir.join(version.to_string());
        let _ = fs::remove_dir_all(&place);
        fs::rename(&path, &place).map_err(disk("rename", &place))?;
        staged.0 = None;
        self.sync()?;
        Ok(version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::UpdateOutcome;

    fn shelf_with(versions: &[&str]) -> (tempfile::TempDir, Shelf) {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::below(dir.path());
        for version in versions {
            fs::create_dir_all(shelf.dir.join(version)).unwrap();
            fs::write(shelf.program(version), "x").unwrap();
            let manifest = format!(r#"{{"format":1,"version":"{version}","arch":"arm"}}"#);
            fs::write(shelf.dir.join(version).join(MANIFEST), manifest).unwrap();
        }
        (dir, shelf)
    }

    fn base() -> Version {
        Version::new(0, 1, 0)
    }

    #[test]
    fn what_is_taken_is_current_until_something_else_is() {
        let (_dir, shelf) = shelf_with(&["0.2.0", "0.3.0"]);
        assert_eq!(shelf.current(), None);
        for version in ["0.2.0", "0.3.0"] {
            shelf.take(version, &base()).unwrap();
            let current = shelf.current().unwrap();
            assert_eq!(current.version.to_string(), version);
            assert_eq!(current.base, Some(base()));
            assert_eq!(shelf.version_of(&current.program), Some(current.version));
        }
        shelf.take_none().unwrap();
        assert_eq!(shelf.current(), None);
        assert_eq!(shelf.version_of(Path::new("/usr/bin/kc-agent")), None);
    }

    #[test]
    fn a_link_that_leads_elsewhere_is_not_followed() {
        let (dir, shelf) = shelf_with(&["0.2.0"]);
        fs::write(dir.path().join("kc-agent"), "x").unwrap();
        for to in ["..", "/", "0.9.0", "0.2.0/../0.2.0"] {
            let link = shelf.dir.join(CURRENT);
            let _ = fs::remove_file(&link);
            symlink(to, &link).unwrap();
            assert_eq!(shelf.current(), None, "{to}");
        }
    }

    #[test]
    fn old_versions_and_leftovers_go_and_the_named_stay() {
        let (_dir, shelf) = shelf_with(&["0.1.5", "0.2.0", "0.3.0", ".incoming"]);
        fs::write(shelf.dir.join(INCOMING), "x").unwrap();
        shelf.take("0.3.0", &base()).unwrap();
        shelf.prune(&["0.3.0", "0.2.0"]);
        let mut names: Vec<_> = fs::read_dir(&shelf.dir)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        names.sort();
        assert_eq!(names, ["0.2.0", "0.3.0", "current"]);
    }

    #[test]
    fn what_became_of_an_update_is_kept_and_rubbish_is_nothing() {
        let (_dir, shelf) = shelf_with(&[]);
        assert_eq!(shelf.record(), None);
        let record = UpdateRecord {
            attempt: 3,
            version: "0.2.0".into(),
            from: "0.1.0".into(),
            outcome: UpdateOutcome::Trying,
            reason: None,
        };
        let kept = Kept {
            record,
            told: false,
        };
        shelf.keep(&kept).unwrap();
        assert_eq!(shelf.record(), Some(kept));
        fs::write(&shelf.record, b"{\"attempt\":").unwrap();
        assert_eq!(shelf.record(), None);
    }

    #[test]
    fn an_archive_that_nobody_goes_on_with_leaves_nothing() {
        let (_dir, shelf) = shelf_with(&[]);
        let incoming = shelf.incoming(10).unwrap();
        assert!(incoming.path().exists());
        assert!(shelf.put(&incoming, "arm", |_| Ok(())).is_err());
        drop(incoming);
        assert_eq!(fs::read_dir(&shelf.dir).unwrap().count(), 0);
        let refused = shelf.incoming(u64::MAX).unwrap_err();
        assert!(matches!(refused, UpdateError::NoRoom { .. }));
    }
}
