//! What a playground needs of its machine, looked at before anything is made: every lack is
//! named together with the line that mends it.

use std::fs;
use std::path::{Path, PathBuf};

/// Something that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Lack {
    /// What.
    pub(super) what: String,
    /// A command that mends it.
    pub(super) fix: String,
}

/// A program and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 8] = [
    ("dockerd", "docker.io"),
    ("containerd", "containerd"),
    ("docker", "docker.io"),
    ("runc", "runc"),
    ("ip", "iproute2"),
    ("nsenter", "util-linux"),
    ("setsid", "util-linux"),
    ("tar", "tar"),
];

/// Capabilities by their bit, and what they are for.
const CAPABILITIES: [(u32, &str, &str); 3] = [
    (12, "CAP_NET_ADMIN", "interfaces"),
    (13, "CAP_NET_RAW", "packet sockets"),
    (21, "CAP_SYS_ADMIN", "namespaces and mounts"),
];

/// Everything that is missing here; `mosquitto` when that broker was asked for.
pub(super) fn lacking(mosquitto: bool) -> Vec<Lack> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let root = nix::unistd::geteuid().is_root();
    let mut lacks = rights(root, effective(&status), &super::name());
    let extra = mosquitto.then_some(("mosquitto", "mosquitto"));
    let wanted = PROGRAMS.into_iter().chain(extra);
    lacks.extend(
        wanted
            .filter(|(name, _)| find(name).is_none())
            .map(|(name, package)| Lack {
                what: format!("the program {name}"),
                fix: format!("sudo apt-get install --yes {package}"),
            }),
    );
    lacks.extend(kernel());
    lacks
}

fn rights(root: bool, effective: u64, kc: &str) -> Vec<Lack> {
    if !root {
        return vec![Lack {
            what: "root: network namespaces, mounts and Docker engines need it".into(),
            fix: format!("sudo {kc} playground up"),
        }];
    }
    let missing = CAPABILITIES
        .iter()
        .filter(|(bit, ..)| effective & (1 << bit) == 0);
    missing
        .map(|(_, name, purpose)| Lack {
            what: format!("the capability {name}, for {purpose}: root here is restricted"),
            fix: format!(
                "docker run --cap-add {} …, or run outside the container",
                &name[4..]
            ),
        })
        .collect()
}

fn kernel() -> Option<Lack> {
    let hierarchies = fs::read_dir("/sys/fs/cgroup").map_or(0, Iterator::count);
    (hierarchies == 0).then(|| Lack {
        what: "control groups: nothing is mounted at /sys/fs/cgroup".into(),
        fix: "sudo apt-get install --yes cgroupfs-mount && sudo cgroupfs-mount".into(),
    })
}

/// The effective capabilities in `/proc/<pid>/status`.
fn effective(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    line.and_then(|hex| u64::from_str_radix(hex.trim(), 16).ok())
        .unwrap_or_default()
}

/// Where a program is: on the path, or where Debian keeps those for root.
pub(super) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let more = ["/usr/sbin", "/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut all = std::env::split_paths(&path).chain(more);
    all.find_map(|directory| Some(directory.join(name)).filter(|file| executable(file)))
}

/// A program by its full path, where it can be found.
pub(super) fn program(name: &str) -> PathBuf {
    find(name).unwrap_or_else(|| name.into())
}

fn executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|facts| facts.is_file() && facts.permissions().mode() & 0o111 != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_root_that_is_all_there_is_to_say() {
        let lacks = rights(false, 0, "kc");
        assert_eq!(lacks.len(), 1);
        assert_eq!(lacks[0].fix, "sudo kc playground up");
    }

    #[test]
    fn a_restricted_root_is_told_which_capability_it_lacks() {
        assert_eq!(
            effective("Name:\tx\nCapEff:\t000001fffeffffff\n"),
            0x1ff_feff_ffff
        );
        assert!(rights(true, 0x1ff_feff_ffff, "kc").is_empty());
        let lacks = rights(true, !(1 << 21), "kc");
        assert!(lacks[0].what.contains("CAP_SYS_ADMIN"), "{lacks:?}");
    }

    #[test]
    fn programs_are_found_on_the_path() {
        assert!(find("sh").is_some());
        assert!(find("no-such-program-here").is_none());
    }
}
