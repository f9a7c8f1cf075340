//! What a caller sends along with a call, in numbered parts: put in order, held to what it was
//! allowed. No I/O; the other end of the channel is whoever makes the answer.

use kc_agent_api::octets;
use tokio::sync::mpsc;

/// Parts that a caller may have under way.
pub(super) const WINDOW: u32 = 16;
/// Octets in one part, at most.
const LONGEST: usize = 32 << 10;

/// What arrives.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// Octets.
    Octets(Vec<u8>),
    /// No more will follow.
    End,
}

/// Why input is not taken any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("part {expected} is missing before part {part}")]
    Missing { expected: u32, part: u32 },
    #[error("part {0} is more than was allowed")]
    Overrun(u32),
    #[error("part {0} is no base64")]
    Base64(u32),
    #[error("part {0} is too long")]
    TooLong(u32),
}

/// The sending end.
#[derive(Debug)]
pub(super) struct Inward {
    sender: mpsc::Sender<Word>,
    expected: u32,
}

/// A way in. Closed before [`Word::End`] was told, something was lost.
pub(super) fn channel() -> (Inward, mpsc::Receiver<Word>) {
    // Octets and the end may come in one part.
    let (sender, receiver) = mpsc::channel(2 * WINDOW as usize);
    let inward = Inward {
        sender,
        expected: 0,
    };
    (inward, receiver)
}

impl Inward {
    /// Takes a part. One that came already is ignored: QoS 1 may deliver it twice.
    pub(super) fn take(&mut self, part: u32, base64: &str, last: bool) -> Result<(), InputError> {
        let expected = self.expected;
        if part < expected {
            return Ok(());
        }
        if part > expected {
            return Err(InputError::Missing { expected, part });
        }
        if base64.len() > LONGEST * 4 / 3 + 4 {
            return Err(InputError::TooLong(part));
        }
        let octets = octets(base64).map_err(|_| InputError::Base64(part))?;
        self.expected += 1;
        if !octets.is_empty() {
            self.tell(part, Word::Octets(octets))?;
        }
        if last {
            self.tell(part, Word::End)?;
        }
        Ok(())
    }

    fn tell(&self, part: u32, word: Word) -> Result<(), InputError> {
        match self.sender.try_send(word) {
            // Whoever takes no input does not mind it either.
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full(_)) => Err(InputError::Overrun(part)),
        }
    }
}

/// How much input may come, told in time.
#[derive(Debug)]
pub(super) struct Allowance {
    taken: u32,
    granted: u32,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            taken: 0,
            granted: WINDOW,
        }
    }
}

impl Allowance {
    /// A part was dealt with. Says how many may come altogether when that is news worth telling:
    /// half of what was allowed is used up.
    pub(super) fn taken(&mut self) -> Option<u32> {
        self.taken = self.taken.saturating_add(1);
        if self.taken.saturating_add(WINDOW / 2) < self.granted {
            return None;
        }
        self.granted = self.taken.saturating_add(WINDOW);
        Some(self.granted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kc_agent_api::CallBody;
    use proptest::prelude::*;

    fn encoded(octets: &[u8]) -> String {
        match CallBody::input(0, 0, octets, false) {
            CallBody::Input { base64, .. } => base64,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn parts_that_come_twice_are_taken_once_and_a_gap_is_told() {
        let (mut inward, mut words) = channel();
        for part in [0, 0, 1, 0, 1] {
            inward.take(part, &encoded(&[7]), false).unwrap();
        }
        let error = inward.take(3, &encoded(&[7]), false).unwrap_err();
        assert!(matches!(
            error,
            InputError::Missing {
                expected: 2,
                part: 3
            }
        ));
        inward.take(2, "", true).unwrap();
        drop(inward);
        let heard: Vec<_> = std::iter::from_fn(|| words.try_recv().ok()).collect();
        let octets = || Word::Octets(vec![7]);
        assert_eq!(heard, [octets(), octets(), Word::End]);
    }

    #[test]
    fn more_than_was_allowed_is_refused_and_so_is_rubbish() {
        let (mut inward, _words) = channel();
        assert!(matches!(
            inward.take(0, "%", false),
            Err(InputError::Base64(0))
        ));
        let long = "A".repeat(LONGEST * 2);
        assert!(matches!(
            inward.take(0, &long, false),
            Err(InputError::TooLong(0))
        ));
        let refused = (0..).find_map(|part| inward.take(part, &encoded(&[7]), false).err());
        let Some(InputError::Overrun(part)) = refused else {
            panic!("it is taken for ever");
        };
        assert!((WINDOW..=2 * WINDOW).contains(&part), "{part}");
    }

    proptest! {
        /// Nobody waits for ever, and never is more under way than the channel holds.
        #[test]
        fn an_allowance_is_renewed_before_it_is_used_up(parts in 1u32..10_000) {
            let (mut allowance, mut granted) = (Allowance::default(), WINDOW);
            for part in 1..=parts {
                prop_assert!(granted >= part, "part {part} was never allowed");
                granted = allowance.taken().unwrap_or(granted);
                prop_assert!(granted <= part + WINDOW);
            }
        }
    }
}
