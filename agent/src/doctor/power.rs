//! Under-voltage, and a clock that is held back. A Pi's firmware tells of both, an Intel box of
//! the second; others tell nothing, and nothing is said of them.

use super::Machine;
use crate::load::firmware_flags;
use kc_agent_api::Finding;

/// What the Pi's firmware flags say; the same bits 16 higher are of any time since boot.
const UNDER_VOLTAGE: u32 = 1;
const CAPPED: u32 = 1 << 1;
const THROTTLED: u32 = 1 << 2;
const HOT: u32 = 1 << 3;

const SUPPLY: &str = "use the supply made for this Pi (5.1 V; 3 A for a Pi 4, 5 A for a Pi 5) and a short, thick cable";
const COOLER: &str = "clean or fit heatsink and fan, and let air to it";

fn flags(machine: &Machine) -> Option<u32> {
    machine.get_throttled.as_deref().and_then(firmware_flags)
}

fn is_pi(machine: &Machine) -> bool {
    let model = machine.model.as_deref();
    model.is_some_and(|model| model.starts_with("Raspberry Pi"))
}

/// Judges the supply.
pub(super) fn power(machine: &Machine) -> Option<Finding> {
    let check = "power";
    let alarm = || machine.voltage_alarm.as_deref().map(str::trim);
    match (flags(machine), alarm()) {
        (Some(flags), _) if flags & UNDER_VOLTAGE != 0 => {
            Some(Finding::problem(check, "under-voltage now", SUPPLY))
        }
        (Some(flags), _) if flags >> 16 & UNDER_VOLTAGE != 0 => {
            Some(Finding::warning(check, "under-voltage since boot", SUPPLY))
        }
        (Some(_), _) => Some(Finding::ok(check, "no under-voltage since boot")),
        (None, Some("0")) => Some(Finding::ok(check, "no under-voltage")),
        (None, Some(_)) => Some(Finding::problem(check, "under-voltage", SUPPLY)),
        (None, None) => is_pi(machine).then(|| {
            let found = "this kernel tells nothing of the supply";
            let fix = "modprobe raspberrypi-hwmon, or use the kernel of Raspberry Pi OS";
            Finding::unknown(check, found, fix)
        }),
    }
}

/// Judges whether the clock is held back.
pub(super) fn throttling(machine: &Machine) -> Option<Finding> {
    let check = "throttling";
    if let Some(flags) = flags(machine) {
        let all = CAPPED | THROTTLED | HOT;
        let (bits, when) = match flags & all {
            0 => (flags >> 16 & all, "since boot"),
            now => (now, "now"),
        };
        if bits == 0 {
            return Some(Finding::ok(check, "full speed since boot"));
        }
        let words = [
            (CAPPED, "capped"),
            (THROTTLED, "throttled"),
            (HOT, "at its soft temperature limit"),
        ];
        let words = words.iter().filter(|(bit, _)| bits & bit != 0);
        let words: Vec<_> = words.map(|(_, word)| *word).collect();
        let starved = (flags | flags >> 16) & UNDER_VOLTAGE != 0 && bits & HOT == 0;
        let fix = if starved { SUPPLY } else { COOLER };
        let found = format!("the clock {when}: {}", words.join(", "));
        return Some(Finding::warning(check, found, fix));
    }
    let count: u64 = machine.throttle_count.as_deref()?.trim().parse().ok()?;
    Some(match count {
        0 => Finding::ok(check, "full speed since boot"),
        _ => {
            let found = format!("held back by heat {count} times since boot");
            Finding::warning(check, found, COOLER)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    fn pi(get_throttled: &str) -> Machine {
        Machine {
            model: Some("Raspberry Pi 4 Model B Rev 1.4".into()),
            get_throttled: Some(get_throttled.into()),
            ..Machine::default()
        }
    }

    #[test]
    fn a_weak_supply_is_a_problem_now_and_a_warning_afterwards() {
        let now = power(&pi("50005\n")).unwrap();
        assert_eq!(
            (now.severity, now.found.as_str()),
            (Severity::Problem, "under-voltage now")
        );
        let before = power(&pi("0x50000\n")).unwrap();
        assert_eq!(before.severity, Severity::Warning);
        assert_eq!(power(&pi("0\n")).unwrap().severity, Severity::Ok);
    }

    #[test]
    fn heat_is_told_from_a_weak_supply() {
        let hot = throttling(&pi("80008\n")).unwrap();
        assert!(
            hot.found.contains("now: at its soft temperature limit"),
            "{}",
            hot.found
        );
        assert_eq!(hot.fix.as_deref(), Some(COOLER));
        let starved = throttling(&pi("50005\n")).unwrap();
        assert!(starved.found.contains("throttled"), "{}", starved.found);
        assert_eq!(starved.fix.as_deref(), Some(SUPPLY));
        let former = throttling(&pi("e0000\n")).unwrap();
        assert!(
            former.found.contains("since boot: capped, throttled, at"),
            "{}",
            former.found
        );
        assert_eq!(throttling(&pi("0\n")).unwrap().severity, Severity::Ok);
    }

    #[test]
    fn a_mainline_kernel_has_only_the_alarm_and_a_nuc_only_its_count() {
        let mut pi = pi("");
        pi.voltage_alarm = Some("1\n".into());
        assert_eq!(power(&pi).unwrap().severity, Severity::Problem);
        pi.voltage_alarm = None;
        assert_eq!(power(&pi).unwrap().severity, Severity::Unknown);
        let nuc = Machine {
            throttle_count: Some("37\n".into()),
            ..Machine::default()
        };
        assert_eq!(power(&nuc), None);
        assert!(throttling(&nuc).unwrap().found.contains("37 times"));
        assert_eq!(throttling(&Machine::default()), None);
    }
}
