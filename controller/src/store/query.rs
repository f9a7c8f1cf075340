//! Reading the history.

use super::write::{signed, unsigned};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

/// Which events are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EventQuery {
    /// Only events with a greater id.
    pub after: u64,
    /// Only what concerns one of these objects or nodes; everything when empty.
    pub about: Vec<String>,
    /// At most so many, the newest of them.
    pub limit: u32,
}

/// One event of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StoredEvent {
    /// Grows with every event; never reused.
    pub id: u64,
    /// When the controller learned of it, milliseconds since 1970.
    pub at_ms: u64,
    /// The node it happened on.
    pub node: Option<String>,
    /// Kind.
    pub kind: String,
    /// What it happened to.
    pub object: String,
    /// For people.
    pub message: String,
}

pub(super) fn events(
    connection: &Connection,
    query: &EventQuery,
) -> rusqlite::Result<Vec<StoredEvent>> {
    let mut statement = connection.prepare_cached(
        "WITH wanted AS (SELECT value FROM json_each(?2))
         SELECT id, at_ms, node, kind, object, message FROM events
         WHERE id > ?1 AND (json_array_length(?2) = 0 OR object IN wanted OR node IN wanted
            OR substr(object, instr(object, '/') + 1) IN wanted)
         ORDER BY id DESC LIMIT ?3",
    )?;
    let about = serde_json::Value::from(query.about.clone()).to_string();
    let rows = statement.query_map(
        rusqlite::params![signed(query.after), about, query.limit],
        |row| {
            Ok(StoredEvent {
                id: unsigned(row.get(0)?),
                at_ms: unsigned(row.get(1)?),
                node: row.get(2)?,
                kind: row.get(3)?,
                object: row.get(4)?,
                message: row.get(5)?,
            })
        },
    )?;
    let mut events: Vec<_> = rows.collect::<Result<_, _>>()?;
    events.reverse();
    Ok(events)
}
