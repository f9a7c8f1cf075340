//! Holds namespaces open for the containers that share them, as process 1: it sleeps in the
//! kernel, reaps orphans and ends on SIGTERM or SIGINT.

use crate::signals::Signals;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use std::io;
use std::os::fd::AsFd;

/// Sleeps until told to end.
///
/// # Errors
/// The kernel refused the signal descriptor.
pub fn run() -> io::Result<()> {
    let signals = Signals::listen_to(&[Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD])?;
    loop {
        let mut waiting = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        match poll(&mut waiting, PollTimeout::NONE) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
        }
        while let Some(signal) = signals.next() {
            match signal {
                Signal::SIGCHLD => reap(),
                _ => return Ok(()),
            }
        }
    }
}

/// Collects every child that has ended.
fn reap() {
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(_) => return,
            Ok(_) => {}
        }
    }
}
