//! Events that wait for their acknowledgement, within bounds. Pure.

use super::journal::Line;
use kc_agent_api::{BootId, Event, EventAck};
use std::collections::VecDeque;
use std::fmt;

/// Events kept.
pub(super) const COUNT: usize = 1000;
/// Bytes of them: kind, object and message, and what goes with each.
const BYTES: usize = 256 << 10;
/// Bytes that go with an event beside its texts.
const BESIDE: usize = 160;

/// Numbers of events that are gone.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Lost {
    /// Their boot.
    pub(super) boot: BootId,
    /// The first.
    pub(super) from: u64,
    /// The last.
    pub(super) to: u64,
    /// How many of those between are gone.
    pub(super) count: u64,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            from, to, count, ..
        } = self;
        write!(
            f,
            "{count} events, numbers {from} to {to}, found no room before they were acknowledged"
        )
    }
}

#[derive(Debug)]
struct Entry {
    event: Event,
    sent: bool,
}

/// The queue.
#[derive(Debug, Default)]
pub(super) struct Spool {
    entries: VecDeque<Entry>,
    bytes: usize,
    losses: Vec<Lost>,
    /// The newest boot, and its highest number that was in here or is known to be lost.
    accounted: Option<(BootId, u64)>,
}

impl Spool {
    /// Takes an event in; the oldest give way.
    pub(super) fn push(&mut self, event: Event) {
        let size = size(&event);
        while self.entries.len() >= COUNT || (self.bytes + size > BYTES && !self.entries.is_empty())
        {
            if let Some(oldest) = self.entries.pop_front() {
                self.bytes -= self::size(&oldest.event);
                let (boot, number) = (oldest.event.at.boot, oldest.event.sequence);
                self.lose(Lost {
                    boot,
                    from: number,
                    to: number,
                    count: 1,
                });
            }
        }
        self.account(&event.at.boot, event.sequence);
        self.bytes += size;
        self.entries.push_back(Entry { event, sent: false });
    }

    /// Notes a loss that is to be told.
    pub(super) fn lose(&mut self, lost: Lost) {
        match self.losses.last_mut() {
            Some(before) if before.boot == lost.boot && before.to < lost.from => {
                before.to = lost.to;
                before.count += lost.count;
            }
            _ => self.losses.push(lost),
        }
    }

    /// What becomes of `number` is known from here on.
    pub(super) fn account(&mut self, boot: &BootId, number: u64) {
        match &mut self.accounted {
            Some((known, highest)) if known == boot => *highest = number.max(*highest),
            other => *other = Some((boot.clone(), number)),
        }
    }

    /// Does once more what a former agent did.
    pub(super) fn replay(&mut self, line: Line) {
        match line {
            Line::Event(event) => self.push(event),
            Line::Ack(ack) => {
                self.acknowledged(&ack);
            }
            Line::Told => self.losses.clear(),
            Line::Head { accounted, lost } => {
                self.accounted = accounted;
                self.losses = lost;
            }
        }
    }

    /// What a replay makes this of.
    pub(super) fn snapshot(&self) -> Vec<Line> {
        let head = Line::Head {
            accounted: self.accounted.clone(),
            lost: self.losses.clone(),
        };
        let events = self.entries.iter();
        let events = events.map(|entry| Line::Event(entry.event.clone()));
        std::iter::once(head).chain(events).collect()
    }

    /// Removes what is covered; says how many that were.
    pub(super) fn acknowledged(&mut self, ack: &EventAck) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| !ack.covers(&entry.event));
        self.bytes = self.entries.iter().map(|entry| size(&entry.event)).sum();
        before - self.entries.len()
    }

    /// Gives to `take` what was not sent yet, until it refuses; says how many it took.
    pub(super) fn offer(&mut self, mut take: impl FnMut(&Event) -> bool) -> usize {
        let mut taken = 0;
        for entry in self.entries.iter_mut().filter(|entry| !entry.sent) {
            if !take(&entry.event) {
                break;
            }
            entry.sent = true;
            taken += 1;
        }
        taken
    }

    /// Nothing counts as sent any more.
    pub(super) fn send_again(&mut self) {
        for entry in &mut self.entries {
            entry.sent = false;
        }
    }

    /// Whether losses can be told without losing more.
    pub(super) fn has_room(&self) -> bool {
        self.entries.len() + self.losses.len() <= COUNT * 9 / 10 && self.bytes <= BYTES * 9 / 10
    }

    /// What is to be told, which is then told.
    pub(super) fn take_losses(&mut self) -> Vec<Lost> {
        std::mem::take(&mut self.losses)
    }

    /// The boot of the newest event there was.
    pub(super) fn newest(&self) -> Option<&BootId> {
        self.accounted.as_ref().map(|(boot, _)| boot)
    }

    /// The highest number of `boot` that was in here.
    pub(super) fn accounted(&self, boot: &BootId) -> u64 {
        match &self.accounted {
            Some((known, number)) if known == boot => *number,
            _ => 0,
        }
    }

    /// How many were sent and wait for their acknowledgement.
    pub(super) fn sent(&self) -> usize {
        self.entries.iter().filter(|entry| entry.sent).count()
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of what waits.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }
}

fn size(event: &Event) -> usize {
    event.object.len() + event.message.len() + BESIDE
}
