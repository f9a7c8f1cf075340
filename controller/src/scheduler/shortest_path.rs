//! Shortest path: the fewest hops in all, from the ingress SFF over every function to the egress
//! SFF as far as the ends are known. Among equally short paths the one with the least load in
//! sum, then the first by name.

use super::explanation::counted;
use super::survey::{Survey, total_hops};
use super::{Choice, Explanation, NoPath, Request, Scheduler};
use crate::topology::by_name;
use std::cmp::Ordering;

/// See the module.
#[derive(Debug, Clone, Copy, Default)]
pub struct ShortestPath;

/// The best way from the ingress up to and including one instance.
#[derive(Debug, Clone, Default)]
struct Way<'a> {
    hops: u32,
    load: f32,
    path: Vec<&'a str>,
}

impl<'a> Way<'a> {
    fn order(&self, other: &Self) -> Ordering {
        let names = || {
            let pairs = self.path.iter().zip(&other.path);
            pairs
                .map(|(a, b)| by_name(a, b))
                .find(|o| o.is_ne())
                .unwrap_or(Ordering::Equal)
        };
        let hops = self.hops.cmp(&other.hops);
        hops.then(self.load.total_cmp(&other.load)).then_with(names)
    }

    fn on(&self, hops: u32, load: f32, name: &'a str) -> Self {
        let mut path = self.path.clone();
        path.push(name);
        Self {
            hops: self.hops.saturating_add(hops),
            load: self.load + load,
            path,
        }
    }
}

/// The best ways to each usable instance of `function`, given those to the type before.
fn extend<'a>(
    request: &Request<'a>,
    survey: &Survey<'a>,
    before: Option<&[Way<'a>]>,
) -> Vec<Way<'a>> {
    let usable = survey.usable.iter();
    usable
        .filter_map(|seen| {
            let name = seen.sf.name.as_str();
            match before {
                None => Some(Way::default().on(seen.distance(), seen.load(), name)),
                Some(before) => before
                    .iter()
                    .filter_map(|way| {
                        let hops = request.topology.hops(way.path.last()?, name)?;
                        Some(way.on(hops, seen.load(), name))
                    })
                    .min_by(Way::order),
            }
        })
        .collect()
}

/// A way with the hops to the egress SFF added.
fn finish<'a>(request: &Request<'_>, way: &Way<'a>) -> Way<'a> {
    let last = way.path.last().zip(request.egress);
    let last = last.and_then(|(last, egress)| request.topology.hops(last, egress));
    Way {
        hops: way.hops.saturating_add(last.unwrap_or(0)),
        ..way.clone()
    }
}

/// Fewest hops in all of any path through each instance of each type.
fn through(
    request: &Request<'_>,
    name: &str,
    place: usize,
    layers: &[Vec<Way<'_>>],
) -> Option<u32> {
    let here = layers.get(place)?;
    let mut reach: Vec<(&str, u32)> = here
        .iter()
        .filter(|way| way.path.last() == Some(&name))
        .map(|way| (name, way.hops))
        .collect();
    for layer in layers.iter().skip(place + 1) {
        let next = layer.iter().filter_map(|way| {
            let to = *way.path.last()?;
            let ways = reach.iter().filter_map(|(from, hops)| {
                request
                    .topology
                    .hops(from, to)
                    .map(|more| hops.saturating_add(more))
            });
            Some((to, ways.min()?))
        });
        reach = next.collect();
    }
    let ends = reach
        .into_iter()
        .filter_map(|(last, hops)| match request.egress {
            Some(egress) => request
                .topology
                .hops(last, egress)
                .map(|more| hops.saturating_add(more)),
            None => Some(hops),
        });
    ends.min()
}

impl Scheduler for ShortestPath {
    fn name(&self) -> String {
        "shortest-path".to_owned()
    }

    fn schedule(&self, request: &Request<'_>) -> Result<Choice, NoPath> {
        let mut layers: Vec<Vec<Way<'_>>> = Vec::new();
        for function in request.functions {
            let from = request.ingress.filter(|_| layers.is_empty());
            let survey = Survey::new(request, function, from).or_no_path(function)?;
            let ways = extend(request, &survey, layers.last().map(Vec::as_slice));
            if ways.is_empty() {
                return Err(NoPath {
                    function: function.clone(),
                    left: survey.barred,
                });
            }
            layers.push(ways);
        }
        let ends = layers.last().into_iter().flatten();
        let best = ends
            .map(|way| finish(request, way))
            .min_by(|a, b| a.order(b));
        let path: Vec<String> = best
            .map(|way| way.path.iter().map(|&name| name.to_owned()).collect())
            .unwrap_or_default();
        let mut positions = Vec::new();
        for (place, function) in request.functions.iter().enumerate() {
            let before = place.checked_sub(1).and_then(|i| path.get(i));
            let from = before.map(String::as_str).or(request.ingress);
            let survey = Survey::new(request, function, from);
            let is_taken = |name: &str| path.get(place).is_some_and(|taken| taken == name);
            let taken = survey.usable.iter().position(|s| is_taken(&s.sf.name));
            let all = total_hops(request, &path);
            let rule = "on the path with the fewest hops in all".to_owned();
            let position = survey.position(function, rule, taken.unwrap_or(0), |seen, taken| {
                let by_it = through(request, &seen.sf.name, place, &layers);
                match (taken, by_it) {
                    (true, Some(hops)) => format!("{} in all", counted(hops)),
                    (false, Some(hops)) if Some(hops) == all => {
                        "as short, but more loaded in sum or later by name".to_owned()
                    }
                    (false, Some(hops)) => format!("{} in all by it", counted(hops)),
                    (_, None) => "no way through it".to_owned(),
                }
            });
            positions.push(position);
        }
        Ok(Choice {
            explanation: Explanation {
                scheduler: self.name(),
                positions,
                hops: total_hops(request, &path),
            },
            path,
        })
    }
}
