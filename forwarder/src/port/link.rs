//! Tells when any interface of this network namespace came, went or changed, by rtnetlink: a
//! port whose interface is missing is looked for then, and not by polling.

use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recv, socket,
};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

/// RTMGRP_LINK: interfaces.
const LINKS: u32 = 1;

/// RTMGRP_NEIGH, and RTMGRP_IPV4_ and RTMGRP_IPV6_ IFADDR and ROUTE.
const ROUTES: u32 = 0x4 | 0x10 | 0x40 | 0x100 | 0x400;

/// A netlink socket subscribed to interface changes.
#[derive(Debug)]
pub struct LinkWatch {
    socket: OwnedFd,
}

impl LinkWatch {
    /// Subscribes in the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel refused the socket.
    pub fn open() -> io::Result<Self> {
        Self::open_for(LINKS)
    }

    /// Subscribes to changes of addresses, routes and stations, of both address families.
    ///
    /// # Errors
    /// The kernel refused the socket.
    pub(crate) fn open_for_routes() -> io::Result<Self> {
        Self::open_for(ROUTES)
    }

    fn open_for(groups: u32) -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let protocol = SockProtocol::NetlinkRoute;
        let socket = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        bind(socket.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Self { socket })
    }

    /// Readable when something changed.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Empties the socket and says whether anything changed since the last call. What changed is
    /// for the caller to look up: messages may have been lost, the kernel's present state not.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn changed(&self) -> io::Result<bool> {
        let mut changed = false;
        let mut message = [0; 512];
        loop {
            match recv(
                self.socket.as_raw_fd(),
                &mut message,
                MsgFlags::MSG_DONTWAIT,
            ) {
                Ok(_) | Err(nix::Error::ENOBUFS) => changed = true,
                Err(nix::Error::EINTR) => {}
                Err(nix::Error::EAGAIN) => return Ok(changed),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
