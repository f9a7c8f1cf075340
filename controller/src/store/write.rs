//! What is written in one transaction, and what is read back at start.

use super::HISTORY;
use kc_agent_api::{BootId, NodeName};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeMap;

/// Everything one decision changes: all of it is stored, or nothing.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Commit {
    /// The new state as JSON; the stored one stays when absent.
    pub state: Option<String>,
    /// The planner's clock, kept with the state.
    pub clock_ms: u64,
    /// Documents as they go out; `None` marks a node whose document is to be cleared.
    pub documents: Vec<(NodeName, Option<Vec<u8>>)>,
    /// What is newly known of nodes, as JSON; `None` forgets the node.
    pub nodes: Vec<(NodeName, Option<String>)>,
    /// What happened.
    pub events: Vec<NewEvent>,
}

impl Commit {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.state.is_none()
            && self.documents.is_empty()
            && self.nodes.is_empty()
            && self.events.is_empty()
    }
}

/// An event about to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// Receipt by the controller's clock, milliseconds since 1970.
    pub at_ms: u64,
    /// The node it happened on.
    pub node: Option<NodeName>,
    /// Kind.
    pub kind: String,
    /// What it happened to.
    pub object: String,
    /// For people.
    pub message: String,
    /// Where an agent's event comes from; the same origin is stored once.
    pub origin: Option<Origin>,
}

/// What makes an agent's event unique.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Boot.
    pub boot: BootId,
    /// Number within the boot.
    pub sequence: u64,
    /// Milliseconds since the boot.
    pub mono_ms: u64,
}

/// What an earlier run has left.
#[derive(Debug, Default)]
pub struct Loaded {
    /// Revision and JSON of the state.
    pub state: Option<(u64, String)>,
    /// Documents as published; `None` where the retained one was to be cleared.
    pub documents: BTreeMap<NodeName, Option<Vec<u8>>>,
    /// What was known of nodes, as JSON.
    pub nodes: BTreeMap<NodeName, String>,
    /// Id of the newest event.
    pub last_event: u64,
    /// The planner's clock at the last change.
    pub clock_ms: u64,
}

/// What a commit has become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// Revision of the state now.
    pub revision: u64,
    /// Id of the newest event now.
    pub last_event: u64,
}

/// SQLite's integers are signed; nothing we store comes near the sign.
pub(super) fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

pub(super) fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

pub(super) fn load(connection: &Connection) -> rusqlite::Result<Loaded> {
    let state = connection
        .query_row("SELECT revision, body, clock_ms FROM state", [], |row| {
            Ok((unsigned(row.get(0)?), row.get(1)?, unsigned(row.get(2)?)))
        })
        .optional()?;
    let clock_ms = state.as_ref().map_or(0, |(_, _, clock)| *clock);
    let mut loaded = Loaded {
        state: state.map(|(revision, body, _)| (revision, body)),
        clock_ms,
        last_event: last_event(connection)?,
        ..Loaded::default()
    };
    let mut statement = connection.prepare("SELECT node, body FROM documents")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok(node) = NodeName::new(row.get::<_, String>(0)?) {
            loaded.documents.insert(node, row.get(1)?);
        }
    }
    let mut statement = connection.prepare("SELECT node, body FROM nodes")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        if let Ok(node) = NodeName::new(row.get::<_, String>(0)?) {
            loaded.nodes.insert(node, row.get(1)?);
        }
    }
    Ok(loaded)
}

/// The counter of AUTOINCREMENT, which outlives pruned rows.
fn last_event(connection: &Connection) -> rusqlite::Result<u64> {
    let last = connection
        .query_row(
            "SELECT seq FROM sqlite_sequence WHERE name = 'events'",
            [],
            |row| row.get(0),
        )
        .optional()?;
    Ok(last.map_or(0, unsigned))
}

pub(super) fn commit(connection: &mut Connection, commit: &Commit) -> rusqlite::Result<Committed> {
    let transaction = connection.transaction()?;
    if let Some(body) = &commit.state {
        transaction
            .prepare_cached(
                "INSERT INTO state (id, revision, body, clock_ms) VALUES (1, 1, ?1, ?2)
             ON CONFLICT (id) DO UPDATE SET
                revision = revision + 1, body = excluded.body, clock_ms = excluded.clock_ms",
            )?
            .execute(params![body, signed(commit.clock_ms)])?;
    }
    for (node, body) in &commit.documents {
        transaction
            .prepare_cached(
                "INSERT INTO documents (node, body) VALUES (?1, ?2)
             ON CONFLICT (node) DO UPDATE SET body = excluded.body",
            )?
            .execute(params![node.as_str(), body])?;
    }
    for (node, body) in &commit.nodes {
        match body {
            Some(body) => transaction
                .prepare_cached(
                    "INSERT INTO nodes (node, body) VALUES (?1, ?2)
                 ON CONFLICT (node) DO UPDATE SET body = excluded.body",
                )?
                .execute(params![node.as_str(), body])?,
            None => transaction
                .prepare_cached("DELETE FROM nodes WHERE node = ?1")?
                .execute([node.as_str()])?,
        };
    }
    for event in &commit.events {
        let origin = event.origin.as_ref();
        transaction
            .prepare_cached(
                "INSERT OR IGNORE INTO events
                (at_ms, node, kind, object, message, boot, sequence, mono_ms)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                signed(event.at_ms),
                event.node.as_ref().map(NodeName::as_str),
                event.kind,
                event.object,
                event.message,
                origin.map(|o| o.boot.0.as_str()),
                origin.map(|o| signed(o.sequence)),
                origin.map(|o| signed(o.mono_ms)),
            ])?;
    }
    let last = last_event(&transaction)?;
    if !commit.events.is_empty() {
        transaction
            .prepare_cached("DELETE FROM events WHERE id <= ?1")?
            .execute([signed(last.saturating_sub(HISTORY))])?;
    }
    let revision = transaction
        .query_row("SELECT revision FROM state", [], |row| row.get(0))
        .optional()?
        .map_or(0, unsigned);
    transaction.commit()?;
    Ok(Committed {
        revision,
        last_event: last,
    })
}
