//! The packet thread, and those that send for it: waits for ports, underlay and commands, feeds the pipeline in batches and
//! sends what comes out. Holds sockets and the clock, and no policy.

mod asking;
mod clock;
mod egress;
mod fast;
mod lanes;
mod later;
mod mailbox;
mod ports;
mod pressure;
mod probing;
mod tunnels;
mod waiting;
mod worker;

pub(crate) use asking::WATCH_ROOM;
pub(crate) use clock::wall_clock_ns;
pub(crate) use fast::FastPaths;
pub use later::{Bell, Later, Part, Promise, PutError, Taken, promise};
pub use mailbox::{Packets, Stopped};

use crate::pipeline::Compiled;
use std::io;
use std::sync::Arc;

/// Starts the packet thread with `compiled`, which names no underlay. When it has more to do than
/// it can, others send for it: `threads` in all.
///
/// # Errors
/// The system refused a descriptor or a thread.
pub fn start(compiled: Arc<Compiled>, threads: usize) -> io::Result<Packets> {
    let (packets, mailbox) = mailbox::open()?;
    let worker = worker::Worker::new(compiled, mailbox, threads)?;
    std::thread::Builder::new()
        .name("packets".to_owned())
        .spawn(move || worker.run())?;
    Ok(packets)
}
