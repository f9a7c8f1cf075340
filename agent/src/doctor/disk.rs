//! Room and writability where agent and engine write, and errors that file systems have counted.

use super::Disk;
use crate::load::percent;
use kc_agent_api::Finding;
use std::path::Path;

/// Shares in use, percent, from which on a disk is nearly full and full.
const NEARLY: u8 = 85;
const FULL: u8 = 95;

/// Judges one place.
pub(super) fn disk(disk: &Disk) -> Finding {
    let check = format!("disk {}", disk.what);
    let path = disk.path.display();
    if disk
        .mounts
        .as_deref()
        .is_some_and(|mounts| read_only(mounts, &disk.path))
    {
        return Finding::problem(
            check,
            format!("{path} is on a file system that is mounted read-only"),
            "dmesg tells why; after errors fsck it or replace the card, else mount -o remount,rw",
        );
    }
    let Some((used, total)) = disk.space.filter(|(_, total)| *total > 0) else {
        let found = format!("{path} cannot be looked at");
        return Finding::unknown(check, found, "run it as root: sudo kc-agent doctor");
    };
    let percent = percent((used, total));
    let free = bytes(total.saturating_sub(used));
    let found = format!("{path}: {percent} % used, {free} free of {}", bytes(total));
    let fix = "docker system prune --all, journalctl --vacuum-size=50M, or a larger disk";
    match percent {
        FULL.. => Finding::problem(check, found, fix),
        NEARLY.. => Finding::warning(check, found, fix),
        _ => Finding::ok(check, found),
    }
}

/// Judges what ext4 file systems have counted; nothing where there are none.
pub(super) fn errors(counted: &[(String, u64)]) -> Option<Finding> {
    let check = "file-systems";
    let bad = counted.iter().filter(|(_, count)| *count > 0);
    let bad: Vec<_> = bad
        .map(|(device, count)| format!("{device} has counted {count} errors"))
        .collect();
    match (counted.is_empty(), bad.is_empty()) {
        (true, _) => None,
        (_, true) => Some(Finding::ok(check, "no errors counted")),
        (_, false) => {
            let fix = "add fsck.mode=force to the kernel's command line and reboot; if they come back, replace the disk";
            Some(Finding::problem(check, bad.join(", "), fix))
        }
    }
}

/// Whether the file system under `path` is mounted read-only, by `/proc/self/mounts`.
fn read_only(mounts: &str, path: &Path) -> bool {
    let mut longest = (0, false);
    for line in mounts.lines() {
        let mut columns = line.split(' ').skip(1);
        let (Some(point), Some(options)) = (columns.next(), columns.nth(1)) else {
            continue;
        };
        // The kernel writes blanks as octal.
        let point = point.replace("\\040", " ");
        // Later mounts cover earlier ones.
        if path.starts_with(&point) && point.len() >= longest.0 {
            longest = (point.len(), options.split(',').any(|option| option == "ro"));
        }
    }
    longest.1
}

/// Bytes in binary units.
pub(super) fn bytes(count: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < units.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!(
        "{value:.1} {}",
        units.get(unit).copied().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    /// A Pi 4, Debian 12.
    const MOUNTS: &str = "\
/dev/mmcblk0p2 / ext4 rw,noatime 0 0
devtmpfs /dev devtmpfs rw,relatime,size=1800252k 0 0
proc /proc proc rw,relatime 0 0
/dev/mmcblk0p1 /boot/firmware vfat rw,relatime,errors=remount-ro 0 0
/dev/sda1 /var/lib/docker ext4 ro,relatime 0 0
/dev/sdb1 /srv/my\\040disk ext4 ro,relatime 0 0
";

    fn of(path: &str, percent: u64) -> Finding {
        disk(&Disk {
            what: "docker",
            path: path.into(),
            space: Some((percent << 30, 100 << 30)),
            mounts: Some(MOUNTS.into()),
        })
    }

    #[test]
    fn a_full_disk_is_a_problem_before_it_is_full() {
        let fine = of("/var/lib/kcluster", 84);
        assert_eq!(fine.severity, Severity::Ok);
        assert_eq!(
            fine.found,
            "/var/lib/kcluster: 84 % used, 16.0 GiB free of 100.0 GiB"
        );
        assert_eq!(of("/", 85).severity, Severity::Warning);
        assert_eq!(of("/", 95).severity, Severity::Problem);
    }

    #[test]
    fn a_file_system_that_went_read_only_is_found_under_its_own_mount_only() {
        let finding = of("/var/lib/docker", 10);
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.found.contains("read-only"), "{}", finding.found);
        assert_eq!(of("/var/lib/docker-two", 10).severity, Severity::Ok);
        assert_eq!(of("/srv/my disk/docker", 10).severity, Severity::Problem);
        let root = MOUNTS.replace("ext4 rw,noatime", "ext4 ro,noatime");
        assert!(read_only(&root, Path::new("/var/lib/kcluster")));
    }

    #[test]
    fn counted_errors_are_told_with_their_device() {
        assert_eq!(errors(&[]), None);
        let clean = [("mmcblk0p2".to_owned(), 0)];
        assert_eq!(errors(&clean).unwrap().severity, Severity::Ok);
        let sick = [("mmcblk0p2".to_owned(), 3), ("sda1".to_owned(), 0)];
        let finding = errors(&sick).unwrap();
        assert_eq!(finding.found, "mmcblk0p2 has counted 3 errors");
        assert_eq!(finding.severity, Severity::Problem);
    }

    #[test]
    fn what_cannot_be_looked_at_is_unknown() {
        let nowhere = Disk {
            what: "ledger",
            path: "/x".into(),
            space: None,
            mounts: None,
        };
        assert_eq!(disk(&nowhere).severity, Severity::Unknown);
    }
}
