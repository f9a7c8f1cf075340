//! Packs files and directories of this machine into a tar archive: modes and times are kept, owners
//! are root, as nobody of this machine is known in a container.

use anyhow::{Context as _, Result};
use std::fs::{self, File};
use std::io::{self, Read as _, Write};
use std::path::Path;
use tar::{Builder, EntryType, Header, HeaderMode};

/// Packs what is at `path` under `name`; an empty name packs what a directory holds. Links are
/// packed as links.
pub(super) fn pack(path: &Path, name: &Path, out: impl Write) -> Result<()> {
    let mut tar = Builder::new(out);
    one(&mut tar, path, name)?;
    tar.into_inner()?.flush()?;
    Ok(())
}

fn one(tar: &mut Builder<impl Write>, path: &Path, name: &Path) -> Result<()> {
    let cannot = || format!("cannot read {}", path.display());
    let found = fs::symlink_metadata(path).with_context(cannot)?;
    let mut header = Header::new_gnu();
    header.set_metadata_in_mode(&found, HeaderMode::Complete);
    header.set_uid(0);
    header.set_gid(0);
    let kind = found.file_type();
    if kind.is_dir() {
        if !name.as_os_str().is_empty() {
            header.set_size(0);
            tar.append_data(&mut header, name, io::empty())?;
        }
        let mut entries: Vec<_> = fs::read_dir(path)
            .and_then(Iterator::collect)
            .with_context(cannot)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            one(tar, &entry.path(), &name.join(entry.file_name()))?;
        }
    } else if kind.is_symlink() {
        header.set_entry_type(EntryType::Symlink);
        header.set_size(0);
        tar.append_link(&mut header, name, fs::read_link(path)?)?;
    } else if kind.is_file() {
        let length = found.len();
        header.set_size(length);
        // A file may grow or shrink meanwhile; what its header says must follow it.
        let file = File::open(path).with_context(cannot)?;
        let octets = file.take(length).chain(io::repeat(0)).take(length);
        tar.append_data(&mut header, name, octets)?;
    } else {
        eprintln!("left out {}: it is no file", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::unpack::{Target, unpack};
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn what_is_packed_is_unpacked_as_it_was() {
        let scene = tempfile::tempdir().unwrap();
        let from = scene.path().join("from");
        let deep = from.join("d".repeat(120)).join("e".repeat(120));
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("file"), [0, 1, 255]).unwrap();
        fs::set_permissions(deep.join("file"), fs::Permissions::from_mode(0o751)).unwrap();
        symlink("nowhere", from.join("link")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(from.join("socket")).unwrap();
        for (name, strip) in [("top", 1), ("", 0)] {
            let mut octets = Vec::new();
            pack(&from, Path::new(name), &mut octets).unwrap();
            let path = scene.path().join(format!("to{strip}"));
            fs::create_dir(&path).unwrap();
            let target = Target { path, strip };
            unpack(&*octets, &target).unwrap();
            let file = target
                .path
                .join(deep.strip_prefix(&from).unwrap())
                .join("file");
            assert_eq!(fs::read(&file).unwrap(), [0, 1, 255]);
            let mode = fs::metadata(&file).unwrap().permissions().mode();
            assert_eq!(mode & 0o7777, 0o751);
            let link = fs::read_link(target.path.join("link")).unwrap();
            assert_eq!(link, Path::new("nowhere"));
            assert!(!target.path.join("socket").exists());
        }
    }
}
