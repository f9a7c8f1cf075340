//! What the controller must not forget, in one SQLite file: its state, the documents it has
//! published, what it last knew of its nodes, and a bounded history of events.
//!
//! SQLite runs on a thread of its own; callers await its answers. One [`Commit`] is one
//! transaction, on the disk before the answer comes. Nothing here knows what a state means.

mod error;
mod query;
mod schema;
#[cfg(test)]
mod tests;
mod thread;
mod write;

pub use error::StoreError;
pub use query::{EventQuery, StoredEvent};
pub use schema::SCHEMA_VERSION;
pub use thread::Store;
pub use write::{Commit, Committed, Loaded, NewEvent, Origin};

/// How many events the history holds; the oldest go first.
pub const HISTORY: u64 = 10_000;
