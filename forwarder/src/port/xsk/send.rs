//! Frames on their way out: copied into chunks, put into the ring, and the kernel told.
#![expect(unsafe_code, reason = "writes to memory shared with the kernel")]

use super::socket::{self, SendRings};
use super::umem::Umem;
use crate::port::{Loss, SendReport};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

/// Calls in a row that send nothing before frames are given up.
const ATTEMPTS: u32 = 4;

/// One port's way out.
pub(super) struct Outlet {
    rings: SendRings,
    /// Chunks that nobody uses.
    free: Vec<u64>,
    /// The driver takes frames out of the ring whenever it likes, and not only while it is told.
    zero_copy: bool,
    fd: OwnedFd,
}

impl Outlet {
    /// Sends by the socket `fd`, whose rings these are, from the chunks `free`.
    pub(super) fn new(fd: OwnedFd, rings: SendRings, free: Vec<u64>, zero_copy: bool) -> Self {
        Self {
            rings,
            free,
            zero_copy,
            fd,
        }
    }

    /// Whether the kernel copies frames.
    pub(super) fn copies(&self) -> bool {
        !self.zero_copy
    }

    /// Takes back the chunks of frames that were sent.
    pub(super) fn reap(&mut self, umem: &Umem) {
        let before = self.free.len();
        while let Some(address) = self.rings.completion.take() {
            self.free.push(umem.chunk_of(address));
        }
        if self.free.len() > before {
            self.rings.completion.release();
        }
    }

    /// Puts one frame into the ring, making room first where there is none.
    pub(super) fn put(&mut self, umem: &mut Umem, frame: &[u8], report: &mut SendReport) {
        if self.free.is_empty() {
            self.flush(umem, report);
            self.reap(umem);
        }
        let Some(address) = self.free.pop() else {
            return report.lose(Loss::Full, frame.len());
        };
        // SAFETY: a free chunk is in no ring.
        let written = unsafe { umem.write(address, frame) };
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        let descriptor = libc::xdp_desc {
            addr: address,
            len,
            options: 0,
        };
        if !written || frame.is_empty() {
            self.free.push(address);
            report.lose(Loss::Oversize, frame.len());
        } else if self.rings.send.put(descriptor) {
            report.sent.add(frame.len());
        } else {
            self.free.push(address);
            report.lose(Loss::Full, frame.len());
        }
    }

    /// Has everything in the ring sent. What the kernel does not take is lost.
    pub(super) fn flush(&mut self, umem: &Umem, report: &mut SendReport) {
        let send = &mut self.rings.send;
        send.publish();
        let mut attempts = 0;
        let loss = loop {
            let waiting = send.waiting();
            if waiting == 0 || !send.needs_wakeup() {
                return;
            }
            let error = match socket::kick(self.fd.as_fd()) {
                // Without copying, this has only woken the driver up.
                Ok(()) if self.zero_copy || send.waiting() == 0 => return,
                Ok(()) => io::Error::from_raw_os_error(libc::EAGAIN),
                Err(error) => error,
            };
            let left = send.waiting();
            match error.raw_os_error() {
                Some(libc::EINTR) => {}
                // The frame that was taken last found the link's queue full.
                Some(libc::EBUSY) if left < waiting && !self.zero_copy => {
                    report.take_back(Loss::Full, send.written(left + 1).len as usize);
                }
                Some(libc::EAGAIN | libc::EBUSY | libc::ENOBUFS | libc::ENOMEM)
                    if left < waiting =>
                {
                    attempts = 0;
                }
                _ if attempts >= ATTEMPTS || Loss::of(&error) != Loss::Full => {
                    break Loss::of(&error);
                }
                _ => attempts += 1,
            }
        };
        // The kernel takes frames out of this ring in no call but the one above.
        while !self.zero_copy
            && let Some(descriptor) = self.rings.send.withdraw()
        {
            self.free.push(umem.chunk_of(descriptor.addr));
            report.take_back(loss, descriptor.len as usize);
        }
    }
}
