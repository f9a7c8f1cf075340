//! What was promised about events, held against the real spool of the agent and the real store
//! of the controller, with everything between them at its worst: a broker that forgets, repeats and
//! mixes up, a controller that dies before and after it has written, agents that are killed, boxes that reboot.
#![cfg(test)]

use kc_agent::events::Events;
use kc_agent::status::Boot;
use kc_agent_api::{Event, EventAck, EventKind, NodeName};
use kc_controller::store::{Commit, EventQuery, NewEvent, Origin, Store, StoreError};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use tempfile::TempDir;
use tokio::runtime::Runtime;

/// What may happen.
#[derive(Debug, Clone)]
enum Step {
    /// Things happen on the box.
    Record(u16),
    /// The agent is killed and started again.
    Kill,
    /// The same, and the last line of its journal is cut to so many octets.
    Tear(u8),
    /// The box reboots.
    Reboot,
    /// The agent hands so many events to the broker.
    Send(u16),
    /// Somebody may have forgotten: the agent sends all anew.
    Again,
    /// The broker loses what is under way.
    Forget,
    /// The broker hands so many events over, each once or twice, the newest first if told so.
    Deliver(u16, bool, bool),
    /// The controller writes down what it has; then it tells, unless it dies in between.
    Commit(bool),
    /// The controller dies.
    Die,
    /// Acknowledgements arrive, or are lost.
    Tell(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u16..8).prop_map(Step::Record),
        1 => (300u16..700).prop_map(Step::Record),
        2 => Just(Step::Kill),
        1 => any::<u8>().prop_map(Step::Tear),
        1 => Just(Step::Reboot),
        6 => (1u16..300).prop_map(Step::Send),
        2 => Just(Step::Again),
        2 => Just(Step::Forget),
        6 => (1u16..300, any::<bool>(), any::<bool>()).prop_map(|(n, twice, back)| Step::Deliver(n, twice, back)),
        5 => any::<bool>().prop_map(Step::Commit),
        2 => Just(Step::Die),
        4 => any::<bool>().prop_map(Step::Tell),
    ]
}

struct World {
    runtime: Runtime,
    directory: TempDir,
    /// Whether events outlive a reboot.
    durable: bool,
    boot: u32,
    events: Events,
    store: Option<Store>,
    wire: Vec<Event>,
    received: Vec<Event>,
    acks: Vec<EventAck>,
    recorded: u32,
    /// Texts of what a reboot may have erased.
    erased: BTreeSet<String>,
    /// What was ever seen under a boot and a number.
    seen: BTreeMap<(String, u64), String>,
    acknowledged: BTreeSet<(String, u64)>,
}

impl World {
    fn new(durable: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (store, _) = Store::open(&directory.path().join("controller.db")).unwrap();
        std::fs::create_dir(directory.path().join("box")).unwrap();
        Self {
            runtime: tokio::runtime::Builder::new_current_thread()
                .build()
                .unwrap(),
            events: events(directory.path(), 0, durable),
            directory,
            durable,
            boot: 0,
            store: Some(store),
            wire: Vec::new(),
            received: Vec::new(),
            acks: Vec::new(),
            recorded: 0,
            erased: BTreeSet::new(),
            seen: BTreeMap::new(),
            acknowledged: BTreeSet::new(),
        }
    }

    fn take(&mut self, step: &Step) {
        match *step {
            Step::Record(count) => {
                for _ in 0..count {
                    self.recorded += 1;
                    let text = format!("happened {}", self.recorded);
                    self.events.record(EventKind::ContainerDied, "fw-1", text);
                }
            }
            Step::Kill => self.restart(),
            Step::Tear(octets) => {
                self.tear(octets);
                self.restart();
            }
            Step::Reboot => {
                if !self.durable {
                    let kept = 1..=self.recorded;
                    self.erased
                        .extend(kept.map(|number| format!("happened {number}")));
                    std::fs::remove_dir_all(self.directory.path().join("box")).unwrap();
                    std::fs::create_dir(self.directory.path().join("box")).unwrap();
                }
                self.boot += 1;
                self.restart();
            }
            Step::Send(count) => self.send(usize::from(count)),
            Step::Again => self.events.again(),
            Step::Forget => self.wire.clear(),
            Step::Deliver(count, twice, back) => {
                let count = usize::from(count).min(self.wire.len());
                let mut all: Vec<Event> = self.wire.drain(..count).collect();
                if back {
                    all.reverse();
                }
                if twice {
                    self.received.extend(all.iter().cloned());
                }
                self.received.extend(all);
            }
            Step::Commit(tells) => self.commit(tells),
            Step::Die => self.die(),
            Step::Tell(arrives) => {
                for ack in std::mem::take(&mut self.acks) {
                    if arrives {
                        self.tell(&ack);
                    }
                }
            }
        }
    }

    fn restart(&mut self) {
        self.events = events(self.directory.path(), self.boot, self.durable);
    }

