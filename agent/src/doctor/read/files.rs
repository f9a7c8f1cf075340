//! What the kernel tells in files below `/proc` and `/sys`.

use crate::doctor::{Card, Disk, Machine};
use crate::load::{self, get_throttled};
use std::fs;
use std::path::{Path, PathBuf};

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Files {
    pub(super) machine: Machine,
    pub(super) rtc: bool,
    pub(super) cards: Vec<Card>,
    pub(super) disks: Vec<Disk>,
    pub(super) file_system_errors: Vec<(String, u64)>,
}

impl Files {
    /// Reads what there is below `proc` and `sys`. May wait for a sick disk.
    pub(super) fn read(proc: &Path, sys: &Path, docker: &Path, ledger: &Path) -> Self {
        let uptime = text(&proc.join("uptime"));
        let uptime_s = uptime.as_deref().and_then(load::uptime_s);
        let mounts = text(&proc.join("self/mounts"));
        let disk = |what, path: &Path| Disk {
            what,
            path: path.to_owned(),
            space: load::disk(path),
            mounts: mounts.clone(),
        };
        let cards = names(&sys.join("block"))
            .into_iter()
            .filter(|name| is_card(name));
        let ext4 = sys.join("fs/ext4");
        Self {
            machine: machine(proc, sys),
            rtc: !names(&sys.join("class/rtc")).is_empty(),
            cards: cards.map(|name| card(sys, name, uptime_s)).collect(),
            disks: vec![disk("docker", docker), disk("ledger", ledger)],
            file_system_errors: names(&ext4)
                .into_iter()
                .filter_map(|device| {
                    let count = text(&ext4.join(&device).join("errors_count"))?;
                    Some((device, count.trim().parse().ok()?))
                })
                .collect(),
        }
    }
}

fn machine(proc: &Path, sys: &Path) -> Machine {
    let model = text(&proc.join("device-tree/model"));
    let hwmon = sys.join("class/hwmon");
    let chips = names(&hwmon).into_iter().map(|chip| hwmon.join(chip));
    let supply = chips
        .filter(|chip| text(&chip.join("name")).is_some_and(|name| name.trim() == "rpi_volt"))
        .find_map(|chip| text(&chip.join("in0_lcrit_alarm")));
    let count = "devices/system/cpu/cpu0/thermal_throttle/package_throttle_count";
    Machine {
        model: model.map(|model| model.trim_end_matches('\0').to_owned()),
        controllers: text(&sys.join("fs/cgroup/cgroup.controllers")),
        cgroups: text(&proc.join("cgroups")),
        get_throttled: get_throttled(sys).and_then(|path| text(&path)),
        voltage_alarm: supply,
        throttle_count: text(&sys.join(count)),
    }
}

fn card(sys: &Path, device: String, uptime_s: Option<u64>) -> Card {
    let block = sys.join("block").join(&device);
    let of_device = |leaf: &str| text(&block.join("device").join(leaf));
    Card {
        kind: of_device("type"),
        name: of_device("name"),
        life_time: of_device("life_time"),
        pre_eol_info: of_device("pre_eol_info"),
        stat: text(&block.join("stat")),
        size: text(&block.join("size")),
        uptime_s,
        device,
    }
}

/// `mmcblk0`, but not its `mmcblk0boot0`.
fn is_card(name: &str) -> bool {
    let number = name.strip_prefix("mmcblk");
    number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
}

/// The process id of a running agent other than ourselves.
pub(super) fn agent(proc: &Path) -> Option<String> {
    let own = std::process::id().to_string();
    names(proc).into_iter().find(|pid| {
        let line = || fs::read(proc.join(pid).join("cmdline")).unwrap_or_default();
        pid.bytes().all(|b| b.is_ascii_digit())
            && *pid != own
            && text(&proc.join(pid).join("comm")).is_some_and(|comm| comm == "kc-agent\n")
            && line().split(|octet| *octet == 0).nth(1) == Some(b"run")
    })
}

/// A file's whole text, if it can be had.
pub(super) fn text(path: &Path) -> Option<String> {
    fs::read_to_string(path).ok()
}

/// What is in a directory, in order.
fn names(directory: &Path) -> Vec<String> {
    let entries: Vec<PathBuf> = match fs::read_dir(directory) {
        Ok(entries) => entries
            .filter_map(|entry| Some(entry.ok()?.path()))
            .collect(),
        Err(_) => Vec::new(),
    };
    let names = entries.iter().filter_map(|path| path.file_name()?.to_str());
    let mut names: Vec<_> = names.map(str::to_owned).collect();
    names.sort();
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    #[test]
    fn a_pi_5_with_a_card_is_read() {
        let root = tempfile::tempdir().unwrap();
        let (proc, sys) = (root.path().join("proc"), root.path().join("sys"));
        write(
            &proc,
            "device-tree/model",
            "Raspberry Pi 5 Model B Rev 1.0\0",
        );
        write(&proc, "uptime", "86400.20 1.0\n");
        write(&proc, "17/comm", "kc-agent\n");
        write(
            &proc,
            "17/cmdline",
            "/usr/bin/kc-agent\0run\0--node\0pi-5\0",
        );
        write(&sys, "fs/cgroup/cgroup.controllers", "cpuset cpu io pids\n");
        let firmware = "devices/platform/soc@107c000000/soc@107c000000:firmware/get_throttled";
        write(&sys, firmware, "50000\n");
        write(&sys, "class/hwmon/hwmon2/name", "rpi_volt\n");
        write(&sys, "class/hwmon/hwmon2/in0_lcrit_alarm", "0\n");
        write(&sys, "class/rtc/rtc0/name", "rpi-rtc\n");
        write(&sys, "block/mmcblk0/device/type", "SD\n");
        write(&sys, "block/mmcblk0/stat", "1 2 3 4 5 6 7 8 9 10 11\n");
        write(&sys, "block/mmcblk0boot0/size", "1\n");
        write(&sys, "fs/ext4/mmcblk0p2/errors_count", "2\n");
        let files = Files::read(&proc, &sys, root.path(), root.path());
        let model = files.machine.model.as_deref();
        assert_eq!(model, Some("Raspberry Pi 5 Model B Rev 1.0"));
        assert_eq!(files.machine.get_throttled.as_deref(), Some("50000\n"));
        assert_eq!(files.machine.voltage_alarm.as_deref(), Some("0\n"));
        assert!(files.rtc);
        assert_eq!(files.cards.len(), 1);
        assert_eq!(files.cards[0].uptime_s, Some(86_400));
        assert_eq!(files.file_system_errors, [("mmcblk0p2".to_owned(), 2)]);
        assert!(files.disks.iter().all(|disk| disk.space.is_some()));
        assert_eq!(agent(&proc).as_deref(), Some("17"));
    }

    #[test]
    fn a_box_without_anything_reads_as_nothing() {
        let root = tempfile::tempdir().unwrap();
        let nowhere = root.path().join("x");
        let files = Files::read(&nowhere, &nowhere, &nowhere, &nowhere);
        assert!(files.cards.is_empty() && !files.rtc);
        assert_eq!(files.machine.cgroups, None);
        assert_eq!(agent(&nowhere), None);
    }
}
