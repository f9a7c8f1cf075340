//! A link for smoltcp that is two queues: what came for it, and what it wants sent.

use crate::frame::{Checksum, Frame};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use std::collections::VecDeque;

/// Frames that may wait to be read.
const WAITING: usize = 256;

/// Octets of an Ethernet header, which smoltcp counts into what a link carries.
const ETHERNET: usize = 14;

/// The two queues.
#[derive(Debug)]
pub struct Queues {
    mtu: u16,
    incoming: VecDeque<Vec<u8>>,
    /// Frames to send.
    pub outgoing: Vec<Frame>,
}

impl Queues {
    /// Empty queues of a link whose largest IP packet has `mtu` octets.
    pub const fn new(mtu: u16) -> Self {
        Self {
            mtu,
            incoming: VecDeque::new(),
            outgoing: Vec::new(),
        }
    }

    /// Hands a frame to smoltcp. Without room it is lost, as on any link.
    pub fn feed(&mut self, frame: &[u8]) {
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
        capabilities.max_transmission_unit = usize::from(self.mtu) + ETHERNET;
        capabilities
    }
}

/// A frame to be read.
#[derive(Debug)]
pub struct Incoming(Vec<u8>);

impl phy::RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

/// Room for a frame to be sent.
#[derive(Debug)]
pub struct Outgoing<'a>(&'a mut Vec<Frame>);

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
