//! Unpacks a tar archive that nobody vouches for: whatever is in it, nothing outside of the target
//! is written, removed or changed. Links are made as they are and never gone through.

use anyhow::{Context as _, Result, bail};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _, symlink};
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};
use tar::{Archive, Entry, EntryType};

/// Where entries go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    /// What stands for the archive's top.
    pub(super) path: PathBuf,
    /// Components at the front of names in the archive that are the top itself.
    pub(super) strip: usize,
}

impl Target {
    /// Where `name` goes; `None` for what is above the top.
    fn place(&self, name: &Path) -> Result<Option<PathBuf>> {
        let mut parts = Vec::new();
        for part in name.components() {
            match part {
                Component::Normal(part) => parts.push(part),
                // As every tar does: a name from the root is one below the target.
                Component::RootDir | Component::CurDir => {}
                Component::ParentDir | Component::Prefix(_) => {
                    bail!("{} would leave the target: refused", name.display())
                }
            }
        }
        let below = parts.get(self.strip..);
        Ok(below.map(|below| {
            below
                .iter()
                .fold(self.path.clone(), |path, part| path.join(part))
        }))
    }

    /// Makes the directories that `path` is in. One that is a link, or no directory, is refused.
    fn enter(&self, path: &Path) -> Result<()> {
        let Ok(below) = path.strip_prefix(&self.path) else {
            bail!("{} is outside of the target", path.display());
        };
        let mut directory = self.path.clone();
        for part in below.components() {
            match fs::symlink_metadata(&directory) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => bail!(
                    "{} is no directory, and {} would go through it: refused",
                    directory.display(),
                    path.display()
                ),
                Err(error) if error.kind() == ErrorKind::NotFound => fs::create_dir(&directory)
                    .with_context(|| format!("cannot create {}", directory.display()))?,
                Err(error) => return Err(error.into()),
            }
            directory.push(part);
        }
        Ok(())
    }
}

/// Unpacks what `archive` holds; says how many files that were. Devices and the like are left out.
pub(super) fn unpack(archive: impl Read, target: &Target) -> Result<u64> {
    let (mut count, mut directories) = (0, Vec::new());
    let mut archive = Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry.context("this is no tar archive")?;
        let name = entry.path()?.into_owned();
        let Some(path) = target.place(&name)? else {
            continue;
        };
        target.enter(&path)?;
        let made = one(&mut entry, &path, target, &mut directories);
        made.with_context(|| format!("cannot write {}", path.display()))?;
        count += 1;
    }
    // Only now: a directory may forbid what was still to be written into it.
    for (path, mode, modified) in directories.into_iter().rev() {
        let directory = File::open(&path)?;
        directory.set_permissions(Permissions::from_mode(mode))?;
        let _ = directory.set_modified(UNIX_EPOCH + Duration::from_secs(modified));
    }
    Ok(count)
}

fn one(
    entry: &mut Entry<'_, impl Read>,
    path: &Path,
    target: &Target,
    directories: &mut Vec<(PathBuf, u32, u64)>,
) -> Result<()> {
    let mode = entry.header().mode()? & 0o7777;
    let modified = entry.header().mtime()?;
    match entry.header().entry_type() {
        EntryType::Directory => {
            match fs::symlink_metadata(path) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => bail!("something else is there"),
                Err(_) => fs::create_dir(path)?,
            }
            directories.push((path.to_owned(), mode, modified));
        }
        EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
            make_room(path)?;
            // Made anew, so never what a link leads to.
            let mut file = OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(path)?;
            io::copy(entry, &mut file)?;
            file.set_permissions(Permissions::from_mode(mode))?;
            let _ = file.set_modified(UNIX_EPOCH + Duration::from_secs(modified));
        }
        EntryType::Symlink => {
            let Some(to) = entry.link_name()? else {
                bail!("a link to nothing");
            };
            make_room(path)?;
            symlink(to, path)?;
        }
        EntryType::Link => {
            let to = entry.link_name()?;
            let Some(to) = to.map(|to| target.place(&to)).transpose()?.flatten() else {
                bail!("a link to nothing in the archive");
            };
            target.enter(&to)?;
            if !fs::symlink_metadata(&to)?.is_file() {
                bail!("{} is no file to link to", to.display());
            }
            if to != path {
                make_room(path)?;
                fs::hard_link(&to, path)?;
            }
        }
        other => eprintln!("left out {}: {other:?} is no file", path.display()),
    }
    Ok(())
}

