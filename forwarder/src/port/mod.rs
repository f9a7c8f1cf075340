//! Packet I/O: batches of frames between the kernel and the pipeline, behind one trait. Knows
//! interfaces, sockets and offload state; knows no protocol above Ethernet and decides nothing.
//!
//! This folder is the only one with unsafe code; each block says why it is sound.

mod facts;
pub mod link;
mod mmsg;
mod offload;
mod packet;
mod pnet;
mod socket;
pub mod udp;

pub use facts::Facts;

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

    /// Readable when frames wait.
    fn as_fd(&self) -> BorrowedFd<'_>;

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

/// What became of the frames of one [`PacketPort::send`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SendReport {
    /// Frames the kernel took.
    pub sent: u64,
    /// Their octets.
    pub bytes: u64,
    /// Frames lost because queue or buffer was full.
    pub full: u64,
    /// Frames lost because the link takes no frame of that length.
    pub oversize: u64,
    /// Frames the kernel refused for another reason.
    pub errors: u64,
    /// Frames lost because the interface is down or has gone.
    pub gone: u64,
}

impl SendReport {
    /// Accounts for one frame of `length` octets that the kernel took.
    fn took(&mut self, length: usize) {
        self.sent += 1;
        self.bytes += length as u64;
    }

    /// Accounts for one frame that the kernel refused with `error`.
    fn refused(&mut self, error: &io::Error) {
        if is_gone(error) {
            self.gone += 1;
            return;
        }
        match error.raw_os_error() {
            Some(libc::EAGAIN | libc::ENOBUFS | libc::ENOMEM) => self.full += 1,
            Some(libc::EMSGSIZE) => self.oversize += 1,
            _ => self.errors += 1,
        }
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

/// Opens `interface`, promiscuous, with `backend`. [`Backend::Auto`] takes `packet` where it
/// opens and `pnet` otherwise.
///
/// # Errors
/// The interface is absent, down, not Ethernet, or the kernel refused the socket.
pub fn open(interface: &str, backend: Backend) -> Result<Box<dyn PacketPort>, PortError> {
    let facts = Facts::read(interface)?;
    match backend {
        Backend::Packet => Ok(Box::new(packet::PacketSocket::open(facts)?)),
        Backend::Pnet => Ok(Box::new(pnet::PnetChannel::open(facts, "asked for")?)),
        Backend::Auto => match packet::PacketSocket::open(facts.clone()) {
            Ok(port) => Ok(Box::new(port)),
            Err(PortError::Io { source, .. }) => {
                let reason = format!("packet did not open here: {source}");
                Ok(Box::new(pnet::PnetChannel::open(facts, &reason)?))
            }
            Err(error) => Err(error),
        },
    }
}
