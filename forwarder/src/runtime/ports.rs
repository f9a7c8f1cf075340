//! The ports of the tables in force: opens, keeps, loses and reopens their interfaces.

use super::waiting::{Source, Waiting};
use crate::frame::{Frame, Pool};
use crate::pipeline::{Compiled, PortIndex, PortInfo};
use crate::port::{self, Facts, Loss, Outlet, PacketPort, SendReport};
use kc_forwarder_api::{Backend, Port, PortState, PortStatus};
use std::io;

/// One port of the tables.
struct Slot {
    wanted: Port,
    open: Option<Box<dyn PacketPort>>,
    /// Of the interface, while it is open.
    mtu: u16,
    /// Whether somebody is at the other end of the interface, while it is open.
    carrier: bool,
    /// Frames that the kernel dropped so far.
    dropped: u64,
    /// Why this backend, or why it is not open.
    reason: String,
}

impl Slot {
    fn interface(&self) -> &str {
        self.wanted
            .interface
            .as_ref()
            .unwrap_or(&self.wanted.name)
            .as_str()
    }

    fn info(&self) -> PortInfo {
        let mac = self.open.as_ref().map_or([0; 6], |open| open.mac().0);
        PortInfo {
            // The kernel tells of a carrier up to a second after it is there: status says it, and frames are
            // sent all the same, or those of a new link would be lost meanwhile.
            up: self.open.is_some(),
            mtu: self.mtu,
            mac,
        }
    }
}

/// All ports in table order.
#[derive(Default)]
pub(super) struct Ports {
    slots: Vec<Slot>,
}

impl Ports {
    /// Turns into the ports of `compiled`. An interface that stays, stays open.
    pub(super) fn arrange(&mut self, compiled: &Compiled, waiting: &Waiting) {
        let mut former = std::mem::take(&mut self.slots);
        for wanted in &compiled.tables().ports {
            let mut slot = Slot {
                wanted: wanted.clone(),
                open: None,
                mtu: 0,
                carrier: false,
                dropped: 0,
                reason: String::new(),
            };
            let same = |old: &Slot| {
                old.interface() == slot.interface() && old.wanted.backend == wanted.backend
            };
            if let Some(place) = former.iter().position(same) {
                let old = former.swap_remove(place);
                slot.open = old.open;
                slot.mtu = old.mtu;
                slot.carrier = old.carrier;
                slot.dropped = old.dropped;
                slot.reason = old.reason;
            }
            self.slots.push(slot);
        }
        for slot in former {
            if let Some(open) = slot.open {
                waiting.remove(open.as_fd());
            }
        }
        for place in 0..self.slots.len() {
            let index = index_of(place);
            let Some(slot) = self.slots.get_mut(place) else {
                continue;
            };
            match &slot.open {
                Some(open) => {
                    // The same interface may be another number in these tables.
                    waiting.remove(open.as_fd());
                    if let Err(error) = waiting.add(open.as_fd(), Source::Port(index)) {
                        slot.lose(waiting, &error.to_string());
                    }
                }
                None => slot.look(index, waiting),
            }
        }
    }

    /// After interfaces have changed: closes ports whose interface is no longer the same, opens
    /// those that appeared, and notes new MTUs.
    pub(super) fn look_again(&mut self, waiting: &Waiting) {
        for (place, slot) in self.slots.iter_mut().enumerate() {
            let index = index_of(place);
            let Some(open) = &slot.open else {
                slot.look(index, waiting);
                continue;
            };
            match Facts::read(slot.interface()) {
                Ok(facts) if facts.index == open.index() && facts.mac == open.mac() => {
                    if open.is_outgrown(facts.mtu) {
                        slot.lose(waiting, "opened again for a larger MTU");
                        slot.look(index, waiting);
                    } else {
                        slot.mtu = facts.mtu;
                        slot.notice(facts.has_carrier());
                    }
                }
                Ok(_) => {
                    slot.lose(waiting, "replaced by another interface of its name");
                    slot.look(index, waiting);
                }
                Err(error) => slot.lose(waiting, &error.to_string()),
            }
        }
    }

    /// Takes what waits at a port.
    pub(super) fn receive(
        &mut self,
        index: PortIndex,
        pool: &mut Pool,
        batch: &mut Vec<Frame>,
        max: usize,
    ) -> io::Result<usize> {
        match self.open(index) {
            Some(open) => open.receive(pool, batch, max),
            None => Ok(0),
        }
    }

