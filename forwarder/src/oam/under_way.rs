//! Questions that wait for their answers, bounded.

use super::keys::Key;
use kc_forwarder_api::{Spi, Ttl};
use rustc_hash::FxHashMap;

/// Echoes that may be under way at the same time.
pub(crate) const MAX_ECHOES: usize = 256;

/// What a question was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Somebody wants to know of a path.
    Echo {
        /// The asker's number for it.
        token: u64,
        /// Path.
        spi: Spi,
        /// TTL it was sent with.
        ttl: Ttl,
        /// When to stop waiting.
        deadline_ms: u64,
    },
    /// Whether the SFF behind a tunnel lives.
    Tunnel(u16),
    /// Whether a function lives.
    Function(u16),
}

/// One question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// What for.
    pub(crate) purpose: Purpose,
    /// When it was sent.
    pub(crate) sent_us: u64,
}

/// All questions under way.
#[derive(Debug, Clone, Default)]
pub(crate) struct UnderWay {
    asked: FxHashMap<Key, Asked>,
    echoes: usize,
    /// When the first echo is given up.
    earliest_ms: Option<u64>,
}

impl UnderWay {
    /// Whether one more echo may be sent.
    pub(crate) fn has_room(&self) -> bool {
        self.echoes < MAX_ECHOES
    }

    /// Remembers a question.
    pub(crate) fn ask(&mut self, key: Key, asked: Asked) {
        if let Purpose::Echo { deadline_ms, .. } = asked.purpose {
            self.echoes += 1;
            let earliest = self.earliest_ms.unwrap_or(deadline_ms);
            self.earliest_ms = Some(earliest.min(deadline_ms));
        }
        self.asked.insert(key, asked);
    }

    /// The question of `key`.
    pub(crate) fn get(&self, key: Key) -> Option<&Asked> {
        self.asked.get(&key)
    }

    /// The question of `key`, asked no more.
    pub(crate) fn answered(&mut self, key: Key) -> Option<Asked> {
        let asked = self.asked.remove(&key)?;
        if matches!(asked.purpose, Purpose::Echo { .. }) {
            self.echoes -= 1;
            self.look_for_earliest();
        }
        Some(asked)
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(crate) fn earliest_ms(&self) -> Option<u64> {
        self.earliest_ms
    }

    /// Gives up echoes whose time is over, and tells their tokens.
    pub(crate) fn expire(&mut self, now_ms: u64, mut lost: impl FnMut(u64)) {
        if self.earliest_ms.is_none_or(|earliest| now_ms < earliest) {
            return;
        }
        self.asked.retain(|_, asked| match asked.purpose {
            Purpose::Echo {
                token, deadline_ms, ..
            } if deadline_ms <= now_ms => {
                lost(token);
                false
            }
            _ => true,
        });
        let is_echo = |asked: &&Asked| matches!(asked.purpose, Purpose::Echo { .. });
        self.echoes = self.asked.values().filter(is_echo).count();
        self.look_for_earliest();
    }

    /// Forgets what was asked for life: after a change of tables, numbers mean others.
    pub(crate) fn forget_probes(&mut self) {
        let is_echo = |asked: &Asked| matches!(asked.purpose, Purpose::Echo { .. });
        self.asked.retain(|_, asked| is_echo(asked));
    }

    fn look_for_earliest(&mut self) {
        let deadlines = self.asked.values().filter_map(|asked| match asked.purpose {
            Purpose::Echo { deadline_ms, .. } => Some(deadline_ms),
            _ => None,
        });
        self.earliest_ms = if self.echoes == 0 {
            None
        } else {
            deadlines.min()
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oam::Keys;

    fn echo(token: u64, deadline_ms: u64) -> Asked {
        let purpose = Purpose::Echo {
            token,
            spi: Spi::MIN,
            ttl: Ttl::MAX,
            deadline_ms,
        };
        Asked {
            purpose,
            sent_us: 0,
        }
    }

    #[test]
    fn what_is_not_answered_in_time_is_given_up() {
        let (mut keys, mut under_way) = (Keys::default(), UnderWay::default());
        let (first, second, probe) = (keys.next(), keys.next(), keys.next());
        under_way.ask(first, echo(1, 100));
        under_way.ask(second, echo(2, 50));
        let purpose = Purpose::Tunnel(0);
        under_way.ask(
            probe,
            Asked {
                purpose,
                sent_us: 0,
            },
        );
        assert_eq!(under_way.earliest_ms(), Some(50));
        let mut lost = Vec::new();
        under_way.expire(49, |token| lost.push(token));
        under_way.expire(60, |token| lost.push(token));
        assert_eq!((&lost[..], under_way.earliest_ms()), (&[2][..], Some(100)));
        assert!(under_way.answered(first).is_some() && under_way.answered(first).is_none());
        assert_eq!(under_way.earliest_ms(), None);
        under_way.forget_probes();
        assert!(under_way.get(probe).is_none());
    }

    #[test]
    fn there_is_room_for_so_many_and_no_more() {
        let (mut keys, mut under_way) = (Keys::default(), UnderWay::default());
        for token in 0..MAX_ECHOES as u64 {
            assert!(under_way.has_room());
            under_way.ask(keys.next(), echo(token, 10));
        }
        assert!(!under_way.has_room());
        under_way.expire(10, |_| {});
        assert!(under_way.has_room());
    }
}
