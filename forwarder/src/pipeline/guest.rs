//! A guest: an endpoint of the forwarder's own that stands behind an access port while it probes.
//! What it sends is classified as if it had come in by that port; what would leave by the port
//! towards its MAC address goes to it instead, and groups' frames go to both.

use super::run::Run;
use super::{Egress, Outputs, Pipeline, PortIndex};
use crate::frame::Frame;
use crate::tables::Role;
use kc_forwarder_api::{DropReason, PortName};

/// Frames that may wait for a guest.
const WAITING: usize = 256;

/// Who stands where, and what came for it.
#[derive(Debug)]
pub(super) struct Guest {
    name: PortName,
    /// Its port in the tables in force, while that is an access port.
    port: Option<PortIndex>,
    mac: [u8; 6],
    frames: Vec<Frame>,
}

impl Pipeline {
    /// Lets a guest with address `mac` stand behind the access port `name`, in place of any other;
    /// says whether there is such a port.
    pub fn admit(&mut self, name: &PortName, mac: [u8; 6]) -> bool {
        self.dismiss();
        self.state.guest = Some(Guest {
            name: name.clone(),
            port: None,
            mac,
            frames: Vec::with_capacity(WAITING),
        });
        let stands = self.seat_guest();
        if !stands {
            self.state.guest = None;
        }
        stands
    }

    /// The guest has gone. Frames that it has not taken are lost with it.
    pub fn dismiss(&mut self) {
        self.state.guest = None;
    }

    /// Finds the guest's port in the tables in force; says whether it has one.
    pub(super) fn seat_guest(&mut self) -> bool {
        let Some(guest) = &mut self.state.guest else {
            return false;
        };
        let access = |port: &PortIndex| {
            let port = self.tables.ports.get(port.at());
            port.is_some_and(|port| matches!(port.role, Role::Access))
        };
        guest.port = self.tables.port_index(&guest.name).filter(access);
        guest.port.is_some()
    }

    /// Whether a guest stands behind a port.
    pub fn has_guest(&self) -> bool {
        let guest = self.state.guest.as_ref();
        guest.is_some_and(|guest| guest.port.is_some())
    }

    /// Hands what came for the guest to `take`; buffers go back into `out`.
    pub fn feed_guest(&mut self, out: &mut Outputs, mut take: impl FnMut(&[u8])) {
        if let Some(guest) = &mut self.state.guest {
            for frame in guest.frames.drain(..) {
                take(frame.bytes());
                out.pool.give(frame);
            }
        }
    }
}

impl Run<'_> {
    /// Frames that the guest sends.
    pub(super) fn guest_frames(&mut self, batch: &mut Vec<Frame>) {
        let port = self.state.guest.as_ref().and_then(|guest| guest.port);
        for frame in batch.drain(..) {
            if let Some(port) = port.filter(|_| self.state.taps.on) {
                self.saw_arrival(port);
            }
            match port {
                Some(port) => self.access(port, frame),
                None => self.drop(frame, DropReason::PortDown),
            }
        }
    }

    /// Takes a frame that is about to leave by `port`, if it is the guest's alone.
    #[cold]
    pub(super) fn offer_guest(&mut self, port: PortIndex, frame: Frame) -> Option<Frame> {
        let Some(guest) = &mut self.state.guest else {
            return Some(frame);
        };
        let destination = frame.bytes().first_chunk::<6>().copied();
        let Some(destination) = destination.filter(|_| guest.port == Some(port)) else {
            return Some(frame);
        };
        let [first, ..] = destination;
        let has_room = guest.frames.len() < WAITING;
        if destination == guest.mac {
            if has_room {
                if self.state.taps.on {
                    self.saw_leaving(Egress::Port(port), &frame);
                }
                if let Some(guest) = &mut self.state.guest {
                    guest.frames.push(frame);
                }
                self.state.balance.consumed += 1;
            } else {
                self.drop(frame, DropReason::TxFull);
            }
            return None;
        }
        if first & 1 == 1 && has_room {
            let mut copy = self.out.pool.take();
            copy.extend(frame.bytes());
            guest.frames.push(copy);
            self.state.balance.replicated += 1;
            self.state.balance.consumed += 1;
        }
        Some(frame)
    }
}
