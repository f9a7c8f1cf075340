//! What can go wrong with interfaces, each naming the interface.

use std::io;

/// Why an interface could not be made, read or removed.
#[derive(Debug, thiserror::Error)]
pub enum WiringError {
    /// The namespace cannot be entered.
    #[error("cannot enter the network namespace of process {pid}")]
    Namespace {
        /// A process in it.
        pid: u32,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// No netlink socket to be had.
    #[error("cannot open a netlink socket")]
    Netlink(#[source] io::Error),
    /// The kernel refuses.
    #[error("cannot {verb} interface {name}")]
    Link {
        /// What was tried.
        verb: &'static str,
        /// On what.
        name: String,
        /// The kernel's answer.
        #[source]
        source: Box<rtnetlink::Error>,
    },
    /// Interfaces cannot be listed.
    #[error("cannot list interfaces")]
    List(#[source] Box<rtnetlink::Error>),
    /// The name belongs to somebody else.
    #[error("interface {0} exists and is not ours; we leave it alone")]
    Taken(String),
    /// It was there a moment ago.
    #[error("interface {0} has gone")]
    Gone(String),
    /// Offloads stay on, and would corrupt frames.
    #[error("cannot turn the offloads of interface {name} off")]
    Offloads {
        /// The interface.
        name: String,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
    /// The thread for the work ended without an answer.
    #[error("the wiring thread ended early")]
    Thread,
}
