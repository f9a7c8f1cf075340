//! When the next piece of a download is due.

use std::time::Duration;

/// Pieces a second in which a limited download is written.
const PIECES: u64 = 20;

/// A rate in octets per second, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace(pub(super) Option<u64>);

impl Pace {
    /// How many of `left` octets to write at once, at most `room`.
    pub(super) fn piece(self, left: u64, room: usize) -> usize {
        let piece = match self.0 {
            Some(rate) => left.min((rate / PIECES).max(1)),
            None => left,
        };
        usize::try_from(piece).unwrap_or(room).min(room)
    }

    /// How long after the start the download may have written `sent` octets.
    pub(super) fn due(self, sent: u64) -> Duration {
        match self.0 {
            Some(rate) => {
                let micros = u128::from(sent) * 1_000_000 / u128::from(rate.max(1));
                Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
            }
            None => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limited_download_comes_in_even_pieces() {
        let pace = Pace(Some(1000));
        assert_eq!(pace.piece(5000, 4096), 50);
        assert_eq!(pace.due(2500), Duration::from_millis(2500));
    }

    #[test]
    fn an_unlimited_download_fills_the_buffer_and_never_waits() {
        assert_eq!(Pace(None).piece(1 << 40, 4096), 4096);
        assert_eq!(Pace(None).due(1 << 40), Duration::ZERO);
    }

    #[test]
    fn the_slowest_rate_still_moves() {
        assert_eq!(Pace(Some(0)).piece(10, 4096), 1);
    }
}
