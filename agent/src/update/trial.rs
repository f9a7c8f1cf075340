//! The trial of a version: what its process says, and when that is enough. Pure; time is what has
//! passed since its start.
//!
//! The contract between versions: the one on trial says lines on its standard output, `healthy`, or
//! `waiting for …` while it is not. All else is ignored.

use std::time::Duration;

/// How long it must go on being healthy.
pub const SETTLE: Duration = Duration::from_secs(3);
/// Longest line that is a word.
const LONGEST: usize = 400;

/// What is heard of a version on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// All that is expected of it is there.
    Healthy,
    /// What is not.
    Waiting(String),
}

impl Word {
    fn parse(line: &[u8]) -> Option<Self> {
        let line = String::from_utf8_lossy(line);
        match line.trim() {
            "healthy" => Some(Self::Healthy),
            line => line
                .strip_prefix("waiting for ")
                .map(|what| Self::Waiting(what.to_owned())),
        }
    }

    /// The line that says it.
    pub fn line(&self) -> String {
        match self {
            Self::Healthy => "healthy\n".to_owned(),
            Self::Waiting(what) => format!("waiting for {}\n", what.replace('\n', " ")),
        }
    }
}

/// Octets put together into words, however they are cut and whatever is between them.
#[derive(Debug, Default)]
pub struct Words {
    line: Vec<u8>,
    overlong: bool,
}

impl Words {
    /// The words that end in these octets.
    pub fn push(&mut self, octets: &[u8]) -> Vec<Word> {
        let mut words = Vec::new();
        for &octet in octets {
            if octet == b'\n' {
                if !std::mem::take(&mut self.overlong) {
                    words.extend(Word::parse(&self.line));
                }
                self.line.clear();
            } else if self.line.len() < LONGEST {
                self.line.push(octet);
            } else {
                self.overlong = true;
            }
        }
        words
    }
}

/// How a trial ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It was healthy, and stayed so.
    Taken,
    /// It was not, and why.
    Failed(String),
}

/// A trial under way.
#[derive(Debug)]
pub struct Trial {
    limit: Duration,
    healthy_since: Option<Duration>,
    waiting: Option<String>,
}

impl Trial {
    /// It has so long to get healthy.
    pub const fn new(limit: Duration) -> Self {
        Self {
            limit,
            healthy_since: None,
            waiting: None,
        }
    }

    /// It has said something.
    pub fn heard(&mut self, word: Word, now: Duration) {
        match word {
            Word::Healthy => {
                self.healthy_since.get_or_insert(now);
            }
            Word::Waiting(what) => {
                self.healthy_since = None;
                self.waiting = Some(what);
            }
        }
    }

    /// When to look again.
    pub fn wake(&self) -> Duration {
        match self.healthy_since {
            Some(since) => since.saturating_add(SETTLE),
            None => self.limit,
        }
    }

    /// Whether it is decided by now.
    pub fn verdict(&self, now: Duration) -> Option<Verdict> {
        if now < self.wake() {
            return None;
        }
        if self.healthy_since.is_some() {
            return Some(Verdict::Taken);
        }
        let limit = self.limit.as_secs_f32();
        Some(Verdict::Failed(match &self.waiting {
            Some(what) => format!("after {limit} s it still waited for {what}"),
            None => format!("after {limit} s it had said nothing"),
        }))
    }

    /// Its process has ended.
    pub fn ended(&self, how: &str) -> Verdict {
        Verdict::Failed(match (self.healthy_since, &self.waiting) {
            (Some(_), _) => format!("it was healthy, and ended: {how}"),
            (None, Some(what)) => format!("it ended ({how}) while it waited for {what}"),
            (None, None) => format!("it ended at once: {how}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const S: Duration = Duration::from_secs(1);

    #[test]
    fn healthy_for_a_while_is_taken_and_not_before() {
        let mut trial = Trial::new(10 * S);
        trial.heard(Word::Waiting("the broker".into()), S);
        trial.heard(Word::Healthy, 2 * S);
        trial.heard(Word::Healthy, 3 * S);
        assert_eq!(trial.wake(), 2 * S + SETTLE);
        assert_eq!(
            trial.verdict(2 * S + SETTLE - Duration::from_nanos(1)),
            None
        );
        assert_eq!(trial.verdict(2 * S + SETTLE), Some(Verdict::Taken));
    }

    #[test]
    fn what_becomes_healthy_in_time_may_settle_beyond_it_but_not_relapse() {
        let mut trial = Trial::new(10 * S);
        trial.heard(Word::Healthy, 9 * S);
        assert_eq!(trial.verdict(10 * S), None);
        trial.heard(Word::Waiting("the Docker engine".into()), 10 * S);
        let Some(Verdict::Failed(why)) = trial.verdict(10 * S) else {
            panic!("it is not decided");
        };
        assert_eq!(why, "after 10 s it still waited for the Docker engine");
    }

    #[test]
    fn silence_and_an_end_are_told_apart() {
        let mut trial = Trial::new(10 * S);
        assert_eq!(trial.verdict(9 * S), None);
        let silent = Verdict::Failed("after 10 s it had said nothing".into());
        assert_eq!(trial.verdict(10 * S), Some(silent));
        let ended = |trial: &Trial| match trial.ended("exit status: 1") {
            Verdict::Failed(why) => why,
            Verdict::Taken => panic!("an end is no success"),
        };
        assert_eq!(ended(&trial), "it ended at once: exit status: 1");
        trial.heard(Word::Waiting("the broker".into()), S);
        assert!(ended(&trial).contains("waited for the broker"));
        trial.heard(Word::Healthy, S);
        assert!(ended(&trial).contains("was healthy"));
    }

    proptest! {
        #[test]
        fn words_are_found_however_they_are_cut(cut in 1usize..30, noise in "[^\n]{0,1000}") {
            let said = [Word::Waiting("the broker".into()), Word::Healthy];
            prop_assume!(Word::parse(noise.as_bytes()).is_none());
            let text = format!("{}{noise}\n{}", said[0].line(), said[1].line());
            let mut words = Words::default();
            let heard: Vec<_> = text.as_bytes().chunks(cut).flat_map(|piece| words.push(piece)).collect();
            prop_assert_eq!(heard, said);
        }

        #[test]
        fn noise_without_end_takes_no_memory(octets in prop::collection::vec(any::<u8>(), 0..4_000)) {
            let mut words = Words::default();
            words.push(&octets);
            prop_assert!(words.line.len() <= LONGEST);
        }

        /// Every trial is decided, and taken only when its last word was that it is healthy.
        #[test]
        fn every_trial_ends(words in prop::collection::vec((0u64..20, any::<bool>()), 0..20)) {
            let mut trial = Trial::new(10 * S);
            let mut at = 0;
            let mut last = None;
            for (later, healthy) in words {
                at += later;
                if trial.verdict(Duration::from_secs(at)).is_some() {
                    break;
                }
                let word = if healthy { Word::Healthy } else { Word::Waiting("x".into()) };
                last = Some(healthy);
                trial.heard(word, Duration::from_secs(at));
            }
            let end = trial.wake().max(Duration::from_secs(at));
            let verdict = trial.verdict(end);
            prop_assert!(verdict.is_some());
            prop_assert_eq!(verdict == Some(Verdict::Taken), last == Some(true));
        }
    }
}
