//! The small C programs, compiled when they are needed and newer than what is there.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

/// Name, compiler and flags. A `_bpf` is for the kernel's machine.
const ALL: &[(&str, &[&str])] = &[
    ("flood", &["-lbpf"]),
    ("flood_bpf", &[]),
    ("paced", &[]),
    ("peek", &[]),
    ("loop_packet", &[]),
    ("loop_udp", &[]),
    ("loop_gso", &[]),
    ("loop_xsk", &["-lxdp", "-lbpf"]),
    ("hop_bpf", &[]),
    ("attach", &["-lbpf"]),
];

/// Compiled instruments.
pub(crate) struct Instruments {
    folder: PathBuf,
}

impl Instruments {
    /// Compiles what is older than its source into `folder`.
    pub(crate) fn compile(folder: &Path) -> Result<Self> {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instruments");
        std::fs::create_dir_all(folder)?;
        let newest = newest(&sources)?;
        for (name, libraries) in ALL {
            let (source, target) = (sources.join(format!("{name}.c")), folder.join(name));
            if modified(&target).is_some_and(|made| made > newest) {
                continue;
            }
            let mut command = if name.ends_with("_bpf") {
                let mut command = Command::new("clang");
                command.args(["-O2", "-g", "-target", "bpf", "-c"]);
                // Where Debian keeps <asm/types.h>, which no other target looks for.
                command.arg(format!(
                    "-I/usr/include/{}-linux-gnu",
                    std::env::consts::ARCH
                ));
                command
            } else {
                let mut command = Command::new("cc");
                command.args(["-O2", "-march=native", "-Wall", "-Wextra"]);
                command
            };
            command.arg("-o").arg(&target).arg(&source).args(*libraries);
            let output = command.output().with_context(|| {
                format!("compile {name}: {command:?} (tests/setup.sh bench installs compilers)")
            })?;
            if !output.status.success() {
                bail!(
                    "compile {name} (tests/setup.sh bench installs libraries): {}",
                    String::from_utf8_lossy(&output.stderr).trim()
                );
            }
        }
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Where a compiled one is.
    pub(crate) fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        anyhow::ensure!(path.is_file(), "no instrument {name}");
        Ok(path)
    }
}

fn newest(folder: &Path) -> Result<SystemTime> {
    let files = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let times = files.flatten().filter_map(|file| modified(&file.path()));
    Ok(times.max().unwrap_or(SystemTime::UNIX_EPOCH))
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
