//! `recvmmsg` and `sendmmsg`: many datagrams for one system call. The only place that builds
//! message headers.
//!
//! Octets go between the kernel and a frame's own buffer without a stop. What is longer than a
//! buffer, a super-frame or a run of datagrams that the kernel joined, goes on in an area that all
//! sockets of a thread share, and is copied from there.

mod control;
mod receive;
mod send;

pub(super) use control::{UDP_GRO, UDP_SEGMENT};
pub(super) use receive::{Kind, receive};
pub(super) use send::{Joining, send};

/// Datagrams for one call. A larger batch takes several calls.
pub(super) const BATCH: usize = 32;
