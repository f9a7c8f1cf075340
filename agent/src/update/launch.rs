//! Which program a start leads to: the system's package starts the version that was taken last, in
//! its own place, so that whoever watches the process sees one and the same. A version that does not
//! stay is given up for the package's.

use super::{Shelf, policy};
use crate::update::shelf::Kept;
use kc_agent_api::{UpdateOutcome, UpdateRecord};
use nix::errno::Errno;
use nix::unistd::execve;
use semver::Version;
use std::ffi::{CString, NulError, OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The package's version, for those it starts.
pub const PACKAGED: &str = "KC_AGENT_PACKAGED";
/// What is expected of a version on trial, as JSON.
pub const TRIAL: &str = "KC_AGENT_TRIAL";
/// A version that ends so often before it has stayed is given up.
const STARTS: u32 = 5;
/// How long is staying.
pub const STAYED: Duration = Duration::from_secs(60);

/// Our own version, as it was built.
///
/// # Panics
/// Never: Cargo takes no other.
pub fn built() -> Version {
    Version::parse(env!("CARGO_PKG_VERSION")).unwrap_or_else(|_| Version::new(0, 0, 0))
}

/// The version of the system's package that all this began with.
pub fn packaged() -> Version {
    let said = std::env::var(PACKAGED).ok();
    let said = said.and_then(|text| policy::version(&text).ok());
    said.unwrap_or_else(built)
}

/// Starts of the version that was taken last, counted where a reboot forgets them.
#[derive(Debug, Clone)]
pub struct Starts(PathBuf);

impl Starts {
    /// Counted in `run_dir`.
    pub fn in_dir(run_dir: &Path) -> Self {
        Self(run_dir.join("agent.starts"))
    }

    /// It stays, or was ended by somebody.
    pub fn forget(&self) {
        let _ = fs::remove_file(&self.0);
    }

    fn count(&self, version: &Version) -> u32 {
        let text = fs::read_to_string(&self.0).unwrap_or_default();
        let counted = text.split_once(' ');
        let counted = counted.filter(|(of, _)| *of == version.to_string());
        counted
            .and_then(|(_, count)| count.trim().parse().ok())
            .unwrap_or(0)
    }

    fn remember(&self, version: &Version, count: u32) {
        // Without a place to count nothing is ever given up, which is no reason not to start.
        let _ = self.0.parent().map(fs::create_dir_all);
        let _ = fs::write(&self.0, format!("{version} {count}"));
    }
}

/// Becomes the version that was taken last, when that is another one. Returns when we are the one to
/// run.
pub fn launch(shelf: &Shelf, starts: &Starts) {
    if std::env::var_os(PACKAGED).is_some() || std::env::var_os(TRIAL).is_some() {
        return;
    }
    let (ours, Some(current)) = (built(), shelf.current()) else {
        return;
    };
    if !policy::prefer_current(&ours, &current.version, current.base.as_ref()) {
        return;
    }
    let count = starts.count(&current.version);
    if count >= STARTS {
        return give_up(shelf, starts, &current.version, &ours);
    }
    starts.remember(&current.version, count + 1);
    let error = become_program(&current.program, &[(PACKAGED, ours.to_string())]);
    // Its file may have rotted. We are here, and can serve.
    tracing::error!(%error, version = %current.version, "the version taken last does not start");
}

/// The package's version is back for good, and says why.
fn give_up(shelf: &Shelf, starts: &Starts, version: &Version, ours: &Version) {
    let attempt = shelf.record().map_or(0, |kept| kept.record.attempt);
    let reason = format!(
        "it ended {STARTS} times before it had run for {} s",
        STAYED.as_secs()
    );
    let record = UpdateRecord {
        attempt,
        version: version.to_string(),
        from: ours.to_string(),
        outcome: UpdateOutcome::Failed,
        reason: Some(reason),
    };
    let told = false;
    if let Err(error) = shelf
        .take_none()
        .and_then(|()| shelf.keep(&Kept { record, told }))
    {
        tracing::error!(%error, "the version taken last will be tried again");
    }
    starts.forget();
}

/// Becomes another program under our number, with our arguments. Says why, when that cannot be.
pub fn become_program(program: &Path, environment: &[(&str, String)]) -> io::Error {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let changed = |name: &OsString| environment.iter().any(|(other, _)| name == other);
    let mut all: Vec<(OsString, OsString)> = std::env::vars_os()
        .filter(|(name, _)| name != TRIAL && !changed(name))
        .collect();
    let said = environment.iter();
    all.extend(said.map(|(name, value)| (OsString::from(name), OsString::from(value))));
    replace(program, &arguments, &all)
}

/// Becomes `program`, which is a program and nothing else: the usual call would take one that has
/// rotted for a shell's script, and run it. One that was written a moment ago may still be held open
/// by somebody who forks.
pub fn replace(
    program: &Path,
    arguments: &[OsString],
    environment: &[(OsString, OsString)],
) -> io::Error {
    let text = |text: &OsStr| CString::new(text.as_bytes());
    let pair = |(name, value): &(OsString, OsString)| {
        CString::new([name.as_bytes(), b"=", value.as_bytes()].concat())
    };
    let all = || {
        let path = text(program.as_os_str())?;
        let mut words = vec![path.clone()];
        for argument in arguments {
            words.push(text(argument)?);
        }
        let environment = environment
            .iter()
            .map(pair)
            .collect::<Result<Vec<_>, _>>()?;
        Ok::<_, NulError>((path, words, environment))
    };
    let (path, words, environment) = match all() {
        Ok(all) => all,
        Err(error) => return error.into(),
    };
    for _ in 0..50 {
        match execve(&path, &words, &environment) {
            Err(Errno::ETXTBSY) => std::thread::sleep(Duration::from_millis(20)),
            Err(error) => return error.into(),
            Ok(never) => match never {},
        }
    }
    Errno::ETXTBSY.into()
}

/// Where state and run directory are, by what can be read of a configuration that may be of a later
/// version than ours: flags, else the file, else what holds without them.
pub fn places(file: &Path, state_dir: Option<&Path>, run_dir: Option<&Path>) -> (PathBuf, PathBuf) {
    let text = fs::read_to_string(file).unwrap_or_default();
    let table: toml::Table = text.parse().unwrap_or_default();
    let place = |flag: Option<&Path>, key: &str, fallback: &str| {
        let said = || {
            table
                .get(key)
                .and_then(|value| value.as_str())
                .map(PathBuf::from)
        };
        flag.map(Path::to_owned)
            .or_else(said)
            .unwrap_or_else(|| fallback.into())
    };
    (
        place(state_dir, "state-dir", crate::config::STATE_DIR),
        place(run_dir, "run-dir", crate::config::RUN_DIR),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_are_counted_by_version() {
        let dir = tempfile::tempdir().unwrap();
        let starts = Starts::in_dir(&dir.path().join("run"));
        let (one, two) = (Version::new(0, 2, 0), Version::new(0, 2, 1));
        assert_eq!(starts.count(&one), 0);
        starts.remember(&one, 3);
        assert_eq!((starts.count(&one), starts.count(&two)), (3, 0));
        fs::write(&starts.0, "0.2.0 many").unwrap();
        assert_eq!(starts.count(&one), 0);
        starts.forget();
        assert_eq!(starts.count(&one), 0);
    }

    #[test]
    fn places_are_found_in_files_of_later_versions_too() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("agent.toml");
        fs::write(&file, "state-dir = \"/s\"\nlater = {x = 1}\n").unwrap();
        let found = places(&file, None, Some(Path::new("/r")));
        assert_eq!(found, ("/s".into(), "/r".into()));
        let none = places(Path::new("/nonexistent"), None, None);
        assert_eq!(none, ("/var/lib/kcluster".into(), "/run/kcluster".into()));
    }
}
