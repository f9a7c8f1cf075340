//! Capabilities that agent and forwarder need, and those they have.

use super::{Process, Runner};
use kc_agent_api::Finding;

/// By their bit (linux/capability.h), and what they are for.
const NEEDED: [(u32, &str, &str); 3] = [
    (12, "CAP_NET_ADMIN", "interfaces"),
    (13, "CAP_NET_RAW", "packet sockets"),
    (21, "CAP_SYS_ADMIN", "network namespaces"),
];

/// Users are told as real, effective, saved, of the file system.
const EFFECTIVE: usize = 1;

/// Judges one process by its `/proc/<pid>/status`.
pub(super) fn capabilities(process: &Process) -> Finding {
    let (check, whom) = match process.runner {
        Runner::Agent => ("capabilities kc-agent", "kc-agent"),
        Runner::Forwarder => ("capabilities kc-forwarder", "kc-forwarder"),
        Runner::Asker => ("capabilities", "this command"),
    };
    let status = process.status.as_deref();
    let effective =
        status.and_then(|text| u64::from_str_radix(field(text, "CapEff:", 0)?, 16).ok());
    let Some(effective) = effective else {
        let found = format!("those of {whom} cannot be read");
        return Finding::unknown(check, found, "run it as root: sudo kc-agent doctor");
    };
    // The forwarder is put into no namespace.
    let needed = NEEDED
        .iter()
        .filter(|(bit, ..)| *bit != 21 || process.runner != Runner::Forwarder);
    let missing = needed.filter(|(bit, ..)| effective >> bit & 1 == 0);
    let missing: Vec<_> = missing
        .map(|(_, name, purpose)| format!("{name} ({purpose})"))
        .collect();
    if missing.is_empty() {
        return Finding::ok(check, "all that are needed");
    }
    let root = status.and_then(|text| field(text, "Uid:", EFFECTIVE)) == Some("0");
    let found = format!("{whom} has no {}", missing.join(", "));
    if process.runner == Runner::Asker && !root {
        let found = format!("{found}; it runs as no root, and no agent runs to look at");
        return Finding::unknown(check, found, "run it as root: sudo kc-agent doctor");
    }
    let fix = if root {
        "root here is restricted: in a unit extend CapabilityBoundingSet, in a container use --privileged"
    } else {
        "run it as root, or give its unit AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW CAP_SYS_ADMIN"
    };
    Finding::problem(check, found, fix)
}

/// A word of the line that begins with `name`.
fn field<'a>(status: &'a str, name: &str, place: usize) -> Option<&'a str> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    fn of(runner: Runner, uid: u32, effective: u64) -> Finding {
        capabilities(&Process {
            runner,
            status: Some(format!(
                "Name:\tkc-agent\nUid:\t{uid}\t{uid}\t{uid}\t{uid}\nCapInh:\t0000000000000000\n\
                 CapPrm:\t{effective:016x}\nCapEff:\t{effective:016x}\n"
            )),
        })
    }

    /// Root on a Pi 4 with Linux 6.6.
    const ALL: u64 = 0x1ff_ffff_ffff;
    /// Root in a container without --privileged.
    const DOCKER: u64 = 0xa804_25fb;

    #[test]
    fn root_has_all_and_a_restricted_root_is_told_what_it_lacks() {
        assert_eq!(of(Runner::Agent, 0, ALL).severity, Severity::Ok);
        let finding = of(Runner::Agent, 0, DOCKER);
        assert_eq!(finding.severity, Severity::Problem);
        assert!(
            finding
                .found
                .contains("CAP_NET_ADMIN (interfaces), CAP_SYS_ADMIN"),
            "{}",
            finding.found
        );
        assert!(!finding.found.contains("CAP_NET_RAW"), "{}", finding.found);
    }

    #[test]
    fn an_unprivileged_asker_says_nothing_of_the_agent() {
        assert_eq!(of(Runner::Asker, 1000, 0).severity, Severity::Unknown);
        assert_eq!(of(Runner::Agent, 1000, 0).severity, Severity::Problem);
    }

    #[test]
    fn a_forwarder_needs_fewer() {
        assert_eq!(
            of(Runner::Forwarder, 990, 1 << 12 | 1 << 13).severity,
            Severity::Ok
        );
        let hidden = Process {
            runner: Runner::Forwarder,
            status: None,
        };
        assert_eq!(capabilities(&hidden).severity, Severity::Unknown);
    }
}
