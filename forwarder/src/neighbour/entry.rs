//! The state of one neighbour: RFC 4861 section 7.3.2, for IPv4 as for IPv6. Nothing on a LAN
//! confirms that a next hop takes our frames, so there is no DELAY: what is stale is probed when
//! it is used, and used meanwhile.
//!
//! ```text
//!           a frame             answer
//!   idle ────────────► incomplete ──────► reachable ◄─┐ answer
//!    ▲                  │    ▲               │ 30 s   │
//!    │ silent           │3 s │ a frame       ▼        │
//!   probe ◄─────────┐   ▼    │ after 1 s   stale ──► probe
//!            a frame└─ ...  failed ◄──┘     (used, asked one by one)
//! ```

use kc_forwarder_api::NeighbourState;

/// RFC 4861 section 10: RETRANS_TIMER.
const RETRANS_MS: u64 = 1_000;

/// RFC 4861 section 10: REACHABLE_TIME.
const REACHABLE_MS: u64 = 30_000;

/// RFC 4861 section 10: MAX_MULTICAST_SOLICIT and MAX_UNICAST_SOLICIT.
const TRIES: u8 = 3;

/// How long frames to a silent neighbour are dropped at once, before it is asked again.
const FAILED_MS: u64 = 1_000;

type Mac = [u8; 6];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody wanted to know.
    Idle,
    /// Asked of everybody; no address yet.
    Incomplete { tries: u8, next_ms: u64 },
    /// Answered lately.
    Reachable { mac: Mac, until_ms: u64 },
    /// Said by itself, or answered long ago.
    Stale { mac: Mac },
    /// Asked alone, and used meanwhile.
    Probe { mac: Mac, tries: u8, next_ms: u64 },
    /// Did not answer.
    Failed { until_ms: u64 },
}

/// What becomes of a frame for the neighbour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// It goes there.
    To(Mac),
    /// It waits for an answer.
    Wait,
    /// Nobody answers.
    Silent,
}

/// A question that is to be asked now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Question {
    /// Of everybody on the LAN.
    Everybody,
    /// Of the neighbour alone.
    Alone(Mac),
}

/// What somebody said about the neighbour's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Heard {
    /// The MAC address, where it was said.
    pub(crate) mac: Option<Mac>,
    /// It is said to be an answer to us.
    pub(crate) solicited: bool,
    /// It replaces another address that is known.
    pub(crate) overrides: bool,
}

/// What time has brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing yet.
    Nothing,
    /// Ask again.
    Ask(Question),
    /// It did not answer: what waits, waits in vain.
    GaveUp,
}

/// One neighbour.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    state: State,
    /// When it was asked last, whatever became of that.
    asked_ms: Option<u64>,
}

impl Entry {
    /// A neighbour that nobody wanted anything of.
    pub(super) const fn new() -> Self {
        Self {
            state: State::Idle,
            asked_ms: None,
        }
    }

    /// Its MAC address, as far as it is known.
    pub(super) const fn mac(&self) -> Option<Mac> {
        match self.state {
            State::Reachable { mac, .. } | State::Stale { mac } | State::Probe { mac, .. } => {
                Some(mac)
            }
            State::Idle | State::Incomplete { .. } | State::Failed { .. } => None,
        }
    }

    /// How far it is known at `now_ms`.
    pub(super) const fn told(&self, now_ms: u64) -> NeighbourState {
        match self.state {
            State::Idle => NeighbourState::Idle,
            State::Incomplete { .. } => NeighbourState::Incomplete,
            State::Reachable { until_ms, .. } if now_ms < until_ms => NeighbourState::Reachable,
            State::Reachable { .. } | State::Stale { .. } => NeighbourState::Stale,
            State::Probe { .. } => NeighbourState::Probe,
            State::Failed { .. } => NeighbourState::Failed,
        }
    }

    /// When [`due`](Self::due) has something to say.
    pub(super) const fn deadline(&self) -> Option<u64> {
        match self.state {
            State::Incomplete { next_ms, .. } | State::Probe { next_ms, .. } => Some(next_ms),
            _ => None,
        }
    }

    /// Where a frame for the neighbour goes, and what has to be asked because of it.
    pub(super) fn way(&mut self, now_ms: u64) -> (Way, Option<Question>) {
        match self.state {
            State::Reachable { mac, until_ms } if now_ms < until_ms => (Way::To(mac), None),
            State::Reachable { mac, .. } | State::Stale { mac } => {
                let (tries, next_ms) = self.first_question(now_ms);
                self.state = State::Probe {
                    mac,
                    tries,
                    next_ms,
                };
                (Way::To(mac), (tries > 0).then_some(Question::Alone(mac)))
            }
            State::Probe { mac, .. } => (Way::To(mac), None),
            State::Incomplete { .. } => (Way::Wait, None),
            State::Failed { until_ms } if now_ms < until_ms => (Way::Silent, None),
            State::Idle | State::Failed { .. } => {
                let (tries, next_ms) = self.first_question(now_ms);
                self.state = State::Incomplete { tries, next_ms };
                (Way::Wait, (tries > 0).then_some(Question::Everybody))
            }
        }
    }

