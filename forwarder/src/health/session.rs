//! One tunnel or function that is asked for life: when, and what its silence means.
//!
//! It is unknown until its first answer, and dead when `multiplier` intervals have passed since
//! its last one. A single answer brings it back; each death soon after the one before doubles the
//! answers in a row that are needed, up to sixteen, so that what comes and goes stays away.
//!
//! Whoever waits for the first answer, such as a path that traffic shall go to, shall not wait for an
//! interval to pass: what is unknown is asked at once when tables are new, and again each time that a
//! sixteenth of its silence has passed since, down to once an interval.

use crate::oam::Key;
use kc_forwarder_api::{HealthState, Liveness};

/// Probes whose answers are still waited for.
const WAITING: usize = 4;

/// Answers in a row that are needed at most.
const MOST_NEEDED: u32 = 16;

/// What is unknown is asked no sooner again than this.
const SOONEST_MS: u64 = 10;

/// What is unknown is asked again after this part of its silence.
const EAGERNESS: u64 = 16;

/// After so many detection times of life, former deaths are forgotten.
const FORGET: u64 = 20;

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    liveness: Liveness,
    state: HealthState,
    since_ms: u64,
    rtt_us: Option<u32>,
    /// When it last answered.
    answered_ms: u64,
    /// When it is asked next.
    due_ms: u64,
    /// When tables came by which it was unknown.
    begun_ms: u64,
    /// Answers in a row that bring it back.
    needed: u32,
    /// It died, and has not lived long enough since for that to be forgotten.
    has_died: bool,
    /// Answers in a row since it was found dead.
    streak: u32,
    /// An answer has come since the last probe.
    fresh: bool,
    waiting: [Option<Key>; WAITING],
    place: usize,
}

impl Session {
    /// The session for `liveness`, which may have been there before.
    pub(crate) fn adopt(
        held: Option<Self>,
        liveness: Option<&Liveness>,
        now_ms: u64,
    ) -> Option<Self> {
        let liveness = liveness?;
        let mut session = held.unwrap_or_else(|| Self::new(liveness, now_ms));
        if session.liveness != *liveness {
            session.due_ms = now_ms;
            session.answered_ms = now_ms;
            session.liveness = liveness.clone();
        }
        if session.state == HealthState::Unknown {
            session.due_ms = now_ms;
            session.begun_ms = now_ms;
        }
        // Keys under way belong to numbers of the former tables.
        session.waiting = [None; WAITING];
        Some(session)
    }

    fn new(liveness: &Liveness, now_ms: u64) -> Self {
        Self {
            liveness: liveness.clone(),
            state: HealthState::Unknown,
            since_ms: now_ms,
            rtt_us: None,
            answered_ms: now_ms,
            due_ms: now_ms,
            begun_ms: now_ms,
            needed: 1,
            has_died: false,
            streak: 0,
            fresh: false,
            waiting: [None; WAITING],
            place: 0,
        }
    }

    fn interval(&self) -> u64 {
        u64::from(self.liveness.interval_ms)
    }

    fn detection(&self) -> u64 {
        self.interval() * u64::from(self.liveness.multiplier)
    }

    /// When [`is_due`](Self::is_due) or [`give_up`](Self::give_up) will have something to say.
    pub(crate) fn next_ms(&self) -> u64 {
        match self.state {
            HealthState::Alive => self.due_ms.min(self.answered_ms + self.detection()),
            _ => self.due_ms,
        }
    }

    /// Whether it is to be asked.
    pub(crate) fn is_due(&self, now_ms: u64) -> bool {
        now_ms >= self.due_ms
    }

    /// It is being asked now.
    pub(crate) fn asked(&mut self, now_ms: u64) {
        if !self.fresh {
            self.streak = 0;
        }
        self.fresh = false;
        let silence = now_ms.saturating_sub(self.begun_ms);
        let soon = (silence / EAGERNESS).max(SOONEST_MS);
        self.due_ms = if self.state == HealthState::Unknown && soon < self.interval() {
            now_ms + soon
        } else {
            // Intervals do not drift; those that were slept through are not made up for.
            (self.due_ms + self.interval()).max(now_ms + self.interval() / 2)
        };
    }

    /// Remembers the key of the probe; tells the one that is no longer waited for.
    pub(crate) fn sent(&mut self, key: Key) -> Option<Key> {
        self.place = (self.place + 1) % WAITING;
        self.waiting.get_mut(self.place)?.replace(key)
    }

    /// The key of the last probe.
    pub(crate) fn latest(&self) -> Option<Key> {
        *self.waiting.get(self.place)?
    }

    /// It has answered. Tells its former state if that has changed.
    pub(crate) fn answered(&mut self, now_ms: u64, rtt_us: u64) -> Option<HealthState> {
        self.rtt_us = Some(u32::try_from(rtt_us).unwrap_or(u32::MAX).max(1));
        self.answered_ms = now_ms;
        if !self.fresh {
            self.fresh = true;
            self.streak = self.streak.saturating_add(1);
        }
        match self.state {
            HealthState::Alive => {
                if now_ms.saturating_sub(self.since_ms) > FORGET * self.detection() {
                    self.needed = 1;
                    self.has_died = false;
                }
                None
            }
            HealthState::Dead if self.streak < self.needed => None,
            HealthState::Unknown | HealthState::Dead => self.turn(HealthState::Alive, now_ms),
        }
    }

