//! What one function is working on: flow to NSH, with the fall-backs for functions that answer
//! from the middle or rewrite addresses.

use super::Held;
use crate::pipeline::{Packet, Recent};
use crate::wire::flow::FlowKey;
use std::net::IpAddr;

/// Flows remembered for one function.
const FLOWS: usize = 65_536;
/// Endpoints remembered for one function, two a flow at most.
const ENDPOINTS: usize = 65_536;
/// A flow that was silent for longer is forgotten.
const IDLE_MS: u64 = 600_000;
/// How often a steady flow renews its endpoints.
const RENEW_MS: u64 = 1_000;
/// Sets of the tables looked through at each call of [`Memory::expire`].
const SWEEP: usize = 256;

/// The side by which a frame leaves a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Side {
    /// By the inside leg: on a reverse path.
    Inside,
    /// By the outside leg: on a forward path.
    Outside,
    /// By the only leg.
    Only,
}

impl Side {
    /// The side by which a frame entered that leaves by this one.
    const fn opposite(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
            Self::Only => Self::Only,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FlowId {
    leaves_by: Side,
    /// The frame's own VLAN: who separates customers by VLAN gives them overlapping addresses.
    vlan: u16,
    flow: FlowKey,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum End {
    Source,
    Destination,
}

/// One end of a flow that a function may leave as it is while it rewrites the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Endpoint {
    leaves_by: Side,
    end: End,
    vlan: u16,
    protocol: u16,
    port: u16,
    address: u128,
}

impl Endpoint {
    fn of(packet: &Packet, leaves_by: Side, end: End) -> Option<Self> {
        let ip = packet.ip.as_ref()?;
        let (source, destination) = ip.ports.unwrap_or((0, 0));
        let (address, port) = match end {
            End::Source => (ip.source, source),
            End::Destination => (ip.destination, destination),
        };
        let address = match address {
            IpAddr::V4(v4) => u128::from(v4.to_bits()),
            IpAddr::V6(v6) => v6.to_bits(),
        };
        Some(Self {
            leaves_by,
            end,
            vlan: packet.vlan,
            protocol: u16::from(ip.protocol),
            port,
            address,
        })
    }
}

#[derive(Debug, Clone)]
struct Flow {
    nsh: Held,
    renewed_ms: u64,
}

/// What is known about a frame that came out of a function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Recall<'a> {
    /// It went in like this, or one end of it did: its NSH as it went in.
    Passed(&'a [u8]),
    /// The function's own answer to a frame that went in by this leg: that frame's NSH.
    Answer(&'a [u8]),
}

/// What one function is working on.
#[derive(Debug, Clone)]
pub(crate) struct Memory {
    flows: Recent<FlowId, Flow>,
    endpoints: Recent<Endpoint, Held>,
}

impl Memory {
    /// Nothing yet.
    pub(crate) fn new() -> Self {
        Self {
            flows: Recent::new(FLOWS),
            endpoints: Recent::new(ENDPOINTS),
        }
    }

    /// A frame goes into the function and `nsh` stays behind.
    pub(crate) fn learn(&mut self, now_ms: u64, leaves_by: Side, packet: &Packet, nsh: &[u8]) {
        let id = FlowId {
            leaves_by,
            vlan: packet.vlan,
            flow: packet.flow,
        };
        let renew = match self.flows.get(now_ms, &id) {
            Some(flow) => {
                let due = now_ms.saturating_sub(flow.renewed_ms) >= RENEW_MS;
                let renew = flow.nsh.update(nsh) || due;
                if renew {
                    flow.renewed_ms = now_ms;
                }
                renew
            }
            None => {
                self.flows.insert(
                    now_ms,
                    id,
                    Flow {
                        nsh: Held::new(nsh),
                        renewed_ms: now_ms,
                    },
                );
                true
            }
        };
        if !renew {
            return;
        }
        for end in [End::Source, End::Destination] {
            let Some(endpoint) = Endpoint::of(packet, leaves_by, end) else {
                return;
            };
            match self.endpoints.get(now_ms, &endpoint) {
                Some(held) => {
                    held.update(nsh);
                }
                None => {
                    self.endpoints.insert(now_ms, endpoint, Held::new(nsh));
                }
            }
        }
    }

    /// Finds the NSH for a frame that came out by `side`; `usable` says whether a path still
    /// goes on from an NSH, and the next best memory is taken when it does not.
    pub(crate) fn recall(
        &mut self,
        now_ms: u64,
        side: Side,
        packet: &Packet,
        usable: impl Fn(Recall<'_>) -> bool,
    ) -> Option<Recall<'_>> {
        let same = FlowId {
            leaves_by: side,
            vlan: packet.vlan,
            flow: packet.flow,
        };
        let answer = FlowId {
            leaves_by: side.opposite(),
            vlan: packet.vlan,
            flow: packet.flow.reversed(),
        };
        if self
            .flows
            .peek(&same)
            .is_some_and(|flow| usable(Recall::Passed(flow.nsh.octets())))
        {
            return self
                .flows
                .get(now_ms, &same)
                .map(|flow| Recall::Passed(flow.nsh.octets()));
        }
        if self
            .flows
            .peek(&answer)
            .is_some_and(|flow| usable(Recall::Answer(flow.nsh.octets())))
        {
            return self
                .flows
                .get(now_ms, &answer)
                .map(|flow| Recall::Answer(flow.nsh.octets()));
        }
        // A source NAT leaves the far end as it is, a load balancer the near one. The near end is
        // the client's, with a port of its own, and tells flows apart better: it is asked first.
        let order = match side {
            Side::Inside => [End::Destination, End::Source],
            Side::Outside | Side::Only => [End::Source, End::Destination],
        };
        let known = order.into_iter().find_map(|end| {
            let endpoint = Endpoint::of(packet, side, end)?;
            let held = self.endpoints.peek(&endpoint)?;
            usable(Recall::Passed(held.octets())).then_some(endpoint)
        })?;
        self.endpoints
            .get(now_ms, &known)
            .map(|held| Recall::Passed(held.octets()))
    }

    /// Forgets silent flows, a part of the tables at each call.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        self.flows.expire(now_ms, IDLE_MS, SWEEP);
        self.endpoints.expire(now_ms, IDLE_MS, SWEEP);
    }
}
