//! The control thread's part: records out of the ring, pcapng into a buffer, limits and
//! statistics. Pure but for the ring, which it never waits for.

use super::comment;
use super::outer::Front;
use super::pcapng::{self, Packet, Statistics};
use super::record::{Kind, Record};
use super::ring::{Reader, Ring};
use kc_forwarder_api::Capture;
use rustc_hash::FxHashMap;
use std::sync::Arc;

/// What is known of an interface that was described.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// Its number in the file.
    place: u32,
    /// Packets written.
    written: u64,
    /// Packets lost, as far as they were told with a later one.
    lost: u64,
}

/// How a capture goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// All there is was written; the next record rings.
    Wait,
    /// There is more.
    More,
    /// The last octet is written.
    Done,
}

/// One capture, as its reader sees it.
#[derive(Debug)]
pub struct Printer {
    ring: Reader,
    snaplen: u32,
    /// Packets to be written yet.
    left: u64,
    begun_ns: u64,
    interfaces: FxHashMap<u16, Known>,
    ending: bool,
    /// Room for one record and one comment.
    record: Vec<u8>,
    comment: String,
}

/// Said of interfaces whose outer headers are made up.
const MADE_UP: &str = "outer Ethernet, IP and UDP headers are put in front from what the socket \
    told: addresses, traffic class and ports are true, but for the sender's port of what came in, \
    shown as 0; MAC addresses and TTL are not known";

fn description(kind: Kind, name: &str) -> String {
    match kind {
        Kind::Port => format!("port {name} of kc-forwarder"),
        Kind::Tunnel => format!("tunnel {name} of kc-forwarder; {MADE_UP}"),
        Kind::Gpe => format!("VXLAN-GPE from and to VTEPs that no tunnel names; {MADE_UP}"),
        Kind::Vxlan => format!("VXLAN of segments; {MADE_UP}"),
        Kind::Own => "frames that kc-forwarder made itself".to_owned(),
    }
}

impl Printer {
    /// Prints what comes out of `ring`, from `now_ns` on.
    pub(super) fn new(wanted: &Capture, ring: Reader, now_ns: u64) -> Self {
        Self {
            ring,
            snaplen: wanted.snaplen,
            left: wanted.packets.unwrap_or(u64::MAX),
            begun_ns: now_ns,
            interfaces: FxHashMap::default(),
            ending: false,
            record: Vec::new(),
            comment: String::new(),
        }
    }

    /// What it shares with the packet thread, to see whether it is still there.
    pub(crate) fn ring(&self) -> &Arc<Ring> {
        self.ring.ring()
    }

    /// Appends the beginning of the file.
    pub fn begin(&self, out: &mut Vec<u8>) {
        pcapng::section(out, concat!("kc-forwarder ", env!("CARGO_PKG_VERSION")));
    }

    /// Takes no more than what waits in the ring.
    pub fn end(&mut self) {
        self.ending = true;
        self.ring.close();
    }

    /// Appends packets, and at the end statistics, as long as `out` has not grown by `room`.
    pub fn print(&mut self, out: &mut Vec<u8>, room: usize, now_ns: u64) -> Progress {
        let full = out.len().saturating_add(room);
        while out.len() < full {
            if self.left == 0 {
                self.end();
                self.statistics(out, now_ns);
                return Progress::Done;
            }
            if self.ring.take(&mut self.record) {
                let octets = std::mem::take(&mut self.record);
                // One of our own that cannot be read is one that never was.
                if let Some(record) = Record::read(&octets) {
                    self.packet(out, &record);
                    self.left -= 1;
                }
                self.record = octets;
            } else if self.ending {
                self.statistics(out, now_ns);
                return Progress::Done;
            } else if self.ring.sleep() {
                return Progress::Wait;
            }
        }
        Progress::More
    }

    fn packet(&mut self, out: &mut Vec<u8>, record: &Record<'_>) {
        let place = u32::try_from(self.interfaces.len()).unwrap_or(u32::MAX);
        let snaplen = self.snaplen;
        let known = self.interfaces.entry(record.interface).or_insert_with(|| {
            let description = description(record.kind, record.name);
            pcapng::interface(out, record.name, &description, snaplen);
            Known {
                place,
                written: 0,
                lost: 0,
            }
        });
        comment::write(&mut self.comment, record);
        let front = Front::new(record.outer, record.length, record.octets);
        let [first, second] = record.octets;
        let keep = usize::try_from(snaplen).unwrap_or(usize::MAX);
        let mut whole = Vec::new();
        // All but frames with something in front, or a NSH of their own, are one part as they are.
        let octets = if front.octets().is_empty() && first.is_empty() {
            second
        } else {
            whole.reserve(front.octets().len() + first.len() + second.len());
            for part in [front.octets(), first, second] {
                whole.extend_from_slice(part);
            }
            &whole
        };
        let octets = octets.get(..keep).unwrap_or(octets);
        let in_front = u32::try_from(front.octets().len()).unwrap_or(0);
        let shown = Packet {
            interface: known.place,
            at_ns: record.at_ns,
            octets,
            length: record.length.saturating_add(in_front),
            way: record.way,
            lost: record.lost.saturating_sub(known.lost),
            comment: &self.comment,
        };
        pcapng::packet(out, &shown);
        known.written += 1;
        known.lost = record.lost;
    }

    fn statistics(&self, out: &mut Vec<u8>, now_ns: u64) {
        let mut interfaces: Vec<_> = self.interfaces.iter().collect();
        interfaces.sort_unstable_by_key(|(_, known)| known.place);
        // Whatever was lost on interfaces that never showed a packet.
        let told: u64 = interfaces
            .iter()
            .map(|(number, _)| self.ring.lost(**number))
            .sum();
        let mut elsewhere = self.ring.lost_in_all().saturating_sub(told);
        for (number, known) in interfaces {
            let dropped = self.ring.lost(*number);
            let comment = match std::mem::take(&mut elsewhere) {
                0 => String::new(),
                more => format!("{more} more were lost on interfaces that showed none"),
            };
            let shown = Statistics {
                interface: known.place,
                start_ns: self.begun_ns,
                end_ns: now_ns,
                received: known.written.saturating_add(dropped),
                dropped,
                comment: &comment,
            };
            pcapng::statistics(out, &shown);
        }
    }
}
