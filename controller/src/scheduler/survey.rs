//! What every scheduler starts from: the instances of one type, their loads, their distances
//! from where the path stands, and which of them may not be taken.

use super::{Candidate, Choice, Explanation, NoPath, Position, Request};
use crate::resource::Name;
use crate::topology::{ServiceFunction, by_name};
use std::cmp::Ordering;

/// One instance as seen from where the path stands.
#[derive(Debug, Clone)]
pub(super) struct Seen<'a> {
    /// The instance.
    pub(super) sf: &'a ServiceFunction,
    /// Hops from the instance chosen before, or from the ingress SFF.
    pub(super) hops: Option<u32>,
}

impl Seen<'_> {
    pub(super) fn load(&self) -> f32 {
        self.sf.effective_load()
    }

    /// Hops for comparison: 0 while nothing is known about where the path comes from.
    pub(super) fn distance(&self) -> u32 {
        self.hops.unwrap_or(0)
    }

    /// Less load first, then fewer hops, then the name.
    pub(super) fn by_load(&self, other: &Self) -> Ordering {
        let load = self.load().total_cmp(&other.load());
        load.then(self.distance().cmp(&other.distance()))
            .then_with(|| by_name(&self.sf.name, &other.sf.name))
    }

    /// Fewer hops first, then less load, then the name.
    pub(super) fn by_distance(&self, other: &Self) -> Ordering {
        let distance = self.distance().cmp(&other.distance());
        distance
            .then(self.load().total_cmp(&other.load()))
            .then_with(|| by_name(&self.sf.name, &other.sf.name))
    }
}

/// Why `other` was left for `best`, when load decides first.
pub(super) fn why_more_loaded(other: &Seen<'_>, best: &Seen<'_>) -> String {
    let (name, load) = (&best.sf.name, best.load());
    match (
        other.load().total_cmp(&load),
        other.distance().cmp(&best.distance()),
    ) {
        (Ordering::Equal, Ordering::Greater) => {
            format!("as loaded as {name}, which is nearer")
        }
        (Ordering::Equal, _) => format!("as good as {name}, which comes first by name"),
        _ => format!(
            "more loaded than {name} ({:.0}% over {load:.0}%)",
            other.load()
        ),
    }
}

/// All instances of a type: those that may be taken, and the others with the reason.
pub(super) struct Survey<'a> {
    /// May be taken, in name order.
    pub(super) usable: Vec<Seen<'a>>,
    /// May not.
    pub(super) barred: Vec<Candidate>,
}

impl<'a> Survey<'a> {
    /// Looks around from `from`: an instance or SFF, or nowhere in particular.
    pub(super) fn new(request: &Request<'a>, function: &Name, from: Option<&str>) -> Self {
        let topology = request.topology;
        let mut survey = Self {
            usable: Vec::new(),
            barred: Vec::new(),
        };
        for sf in topology.functions_of(function) {
            let hops = from.and_then(|from| topology.hops(from, &sf.name));
            let cut_off = |end: &str| format!("there is no way between it and {end}");
            let reason = sf.barred.clone().or_else(|| match (from, request.egress) {
                (Some(from), _) if hops.is_none() => Some(cut_off(from)),
                (_, Some(end)) if topology.hops(&sf.name, end).is_none() => Some(cut_off(end)),
                _ => None,
            });
            match reason {
                None => survey.usable.push(Seen { sf, hops }),
                Some(why) => survey.barred.push(Candidate {
                    why,
                    ..candidate(&Seen { sf, hops })
                }),
            }
        }
        survey
    }

    /// The instances, or why there is none.
    pub(super) fn or_no_path(self, function: &Name) -> Result<Self, NoPath> {
        if self.usable.is_empty() {
            Err(NoPath {
                function: function.clone(),
                left: self.barred,
            })
        } else {
            Ok(self)
        }
    }

    /// Writes down a choice: `why` is asked about every usable instance.
    pub(super) fn position(
        self,
        function: &Name,
        rule: String,
        taken: usize,
        why: impl Fn(&Seen<'a>, bool) -> String,
    ) -> Position {
        let mut candidates = self.barred;
        for (index, seen) in self.usable.iter().enumerate() {
            candidates.push(Candidate {
                taken: index == taken,
                why: why(seen, index == taken),
                ..candidate(seen)
            });
        }
        candidates.sort_by(|a, b| by_name(&a.instance, &b.instance));
        Position {
            function: function.clone(),
            rule,
            candidates,
        }
    }
}

fn candidate(seen: &Seen<'_>) -> Candidate {
    Candidate {
        instance: seen.sf.name.clone(),
        sff: seen.sf.sff.clone(),
        load: seen.sf.load,
        hops: seen.hops,
        taken: false,
        why: String::new(),
    }
}

/// Walks the chain type by type: `choose` gets the place in the chain, where the path stands
/// and what there is, and answers with an index into `usable` and the position as explained.
pub(super) fn step_by_step<'a>(
    request: &Request<'a>,
    scheduler: String,
    mut choose: impl FnMut(usize, Option<&str>, &Name, Survey<'a>) -> (usize, Position),
) -> Result<Choice, NoPath> {
    let mut path: Vec<String> = Vec::new();
    let mut positions = Vec::new();
    for (place, function) in request.functions.iter().enumerate() {
        let from = path.last().map(String::as_str).or(request.ingress);
        let survey = Survey::new(request, function, from).or_no_path(function)?;
        let names: Vec<_> = survey.usable.iter().map(|s| s.sf.name.clone()).collect();
        let (taken, position) = choose(place, from, function, survey);
        path.extend(names.into_iter().nth(taken));
        positions.push(position);
    }
    Ok(Choice {
        explanation: Explanation {
            scheduler,
            positions,
            hops: total_hops(request, &path),
        },
        path,
    })
}

/// Hops of a whole path, with its ends as far as they are known.
pub(super) fn total_hops(request: &Request<'_>, path: &[String]) -> Option<u32> {
    let stops = request.ingress.into_iter();
    let stops: Vec<_> = stops
        .chain(path.iter().map(String::as_str))
        .chain(request.egress)
        .collect();
    let legs = stops.windows(2).map(|pair| match pair {
        [from, to] => request.topology.hops(from, to),
        _ => None,
    });
    legs.sum()
}
