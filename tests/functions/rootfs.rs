//! Debian's Suricata, in a root directory of its own: Debian 12 has none, so it comes from Debian
//! 13 whatever this machine runs. Made once, from the mirror that this machine's apt uses.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

const SUITE: &str = "trixie";

/// The root directory, made if it is not there yet; nobody writes into it afterwards.
pub(crate) fn suricata() -> PathBuf {
    let cache = cache();
    let root = cache.join(format!("{SUITE}-suricata"));
    // One test makes it, the others wait.
    let lock = File::create(cache.join("lock")).unwrap();
    lock.lock().unwrap();
    if !root.is_dir() {
        let part = cache.join(format!("{SUITE}-suricata.part"));
        if part.is_dir() {
            fs::remove_dir_all(&part).unwrap();
        }
        let begin = Instant::now();
        bootstrap(&part);
        fs::rename(&part, &root).unwrap();
        println!("{} made in {:?}", root.display(), begin.elapsed());
    }
    root
}

/// Where it is kept: with the machine's caches, or with what was compiled where that is not ours.
fn cache() -> PathBuf {
    let system = Path::new("/var/cache/kcluster-tests");
    if fs::create_dir_all(system).is_ok() && File::create(system.join("lock")).is_ok() {
        return system.to_owned();
    }
    let own = std::env::current_exe().unwrap();
    let target = own.ancestors().nth(3).unwrap().join("kcluster-tests");
    fs::create_dir_all(&target).unwrap();
    target
}

fn bootstrap(root: &Path) {
    let mut command = Command::new("mmdebstrap");
    command.args(["--quiet", "--variant=minbase", "--include=suricata", SUITE]);
    // What signs it, where this machine's apt does not trust it yet.
    command.arg("--keyring=/usr/share/keyrings");
    command.arg(root).arg(mirror());
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "mmdebstrap: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Debian's archive as this machine's apt knows it.
fn mirror() -> String {
    let query = ["indextargets", "--format", "$(REPO_URI)"];
    let filter = ["Origin: Debian", "Label: Debian", "Created-By: Packages"];
    let output = Command::new("apt-get").args(query).args(filter).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    let first = text.unwrap_or_default().lines().next().map(str::to_owned);
    first.unwrap_or_else(|| "http://deb.debian.org/debian".into())
}
