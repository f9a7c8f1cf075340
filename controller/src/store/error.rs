//! Why the store failed, always naming the file.

use std::path::PathBuf;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The directory cannot be made.
    #[error("cannot make the data directory {}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be made its owner's only.
    #[error("cannot keep others from reading the database {}", path.display())]
    Permissions {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file cannot be opened.
    #[error("cannot open the database {}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The file is no database, or damaged.
    #[error(
        "the database {} is damaged ({found}); move it away to start empty, or put a copy back",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite found.
        found: Damage,
    },
    /// Another program's database.
    #[error(
        "{} is a database of another program (application id {found:#x})",
        path.display()
    )]
    Foreign {
        /// The file.
        path: PathBuf,
        /// Its application id.
        found: i64,
    },
    /// Written by a newer controller.
    #[error(
        "the database {} has schema version {found}; this controller reads up to {known}: run a newer controller",
        path.display()
    )]
    Newer {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// Another controller has it open.
    #[error("the database {} is in use by another controller", path.display())]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A statement failed.
    #[error("the database {} failed", path.display())]
    Sql {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rusqlite::Error,
    },
    /// The thread cannot be started.
    #[error("cannot start the database thread")]
    Thread(#[source] std::io::Error),
    /// The thread has ended.
    #[error("the database thread has ended")]
    Gone,
}

/// What SQLite says of a damaged file.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] rusqlite::Error),
    /// It reads, and contradicts itself.
    #[error("{0}")]
    Check(Report),
}

/// The first finding of SQLite's own check.
#[derive(Debug)]
pub struct Report(pub(super) String);

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(&self.0)
    }
}
