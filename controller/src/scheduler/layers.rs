//! The whole chain at once: one layer of SFFs for each function type. From the end to the
//! start, every layer learns what the rest of the way costs from each of its SFFs, so that the
//! cheapest path of all is found with as many spreads over the graph as the chain has functions.
//!
//! A cost is hops in the upper half and load, in hundredths of a percent, in the lower: of
//! equally short paths the one with the least load in sum wins, then the first by name.

use super::explanation::told;
use super::survey::{Seen, Survey, total_hops};
use super::{Choice, Explanation, NoPath, Request};
use crate::resource::{Length, Name};

/// A whole chain's candidates.
pub(super) struct Layers<'a> {
    request: Request<'a>,
    /// Usable instances, type by type.
    stages: Vec<Vec<Seen<'a>>>,
}

/// Costs by SFF, layer by layer.
type Costs = Vec<Vec<u64>>;

/// A cost that nothing costs.
const NEVER: u64 = u64::MAX;

/// One hop.
const HOP: u64 = 1 << 32;

/// Load as it counts in a cost.
fn load(seen: &Seen<'_>) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float saturates, and loads are small"
    )]
    let hundredths = (seen.load().max(0.0) * 100.0) as u32;
    u64::from(hundredths.min(1 << 24))
}

impl<'a> Layers<'a> {
    /// Looks at all types of a chain.
    pub(super) fn new(request: &Request<'a>) -> Result<Self, NoPath> {
        let survey = |function: &Name| {
            let survey = Survey::new(request, function, request.ingress).or_no_path(function)?;
            Ok(survey.usable)
        };
        let stages = request.functions.iter().map(survey);
        Ok(Self {
            request: *request,
            stages: stages.collect::<Result<_, _>>()?,
        })
    }

