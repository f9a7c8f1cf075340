//! Where a container's control group is, and what its files say; both cgroup versions. Pure.

use procfs::prelude::FromBufRead;
use procfs::process::{MountInfo, MountInfos};
use procfs::{ProcessCGroup, ProcessCGroups};
use std::path::{Path, PathBuf};

/// The files that tell one container's load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Files {
    /// CPU time used: `cpu.stat` or `cpuacct.usage`.
    pub cpu: PathBuf,
    /// Memory used, page cache included.
    pub memory: PathBuf,
    /// What that memory is made of.
    pub memory_stat: PathBuf,
}

/// Finds the files from the container's `/proc/<pid>/cgroup` and our own `/proc/self/mountinfo`.
///
/// A controller that is mounted the old way is found there, otherwise in the unified hierarchy:
/// systems of both kinds, and mixtures, are in use. `None` when it is in neither.
pub fn files(cgroup: &str, mountinfo: &str) -> Option<Files> {
    let groups = ProcessCGroups::from_buf_read(cgroup.as_bytes()).ok()?;
    let mounts = MountInfos::from_buf_read(mountinfo.as_bytes()).ok()?;
    let old = |controller: &str| {
        let group = groups
            .0
            .iter()
            .find(|g| g.controllers.iter().any(|c| c == controller))?;
        let mount = mounts
            .0
            .iter()
            .find(|m| m.fs_type == "cgroup" && m.super_options.contains_key(controller))?;
        inside(mount, group)
    };
    let unified = || {
        let group = groups.0.iter().find(|g| g.hierarchy == 0)?;
        let mount = mounts.0.iter().find(|m| m.fs_type == "cgroup2")?;
        inside(mount, group)
    };
    let cpu = match old("cpuacct") {
        Some(directory) => directory.join("cpuacct.usage"),
        None => unified()?.join("cpu.stat"),
    };
    let (memory, memory_stat) = match old("memory") {
        Some(directory) => (
            directory.join("memory.usage_in_bytes"),
            directory.join("memory.stat"),
        ),
        None => {
            let directory = unified()?;
            (
                directory.join("memory.current"),
                directory.join("memory.stat"),
            )
        }
    };
    Some(Files {
        cpu,
        memory,
        memory_stat,
    })
}

/// The group's directory below a mount that may show only part of the hierarchy.
fn inside(mount: &MountInfo, group: &ProcessCGroup) -> Option<PathBuf> {
    let below = Path::new(&group.pathname).strip_prefix(&mount.root).ok()?;
    Some(mount.mount_point.join(below))
}

/// Reads CPU time in nanoseconds: all of `cpuacct.usage`, or `usage_usec` of `cpu.stat`.
pub fn cpu_ns(text: &str) -> Option<u64> {
    if let Ok(nanoseconds) = text.trim().parse() {
        return Some(nanoseconds);
    }
    field(text, "usage_usec")?.checked_mul(1000)
}

/// Memory used in bytes without page cache that can be had back at once: `usage` is
/// `memory.current` or `memory.usage_in_bytes`, `stat` is `memory.stat`.
pub fn memory_bytes(usage: &str, stat: &str) -> Option<u64> {
    let usage: u64 = usage.trim().parse().ok()?;
    // The old files count the group alone and the whole subtree apart; usage is the subtree's.
    let inactive = field(stat, "total_inactive_file").or_else(|| field(stat, "inactive_file"));
    Some(usage.saturating_sub(inactive.unwrap_or(0)))
}

/// The number behind `name` in a file of `name number` lines.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    const HYBRID_MOUNTS: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
33 31 0:30 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
";
    const HYBRID_GROUP: &str = "\
9:name=systemd:/docker/4f1c
4:memory:/docker/4f1c
2:cpu,cpuacct:/docker/4f1c
0::/
";
    const UNIFIED_MOUNTS: &str = "\
24 1 179:2 / / rw,noatime shared:1 - ext4 /dev/root rw
30 23 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate
";

    #[test]
    fn a_mixed_system_is_read_the_old_way_where_the_controller_is() {
        let files = files(HYBRID_GROUP, HYBRID_MOUNTS).unwrap();
        assert_eq!(
            files,
            Files {
                cpu: "/sys/fs/cgroup/cpu,cpuacct/docker/4f1c/cpuacct.usage".into(),
                memory: "/sys/fs/cgroup/memory/docker/4f1c/memory.usage_in_bytes".into(),
                memory_stat: "/sys/fs/cgroup/memory/docker/4f1c/memory.stat".into(),
            }
        );
    }

    #[test]
    fn a_unified_system_has_all_in_one_directory() {
        let group = "0::/system.slice/docker-4f1c.scope\n";
        let files = files(group, UNIFIED_MOUNTS).unwrap();
        let directory = Path::new("/sys/fs/cgroup/system.slice/docker-4f1c.scope");
        assert_eq!(files.cpu, directory.join("cpu.stat"));
        assert_eq!(files.memory, directory.join("memory.current"));
        assert_eq!(files.memory_stat, directory.join("memory.stat"));
    }

    #[test]
    fn a_mount_that_shows_a_part_is_searched_below_that_part() {
        let mounts = "30 23 0:26 /box1 /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n";
        let found = files("0::/box1/4f1c\n", mounts).unwrap();
        assert_eq!(found.cpu, Path::new("/sys/fs/cgroup/4f1c/cpu.stat"));
        assert_eq!(files("0::/box2/4f1c\n", mounts), None);
    }

    #[test]
    fn nonsense_finds_nothing() {
        assert_eq!(files("", UNIFIED_MOUNTS), None);
        assert_eq!(files("0::/\n", ""), None);
        assert_eq!(files("what", "ever"), None);
    }

    #[test]
    fn cpu_time_is_nanoseconds_in_both_versions() {
        assert_eq!(cpu_ns("8250012345\n"), Some(8_250_012_345));
        let stat = "usage_usec 8250012\nuser_usec 6000000\nsystem_usec 2250012\n";
        assert_eq!(cpu_ns(stat), Some(8_250_012_000));
        assert_eq!(cpu_ns("user_usec 1\n"), None);
        assert_eq!(cpu_ns("usage_usec 18446744073709551615\n"), None);
    }

    #[test]
    fn page_cache_that_is_not_used_is_not_memory_in_use() {
        let new = "anon 4000\nfile 6000\ninactive_file 5000\nactive_file 1000\n";
        assert_eq!(memory_bytes("10000\n", new), Some(5000));
        let old = "cache 6000\ninactive_file 1\ntotal_inactive_file 2500\n";
        assert_eq!(memory_bytes("10000\n", old), Some(7500));
        assert_eq!(memory_bytes("10000\n", ""), Some(10_000));
        assert_eq!(memory_bytes("1\n", new), Some(0));
        assert_eq!(memory_bytes("max\n", new), None);
    }
}
