//! The memory that frames lie in, on their way in and out: chunks of equal size, each owned by
//! the kernel or by us. A chunk changes hands by its address going through a ring.
#![expect(unsafe_code, reason = "memory shared with the kernel")]

use super::mapping::Mapping;
use std::io;

/// Octets that the kernel keeps in front of a received frame (XDP_PACKET_HEADROOM).
const KERNEL_HEADROOM: usize = 256;

/// See the module's documentation.
pub(super) struct Umem {
    memory: Mapping,
    chunk: u32,
}

impl Umem {
    /// `count` chunks that take a received frame of `longest` octets each; `None` in place of a
    /// size when no chunk is as large.
    pub(super) fn chunk_for(longest: usize) -> Option<u32> {
        // The kernel takes powers of two from 2048 up to a page, which is 4096 at least.
        let needed = u32::try_from(longest + KERNEL_HEADROOM).ok()?;
        [2048, 4096].into_iter().find(|&chunk| needed <= chunk)
    }

    /// Longest frame that is received into `chunk` octets.
    pub(super) fn longest(chunk: u32) -> usize {
        (chunk as usize).saturating_sub(KERNEL_HEADROOM)
    }

    /// `count` chunks of `chunk` octets, a power of two.
    pub(super) fn new(count: u32, chunk: u32) -> io::Result<Self> {
        let memory = Mapping::anonymous(count as usize * chunk as usize)?;
        Ok(Self { memory, chunk })
    }

    /// What XDP_UMEM_REG wants to know.
    pub(super) fn registration(&self) -> libc::xdp_umem_reg {
        libc::xdp_umem_reg {
            addr: self.memory.start().addr().get() as u64,
            len: self.memory.len() as u64,
            chunk_size: self.chunk,
            headroom: 0,
            flags: 0,
            tx_metadata_len: 0,
        }
    }

    /// Address of chunk `number`.
    pub(super) fn address(&self, number: u32) -> u64 {
        u64::from(number) * u64::from(self.chunk)
    }

    /// The chunk that `address` lies in.
    pub(super) fn chunk_of(&self, address: u64) -> u64 {
        address & !(u64::from(self.chunk) - 1)
    }

    /// Octets of a chunk.
    pub(super) fn chunk(&self) -> usize {
        self.chunk as usize
    }

    /// Octets in the memory of `len` at `address`, where they lie in one chunk.
    fn place(&self, address: u64, len: usize) -> Option<usize> {
        let start = usize::try_from(address).ok()?;
        let end = start.checked_add(len)?;
        let chunk = usize::try_from(self.chunk_of(address)).ok()?;
        (end <= self.memory.len() && end - chunk <= self.chunk()).then_some(start)
    }

    /// The frame that a descriptor of the receive ring names; `None` when that is none of ours.
    ///
    /// # Safety
    /// The descriptor was taken from the receive ring, and its chunk not yet given back.
    pub(super) unsafe fn received(&self, address: u64, len: u32) -> Option<&[u8]> {
        let len = len as usize;
        let start = self.place(address, len)?;
        // SAFETY: `place` says that this is inside the memory, which was zeroed when it was made;
        // nobody writes it, since the chunk is ours for as long as the caller says.
        Some(unsafe { std::slice::from_raw_parts(self.memory.start().add(start).as_ptr(), len) })
    }

    /// Copies `frame` to the beginning of the chunk at `address`; false when it does not fit.
    ///
    /// # Safety
    /// The chunk is ours: it is in no ring.
    pub(super) unsafe fn write(&mut self, address: u64, frame: &[u8]) -> bool {
        let Some(start) = self.place(address, frame.len()) else {
            return false;
        };
        // SAFETY: `place` says that this is inside the memory; nobody else reads or writes it,
        // since the chunk is ours, and `frame` is memory of another kind.
        unsafe {
            let to = self.memory.start().add(start).as_ptr();
            std::ptr::copy_nonoverlapping(frame.as_ptr(), to, frame.len());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_as_small_as_frames_allow() {
        assert_eq!(Umem::chunk_for(1518), Some(2048));
        assert_eq!(Umem::chunk_for(1792), Some(2048));
        assert_eq!(Umem::chunk_for(1793), Some(4096));
        assert_eq!(Umem::chunk_for(3840), Some(4096));
        assert_eq!(Umem::chunk_for(3841), None);
    }

    #[test]
    fn what_does_not_lie_in_one_chunk_is_no_frame() {
        let mut umem = Umem::new(2, 2048).unwrap();
        // SAFETY: no ring knows this memory.
        unsafe {
            assert!(umem.write(2048, b"frame") && !umem.write(4096, b"frame"));
            assert!(!umem.write(2040, &[0; 9]) && umem.write(2040, &[0; 8]));
            assert_eq!(umem.received(2048, 5), Some(b"frame".as_slice()));
            assert_eq!(umem.received(2048, 2049), None);
            assert_eq!(umem.received(4095, 2), None);
            assert_eq!(umem.received(u64::MAX, 2), None);
        }
    }
}
