//! Programs in namespaces: run to their end, or beside the bench and ended with it.

use crate::interrupt;
use anyhow::{Context, Result, bail};
use kc_tests::lab::{Namespace, Process};
use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Runs a command line, which must succeed, and returns what it printed.
pub(crate) fn run(namespace: &Namespace, line: &str) -> Result<String> {
    let output = namespace.output(line);
    let told = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        bail!("{line}: {}", told.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a script of a shell that sees the namespace's own /sys.
pub(crate) fn script(namespace: &Namespace, text: &str) -> Result<()> {
    let mut command = namespace.command("unshare");
    command.args(["--mount", "sh", "-ec"]);
    command.arg(format!("mount -t sysfs none /sys\n{text}"));
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{text}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// `program` on the CPUs of `cores` in `namespace`, before all else that wants them; the kernel ends
/// it with the bench.
pub(crate) fn pinned(namespace: &Namespace, cores: &[usize], program: &str) -> Command {
    let cores: Vec<String> = cores.iter().map(usize::to_string).collect();
    let mut command = namespace.command("setpriv");
    command.args(["--pdeathsig", "KILL", "nice", "-n", "-20"]);
    command.args(["taskset", "--cpu-list", &cores.join(","), program]);
    command
}

/// Starts `command` with what it prints in the file `log`.
pub(crate) fn start(mut command: Command, log: &Path) -> Result<Process> {
    let file = File::create(log).with_context(|| log.display().to_string())?;
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    Ok(Process { child })
}

/// Waits until `ready`; fails with the last line of `log` when the process ends before.
pub(crate) fn until(
    process: &mut Process,
    log: &Path,
    what: &str,
    mut ready: impl FnMut() -> bool,
) -> Result<()> {
    let begin = Instant::now();
    while !ready() {
        if process.ended() {
            bail!("{}", last_line(log));
        }
        if begin.elapsed() > Duration::from_secs(10) {
            bail!("{what}: not within 10 s; {}", last_line(log));
        }
        interrupt::sleep(Duration::from_millis(10))?;
    }
    Ok(())
}

/// What a program said last.
pub(crate) fn last_line(log: &Path) -> String {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let last = text.lines().rfind(|line| !line.trim().is_empty());
    last.unwrap_or("ended without a word").trim().to_owned()
}

/// Whether a program is installed.
pub(crate) fn installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let beside = ["/usr/local/sbin", "/usr/sbin", "/sbin"].map(std::path::PathBuf::from);
    std::env::split_paths(&path)
        .chain(beside)
        .any(|folder| folder.join(program).is_file())
}
