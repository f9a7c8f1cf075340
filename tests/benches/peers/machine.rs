//! Where this is: what a run's first line says.

use anyhow::{Context, Result, bail};
use kc_tests::bench::record::Run;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The target directory that the bench was built into.
pub(crate) fn target() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let target = own
        .ancestors()
        .nth(3)
        .context("the bench is in no target directory")?;
    Ok(target.to_owned())
}

/// Builds `kc-forwarder` as `cargo bench` builds, as the user who may have called `sudo`, and tells
/// where it is. Without cargo around, what is there is taken.
pub(crate) fn forwarder() -> Result<PathBuf> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut command = Command::new(cargo);
        command.args([
            "build",
            "--release",
            "--package",
            "kc-forwarder",
            "--bin",
            "kc-forwarder",
        ]);
        let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
        if let (Some(user), Some(group)) = (id("SUDO_UID"), id("SUDO_GID")) {
            command.uid(user).gid(group);
        }
        if !command.status()?.success() {
            bail!("kc-forwarder does not build");
        }
    }
    kc_tests::programs::find("kc-forwarder").context("run: cargo build --release -p kc-forwarder")
}

/// Gives what was made below `path` to the user who called `sudo`.
pub(crate) fn give_back(path: &Path) {
    let id = |name: &str| std::env::var(name).ok()?.parse::<u32>().ok();
    if id("SUDO_UID").is_none() {
        return;
    }
    // A file that stays root's is no harm.
    let _ = std::os::unix::fs::chown(path, id("SUDO_UID"), id("SUDO_GID"));
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        give_back(&entry.path());
    }
}

/// What a run's first line says.
pub(crate) fn describe(forwarder: &Path) -> Run {
    let processors = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = processors.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == "model name").then(|| value.trim().to_owned())
    });
    Run {
        began: told("date", &["-u", "+%Y-%m-%d %H:%M"]),
        kernel: told("uname", &["-r"]),
        processor: model.unwrap_or_else(|| "unknown".to_owned()),
        processors: std::thread::available_parallelism().map_or(0, usize::from),
        forwarder: told(&forwarder.to_string_lossy(), &["--version"]),
        open_vswitch: told("ovs-vswitchd", &["--version"]),
        command: std::env::args().skip(1).collect::<Vec<_>>().join(" "),
    }
}

/// The first line that a program prints; nothing, where it is not there.
fn told(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().trim().to_owned()
}
