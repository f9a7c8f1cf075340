//! What recent flows were found to be, so that most frames cost one probe whatever the rules.

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
}

/// Flow to rule; `None` says that no rule matches.
#[derive(Debug, Clone)]
pub(crate) struct FlowCache(Recent<FlowId, Option<u32>>);

impl FlowCache {
    /// An empty cache.
    pub(crate) fn new() -> Self {
        Self(Recent::new(LIMIT))
    }

    /// The rule of `flow`; asks `search` when it is new.
    pub(crate) fn find(
        &mut self,
        now_ms: u64,
        flow: FlowId,
        search: impl FnOnce() -> Option<u32>,
    ) -> Option<u32> {
        if let Some(rule) = self.0.get(now_ms, &flow) {
            return *rule;
        }
        let rule = search();
        self.0.insert(now_ms, flow, rule);
        rule
    }

    /// Forgets everything, since the rules changed.
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Forgets silent flows, a part of the table at each call.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.0.expire(now_ms, IDLE_MS, SWEEP);
    }
}
