//! Which member a flow came through, so that its answers go back through the same one: behind a
//! NAT too, where no hash of theirs could tell.

use crate::health::Subject;
use crate::pipeline::Recent;
use crate::wire::flow::FlowKey;

/// Flows remembered.
const LIMIT: usize = 262_144;
/// A flow that was silent for longer is forgotten.
const IDLE_MS: u64 = 600_000;
/// Sets of the table looked through at each call of [`Returns::expire`].
const SWEEP: usize = 512;

/// A flow of a return path at one of its groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Way {
    /// The service path header of the group's hop.
    hop: u32,
    flow: FlowKey,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub(crate) struct Returns {
    ways: Recent<Way, Subject>,
}

impl Returns {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            ways: Recent::new(LIMIT),
        }
    }

    /// `flow` came through `member`: its answers, when they are at `hop`, go back there.
    pub(crate) fn learn(&mut self, now_ms: u64, hop: u32, flow: FlowKey, member: Subject) {
        let flow = flow.reversed();
        let way = Way { hop, flow };
        match self.ways.get(now_ms, &way) {
            Some(known) => *known = member,
            None => {
                self.ways.insert(now_ms, way, member);
            }
        }
    }

    /// The member that `flow`, being at `hop`, answers to.
    pub(crate) fn of(&mut self, now_ms: u64, hop: u32, flow: FlowKey) -> Option<Subject> {
        self.ways.get(now_ms, &Way { hop, flow }).copied()
    }

    /// Subjects are numbered anew.
    pub(crate) fn renumber(&mut self, new: impl Fn(Subject) -> Option<Subject>) {
        self.ways.retain(|_, member| match new(*member) {
            Some(number) => {
                *member = number;
                true
            }
            None => false,
        });
    }

    /// Forgets silent flows, a part of the table at each call.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.ways.expire(now_ms, IDLE_MS, SWEEP);
    }
}
