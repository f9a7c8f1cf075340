//! What containers said last: the end of an output, and a bounded store of it for containers that
//! were removed, so that the reason of a rollback can be read. In memory: it ends with the agent.

use kc_agent_api::Output;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Most lines that are kept of one container.
pub const MOST_LINES: usize = 1_000;
/// Most octets that are kept of one container.
const MOST_OCTETS: usize = 64 << 10;
/// Most octets that are kept of all.
const MOST_IN_ALL: usize = 512 << 10;

/// A line as the engine tells it: its time, a blank, and what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    stream: Output,
    octets: Vec<u8>,
}

impl Line {
    /// A line with its time in front.
    pub fn new(stream: Output, octets: Vec<u8>) -> Self {
        Self { stream, octets }
    }

    /// When the engine got it.
    pub fn at(&self) -> Option<Moment> {
        std::str::from_utf8(self.parts().0).ok()?.parse().ok()
    }

    /// The output it was said on, and the line with its time or without.
    pub fn said(&self, timestamps: bool) -> (Output, &[u8]) {
        match timestamps {
            true => (self.stream, &self.octets),
            false => (self.stream, self.parts().1),
        }
    }

    fn parts(&self) -> (&[u8], &[u8]) {
        let blank = self.octets.iter().position(|octet| *octet == b' ');
        blank.map_or((&[], &self.octets), |blank| {
            (&self.octets[..blank], &self.octets[blank + 1..])
        })
    }
}

/// A point in time, to the nanosecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Moment {
    /// Seconds since 1970.
    pub seconds: u64,
    nanos: u32,
}

/// Text that is no time as the engine writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no RFC 3339 time in UTC")]
pub struct MomentError;

impl std::str::FromStr for Moment {
    type Err = MomentError;

    /// RFC 3339 in UTC from 1970 on, with any number of places behind the seconds.
    fn from_str(text: &str) -> Result<Self, MomentError> {
        let read = || {
            let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
            let (time, places) = time.split_once('.').unwrap_or((time, ""));
            let [year, month, day] = three(date, '-')?;
            let [hour, minute, second] = three(time, ':')?;
            let nanos = format!("{:0<9}", places.get(..9).unwrap_or(places));
            // Days since 1970 in the proleptic Gregorian calendar, years beginning in March.
            let (year, month) = if month > 2 {
                (year, month - 3)
            } else {
                (year.checked_sub(1)?, month + 9)
            };
            let days = 365 * year + year / 4 - year / 100 + year / 400;
            let days = (days + (153 * month + 2) / 5 + day).checked_sub(719_469)?;
            Some(Self {
                seconds: ((days * 24 + hour) * 60 + minute) * 60 + second,
                nanos: nanos.parse().ok()?,
            })
        };
        read().ok_or(MomentError)
    }
}

/// Three numbers that no calendar exceeds.
fn three(text: &str, between: char) -> Option<[u64; 3]> {
    let mut numbers = text.split(between);
    let mut next = || {
        let number = numbers.next()?.parse::<u64>().ok()?;
        (number < 10_000).then_some(number)
    };
    let found = [next()?, next()?, next()?];
    numbers.next().is_none().then_some(found)
}

impl Moment {
    /// Half way from here to `later`, which is later.
    pub fn half_way(self, later: Self) -> Self {
        const SECOND: u128 = 1_000_000_000;
        let nanos = |at: Self| u128::from(at.seconds) * SECOND + u128::from(at.nanos);
        let middle = nanos(self) + nanos(later).saturating_sub(nanos(self)) / 2;
        Self {
            seconds: u64::try_from(middle / SECOND).unwrap_or(u64::MAX),
            nanos: u32::try_from(middle % SECOND).unwrap_or(0),
        }
    }
}

/// The end of an output.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tail {
    lines: VecDeque<Line>,
    octets: usize,
}

impl Tail {
    /// One more line; the oldest make room.
    pub fn push(&mut self, mut line: Line) {
        line.octets.truncate(MOST_OCTETS);
        self.octets += line.octets.len();
        self.lines.push_back(line);
        while self.octets > MOST_OCTETS || self.lines.len() > MOST_LINES {
            let Some(oldest) = self.lines.pop_front() else {
                return;
            };
            self.octets -= oldest.octets.len();
        }
    }

    /// Whether nothing was said.
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// The last `most` lines of those from `since` on.
    pub fn lines(&self, most: Option<u32>, since: u64) -> impl Iterator<Item = &Line> {
        let young = |line: &&Line| line.at().is_none_or(|at| at.seconds >= since);
        let young: Vec<_> = self.lines.iter().filter(young).collect();
        let most = most.map_or(young.len(), |most| {
            usize::try_from(most).unwrap_or(usize::MAX)
        });
        let before = young.len().saturating_sub(most);
        young.into_iter().skip(before)
    }
}

/// The last words of containers that were removed, by their name in the document.
#[derive(Debug, Clone, Default)]
pub struct LastWords(Arc<Mutex<VecDeque<Kept>>>);

/// A container's name, and what it said.
type Kept = (String, Arc<Tail>);

