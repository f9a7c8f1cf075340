//! A link for smoltcp that is two queues: what the function feeds it, and what it wants sent.

use kc_forwarder::frame::{Checksum, Frame};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use std::collections::VecDeque;

/// Frames that may wait to be read.
const WAITING: usize = 256;

/// The two queues.
#[derive(Debug, Default)]
pub(super) struct Queues {
    incoming: VecDeque<Vec<u8>>,
    /// Frames to send.
    pub(super) outgoing: Vec<Frame>,
}

impl Queues {
    /// Hands a frame to smoltcp.
    pub(super) fn feed(&mut self, frame: &[u8]) {
        if self.incoming.len() < WAITING {
            self.incoming.push_back(frame.to_vec());
        }
    }
}

impl Device for Queues {
    type RxToken<'a> = Incoming;
    type TxToken<'a> = Outgoing<'a>;

    fn receive(&mut self, _now: Instant) -> Option<(Incoming, Outgoing<'_>)> {
        let frame = self.incoming.pop_front()?;
        Some((Incoming(frame), Outgoing(&mut self.outgoing)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Outgoing<'_>> {
        Some(Outgoing(&mut self.outgoing))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        // Only connections without data are made: any link carries them.
        capabilities.max_transmission_unit = 1294;
        capabilities
    }
}

/// A frame to be read.
pub(super) struct Incoming(Vec<u8>);

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for a frame to be sent.
pub(super) struct Outgoing<'a>(&'a mut Vec<Frame>);

impl phy::TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, f: F) -> R {
        let mut frame = Frame::with_capacity(length);
        frame.resize(length);
        let result = f(frame.bytes_mut());
        frame.offload.checksum = Checksum::Complete;
        self.0.push(frame);
        result
    }
}