/// Removes what is in the way; never a directory.
fn make_room(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => bail!("a directory is there"),
        Ok(_) => Ok(fs::remove_file(path)?),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::fs::MetadataExt as _;
    use tar::{Builder, Header};

    /// An entry with any name, also those that a well-meaning builder refuses.
    fn add(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, link: &str, octets: &[u8]) {
        let mut header = Header::new_gnu();
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_size(octets.len() as u64);
        header.set_mode(0o640);
        header.set_mtime(1_000);
        header.set_cksum();
        tar.append(&header, octets).unwrap();
    }

    /// A directory with a target in it, and something beside the target that must stay as it is.
    struct Scene(tempfile::TempDir);

    impl Scene {
        fn new() -> Self {
            let scene = Self(tempfile::tempdir().unwrap());
            fs::create_dir(scene.target().path).unwrap();
            fs::create_dir(scene.0.path().join("outside")).unwrap();
            fs::write(scene.0.path().join("outside/secret"), "as it was").unwrap();
            scene
        }

        fn target(&self) -> Target {
            Target {
                path: self.0.path().join("target"),
                strip: 1,
            }
        }

        fn is_untouched(&self) -> bool {
            let outside = self.0.path().join("outside");
            let names = |path: &Path| {
                let all = fs::read_dir(path).unwrap();
                let mut all: Vec<_> = all.map(|entry| entry.unwrap().file_name()).collect();
                all.sort();
                all
            };
            let secret = outside.join("secret");
            let found = fs::symlink_metadata(&secret).unwrap();
            names(self.0.path()) == ["outside", "target"]
                && names(&outside) == ["secret"]
                && fs::read(&secret).unwrap() == b"as it was"
                && found.nlink() == 1
                && found.mode() & 0o7777 != 0o640
        }
    }

    #[test]
    fn files_keep_their_modes_times_and_links() {
        let scene = Scene::new();
        let mut tar = Builder::new(Vec::new());
        add(&mut tar, EntryType::Directory, "top/", "", b"");
        add(&mut tar, EntryType::Regular, "top/a/file", "", b"octets");
        add(&mut tar, EntryType::Symlink, "top/a/link", "file", b"");
        add(&mut tar, EntryType::Link, "top/hard", "top/a/file", b"");
        unpack(&*tar.into_inner().unwrap(), &scene.target()).unwrap();
        let path = scene.target().path;
        assert_eq!(fs::read(path.join("a/link")).unwrap(), b"octets");
        let file = fs::metadata(path.join("a/file")).unwrap();
        assert_eq!((file.mode() & 0o7777, file.mtime()), (0o640, 1_000));
        assert_eq!(fs::metadata(path.join("hard")).unwrap().ino(), file.ino());
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o640);
    }

    #[test]
    fn no_archive_writes_outside_of_its_target() {
        let regular = |name| (EntryType::Regular, name, "");
        let link = |name, to| (EntryType::Symlink, name, to);
        let hard = |name, to| (EntryType::Link, name, to);
        let cases: &[&[(EntryType, &str, &str)]] = &[
            &[regular("top/../../outside/new")],
            &[regular("../outside/secret")],
            &[regular("/outside/secret")],
            &[link("top/door", "../outside"), regular("top/door/secret")],
            &[link("top/door", "../outside"), regular("top/door/new")],
            &[
                link("top/secret", "../outside/secret"),
                regular("top/secret"),
            ],
            &[link("top", "outside"), regular("top/new")],
            &[
                link("top/door", "../outside"),
                (EntryType::Directory, "top/door", ""),
            ],
            &[
                link("top/door", "../outside"),
                (EntryType::Directory, "top/door/new", ""),
            ],
            &[hard("top/hard", "../outside/secret"), regular("top/hard")],
            &[hard("top/hard", "top/../../outside/secret")],
            &[
                link("top/door", "../outside"),
                hard("top/hard", "top/door/secret"),
            ],
            &[
                link("top/s", "../outside/secret"),
                hard("top/hard", "top/s"),
                regular("top/hard"),
            ],
            &[
                link("top/a", "b"),
                link("top/b", "../outside"),
                regular("top/a/new"),
            ],
        ];
        for case in cases {
            let scene = Scene::new();
            let mut tar = Builder::new(Vec::new());
            for (kind, name, to) in *case {
                let octets: &[u8] = if *kind == EntryType::Regular {
                    b"evil"
                } else {
                    b""
                };
                add(&mut tar, *kind, name, to, octets);
            }
            let done = unpack(&*tar.into_inner().unwrap(), &scene.target());
            assert!(scene.is_untouched(), "{case:?}: {done:?}");
        }
    }

    #[test]
    fn a_target_that_is_a_link_is_not_gone_through() {
        let scene = Scene::new();
        let target = scene.target();
        fs::remove_dir(&target.path).unwrap();
        symlink("outside", &target.path).unwrap();
        let mut tar = Builder::new(Vec::new());
        add(&mut tar, EntryType::Regular, "top/secret", "", b"evil");
        unpack(&*tar.into_inner().unwrap(), &target).unwrap_err();
        assert!(scene.is_untouched());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(200))]
        #[test]
        fn whatever_names_and_links_an_archive_has(
            entries in prop::collection::vec((0u8..4, "(top|\\.\\.|/|a|b|outside|secret|\\.)(/(\\.\\.|a|b|outside|secret)){0,3}", "(\\.\\./|/|top/)?(a|b|outside|\\.\\.)(/(secret|a|b))?"), 0..8),
        ) {
            let scene = Scene::new();
            let mut tar = Builder::new(Vec::new());
            for (kind, name, to) in &entries {
                let kinds = [EntryType::Regular, EntryType::Symlink, EntryType::Link, EntryType::Directory];
                let octets: &[u8] = if *kind == 0 { b"evil" } else { b"" };
                add(&mut tar, kinds[usize::from(*kind)], name, to, octets);
            }
            let _ = unpack(&*tar.into_inner().unwrap(), &scene.target());
            prop_assert!(scene.is_untouched());
        }

        #[test]
        fn rubbish_is_no_archive(octets in prop::collection::vec(any::<u8>(), 0..2_000)) {
            let scene = Scene::new();
            let _ = unpack(&*octets, &scene.target());
            prop_assert!(scene.is_untouched());
        }
    }
}
