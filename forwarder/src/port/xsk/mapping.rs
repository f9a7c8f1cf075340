//! Memory that is shared with the kernel.
#![expect(unsafe_code, reason = "mmap and munmap")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::NonNull;

/// A mapping, gone when dropped.
#[derive(Debug)]
pub(super) struct Mapping {
    at: NonNull<u8>,
    len: usize,
}

// SAFETY: the memory belongs to this structure alone, on whichever thread that is.
unsafe impl Send for Mapping {}

impl Mapping {
    /// `len` octets of `fd` from `offset`, shared with it.
    pub(super) fn shared(fd: BorrowedFd<'_>, offset: u64, len: usize) -> io::Result<Self> {
        let offset = i64::try_from(offset).map_err(io::Error::other)?;
        Self::map(
            len,
            libc::MAP_SHARED | libc::MAP_POPULATE,
            fd.as_raw_fd(),
            offset,
        )
    }

    /// `len` octets of zeroes.
    pub(super) fn anonymous(len: usize) -> io::Result<Self> {
        Self::map(len, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS, -1, 0)
    }

    fn map(len: usize, flags: i32, fd: i32, offset: i64) -> io::Result<Self> {
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the kernel chooses a place where nothing is; no memory of ours is touched.
        let at = unsafe {
            libc::mmap64(
                std::ptr::null_mut(),
                len,
                protection,
                flags,
                fd,
                offset as _,
            )
        };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { at, len })
    }

    /// Its beginning, aligned to a page.
    pub(super) fn start(&self) -> NonNull<u8> {
        self.at
    }

    /// Its length in octets.
    pub(super) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: this is what `map` returned, and whoever borrowed from it has ended.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.len) };
    }
}
