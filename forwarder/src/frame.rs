//! A packet buffer with headroom, so that pushing a header moves an offset and never the payload,
//! and a pool that hands buffers out again. Knows nothing of protocols.

use std::ops::{Deref, DerefMut};

/// Room kept in front of a received frame: the longest NSH, of 252 octets, and Ethernet with a
/// tag or VXLAN in front of it.
pub const HEADROOM: usize = 288;

/// Longest frame a buffer of the pool takes: a GSO super-frame of 64 KiB with its Ethernet and VLAN headers.
pub const MAX_FRAME: usize = 65_536 + 18;

/// What the kernel knows about a frame beyond its bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Offload {
    /// VLAN tag control information that the kernel took out of the frame.
    pub vlan: Option<u16>,
    /// State of the transport checksum.
    pub checksum: Checksum,
    /// Set on a super-frame that has to be cut before it can leave.
    pub gso: Option<Gso>,
    /// Traffic class of the outer IP header that the frame came in, or is to go out in.
    pub outer_class: u8,
}

/// State of a frame's transport checksum.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Checksum {
    /// Nobody told us: it may hold only the pseudo-header's sum.
    #[default]
    Unknown,
    /// Complete as it stands.
    Complete,
    /// To be summed from `start` to the end and stored at `start + offset`.
    Partial {
        /// First octet covered, from the start of the frame.
        start: u16,
        /// Place of the checksum, from `start`.
        offset: u16,
    },
}

/// Segmentation left open by the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gso {
    /// Payload octets of each segment.
    pub size: u16,
    /// What kind of segments.
    pub kind: GsoKind,
}

/// Kinds of segmentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GsoKind {
    /// TCP over IPv4 or IPv6.
    Tcp,
    /// UDP datagrams of equal length.
    Udp,
    /// Anything else.
    Other,
}

/// One frame: bytes with headroom in front and what is known about them. A pointer, so that it
/// is handed from stage to stage for nothing.
#[derive(Debug, Clone)]
pub struct Frame(Box<Contents>);

/// What a [`Frame`] holds. The buffer is all initialized, so that a kernel can be asked to write
/// into it, and nothing is ever cleared.
#[derive(Debug, Clone)]
pub struct Contents {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// What the kernel knows about the frame.
    pub offload: Offload,
}

impl Frame {
    /// An empty frame with [`HEADROOM`] octets in front and room for `capacity` behind.
    pub fn with_capacity(capacity: usize) -> Self {
        Self(Box::new(Contents {
            buffer: vec![0; HEADROOM + capacity],
            start: HEADROOM,
            end: HEADROOM,
            offload: Offload::default(),
        }))
    }

    /// A frame that holds a copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut frame = Self::with_capacity(bytes.len());
        frame.fill(bytes);
        frame
    }
}

impl Deref for Frame {
    type Target = Contents;
    fn deref(&self) -> &Contents {
        &self.0
    }
}

impl DerefMut for Frame {
    fn deref_mut(&mut self) -> &mut Contents {
        &mut self.0
    }
}

