//! AF_XDP sockets: what is set before one is bound to a queue, and its rings.
#![expect(unsafe_code, reason = "socket and bind, memory shared with the kernel")]

use super::ring::{Consumer, Producer};
use super::umem::Umem;
use crate::port::socket::{check, get, grow_buffers, set};
use std::io;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// XDP_MAX_TX_SKB_BUDGET of linux/if_xdp.h: frames that one call sends (Linux 6.17).
const XDP_MAX_TX_SKB_BUDGET: i32 = 9;

/// XDP_PGOFF_TX_RING, which libc has as an `off_t`: too large for one of 32 bits.
const SEND_RING: u64 = 0x8000_0000;

/// A queue that a port just closed, or a process just killed, is free a moment later: the kernel
/// tidies up in the background and tells nobody when it is done.
const ATTEMPTS: u32 = 50;
const PAUSE: Duration = Duration::from_millis(2);

/// A socket that only receives, and the rings that frames come in by.
pub(super) struct XskSocket {
    /// Chunks for frames that may come.
    fill: Producer<u64>,
    /// Frames that came.
    receive: Consumer<libc::xdp_desc>,
    fd: OwnedFd,
}

impl XskSocket {
    /// A socket that brings `umem` with it, with rings of `receive` entries; and the ring, of
    /// `completion` entries, in which the chunks of frames come back that are sent by its queue.
    /// Both are powers of two.
    pub(super) fn first(
        umem: &Umem,
        receive: u32,
        completion: u32,
    ) -> io::Result<(Self, Consumer<u64>)> {
        let fd = open()?;
        let registration = umem.registration();
        set(fd.as_fd(), libc::SOL_XDP, libc::XDP_UMEM_REG, &registration)?;
        let (socket, offsets) = Self::with_rings(fd, receive, completion)?;
        let page = libc::XDP_UMEM_PGOFF_COMPLETION_RING;
        let completion = Consumer::map(socket.fd.as_fd(), page, completion, &offsets.cr)?;
        Ok((socket, completion))
    }

    /// A socket over memory that there is already, with rings of `receive` entries, a power of two.
    pub(super) fn further(receive: u32) -> io::Result<Self> {
        // A completion ring there must be.
        Self::with_rings(open()?, receive, 1).map(|(socket, _)| socket)
    }

    fn with_rings(
        fd: OwnedFd,
        receive: u32,
        completion: u32,
    ) -> io::Result<(Self, libc::xdp_mmap_offsets)> {
        let socket = fd.as_fd();
        ring(socket, libc::XDP_UMEM_FILL_RING, receive)?;
        ring(socket, libc::XDP_UMEM_COMPLETION_RING, completion)?;
        ring(socket, libc::XDP_RX_RING, receive)?;
        let offsets = offsets(socket)?;
        let page = libc::XDP_UMEM_PGOFF_FILL_RING;
        let socket = Self {
            fill: Producer::map(socket, page, receive, &offsets.fr)?,
            receive: Consumer::map(socket, 0, receive, &offsets.rx)?,
            fd,
        };
        Ok((socket, offsets))
    }

    /// Lends the chunks at `addresses` to the kernel, for frames that may come.
    pub(super) fn lend(&mut self, addresses: impl Iterator<Item = u64>) {
        for address in addresses {
            self.fill.put(address);
        }
        self.fill.publish();
    }

    /// Hands at most `max` frames that wait to `each`, and says how many.
    pub(super) fn receive(
        &mut self,
        umem: &Umem,
        max: usize,
        mut each: impl FnMut(&[u8]),
    ) -> usize {
        let mut count = 0;
        while count < max
            && let Some(descriptor) = self.receive.take()
        {
            // SAFETY: the chunk was taken from the ring just now, and is given back below.
            if let Some(bytes) = unsafe { umem.received(descriptor.addr, descriptor.len) } {
                each(bytes);
                self.fill.put(umem.chunk_of(descriptor.addr));
            }
            count += 1;
        }
        if count > 0 {
            self.fill.publish();
            self.receive.release();
        }
        count
    }

    /// Binds it to a queue of the interface with `index`, over the memory of `first` if given.
    pub(super) fn bind(&self, index: u32, queue: u32, first: Option<&Self>) -> io::Result<()> {
        bind(self.fd.as_fd(), index, queue, first.map(Self::as_fd))
    }

    /// Whether frames need not be copied between the driver and our memory.
    pub(super) fn is_zero_copy(&self) -> bool {
        let mut options = libc::xdp_options { flags: 0 };
        let told = get(
            self.fd.as_fd(),
            libc::SOL_XDP,
            libc::XDP_OPTIONS,
            &mut options,
        );
        told.is_ok() && options.flags & libc::XDP_OPTIONS_ZEROCOPY != 0
    }

