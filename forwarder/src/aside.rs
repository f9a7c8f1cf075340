//! Reads a file of tables; TOML in a process of its own. What a parser of TOML needs meanwhile lies
//! in small pieces between the tables that stay, and an allocator cannot give it back: of 10,000
//! paths it would be 40 MB for ever. A process takes it along when it ends. JSON leaves nothing, and
//! is what an agent starts us with, in a hurry.

use anyhow::{Context, bail};
use kc_forwarder::config;
use kc_forwarder_api::Tables;
use std::io::{BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

/// This program, also after its file was replaced.
const MYSELF: &str = "/proc/self/exe";

/// What every message of this program begins with.
const NAME: &str = "kc-forwarder: ";

/// Reads and checks the file at `path`; where no process may be started, in this one.
pub(crate) fn read(path: &Path) -> anyhow::Result<Tables> {
    if path
        .extension()
        .is_some_and(|extension| extension == "json")
    {
        return Ok(config::read(path)?);
    }
    let spawned = Command::new(MYSELF)
        .args(["check", "--output", "json", "--"])
        .arg(path)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut reader = match spawned {
        Ok(reader) => reader,
        Err(error) => {
            tracing::debug!(%error, "no process to read a file in");
            return Ok(config::read(path)?);
        }
    };
    let tables = reader
        .stdout
        .take()
        .map(|output| serde_json::from_reader(BufReader::new(output)));
    let mut told = String::new();
    if let Some(mut errors) = reader.stderr.take() {
        errors.read_to_string(&mut told)?;
    }
    let status = reader.wait()?;
    if !status.success() {
        match told.trim_end().strip_prefix(NAME) {
            Some(told) => bail!("{told}"),
            None => bail!(
                "{}: the process that reads it has ended: {status}",
                path.display()
            ),
        }
    }
    let tables = tables.context("a reader without an output")?;
    tables.with_context(|| format!("{}: read, and not understood", path.display()))
}
