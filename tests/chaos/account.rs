//! The account of events: what agents were told is stored, against what the controller's file holds
//! at the end.

use crate::site::{BOXES, DATA, run};
use anyhow::{Context, Result, ensure};
use kc_agent::events::Events;
use kc_agent::status::Boot;
use kc_agent_api::{EventAck, Topic, decode};
use kc_mqtt::{Config, Incoming, Link, QoS};
use kc_tests::namespace;
use rusqlite::{Connection, OpenFlags};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Box, boot and number.
type Key = (String, String, u64);

/// Listens to what agents are told.
pub(crate) struct Tap {
    told: Arc<Mutex<BTreeSet<Key>>>,
    stop: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Tap {
    /// Listens at the hub.
    pub(crate) fn start() -> Result<Self> {
        let told = Arc::new(Mutex::new(BTreeSet::new()));
        let (stop, stopped) = oneshot::channel();
        let heard = Arc::clone(&told);
        let thread = std::thread::spawn(move || {
            let listening = namespace::inside("kcpg-hub", || listen(&heard, stopped));
            if let Err(error) | Ok(Err(error)) = listening {
                eprintln!("nobody listens: {error:#}");
            }
        });
        Ok(Self { told, stop, thread })
    }

    /// Ends, and returns what was told.
    pub(crate) fn end(self) -> BTreeSet<Key> {
        let _ = self.stop.send(());
        let _ = self.thread.join();
        let told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        told.clone()
    }
}

fn listen(told: &Mutex<BTreeSet<Key>>, mut stopped: oneshot::Receiver<()>) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let mut config = Config::new("192.168.50.254", 1883, "chaos");
        config.subscriptions = vec![("kcluster/lab/node/+/ack".into(), QoS::AtLeastOnce)];
        let (_link, mut incoming) = Link::start(config);
        loop {
            let word = tokio::select! {
                word = incoming.recv() => word,
                _ = &mut stopped => None,
            };
            let message = match word {
                None => return Ok(()),
                Some(Incoming::Message(message)) => message,
                Some(_) => continue,
            };
            let (_, topic) = Topic::parse(&message.topic)?;
            let Topic::Ack(node) = topic else { continue };
            let ack: EventAck = decode(&message.payload)?;
            let mut told = told.lock().unwrap_or_else(PoisonError::into_inner);
            for number in ack.stored.iter().flat_map(|(from, to)| *from..=*to) {
                told.insert((node.to_string(), ack.boot.0.clone(), number));
            }
        }
    })
}

/// Whether every event of every box was acknowledged.
pub(crate) fn settled() -> Result<()> {
    for k in 1..=BOXES {
        // A copy: the agent is at work on its own.
        let copy = tempfile::tempdir()?;
        for name in ["events.log", "events.seq"] {
            std::fs::copy(run(k).join(name), copy.path().join(name))?;
        }
        let waiting = Events::open(copy.path(), Boot::read()?, false).waiting();
        ensure!(
            waiting == 0,
            "{waiting} events of box{k} wait for the controller"
        );
    }
    Ok(())
}

/// What the controller's file holds must be all that it said it holds, and without gaps but those that are
/// told. The controller has ended.
pub(crate) fn judge(told: &BTreeSet<Key>) -> Result<String> {
    let path = Path::new(DATA).join("controller/controller.db");
    let connection = Connection::open_with_flags(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
    let mut statement = connection.prepare(
        "SELECT node, boot, sequence, kind, message FROM events WHERE boot IS NOT NULL ORDER BY id",
    )?;
    let mut rows = statement.query([])?;
    let mut stored: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
    let mut lost: BTreeMap<(String, String), Vec<(u64, u64)>> = BTreeMap::new();
    let mut count = 0;
    while let Some(row) = rows.next()? {
        let of = (row.get(0)?, row.get(1)?);
        let number = u64::try_from(row.get::<_, i64>(2)?)?;
        if row.get::<_, String>(3)? == "events-lost" {
            let message: String = row.get(4)?;
            let range = range(&message).with_context(|| message.clone())?;
            lost.entry(of.clone()).or_default().push(range);
        }
        count += 1;
        let new = stored.entry(of.clone()).or_default().insert(number);
        ensure!(new, "event {number} of {of:?} is stored twice");
    }
    for (node, boot, number) in told {
        let numbers = stored.get(&(node.clone(), boot.clone()));
        let there = numbers.is_some_and(|numbers| numbers.contains(number));
        ensure!(
            there,
            "event {number} of {node} was acknowledged and is not stored"
        );
    }
    let mut told_lost = 0;
    for (of, numbers) in &stored {
        let (first, last) = (numbers.first().copied(), numbers.last().copied());
        let known = lost.get(of).map_or(&[][..], Vec::as_slice);
        for number in first.unwrap_or(0)..=last.unwrap_or(0) {
            let is_told = known
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&number));
            ensure!(
                numbers.contains(&number) || is_told,
                "event {number} of {} is missing, and nobody says so",
                of.0
            );
            told_lost += usize::from(is_told && !numbers.contains(&number));
        }
    }
    Ok(format!(
        "{count} events stored, {} acknowledgements heard, {told_lost} told lost",
        told.len()
    ))
}

/// The numbers in `3 events, numbers 4 to 6, found no room …`.
fn range(message: &str) -> Option<(u64, u64)> {
    let (_, rest) = message.split_once("numbers ")?;
    let (from, rest) = rest.split_once(" to ")?;
    let (to, _) = rest.split_once(',')?;
    Some((from.parse().ok()?, to.parse().ok()?))
}
