//! Maintenance windows as people write them: `Sun 02:00-04:00`, `daily 02:00-04:00`, or once,
//! `2026-12-01T02:00Z/2026-12-01T04:00Z`. All in UTC; the hour that a time zone skips is nobody's problem.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Text that is no window.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no maintenance window: write Sun 02:00-04:00, daily 02:00-04:00, or from/to as RFC 3339, \
     such as 2026-12-01T02:00:00Z/2026-12-01T04:00:00Z; days and hours are UTC"
)]
pub struct WindowError(String);

/// A window, once or again and again. Milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Window {
    from_ms: u64,
    /// Above zero; where it comes again, at most until it does.
    length_ms: u64,
    /// After how long it comes again.
    every_ms: Option<u64>,
}

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;
/// 1970 began on a Thursday.
const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];

impl Window {
    /// Until when it lasts, if it has begun at `wall_ms`.
    pub fn covers(&self, wall_ms: u64) -> Option<u64> {
        let passed = self.passed(wall_ms)?;
        (passed < self.length_ms).then(|| wall_ms - passed + self.length_ms)
    }

    /// When it begins next, after `wall_ms`.
    pub fn next(&self, wall_ms: u64) -> Option<u64> {
        match (self.passed(wall_ms), self.every_ms) {
            (None, _) => Some(self.from_ms),
            (Some(passed), Some(every_ms)) => Some(wall_ms - passed + every_ms),
            (Some(_), None) => None,
        }
    }

    /// Since when it has last begun.
    fn passed(&self, wall_ms: u64) -> Option<u64> {
        let passed = wall_ms.checked_sub(self.from_ms)?;
        Some(self.every_ms.map_or(passed, |every_ms| passed % every_ms))
    }

    fn recurring(text: &str) -> Option<Self> {
        let (day, hours) = text.split_once(' ')?;
        let (from, to) = hours.split_once('-')?;
        let (from, to) = (minute_of_day(from)?, minute_of_day(to)?);
        let (first, every_ms) = match day {
            "daily" => (0, DAY_MS),
            day => (DAYS.iter().position(|known| *known == day)?, 7 * DAY_MS),
        };
        let from_ms = u64::try_from(first).ok()? * DAY_MS + from * MINUTE_MS;
        // One that ends before it begins ends on the next day.
        let minutes = (to + 24 * 60 - from) % (24 * 60);
        let length_ms = if minutes == 0 {
            DAY_MS
        } else {
            minutes * MINUTE_MS
        };
        Some(Self {
            from_ms,
            length_ms,
            every_ms: Some(every_ms),
        })
    }

    fn once(text: &str) -> Option<Self> {
        let (from, to) = text.split_once('/')?;
        let (from_ms, to_ms) = (instant(from)?, instant(to)?);
        let length_ms = to_ms.checked_sub(from_ms).filter(|length| *length > 0)?;
        Some(Self {
            from_ms,
            length_ms,
            every_ms: None,
        })
    }
}

/// `02:30` in minutes; `24:00` is the end of a day.
fn minute_of_day(text: &str) -> Option<u64> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= 24 * 60).then_some(minutes)
}

fn digits(text: &str, count: usize) -> Option<u64> {
    let plain = text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|_| plain)
}

