//! Packet I/O: batches of frames between the kernel and the pipeline, behind one trait. Knows
//! interfaces, sockets and offload state; of protocols above Ethernet it knows the outer headers of
//! tunnels over UDP, and decides nothing.
//!
//! This folder is the only one with unsafe code; each block says why it is sound.

mod datagram_ring;
mod facts;
pub(crate) mod fast;
mod gauge;
pub mod link;
mod mmap;
mod mmsg;
mod offload;
mod packet;
mod pnet;
mod ring;
mod senders;
mod socket;
mod udp;
pub mod underlay;
mod xsk;

pub use facts::Facts;
pub use packet::Outlet;

use crate::frame::{Frame, Pool};
use kc_forwarder_api::{Backend, MacAddr};
use std::io;
use std::os::fd::BorrowedFd;

/// One interface, opened for frames in both directions. Nothing here blocks.
pub trait PacketPort: Send {
    /// Appends at most `max` waiting frames to `batch`, taking buffers from `pool`, and says how
    /// many; 0 when none wait. What the kernel knows about a frame is in its `offload`.
    ///
    /// # Errors
    /// The socket is broken; [`is_gone`] tells whether because the interface went away.
    fn receive(&mut self, pool: &mut Pool, batch: &mut Vec<Frame>, max: usize)
    -> io::Result<usize>;

    /// Sends all `frames` in order and gives their buffers to `pool`; `frames` is empty afterwards.
    /// Frames are finished: checksums complete, no longer than the link takes. A VLAN tag in
    /// `offload` is written into the frame.
    fn send(&mut self, frames: &mut Vec<Frame>, pool: &mut Pool) -> SendReport;

    /// The way out for another thread, where frames may be sent beside receiving.
    fn outlet(&self) -> Option<Outlet> {
        None
    }

    /// Readable when frames wait.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Frames that the kernel dropped since the last call, because nobody had taken those before
    /// them; 0 where it does not tell.
    fn dropped(&mut self) -> u64 {
        socket::packets_dropped(self.as_fd()).unwrap_or(0)
    }

    /// Whether the port has to be opened again before the interface, whose MTU has become `mtu`,
    /// is used to the full.
    fn is_outgrown(&self, _mtu: u16) -> bool {
        false
    }

    /// Kernel interface.
    fn interface(&self) -> &str;

    /// The interface's index, which a namesake that comes later does not share.
    fn index(&self) -> u32;

    /// Largest IP packet the interface takes, in bytes, as of opening.
    fn mtu(&self) -> u16;

    /// The interface's address.
    fn mac(&self) -> MacAddr;

    /// Never [`Backend::Auto`].
    fn backend(&self) -> Backend;

    /// Why this backend, for people.
    fn reason(&self) -> &str;
}

/// Frames and their octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Frames.
    pub frames: u64,
    /// Octets.
    pub bytes: u64,
}

impl Tally {
    /// One more frame of `length` octets.
    fn add(&mut self, length: usize) {
        self.frames += 1;
        self.bytes += length as u64;
    }
}

/// Why the kernel did not take a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// Queue or buffer is full.
    Full,
    /// The link takes no frame of that length.
    Oversize,
    /// The interface is down or has gone.
    Gone,
    /// Anything else.
    Error,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Full, Self::Oversize, Self::Gone, Self::Error];

    /// What `error` of a sending call means for the frame.
    fn of(error: &io::Error) -> Self {
        match error.raw_os_error() {
            _ if is_gone(error) => Self::Gone,
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => Self::Full,
            Some(libc::EMSGSIZE) => Self::Oversize,
            _ => Self::Error,
        }
    }
}

/// What became of the frames of one [`PacketPort::send`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Frames the kernel took.
    pub sent: Tally,
    lost: [Tally; Loss::ALL.len()],
}

impl SendReport {
    /// Every one of `frames` was lost.
    pub fn all_lost(frames: &[Frame], loss: Loss) -> Self {
        let mut report = Self::default();
        frames
            .iter()
            .for_each(|frame| report.lose(loss, frame.len()));
        report
    }

    /// Frames lost by reason; reasons that did not happen are left out.
    pub fn losses(&self) -> impl Iterator<Item = (Loss, Tally)> {
        Loss::ALL
            .into_iter()
            .zip(self.lost)
            .filter(|(_, tally)| tally.frames > 0)
    }

