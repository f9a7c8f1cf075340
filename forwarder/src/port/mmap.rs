//! AF_PACKET in two ways at once: as `packet` does it while there is little to do, and out of a
//! ring while there is much. A frame that comes alone is taken at once; frames that come faster
//! than they can be fetched one by one come by the block.
//!
//! Both sockets are one fan-out group, and a program of one instruction says which of them the
//! kernel hands a frame to: each frame comes once, and in order. The ring is opened when it is
//! first wanted, and its memory given back when it was not for some time. Opening, changing over
//! and closing wait for the kernel's grace periods, so a thread of their own does it.

use super::facts::Facts;
use super::gauge::{Gauge, LINGER};
use super::packet::{Outlet, PacketSocket};
use super::ring::Ring;
use super::socket::{self, Fanout};
use super::{PacketPort, PortError, SendReport};
use crate::frame::{Frame, Pool};
use kc_forwarder_api::{Backend, MacAddr};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, mpsc};
use std::time::Instant;

/// Where frames come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// From the queue.
    Queue,
    /// From the queue what is still there, then from the ring.
    Entering,
    /// From the ring.
    Ring,
    /// From the ring what is still there, then from the queue.
    Leaving,
}

/// Places in the fan-out group.
const QUEUE: u32 = 0;
const RING: u32 = 1;

/// A packet socket, and a ring while it is wanted.
pub(super) struct Adaptive {
    queue: PacketSocket,
    group: Fanout,
    ring: Option<Ring>,
    mode: Mode,
    /// A change of place that is being made, and a ring that is being opened for it.
    changing: Option<mpsc::Receiver<io::Result<Option<Ring>>>>,
    gauge: Gauge,
    /// When the ring was last wanted.
    wanted: Instant,
    /// When it could not be had.
    failed: Option<Instant>,
    /// What is readable when either is.
    either: Arc<Epoll>,
    /// Frames that the kernel dropped in rings that are closed.
    dropped: u64,
}