impl Contents {
    /// Forgets everything and takes a copy of `bytes`.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.clear();
        self.extend(bytes);
    }

    /// Forgets everything; headroom is whole again.
    pub fn clear(&mut self) {
        self.start = HEADROOM;
        self.end = HEADROOM;
        self.offload = Offload::default();
    }

    /// Appends `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        let end = self.end + bytes.len();
        self.reach(end);
        self.buffer[self.end..end].copy_from_slice(bytes);
        self.end = end;
    }

    /// Makes the frame `len` octets long, zero-filled where it grows.
    pub fn resize(&mut self, len: usize) {
        let end = self.start + len;
        self.reach(end);
        if let Some(grown) = self.buffer.get_mut(self.end..end) {
            grown.fill(0);
        }
        self.end = end;
    }

    /// Where an empty frame's octets go, for a reader to write into: as many as fit without
    /// growing, content unspecified. [`set_len`](Self::set_len) then says how many there are.
    pub fn room_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    /// The first `len` octets of [`room_mut`](Self::room_mut), or all of them, are the frame.
    pub fn set_len(&mut self, len: usize) {
        self.end = self.buffer.len().min(self.start + len);
    }

    /// Makes the buffer reach `end`.
    fn reach(&mut self, end: usize) {
        if end > self.buffer.len() {
            self.buffer.resize(end, 0);
        }
    }

    /// The frame's octets.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    /// The frame's octets, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..self.end]
    }

    /// Length in octets.
    pub fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether there are no octets.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Octets that can be pushed without moving the payload.
    pub fn headroom(&self) -> usize {
        self.start
    }

    /// Grows the frame by `n` octets at its front and returns them, content unspecified.
    /// Moves the payload only when the headroom is used up.
    pub fn push(&mut self, n: usize) -> &mut [u8] {
        if n > self.start {
            let missing = n - self.start + HEADROOM;
            self.buffer.splice(0..0, std::iter::repeat_n(0, missing));
            self.start += missing;
            self.end += missing;
        }
        self.start -= n;
        &mut self.buffer[self.start..self.start + n]
    }

    /// Takes `n` octets off the front; all of them when there are fewer.
    pub fn pull(&mut self, n: usize) {
        self.start += n.min(self.len());
    }

    /// Cuts the frame to `len` octets; a shorter one stays as it is.
    pub fn truncate(&mut self, len: usize) {
        self.end = self.end.min(self.start + len);
    }
}

/// Frames waiting to be used again.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Frame>,
}

/// Beyond this many waiting frames, memory goes back to the allocator.
const POOL_LIMIT: usize = 512;

/// A buffer that grew beyond this for a super-frame is not kept.
const KEEP_CAPACITY: usize = 16 * 1024;

impl Pool {
    /// A cleared frame.
    pub fn take(&mut self) -> Frame {
        self.free
            .pop()
            .unwrap_or_else(|| Frame::with_capacity(2048 - HEADROOM))
    }

    /// Gives a frame back.
    pub fn give(&mut self, mut frame: Frame) {
        if self.free.len() < POOL_LIMIT && frame.buffer.len() <= KEEP_CAPACITY {
            frame.clear();
            self.free.push(frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pushing_and_pulling_leave_the_payload_alone() {
        let mut frame = Frame::copy_of(b"payload");
        frame.push(8).copy_from_slice(b"vxlan...");
        assert_eq!(frame.bytes(), b"vxlan...payload");
        frame.pull(8);
        assert_eq!(frame.bytes(), b"payload");
        assert_eq!(frame.headroom(), HEADROOM);
    }

    #[test]
    fn headroom_grows_when_it_is_used_up() {
        let mut frame = Frame::copy_of(b"payload");
        for _ in 0..100 {
            frame.push(7).fill(b'x');
        }
        assert_eq!(frame.len(), 707);
        assert!(frame.bytes().ends_with(b"xpayload"));
    }

    #[test]
    fn what_a_reader_wrote_is_the_frame() {
        let mut frame = Frame::with_capacity(16);
        frame.room_mut()[..4].copy_from_slice(b"read");
        frame.set_len(4);
        assert_eq!(frame.bytes(), b"read");
        frame.extend(b" and more than there was room for");
        frame.resize(6);
        assert_eq!(frame.bytes(), b"read a");
        frame.truncate(2);
        frame.resize(4);
        assert_eq!(
            frame.bytes(),
            b"re\0\0",
            "what was cut off does not come back"
        );
        frame.set_len(1000);
        assert!(frame.len() < 1000, "no longer than its room");
    }

    #[test]
    fn a_used_frame_comes_back_empty() {
        let mut pool = Pool::default();
        let mut frame = pool.take();
        frame.fill(b"secret");
        frame.pull(100);
        pool.give(frame);
        assert!(pool.take().is_empty());
    }
}
