//! What a service function is to its shell: a core that takes frames and the time and returns
//! verdicts. It has no clock, no socket and no log.

use crate::stats::DropCause;
use kc_forwarder::frame::Frame;

/// The leg a frame came in by or goes out by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// Towards the clients.
    Inside,
    /// Towards the servers.
    Outside,
    /// The only leg: addresses and flow state tell directions apart.
    Only,
}

impl Side {
    /// The leg on the other side of the function.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
            Self::Only => Self::Only,
        }
    }
}

/// What becomes of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Goes on to the other side.
    Pass,
    /// Goes back to the side it came from.
    Return,
    /// Was meant for the function itself and ends here.
    Consumed,
    /// Ends here for a reason.
    Drop(DropCause),
}

/// Frames that a function sends beside those it passes.
#[derive(Debug, Default)]
pub struct Emissions {
    /// In order of sending.
    pub frames: Vec<(Side, Frame)>,
}

impl Emissions {
    /// Sends `frame` by the leg at `side`.
    pub fn send(&mut self, side: Side, frame: Frame) {
        self.frames.push((side, frame));
    }
}

/// Addresses of the function's legs; equal when there is only one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Legs {
    /// MAC address towards the clients.
    pub inside: [u8; 6],
    /// MAC address towards the servers.
    pub outside: [u8; 6],
}

impl Legs {
    /// The address of the leg at `side`.
    pub const fn mac(&self, side: Side) -> [u8; 6] {
        match side {
            Side::Inside => self.inside,
            Side::Outside | Side::Only => self.outside,
        }
    }
}

/// A service function's core. Frames come with finished checksums and are handed on the same way.
pub trait ServiceFunction {
    /// The name under which its counters are printed.
    fn name(&self) -> &'static str;

    /// Judges `frame`, which came in at `side`, and may change it. `now_ms` never runs backwards.
    fn process(
        &mut self,
        now_ms: u64,
        side: Side,
        frame: &mut Frame,
        out: &mut Emissions,
    ) -> Verdict;

    /// Tells the NSH around the frames that come next, metadata included; empty where they have
    /// none.
    fn surround(&mut self, _nsh: &[u8]) {}

    /// Tells the addresses of the legs, before the first frame and after every change.
    fn attach(&mut self, _legs: Legs) {}

    /// Does what is due; called when `deadline` has passed and after batches of frames.
    fn tick(&mut self, _now_ms: u64, _out: &mut Emissions) {}

    /// When `tick` has to be called at the latest; `None` while nothing is due.
    fn deadline(&mut self, _now_ms: u64) -> Option<u64> {
        None
    }

    /// Counters of its own.
    fn details(&self) -> serde_json::Value;
}
