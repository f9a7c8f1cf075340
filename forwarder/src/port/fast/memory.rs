//! An array that the kernel's program and we both see, mapped into our memory: written word by
//! word, read without a system call.
#![expect(unsafe_code, reason = "mapping memory, and making slices of it")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// A mapped array.
#[derive(Debug)]
pub(super) struct Memory {
    start: NonNull<libc::c_void>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone and is only read and written by atomic
// operations, whatever the thread.
unsafe impl Send for Memory {}

// SAFETY: as above, and also by several threads at once.
unsafe impl Sync for Memory {}

impl Memory {
    /// Maps the first `length` octets of the array behind `fd`, which was made with
    /// BPF_F_MMAPABLE and is at least that long.
    pub(super) fn map(fd: BorrowedFd<'_>, length: usize) -> io::Result<Self> {
        let access = libc::PROT_READ | libc::PROT_WRITE;
        let null = std::ptr::null_mut();
        // SAFETY: a new mapping at an address of the kernel's choice touches no memory of ours;
        // its result is checked before use.
        let start =
            unsafe { libc::mmap(null, length, access, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, length })
    }

    /// All of it as words of 32 bits.
    fn words(&self) -> &[AtomicU32] {
        // SAFETY: the mapping is page-aligned, `length` octets long, lives as long as `self`, and
        // any bits are valid for an atomic integer; the kernel writes whole aligned words.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.length / 4) }
    }

    fn wide_words(&self) -> &[AtomicU64] {
        // SAFETY: as above, and a page is aligned for 64 bits too.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr().cast(), self.length / 8) }
    }

    /// Writes one word; what was written before is seen before it.
    pub(super) fn store(&self, place: usize, word: u32) {
        if let Some(cell) = self.words().get(place) {
            cell.store(word, Ordering::Release);
        }
    }

    /// Writes one word of 64 bits in one piece, as [`store`](Self::store).
    pub(super) fn store_wide(&self, place: usize, word: u64) {
        if let Some(cell) = self.wide_words().get(place) {
            cell.store(word, Ordering::Release);
        }
    }

    /// Writes record `place` of records of `N` words, the first word last.
    pub(super) fn write<const N: usize>(&self, place: usize, record: &[u32; N]) {
        for (step, word) in record.iter().enumerate().rev() {
            self.store(place * N + step, *word);
        }
    }

    /// The words of 64 bits from `place` on.
    pub(super) fn wide_from(&self, place: usize) -> impl Iterator<Item = u64> {
        let cells = self.wide_words().get(place..).unwrap_or_default();
        cells.iter().map(|cell| cell.load(Ordering::Relaxed))
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: the mapping was made by `map` with this length, and nothing borrows it any more.
        unsafe { libc::munmap(self.start.as_ptr(), self.length) };
    }
}