    /// Finds it dead if it was silent for too long. Tells its former state then.
    pub(crate) fn give_up(&mut self, now_ms: u64) -> Option<HealthState> {
        let silent = now_ms.saturating_sub(self.answered_ms) >= self.detection();
        if self.state != HealthState::Alive || !silent {
            return None;
        }
        if self.has_died {
            self.needed = (self.needed * 2).min(MOST_NEEDED);
        }
        self.has_died = true;
        self.streak = 0;
        self.fresh = false;
        self.rtt_us = None;
        self.turn(HealthState::Dead, now_ms)
    }

    fn turn(&mut self, state: HealthState, now_ms: u64) -> Option<HealthState> {
        self.since_ms = now_ms;
        Some(std::mem::replace(&mut self.state, state))
    }

    /// What is known.
    pub(crate) fn state(&self) -> HealthState {
        self.state
    }

    /// Since when.
    pub(crate) fn since_ms(&self) -> u64 {
        self.since_ms
    }

    /// Round trip of the last answered probe.
    pub(crate) fn rtt_us(&self) -> Option<u32> {
        self.rtt_us
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Session {
        let liveness = Liveness {
            interval_ms: 100,
            multiplier: 3,
            address: None,
        };
        Session::adopt(None, Some(&liveness), 0).unwrap()
    }

    /// Lets time pass up to `end`; answers every probe where `answers` says so. Tells the changes.
    fn run(
        session: &mut Session,
        from: u64,
        end: u64,
        answers: impl Fn(u64) -> bool,
    ) -> Vec<(u64, HealthState)> {
        let mut changes = Vec::new();
        for now in from..end {
            if session.give_up(now).is_some() {
                changes.push((now, session.state()));
            }
            if session.is_due(now) {
                session.asked(now);
                if answers(now) && session.answered(now, 50).is_some() {
                    changes.push((now, session.state()));
                }
            }
        }
        changes
    }

    #[test]
    fn what_never_answered_is_unknown_for_ever() {
        let mut session = session();
        assert_eq!(run(&mut session, 0, 10_000, |_| false), []);
        assert_eq!(session.state(), HealthState::Unknown);
    }

    #[test]
    fn the_first_answer_is_not_waited_for_an_interval_long_and_silence_is_not_flooded() {
        let liveness = Liveness {
            interval_ms: 1000,
            multiplier: 3,
            address: None,
        };
        for opens in [0, 7, 300, 2_000, 9_000] {
            let mut session = Session::adopt(None, Some(&liveness), 0).unwrap();
            let changes = run(&mut session, 0, 20_000, |now| now >= opens);
            let [(alive, HealthState::Alive)] = changes[..] else {
                panic!("{changes:?}")
            };
            assert!(
                alive <= opens + 10 + opens / 8,
                "opened at {opens}, known at {alive}"
            );
            let asked = |session: &mut Session, from: u64, end: u64| {
                let count = std::cell::Cell::new(0);
                run(session, from, end, |_| {
                    count.set(count.get() + 1);
                    true
                });
                count.get()
            };
            assert!((9..=11).contains(&asked(&mut session, 20_000, 30_000)));
        }
        let mut session = Session::adopt(None, Some(&liveness), 0).unwrap();
        let count = std::cell::Cell::new(0);
        let silence = |session: &mut Session, from, end| {
            count.set(0);
            run(session, from, end, |_| {
                count.set(count.get() + 1);
                false
            });
            count.get()
        };
        assert!(silence(&mut session, 0, 16_000) < 120);
        assert!(silence(&mut session, 16_000, 26_000) <= 11);
        // New tables may lead traffic there: it is asked at once.
        let mut session = Session::adopt(Some(session), Some(&liveness), 26_100).unwrap();
        assert!(session.is_due(26_100));
        assert!(silence(&mut session, 26_100, 26_150) >= 4);
    }

    #[test]
    fn silence_kills_within_the_promised_time_and_the_first_answer_revives() {
        let mut session = session();
        let cut = 1234;
        let changes = run(&mut session, 0, 3000, |now| !(cut..2500).contains(&now));
        let [
            (0, HealthState::Alive),
            (dead, HealthState::Dead),
            (back, HealthState::Alive),
        ] = changes[..]
        else {
            panic!("{changes:?}")
        };
        assert!(dead <= cut + 300 && dead > cut, "dead at {dead}");
        assert!(back <= 2600, "back at {back}");
    }

    #[test]
    fn what_comes_and_goes_has_to_answer_ever_longer() {
        let mut session = session();
        let flapping = |now: u64| now % 2000 < 1000;
        let changes = run(&mut session, 0, 12_000, flapping);
        let revivals: Vec<u64> = changes
            .iter()
            .filter(|(_, state)| *state == HealthState::Alive)
            .map(|(now, _)| now % 2000)
            .collect();
        assert!(revivals.is_sorted(), "{revivals:?}");
        assert!(revivals.last().unwrap() >= &300, "{revivals:?}");
        // A long life makes it trusted again.
        run(&mut session, 12_000, 30_000, |_| true);
        let changes = run(&mut session, 30_000, 33_000, |now| now > 31_500);
        assert_eq!(changes.len(), 2, "{changes:?}");
        assert!(changes[1].0 <= 31_600);
    }

    #[test]
    fn new_tables_keep_what_is_known() {
        let mut first = session();
        first.answered(5, 50);
        let liveness = first.liveness.clone();
        let kept = Session::adopt(Some(first), Some(&liveness), 50).unwrap();
        assert_eq!((kept.state(), kept.since_ms()), (HealthState::Alive, 5));
        assert!(Session::adopt(Some(kept), None, 60).is_none());
    }
}
