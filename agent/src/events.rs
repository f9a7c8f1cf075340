//! Things that happened on the box: numbered once per boot, kept until the broker is in reach.
//!
//! A number is used once even when the agent restarts: the last one is written to
//! `<run-dir>/events.seq`, which a reboot erases, before the event goes anywhere. Events wait in
//! memory; when there are too many the oldest give way, are counted, and the loss is an event.

use crate::status::{Boot, Identity};
use kc_agent_api::{Event, EventKind, Topic};
use kc_mqtt::Link;
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Events kept while the broker is away.
const SPOOL: usize = 1000;
/// The link's backlog up to which events are handed to it: room is left for states and answers.
const BACKLOG: usize = 256;
/// Longest message of an event, in bytes.
const MESSAGE: usize = 4096;

/// Numbers and keeps events.
#[derive(Debug)]
pub struct Events {
    boot: Boot,
    numbers: Numbers,
    spool: VecDeque<Event>,
    lost: u64,
}

impl Events {
    /// Goes on counting where the last agent of this boot stopped.
    pub fn open(run_dir: &Path, boot: Boot) -> Self {
        let numbers = Numbers::open(&run_dir.join("events.seq"), &boot);
        Self {
            boot,
            numbers,
            spool: VecDeque::new(),
            lost: 0,
        }
    }

    /// Something happened to `object`.
    pub fn record(
        &mut self,
        kind: EventKind,
        object: impl Into<String>,
        message: impl Into<String>,
    ) {
        let mut message = message.into();
        message.truncate(message.floor_char_boundary(MESSAGE));
        let event = Event {
            at: self.boot.stamp(),
            sequence: self.numbers.next(&self.boot),
            kind,
            object: object.into(),
            message,
        };
        tracing::info!(kind = %event.kind, object = event.object, event.message, "event");
        if self.spool.len() >= SPOOL {
            self.spool.pop_front();
            self.lost += 1;
        }
        self.spool.push_back(event);
    }

    /// Hands events to the link as far as it has room. Call it after recording, when a connection
    /// stands, and now and then.
    pub fn flush(&mut self, identity: &Identity, link: &Link) {
        self.hand_over(|event| {
            if !link.connected() || link.backlog() >= BACKLOG {
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
    }

    /// Events that wait.
    pub fn waiting(&self) -> usize {
        self.spool.len()
    }

    fn hand_over(&mut self, mut take: impl FnMut(&Event) -> bool) {
        loop {
            while self.spool.front().is_some_and(&mut take) {
                self.spool.pop_front();
            }
            if self.lost == 0 || !self.spool.is_empty() {
                return;
            }
            let lost = std::mem::take(&mut self.lost);
            let message = format!("{lost} events found no room while the broker was away");
            self.record(EventKind::EventsLost, "events", message);
        }
    }
}

/// The last number used, in memory and in a file.
#[derive(Debug)]
struct Numbers {
    last: u64,
    file: Option<File>,
}

impl Numbers {
    fn open(path: &Path, boot: &Boot) -> Self {
        let text = std::fs::read_to_string(path);
        let last = match &text {
            Ok(text) => last_number(text, boot),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(0),
            Err(_) => None,
        };
        // A file that makes no sense must not make numbers come twice. Nothing happens a thousand
        // times a second, so this is higher than any number used.
        let last = last.unwrap_or_else(|| boot.stamp().mono_ms);
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(path);
        if let Err(error) = &file {
            tracing::warn!(%error, path = %path.display(), "event numbers are not kept");
        }
        Self {
            last,
            file: file.ok(),
        }
    }

    fn next(&mut self, boot: &Boot) -> u64 {
        self.last += 1;
        // One write of the same length every time: a reader finds the old number or the new one.
        let line = format!("{} {:020}\n", boot.id(), self.last);
        if let Some(file) = &self.file
            && let Err(error) = file.write_all_at(line.as_bytes(), 0)
        {
            tracing::warn!(%error, "an event number is not kept");
        }
        self.last
    }
}

/// The number in the file's first line: 0 when it is of another boot, `None` when it is no number.
fn last_number(text: &str, boot: &Boot) -> Option<u64> {
    let (id, number) = text.lines().next()?.split_once(' ')?;
    if id != boot.id().0 {
        return Some(0);
    }
    number.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(events: &mut Events) -> Vec<u64> {
        let mut seen = Vec::new();
        events.hand_over(|event| {
            seen.push(event.sequence);
            true
        });
        seen
    }

    #[test]
    fn numbers_go_on_over_a_restart_and_begin_anew_with_a_boot() {
        let dir = tempfile::tempdir().unwrap();
        for expected in [[1, 2], [3, 4]] {
            let mut events = Events::open(dir.path(), Boot::named("a"));
            events.record(EventKind::AgentStarted, "agent", "one");
            events.record(EventKind::Engine, "docker", "two");
            assert_eq!(sequences(&mut events), expected);
        }
        let mut events = Events::open(dir.path(), Boot::named("longer-name"));
        events.record(EventKind::AgentStarted, "agent", "");
        assert_eq!(sequences(&mut events), [1]);
    }

    #[test]
    fn a_spoilt_file_makes_no_number_come_twice() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("events.seq"), "a 00\u{0}x").unwrap();
        let mut events = Events::open(dir.path(), Boot::named("a"));
        events.record(EventKind::AgentStarted, "agent", "");
        assert!(
            sequences(&mut events)[0] > 1000,
            "far above what was counted"
        );
    }

    #[test]
    fn a_missing_directory_only_costs_the_memory() {
        let mut events = Events::open(Path::new("/nonexistent"), Boot::named("a"));
        events.record(EventKind::AgentStarted, "agent", "");
        assert_eq!(sequences(&mut events), [1]);
    }

    #[test]
    fn the_oldest_give_way_and_the_loss_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::open(dir.path(), Boot::named("a"));
        for number in 0..1003 {
            events.record(EventKind::ContainerDied, "fw-1", number.to_string());
        }
        assert_eq!(events.waiting(), SPOOL);
        let mut told = Vec::new();
        events.hand_over(|event| {
            told.push((event.sequence, event.kind, event.message.clone()));
            true
        });
        assert_eq!(told[0].0, 4);
        let (sequence, kind, message) = &told[SPOOL];
        assert_eq!((*sequence, *kind), (1004, EventKind::EventsLost));
        assert!(message.starts_with("3 events"), "{message}");
    }

    #[test]
    fn what_the_link_does_not_take_stays_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::open(dir.path(), Boot::named("a"));
        for _ in 0..3 {
            events.record(EventKind::ContainerDied, "fw-1", "");
        }
        let mut room = 2;
        events.hand_over(|_| {
            room -= 1;
            room >= 0
        });
        assert_eq!(sequences(&mut events), [3]);
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let dir = tempfile::tempdir().unwrap();
        let mut events = Events::open(dir.path(), Boot::named("a"));
        events.record(EventKind::ContainerDied, "fw-1", "é".repeat(4096));
        events.hand_over(|event| {
            assert_eq!(event.message.len(), MESSAGE);
            true
        });
    }
}