    /// A round of questions begins: how many are asked at once (one, or none when the last one
    /// was just now), and when the next is.
    ///
    /// RFC 4861 section 7.2.2: "Retransmissions MUST be rate-limited to at most one solicitation
    /// per neighbor every RetransTimer milliseconds."
    fn first_question(&mut self, now_ms: u64) -> (u8, u64) {
        match self.asked_ms {
            Some(asked_ms) if now_ms < asked_ms.saturating_add(RETRANS_MS) => {
                (0, asked_ms.saturating_add(RETRANS_MS))
            }
            _ => {
                self.asked_ms = Some(now_ms);
                (1, now_ms.saturating_add(RETRANS_MS))
            }
        }
    }

    /// What is to be done because it is `now_ms`.
    pub(super) fn due(&mut self, now_ms: u64) -> Due {
        if self.deadline().is_none_or(|deadline| now_ms < deadline) {
            return Due::Nothing;
        }
        let again_ms = now_ms.saturating_add(RETRANS_MS);
        match &mut self.state {
            State::Incomplete { tries, next_ms } if *tries < TRIES => {
                (*tries, *next_ms) = (*tries + 1, again_ms);
                self.asked_ms = Some(now_ms);
                Due::Ask(Question::Everybody)
            }
            State::Probe {
                mac,
                tries,
                next_ms,
            } if *tries < TRIES => {
                (*tries, *next_ms) = (*tries + 1, again_ms);
                self.asked_ms = Some(now_ms);
                Due::Ask(Question::Alone(*mac))
            }
            State::Incomplete { .. } => {
                let until_ms = now_ms.saturating_add(FAILED_MS);
                self.state = State::Failed { until_ms };
                Due::GaveUp
            }
            // It has gone, or has another address: the next frame asks everybody.
            _ => {
                self.state = State::Idle;
                Due::GaveUp
            }
        }
    }

