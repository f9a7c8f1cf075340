//! What the pipeline counts, in arrays that a packet reaches by number. Names come in only when
//! somebody reads.

use kc_forwarder_api::DropReason;

/// Frames and octets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Frames.
    pub(crate) packets: u64,
    /// Octets.
    pub(crate) bytes: u64,
}

impl Count {
    /// One more frame of `bytes` octets.
    pub(crate) fn add(&mut self, bytes: usize) {
        self.packets += 1;
        self.bytes += bytes as u64;
    }

    /// Everything that `other` counted, too.
    pub(crate) fn join(&mut self, other: Self) {
        self.packets += other.packets;
        self.bytes += other.bytes;
    }

    /// Takes back what was counted too early.
    pub(crate) fn take_back(&mut self, packets: u64, bytes: u64) {
        self.packets = self.packets.saturating_sub(packets);
        self.bytes = self.bytes.saturating_sub(bytes);
    }
}

/// Both directions of a port or tunnel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    /// Received.
    pub(crate) rx: Count,
    /// Sent.
    pub(crate) tx: Count,
}

/// Drops by reason.
#[derive(Debug, Clone)]
pub(crate) struct Drops([u64; DropReason::ALL.len()]);

impl Default for Drops {
    fn default() -> Self {
        Self([0; DropReason::ALL.len()])
    }
}

impl Drops {
    /// `frames` more were dropped for `reason`.
    pub(crate) fn add(&mut self, reason: DropReason, frames: u64) {
        if let Some(count) = self.0.get_mut(reason as usize) {
            *count += frames;
        }
    }

    /// Reasons that happened.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (DropReason, u64)> {
        DropReason::ALL
            .iter()
            .copied()
            .zip(self.0)
            .filter(|(_, count)| *count > 0)
    }
}

/// The pipeline's own bookkeeping. It holds at every moment between two calls:
/// `received + replicated + segmented + generated == sent + consumed + dropped + held`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// Frames handed in.
    pub received: u64,
    /// Copies made for further members of a segment.
    pub replicated: u64,
    /// Pieces made of a frame, beyond the first.
    pub segmented: u64,
    /// Frames the forwarder made itself: ICMP messages, questions to neighbours, probes.
    pub generated: u64,
    /// Frames handed out and not refused afterwards.
    pub sent: u64,
    /// Frames that were for the forwarder itself.
    pub consumed: u64,
    /// Frames dropped, under any reason.
    pub dropped: u64,
    /// Frames that wait at this moment, for a neighbour or for a first fragment.
    pub held: u64,
}

impl Balance {
    /// Whether no frame was lost or counted twice.
    pub const fn holds(&self) -> bool {
        self.received + self.replicated + self.segmented + self.generated
            == self.sent + self.consumed + self.dropped + self.held
    }
}
