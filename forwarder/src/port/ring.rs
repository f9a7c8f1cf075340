//! A receive ring of AF_PACKET, TPACKET_V3: the kernel writes frames into blocks of memory that it
//! shares with us, and hands over a block when it is full, or after a millisecond. A frame costs no
//! system call and no wake-up of its own; one that comes alone waits for the millisecond.
//!
//! ```text
//! block: descriptor | header, frame | header, frame | …      (Documentation/networking/packet_mmap)
//! ```
#![expect(unsafe_code, reason = "the ring is memory shared with the kernel")]

use super::offload::{self, VNET_HEADER};
use super::socket;
use crate::frame::{Checksum, Frame, Pool};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, Ordering};

/// Octets of a block: the longest super-frame fits with its headers.
const BLOCK: usize = 128 << 10;

/// Blocks of a ring: that many milliseconds of a reader who is kept waiting.
const BLOCKS: usize = 32;

/// Octets that the kernel calculates with where frames have one length.
const FRAME: usize = 2048;

/// Milliseconds after which a block that is not full is handed over.
const RETIRE_MS: u32 = 1;

/// Where what is taken out of a ring begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Start {
    /// With the link's header.
    Link,
    /// With the network's.
    Network,
}

/// A packet socket with a ring.
#[derive(Debug)]
pub(super) struct Ring {
    socket: OwnedFd,
    memory: NonNull<u8>,
    start: Start,
    /// The block that is read, or will be filled next.
    block: usize,
    /// Where in it the next frame is, and how many there are from there on.
    rest: Option<(usize, u32)>,
    /// Frames in the block that is read.
    count: u32,
}

// SAFETY: the memory belongs to the ring alone and goes where it goes; nothing of it is tied to a
// thread.
unsafe impl Send for Ring {}

/// How a block came to be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// It was full.
    Full,
    /// Its time had passed; it held so many frames.
    Timed(u32),
}

impl Ring {
    /// A ring of whole frames on the interface with `index`, in the fan-out group `group`, whose
    /// program sends it nothing yet.
    ///
    /// # Errors
    /// This kernel has no such rings, or no memory for one.
    pub(super) fn of_frames(index: u32, group: socket::Fanout) -> io::Result<Self> {
        let ring = Self::open(Start::Link)?;
        // Bound alone it would see what others of its group see too.
        let fd = ring.socket.as_fd();
        socket::refuse_all(fd)?;
        socket::bind_packet(fd, index, libc::ETH_P_ALL)?;
        group.join(fd)?;
        socket::accept_all(fd)?;
        Ok(ring)
    }

    /// A ring of IPv4 packets for this machine, by whichever interface they come, which refuses all
    /// of them until it has another filter.
    ///
    /// # Errors
    /// As above.
    pub(super) fn of_packets() -> io::Result<Self> {
        let ring = Self::open(Start::Network)?;
        let fd = ring.socket.as_fd();
        socket::refuse_all(fd)?;
        socket::bind_packet(fd, 0, libc::ETH_P_IP)?;
        Ok(ring)
    }

