//! Why AF_XDP does not work on an interface, in words that say what would have to be otherwise.

use super::program::MAX_QUEUES;
use std::fmt;
use std::io;

/// What was being done when the kernel said no.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::port) enum Step {
    /// Asking the interface's driver.
    Ask,
    /// Making the map of sockets, or filling it.
    Map,
    /// Loading the program.
    Load,
    /// Attaching it.
    Attach,
    /// Making sockets and binding them to their queues.
    Socket,
    /// Promiscuous mode.
    Promiscuous,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ask => "asking the driver",
            Self::Map => "map of sockets",
            Self::Load => "loading the XDP program",
            Self::Attach => "attaching the XDP program",
            Self::Socket => "AF_XDP socket",
            Self::Promiscuous => "promiscuous mode",
        })
    }
}

/// See the module's documentation.
#[derive(Debug, thiserror::Error)]
pub(in crate::port) enum XskError {
    /// Its frames fit into no chunk.
    #[error("frames of MTU {mtu} do not fit (at most {longest})")]
    Mtu {
        /// Of the interface.
        mtu: u16,
        /// The largest that would do.
        longest: usize,
    },
    /// What the other end of a veth sends would not fit into a page.
    #[error("its peer's MTU is too large for XDP (at most about 3500)")]
    PeerMtu,
    /// All frames come to us, so the host's own ones would not reach it.
    #[error("it has an IP address, which the host could not be reached by any more")]
    Address,
    /// Frames may arrive there with tags or as super-frames, which AF_XDP would not tell.
    #[error("driver {driver:?} is neither a veth's nor hardware's")]
    Driver {
        /// Its name.
        driver: String,
    },
    /// The hardware takes tags out, and AF_XDP does not tell.
    #[error("the hardware takes VLAN tags out of frames (ethtool -K {interface} rxvlan off)")]
    TagsTakenOut {
        /// The interface.
        interface: String,
    },
    /// The kernel has no function that tells a tag beside a frame, or does not describe it.
    #[error(
        "this kernel does not tell VLAN tags to XDP (Linux 6.8 with CONFIG_DEBUG_INFO_BTF does)"
    )]
    NoTagFunction,
    /// More queues than we have sockets for.
    #[error("{queues} receive queues are too many (at most {MAX_QUEUES})")]
    Queues {
        /// As of now.
        queues: u32,
    },
    /// The object in this program is not what it was made from.
    #[error("the XDP program is damaged")]
    Object,
    /// The kernel said no.
    #[error("{step}")]
    Io {
        /// What was being done.
        step: Step,
        /// The kernel's answer.
        source: io::Error,
    },
}

impl XskError {
    /// Wraps the kernel's answer at `step`.
    pub(super) fn io(step: Step) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { step, source }
    }
}
