//! Mount points: which there are, and the end of those below a directory.

use nix::mount::{MntFlags, umount2};
use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// All mount points, in the order they were mounted.
pub(super) fn points() -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    text.lines().filter_map(point).collect()
}

/// The fifth field of a line of mountinfo, where blanks and the like are written in octal.
fn point(line: &str) -> Option<PathBuf> {
    let field = line.split(' ').nth(4)?.as_bytes();
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((first, after)) = rest.split_first() {
        let octal = std::str::from_utf8(after.get(..3).unwrap_or_default())
            .ok()
            .and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (first, octal) {
            (b'\\', Some(byte)) => {
                bytes.push(byte);
                rest = after.get(3..).unwrap_or_default();
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    Some(PathBuf::from(OsString::from_vec(bytes)))
}

/// Unmounts everything at and below `root`, the newest first; returns what would not go.
pub(super) fn clear(root: &Path) -> Vec<PathBuf> {
    for path in points().iter().rev().filter(|path| path.starts_with(root)) {
        // Detached: a reader that still holds a file open does not keep the name.
        let _ = umount2(path, MntFlags::MNT_DETACH);
    }
    let left = points();
    left.into_iter()
        .filter(|path| path.starts_with(root))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octal_escapes_are_read() {
        let line = r"36 35 98:0 / /mnt/a\040b rw,noatime master:1 - ext3 /dev/root rw";
        assert_eq!(point(line), Some(PathBuf::from("/mnt/a b")));
        assert!(points().contains(&PathBuf::from("/")) || !points().is_empty());
    }
}
