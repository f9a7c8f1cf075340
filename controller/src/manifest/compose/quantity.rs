//! Times, sizes and amounts of CPU as Compose spells them (compose-spec, 11-extension.md), in ours.

use crate::resource::{Cpu, Memory, Period};

/// What to write for a time.
pub(super) const TIME: &str = "duration: write such as 500ms, 30s, 1m30s or 1h";
/// What to write for a size.
pub(super) const SIZE: &str = "size: write such as 64m, 1.5gb or a number of bytes";
/// What to write for CPU.
pub(super) const CPUS: &str = "number of CPUs: write such as 0.5 or 2";

/// Digits, and a fraction if there is one, in thousandths; what is smaller counts as one of them.
fn thousandths(text: &str) -> Option<u64> {
    let (whole, places) = text.split_once('.').unwrap_or((text, ""));
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(places) || (whole.is_empty() && places.is_empty()) {
        return None;
    }
    let kept = places.get(..3).unwrap_or(places);
    let more = places.bytes().skip(3).any(|b| b != b'0');
    let fraction: u64 = format!("{kept:0<3}").parse().ok()?;
    let whole: u64 = if whole.is_empty() {
        0
    } else {
        whole.parse().ok()?
    };
    whole
        .checked_mul(1000)?
        .checked_add(fraction + u64::from(more))
}

/// A number of `unit`s.
fn times(number: &str, unit: u64) -> Option<u64> {
    Some(thousandths(number)?.checked_mul(unit)?.div_ceil(1000))
}

/// `1h30m5s`, in milliseconds rounded up.
pub(super) fn time(text: &str) -> Option<Period> {
    let mut rest = Some(text).filter(|text| !text.is_empty())?;
    let mut micros = 0_u64;
    while !rest.is_empty() {
        let (number, behind) = rest.split_at(rest.find(|c: char| c.is_ascii_alphabetic())?);
        let end = behind
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(behind.len());
        let (unit, behind) = behind.split_at(end);
        let unit = match unit {
            "us" => 1,
            "ms" => 1_000,
            "s" => 1_000_000,
            "m" => 60_000_000,
            "h" => 3_600_000_000,
            "d" => 86_400_000_000,
            _ => return None,
        };
        micros = micros.checked_add(times(number, unit)?)?;
        rest = behind;
    }
    let ms = micros.div_ceil(1_000);
    format!("{ms}ms").parse().ok()
}

/// `64m`, `1.5gb`, `1048576`: units are powers of 1024. No size at all, 0, is `None` inside.
pub(super) fn size(text: &str) -> Option<Option<Memory>> {
    let lower = text.to_ascii_lowercase();
    let end = lower
        .trim_end_matches(|c: char| c.is_ascii_alphabetic())
        .len();
    let (number, unit) = lower.split_at(end);
    let unit = match unit.trim_end_matches('b').trim_end_matches('i') {
        "" => 1,
        "k" => 1 << 10,
        "m" => 1 << 20,
        "g" => 1 << 30,
        "t" => 1 << 40,
        _ => return None,
    };
    match times(number.trim_end(), unit)? {
        0 => Some(None),
        bytes => bytes.to_string().parse().ok().map(Some),
    }
}

/// `0.5`. None at all, 0, is `None` inside.
pub(super) fn cpus(text: &str) -> Option<Option<Cpu>> {
    match thousandths(text)? {
        0 => Some(None),
        millis => format!("{millis}m").parse().ok().map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_compose_spells_them() {
        let ms = |text| time(text).map(Period::millis);
        for (text, right) in [
            ("10s", 10_000),
            ("1m30s", 90_000),
            ("1h5m30s20ms", 3_930_020),
            ("1.5s", 1_500),
            ("10us", 1),
            ("0s", 0),
            ("1d", 86_400_000),
        ] {
            assert_eq!(ms(text), Some(right), "{text}");
        }
        for odd in [
            "",
            "10",
            "s",
            "-1s",
            "1x",
            "1s2",
            "25h",
            "1..5s",
            "9999999999999999999999s",
            "ü",
        ] {
            assert_eq!(ms(odd), None, "{odd}");
        }
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        let bytes = |text| size(text).map(|size| size.map_or(0, Memory::bytes));
        for (text, right) in [
            ("1048576", 1 << 20),
            ("64m", 64 << 20),
            ("64M", 64 << 20),
            ("512kb", 512 << 10),
            ("1.5GB", 3 << 29),
            ("2g", 2 << 30),
            ("2GiB", 2 << 30),
            ("10b", 10),
            ("64 mb", 64 << 20),
            ("0", 0),
        ] {
            assert_eq!(bytes(text), Some(right), "{text}");
        }
        for odd in ["", "m", "-1m", "1x", "1mm", "99999999999999999999g", "1e3"] {
            assert_eq!(bytes(odd), None, "{odd}");
        }
    }

    #[test]
    fn cpus_are_rounded_up_to_thousandths() {
        let millis = |text| cpus(text).map(|cpu| cpu.map_or(0, Cpu::millis));
        for (text, right) in [
            ("0.5", 500),
            ("2", 2_000),
            (".25", 250),
            ("0.0001", 1),
            ("0", 0),
            ("0.50", 500),
        ] {
            assert_eq!(millis(text), Some(right), "{text}");
        }
        for odd in ["", ".", "-1", "a", "5000000"] {
            assert_eq!(millis(odd), None, "{odd}");
        }
    }
}
