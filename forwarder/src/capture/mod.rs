//! Captures: frames at the points of their way, with what was decided about them, as pcapng.
//!
//! The packet thread copies what a filter wants into a bounded ring and never waits (`Taps`);
//! the control thread makes pcapng of it as fast as its reader takes it ([`Printer`]). What finds
//! no room in the ring is counted as lost, and that is all that a slow reader ever causes. No
//! socket and no clock here.

mod comment;
mod filter;
mod outer;
pub mod pcapng;
mod printer;
mod record;
mod ring;
mod scan;
mod taps;

pub use printer::{Printer, Progress};
pub(crate) use record::{Outer, Verdict};
pub(crate) use ring::Ring;
pub use scan::Scan;
pub use taps::Tap;
pub(crate) use taps::{Layer, Seen, Sight, Taps, Via};

use kc_forwarder_api::Capture;

/// Octets of the ring between packet thread and control thread, for each capture.
const RING: usize = 4 << 20;

/// Both ends of a capture of what is `wanted`, begun at `now_ns` nanoseconds since 1970: one for
/// the pipeline, one that prints.
pub fn begin(wanted: &Capture, now_ns: u64) -> (Tap, Printer) {
    let (writer, reader) = ring::ring(RING);
    (
        Tap::new(wanted.clone(), writer),
        Printer::new(wanted, reader, now_ns),
    )
}
