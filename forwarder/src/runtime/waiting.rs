//! What the packet thread waits for: one epoll instance and a name for everything in it.

use crate::pipeline::PortIndex;
use crate::port::underlay::Inlet;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::AsFd;

/// Something that can be ready.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// Commands.
    Mailbox,
    /// Interfaces have changed.
    Links,
    /// Routes, addresses or stations of the underlay have changed.
    Routes,
    /// Datagrams from other VTEPs.
    Underlay(Inlet),
    /// Datagrams from other VTEPs, when they come fast.
    Ring,
    /// Frames.
    Port(PortIndex),
}

/// First number used for sockets of the underlay.
const INLETS: u64 = 2;

/// Number of the ring.
const RING: u64 = 8;
/// Number of the socket that tells of routes.
const ROUTES: u64 = PORTS - 1;

/// First number used for ports.
const PORTS: u64 = 16;

impl From<Source> for u64 {
    fn from(source: Source) -> Self {
        match source {
            Source::Mailbox => 0,
            Source::Links => 1,
            Source::Routes => ROUTES,
            Source::Underlay(inlet) => INLETS + inlet as Self,
            Source::Ring => RING,
            Source::Port(PortIndex(index)) => PORTS + Self::from(index),
        }
    }
}

impl Source {
    fn from_number(number: u64) -> Option<Self> {
        match number {
            0 => Some(Self::Mailbox),
            1 => Some(Self::Links),
            RING => Some(Self::Ring),
            ROUTES => Some(Self::Routes),
            other if other < PORTS => {
                let place = usize::try_from(other.checked_sub(INLETS)?).ok()?;
                Inlet::ALL.get(place).copied().map(Self::Underlay)
            }
            other => {
                let index = u16::try_from(other.checked_sub(PORTS)?).ok()?;
                Some(Self::Port(PortIndex(index)))
            }
        }
    }
}

/// The epoll instance.
pub(super) struct Waiting {
    epoll: Epoll,
    events: Vec<EpollEvent>,
}

impl Waiting {
    pub(super) fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        Ok(Self {
            epoll,
            events: vec![EpollEvent::empty(); 64],
        })
    }

    /// Begins to wait for `fd`.
    pub(super) fn add(&self, fd: impl AsFd, source: Source) -> io::Result<()> {
        self.epoll
            .add(fd, EpollEvent::new(EpollFlags::EPOLLIN, source.into()))?;
        Ok(())
    }

    /// Ends waiting for `fd`, which must be called before it is closed: a packet channel may
    /// hold a second descriptor of the same socket.
    pub(super) fn remove(&self, fd: impl AsFd) {
        if let Err(error) = self.epoll.delete(fd) {
            tracing::debug!(%error, "a closed socket was no longer waited for");
        }
    }

    /// Waits until something is ready or `timeout` has passed, and puts what is into `ready`.
    pub(super) fn wait(
        &mut self,
        timeout: EpollTimeout,
        ready: &mut Vec<Source>,
    ) -> io::Result<()> {
        ready.clear();
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(nix::Error::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        let events = self.events.iter().take(count);
        ready.extend(events.filter_map(|event| Source::from_number(event.data())));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_source_has_its_own_number() {
        for source in [
            Source::Mailbox,
            Source::Links,
            Source::Underlay(Inlet::GpeV4),
            Source::Underlay(Inlet::GpeV6),
            Source::Underlay(Inlet::VxlanV4),
            Source::Underlay(Inlet::VxlanV6),
            Source::Ring,
            Source::Port(PortIndex(0)),
            Source::Port(PortIndex(u16::MAX)),
        ] {
            assert_eq!(Source::from_number(source.into()), Some(source));
        }
        assert_eq!(Source::from_number(6), None);
        assert_eq!(Source::from_number(u64::MAX), None);
    }
}