    fn tear(&self, octets: u8) {
        let path = self.directory.path().join("box/events.log");
        let text = std::fs::read(&path).unwrap();
        let body = text.strip_suffix(b"\n").unwrap_or(&text);
        let last = body
            .iter()
            .rposition(|byte| *byte == b'\n')
            .map_or(0, |at| at + 1);
        let end = (last + usize::from(octets)).min(text.len());
        // A head is written whole, or not at all.
        if !text[last..].starts_with(b"{\"head\"") {
            std::fs::write(&path, &text[..end]).unwrap();
        }
    }

    fn send(&mut self, mut count: usize) {
        let (wire, seen) = (&mut self.wire, &mut self.seen);
        self.events.offer(|event| {
            if count == 0 {
                return false;
            }
            count -= 1;
            let key = (event.at.boot.0.clone(), event.sequence);
            let known = seen
                .entry(key.clone())
                .or_insert_with(|| event.message.clone());
            assert_eq!(*known, event.message, "{key:?} was used twice");
            wire.push(event.clone());
            true
        });
    }

    fn commit(&mut self, tells: bool) {
        let received = std::mem::take(&mut self.received);
        let events = received.iter().map(|event| NewEvent {
            at_ms: 1,
            node: Some(NodeName::new("box1").unwrap()),
            kind: event.kind.as_str().to_owned(),
            object: event.object.clone(),
            message: event.message.clone(),
            origin: Some(Origin {
                boot: event.at.boot.clone(),
                sequence: event.sequence,
                mono_ms: event.at.mono_ms,
            }),
        });
        let commit = Commit {
            events: events.collect(),
            ..Commit::default()
        };
        let store = self.store.as_ref().unwrap();
        self.runtime.block_on(store.commit(commit)).unwrap();
        if tells {
            self.acks.extend(received.into_iter().map(|event| EventAck {
                boot: event.at.boot,
                stored: vec![(event.sequence, event.sequence)],
            }));
        } else {
            self.die();
        }
    }

    fn die(&mut self) {
        self.received.clear();
        self.store = None;
        let path = self.directory.path().join("controller.db");
        self.store = Some(loop {
            match Store::open(&path) {
                Ok((store, _)) => break store,
                Err(StoreError::InUse { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        });
    }

    fn tell(&mut self, ack: &EventAck) {
        for (from, to) in &ack.stored {
            let numbers = (*from..=*to).map(|number| (ack.boot.0.clone(), number));
            self.acknowledged.extend(numbers);
        }
        self.events.acknowledged(ack);
    }

    /// Everybody is well, until nothing waits any more.
    fn heal(&mut self) {
        for _ in 0..20 {
            if self.events.waiting() == 0 {
                return;
            }
            for step in [
                Step::Again,
                Step::Send(u16::MAX),
                Step::Deliver(u16::MAX, false, false),
                Step::Commit(true),
                Step::Tell(true),
            ] {
                self.take(&step);
            }
        }
        panic!("{} events wait for ever", self.events.waiting());
    }

    fn stored(&self) -> Vec<(String, String)> {
        let query = EventQuery {
            limit: u32::MAX,
            ..EventQuery::default()
        };
        let store = self.store.as_ref().unwrap();
        let all = self.runtime.block_on(store.events(query)).unwrap();
        all.into_iter()
            .map(|event| (event.kind, event.message))
            .collect()
    }

    fn judge(&self) {
        let stored = self.stored();
        let mut once = BTreeSet::new();
        for (kind, message) in &stored {
            assert!(
                kind == "events-lost" || once.insert(message),
                "stored twice: {message}"
            );
        }
        let all: BTreeSet<&String> = stored.iter().map(|(_, message)| message).collect();
        for key in &self.acknowledged {
            assert!(
                all.contains(&self.seen[key]),
                "{key:?} was acknowledged and is not stored"
            );
        }
        let lost: u64 = stored
            .iter()
            .filter(|(kind, _)| kind == "events-lost")
            .map(|(_, message)| message.split_once(' ').unwrap().0.parse::<u64>().unwrap())
            .sum();
        let missing = (1..=self.recorded).filter(|number| {
            let text = format!("happened {number}");
            !all.contains(&text) && !self.erased.contains(&text)
        });
        let missing = u64::try_from(missing.count()).unwrap();
        assert!(
            missing <= lost,
            "{missing} events are missing, {lost} are told lost"
        );
    }
}

fn events(directory: &Path, boot: u32, durable: bool) -> Events {
    let boot = Boot::named(&format!("boot-{boot}"));
    Events::open(&directory.join("box"), boot, durable)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn nothing_acknowledged_is_lost_nothing_is_stored_twice_and_no_number_is_used_again(
        durable in any::<bool>(),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut world = World::new(durable);
        for step in &steps {
            if world.recorded < 8_000 {
                world.take(step);
            }
        }
        world.heal();
        world.judge();
    }
}
