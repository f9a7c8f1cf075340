//! A packet buffer with headroom, so that pushing a header moves an offset and never the payload,
//! and a pool that hands buffers out again. Knows nothing of protocols.

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

/// One frame: bytes with headroom in front and what is known about them.
#[derive(Debug, Clone)]
pub struct Frame {
    buffer: Vec<u8>,
    start: usize,
    /// What the kernel knows about the frame.
    pub offload: Offload,
}

impl Frame {
    /// An empty frame with [`HEADROOM`] octets in front and room for `capacity` behind.
    pub fn with_capacity(capacity: usize) -> Self {
        let mut buffer = Vec::with_capacity(HEADROOM + capacity);
        buffer.resize(HEADROOM, 0);
        Self {
            buffer,
            start: HEADROOM,
            offload: Offload::default(),
        }
    }

    /// A frame that holds a copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut frame = Self::with_capacity(bytes.len());
        frame.fill(bytes);
        frame
    }

    /// Forgets everything and takes a copy of `bytes`.
    pub fn fill(&mut self, bytes: &[u8]) {
        self.clear();
        self.buffer.extend_from_slice(bytes);
    }

    /// Forgets everything; headroom is whole again.
    pub fn clear(&mut self) {
        self.buffer.resize(HEADROOM, 0);
        self.buffer.truncate(HEADROOM);
        self.start = HEADROOM;
        self.offload = Offload::default();
    }

    /// Appends `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Makes the frame `len` octets long, zero-filled where it grows, for a reader to write into.
    pub fn resize(&mut self, len: usize) {
        self.buffer.resize(self.start + len, 0);
    }

    /// The frame's octets.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// The frame's octets, writable.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[self.start..]
    }

    /// Length in octets.
    pub fn len(&self) -> usize {
        self.buffer.len() - self.start
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
        self.buffer.truncate(self.start + len);
    }
}

/// Frames waiting to be used again.
#[derive(Debug, Default)]
pub struct Pool {
    free: Vec<Frame>,
}

/// Beyond this many waiting frames, memory goes back to the allocator.
const POOL_LIMIT: usize = 256;

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
        if self.free.len() < POOL_LIMIT && frame.buffer.capacity() <= KEEP_CAPACITY {
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
    fn a_used_frame_comes_back_empty() {
        let mut pool = Pool::default();
        let mut frame = pool.take();
        frame.fill(b"secret");
        frame.pull(100);
        pool.give(frame);
        assert!(pool.take().is_empty());
    }
}
