//! The clock: a Pi without battery wakes where it fell asleep, and registries' certificates are
//! then not valid yet.

use super::Clock;
use kc_agent_api::Finding;
use std::time::Duration;

const CHECK: &str = "clock";
/// 2026-01-01: no such program had been built before.
const EARLIEST: Duration = Duration::from_secs(1_767_225_600);
const FIX: &str =
    "apt install systemd-timesyncd && timedatectl set-ntp true; allow udp/123 to a time server";

/// Judges the clock by itself. How far it is from others' only somebody else can tell.
pub(super) fn clock(clock: &Clock) -> Finding {
    let year = 1970 + clock.now.as_secs() / 31_556_952;
    let keeps = if clock.rtc {
        "it has a clock that outlives power"
    } else {
        "no RTC: it loses time with power"
    };
    match clock.synchronised {
        _ if clock.now < EARLIEST => Finding::problem(
            CHECK,
            format!("it says {year}, when this program was not written yet; {keeps}"),
            FIX,
        ),
        Some(true) => Finding::ok(CHECK, "synchronised"),
        Some(false) if clock.rtc => {
            Finding::warning(CHECK, format!("not synchronised; {keeps}"), FIX)
        }
        Some(false) => Finding::problem(CHECK, format!("not synchronised; {keeps}"), FIX),
        None => Finding::unknown(
            CHECK,
            format!("nothing tells whether it is synchronised; {keeps}"),
            "apt install systemd-timesyncd; kc doctor compares it with the controller's",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::Severity;

    const TODAY: Duration = Duration::from_secs(1_795_000_000);

    fn of(now: Duration, synchronised: Option<bool>, rtc: bool) -> Finding {
        clock(&Clock {
            now,
            synchronised,
            rtc,
        })
    }

    #[test]
    fn a_pi_that_lost_its_time_is_found_out_whatever_the_kernel_believes() {
        let finding = of(Duration::from_secs(300), Some(true), false);
        assert_eq!(finding.severity, Severity::Problem);
        assert!(finding.found.contains("1970"), "{}", finding.found);
        let finding = of(Duration::from_secs(1_700_000_000), None, false);
        assert!(finding.found.contains("2023"), "{}", finding.found);
    }

    #[test]
    fn without_a_battery_an_unsynchronised_clock_is_worse() {
        assert_eq!(of(TODAY, Some(false), false).severity, Severity::Problem);
        assert_eq!(of(TODAY, Some(false), true).severity, Severity::Warning);
        assert_eq!(of(TODAY, Some(true), false).severity, Severity::Ok);
        assert_eq!(of(TODAY, None, true).severity, Severity::Unknown);
    }
}
