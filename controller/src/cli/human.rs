//! Ages, sizes and times as people write them.

/// `37s`, `5m`, `3h`, `12d` between two instants in milliseconds.
pub(super) fn age(since_ms: u64, now_ms: u64) -> String {
    duration(now_ms.saturating_sub(since_ms) / 1000)
}

/// Seconds in the largest unit that says enough.
pub(super) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Bytes in binary units: `512B`, `1.5KiB`, `64MiB`.
pub(super) fn bytes(value: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if value < 1024 {
        return format!("{value}B");
    }
    let (mut whole, mut rest, mut unit) = (value / 1024, value % 1024, 0);
    while whole >= 1024 && unit + 1 < UNITS.len() {
        (whole, rest, unit) = (whole / 1024, whole % 1024, unit + 1);
    }
    let unit = UNITS.get(unit).copied().unwrap_or("");
    let tenths = rest * 10 / 1024;
    if whole >= 10 || tenths == 0 {
        format!("{whole}{unit}")
    } else {
        format!("{whole}.{tenths}{unit}")
    }
}

/// Thousandths of a core: `500m`, `4`.
pub(super) fn cores(millis: u32) -> String {
    if millis.is_multiple_of(1000) {
        (millis / 1000).to_string()
    } else {
        format!("{millis}m")
    }
}

/// A percentage.
pub(super) fn percent(value: f32) -> String {
    format!("{value:.0}%")
}

/// RFC 3339 in UTC, to the millisecond.
pub(super) fn time(ms: u64) -> String {
    let (days, day_ms) = (ms / 86_400_000, ms % 86_400_000);
    // Howard Hinnant's civil-from-days, for days since 1970-01-01 only.
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_index = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_index + 2) / 5 + 1;
    let month = if month_index < 10 {
        month_index + 3
    } else {
        month_index - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        day_ms / 3_600_000,
        day_ms / 60_000 % 60,
        day_ms / 1_000 % 60,
        day_ms % 1_000
    )
}

/// Milliseconds since 1970 by this machine's clock.
pub(super) fn now_ms() -> u64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX))
}

/// Reads `90`, `90s`, `5m`, `2h`, `1d` or `500ms` for a flag.
pub(super) fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    let refuse = || format!("{text:?} must be a duration such as 30s, 5m, 2h or 500ms");
    let split = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: u64 = number.parse().map_err(|_| refuse())?;
    let factor = match unit {
        "ms" => 1,
        "" | "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(refuse()),
    };
    number
        .checked_mul(factor)
        .map(std::time::Duration::from_millis)
        .ok_or_else(refuse)
}

/// From when on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(std::time::Duration),
    /// Seconds since 1970.
    Time(u64),
}

/// Reads `5m` or `2026-01-31T12:00:00+01:00` for a flag.
pub(super) fn parse_since(text: &str) -> Result<Since, String> {
    let refuse = || {
        format!("{text:?} must be a duration such as 5m, or a time such as 2026-01-31T12:00:00Z")
    };
    match parse_duration(text) {
        Ok(ago) => Ok(Since::Ago(ago)),
        Err(_) => rfc3339(text).map(Since::Time).ok_or_else(refuse),
    }
}

/// Seconds since 1970 of an RFC 3339 time, without its fraction.
fn rfc3339(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(zone);
    let time = time.split_once('.').map_or(time, |(whole, _)| whole);
    let numbers = |text: &str, by: char| -> Option<Vec<i64>> {
        let number = |part: &str| {
            let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            digits.then(|| part.parse().ok()).flatten()
        };
        text.split(by).map(number).collect()
    };
    let [year, month @ 1..=12, day @ 1..=31] = numbers(date, '-')?[..] else {
        return None;
    };
    let [hour @ 0..24, minute @ 0..60, second @ 0..=60] = numbers(time, ':')?[..] else {
        return None;
    };
    let offset = match zone.split_at(1) {
        ("Z" | "z", "") => 0,
        (sign, zone) => {
            let [hours @ 0..24, minutes @ 0..60] = numbers(zone, ':')?[..] else {
                return None;
            };
            let offset = hours * 3_600 + minutes * 60;
            if sign == "-" { -offset } else { offset }
        }
    };
    if !(1970..10_000).contains(&year) {
        return None;
    }
    // Howard Hinnant's days-from-civil, from 1970 on.
    let shifted = if month > 2 { year } else { year - 1 };
    let (era, year_of_era) = (shifted / 400, shifted % 400);
    let month_index = (month + 9) % 12;
    let day_of_year = (153 * month_index + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    u64::try_from(seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_as_it_is_written() {
        for ms in [
            0,
            951_782_399_000,
            951_782_400_000,
            1_800_000_000_000,
            4_102_444_800_000,
        ] {
            assert_eq!(
                parse_since(&time(ms)),
                Ok(Since::Time(ms / 1_000)),
                "{}",
                time(ms)
            );
        }
        let at = |text| parse_since(text).unwrap();
        assert_eq!(at("2026-01-31T12:00:00+01:00"), at("2026-01-31T11:00:00Z"));
        assert_eq!(
            at("2026-01-31T12:00:00.999999999Z"),
            at("2026-01-31t12:00:00z")
        );
        assert_eq!(at("5m"), Since::Ago(std::time::Duration::from_secs(300)));
        for wrong in [
            "",
            "soon",
            "2026-13-01T00:00:00Z",
            "2026-01-31",
            "2026-01-31T25:00:00Z",
            "2026-01-31T12:00:00",
            "1969-01-01T00:00:00Z",
            "2026-+1-31T12:00:00Z",
        ] {
            assert!(
                parse_since(wrong).unwrap_err().contains("such as 5m"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn an_age_is_told_in_one_unit() {
        assert_eq!(age(1_000, 1_500), "0s");
        assert_eq!(age(0, 119_000), "119s");
        assert_eq!(age(0, 120_000), "2m");
        assert_eq!(age(0, 3 * 3_600_000), "3h");
        assert_eq!(age(0, 50 * 3_600_000), "2d");
        assert_eq!(age(5_000, 1_000), "0s", "a clock may go back");
    }

    #[test]
    fn bytes_are_told_in_binary_units() {
        for (value, text) in [
            (0, "0B"),
            (1023, "1023B"),
            (1024, "1KiB"),
            (1536, "1.5KiB"),
            (64 << 20, "64MiB"),
            (7_900 << 20, "7.7GiB"),
            (u64::MAX, "16383PiB"),
        ] {
            assert_eq!(bytes(value), text);
        }
    }

    #[test]
    fn a_time_is_told_in_utc() {
        assert_eq!(time(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(time(951_782_400_123), "2000-02-29T00:00:00.123Z");
        assert_eq!(time(1_795_000_000_000), "2026-11-18T11:06:40.000Z");
    }

    #[test]
    fn a_duration_needs_a_number_and_a_known_unit() {
        assert_eq!(parse_duration("90").unwrap().as_secs(), 90);
        assert_eq!(parse_duration("5m").unwrap().as_secs(), 300);
        assert_eq!(parse_duration("500ms").unwrap().as_millis(), 500);
        for wrong in ["", "m", "5 m", "-5s", "5w", "99999999999999999999s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