    /// Frames lost for any reason.
    pub fn lost(&self) -> u64 {
        self.lost.iter().map(|tally| tally.frames).sum()
    }

    /// Accounts for one lost frame of `length` octets.
    fn lose(&mut self, loss: Loss, length: usize) {
        if let Some(tally) = self.lost.get_mut(loss as usize) {
            tally.add(length);
        }
    }

    /// A frame of `length` octets that was accounted for as sent is lost after all.
    fn take_back(&mut self, loss: Loss, length: usize) {
        self.sent.frames = self.sent.frames.saturating_sub(1);
        self.sent.bytes = self.sent.bytes.saturating_sub(length as u64);
        self.lose(loss, length);
    }
}

/// Whether `error` means that the interface is down or no longer exists.
pub fn is_gone(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENETDOWN | libc::ENXIO | libc::ENODEV)
    )
}

/// Why an interface could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    /// No such interface here at present.
    #[error("interface {interface} does not exist")]
    Absent {
        /// The interface asked for.
        interface: String,
    },
    /// It exists and is administratively down.
    #[error("interface {interface} is down")]
    Down {
        /// The interface asked for.
        interface: String,
    },
    /// It does not carry Ethernet frames.
    #[error("interface {interface} is not Ethernet (hardware type {hardware})")]
    NotEthernet {
        /// The interface asked for.
        interface: String,
        /// ARPHRD_ number.
        hardware: u16,
    },
    /// No right to open packet sockets.
    #[error("interface {interface}: packet sockets need CAP_NET_RAW (run as root)")]
    Forbidden {
        /// The interface asked for.
        interface: String,
    },
    /// The kernel said no.
    #[error("interface {interface}: {step}")]
    Io {
        /// The interface asked for.
        interface: String,
        /// What was being done.
        step: &'static str,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl PortError {
    fn io(interface: &str, step: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => Self::Forbidden {
                interface: interface.to_owned(),
            },
            Some(libc::ENODEV | libc::ENXIO) => Self::Absent {
                interface: interface.to_owned(),
            },
            Some(libc::ENETDOWN) => Self::Down {
                interface: interface.to_owned(),
            },
            _ => Self::Io {
                interface: interface.to_owned(),
                step,
                source,
            },
        }
    }
}

/// An error and what lies behind it, on one line.
pub fn explain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

/// Opens `interface`, promiscuous, with `backend`. [`Backend::Auto`] takes `mmap`; what does not
/// open here is replaced by the next simpler one: `xdp`, `mmap`, `packet`, `pnet`.
///
/// # Errors
/// The interface is absent, down, not Ethernet, or the kernel refused the socket.
pub fn open(interface: &str, backend: Backend) -> Result<Box<dyn PacketPort>, PortError> {
    let facts = Facts::read(interface)?;
    // `pnet` is the last resort of all.
    let candidates: &[Backend] = match backend {
        Backend::Auto | Backend::Mmap | Backend::Xdp => &[Backend::Mmap, Backend::Packet],
        Backend::Packet => &[Backend::Packet],
        Backend::Pnet => &[],
    };
    let mut reason = match backend {
        Backend::Auto => "the best that opens here".to_owned(),
        _ => "asked for".to_owned(),
    };
    if backend == Backend::Xdp {
        match xsk::XskPort::open(facts.clone()) {
            Ok(port) => return Ok(Box::new(port)),
            Err(error) => reason = format!("xdp did not open here: {}", explain(&error)),
        }
    }
    for &candidate in candidates {
        match open_as(candidate, facts.clone(), &reason) {
            // What this kernel has not is no error while there is something simpler.
            Err(PortError::Io { step, source, .. }) => {
                reason = format!("{candidate} did not open here: {step}: {source}");
            }
            other => return other,
        }
    }
    open_as(Backend::Pnet, facts, &reason)
}

/// Opens what `facts` describe with a backend of AF_PACKET.
fn open_as(backend: Backend, facts: Facts, reason: &str) -> Result<Box<dyn PacketPort>, PortError> {
    Ok(match backend {
        Backend::Packet => Box::new(packet::PacketSocket::open(facts, reason)?),
        Backend::Pnet => Box::new(pnet::PnetChannel::open(facts, reason)?),
        Backend::Auto | Backend::Mmap | Backend::Xdp => {
            Box::new(mmap::Adaptive::open(facts, reason)?)
        }
    })
}