/// RFC 3339, the seconds left out where they are none.
fn instant(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let mut date = date.split('-');
    let year = digits(date.next()?, 4)?;
    let (month, day) = (digits(date.next()?, 2)?, digits(date.next()?, 2)?);
    let end = rest.find(['Z', 'z', '+', '-'])?;
    let (time, zone) = rest.split_at(end);
    let mut time = time.split(':');
    let (hour, minute) = (digits(time.next()?, 2)?, digits(time.next()?, 2)?);
    let second = digits(time.next().unwrap_or("00"), 2)?;
    let known = date.next().is_none() && time.next().is_none();
    let legal = known && hour < 24 && minute < 60 && second < 60 && year >= 1970;
    let days = days(year, month, day).filter(|_| legal)?;
    let local = days * DAY_MS + (hour * 60 + minute) * MINUTE_MS + second * 1_000;
    match zone {
        "Z" | "z" => Some(local),
        _ => {
            let offset = minute_of_day(zone.get(1..)?)? * MINUTE_MS;
            if zone.starts_with('+') {
                local.checked_sub(offset)
            } else {
                Some(local + offset)
            }
        }
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn month_length(year: u64, month: u64) -> Option<u64> {
    Some(match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if is_leap(year) => 29,
        2 => 28,
        _ => return None,
    })
}

/// Days since 1970.
fn days(year: u64, month: u64, day: u64) -> Option<u64> {
    if day == 0 || day > month_length(year, month)? {
        return None;
    }
    let years: u64 = (1970..year)
        .map(|year| 365 + u64::from(is_leap(year)))
        .sum();
    let months: u64 = (1..month)
        .filter_map(|month| month_length(year, month))
        .sum();
    Some(years + months + day - 1)
}

/// The date and time of an instant, to the second.
pub(crate) fn rfc3339(wall_ms: u64) -> String {
    let (mut day, of_day) = (wall_ms / DAY_MS, wall_ms % DAY_MS / 1_000);
    let mut year = 1970;
    while day >= 365 + u64::from(is_leap(year)) {
        day -= 365 + u64::from(is_leap(year));
        year += 1;
    }
    let mut month = 1;
    while let Some(length) = month_length(year, month).filter(|length| day >= *length) {
        day -= length;
        month += 1;
    }
    let (hour, minute, second) = (of_day / 3_600, of_day / 60 % 60, of_day % 60);
    format!(
        "{year:04}-{month:02}-{:02}T{hour:02}:{minute:02}:{second:02}Z",
        day + 1
    )
}

impl FromStr for Window {
    type Err = WindowError;
    fn from_str(text: &str) -> Result<Self, WindowError> {
        let window = Self::recurring(text).or_else(|| Self::once(text));
        window.ok_or_else(|| WindowError(text.to_owned()))
    }
}

impl TryFrom<String> for Window {
    type Error = WindowError;
    fn try_from(text: String) -> Result<Self, WindowError> {
        text.parse()
    }
}

impl From<Window> for String {
    fn from(window: Window) -> Self {
        window.to_string()
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end_ms = self.from_ms + self.length_ms;
        let Some(every_ms) = self.every_ms else {
            return f.pad(&format!("{}/{}", rfc3339(self.from_ms), rfc3339(end_ms)));
        };
        let hours = |ms: u64| {
            let minutes = ms % DAY_MS / MINUTE_MS;
            format!("{:02}:{:02}", minutes / 60, minutes % 60)
        };
        let day = usize::try_from(self.from_ms / DAY_MS).unwrap_or_default();
        let day = match DAYS.get(day).filter(|_| every_ms > DAY_MS) {
            Some(day) => day,
            None => "daily",
        };
        f.pad(&format!("{day} {}-{}", hours(self.from_ms), hours(end_ms)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> u64 {
        instant(text).unwrap()
    }

    #[test]
    fn instants_are_those_that_the_rest_of_the_world_has() {
        // As `date -u -d TEXT +%s` has them.
        for (text, seconds) in [
            ("1970-01-01T00:00:00Z", 0),
            ("2000-02-29T12:00:00Z", 951_825_600),
            ("2026-11-28T01:24:20Z", 1_795_829_060),
            ("2026-11-28T03:24:20+02:00", 1_795_829_060),
            ("2026-11-27T20:24:20-05:00", 1_795_829_060),
            ("2100-03-01T00:00Z", 4_107_542_400),
        ] {
            assert_eq!(instant(text), Some(seconds * 1_000), "{text}");
        }
    }

    #[test]
    fn a_weekly_window_comes_on_its_day() {
        let window: Window = "Sun 02:00-04:00".parse().unwrap();
        assert_eq!(window.covers(at("2026-11-29T01:59:59Z")), None);
        let end = Some(at("2026-11-29T04:00:00Z"));
        assert_eq!(window.covers(at("2026-11-29T02:00:00Z")), end);
        assert_eq!(window.covers(at("2026-11-29T03:59:59Z")), end);
        assert_eq!(window.covers(at("2026-11-29T04:00:00Z")), None);
        let next = window.next(at("2026-11-29T03:00:00Z"));
        assert_eq!(next, Some(at("2026-12-06T02:00:00Z")));
    }

    #[test]
    fn one_that_ends_before_it_begins_ends_on_the_next_day() {
        let window: Window = "Sat 23:00-01:00".parse().unwrap();
        let end = Some(at("2026-11-29T01:00:00Z"));
        assert_eq!(window.covers(at("2026-11-29T00:30:00Z")), end);
        let daily: Window = "daily 00:00-24:00".parse().unwrap();
        assert!(daily.covers(at("2026-11-29T13:30:00Z")).is_some());
    }

    #[test]
    fn one_with_dates_comes_once() {
        let text = "2026-12-01T02:00:00Z/2026-12-01T04:00:00Z";
        let window: Window = text.parse().unwrap();
        assert_eq!(window.to_string(), text);
        let (from, to) = (at("2026-12-01T02:00Z"), at("2026-12-01T04:00Z"));
        assert_eq!(window.next(0), Some(from));
        assert_eq!(window.covers(from), Some(to));
        assert_eq!((window.covers(to), window.next(to)), (None, None));
    }

    #[test]
    fn what_is_no_window_is_told_how_to_write_one() {
        for odd in [
            "",
            "Sun",
            "Sonntag 02:00-04:00",
            "Sun 2:00-4:00",
            "Sun 02:60-04:00",
            "Sun 02:00-24:01",
            "2026-02-30T02:00Z/2026-03-01T02:00Z",
            "2026-12-01T02:00Z/2026-12-01T02:00Z",
            "2026-12-01T02:00/2026-12-01T04:00",
            "2026-12-01T02:00Z",
        ] {
            let error = odd.parse::<Window>().unwrap_err().to_string();
            assert!(error.contains("Sun 02:00-04:00"), "{error}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(
            day in prop::sample::select(vec!["daily", "Mon", "Thu", "Wed"]),
            minutes in (0..24 * 60u32, 0..24 * 60u32),
            now in 0..4_000_000_000_000u64,
        ) {
            let hours = |m: u32| format!("{:02}:{:02}", m / 60, m % 60);
            let text = format!("{day} {}-{}", hours(minutes.0), hours(minutes.1));
            let window: Window = text.parse().unwrap();
            prop_assert_eq!(window.to_string(), text);
            let next = window.next(now).unwrap();
            prop_assert!(next > now && window.covers(next).is_some());
            prop_assert!(window.covers(next - 1).is_none_or(|end| end == next));
        }
    }
}