impl Adaptive {
    /// Opens the interface that `facts` describes.
    pub(super) fn open(facts: Facts, reason: &str) -> Result<Self, PortError> {
        let name = facts.name.clone();
        let failed = |step| PortError::io(&name, step);
        let queue = PacketSocket::open(facts, reason)?;
        let group = Fanout::begin(queue.as_fd()).map_err(failed("PACKET_FANOUT"))?;
        let either = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)
            .map_err(|errno| failed("epoll")(errno.into()))?;
        either
            .add(queue.as_fd(), readable())
            .map_err(|errno| failed("epoll")(errno.into()))?;
        Ok(Self {
            queue,
            group,
            ring: None,
            mode: Mode::Queue,
            changing: None,
            gauge: Gauge::default(),
            wanted: Instant::now(),
            failed: None,
            either: Arc::new(either),
            dropped: 0,
        })
    }

    /// Has the kernel hand frames to `place`; [`changed`](Self::changed) tells when it does. What
    /// stands against that is no loss: things stay as they are.
    fn change(&mut self, place: u32) {
        if let Err(error) = self.begin_change(place) {
            self.give_up(&error);
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        let port = self.queue.interface();
        tracing::warn!(port, error = %super::explain(error), "no change between queue and ring");
        self.failed = Some(Instant::now());
    }

    fn begin_change(&mut self, place: u32) -> io::Result<()> {
        let socket = self.queue.as_fd().try_clone_to_owned()?;
        let (index, group) = (self.queue.index(), self.group);
        let open = place == RING && self.ring.is_none();
        let either = Arc::clone(&self.either);
        let (done, changing) = mpsc::sync_channel(1);
        let work = move || {
            let ring = open.then(|| Ring::of_frames(index, group)).transpose()?;
            // From the change on nothing comes by the queue: the ring must be waited for by then.
            if let Some(ring) = &ring {
                either.add(ring.as_fd(), readable())?;
            }
            group.choose(socket.as_fd(), place)?;
            Ok(ring)
        };
        // The port may be closed by then.
        let work = move || drop(done.send(work()));
        std::thread::Builder::new()
            .name("ring".to_owned())
            .spawn(work)?;
        self.changing = Some(changing);
        Ok(())
    }

    /// Whether the change that was asked for has been made.
    fn changed(&mut self) -> bool {
        let Some(result) = self
            .changing
            .as_ref()
            .and_then(|changing| changing.try_recv().ok())
        else {
            return false;
        };
        self.changing = None;
        match result {
            Ok(opened) => {
                self.ring = opened.or(self.ring.take());
                true
            }
            Err(error) => {
                self.give_up(&error);
                false
            }
        }
    }

    fn close_ring(&mut self) {
        if let Some(ring) = self.ring.take() {
            self.dropped += socket::packets_dropped(ring.as_fd()).unwrap_or(0);
            // Closing would do so too.
            let _ = self.either.delete(ring.as_fd());
            // Without a thread it takes its time here.
            let _ = std::thread::Builder::new().spawn(move || drop(ring));
        }
    }

    fn take_queued(
        &mut self,
        pool: &mut Pool,
        batch: &mut Vec<Frame>,
        max: usize,
    ) -> io::Result<usize> {
        let taken = self.queue.receive(pool, batch, max)?;
        if self.mode == Mode::Entering {
            // The kernel has handed it nothing since the change.
            if taken < max {
                self.mode = Mode::Ring;
            }
            return Ok(taken);
        }
        let overtaxed = self.gauge.batch(taken == max);
        if self.changing.is_some() {
            if self.changed() {
                self.mode = Mode::Entering;
            }
        } else if overtaxed && self.failed.is_none_or(|at| at.elapsed() > LINGER) {
            self.change(RING);
        } else if self.gauge.is_idle() && self.ring.is_some() && self.wanted.elapsed() > LINGER {
            self.close_ring();
        }
        Ok(taken)
    }

    fn take_ringed(
        &mut self,
        pool: &mut Pool,
        batch: &mut Vec<Frame>,
        max: usize,
    ) -> io::Result<usize> {
        let Some(ring) = &mut self.ring else {
            self.mode = Mode::Queue;
            return Ok(0);
        };
        let (taken, pace) = ring.receive(pool, batch, max);
        let quiet = self.gauge.block(pace);
        if self.mode == Mode::Leaving {
            if taken == 0 && ring.is_empty() {
                self.mode = Mode::Queue;
                self.wanted = Instant::now();
            }
        } else if self.changing.is_some() {
            if self.changed() {
                self.mode = Mode::Leaving;
            }
        } else if quiet {
            self.change(QUEUE);
        }
        Ok(taken)
    }
}

fn readable() -> EpollEvent {
    EpollEvent::new(EpollFlags::EPOLLIN, 0)
}

impl PacketPort for Adaptive {
    fn receive(
        &mut self,
        pool: &mut Pool,
        batch: &mut Vec<Frame>,
        max: usize,
    ) -> io::Result<usize> {
        match self.mode {
            Mode::Queue | Mode::Entering => self.take_queued(pool, batch, max),
            Mode::Ring | Mode::Leaving => self.take_ringed(pool, batch, max),
        }
    }

    fn send(&mut self, frames: &mut Vec<Frame>, pool: &mut Pool) -> SendReport {
        self.queue.send(frames, pool)
    }

    fn outlet(&self) -> Option<Outlet> {
        self.queue.outlet()
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.either.0.as_fd()
    }

    fn dropped(&mut self) -> u64 {
        let ring = self.ring.as_ref();
        let ring = ring.map_or(0, |ring| socket::packets_dropped(ring.as_fd()).unwrap_or(0));
        std::mem::take(&mut self.dropped) + self.queue.dropped() + ring
    }

    fn interface(&self) -> &str {
        self.queue.interface()
    }

    fn index(&self) -> u32 {
        self.queue.index()
    }

    fn mtu(&self) -> u16 {
        self.queue.mtu()
    }

    fn mac(&self) -> MacAddr {
        self.queue.mac()
    }

    fn backend(&self) -> Backend {
        Backend::Mmap
    }

    fn reason(&self) -> &str {
        self.queue.reason()
    }
}
