//! Archives that nobody should have signed, and some that are good.

use super::*;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use tar::{Builder, Header};

const ARCH: &str = "aarch64";
const GOOD: &str = r#"{"format":1,"version":"0.2.0","arch":"aarch64"}"#;

/// A program for some machine: 183 is aarch64.
fn program_for(machine: u8) -> Vec<u8> {
    let mut octets = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0];
    octets.resize(18, 0);
    octets.extend([machine, 0]);
    octets.resize(5_000, 7);
    octets
}

/// An entry with any name, also those that a well-meaning builder refuses.
fn add(tar: &mut Builder<Vec<u8>>, kind: EntryType, name: &str, octets: &[u8]) {
    let mut header = Header::new_gnu();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    if kind.is_symlink() || kind.is_hard_link() {
        header.as_old_mut().linkname[..14].copy_from_slice(b"../outside/new");
    }
    header.set_entry_type(kind);
    header.set_size(octets.len() as u64);
    header.set_mode(0o644);
    header.set_cksum();
    tar.append(&header, octets).unwrap();
}

fn archive(entries: &[(EntryType, &str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, name, octets) in entries {
        add(&mut tar, *kind, name, octets);
    }
    tar.into_inner().unwrap()
}

fn good() -> Vec<u8> {
    let program = program_for(183);
    archive(&[
        (EntryType::Regular, MANIFEST, GOOD.as_bytes()),
        (EntryType::Regular, AGENT, &program),
        (EntryType::Regular, FORWARDER, &program),
    ])
}

/// A directory to unpack into, with something beside it that must stay as it is.
struct Scene(tempfile::TempDir);

impl Scene {
    fn new() -> Self {
        let scene = Self(tempfile::tempdir().unwrap());
        fs::create_dir(scene.0.path().join("into")).unwrap();
        fs::create_dir(scene.0.path().join("outside")).unwrap();
        scene
    }

    fn unpack(&self, octets: &[u8]) -> Result<Version, UpdateError> {
        unpack(octets, ARCH, &self.0.path().join("into"), |_| Ok(()))
    }

    fn names(&self, of: &str) -> Vec<String> {
        let all = fs::read_dir(self.0.path().join(of)).unwrap();
        let mut all: Vec<_> = all
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    /// Whether all that was written is what may be.
    fn is_tidy(&self) -> bool {
        let inside = self.names("into");
        let known = [AGENT, FORWARDER, MANIFEST];
        let plain = |name: &String| {
            let path = self.0.path().join("into").join(name);
            fs::symlink_metadata(path).unwrap().is_file()
        };
        self.names("") == ["into", "outside"]
            && self.names("outside").is_empty()
            && inside
                .iter()
                .all(|name| known.contains(&name.as_str()) && plain(name))
    }
}

#[test]
fn a_good_archive_is_unpacked_with_programs_that_may_run() {
    let scene = Scene::new();
    assert_eq!(scene.unpack(&good()).unwrap().to_string(), "0.2.0");
    assert_eq!(scene.names("into"), [AGENT, FORWARDER, MANIFEST]);
    let agent = scene.0.path().join("into").join(AGENT);
    assert_eq!(fs::read(&agent).unwrap(), program_for(183));
    assert_eq!(fs::metadata(&agent).unwrap().mode() & 0o700, 0o700);
}

#[test]
fn a_version_that_is_not_wanted_writes_nothing() {
    let scene = Scene::new();
    let into = scene.0.path().join("into");
    let refuse = |version: &Version| Err(UpdateError::Same(version.clone()));
    let refused = unpack(&good()[..], ARCH, &into, refuse).unwrap_err();
    assert!(matches!(refused, UpdateError::Same(_)));
    assert!(scene.names("into").is_empty());
}

#[test]
fn what_does_not_belong_there_is_refused_by_its_name() {
    let (program, regular) = (program_for(183), EntryType::Regular);
    let agent = (regular, AGENT, &program[..]);
    let manifest = (regular, MANIFEST, GOOD.as_bytes());
    let other = program_for(62);
    let foreign = |name| vec![manifest, agent, (regular, name, &b"evil"[..])];
    let cases: Vec<(Vec<_>, &str)> = vec![
        (foreign("../outside/new"), "../outside/new"),
        (foreign("/etc/passwd"), "/etc/passwd"),
        (foreign("./kc-forwarder"), "./kc-forwarder"),
        (foreign("kc-agent"), "kc-agent"),
        (foreign("kc-agent/x"), "kc-agent/x"),
        (foreign("manifest.json"), "manifest.json"),
        (foreign(""), "\"\""),
        (vec![manifest, (EntryType::Symlink, AGENT, b"")], AGENT),
        (vec![manifest, (EntryType::Link, AGENT, b"")], AGENT),
        (vec![manifest, (EntryType::Directory, AGENT, b"")], AGENT),
        (vec![manifest, (EntryType::Char, AGENT, b"")], AGENT),
        (
            vec![manifest, (EntryType::GNULongName, "././@LongLink", b"x")],
            "@LongLink",
        ),
        (vec![manifest, (EntryType::XHeader, "pax", b"x")], "pax"),
        (
            vec![manifest, (EntryType::GNUSparse, AGENT, &program)],
            AGENT,
        ),
        (vec![agent, manifest], "manifest.json"),
        (vec![(EntryType::Symlink, MANIFEST, b"")], "manifest.json"),
        (vec![manifest], "no kc-agent"),
        (
            vec![manifest, (regular, FORWARDER, &program)],
            "no kc-agent",
        ),
        (vec![manifest, (regular, AGENT, &other)], "is for x86_64"),
        (vec![manifest, (regular, AGENT, b"#!/bin/sh\n")], "no ELF"),
        (
            vec![manifest, agent, (regular, FORWARDER, &other)],
            FORWARDER,
        ),
    ];
    for (entries, word) in cases {
        let scene = Scene::new();
        let refused = scene.unpack(&archive(&entries)).unwrap_err();
        let told = format!("{:#}", anyhow::Error::from(refused));
        assert!(told.contains(word), "{word}: {told}");
        assert!(scene.is_tidy(), "{word}");
    }
}

#[test]
fn a_manifest_is_refused_with_the_right_word() {
    let cases = [
        (
            r#"{"format":1,"version":"0.2.0","arch":"arm"}"#,
            "for arm, and this box is aarch64",
        ),
        (
            r#"{"format":2,"version":"0.2.0","arch":"aarch64"}"#,
            "form 2",
        ),
        (
            r#"{"format":1,"version":"../../x","arch":"aarch64"}"#,
            "../../x",
        ),
        (r#"{"format":1,"arch":"aarch64"}"#, "version"),
        ("rubbish", "manifest.json"),
    ];
    for (text, word) in cases {
        let scene = Scene::new();
        let program = program_for(183);
        let entries = [
            (EntryType::Regular, MANIFEST, text.as_bytes()),
            (EntryType::Regular, AGENT, &program[..]),
        ];
        let refused = scene.unpack(&archive(&entries)).unwrap_err();
        let told = format!("{:#}", anyhow::Error::from(refused));
        assert!(told.contains(word), "{told}");
        assert!(scene.names("into").is_empty());
    }
}

#[test]
fn every_truncation_is_refused() {
    let good = good();
    // The last blocks are padding, and the forwarder may be missing.
    let last = good.len() - 1024 - 5_120;
    for length in (0..last).step_by(97) {
        let scene = Scene::new();
        let taken = scene.unpack(&good[..length]);
        // Exactly after the agent's last block it is an archive without a forwarder.
        let whole = 512 + 512 + 512 + 5_120;
        assert!(taken.is_err() || length >= whole, "{length}");
        assert!(scene.is_tidy());
    }
}

#[test]
fn a_size_that_is_a_lie_takes_no_memory_and_is_refused() {
    let mut lie = good();
    // The agent's size field, in octal: 8 GiB less one.
    lie[1024 + 124..1024 + 135].copy_from_slice(b"77777777777");
    let sum: u32 = (0..512)
        .map(|at| {
            if (148..156).contains(&at) {
                32
            } else {
                u32::from(lie[1024 + at])
            }
        })
        .sum();
    lie[1024 + 148..1024 + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let scene = Scene::new();
    let refused = scene.unpack(&lie).unwrap_err();
    assert!(matches!(refused, UpdateError::TooLarge(_)), "{refused}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]
    #[test]
    fn whatever_an_archive_holds_nothing_else_is_written(
        entries in prop::collection::vec((0usize..8, "(kc-agent|kc-forwarder|manifest\\.json|\\.\\.|/|a)(/(\\.\\.|a|outside|new|kc-agent)){0,3}", any::<bool>()), 0..6),
        headed in any::<bool>(),
    ) {
        let kinds = [EntryType::Regular, EntryType::Symlink, EntryType::Link, EntryType::Directory,
            EntryType::Fifo, EntryType::Block, EntryType::GNULongName, EntryType::XGlobalHeader];
        let program = program_for(183);
        let mut all = Vec::new();
        if headed {
            all.push((EntryType::Regular, MANIFEST, GOOD.as_bytes()));
        }
        for (kind, name, runs) in &entries {
            let octets: &[u8] = if *runs { &program } else { GOOD.as_bytes() };
            all.push((kinds[*kind], name.as_str(), octets));
        }
        let scene = Scene::new();
        let taken = scene.unpack(&archive(&all));
        prop_assert!(scene.is_tidy(), "{:?}", taken);
        if taken.is_ok() {
            prop_assert!(scene.names("into").contains(&AGENT.to_owned()));
        }
    }

    #[test]
    fn a_spoilt_archive_writes_nothing_else(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut octets = good();
        for (at, octet) in flips {
            // Mostly in the headers.
            let at = at.index(octets.len() * 2) % octets.len();
            let at = if octet % 2 == 0 { at % 512 + 512 * ((at / 512) % 3) } else { at };
            octets[at] = octet;
        }
        let scene = Scene::new();
        let taken = scene.unpack(&octets);
        prop_assert!(scene.is_tidy(), "{:?}", taken);
    }

    #[test]
    fn rubbish_is_no_archive(octets in prop::collection::vec(any::<u8>(), 0..3_000)) {
        let scene = Scene::new();
        prop_assert!(scene.unpack(&octets).is_err());
        prop_assert!(scene.names("into").is_empty());
    }
}