    fn open(start: Start) -> io::Result<Self> {
        let socket = socket::packet_socket()?;
        let fd = socket.as_fd();
        let set = |option, value| socket::set_int(fd, libc::SOL_PACKET, option, value);
        set(libc::PACKET_VNET_HDR, 1)?;
        set(
            libc::PACKET_VERSION,
            libc::tpacket_versions::TPACKET_V3 as i32,
        )?;
        let length = |value| u32::try_from(value).map_err(io::Error::other);
        let request = libc::tpacket_req3 {
            tp_block_size: length(BLOCK)?,
            tp_block_nr: length(BLOCKS)?,
            tp_frame_size: length(FRAME)?,
            tp_frame_nr: length(BLOCK / FRAME * BLOCKS)?,
            tp_retire_blk_tov: RETIRE_MS,
            tp_sizeof_priv: 0,
            tp_feature_req_word: 0,
        };
        socket::set(fd, libc::SOL_PACKET, libc::PACKET_RX_RING, &request)?;
        // SAFETY: a new mapping of a descriptor that is open; nothing that exists is touched.
        let memory = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                BLOCK * BLOCKS,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                fd.as_raw_fd(),
                0,
            )
        };
        let memory = NonNull::new(memory.cast::<u8>())
            .filter(|_| memory != libc::MAP_FAILED)
            .ok_or_else(io::Error::last_os_error)?;
        Ok(Self {
            socket,
            memory,
            start,
            block: 0,
            rest: None,
            count: 0,
        })
    }

    fn descriptor(&self) -> NonNull<libc::tpacket_hdr_v1> {
        let at = self.block * BLOCK + std::mem::offset_of!(libc::tpacket_block_desc, hdr);
        // SAFETY: `block` is below BLOCKS, so this stays within the mapping.
        unsafe { self.memory.add(at).cast() }
    }

    /// Whose the current block is, and why.
    fn status(&self) -> &AtomicU32 {
        // SAFETY: the descriptor lies within the mapping, which lives as long as `self`; the kernel
        // changes the word behind our back, so it is only ever read and written as an atomic.
        unsafe { AtomicU32::from_ptr(&raw mut (*self.descriptor().as_ptr()).block_status) }
    }

    /// Whether neither frames wait nor any are in a block that is being filled. Only right while
    /// the kernel sends it nothing.
    pub(super) fn is_empty(&self) -> bool {
        // SAFETY: as in `status`; a count that is read while it grows is another moment's.
        let filled = unsafe { (&raw const (*self.descriptor().as_ptr()).num_pkts).read_volatile() };
        self.rest.is_none()
            && self.status().load(Ordering::Acquire) & libc::TP_STATUS_USER == 0
            && filled == 0
    }

    /// Takes about `max` frames at most, which may be fewer than there are, and tells of the block
    /// that was finished with, if one was. Datagrams that the kernel has joined into one packet
    /// count one by one: they will be parted, and all of a batch is to fit a cache.
    pub(super) fn receive(
        &mut self,
        pool: &mut Pool,
        batch: &mut Vec<Frame>,
        max: usize,
    ) -> (usize, Option<Pace>) {
        let mut taken = 0;
        let mut pace = None;
        while taken < max {
            let (at, left) = match self.rest {
                Some(rest) => rest,
                None => {
                    let status = self.status().load(Ordering::Acquire);
                    if status & libc::TP_STATUS_USER == 0 {
                        break;
                    }
                    let (first, count) = {
                        // SAFETY: the block is ours by its status, and stays so until it is given
                        // back; the kernel wrote its descriptor.
                        let block = unsafe { self.descriptor().as_ref() };
                        (block.offset_to_first_pkt as usize, block.num_pkts)
                    };
                    self.count = count;
                    (first, count)
                }
            };
            if left == 0 {
                pace = Some(self.give_back());
                continue;
            }
            let (frame, next) = self.take(at, pool);
            taken += match (self.start, &frame) {
                (Start::Network, Some(frame)) => joined(frame),
                _ => 1,
            };
            batch.extend(frame);
            self.rest = Some((at + next, left - 1));
        }
        if let Some((_, 0)) = self.rest {
            pace = Some(self.give_back());
        }
        (taken, pace)
    }

    /// Gives the block that was read back to the kernel.
    fn give_back(&mut self) -> Pace {
        let status = self.status().load(Ordering::Relaxed);
        let timed = status & libc::TP_STATUS_BLK_TMO != 0;
        self.status()
            .store(libc::TP_STATUS_KERNEL, Ordering::Release);
        self.block = (self.block + 1) % BLOCKS;
        self.rest = None;
        if timed {
            Pace::Timed(self.count)
        } else {
            Pace::Full
        }
    }

    /// The frame whose header is at `at` in the current block, which is ours, and the distance to the
    /// next header.
    fn take(&self, at: usize, pool: &mut Pool) -> (Option<Frame>, usize) {
        // SAFETY: `block` is below BLOCKS.
        let block = unsafe { self.memory.add(self.block * BLOCK) };
        // SAFETY: the block is ours until it is given back, which needs `&mut self`; all of it
        // lies in the mapping, and any octets are valid.
        let block = unsafe { std::slice::from_raw_parts(block.as_ptr(), BLOCK) };
        let Some(header) = block.get(at..at + size_of::<libc::tpacket3_hdr>()) else {
            return (None, 0);
        };
        // SAFETY: `header` has as many octets as a tpacket3_hdr, which is plain data valid for any;
        // the read makes no claim of alignment.
        let header: libc::tpacket3_hdr = unsafe {
            header
                .as_ptr()
                .cast::<libc::tpacket3_hdr>()
                .read_unaligned()
        };
        let next = header.tp_next_offset as usize;
        let link = at + usize::from(header.tp_mac);
        let end = link + header.tp_snaplen as usize;
        let start = match self.start {
            Start::Link => link,
            Start::Network => at + usize::from(header.tp_net),
        };
        let told = block.get(link.wrapping_sub(VNET_HEADER)..link);
        let (Some(octets), Some(told)) = (
            block.get(start..end),
            told.and_then(|told| told.first_chunk()),
        ) else {
            return (None, next);
        };
        let mut frame = pool.take();
        frame.fill(octets);
        frame.offload = offload::parse(told);
        let said = |status| header.tp_status & status != 0;
        match self.start {
            Start::Link if said(libc::TP_STATUS_VLAN_VALID) => {
                let named = said(libc::TP_STATUS_VLAN_TPID_VALID);
                let tpid = if named {
                    header.hv1.tp_vlan_tpid
                } else {
                    0x8100
                };
                #[expect(clippy::cast_possible_truncation, reason = "a TCI has 16 bits")]
                offload::note_tag(&mut frame, tpid, header.hv1.tp_vlan_tci as u16);
            }
            Start::Link => {}
            // An open checksum is one that never left this machine, and right.
            Start::Network => {
                let known =
                    said(TP_STATUS_CSUM_VALID) || frame.offload.checksum != Checksum::Complete;
                frame.offload.checksum = if known {
                    Checksum::Complete
                } else {
                    Checksum::Unknown
                };
            }
        }
        let whole = header.tp_snaplen == header.tp_len;
        let frame = if whole {
            frame
        } else {
            offload::refused(frame)
        };
        (Some(frame), next)
    }
}

/// Datagrams in a packet, about.
fn joined(packet: &Frame) -> usize {
    let size = packet.offload.gso.map_or(0, |gso| usize::from(gso.size));
    packet.len().checked_div(size).unwrap_or(1).max(1)
}

/// The transport checksum was found right (linux/if_packet.h).
const TP_STATUS_CSUM_VALID: u32 = 1 << 7;

impl AsFd for Ring {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // SAFETY: the mapping was made in `open` with this length, and nobody refers to it any more.
        unsafe { libc::munmap(self.memory.as_ptr().cast(), BLOCK * BLOCKS) };
    }
}
