//! What recent flows were found to be, so that most frames cost one probe whatever the rules,
//! and so that a flow can stay on its path while the rules move on.

use crate::pipeline::{Packet, Recent};
use crate::wire::flow::FlowKey;

/// Flows remembered.
const LIMIT: usize = 262_144;
/// A flow that was silent for longer is forgotten.
const IDLE_MS: u64 = 60_000;
/// Sets of the table looked through at each call of [`FlowCache::expire`].
const SWEEP: usize = 512;

/// A flow as the classifier tells it from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct FlowId {
    flow: FlowKey,
    port: u16,
    vlan: u16,
    ethertype: u16,
    /// A later fragment has no ports, which is not the same as ports of zero.
    ported: bool,
    macs: [u8; 12],
}

impl FlowId {
    /// The flow of a frame; MAC addresses belong to it where a rule looks at them.
    pub(crate) fn new(port: u16, packet: &Packet, macs: Option<[u8; 12]>) -> Self {
        let (vlan, ethertype) = (packet.vlan, packet.ethertype);
        let ported = packet.ip.as_ref().is_some_and(|ip| ip.ports.is_some());
        Self {
            flow: packet.flow,
            port,
            vlan,
            ethertype,
            ported,
            macs: macs.unwrap_or_default(),
        }
    }

    /// The flow of the answers, as they come in by `port`.
    pub(crate) fn answers(port: u16, packet: &Packet, macs: Option<[u8; 12]>) -> Self {
        let mut id = Self::new(port, packet, macs);
        id.flow = id.flow.reversed();
        id.macs.rotate_left(6);
        id
    }
}

/// A flow and where the cache has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sought {
    flow: FlowId,
    tag: u32,
}

impl From<FlowId> for Sought {
    fn from(flow: FlowId) -> Self {
        let tag = Recent::<FlowId, Entry>::tag(&flow);
        Self { flow, tag }
    }
}

/// What a flow was found to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Choice {
    /// The rule that matches, if one does.
    pub(crate) rule: Option<u32>,
    /// The path it is on: the service path header it starts with.
    pub(crate) path: Option<u32>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    choice: Choice,
    /// The rules it was found under.
    epoch: u32,
}

/// Flow to rule and path.
#[derive(Debug, Clone)]
pub(crate) struct FlowCache {
    flows: Recent<FlowId, Entry>,
    epoch: u32,
}

impl FlowCache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self {
            flows: Recent::new(LIMIT),
            epoch: 1,
        }
    }

    /// What `flow` is; asks `search` when it is new or the rules have changed, and tells it the
    /// path the flow was on.
    pub(crate) fn find(
        &mut self,
        now_ms: u64,
        sought: &Sought,
        search: impl FnOnce(Option<u32>) -> Choice,
    ) -> Choice {
        let (epoch, flow) = (self.epoch, sought.flow);
        if let Some(entry) = self.flows.get_tagged(now_ms, &flow, sought.tag) {
            if entry.epoch != epoch {
                let choice = search(entry.choice.path);
                *entry = Entry { choice, epoch };
            }
            return entry.choice;
        }
        let choice = search(None);
        self.flows.insert(now_ms, flow, Entry { choice, epoch });
        choice
    }

    /// Brings what is known of all `sought` near, so that [`find`](Self::find) need not wait for
    /// memory each time.
    pub(crate) fn warm<'a>(&self, sought: impl Iterator<Item = &'a Sought> + Clone) {
        let tags = sought
            .clone()
            .map(|sought| self.flows.warm_tags(sought.tag));
        let read = tags.fold(0, |all, read| all ^ read);
        let slots = sought.map(|sought| self.flows.warm_slot(sought.tag));
        std::hint::black_box(slots.fold(read, |all, read| all ^ read));
    }

    /// `flow` belongs on `path`, should the rules leave the choice.
    pub(crate) fn learn(&mut self, now_ms: u64, flow: FlowId, path: u32) {
        let entry = Entry {
            choice: Choice {
                rule: None,
                path: Some(path),
            },
            // The rules have not been asked yet.
            epoch: self.epoch.wrapping_sub(1),
        };
        match self.flows.get(now_ms, &flow) {
            Some(known) if known.choice.path == Some(path) => {}
            Some(known) => *known = entry,
            None => {
                self.flows.insert(now_ms, flow, entry);
            }
        }
    }

    /// The rules have changed: each flow is looked at again when its next frame comes.
    pub(crate) fn doubt(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// Forgets everything, since ports are numbered anew.
    pub(crate) fn clear(&mut self) {
        self.flows.clear();
        self.doubt();
    }

    /// Forgets silent flows, a part of the table at each call.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.flows.expire(now_ms, IDLE_MS, SWEEP);
    }
}
