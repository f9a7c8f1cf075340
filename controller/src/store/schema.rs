//! The file's shape and its versions.

use super::error::{Damage, Report, StoreError};
use rusqlite::{Connection, ErrorCode};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use std::time::Duration;

/// Version this program writes.
pub const SCHEMA_VERSION: i64 = 2;

/// "kclu" in SQLite's header, so that the file is known for what it is.
const APPLICATION_ID: i64 = 0x6b63_6c75;

const TABLES: &str = "
    CREATE TABLE state (
        id        INTEGER PRIMARY KEY CHECK (id = 1),
        revision  INTEGER NOT NULL,
        clock_ms  INTEGER NOT NULL,
        body      TEXT NOT NULL
    ) STRICT;
    CREATE TABLE documents (
        node  TEXT PRIMARY KEY,
        body  BLOB
    ) STRICT;
    CREATE TABLE nodes (
        node    TEXT PRIMARY KEY,
        body    TEXT NOT NULL
    ) STRICT;
    CREATE TABLE events (
        id        INTEGER PRIMARY KEY AUTOINCREMENT,
        at_ms     INTEGER NOT NULL,
        node      TEXT,
        kind      TEXT NOT NULL,
        object    TEXT NOT NULL,
        message   TEXT NOT NULL,
        boot      TEXT,
        sequence  INTEGER,
        mono_ms   INTEGER
    ) STRICT;
    CREATE UNIQUE INDEX events_once ON events (node, boot, sequence)
        WHERE boot IS NOT NULL;
    CREATE INDEX events_object ON events (object);
";

/// From version 1, which kept events apart by their time as well: agents did not keep their numbers to
/// themselves then.
const FROM_1: &str = "
    DROP INDEX events_once;
    DELETE FROM events WHERE boot IS NOT NULL AND id NOT IN
        (SELECT min(id) FROM events WHERE boot IS NOT NULL GROUP BY node, boot, sequence);
    CREATE UNIQUE INDEX events_once ON events (node, boot, sequence)
        WHERE boot IS NOT NULL;
";

/// Opens the file, makes it when it is new, and refuses it when it is not ours to read.
pub(super) fn open(path: &Path) -> Result<Connection, StoreError> {
    if let Some(parent) = path.parent() {
        // Manifests may hold secrets: what we make is our owner's only.
        let mut directory = std::fs::DirBuilder::new();
        directory.recursive(true).mode(0o700);
        directory
            .create(parent)
            .map_err(|source| StoreError::Directory {
                path: parent.to_owned(),
                source,
            })?;
    }
    // Wherever it is, it is its owner's only: the values of secrets are in it. SQLite's other files take
    // after it.
    close_to_others(path).map_err(|source| StoreError::Permissions {
        path: path.to_owned(),
        source,
    })?;
    let connection = Connection::open(path).map_err(|source| StoreError::Open {
        path: path.to_owned(),
        source,
    })?;
    prepare(&connection).map_err(|trouble| trouble.at(path))?;
    Ok(connection)
}

fn close_to_others(path: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    let made = options.create(true).append(true).mode(0o600).open(path)?;
    let mode = made.metadata()?.permissions().mode();
    if mode & 0o077 != 0 {
        made.set_permissions(std::fs::Permissions::from_mode(0o600))?;
        for beside in ["-wal", "-shm"] {
            let mut name = path.as_os_str().to_owned();
            name.push(beside);
            match std::fs::set_permissions(&name, std::fs::Permissions::from_mode(0o600)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

/// Trouble before the file's name is put to it.
enum Trouble {
    Sql(rusqlite::Error),
    Damage(Damage),
    Foreign(i64),
    Newer(i64),
}

impl From<rusqlite::Error> for Trouble {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
                Self::Damage(error.into())
            }
            _ => Self::Sql(error),
        }
    }
}

impl Trouble {
    fn at(self, path: &Path) -> StoreError {
        let path = path.to_owned();
        match self {
            Self::Damage(found) => StoreError::Damaged { path, found },
            Self::Foreign(found) => StoreError::Foreign { path, found },
            Self::Newer(found) => StoreError::Newer {
                path,
                found,
                known: SCHEMA_VERSION,
            },
            Self::Sql(source) => sql(path, source),
        }
    }
}

/// A failed statement as the store's error.
pub(super) fn sql(path: std::path::PathBuf, source: rusqlite::Error) -> StoreError {
    match source.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => StoreError::Damaged {
            path,
            found: source.into(),
        },
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => StoreError::InUse { path },
        _ => StoreError::Sql { path, source },
    }
}

fn prepare(connection: &Connection) -> Result<(), Trouble> {
    connection.busy_timeout(Duration::from_secs(1))?;
    // One controller a file: the lock is taken with the first read and kept.
    connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    let application: i64 = connection.pragma_query_value(None, "application_id", |r| r.get(0))?;
    let version: i64 = connection.pragma_query_value(None, "user_version", |r| r.get(0))?;
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", [], |r| r.get(0))?;
    if application != APPLICATION_ID && (application != 0 || tables != 0) {
        return Err(Trouble::Foreign(application));
    }
    if version > SCHEMA_VERSION {
        return Err(Trouble::Newer(version));
    }
    let check: String = connection.pragma_query_value(None, "quick_check", |r| r.get(0))?;
    if check != "ok" {
        return Err(Trouble::Damage(Damage::Check(Report(check))));
    }
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    if tables == 0 {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {TABLES}
             PRAGMA application_id = {APPLICATION_ID};
             PRAGMA user_version = {SCHEMA_VERSION};
             COMMIT;"
        ))?;
    } else if version == 1 {
        connection.execute_batch(&format!(
            "BEGIN IMMEDIATE; {FROM_1}
             PRAGMA user_version = {SCHEMA_VERSION};
             COMMIT;"
        ))?;
    }
    Ok(())
}
