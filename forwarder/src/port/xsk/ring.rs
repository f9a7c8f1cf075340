//! A ring between one writer and one reader, of which the kernel is one: entries in an array of
//! 2^n places, and two counters that only grow. Who wrote an entry, or has read it, says so by
//! its own counter; nobody writes the other's.
#![expect(unsafe_code, reason = "memory shared with the kernel")]

use super::mapping::Mapping;
use std::io;
use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a ring holds: plain data, valid for any octets.
///
/// # Safety
/// Every bit pattern is a value, and there is no padding.
pub(super) unsafe trait Entry: Copy {}

// SAFETY: an integer.
unsafe impl Entry for u64 {}

// SAFETY: three integers, the first as long as the other two.
unsafe impl Entry for libc::xdp_desc {}

/// Both sides' view of a ring.
struct Ring<T> {
    producer: NonNull<AtomicU32>,
    consumer: NonNull<AtomicU32>,
    flags: NonNull<AtomicU32>,
    entries: NonNull<T>,
    size: u32,
    /// Our counter.
    own: u32,
    /// The other's counter as last seen.
    other: u32,
    /// What all of that points into.
    _mapping: Mapping,
}

// SAFETY: the pointers lead into the mapping, which the structure owns; counters are atomic, and
// entries are accessed only where the counters say that they are ours.
unsafe impl<T: Entry> Send for Ring<T> {}

impl<T: Entry> Ring<T> {
    /// Maps a ring of `size` entries, a power of two that the socket was told, which lies at
    /// `page` of `fd`.
    fn map(
        fd: BorrowedFd<'_>,
        page: u64,
        size: u32,
        offsets: &libc::xdp_ring_offset,
    ) -> io::Result<Self> {
        let place = |offset: u64, len: usize, align: usize| {
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            if !offset.is_multiple_of(align) {
                return Err(io::Error::from(io::ErrorKind::InvalidData));
            }
            let end = offset.checked_add(len).ok_or(io::ErrorKind::InvalidData)?;
            Ok((offset, end))
        };
        let count = usize::try_from(size).map_err(io::Error::other)?;
        let (word, align) = (size_of::<AtomicU32>(), align_of::<AtomicU32>());
        let (entries, mut len) = place(offsets.desc, size_of::<T>() * count, align_of::<T>())?;
        let (producer, end) = place(offsets.producer, word, align)?;
        len = len.max(end);
        let (consumer, end) = place(offsets.consumer, word, align)?;
        len = len.max(end);
        let (flags, end) = place(offsets.flags, word, align)?;
        len = len.max(end);
        let mapping = Mapping::shared(fd, page, len)?;
        let start = mapping.start();
        // SAFETY: all four lie in the mapping, which is `len` octets long and was computed to
        // hold them; each is aligned, since the offsets are and the mapping begins with a page.
        let (producer, consumer, flags, entries) = unsafe {
            (
                start.add(producer).cast(),
                start.add(consumer).cast(),
                start.add(flags).cast(),
                start.add(entries).cast(),
            )
        };
        Ok(Self {
            producer,
            consumer,
            flags,
            entries,
            size,
            own: 0,
            other: 0,
            _mapping: mapping,
        })
    }

    fn load(&self, counter: NonNull<AtomicU32>) -> u32 {
        // SAFETY: a counter in our mapping, which is accessed atomically by both sides.
        unsafe { counter.as_ref() }.load(Ordering::Acquire)
    }

    fn store(&self, counter: NonNull<AtomicU32>, value: u32) {
        // SAFETY: as in `load`.
        unsafe { counter.as_ref() }.store(value, Ordering::Release);
    }

    /// Place of entry `index`.
    fn entry(&self, index: u32) -> NonNull<T> {
        let place = (index & (self.size - 1)) as usize;
        // SAFETY: `place` is below `size`, and so many entries are in the mapping.
        unsafe { self.entries.add(place) }
    }
}

/// A ring that we write.
pub(super) struct Producer<T>(Ring<T>);

impl<T: Entry> Producer<T> {
    /// See [`Ring::map`].
    pub(super) fn map(
        fd: BorrowedFd<'_>,
        page: u64,
        size: u32,
        offsets: &libc::xdp_ring_offset,
    ) -> io::Result<Self> {
        Ring::map(fd, page, size, offsets).map(Self)
    }

    /// Writes one entry, which the kernel sees with the next [`Self::publish`]; false when the
    /// ring is full.
    pub(super) fn put(&mut self, entry: T) -> bool {
        let ring = &mut self.0;
        if ring.own.wrapping_sub(ring.other) >= ring.size {
            ring.other = ring.load(ring.consumer);
            if ring.own.wrapping_sub(ring.other) >= ring.size {
                return false;
            }
        }
        // SAFETY: the entry lies in the mapping. It is at most `size` ahead of what the kernel
        // has read, so the kernel does not look at it before the counter says so.
        unsafe { ring.entry(ring.own).write(entry) };
        ring.own = ring.own.wrapping_add(1);
        true
    }

    /// Shows the kernel all that was written.
    pub(super) fn publish(&mut self) {
        self.0.store(self.0.producer, self.0.own);
    }

    /// Entries that the kernel has not taken yet.
    pub(super) fn waiting(&self) -> u32 {
        self.0.own.wrapping_sub(self.0.load(self.0.consumer))
    }

    /// The entry that was written `ago` entries before the next one.
    pub(super) fn written(&self, ago: u32) -> T {
        // SAFETY: the entry lies in the mapping, and any octets are valid; only we write this
        // ring.
        unsafe { self.0.entry(self.0.own.wrapping_sub(ago)).read() }
    }

    /// Whether the kernel wants to be told of what was published.
    pub(super) fn needs_wakeup(&self) -> bool {
        self.0.load(self.0.flags) & libc::XDP_RING_NEED_WAKEUP != 0
    }
}

/// A ring that we read.
pub(super) struct Consumer<T>(Ring<T>);

impl<T: Entry> Consumer<T> {
    /// See [`Ring::map`].
    pub(super) fn map(
        fd: BorrowedFd<'_>,
        page: u64,
        size: u32,
        offsets: &libc::xdp_ring_offset,
    ) -> io::Result<Self> {
        Ring::map(fd, page, size, offsets).map(Self)
    }

    /// The next entry. Its place stays ours until [`Self::release`].
    pub(super) fn take(&mut self) -> Option<T> {
        let ring = &mut self.0;
        if ring.own == ring.other {
            ring.other = ring.load(ring.producer);
            if ring.own == ring.other {
                return None;
            }
        }
        // SAFETY: the entry lies in the mapping; the kernel's counter, read with acquire, says
        // that it has been written, and any octets are valid.
        let entry = unsafe { ring.entry(ring.own).read() };
        ring.own = ring.own.wrapping_add(1);
        Some(entry)
    }

    /// Gives the places of all that was taken back to the kernel.
    pub(super) fn release(&mut self) {
        self.0.store(self.0.consumer, self.0.own);
    }
}
