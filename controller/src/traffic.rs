//! How much of what enters a service path comes to its end. Boxes tell how many packets they have
//! looked up at each (SPI, SI) since their forwarder began, each at moments of its own; between two
//! samples packets are taken to have come evenly, so that both ends are asked about the same time.

use kc_agent_api::PathLoad;
use kc_forwarder_api::{Si, Spi};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// The time that is looked at.
const WINDOW_MS: u64 = 10_000;
/// Less than this tells nothing.
const SHORTEST_MS: u64 = 3_000;
/// Fewer packets than this tell nothing.
const FEWEST: f64 = 20.0;
/// Samples that are kept: of boxes that speak more often than once a second the newest.
const KEPT: usize = 16;

/// What one box has looked up lately.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Tally {
    /// Oldest first.
    samples: VecDeque<Sample>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Sample {
    at_ms: u64,
    paths: Vec<(Spi, Si, u64)>,
}

impl Sample {
    fn packets(&self, spi: Spi, si: Si) -> Option<u64> {
        let found = self.paths.iter().find(|(s, i, _)| (*s, *i) == (spi, si));
        found.map(|(_, _, packets)| *packets)
    }
}

impl Tally {
    /// Takes a sample up.
    pub fn push(&mut self, at_ms: u64, paths: &[PathLoad]) {
        // A clock that was set back begins anew.
        self.samples.retain(|sample| sample.at_ms < at_ms);
        let paths = paths.iter().map(|path| (path.spi, path.si, path.packets));
        self.samples.push_back(Sample {
            at_ms,
            paths: paths.collect(),
        });
        let before = |sample: &Sample| sample.at_ms.saturating_add(WINDOW_MS) <= at_ms;
        // The last one before the window is where it begins.
        while self.samples.len() > KEPT || self.samples.get(1).is_some_and(before) {
            self.samples.pop_front();
        }
    }

    /// First and last moment at which something is known of a hop. A forwarder that began anew
    /// counts anew: what was before that tells nothing.
    fn known(&self, spi: Spi, si: Si) -> Option<(u64, u64)> {
        let mut span: Option<(u64, u64)> = None;
        let mut last = 0;
        for sample in &self.samples {
            let packets = sample.packets(spi, si);
            span = match (packets, span) {
                (Some(now), Some((first, _))) if now >= last => Some((first, sample.at_ms)),
                (Some(_), _) => Some((sample.at_ms, sample.at_ms)),
                (None, _) => None,
            };
            last = packets.unwrap_or(0);
        }
        span
    }

    /// Packets until `at_ms`, between the samples around it.
    fn until(&self, spi: Spi, si: Si, at_ms: u64) -> Option<f64> {
        let after = self
            .samples
            .iter()
            .position(|sample| sample.at_ms >= at_ms)?;
        let later = self.samples.get(after)?;
        let high = exact(later.packets(spi, si)?);
        let earlier = after.checked_sub(1).and_then(|at| self.samples.get(at));
        let Some(earlier) = earlier.filter(|_| later.at_ms > at_ms) else {
            return Some(high);
        };
        let low = exact(earlier.packets(spi, si)?);
        let part = exact(at_ms - earlier.at_ms) / exact(later.at_ms - earlier.at_ms);
        Some(low + (high - low) * part)
    }
}

#[expect(
    clippy::cast_precision_loss,
    reason = "shares of packets need no more digits"
)]
fn exact(number: u64) -> f64 {
    number as f64
}

