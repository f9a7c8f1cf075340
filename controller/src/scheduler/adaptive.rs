//! Adaptive L_TH: load/path-aware with a threshold found anew for every step.
//!
//! A threshold is as good as the instance it leads to, the least loaded within it. Each distance
//! is tried as one, and the price of what it leads to is what [`cost`](super::cost) makes of it: its load,
//! and [`DEFAULT_HOP_WEIGHT`] points of CPU for every hop to it and on to the egress SFF, where that is
//! known. Load below that of the most loaded instance of the path counts as nothing: nobody
//! waits less for it. How loaded that one is at least is known before the first step, because of each
//! type one instance has to be taken. So paths stay short while there is room, go far for
//! relief under load, and nobody chooses a number.
//!
//! Where the ingress SFF is known, the first function is found the same way from there.
//! Deterministic: distances are tried in rising order, ties go as in load/path-aware.

use super::survey::{Seen, Survey, step_by_step};
use super::{Choice, DEFAULT_HOP_WEIGHT, NoPath, Request, Scheduler, load_path_aware, points};
use crate::topology::Row;
use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct Adaptive;

/// The load that the most loaded instance of any path has at least.
fn floor(request: &Request<'_>) -> f32 {
    let least = |function| {
        let survey = Survey::new(request, function, request.ingress);
        let loads = survey.usable.iter().map(Seen::load);
        loads.min_by(f32::total_cmp)
    };
    let floors = request.functions.iter().filter_map(least);
    floors.fold(0.0, f32::max)
}

/// The threshold for one step, on a path whose most loaded instance has `worst` at least. `ahead`
/// holds hops from each SFF to the end.
fn threshold(survey: &Survey<'_>, worst: f32, ahead: Option<Row<'_>>) -> u32 {
    // Of the instances at one distance only the least loaded can be led to.
    let mut rings: BTreeMap<u32, Seen<'_>> = BTreeMap::new();
    for seen in &survey.usable {
        let best = rings.entry(seen.distance()).or_insert(*seen);
        if seen.by_load(best).is_lt() {
            *best = *seen;
        }
    }
    let price = |seen: &Seen<'_>| {
        let rest = ahead.and_then(|ahead| ahead.get(seen.place)).unwrap_or(0);
        let hops = seen.distance().saturating_add(rest);
        points(
            survey.length,
            seen.load().max(worst),
            hops,
            DEFAULT_HOP_WEIGHT,
        )
    };
    let mut least: Option<Seen<'_>> = None;
    let mut best: Option<(f64, u32)> = None;
    for (distance, seen) in rings {
        if least.is_none_or(|least| seen.by_load(&least).is_lt()) {
            least = Some(seen);
        }
        let price = least.as_ref().map_or(f64::INFINITY, price);
        if best.is_none_or(|(known, _)| price < known) {
            best = Some((price, distance));
        }
    }
    best.map_or(0, |(_, distance)| distance)
}

impl Scheduler for Adaptive {
    fn name(&self) -> String {
        "adaptive".to_owned()
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        let mut worst = floor(request);
        let end = request.egress.and_then(|end| request.topology.locate(end));
        let ahead = end.map(|(sff, _)| request.topology.hops_from(sff));
        step_by_step(request, self.name(), |_, from, function, survey| {
            let l_th = threshold(&survey, worst, ahead);
            let (taken, mut position) = load_path_aware::within(survey, function, from, l_th)?;
            worst = worst.max(taken.load());
            if from.is_some() {
                position.rule = {
                    let l_th = request.topology.length().number(l_th);
                    format!("lTh {l_th} found for this step: {}", position.rule)
                };
            }
            Some((taken, position))
        })
    }
}
