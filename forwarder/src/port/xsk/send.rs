//! Frames on their way out: copied into chunks, put into the ring, and the kernel told.
#![expect(unsafe_code, reason = "writes to memory shared with the kernel")]

use super::ring::Consumer;
use super::socket::SendSocket;
use super::umem::Umem;
use crate::port::{Loss, SendReport};

/// Calls in a row that send nothing before frames are left in the ring for the next time.
const ATTEMPTS: u32 = 4;

/// One port's way out.
pub(super) struct Outlet {
    socket: SendSocket,
    /// Chunks of frames that were sent.
    completion: Consumer<u64>,
    /// Chunks that nobody uses.
    free: Vec<u64>,
    /// Entries at the end of the ring that are not known to be taken. The kernel's own counter
    /// may be behind: it is not shown for a call in which all frames were dropped.
    waiting: u32,
    /// The driver takes frames out of the ring whenever it likes, and not only while it is told.
    zero_copy: bool,
}

impl Outlet {
    /// Sends by `socket` from the chunks `free`, which come back by `completion`.
    pub(super) fn new(
        socket: SendSocket,
        completion: Consumer<u64>,
        free: Vec<u64>,
        zero_copy: bool,
    ) -> Self {
        Self {
            socket,
            completion,
            free,
            waiting: 0,
            zero_copy,
        }
    }

    /// Whether the kernel copies frames.
    pub(super) fn copies(&self) -> bool {
        !self.zero_copy
    }

    /// Takes back the chunks of frames that were sent.
    pub(super) fn reap(&mut self, umem: &Umem) {
        let before = self.free.len();
        while let Some(address) = self.completion.take() {
            self.free.push(umem.chunk_of(address));
        }
        if self.free.len() > before {
            self.completion.release();
        }
    }

    /// Puts one frame into the ring, making room first where there is none.
    pub(super) fn put(&mut self, umem: &mut Umem, frame: &[u8], report: &mut SendReport) {
        if self.free.is_empty() {
            self.flush(report);
            self.reap(umem);
        }
        let Some(address) = self.free.pop() else {
            return report.lose(Loss::Full, frame.len());
        };
        // SAFETY: a free chunk is in no ring.
        let written = !frame.is_empty() && unsafe { umem.write(address, frame) };
        let descriptor = libc::xdp_desc {
            addr: address,
            len: u32::try_from(frame.len()).unwrap_or(u32::MAX),
            options: 0,
        };
        let loss = match written {
            true if self.socket.ring.put(descriptor) || self.put_again(descriptor, report) => {
                self.waiting += 1;
                return report.sent.add(frame.len());
            }
            true => Loss::Full,
            false => Loss::Oversize,
        };
        self.free.push(address);
        report.lose(loss, frame.len());
    }

    /// Puts a descriptor into a ring that looked full.
    fn put_again(&mut self, descriptor: libc::xdp_desc, report: &mut SendReport) -> bool {
        if self.waiting > 0 {
            self.flush(report);
        } else {
            // All was taken, and now the kernel shows it. There is nothing that could fail.
            let _ = self.socket.kick();
        }
        self.socket.ring.put(descriptor)
    }

    /// Has everything in the ring sent. What finds the link's queue full is lost, as with any
    /// socket; where the driver itself has no room, frames stay in the ring until the next call.
    pub(super) fn flush(&mut self, report: &mut SendReport) {
        self.socket.ring.publish();
        let mut attempts = 0;
        while self.waiting > 0 && attempts < ATTEMPTS && self.socket.ring.needs_wakeup() {
            let answer = self.socket.kick();
            let before = self.waiting;
            self.waiting = before.min(self.socket.ring.waiting());
            let Err(error) = answer else {
                // Without copying, this has only woken the driver up.
                return;
            };
            match error.raw_os_error() {
                // The frame that was taken last was dropped. The kernel shows how far it is if it
                // sent any before that one.
                Some(libc::EBUSY) if !self.zero_copy => {
                    self.waiting = self.waiting.min(before - 1);
                    let dropped = self.socket.ring.written(self.waiting + 1);
                    report.take_back(Loss::Full, dropped.len as usize);
                }
                // So many frames a call, and there are more.
                Some(libc::EAGAIN) if self.waiting < before => attempts = 0,
                Some(libc::EINTR) => {}
                _ if Loss::of(&error) == Loss::Gone => return self.give_up(report),
                _ => attempts += 1,
            }
        }
    }

    /// The interface is down or has gone.
    fn give_up(&mut self, report: &mut SendReport) {
        for ago in 1..=self.waiting {
            let lost = self.socket.ring.written(ago);
            report.take_back(Loss::Gone, lost.len as usize);
        }
        self.waiting = 0;
    }
}
