//! Probes for life: what is sent to whom, and what counts as its answer.
//!
//! A tunnel is asked with an echo request that goes no further than the next SFF. A function with
//! two legs is sent a frame by one of them, which has to come out of the other; a function with
//! one leg is asked for its address by ARP; one that knows NSH is sent an echo request.

use super::oam::NEXT_SFF_ONLY;
use super::run::Run;
use super::{Pipeline, PortIndex};
use crate::frame::Frame;
use crate::health::Subject;
use crate::oam::{Asked, Key, Purpose};
use crate::tables::{Compiled, Leg, Wiring};
use crate::wire::sfc_echo::{self, Kind, ReplyMode};
use crate::wire::{arp, ethernet};
use kc_forwarder_api::{FunctionStatus, HealthEvent, TunnelStatus};
use std::net::{IpAddr, Ipv4Addr};

/// EtherType for local experiments (IEEE 802): a function that passes frames on passes this one
/// too, and no end system makes anything of it.
const PROBE: u16 = 0x88b5;

/// Octets of a probe frame: as short as Ethernet allows.
const PROBE_LEN: usize = 60;

/// What stands behind the EtherType, so that other experiments are left alone.
const MAGIC: [u8; 4] = *b"kc-l";

impl Pipeline {
    /// The changes of health since the last call.
    pub fn health_events(&mut self) -> Vec<HealthEvent> {
        self.state.health.take_events()
    }

    /// State of all tunnels and functions, in table order.
    pub fn health(&self, now_ms: u64) -> (Vec<TunnelStatus>, Vec<FunctionStatus>) {
        self.state.health.status(&self.tables, now_ms)
    }
}

impl Run<'_> {
    /// Asks everybody who is due.
    pub(super) fn probe_who_is_due(&mut self) {
        let (tables, now_ms) = (self.tables, self.now_ms);
        let mut ask = std::mem::take(&mut self.state.due);
        self.state.health.due(tables, now_ms, &mut ask);
        for subject in ask.drain(..) {
            let key = self.next_key();
            if let Some(old) = self.state.health.sent(subject, key) {
                self.state.oam.under_way.answered(old);
            }
            let purpose = match subject {
                Subject::Tunnel(number) => Purpose::Tunnel(number),
                Subject::Function(number) => Purpose::Function(number),
            };
            let sent_us = self.now_us();
            self.state
                .oam
                .under_way
                .ask(key, Asked { purpose, sent_us });
            match subject {
                Subject::Tunnel(number) => self.ask_tunnel(number, key),
                Subject::Function(number) => self.ask_function(number, key),
            }
        }
        self.state.due = ask;
    }

    /// `subject` has answered.
    pub(super) fn lives(&mut self, subject: Subject, rtt_us: u64) {
        let (tables, now_ms) = (self.tables, self.now_ms);
        self.state.health.answered(tables, subject, now_ms, rtt_us);
    }

    fn write_probe(&mut self, key: Key) {
        self.state.oam.writer.begin(&sfc_echo::Repr {
            kind: Kind::Request,
            mode: ReplyMode::Link,
            code: 0,
            subcode: 0,
            handle: key.handle,
            sequence: key.sequence,
        });
    }

    fn ask_tunnel(&mut self, number: u16, key: Key) {
        self.write_probe(key);
        // On no path: its TTL ends at the next SFF before any look-up.
        self.send_oam(0, NEXT_SFF_ONLY, number);
    }

    fn ask_function(&mut self, number: u16, key: Key) {
        let tables = self.tables;
        let Some(function) = tables.functions.get(usize::from(number)) else {
            return;
        };
        match function.wiring {
            Wiring::TwoLeg { inside, .. } => {
                let frame = self.made(&probe_frame(number, key));
                self.emit_circuit(inside, ethernet::HEADER_LEN, frame);
            }
            Wiring::OneLeg { leg, mac } => {
                if let Some(IpAddr::V4(address)) = address_of(tables, number) {
                    let own = self.mac_of(leg.port);
                    let frame = self.made(&arp_probe(own, mac, address));
                    self.emit_circuit(leg, ethernet::HEADER_LEN, frame);
                }
            }
            Wiring::NshAware { leg, mac } => {
                self.write_probe(key);
                let path = function.newest.into_iter().flatten().next();
                self.oam_nsh(path.unwrap_or(0), NEXT_SFF_ONLY);
                let frame = self.written();
                self.send_to_aware(frame, leg, mac);
            }
        }
    }

    fn mac_of(&self, port: PortIndex) -> [u8; 6] {
        let info = self.state.ports.get(port.at()).and_then(|port| port.info);
        info.map_or([0; 6], |info| info.mac)
    }

    fn made(&mut self, octets: &[u8]) -> Frame {
        let mut frame = self.out.pool.take();
        frame.fill(octets);
        self.state.balance.generated += 1;
        frame
    }

    /// Whether a frame from a function's leg is the answer to a probe, which ends then.
    pub(super) fn is_sign_of_life(&mut self, number: u16, leg: Leg, frame: &Frame) -> bool {
        let octets = frame.bytes();
        let rtt_us = match (leg, octets.get(12..14)) {
            (Leg::Outside, Some(ethertype)) if *ethertype == PROBE.to_be_bytes() => {
                let Some(key) = probe_key(octets) else {
                    return false;
                };
                let under_way = &mut self.state.oam.under_way;
                let purpose = under_way.get(key).map(|asked| asked.purpose);
                if purpose != Some(Purpose::Function(number)) {
                    return false;
                }
                let asked = under_way.answered(key);
                asked.map(|asked| self.now_us().saturating_sub(asked.sent_us))
            }
            (Leg::Only, Some(&[0x08, 0x06])) => self.is_arp_answer(number, octets),
            _ => None,
        };
        let Some(rtt_us) = rtt_us else { return false };
        self.lives(Subject::Function(number), rtt_us);
        true
    }

    /// Round trip, if this is the ARP answer that was asked for.
    fn is_arp_answer(&mut self, number: u16, octets: &[u8]) -> Option<u64> {
        let function = self.tables.functions.get(usize::from(number))?;
        let Wiring::OneLeg { leg, mac } = function.wiring else {
            return None;
        };
        let reply = arp::Repr::parse(octets.get(ethernet::HEADER_LEN..)?).ok()?;
        let ours = reply.operation == arp::Operation::Reply
            && reply.sender_mac == mac
            && IpAddr::V4(reply.sender) == address_of(self.tables, number)?
            && octets.starts_with(&self.mac_of(leg.port));
        if !ours {
            return None;
        }
        let key = self.state.health.latest(Subject::Function(number))?;
        let asked = self.state.oam.under_way.answered(key)?;
        Some(self.now_us().saturating_sub(asked.sent_us))
    }
}