    /// Frames that the kernel dropped since the socket was bound: no chunk or no place in the
    /// ring was free, or they were longer than a chunk.
    pub(super) fn dropped(&self) -> u64 {
        // SAFETY: plain data for which all zeroes is a valid value.
        let mut statistics: libc::xdp_statistics = unsafe { zeroed() };
        match get(
            self.fd.as_fd(),
            libc::SOL_XDP,
            libc::XDP_STATISTICS,
            &mut statistics,
        ) {
            // A frame for which there was no chunk is among `rx_dropped`, so that
            // `rx_fill_ring_empty_descs` would count it again.
            Ok(()) => statistics.rx_dropped + statistics.rx_ring_full,
            Err(_) => 0,
        }
    }

    /// The error pending on the socket, if any.
    pub(super) fn error(&self) -> Option<io::Error> {
        socket2::SockRef::from(&self.fd).take_error().ok().flatten()
    }
}

impl AsFd for XskSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A socket that only sends. One of its own, because whoever waits at a socket is woken up for
/// every frame that leaves by it.
pub(super) struct SendSocket {
    /// Frames to be sent.
    pub(super) ring: Producer<libc::xdp_desc>,
    fd: OwnedFd,
}

impl SendSocket {
    /// A socket with a ring of `size` entries, a power of two, that sends by the first queue of
    /// the interface with `index`, to which `first` is bound.
    pub(super) fn new(size: u32, index: u32, first: &XskSocket) -> io::Result<Self> {
        let fd = open()?;
        let socket = fd.as_fd();
        ring(socket, libc::XDP_TX_RING, size)?;
        match set(socket, libc::SOL_XDP, XDP_MAX_TX_SKB_BUDGET, &size) {
            // Kernels that do not know it send 32 frames a call. Others take any number that the
            // ring holds, and an error is ours.
            Err(error) if error.raw_os_error() == Some(libc::ENOPROTOOPT) => {}
            answer => answer?,
        }
        let ring = Producer::map(socket, SEND_RING, size, &offsets(socket)?.tx)?;
        bind(socket, index, 0, Some(first.as_fd()))?;
        Ok(Self { ring, fd })
    }

    /// Tells the kernel to send what is in the ring.
    pub(super) fn kick(&self) -> io::Result<()> {
        socket2::SockRef::from(&self.fd).send_with_flags(&[], libc::MSG_DONTWAIT)?;
        Ok(())
    }
}

fn open() -> io::Result<OwnedFd> {
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    // SAFETY: no pointers are involved.
    let fd = check(unsafe { libc::socket(libc::AF_XDP, kind, 0) })?;
    // SAFETY: `fd` was opened just now and nobody else owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    grow_buffers(fd.as_fd())?;
    Ok(fd)
}

/// Gives a socket a ring of `size` entries.
fn ring(fd: BorrowedFd<'_>, option: i32, size: u32) -> io::Result<()> {
    set(fd, libc::SOL_XDP, option, &size)
}

/// Where the parts of a socket's rings are.
fn offsets(fd: BorrowedFd<'_>) -> io::Result<libc::xdp_mmap_offsets> {
    // SAFETY: plain data for which all zeroes is a valid value.
    let mut offsets: libc::xdp_mmap_offsets = unsafe { zeroed() };
    get(fd, libc::SOL_XDP, libc::XDP_MMAP_OFFSETS, &mut offsets)?;
    Ok(offsets)
}

/// Binds `fd` to a queue of the interface with `index`, over the memory of `first` if given.
fn bind(
    fd: BorrowedFd<'_>,
    index: u32,
    queue: u32,
    first: Option<BorrowedFd<'_>>,
) -> io::Result<()> {
    let address = libc::sockaddr_xdp {
        sxdp_family: u16::try_from(libc::AF_XDP).map_err(io::Error::other)?,
        // Without a word about copying the kernel does without it where the driver can.
        sxdp_flags: match first {
            None => libc::XDP_USE_NEED_WAKEUP,
            Some(_) => libc::XDP_SHARED_UMEM,
        },
        sxdp_ifindex: index,
        sxdp_queue_id: queue,
        sxdp_shared_umem_fd: first.map_or(0, |first| first.as_raw_fd().cast_unsigned()),
    };
    let length = libc::socklen_t::try_from(size_of_val(&address)).map_err(io::Error::other)?;
    let mut attempt = 0;
    loop {
        // SAFETY: `address` is a sockaddr_xdp of `length` octets and outlives the call.
        let bound = check(unsafe {
            let address = std::ptr::from_ref(&address).cast();
            libc::bind(fd.as_raw_fd(), address, length)
        });
        match bound {
            Err(error) if error.raw_os_error() == Some(libc::EBUSY) && attempt < ATTEMPTS => {
                attempt += 1;
                std::thread::sleep(PAUSE);
            }
            bound => return bound.map(|_| ()),
        }
    }
}
