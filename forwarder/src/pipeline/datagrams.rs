//! Fragments take the rule, the group member and the proxy's memory of their first one, wherever
//! a flow is asked for: at a port, from a function, on a service path.

use super::PortIndex;
use super::oam::Via;
use super::packet::Packet;
use super::run::{Origin, Run};
use crate::frame::Frame;
use crate::limits::datagrams::{Datagram, First, Place};
use crate::proxy::Side;
use kc_forwarder_api::DropReason;

/// Where a fragment that waited goes on.
#[derive(Debug, Clone, Copy)]
pub(super) enum Stage {
    /// An Ethernet frame from a port.
    Port(PortIndex),
    /// A frame out of a function, its leg's own tag removed.
    Leg(PortIndex, u16, Side),
    /// A frame from its NSH on.
    Nsh(Via, Origin),
}

impl Run<'_> {
    /// Gives a fragment, which starts `at` octets into `frame`, the flow of its datagram. `None`,
    /// the frame set aside, when the first one has not come yet.
    #[cold]
    pub(super) fn together(
        &mut self,
        frame: Frame,
        at: usize,
        packet: &mut Packet,
        place: Place,
        stage: Stage,
    ) -> Option<Frame> {
        let octets = frame.bytes().get(at..).unwrap_or_default();
        // What cannot be told from others stays what it was: a flow without ports.
        let Some(datagram) = Datagram::of(place, octets, packet) else {
            return Some(frame);
        };
        if let Some(first) = First::of(octets, packet) {
            self.state.fragments.begin(self.now_ms, datagram, first);
            first.apply(packet);
            while let Some(released) = self.state.fragments.released(&datagram) {
                self.state.resumed.push(released);
            }
            return Some(frame);
        }
        if let Some(first) = self.state.fragments.first(self.now_ms, &datagram) {
            first.apply(packet);
            return Some(frame);
        }
        self.state.balance.held += 1;
        let fragments = &mut self.state.fragments;
        fragments.wait(self.now_ms, datagram, frame, stage);
        self.drop_orphans();
        None
    }

    /// Sends on what waited for first fragments that have come.
    #[cold]
    pub(super) fn resume(&mut self) {
        // None of them waits again: what their first fragment told is known by now.
        let mut resumed = std::mem::take(&mut self.state.resumed);
        for (frame, stage) in resumed.drain(..) {
            self.state.balance.held -= 1;
            match stage {
                Stage::Port(port) => {
                    if self.state.taps.on {
                        self.saw_arrival(port);
                    }
                    self.access(port, frame);
                }
                Stage::Leg(port, number, side) => {
                    if self.state.taps.on {
                        self.saw_arrival(port);
                    }
                    self.unaware(port, number, side, frame);
                }
                Stage::Nsh(via, origin) => {
                    self.state.taps.begin_own();
                    if let Some((frame, packet, hop)) = self.take_nsh(frame, via, origin) {
                        self.steer(frame, &packet, &hop, u16::MAX, origin);
                    }
                }
            }
        }
        self.state.resumed = resumed;
    }

    /// Drops fragments whose first one did not come in time.
    pub(super) fn drop_orphans(&mut self) {
        while let Some(frame) = self.state.fragments.orphan(self.now_ms) {
            let seen = self.state.taps.begin_own();
            self.state.balance.held -= 1;
            self.drop(frame, DropReason::FragmentOrphan);
            self.state.taps.seen = seen;
        }
    }
}
