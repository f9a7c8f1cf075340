//! Random: any usable instance, from a sequence that a seed starts. The same chain, seed and
//! number of draws give the same path again, on every platform.

use super::survey::{Seen, step_by_step};
use super::{Choice, NoPath, Request, Scheduler};

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Random {
    /// Start of the sequence.
    pub seed: u64,
}

/// SplitMix64 (Steele, Lea, Flood 2014): one number from one state.
fn split_mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl Scheduler for Random {
    fn name(&self) -> String {
        format!("random seed={}", self.seed)
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        let start = split_mix(self.seed ^ split_mix(request.draws));
        step_by_step(request, self.name(), |place, _, function, survey| {
            let count = survey.usable.len();
            let number = split_mix(start.wrapping_add(place as u64));
            let drawn = usize::try_from(number % count.max(1) as u64).unwrap_or(0);
            let taken = *survey.usable.get(drawn)?;
            let rule = format!("drawn from {count}");
            let position = survey.position(function, rule, taken, Seen::by_name, |_, taken| {
                if taken { "drawn" } else { "not drawn" }.to_owned()
            });
            Some((taken, position))
        })
    }
}