/// The address by which a function is asked.
fn address_of(tables: &Compiled, number: u16) -> Option<IpAddr> {
    let function = tables.tables().functions.get(usize::from(number))?;
    function.liveness.as_ref()?.address
}

/// Addresses of a probe frame: locally administered, another pair for each function, so that
/// a bridge inside it learns nothing that other traffic uses.
fn probe_macs(number: u16) -> ([u8; 6], [u8; 6]) {
    let [high, low] = number.to_be_bytes();
    (
        [0x02, b'k', b'c', 1, high, low],
        [0x02, b'k', b'c', 0, high, low],
    )
}

fn probe_frame(number: u16, key: Key) -> [u8; PROBE_LEN] {
    let mut octets = [0; PROBE_LEN];
    let (destination, source) = probe_macs(number);
    let fields: [&[u8]; 6] = [
        &destination,
        &source,
        &PROBE.to_be_bytes(),
        &MAGIC,
        &key.handle.to_be_bytes(),
        &key.sequence.to_be_bytes(),
    ];
    let values = fields.into_iter().flatten();
    octets
        .iter_mut()
        .zip(values)
        .for_each(|(to, from)| *to = *from);
    octets
}

fn probe_key(octets: &[u8]) -> Option<Key> {
    let body = octets.get(ethernet::HEADER_LEN..)?.strip_prefix(&MAGIC)?;
    let (handle, rest) = body.split_first_chunk()?;
    Some(Key {
        handle: u32::from_be_bytes(*handle),
        sequence: u32::from_be_bytes(*rest.first_chunk()?),
    })
}

/// RFC 5227 section 1.1: an ARP probe has an all-zero sender address, so that it changes nobody's
/// cache; who has the address answers all the same.
fn arp_probe(own: [u8; 6], mac: [u8; 6], address: Ipv4Addr) -> [u8; PROBE_LEN] {
    let mut octets = [0; PROBE_LEN];
    let (header, body) = octets.split_at_mut(ethernet::HEADER_LEN);
    let fields = mac.iter().chain(&own).chain(&[0x08, 0x06]);
    header
        .iter_mut()
        .zip(fields)
        .for_each(|(to, from)| *to = *from);
    arp::Repr {
        operation: arp::Operation::Request,
        sender_mac: own,
        sender: Ipv4Addr::UNSPECIFIED,
        target_mac: [0; 6],
        target: address,
    }
    .emit(body);
    octets
}
