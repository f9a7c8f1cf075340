//! Reads an update's archive: a plain tar of `manifest.json`, `kc-agent` and perhaps `kc-forwarder`.
//! What may be in it is listed, and all else is refused, so no name in it is ever a path; nothing is
//! decompressed, so nothing is larger than what came.

use super::error::disk;
use super::{UpdateError, elf, policy};
use kc_agent_api::{MANIFEST, UpdateManifest};
use semver::Version;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use tar::{Archive, Entry, EntryType};

/// Largest archive in octets.
pub const LIMIT: u64 = 64 << 20;
/// Largest manifest in octets.
const LONGEST_MANIFEST: u64 = 16 << 10;
/// The agent's program.
pub const AGENT: &str = "kc-agent";
/// The forwarder's.
pub const FORWARDER: &str = "kc-forwarder";
/// The form we know.
const FORMAT: u32 = 1;

/// Unpacks `archive` into the empty directory `into`, once its version is one that `accept` takes.
/// Whatever comes of it, nothing outside of `into` is touched.
///
/// # Errors
/// It is no archive for this box, holds what it should not, or the disk refuses. What was written
/// until then is the caller's to remove.
pub fn unpack(
    archive: impl Read,
    arch: &'static str,
    into: &Path,
    accept: impl FnOnce(&Version) -> Result<(), UpdateError>,
) -> Result<Version, UpdateError> {
    let mut archive = Archive::new(archive);
    // Raw: what is said of a long name or a sparse file is an entry as well, and a foreign one.
    let mut entries = archive.entries().map_err(UpdateError::NoArchive)?.raw(true);
    let first = entries.next().ok_or(UpdateError::NoManifest)?;
    let mut first = first.map_err(UpdateError::NoArchive)?;
    if first.path_bytes() != MANIFEST.as_bytes() {
        return Err(UpdateError::NoManifest);
    }
    let (version, text) = manifest(&mut first, arch)?;
    accept(&version)?;
    write(&into.join(MANIFEST), 0o644, &mut &text[..])?;
    let mut wanted = vec![AGENT, FORWARDER];
    for entry in entries {
        let mut entry = entry.map_err(UpdateError::NoArchive)?;
        let place = wanted
            .iter()
            .position(|name| *entry.path_bytes() == *name.as_bytes());
        let Some(place) = place.filter(|_| entry.header().entry_type() == EntryType::Regular)
        else {
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            return Err(UpdateError::Foreign(name));
        };
        program(&mut entry, wanted.swap_remove(place), arch, into)?;
    }
    if wanted.contains(&AGENT) {
        return Err(UpdateError::NoAgent);
    }
    File::open(into)
        .and_then(|dir| dir.sync_all())
        .map_err(disk("sync", into))?;
    Ok(version)
}

/// The manifest, and its octets as they stand there.
fn manifest(
    entry: &mut Entry<'_, impl Read>,
    arch: &'static str,
) -> Result<(Version, Vec<u8>), UpdateError> {
    if entry.header().entry_type() != EntryType::Regular || entry.size() > LONGEST_MANIFEST {
        return Err(UpdateError::NoManifest);
    }
    let mut text = Vec::new();
    let read = entry.take(LONGEST_MANIFEST).read_to_end(&mut text);
    read.map_err(UpdateError::NoArchive)?;
    let said: UpdateManifest = serde_json::from_slice(&text).map_err(UpdateError::Manifest)?;
    if said.format != FORMAT {
        return Err(UpdateError::Format(said.format));
    }
    let version = policy::version(&said.version)?;
    if said.arch != arch {
        let theirs = said.arch.chars().take(32).collect();
        return Err(UpdateError::OtherArch { theirs, ours: arch });
    }
    Ok((version, text))
}

fn program(
    entry: &mut Entry<'_, impl Read>,
    name: &'static str,
    arch: &'static str,
    into: &Path,
) -> Result<(), UpdateError> {
    if entry.size() > LIMIT {
        return Err(UpdateError::TooLarge(entry.size()));
    }
    let mut head = Vec::new();
    let read = entry.take(elf::HEAD as u64).read_to_end(&mut head);
    read.map_err(UpdateError::NoArchive)?;
    elf::runs_on(arch, &head).map_err(|source| UpdateError::NoProgram { name, source })?;
    let size = entry.size();
    let written = write(&into.join(name), 0o755, &mut head.chain(entry))?;
    // An archive that breaks off in the middle of a program ends there without a word.
    if written != size {
        return Err(UpdateError::NoArchive(io::ErrorKind::UnexpectedEof.into()));
    }
    Ok(())
}

/// Writes a new file, down to the disk. Says how much.
fn write(path: &Path, mode: u32, source: &mut impl Read) -> Result<u64, UpdateError> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut file = options.open(path).map_err(disk("create", path))?;
    let mut buffer = vec![0; 64 << 10];
    let mut written = 0;
    loop {
        let count = source.read(&mut buffer).map_err(UpdateError::NoArchive)?;
        if count == 0 {
            break;
        }
        let piece = buffer.get(..count).unwrap_or_default();
        file.write_all(piece).map_err(disk("write", path))?;
        written += piece.len() as u64;
    }
    file.sync_all().map_err(disk("write", path))?;
    Ok(written)
}

#[cfg(test)]
#[path = "archive_tests.rs"]
mod tests;
