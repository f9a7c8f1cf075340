//! Signals as something to poll. They are blocked and read from a descriptor, so they also reach
//! process 1 of a PID namespace, for which the kernel discards signals without a handler.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

/// The signals a long-running verb listens to.
pub const ENDING: [Signal; 2] = [Signal::SIGTERM, Signal::SIGINT];

/// A set of blocked signals and the descriptor they arrive on.
#[derive(Debug)]
pub struct Signals {
    descriptor: SignalFd,
}

impl Signals {
    /// Blocks `wanted` in this thread and in every thread it starts from now on.
    ///
    /// # Errors
    /// The kernel refused.
    pub fn listen_to(wanted: &[Signal]) -> io::Result<Self> {
        let mut set = SigSet::empty();
        for &signal in wanted {
            set.add(signal);
        }
        set.thread_block()?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let descriptor = SignalFd::with_flags(&set, flags)?;
        Ok(Self { descriptor })
    }

    /// The next signal that has arrived, if any.
    pub fn next(&self) -> Option<Signal> {
        let info = self.descriptor.read_signal().ok().flatten()?;
        Signal::try_from(i32::try_from(info.ssi_signo).ok()?).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
