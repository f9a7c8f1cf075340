//! What a playground could leave behind, looked at from outside.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Everything on this machine that a playground makes or could make: one line a thing.
pub fn look() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for name in names("/run/netns") {
        if name.starts_with("kcpg-") {
            found.insert(format!("namespace {name}"));
        }
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    found.extend(
        points
            .filter(|point| point.contains("kcluster") || *point == "/run/netns")
            .map(|point| format!("mount {point}")),
    );
    for directory in [
        "/run/kcluster-playground",
        "/var/tmp/kcluster-playground",
        "/run/containerd",
        "/run/docker",
        "/run/netns",
        "/opt/containerd",
        "/var/lib/docker",
        "/var/lib/containerd",
        "/etc/docker/key.json",
    ] {
        if Path::new(directory).exists() {
            found.insert(format!("path {directory}"));
        }
    }
    found.extend(
        names("/run/containerd/s")
            .iter()
            .map(|name| format!("shim socket {name}")),
    );
    found.extend(
        names("/sys/class/net")
            .iter()
            .map(|name| format!("interface {name}")),
    );
    processes(&mut found);
    cgroups(Path::new("/sys/fs/cgroup"), 4, &mut found);
    found
}

fn names(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect()
}

fn processes(found: &mut BTreeSet<String>) {
    for pid in names("/proc")
        .iter()
        .filter_map(|name| name.parse::<i32>().ok())
    {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let text = String::from_utf8_lossy(&command).replace('\0', " ");
        let tagged = String::from_utf8_lossy(&environment).contains("KCLUSTER_PLAYGROUND=");
        if tagged || text.contains("kcluster-playground") {
            found.insert(format!("process {pid} {text}"));
        }
    }
}

fn cgroups(directory: &Path, depth: u8, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if entry.file_name().to_string_lossy().starts_with("kcpg-") {
            found.insert(format!("cgroup {}", entry.path().display()));
        } else if depth > 0 {
            cgroups(&entry.path(), depth - 1, found);
        }
    }
}
