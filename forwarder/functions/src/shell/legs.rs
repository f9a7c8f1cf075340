//! The function's interfaces: opened when they are there and up, which may be later than the
//! function's own start.

use super::ShellError;
use super::options::Options;
use crate::signals::Signals;
use kc_forwarder::port::link::LinkWatch;
use kc_forwarder::port::{self, PacketPort, PortError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

/// Opens every leg, waiting for it as long as the user allows. `None` when told to end meanwhile.
pub(super) fn open(
    options: &Options,
    signals: &Signals,
) -> Result<Option<Vec<Box<dyn PacketPort>>>, ShellError> {
    // Subscribed first, so that nothing is missed between looking and waiting.
    let links = LinkWatch::open()?;
    let begin = Instant::now() + options.open_after.unwrap_or_default();
    while let Some(left) = begin.checked_duration_since(Instant::now()) {
        if wait(&links, signals, left)? {
            return Ok(None);
        }
    }
    let deadline = Instant::now() + options.wait;
    let mut legs = Vec::new();
    for interface in options.interfaces() {
        loop {
            let error = match port::open(interface, options.io_backend) {
                Ok(leg) => {
                    tracing::info!(interface, mtu = leg.mtu(), mac = %leg.mac(), backend = %leg.backend(), reason = leg.reason(), "leg open");
                    legs.push(leg);
                    break;
                }
                Err(error @ (PortError::Absent { .. } | PortError::Down { .. })) => error,
                Err(error) => return Err(error.into()),
            };
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(error.into());
            }
            tracing::info!(%error, "waiting for it");
            if wait(&links, signals, left)? {
                return Ok(None);
            }
        }
    }
    Ok(Some(legs))
}

/// Waits until a link changed or `left` is over. Whether a signal said to end.
fn wait(links: &LinkWatch, signals: &Signals, left: Duration) -> Result<bool, ShellError> {
    let mut waiting = [
        PollFd::new(links.as_fd(), PollFlags::POLLIN),
        PollFd::new(signals.as_fd(), PollFlags::POLLIN),
    ];
    let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
    match poll(&mut waiting, timeout) {
        Ok(_) | Err(Errno::EINTR) => {}
        Err(error) => return Err(ShellError::Kernel(error.into())),
    }
    links.changed()?;
    while let Some(signal) = signals.next() {
        if crate::signals::ENDING.contains(&signal) {
            return Ok(true);
        }
    }
    Ok(false)
}
