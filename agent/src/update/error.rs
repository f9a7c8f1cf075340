//! Why an update is refused. Whoever reads it shall know what to do next.

use super::archive::LIMIT;
use crate::ledger::LedgerError;
use std::io;
use std::path::{Path, PathBuf};

/// Why an update is refused; nothing has changed then.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// One at a time.
    #[error("another update is under way on this box")]
    Busy,
    /// Nobody may update this box.
    #[error(
        "this box trusts no key, so it takes no update: put the public key of minisign -G into {}/NAME.pub there",
        .0.display()
    )]
    NoKeys(PathBuf),
    /// A file among the trusted keys is none.
    #[error("{} is no public key of minisign", .0.display())]
    BadKey(PathBuf),
    /// The signature is none.
    #[error("the signature is none that minisign made: {0}")]
    BadSignature(minisign_verify::Error),
    /// Signed, but by somebody else.
    #[error("the signature is by none of the keys this box trusts ({0})")]
    Stranger(String),
    /// The archive is not what was signed.
    #[error("the signature does not fit the archive: it was changed after it was signed")]
    Tampered,
    /// It ends too early, or too late.
    #[error(
        "the archive has {got} octets and not {size}, as was said: it is cut off, or was changed meanwhile"
    )]
    Length {
        /// What was announced.
        size: u64,
        /// What came.
        got: u64,
    },
    /// Larger than any agent.
    #[error("an archive of {0} octets is too large: {LIMIT} are allowed")]
    TooLarge(u64),
    /// The disk has no room for it.
    #[error("no room below {}: {needed} octets are needed, {free} are free", path.display())]
    NoRoom {
        /// Where.
        path: PathBuf,
        /// What it takes, archive and programs.
        needed: u64,
        /// What there is.
        free: u64,
    },
    /// It is not an archive.
    #[error("this is no update's archive, or a broken one")]
    NoArchive(#[source] io::Error),
    /// Its first entry is no manifest.
    #[error("this is no update's archive: it does not begin with manifest.json")]
    NoManifest,
    /// The manifest cannot be read.
    #[error("the archive's manifest.json cannot be read")]
    Manifest(#[source] serde_json::Error),
    /// Made for later agents.
    #[error(
        "the archive is of form {0}, and this agent knows form 1 only: update to a version between first"
    )]
    Format(u32),
    /// No version.
    #[error("version {0:?} in the archive is none, such as 0.2.0")]
    Version(String),
    /// For other boxes.
    #[error("the archive is for {theirs}, and this box is {ours}")]
    OtherArch {
        /// What it is for.
        theirs: String,
        /// What we are.
        ours: &'static str,
    },
    /// A program is for other boxes.
    #[error("{name} in the archive does not run here")]
    NoProgram {
        /// Which.
        name: &'static str,
        /// Why not.
        #[source]
        source: super::elf::ElfError,
    },
    /// Something that does not belong there.
    #[error(
        "{0:?} does not belong into an update's archive: it holds manifest.json, kc-agent and kc-forwarder, as plain files, each once"
    )]
    Foreign(String),
    /// The agent is missing.
    #[error("the archive holds no kc-agent")]
    NoAgent,
    /// It runs already.
    #[error("version {0} runs already")]
    Same(semver::Version),
    /// It is older.
    #[error(
        "version {offered} is older than {running}, which runs: --allow-downgrade takes it all the same"
    )]
    Older {
        /// What runs.
        running: semver::Version,
        /// What was sent.
        offered: semver::Version,
    },
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
    /// What became of it cannot be kept.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The agent is on its way out.
    #[error("the agent is ending: ask again")]
    Ending,
}

/// For `map_err`.
pub(super) fn disk(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> UpdateError {
    let path = path.to_owned();
    move |source| UpdateError::Disk { verb, path, source }
}
