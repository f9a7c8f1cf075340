//! Whether containers' memory can be counted and limited. A Pi's firmware has it off by default.

use super::Machine;
use kc_agent_api::Finding;

const CHECK: &str = "memory-cgroup";

/// Looks for the memory controller.
pub(super) fn cgroup(machine: &Machine) -> Finding {
    let listed = |text: &String| text.split_whitespace().any(|word| word == "memory");
    if machine.controllers.as_ref().is_some_and(listed) {
        return Finding::ok(CHECK, "on, cgroup v2");
    }
    // A kernel that shows v2 without memory may have it in v1 still.
    match machine.cgroups.as_deref().map(enabled) {
        Some(Some(true)) => Finding::ok(CHECK, "on, cgroup v1"),
        None if machine.controllers.is_none() => Finding::unknown(
            CHECK,
            "neither /sys/fs/cgroup/cgroup.controllers nor /proc/cgroups can be read",
            "mount -t cgroup2 none /sys/fs/cgroup",
        ),
        _ => Finding::problem(
            CHECK,
            "off: limits and loads of containers are not in force",
            fix(machine.model.as_deref()),
        ),
    }
}

/// Reads `/proc/cgroups`: whether memory is on and mounted; `None` where there is no such line.
fn enabled(cgroups: &str) -> Option<bool> {
    let line = cgroups.lines().find(|line| line.starts_with("memory\t"))?;
    // subsys_name hierarchy num_cgroups enabled; hierarchy 0 is v2, or none.
    let mut columns = line.split_whitespace().skip(1);
    let mounted = columns.next()? != "0";
    Some(mounted && columns.nth(1)? == "1")
}

fn fix(model: Option<&str>) -> &'static str {
    match model {
        Some(model) if model.starts_with("Raspberry Pi") => {
            "append cgroup_enable=memory cgroup_memory=1 to the line in /boot/firmware/cmdline.txt (/boot/cmdline.txt before Debian 12), and reboot"
        }
        _ => {
            "append cgroup_enable=memory to GRUB_CMDLINE_LINUX in /etc/default/grub, update-grub, and reboot"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    /// Raspberry Pi OS 11 on a Pi 3, as it comes.
    const PI_3: &str = "#subsys_name\thierarchy\tnum_cgroups\tenabled\n\
        cpuset\t9\t1\t1\ncpu\t6\t67\t1\ncpuacct\t6\t67\t1\nblkio\t8\t67\t1\nmemory\t0\t85\t0\n\
        devices\t3\t67\t1\nfreezer\t4\t1\t1\nnet_cls\t2\t1\t1\nperf_event\t5\t1\t1\n\
        net_prio\t2\t1\t1\npids\t7\t73\t1\n";

    fn machine(model: &str, controllers: Option<&str>, cgroups: Option<&str>) -> Machine {
        Machine {
            model: Some(model.to_owned()),
            controllers: controllers.map(str::to_owned),
            cgroups: cgroups.map(str::to_owned),
            ..Machine::default()
        }
    }

    #[test]
    fn a_pi_as_it_comes_has_no_memory_controller() {
        let pi3 = machine("Raspberry Pi 3 Model B Rev 1.2", None, Some(PI_3));
        let pi4 = machine(
            "Raspberry Pi 4 Model B Rev 1.4",
            Some("cpuset cpu io pids\n"),
            Some(PI_3),
        );
        for pi in [pi3, pi4] {
            let finding = cgroup(&pi);
            assert_eq!(finding.severity, Severity::Problem, "{finding:?}");
            assert!(
                finding
                    .fix
                    .unwrap()
                    .contains("cgroup_enable=memory cgroup_memory=1")
            );
        }
    }

    #[test]
    fn with_the_controller_on_nothing_is_wrong() {
        let pi = machine(
            "Raspberry Pi 5 Model B Rev 1.0",
            Some("cpuset cpu io memory pids\n"),
            None,
        );
        assert_eq!(cgroup(&pi), Finding::ok(CHECK, "on, cgroup v2"));
        let on = PI_3.replace("memory\t0\t85\t0", "memory\t5\t85\t1");
        let pi = machine("Raspberry Pi 3 Model B Rev 1.2", None, Some(&on));
        assert_eq!(cgroup(&pi), Finding::ok(CHECK, "on, cgroup v1"));
    }

    #[test]
    fn a_pc_is_told_of_grub_and_an_unreadable_box_is_unknown() {
        let mut pc = machine("", Some("cpuset cpu io pids\n"), None);
        pc.model = None;
        assert!(cgroup(&pc).fix.unwrap().contains("GRUB"));
        assert_eq!(cgroup(&Machine::default()).severity, Severity::Unknown);
    }
}