/// Of what entered a path at `from` in the last ten seconds: how many percent have not come to `to`.
/// Nothing while too little is known, or too little comes.
pub fn loss(spi: Spi, from: (&Tally, Si), to: (&Tally, Si)) -> Option<f32> {
    let (first_in, last_in) = from.0.known(spi, from.1)?;
    let (first_out, last_out) = to.0.known(spi, to.1)?;
    let end = last_in.min(last_out);
    let begin = first_in.max(first_out).max(end.saturating_sub(WINDOW_MS));
    if end < begin.saturating_add(SHORTEST_MS) {
        return None;
    }
    let count =
        |(tally, si): (&Tally, Si)| Some(tally.until(spi, si, end)? - tally.until(spi, si, begin)?);
    let (entered, left) = (count(from)?, count(to)?);
    if entered < FEWEST {
        return None;
    }
    let lost = (1.0 - left / entered).clamp(0.0, 1.0) * 100.0;
    #[expect(clippy::cast_possible_truncation, reason = "a percentage")]
    Some(lost as f32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn path(packets: u64, si: u8) -> PathLoad {
        PathLoad {
            spi: Spi::new(4).unwrap(),
            si: Si::new(si).unwrap(),
            packets,
            bytes: 0,
        }
    }

    fn of(counts: &[(u64, u64)], si: u8) -> Tally {
        let mut tally = Tally::default();
        for (at_ms, packets) in counts {
            tally.push(*at_ms, &[path(*packets, si)]);
        }
        tally
    }

    fn lost(from: &Tally, to: &Tally) -> Option<f32> {
        let si = |si| Si::new(si).unwrap();
        loss(Spi::new(4).unwrap(), (from, si(255)), (to, si(252)))
    }

    #[test]
    fn what_does_not_come_to_the_end_is_lost() {
        let enters = of(&[(0, 0), (5_000, 500), (10_000, 1_000)], 255);
        let whole = of(&[(2_500, 250), (7_500, 750), (12_500, 1_250)], 252);
        let half = of(&[(2_500, 125), (7_500, 375), (12_500, 625)], 252);
        assert!(lost(&enters, &whole).unwrap() < 0.01);
        assert!((lost(&enters, &half).unwrap() - 50.0).abs() < 0.01);
        let none = of(&[(0, 7), (10_000, 7)], 252);
        assert!((lost(&enters, &none).unwrap() - 100.0).abs() < 0.01);
    }

    #[test]
    fn too_little_tells_nothing() {
        let idle = of(&[(0, 0), (10_000, 19)], 255);
        let short = of(&[(0, 0), (2_900, 1_000)], 255);
        let gone = of(&[(0, 0), (10_000, 0)], 252);
        assert_eq!(lost(&idle, &gone), None);
        assert_eq!(lost(&short, &gone), None);
        assert_eq!(lost(&gone, &idle), None, "other hops");
    }

    #[test]
    fn a_forwarder_that_began_anew_is_believed_from_there_on() {
        let enters = of(&[(0, 900), (2_000, 1_000), (4_000, 50), (8_000, 250)], 255);
        let leaves = of(
            &[(0, 900), (2_000, 1_000), (4_000, 1_050), (8_000, 1_250)],
            252,
        );
        assert!(lost(&enters, &leaves).unwrap() < 0.01);
    }

    proptest! {
        /// Steady traffic, sampled whenever: what is found is what is lost.
        #[test]
        fn moments_of_samples_do_not_matter(
            gaps in prop::collection::vec((500..1_500_u64, 500..1_500_u64), 12..30),
            rate in 10..1_000_u64,
            keeps in 0..=100_u64,
        ) {
            let (mut enters, mut leaves) = (Tally::default(), Tally::default());
            let (mut a, mut b) = (0, 0);
            for (gap_a, gap_b) in gaps {
                a += gap_a;
                b += gap_b;
                enters.push(a, &[path(a * rate, 255)]);
                leaves.push(b, &[path(b * rate * keeps / 100, 252)]);
            }
            if let Some(lost) = lost(&enters, &leaves) {
                let expected = 100.0 - f32::from(u8::try_from(keeps).unwrap());
                prop_assert!((lost - expected).abs() < 1.0, "{lost} and not {expected}");
            }
        }

        #[test]
        fn nonsense_never_panics(
            samples in prop::collection::vec((0..40_000_u64, any::<u64>()), 0..40),
            others in prop::collection::vec((0..40_000_u64, any::<u64>()), 0..40),
        ) {
            let lost = lost(&of(&samples, 255), &of(&others, 252));
            prop_assert!(lost.is_none_or(|lost| (0.0..=100.0).contains(&lost)));
        }
    }
}
