//! Adaptive L_TH: load/path-aware with a threshold found anew for every step.
//!
//! The threshold starts at the distance of the nearest instance. It is raised to the distance
//! of a farther, less loaded one as long as every extra hop buys enough load: at least
//! [`worth`] points of CPU a hop. What a hop has to buy depends on how loaded the instance in
//! hand is: at 50 % or less a hop costs 10 points, because nobody waits yet; at 90 % and more it costs 2,
//! because almost anything is better; in between it falls in a line. So paths stay short
//! while there is room and spread out under load, without anybody choosing a number.
//!
//! Where the ingress SFF is known, the first function is found the same way from there.
//! Deterministic: distances are tried in rising order, ties go as in load/path-aware.

use super::survey::{Seen, Survey, step_by_step};
use super::{Choice, NoPath, Request, Scheduler, load_path_aware};
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Adaptive;

/// Points of CPU that one more hop must buy, when the instance in hand has this load.
pub fn worth(load: f32) -> f32 {
    10.0 - (load.clamp(50.0, 90.0) - 50.0) * 0.2
}

/// The threshold for one step. Of the instances at one distance only the least loaded counts.
fn threshold(survey: &Survey<'_>) -> u32 {
    let mut rings: BTreeMap<u32, Seen<'_>> = BTreeMap::new();
    for seen in &survey.usable {
        let best = rings.entry(seen.distance()).or_insert(*seen);
        if seen.by_load(best).is_lt() {
            *best = *seen;
        }
    }
    let mut rings = rings.into_values();
    let Some(mut hand) = rings.next() else {
        return 0;
    };
    for farther in rings {
        let extra = farther.distance() - hand.distance();
        let hops = f32::from(u16::try_from(extra).unwrap_or(u16::MAX));
        if hand.load() - farther.load() >= worth(hand.load()) * hops {
            hand = farther;
        }
    }
    hand.distance()
}

impl Scheduler for Adaptive {
    fn name(&self) -> String {
        "adaptive".to_owned()
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        step_by_step(request, self.name(), |_, from, function, survey| {
            let l_th = threshold(&survey);
            let (taken, mut position) = load_path_aware::within(survey, function, from, l_th)?;
            if from.is_some() {
                position.rule = format!("lTh {l_th} found for this step: {}", position.rule);
            }
            Some((taken, position))
        })
    }
}
