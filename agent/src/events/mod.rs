//! Things that happened on the box: numbered once per boot, kept until the controller has said
//! that it stored them.
//!
//! A broker's acknowledgement proves little: it may forget what it took charge of, and the controller
//! may die over it. So an event leaves only when an [`EventAck`] covers it; until then it is sent
//! again whenever somebody may have forgotten it. Receivers know it by boot and number.
//!
//! Events wait in bounded memory, with a copy in a directory that a reboot erases (`/run`, which
//! is memory too), so that a killed agent loses none of them and nothing is written to flash. When
//! there are too many the oldest give way, are counted, and the loss is an event.

mod journal;
mod numbers;
mod patience;
mod spool;

use crate::status::{Boot, Identity};
use journal::{Journal, Line};
use kc_agent_api::{Event, EventAck, EventKind, Topic};
use kc_mqtt::Link;
use numbers::{Numbers, Used};
use patience::Patience;
use spool::{Lost, Spool};
use std::path::Path;

/// The link's backlog up to which events are handed to it: room is left for states and answers.
const BACKLOG: usize = 256;
/// Longest message of an event, in bytes.
const MESSAGE: usize = 4096;
/// Longest name of what an event happened to, in bytes.
const OBJECT: usize = 256;

/// Numbers and keeps events.
#[derive(Debug)]
pub struct Events {
    boot: Boot,
    numbers: Numbers,
    spool: Spool,
    journal: Journal,
    patience: Patience,
}

impl Events {
    /// Goes on where the last agent stopped whose directory this was. `durable` is for a directory
    /// that outlives a reboot: every event is on the disk before it goes anywhere.
    pub fn open(dir: &Path, boot: Boot, durable: bool) -> Self {
        let (mut numbers, used) = Numbers::open(&dir.join("events.seq"), &boot);
        let (journal, lines) = Journal::open(&dir.join("events.log"), durable);
        let mut spool = Spool::default();
        for line in lines {
            spool.replay(line);
        }
        // A file of numbers may be older than the journal, where the disk refused the one and took the
        // other.
        let newest = |used: &Used| {
            let newest = spool.newest().is_none_or(|newest| *newest == used.boot);
            newest || used.boot == *boot.id()
        };
        if let Some(Used { boot, before, last }) = used.filter(newest)
            && last > spool.accounted(&boot).max(before)
        {
            // Numbered, and then the agent died or found the disk full before they were written.
            let from = spool.accounted(&boot).max(before) + 1;
            spool.account(&boot, last);
            let count = last - from + 1;
            spool.lose(Lost {
                boot,
                from,
                to: last,
                count,
            });
        }
        numbers.used(spool.accounted(boot.id()));
        let mut events = Self {
            boot,
            numbers,
            spool,
            journal,
            patience: Patience::default(),
        };
        // Losses are in the journal before they get numbers of their own.
        events.tidy();
        events.tell_losses();
        events
    }

    /// Something happened to `object`.
    pub fn record(
        &mut self,
        kind: EventKind,
        object: impl Into<String>,
        message: impl Into<String>,
    ) {
        let event = self.number(kind, object.into(), message.into());
        self.journal.append(&[Line::Event(event.clone())]);
        self.spool.push(event);
        self.tidy();
    }

    fn number(&mut self, kind: EventKind, mut object: String, mut message: String) -> Event {
        object.truncate(object.floor_char_boundary(OBJECT));
        message.truncate(message.floor_char_boundary(MESSAGE));
        let event = Event {
            at: self.boot.stamp(),
            sequence: self.numbers.next(&self.boot),
            kind,
            object,
            message,
        };
        tracing::info!(kind = %event.kind, object = event.object, event.message, "event");
        event
    }

    /// Hands events to the link as far as it has room. Call it after recording, when a connection
    /// stands, and now and then. `heard` is false when the controller is known to be away: then
    /// nothing is sent a second time.
    pub fn flush(&mut self, identity: &Identity, link: &Link, heard: bool) {
        if self.spool.is_empty() || !link.connected() {
            return;
        }
        let now = self.boot.elapsed();
        if heard && self.spool.sent() > 0 && self.patience.over(now) {
            self.spool.send_again();
        }
        let handed = self.spool.offer(|event| {
            if link.backlog() >= BACKLOG {
                return false;
            }
            let topic = Topic::Event(identity.node.clone());
            match identity.message(&topic, event) {
                Ok(message) => link.publish(message).is_ok(),
                Err(error) => {
                    tracing::warn!(%error, sequence = event.sequence, "an event cannot be sent");
                    true
                }
            }
        });
        if handed > 0 {
            self.patience.begin(now);
        }
    }

    /// The controller has stored what `ack` covers.
    pub fn acknowledged(&mut self, ack: &EventAck) {
        self.patience.heard();
        if self.spool.acknowledged(ack) == 0 {
            return;
        }
        self.journal.append(&[Line::Ack(ack.clone())]);
        self.tell_losses();
        self.tidy();
    }

    /// Somebody may have forgotten what was sent: there is a new connection, or another controller.
    pub fn again(&mut self) {
        self.patience.heard();
        self.spool.send_again();
    }

    /// Events that wait for their acknowledgement.
    pub fn waiting(&self) -> usize {
        self.spool.len()
    }

    /// Gives events to `take` that were not sent yet, oldest first, until it refuses one: what
    /// [`Events::flush`] does, for those who have no link.
    pub fn offer(&mut self, take: impl FnMut(&Event) -> bool) -> usize {
        self.spool.offer(take)
    }

    /// Makes events of what was lost, once there is room again.
    fn tell_losses(&mut self) {
        if !self.spool.has_room() {
            return;
        }
        let lost = self.spool.take_losses();
        if lost.is_empty() {
            return;
        }
        let told: Vec<Event> = lost
            .iter()
            .map(|lost| self.number(EventKind::EventsLost, "events".into(), lost.to_string()))
            .collect();
        // In one write, the word that they are told last: a disk that is full in between costs a
        // repetition. Nothing gives way to these, since there is room.
        let lines: Vec<Line> = told.iter().cloned().map(Line::Event).collect();
        let lines = [lines, vec![Line::Told]].concat();
        self.journal.append(&lines);
        for event in told {
            self.spool.push(event);
        }
    }

    /// Keeps the journal in proportion to what it is for.
    fn tidy(&mut self) {
        if self.journal.outgrown(self.spool.bytes()) {
            self.journal.rewrite(&self.spool.snapshot());
        }
    }
}

#[cfg(test)]
mod tests;
