//! Update archives on this machine: what they say of themselves, and their signatures. Boxes verify
//! them; here only is found what would be refused anyway.

use super::failure::Failure;
use anyhow::Context as _;
use kc_agent_api::{MANIFEST, UpdateManifest};
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use tar::Archive;

/// Longest manifest and longest signature that are read.
const LONGEST: u64 = 16 << 10;

/// A signed archive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Package {
    pub(super) path: PathBuf,
    pub(super) manifest: UpdateManifest,
    pub(super) size: u64,
    pub(super) signature: String,
}

impl Package {
    /// Reads what `path` says of itself, and `path.minisig` beside it.
    pub(super) fn open(path: &Path) -> Result<Self, Failure> {
        let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
        let size = file.metadata()?.len();
        let manifest = manifest(&file).map_err(|error| {
            Failure::Usage(format!(
                "{} is no update's archive, as cross/package.sh makes them: {error:#}",
                path.display()
            ))
        })?;
        let mut beside = path.as_os_str().to_owned();
        beside.push(".minisig");
        let beside = PathBuf::from(beside);
        let mut signature = String::new();
        let read =
            File::open(&beside).and_then(|file| file.take(LONGEST).read_to_string(&mut signature));
        if read.is_err() {
            return Err(Failure::Usage(format!(
                "there is no signature {}: minisign -S -m {} makes it",
                beside.display(),
                path.display()
            )));
        }
        let path = path.to_owned();
        Ok(Self {
            path,
            manifest,
            size,
            signature,
        })
    }
}

fn manifest(file: &File) -> anyhow::Result<UpdateManifest> {
    let mut archive = Archive::new(file);
    let first = archive.entries()?.raw(true).next();
    let first = first.context("it is empty")??;
    if *first.path_bytes() != *MANIFEST.as_bytes() {
        anyhow::bail!("it does not begin with {MANIFEST}");
    }
    let mut text = Vec::new();
    first.take(LONGEST).read_to_end(&mut text)?;
    serde_json::from_slice(&text).context(MANIFEST)
}

/// The package for boxes of `arch`.
pub(super) fn for_arch<'a>(packages: &'a [Package], arch: &str) -> Option<&'a Package> {
    packages.iter().find(|one| one.manifest.arch == arch)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tar::{Builder, Header};

    fn write(dir: &Path, name: &str, entry: &str, octets: &[u8]) -> PathBuf {
        let path = dir.join(name);
        let mut tar = Builder::new(File::create(&path).unwrap());
        let mut header = Header::new_ustar();
        header.set_size(octets.len() as u64);
        tar.append_data(&mut header, entry, octets).unwrap();
        tar.finish().unwrap();
        path
    }

    #[test]
    fn a_package_has_a_manifest_and_a_signature_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let text = br#"{"format":1,"version":"0.2.0","arch":"arm"}"#;
        let path = write(dir.path(), "a.tar", MANIFEST, text);
        let told = Package::open(&path).unwrap_err().to_string();
        assert!(
            told.contains("a.tar.minisig") && told.contains("minisign -S"),
            "{told}"
        );
        std::fs::write(dir.path().join("a.tar.minisig"), "signed").unwrap();
        let package = Package::open(&path).unwrap();
        assert_eq!(
            (
                package.manifest.version.as_str(),
                package.signature.as_str()
            ),
            ("0.2.0", "signed")
        );
        let all = [package];
        assert!(for_arch(&all, "arm").is_some() && for_arch(&all, "aarch64").is_none());
    }

    #[test]
    fn what_is_no_package_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let other = write(dir.path(), "b.tar", "kc-agent", b"x");
        let deb = dir.path().join("c.deb");
        std::fs::write(&deb, b"!<arch>\ndebian-binary").unwrap();
        let empty = dir.path().join("d.tar");
        std::fs::write(&empty, b"").unwrap();
        for path in [other, deb, empty] {
            let refused = Package::open(&path).unwrap_err();
            assert!(matches!(refused, Failure::Usage(_)), "{refused}");
        }
        assert!(matches!(
            Package::open(Path::new("/nonexistent")),
            Err(Failure::Other(_))
        ));
    }
}
