//! Archives and who signs them; programs that are no good agents.

use crate::support::run;
use minisign::KeyPair;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tar::{Builder, Header};

/// Whoever may update the boxes of these tests, or may not.
pub(crate) struct Signer(KeyPair);

impl Signer {
    pub(crate) fn new() -> Self {
        Self(KeyPair::generate_unencrypted_keypair().unwrap())
    }

    pub(crate) fn public_key(&self) -> String {
        self.0.pk.to_box().unwrap().into_string()
    }

    pub(crate) fn sign(&self, octets: &[u8]) -> String {
        let signed = minisign::sign(Some(&self.0.pk), &self.0.sk, octets, None, None);
        signed.unwrap().into_string()
    }
}

fn entry(tar: &mut Builder<Vec<u8>>, name: &str, octets: &[u8]) {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.set_size(octets.len() as u64);
    header.set_mode(0o755);
    header.set_cksum();
    tar.append(&header, octets).unwrap();
}

/// An archive of these programs.
pub(crate) fn archive(version: &str, arch: &str, programs: &[(&str, &[u8])]) -> Vec<u8> {
    let manifest = format!(r#"{{"format":1,"version":"{version}","arch":"{arch}"}}"#);
    let mut tar = Builder::new(Vec::new());
    entry(&mut tar, "manifest.json", manifest.as_bytes());
    for (name, octets) in programs {
        entry(&mut tar, name, octets);
    }
    tar.into_inner().unwrap()
}

/// An archive for this box.
pub(crate) fn version(version: &str, agent: &[u8]) -> Vec<u8> {
    archive(version, std::env::consts::ARCH, &[("kc-agent", agent)])
}

/// The real agent, without what only a debugger wants.
pub(crate) fn real() -> &'static [u8] {
    static STRIPPED: OnceLock<Vec<u8>> = OnceLock::new();
    STRIPPED.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kc-agent");
        let whole = env!("CARGO_BIN_EXE_kc-agent");
        run("strip", &["-o", path.to_str().unwrap(), whole]);
        fs::read(&path).unwrap()
    })
}

/// A program of one's own making.
pub(crate) fn compiled(dir: &Path, body: &str) -> Vec<u8> {
    let (source, program): (PathBuf, PathBuf) = (dir.join("bad.c"), dir.join("bad"));
    let text = format!(
        "#include <signal.h>\n#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n\
         int main(int argc, char **argv) {{ signal(SIGTERM, SIG_IGN); signal(SIGPIPE, SIG_IGN); {body} }}\n"
    );
    fs::write(&source, text).unwrap();
    let (source, program) = (source.to_str().unwrap(), program.to_str().unwrap());
    run("cc", &["-O1", "-w", "-o", program, source]);
    fs::read(program).unwrap()
}