impl LastWords {
    /// Keeps what `name` said last, in the place of what was kept of it; the oldest make room.
    pub fn keep(&self, name: &str, tail: Tail) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|(kept, _)| kept != name);
        all.push_back((name.to_owned(), Arc::new(tail)));
        while all.iter().map(|(_, tail)| tail.octets).sum::<usize>() > MOST_IN_ALL
            || all.len() > MOST_LINES
        {
            all.pop_front();
        }
    }

    /// What the container said that had this name before.
    pub fn of(&self, name: &str) -> Option<Arc<Tail>> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = all.iter().find(|(kept, _)| kept == name);
        found.map(|(_, tail)| Arc::clone(tail))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn line(text: &str) -> Line {
        Line::new(Output::Stdout, text.as_bytes().to_vec())
    }

    fn texts(tail: &Tail, most: Option<u32>, since: u64) -> Vec<String> {
        let lines = tail.lines(most, since);
        lines
            .map(|line| String::from_utf8(line.said(false).1.to_vec()).unwrap())
            .collect()
    }

    #[test]
    fn times_are_read_as_the_engine_writes_them() {
        let moment = |text: &str| text.parse::<Moment>().map(|at| (at.seconds, at.nanos));
        for (text, right) in [
            ("1970-01-01T00:00:00Z", (0, 0)),
            ("2000-02-29T12:00:00.5Z", (951_825_600, 500_000_000)),
            (
                "2026-11-27T22:51:32.123456789Z",
                (1_795_819_892, 123_456_789),
            ),
            (
                "2026-11-27T22:51:32.1234567899Z",
                (1_795_819_892, 123_456_789),
            ),
        ] {
            assert_eq!(moment(text), Ok(right), "{text}");
        }
        for odd in [
            "",
            "Z",
            "T",
            "2026-11-27T22:51:32",
            "2026-11-27T22:51:32+01:00",
            "2026-11T22:51Z",
            "1960-01-01T00:00:00Z",
            "2026-11-27T22:51:32.xZ",
            "99999999999999999999-01-01T00:00:00Z",
            "0000-00-00T00:00:00Z",
        ] {
            assert_eq!(moment(odd), Err(MomentError), "{odd}");
        }
    }

    #[test]
    fn half_way_is_between() {
        let at = |text: &str| text.parse::<Moment>().unwrap();
        let (first, second) = (at("2026-01-01T00:00:00.8Z"), at("2026-01-01T00:00:01.2Z"));
        assert_eq!(first.half_way(second), at("2026-01-01T00:00:01Z"));
        assert_eq!(second.half_way(first), second, "never before it");
    }

    #[test]
    fn lines_are_told_with_their_time_or_without_and_as_many_as_asked_for() {
        let mut tail = Tail::default();
        for second in 1..=3 {
            tail.push(line(&format!(
                "1970-01-01T00:00:0{second}.0Z word {second}\n"
            )));
        }
        tail.push(line("nonsense"));
        assert_eq!(texts(&tail, None, 2), ["word 2\n", "word 3\n", "nonsense"]);
        assert_eq!(texts(&tail, Some(2), 0), ["word 3\n", "nonsense"]);
        assert_eq!(texts(&tail, Some(0), 0), [""; 0]);
        let first = tail.lines(None, 0).next().unwrap();
        assert_eq!(first.said(true).1, b"1970-01-01T00:00:01.0Z word 1\n");
    }

    #[test]
    fn of_each_name_the_latest_is_kept() {
        let kept = LastWords::default();
        for text in ["T a", "T b"] {
            let mut tail = Tail::default();
            tail.push(line(text));
            kept.keep("web-1", tail);
        }
        assert_eq!(texts(&kept.of("web-1").unwrap(), None, 0), ["b"]);
        assert_eq!(kept.of("web-2"), None);
    }

    proptest! {
        #[test]
        fn nothing_grows_beyond_its_bound_and_the_newest_stays(
            sizes in prop::collection::vec((0_usize..6, 0_usize..100_000), 1..60)
        ) {
            let kept = LastWords::default();
            for (name, size) in sizes {
                let mut tail = Tail::default();
                tail.push(Line::new(Output::Stderr, vec![b'o'; 10]));
                tail.push(Line::new(Output::Stderr, vec![b'x'; size]));
                prop_assert!(tail.octets <= MOST_OCTETS);
                let newest = tail.lines.back().cloned();
                let name = format!("c{name}");
                kept.keep(&name, tail);
                let found = kept.of(&name);
                prop_assert_eq!(found.and_then(|tail| tail.lines.back().cloned()), newest);
                let all = kept.0.lock().unwrap();
                prop_assert!(all.iter().map(|(_, tail)| tail.octets).sum::<usize>() <= MOST_IN_ALL);
            }
        }

        #[test]
        fn any_time_is_read_or_refused(text in "[0-9TZ:.-]{0,32}") {
            let _ = text.parse::<Moment>();
            let _ = Line::new(Output::Stdout, text.into_bytes()).at();
        }
    }
}