    /// Takes what was said about the neighbour: RFC 4861 section 7.2.5, which RFC 826's "merge"
    /// is a case of. Says whether its MAC address is another one now.
    pub(super) fn hear(&mut self, now_ms: u64, heard: Heard) -> bool {
        let known = self.mac();
        let asked = matches!(self.state, State::Incomplete { .. } | State::Probe { .. });
        let Some(mac) = heard.mac.or(known) else {
            return false;
        };
        // A group is nobody's own address.
        if mac[0] & 1 == 1 || mac == [0; 6] {
            return false;
        }
        let changes = known != Some(mac);
        if changes && known.is_some() && !heard.overrides {
            // "If the state of the entry is REACHABLE, set it to STALE, but do not update the
            // entry in any other way."
            if let State::Reachable { mac, .. } = self.state {
                self.state = State::Stale { mac };
            }
            return false;
        }
        if heard.solicited && asked {
            let until_ms = now_ms.saturating_add(REACHABLE_MS);
            self.state = State::Reachable { mac, until_ms };
        } else if changes {
            self.state = State::Stale { mac };
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const A: Mac = [2, 0, 0, 0, 0, 0xa];
    const B: Mac = [2, 0, 0, 0, 0, 0xb];

    fn says(mac: Mac, solicited: bool, overrides: bool) -> Heard {
        Heard {
            mac: Some(mac),
            solicited,
            overrides,
        }
    }

    fn answer(mac: Mac) -> Heard {
        says(mac, true, true)
    }

    /// A neighbour that has just answered, at 10.
    fn reachable() -> Entry {
        let mut entry = Entry::new();
        assert_eq!(entry.way(0), (Way::Wait, Some(Question::Everybody)));
        assert!(entry.hear(10, answer(A)));
        entry
    }

    #[test]
    fn an_answer_makes_it_reachable_and_nobody_waits_for_anything() {
        let mut entry = reachable();
        assert_eq!(entry.way(30_009), (Way::To(A), None));
        assert_eq!(entry.deadline(), None);
    }

    #[test]
    fn three_questions_and_then_silence_for_a_second() {
        let mut entry = Entry::new();
        assert_eq!(entry.way(0), (Way::Wait, Some(Question::Everybody)));
        assert_eq!(entry.way(500), (Way::Wait, None));
        assert_eq!(entry.due(999), Due::Nothing);
        assert_eq!(entry.due(1_000), Due::Ask(Question::Everybody));
        assert_eq!(entry.due(2_000), Due::Ask(Question::Everybody));
        assert_eq!(entry.due(3_000), Due::GaveUp);
        assert_eq!(entry.deadline(), None);
        assert_eq!(entry.way(3_999), (Way::Silent, None));
        assert_eq!(entry.way(4_000), (Way::Wait, Some(Question::Everybody)));
        assert!(
            entry.hear(4_001, answer(B)),
            "one that returns is found again"
        );
        assert_eq!(entry.way(4_002), (Way::To(B), None));
    }

    #[test]
    fn what_is_stale_is_used_while_it_is_probed() {
        let mut entry = reachable();
        let told = [30_009, 30_010].map(|now| entry.told(now));
        assert_eq!(told, [NeighbourState::Reachable, NeighbourState::Stale]);
        assert_eq!(entry.way(30_010), (Way::To(A), Some(Question::Alone(A))));
        assert_eq!(entry.way(30_011), (Way::To(A), None));
        assert_eq!(entry.due(31_010), Due::Ask(Question::Alone(A)));
        assert!(!entry.hear(31_020, answer(A)));
        assert_eq!(entry.way(61_019), (Way::To(A), None));
    }

    #[test]
    fn one_that_vanishes_is_looked_for_among_everybody() {
        let mut entry = reachable();
        entry.way(40_000);
        for at in [41_000, 42_000] {
            assert_eq!(entry.due(at), Due::Ask(Question::Alone(A)));
        }
        assert_eq!(entry.due(43_000), Due::GaveUp);
        assert_eq!(entry.way(43_001), (Way::Wait, Some(Question::Everybody)));
    }

    #[test]
    fn a_change_told_to_everybody_is_followed_and_checked() {
        let mut entry = reachable();
        assert!(entry.hear(5_000, says(B, false, true)));
        assert_eq!(entry.way(5_001), (Way::To(B), Some(Question::Alone(B))));
        assert!(!entry.hear(5_002, answer(B)));
        assert_eq!(entry.way(5_003), (Way::To(B), None));
    }

    #[test]
    fn one_that_does_not_override_only_raises_doubt() {
        let mut entry = reachable();
        assert!(!entry.hear(5_000, says(B, true, false)));
        assert_eq!(entry.way(5_001), (Way::To(A), Some(Question::Alone(A))));
    }

    #[test]
    fn an_answer_that_nobody_asked_for_is_no_answer() {
        let mut entry = reachable();
        assert!(entry.hear(5_000, answer(B)));
        assert_eq!(entry.way(5_000), (Way::To(B), Some(Question::Alone(B))));
    }

    #[test]
    fn groups_and_nothing_are_no_addresses() {
        let mut entry = Entry::new();
        entry.way(0);
        let group = [3, 0, 0, 0, 0, 1];
        let silent = Heard {
            mac: None,
            ..answer(A)
        };
        for heard in [answer([0xff; 6]), answer(group), answer([0; 6]), silent] {
            assert!(!entry.hear(1, heard));
            assert_eq!(entry.way(2), (Way::Wait, None));
        }
    }

    proptest! {
        /// Whatever happens in whatever order.
        #[test]
        fn questions_keep_their_pace_and_addresses_were_said(
            events in proptest::collection::vec((0u8..4, 0u64..2_000, 0u8..3, any::<[bool; 2]>()), 1..200)
        ) {
            let mut entry = Entry::new();
            let (mut now, mut asked) = (0, None::<u64>);
            let mut said = std::collections::BTreeSet::new();
            let mut unanswered = 0;
            for (what, passed, mac, [solicited, overrides]) in events {
                now += passed;
                let question = match what {
                    0 | 1 => {
                        let (way, question) = entry.way(now);
                        if let Way::To(mac) = way {
                            prop_assert!(said.contains(&mac));
                        }
                        question
                    }
                    2 => {
                        let mac = [2, 0, 0, 0, 0, mac];
                        said.insert(mac);
                        unanswered = 0;
                        entry.hear(now, says(mac, solicited, overrides));
                        None
                    }
                    _ => match entry.due(now) {
                        Due::Ask(question) => Some(question),
                        Due::GaveUp => { unanswered = 0; None }
                        Due::Nothing => None,
                    },
                };
                if question.is_some() {
                    prop_assert!(asked.is_none_or(|asked| now >= asked + RETRANS_MS));
                    asked = Some(now);
                    unanswered += 1;
                    prop_assert!(unanswered <= TRIES);
                }
                // Time brings something once, and then not before later.
                if what == 3 {
                    prop_assert!(entry.deadline().is_none_or(|deadline| deadline > now));
                }
            }
        }
    }
}
