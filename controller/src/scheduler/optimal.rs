//! Optimal: of all paths there are, the one whose most loaded instance and whose length together
//! cost least: see [`cost`]. The yardstick for the others.
//!
//! With the most loaded instance bounded, the shortest path is one search over the layers. The
//! length can only fall as the bound rises, and takes few values, so that between two bounds
//! that give the same length nothing needs to be looked at: a handful of searches finds the best
//! of all. On clusters far beyond an edge's the searches are numbered, the most promising
//! bounds are looked at first, and the explanation says how far from the best it can be.

use super::layers::Layers;
use super::survey::{Seen, total_hops};
use super::{Choice, NoPath, Request, Scheduler};
use crate::resource::Length;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub struct Optimal {
    /// Points of CPU that a hop counts as.
    pub hop_weight: u32,
}

/// Visits of a layer's SFF that one choice may cost.
const BUDGET: usize = 4_000_000;

/// What a path costs, in points of CPU: the load of its most loaded instance in percent, and
/// `hop_weight` for each of its hops.
pub fn cost(worst_load: f32, hops: u32, hop_weight: u32) -> f64 {
    f64::from(worst_load) + f64::from(hops) * f64::from(hop_weight)
}

/// The same where `distance` is in the parts of a `length`: a millisecond counts as a hop does.
pub(super) fn points(length: Length, worst_load: f32, distance: u32, hop_weight: u32) -> f64 {
    let ways = f64::from(distance) * f64::from(hop_weight);
    f64::from(worst_load) + ways / f64::from(length.parts())
}

/// What a whole path costs, see [`cost`]; `None` where there is no way along it.
pub fn price(request: &Request<'_>, path: &[String], hop_weight: u32) -> Option<f64> {
    let mut loads = path.iter().map(|name| {
        let instance = request.topology.function(name)?;
        Some(instance.effective_load(request.missing))
    });
    let worst = loads.try_fold(0.0, |worst: f32, load| Some(worst.max(load?)))?;
    let (length, distance) = (request.topology.length(), total_hops(request, path)?);
    Some(points(length, worst, distance, hop_weight))
}

/// A path and what it costs.
struct Found<'a> {
    path: Vec<Seen<'a>>,
    worst: f32,
    hops: u32,
    cost: f64,
}

impl<'a> Found<'a> {
    fn new(layers: &Layers<'a>, path: Vec<Seen<'a>>, hop_weight: u32) -> Self {
        let loads = path.iter().map(Seen::load);
        let worst = loads.max_by(f32::total_cmp).unwrap_or(0.0);
        let hops = layers.hops(&path);
        let cost = points(layers.length(), worst, hops, hop_weight);
        Self {
            path,
            worst,
            hops,
            cost,
        }
    }
}

/// Bounds, by their places and the hops found under them, between which a better path may lie.
struct Gap {
    low: (usize, Option<u32>),
    high: (usize, u32),
    /// Nothing between costs less.
    floor: f64,
}

struct Search<'l, 'a> {
    layers: &'l Layers<'a>,
    limits: Vec<f32>,
    hop_weight: u32,
    best: Found<'a>,
    /// Searches that may still be made.
    left: usize,
}

impl Search<'_, '_> {
    /// Hops of the shortest path under the bound at `place`; `None` where there is no path.
    fn look(&mut self, place: usize) -> Option<u32> {
        self.left = self.left.saturating_sub(1);
        let path = self.layers.cheapest(*self.limits.get(place)?).ok()?;
        let found = Found::new(self.layers, path, self.hop_weight);
        let hops = found.hops;
        let order = found.cost.total_cmp(&self.best.cost);
        if order.then(hops.cmp(&self.best.hops)).is_lt() {
            self.best = found;
        }
        Some(hops)
    }

    /// What lies between two bounds, if anything there can be better than the best.
    fn gap(&self, low: (usize, Option<u32>), high: (usize, u32)) -> Option<Gap> {
        let between = *self.limits.get(low.0 + 1)?;
        let floor = points(self.layers.length(), between, high.1, self.hop_weight);
        let open = low.0 + 1 < high.0 && low.1 != Some(high.1);
        (open && floor < self.best.cost).then_some(Gap { low, high, floor })
    }

    /// Looks at bounds until none can be better, or no search is left; says by how many points a
    /// path that was not looked at could be better.
    fn run(&mut self) -> f64 {
        let highest = (self.limits.len().saturating_sub(1), self.best.hops);
        let lowest = self.look(0);
        let mut gaps: Vec<_> = self.gap((0, lowest), highest).into_iter().collect();
        loop {
            gaps.retain(|gap| gap.floor < self.best.cost);
            let next = gaps.iter().enumerate();
            let next = next.min_by(|(_, a), (_, b)| a.floor.total_cmp(&b.floor));
            let Some((next, gap)) = next else {
                return 0.0;
            };
            if self.left == 0 {
                return self.best.cost - gap.floor;
            }
            let gap = gaps.swap_remove(next);
            let middle = gap.low.0.midpoint(gap.high.0);
            let hops = self.look(middle);
            gaps.extend(hops.and_then(|hops| self.gap(gap.low, (middle, hops))));
            gaps.extend(self.gap((middle, hops), gap.high));
        }
    }
}

impl Scheduler for Optimal {
    fn name(&self) -> String {
        format!("optimal hopWeight={}", self.hop_weight)
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        let layers = Layers::new(request)?;
        let shortest = layers.cheapest(f32::INFINITY)?;
        let mut search = Search {
            best: Found::new(&layers, shortest, self.hop_weight),
            limits: layers.limits(),
            left: (BUDGET / layers.size().max(1)).clamp(8, 4096),
            layers: &layers,
            hop_weight: self.hop_weight,
        };
        let beyond = search.run();
        let length = request.topology.length();
        let found = search.best;
        let (all, worst) = (found.hops, found.worst);
        let near = if beyond > 0.0 {
            format!(", within {beyond:.0} points of the best")
        } else {
            String::new()
        };
        let rule = format!(
            "on the path that costs least: {worst:.0}% at most and {} in all{near}",
            length.words(all)
        );
        let why = |seen: &Seen<'_>, taken, hops: Option<u32>| match (taken, hops) {
            (true, _) => "on the best path of all".to_owned(),
            (false, _) if seen.load() > worst => {
                format!("would be the most loaded one, with {:.0}%", seen.load())
            }
            (false, Some(hops)) if hops <= all => {
                "as good, but more loaded in sum or later by name".to_owned()
            }
            (false, Some(hops)) => format!("{} in all by it", length.words(hops)),
            (false, None) => "no way through it".to_owned(),
        };
        Ok(layers.tell(self.name(), &found.path, worst, &rule, why))
    }
}
