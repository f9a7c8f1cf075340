//! Which service path a function's own answer takes. An answer belongs to no frame that came in,
//! so it has no NSH of its own; it gets the one under which the same flow went the same way
//! before. ARP and neighbour advertisements, which are no flow, take the way of the last frame to
//! the same station. Where nothing is known, nothing is sent.

use super::nsh::Outer;
use crate::packet::{Kind, Reading};
use crate::table::Table;
use kc_forwarder::frame::Frame;
use kc_forwarder::wire::flow::FlowKey;

/// Flows and stations remembered.
const FLOWS: usize = 4096;
const STATIONS: usize = 256;

/// Paths change; one that was not used for this long is not trusted.
const TRUST_MS: u64 = 60_000;

/// Ways that frames went.
#[derive(Debug)]
pub(super) struct Ways {
    /// By VLAN and flow.
    flows: Table<(u16, FlowKey), Outer>,
    stations: Table<[u8; 6], Outer>,
}

impl Ways {
    /// Nothing known yet.
    pub(super) fn new() -> Self {
        Self {
            flows: Table::new(FLOWS),
            stations: Table::new(STATIONS),
        }
    }

    /// `frame` goes on behind `outer`.
    pub(super) fn note(&mut self, now_ms: u64, frame: &Frame, outer: &Outer) {
        let reading = Reading::of(frame);
        let station = reading.summary.destination_mac;
        if station[0] & 1 == 0 {
            put(&mut self.stations, now_ms, station, outer);
        }
        if reading.kind == Kind::Packet {
            let key = (reading.vlan(), reading.flow);
            put(&mut self.flows, now_ms, key, outer);
        }
    }

    /// The way of an answer.
    pub(super) fn of(&self, now_ms: u64, answer: &Frame) -> Option<&Outer> {
        let reading = Reading::of(answer);
        match reading.kind {
            Kind::Packet => self.flows.get(now_ms, &(reading.vlan(), reading.flow)),
            Kind::Arp | Kind::Discovery => {
                self.stations.get(now_ms, &reading.summary.destination_mac)
            }
            _ => None,
        }
    }
}

fn put<K: Copy + Eq + std::hash::Hash>(
    table: &mut Table<K, Outer>,
    now_ms: u64,
    key: K,
    outer: &Outer,
) {
    let expires = now_ms + TRUST_MS;
    if let Some(known) = table.get_mut(now_ms, &key) {
        if known != outer {
            *known = *outer;
        }
        return table.keep_until(&key, expires);
    }
    // Any older one may go: it is learned again with its next frame.
    table.insert(now_ms, key, *outer, expires, |_| true, |_, _| {});
}
