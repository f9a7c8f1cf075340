//! What was decided about a datagram's first fragment holds for the later ones, which carry no
//! ports.

use crate::packet::FragmentId;
use crate::table::Table;

/// Datagrams remembered.
const LIMIT: usize = 1024;
/// RFC 1122 section 3.3.2 has reassembly give up after 60 to 120 seconds; nothing comes in order
/// that late.
const PATIENCE_MS: u64 = 30_000;

/// Decisions about fragmented datagrams.
#[derive(Debug)]
pub(crate) struct Fragments<V>(Table<FragmentId, V>);

impl<V: Copy> Fragments<V> {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self(Table::new(LIMIT))
    }

    /// Remembers the decision about a first fragment.
    pub(crate) fn remember(&mut self, now_ms: u64, id: FragmentId, decision: V) {
        let expires = now_ms + PATIENCE_MS;
        self.0
            .insert(now_ms, id, decision, expires, |_| true, |_, _| {});
    }

    /// The decision about the datagram.
    pub(crate) fn recall(&self, now_ms: u64, id: &FragmentId) -> Option<V> {
        self.0.get(now_ms, id).copied()
    }
}
