//! Reads along in a pcapng stream, to tell at its end what was captured: counts packets and sums
//! up the statistics. Keeps no packet. Pure.

use super::pcapng::{PACKET, STATISTICS, STATISTICS_DROPPED};

/// Octets of a block's type and length.
const HEAD: usize = 8;

/// Statistics blocks are short; of a longer one only so much is read.
const KEEP: usize = 4096;

/// What was read so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    /// Packets.
    pub packets: u64,
    /// Packets lost before they could be captured, as the statistics at the end tell.
    pub dropped: u64,
    /// Whether there were statistics: the stream has come to its end.
    pub complete: bool,
    /// The beginning of the block at hand.
    block: Vec<u8>,
    /// Octets of it that are yet to come.
    left: usize,
}

impl Scan {
    /// Reads on. Octets that are no pcapng count for nothing.
    pub fn feed(&mut self, mut octets: &[u8]) {
        while !octets.is_empty() {
            if self.block.len() < HEAD {
                let taken = octets.len().min(HEAD - self.block.len());
                let (head, rest) = octets.split_at(taken);
                self.block.extend_from_slice(head);
                octets = rest;
                if self.block.len() == HEAD {
                    let length = usize::try_from(word(&self.block, 4)).unwrap_or(usize::MAX);
                    self.left = length.saturating_sub(HEAD);
                }
            } else {
                let (body, rest) = octets.split_at(octets.len().min(self.left));
                let room = KEEP.saturating_sub(self.block.len());
                self.block
                    .extend_from_slice(body.get(..room).unwrap_or(body));
                self.left -= body.len();
                octets = rest;
            }
            if self.block.len() >= HEAD && self.left == 0 {
                self.count();
                self.block.clear();
            }
        }
    }

    fn count(&mut self) {
        match word(&self.block, 0) {
            PACKET => self.packets += 1,
            STATISTICS => {
                self.complete = true;
                self.dropped += option(self.block.get(20..).unwrap_or_default());
            }
            _ => {}
        }
    }
}

/// The number of dropped packets among the options of statistics.
fn option(mut options: &[u8]) -> u64 {
    while let [a, b, c, d, rest @ ..] = options {
        let (code, length) = (u16::from_le_bytes([*a, *b]), u16::from_le_bytes([*c, *d]));
        let length = usize::from(length);
        let Some(value) = rest.get(..length) else {
            return 0;
        };
        if code == STATISTICS_DROPPED {
            return value.try_into().map_or(0, u64::from_le_bytes);
        }
        options = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    0
}

fn word(octets: &[u8], at: usize) -> u32 {
    let word = octets.get(at..at + 4).and_then(|word| word.try_into().ok());
    word.map_or(0, u32::from_le_bytes)
}

#[cfg(test)]
mod tests {
    use super::super::pcapng::{self, Packet, Statistics, Way};
    use super::*;

    #[test]
    fn it_counts_the_same_however_the_stream_is_cut() {
        let mut file = Vec::new();
        pcapng::section(&mut file, "test");
        pcapng::interface(&mut file, "c0", "", 96);
        for length in 0..50_u8 {
            let octets = vec![length; usize::from(length)];
            let packet = Packet {
                interface: 0,
                at_ns: 1,
                octets: &octets,
                length: 50,
                way: Way::Inbound,
                lost: 0,
                comment: "drop",
            };
            pcapng::packet(&mut file, &packet);
        }
        for dropped in [3, 4] {
            let statistics = Statistics {
                interface: 0,
                start_ns: 0,
                end_ns: 1,
                received: 60,
                dropped,
                comment: "some",
            };
            pcapng::statistics(&mut file, &statistics);
        }
        for step in [1, 7, 64, file.len()] {
            let mut scan = Scan::default();
            file.chunks(step).for_each(|chunk| scan.feed(chunk));
            assert_eq!((scan.packets, scan.dropped, scan.complete), (50, 7, true));
        }
    }
}