    /// Loads that a path's most loaded instance can have, rising; the first is that of the path
    /// with the least loaded instance of each type.
    pub(super) fn limits(&self) -> Vec<f32> {
        let least = |stage: &Vec<Seen<'_>>| {
            let loads = stage.iter().map(Seen::load);
            loads.min_by(f32::total_cmp).unwrap_or(0.0)
        };
        let floor = self.stages.iter().map(least).max_by(f32::total_cmp);
        let floor = floor.unwrap_or(0.0);
        let loads = self.stages.iter().flatten().map(Seen::load);
        let mut limits: Vec<f32> = loads.filter(|load| *load >= floor).collect();
        limits.sort_unstable_by(f32::total_cmp);
        limits.dedup();
        limits
    }

    /// Hops in all of a path found here.
    pub(super) fn hops(&self, path: &[Seen<'a>]) -> u32 {
        let names: Vec<_> = path.iter().map(|seen| seen.sf.name.to_string()).collect();
        total_hops(&self.request, &names).unwrap_or(u32::MAX)
    }

    /// What distances are measured in.
    pub(super) fn length(&self) -> Length {
        self.request.topology.length()
    }

    /// Into a function and out again, and what it does there.
    fn visit(&self, seen: &Seen<'_>) -> u64 {
        2 * HOP * u64::from(self.length().leaf()) + load(seen)
    }

    /// How much work one search is: SFFs times functions.
    pub(super) fn size(&self) -> usize {
        self.request.topology.sff_count() * self.stages.len()
    }

    /// Costs from one end of the chain, where it is known.
    fn at_end(&self, end: Option<&str>) -> Vec<u64> {
        let topology = self.request.topology;
        match end.and_then(|end| topology.locate(end)) {
            None => vec![0; topology.sff_count()],
            Some((sff, _)) => {
                let row = topology.hops_from(sff);
                let hops = (0..topology.sff_count()).map(|there| row.get(there));
                hops.map(|hops| hops.map_or(NEVER, |hops| u64::from(hops) * HOP))
                    .collect()
            }
        }
    }

    /// Goes through one type: from what it costs beside its instances to what it costs beyond.
    fn pass(&self, stage: &[Seen<'a>], beside: &[u64], limit: f32) -> Vec<u64> {
        let mut beyond = vec![NEVER; beside.len()];
        for seen in stage.iter().filter(|seen| seen.load() <= limit) {
            if let (Some(there), Some(cost)) = (beside.get(seen.place), beyond.get_mut(seen.place))
            {
                *cost = there.saturating_add(self.visit(seen)).min(*cost);
            }
        }
        self.request.topology.spread(&mut beyond);
        beyond
    }

    /// By layer: what it costs from each SFF, having come out of that layer's function, to the end.
    fn to_go(&self, limit: f32) -> Costs {
        let mut layers = vec![self.at_end(self.request.egress)];
        for stage in self.stages.iter().skip(1).rev() {
            if let Some(beside) = layers.last() {
                layers.push(self.pass(stage, beside, limit));
            }
        }
        layers.reverse();
        layers
    }

    /// By layer: what it costs from the start to each SFF, about to enter that layer's function.
    fn so_far(&self, limit: f32) -> Costs {
        let mut layers = vec![self.at_end(self.request.ingress)];
        for stage in self.stages.iter().rev().skip(1).rev() {
            if let Some(beside) = layers.last() {
                layers.push(self.pass(stage, beside, limit));
            }
        }
        layers
    }

    /// The cheapest path over instances with at most `limit` of load.
    pub(super) fn cheapest(&self, limit: f32) -> Result<Vec<Seen<'a>>, NoPath> {
        let to_go = self.to_go(limit);
        let mut path: Vec<Seen<'a>> = Vec::with_capacity(self.stages.len());
        let mut here = self.at_end(self.request.ingress);
        let layers = self
            .request
            .functions
            .iter()
            .zip(self.stages.iter().zip(&to_go));
        for (function, (stage, to_go)) in layers {
            let cost = |seen: &Seen<'_>| {
                let here = here.get(seen.place)?;
                let cost = here.checked_add(self.visit(seen))?;
                cost.checked_add(*to_go.get(seen.place)?)
            };
            let usable = stage.iter().filter(|seen| seen.load() <= limit);
            let costed = usable.filter_map(|seen| Some((cost(seen)?, seen.number, *seen)));
            let next = costed.min_by_key(|(cost, number, _)| (*cost, *number));
            let (_, _, next) = next.ok_or_else(|| self.cut_off(function))?;
            here = self.at_end(Some(&*next.sf.sff));
            path.push(next);
        }
        Ok(path)
    }

    /// The first type of which no instance can be reached from those before it.
    fn cut_off(&self, otherwise: &Name) -> NoPath {
        let so_far = self.so_far(f32::INFINITY);
        let mut layers = self
            .request
            .functions
            .iter()
            .zip(self.stages.iter().zip(&so_far));
        let reached = |seen: &Seen<'_>, costs: &[u64]| costs.get(seen.place) != Some(&NEVER);
        let lost =
            layers.find(|(_, (stage, costs))| !stage.iter().any(|seen| reached(seen, costs)));
        let mut error = NoPath::nobody(lost.map_or(otherwise, |(function, _)| function));
        error.left = lost
            .into_iter()
            .flat_map(|(_, (stage, _))| stage)
            .map(|seen| seen.cut_off(self.length()))
            .collect();
        error
    }

    /// Writes down why `path` was chosen; `why` is asked about each instance that is told, with the
    /// hops in all of the shortest path through it over instances with at most `limit` of load.
    pub(super) fn tell(
        &self,
        scheduler: String,
        path: &[Seen<'a>],
        limit: f32,
        rule: &str,
        why: impl Fn(&Seen<'a>, bool, Option<u32>) -> String,
    ) -> Choice {
        let through = self.through(limit);
        let names: Vec<String> = path.iter().map(|seen| seen.sf.name.to_string()).collect();
        let mut from = self.request.ingress;
        let mut positions = Vec::new();
        let places = self.request.functions.iter().zip(path);
        for ((function, taken), (stage, through)) in places.zip(self.stages.iter().zip(&through)) {
            let survey = Survey::new(&self.request, function, from);
            let hops = |seen: &Seen<'_>| {
                let place = stage.binary_search_by_key(&seen.number, |seen| seen.number);
                through.get(place.ok()?).copied().flatten()
            };
            let order = |a: &Seen<'_>, b: &Seen<'_>| {
                let hops = |seen| hops(seen).unwrap_or(u32::MAX);
                hops(a).cmp(&hops(b)).then_with(|| a.by_load(b))
            };
            let taken_here = survey
                .usable
                .iter()
                .find(|seen| seen.number == taken.number);
            let taken_here = taken_here.copied().unwrap_or(*taken);
            let why = |seen: &Seen<'a>, is_taken| why(seen, is_taken, hops(seen));
            positions.push(survey.position(function, rule.to_owned(), taken_here, order, why));
            from = Some(&*taken.sf.name);
        }
        let (hops, latency) = told(self.length(), total_hops(&self.request, &names));
        Choice {
            explanation: Explanation {
                scheduler,
                positions,
                hops,
                latency,
            },
            path: names,
        }
    }

    /// By type, in the order of the stages: hops in all of the shortest path through each
    /// instance, over instances with at most `limit` of load.
    fn through(&self, limit: f32) -> Vec<Vec<Option<u32>>> {
        // A path's first and last hop are there only where its ends are known.
        let ends = [self.request.ingress, self.request.egress];
        let unknown = ends.iter().filter(|end| end.is_none()).count() as u64;
        let unknown = unknown * HOP * u64::from(self.length().leaf());
        let (so_far, to_go) = (self.so_far(limit), self.to_go(limit));
        let layers = self.stages.iter().zip(so_far.iter().zip(&to_go));
        let hops = layers.map(|(stage, (so_far, to_go))| {
            let through = |seen: &Seen<'_>| {
                let there = so_far.get(seen.place)?.checked_add(self.visit(seen))?;
                let all = there.checked_add(*to_go.get(seen.place)?)?;
                u32::try_from(all.saturating_sub(unknown) >> 32).ok()
            };
            stage.iter().map(through).collect()
        });
        hops.collect()
    }
}
