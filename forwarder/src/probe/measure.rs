//! From single round trips and failures to a report.

use kc_forwarder_api::{ProbeError, ProbeReport, Spread};

/// What has been measured so far.
#[derive(Debug, Default)]
pub(super) struct Measure {
    report: ProbeReport,
    /// In microseconds, in the order of the answers.
    round_trips: Vec<u32>,
}

impl Measure {
    /// A probe was begun.
    pub(super) fn begun(&mut self) {
        self.report.sent += 1;
    }

    /// A connection stands.
    pub(super) fn connected(&mut self) {
        self.report.connected += 1;
    }

    /// A segment was sent again.
    pub(super) fn retransmitted(&mut self) {
        self.report.retransmitted += 1;
    }

    /// A probe was answered as wanted after `microseconds`.
    pub(super) fn answered(&mut self, microseconds: u64) {
        self.report.received += 1;
        let microseconds = u32::try_from(microseconds).unwrap_or(u32::MAX);
        self.round_trips.push(microseconds);
    }

    /// A probe was not.
    pub(super) fn failed(&mut self, error: ProbeError) {
        self.report.lost += 1;
        *self.report.errors.entry(error).or_default() += 1;
    }

    /// All of it.
    pub(super) fn report(&self) -> ProbeReport {
        let mut report = self.report.clone();
        report.jitter_us = jitter(&self.round_trips);
        report.rtt_us = spread(self.round_trips.clone());
        report
    }
}

/// RFC 3550 section 6.4.1: "J(i) = J(i-1) + (|D(i-1,i)| - J(i-1))/16", here of round trips.
fn jitter(round_trips: &[u32]) -> Option<u32> {
    if round_trips.len() < 2 {
        return None;
    }
    // Sixteen times the value, so that nothing is lost by rounding, as in the RFC's appendix A.8.
    let mut sixteenfold = 0_u64;
    for (before, after) in round_trips.iter().zip(round_trips.iter().skip(1)) {
        let difference = u64::from(before.abs_diff(*after));
        sixteenfold = (sixteenfold + difference).saturating_sub((sixteenfold + 8) >> 4);
    }
    u32::try_from(sixteenfold >> 4).ok()
}

fn spread(mut values: Vec<u32>) -> Option<Spread> {
    values.sort_unstable();
    let (&min, &max) = (values.first()?, values.last()?);
    let count = values.len() as u64;
    let sum: u64 = values.iter().map(|&value| u64::from(value)).sum();
    // The smallest value that so many of a hundred do not exceed.
    let percentile = |percent: usize| {
        let rank = (values.len() * percent).div_ceil(100).max(1);
        values.get(rank - 1).copied().unwrap_or(max)
    };
    Some(Spread {
        min,
        avg: u32::try_from(sum / count).unwrap_or(u32::MAX),
        p50: percentile(50),
        p99: percentile(99),
        max,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let spread = spread((1..=200).rev().collect()).unwrap();
        let wanted = Spread {
            min: 1,
            avg: 100,
            p50: 100,
            p99: 198,
            max: 200,
        };
        assert_eq!(spread, wanted);
        assert_eq!(super::spread(vec![]), None);
        assert_eq!(super::spread(vec![7]).map(|spread| spread.p99), Some(7));
    }

    #[test]
    fn jitter_is_smoothed_as_rfc_3550_says() {
        assert_eq!(jitter(&[5]), None);
        assert_eq!(jitter(&[100, 100, 100]), Some(0));
        // One step of 160: a sixteenth of it, then less each time.
        assert_eq!(jitter(&[100, 260]), Some(10));
        assert_eq!(jitter(&[100, 260, 260]), Some(9));
        // A steady swing is told as what it is, in the end.
        let swing: Vec<u32> = (0..400).map(|i| 100 + (i % 2) * 160).collect();
        assert!((150..=160).contains(&jitter(&swing).unwrap()));
    }
}