    /// Sends `frames` out of a port and leaves `frames` empty.
    pub(super) fn send(
        &mut self,
        index: PortIndex,
        frames: &mut Vec<Frame>,
        pool: &mut Pool,
    ) -> SendReport {
        if let Some(open) = self.open(index) {
            return open.send(frames, pool);
        }
        let report = SendReport::all_lost(frames, Loss::Gone);
        for frame in frames.drain(..) {
            pool.give(frame);
        }
        report
    }

    /// The way out of a port for another thread, if there is one.
    pub(super) fn outlet(&mut self, index: PortIndex) -> Option<Outlet> {
        self.open(index)?.outlet()
    }

    /// After a port's socket failed: closes it, and opens it again if the interface is well.
    pub(super) fn failed(&mut self, index: PortIndex, error: &io::Error, waiting: &Waiting) {
        if let Some(slot) = self.slots.get_mut(usize::from(index.0)) {
            slot.lose(waiting, &error.to_string());
            slot.look(index, waiting);
        }
    }

    /// Number and state of every port, for the pipeline.
    pub(super) fn infos(&self) -> impl Iterator<Item = (PortIndex, PortInfo)> {
        self.slots
            .iter()
            .enumerate()
            .map(|(place, slot)| (index_of(place), slot.info()))
    }

    /// Frames that the kernel dropped so far, port by port.
    pub(super) fn dropped(&mut self) -> impl Iterator<Item = u64> {
        self.slots.iter_mut().map(|slot| {
            slot.settle();
            slot.dropped
        })
    }

    /// State of every port, for people.
    pub(super) fn status(&self) -> Vec<PortStatus> {
        let status = |slot: &Slot| PortStatus {
            name: slot.wanted.name.clone(),
            interface: slot
                .wanted
                .interface
                .as_ref()
                .unwrap_or(&slot.wanted.name)
                .clone(),
            backend: slot
                .open
                .as_ref()
                .map_or(slot.wanted.backend, |open| open.backend())
                .into(),
            state: match (&slot.open, slot.carrier) {
                (Some(_), true) => PortState::Up.into(),
                (Some(_), false) => PortState::NoCarrier.into(),
                (None, _) => PortState::Absent.into(),
            },
            mtu: match slot.wanted.mtu {
                Some(limit) if slot.open.is_some() => limit.min(slot.mtu),
                Some(limit) => limit,
                None => slot.mtu,
            },
            reason: slot.reason.clone(),
        };
        self.slots.iter().map(status).collect()
    }

    fn open(&mut self, index: PortIndex) -> Option<&mut Box<dyn PacketPort>> {
        self.slots.get_mut(usize::from(index.0))?.open.as_mut()
    }
}

/// The tables are checked to number no more ports than an index holds.
fn index_of(place: usize) -> PortIndex {
    PortIndex(u16::try_from(place).unwrap_or(u16::MAX))
}

impl Slot {
    /// Tries to open the interface.
    fn look(&mut self, index: PortIndex, waiting: &Waiting) {
        let opened = port::open(self.interface(), self.wanted.backend);
        let open = match opened {
            Ok(open) => open,
            Err(error) => return self.note(port::explain(&error)),
        };
        if let Err(error) = waiting.add(open.as_fd(), Source::Port(index)) {
            return self.note(error.to_string());
        }
        self.mtu = open.mtu();
        let backend: Backend = open.backend();
        tracing::info!(port = %self.wanted.name, %backend, mtu = self.mtu, "port is up");
        self.reason = open.reason().to_owned();
        self.open = Some(open);
        self.carrier = true;
        let facts = Facts::read(self.interface());
        self.notice(facts.is_ok_and(|facts| facts.has_carrier()));
    }

    /// Takes up, and logs, whether somebody is at the other end.
    fn notice(&mut self, carrier: bool) {
        if self.carrier != carrier {
            let word = if carrier { "is back" } else { "is lost" };
            tracing::info!(port = %self.wanted.name, "carrier {word}");
        }
        self.carrier = carrier;
    }

    /// Adds up what the kernel dropped.
    fn settle(&mut self) {
        if let Some(open) = &mut self.open {
            self.dropped += open.dropped();
        }
    }

    /// Closes the interface.
    fn lose(&mut self, waiting: &Waiting, why: &str) {
        self.settle();
        if let Some(open) = self.open.take() {
            waiting.remove(open.as_fd());
        }
        self.mtu = 0;
        self.note(why.to_owned());
    }

    /// Notes, and logs once, why the port is not open.
    fn note(&mut self, reason: String) {
        if self.reason != reason {
            tracing::warn!(port = %self.wanted.name, reason, "port is not up");
            self.reason = reason;
        }
    }
}
