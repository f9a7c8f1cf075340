//! What every scheduler starts from: the instances of one type, their loads, their distances
//! from where the path stands, and which of them may not be taken. What is told of them is
//! bounded, so that a type with ten thousand instances costs a look at each and no more.

use super::explanation::told;
use super::{Candidate, Choice, Explanation, NoPath, Position, Request};
use crate::resource::{Length, Name};
use crate::topology::{ServiceFunction, by_name};
use std::cmp::Ordering;

/// Candidates that an explanation names, of those that could be taken and of those that could not.
const TOLD: usize = 16;

/// One instance as seen from where the path stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Seen<'a> {
    /// The instance.
    pub(super) sf: &'a ServiceFunction,
    /// Its number; numbers follow names.
    pub(super) number: usize,
    /// The number of its SFF.
    pub(super) place: usize,
    /// Hops from the instance chosen before, or from the ingress SFF.
    pub(super) hops: Option<u32>,
    /// The load it is compared by.
    pub(super) load: f32,
}

impl Seen<'_> {
    pub(super) const fn load(&self) -> f32 {
        self.load
    }

    /// Hops for comparison: 0 while nothing is known about where the path comes from.
    pub(super) fn distance(&self) -> u32 {
        self.hops.unwrap_or(0)
    }

    /// Less load first, then fewer hops, then the name.
    pub(super) fn by_load(&self, other: &Self) -> Ordering {
        let load = self.load().total_cmp(&other.load());
        load.then(self.distance().cmp(&other.distance()))
            .then(self.by_name(other))
    }

    /// Fewer hops first, then less load, then the name.
    pub(super) fn by_distance(&self, other: &Self) -> Ordering {
        let distance = self.distance().cmp(&other.distance());
        distance
            .then(self.load().total_cmp(&other.load()))
            .then(self.by_name(other))
    }

    /// Told as one that nobody before it reaches.
    pub(super) fn cut_off(&self, length: Length) -> Candidate {
        Candidate {
            why: "cannot be reached from those before it".to_owned(),
            ..candidate(self, length)
        }
    }

    /// In name order.
    pub(super) fn by_name(&self, other: &Self) -> Ordering {
        self.number.cmp(&other.number)
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
    /// May not: the first of them.
    barred: Vec<Candidate>,
    /// May not, beyond those.
    more_barred: usize,
    /// What distances are measured in.
    pub(super) length: Length,
}

impl<'a> Survey<'a> {
    /// Looks around from `from`: an instance or SFF, or nowhere in particular.
    pub(super) fn new(request: &Request<'a>, function: &Name, from: Option<&str>) -> Self {
        let topology = request.topology;
        let row = |name: &str| {
            let (sff, own) = topology.locate(name)?;
            Some((topology.hops_from(sff), own))
        };
        let (start, end) = (from.and_then(row), request.egress.and_then(row));
        let kept = request.kept.get(function);
        let all = topology.numbers_of(function);
        // Where one stays, all others are left for that, and the first of them say it.
        let (told, untold) = match kept {
            Some(_) => all.split_at(all.len().min(TOLD + 1)),
            None => (all, &[][..]),
        };
        let stays = kept.and_then(|kept| topology.number(kept));
        let stays = stays.filter(|stays| untold.binary_search(stays).is_ok());
        let mut survey = Self {
            usable: Vec::new(),
            barred: Vec::new(),
            more_barred: untold.len() - usize::from(stays.is_some()),
            length: topology.length(),
        };
        for &number in told.iter().chain(&stays) {
            let (Some(sf), Some(place)) = (topology.instance(number), topology.place(number))
            else {
                continue;
            };
            let hops = start.and_then(|(row, own)| {
                let between = row.get(place)?;
                Some(between.saturating_add(own + topology.length().leaf()))
            });
            let seen = Seen {
                sf,
                number,
                place,
                hops,
                load: sf.effective_load(request.missing),
            };
            let cut_off = |end: &str| format!("there is no way between it and {end}");
            let reason = match (kept, &sf.barred, request.without.get(&*sf.name)) {
                (Some(kept), ..) if **kept != *sf.name => {
                    Some(format!("is not needed, {kept} is healthy and stays"))
                }
                (_, Some(barred), _) | (_, None, Some(barred)) => Some(barred.clone()),
                _ if from.is_some() && hops.is_none() => from.map(cut_off),
                _ if request.egress.is_some()
                    && end.and_then(|(row, _)| row.get(place)).is_none() =>
                {
                    request.egress.map(cut_off)
                }
                _ => None,
            };
            match reason {
                None => survey.usable.push(seen),
                Some(_) if survey.barred.len() >= TOLD => survey.more_barred += 1,
                Some(why) => survey.barred.push(Candidate {
                    why,
                    ..candidate(&seen, topology.length())
                }),
            }
        }
        survey
    }

    /// The instances, or why there is none.
    pub(super) fn or_no_path(self, function: &Name) -> Result<Self, NoPath> {
        if self.usable.is_empty() {
            Err(self.into_no_path(function))
        } else {
            Ok(self)
        }
    }

    fn into_no_path(self, function: &Name) -> NoPath {
        NoPath {
            function: function.clone(),
            left: self.barred,
            more: self.more_barred,
        }
    }

    /// The first usable instance by `order`.
    pub(super) fn first(
        &self,
        order: impl Fn(&Seen<'a>, &Seen<'a>) -> Ordering,
    ) -> Option<Seen<'a>> {
        self.usable.iter().copied().min_by(order)
    }

    /// Writes down a choice: of the usable instances the one taken and the first by `order` are
    /// told, and `why` is asked about each of them.
    pub(super) fn position(
        self,
        function: &Name,
        rule: String,
        taken: Seen<'a>,
        order: impl Fn(&Seen<'a>, &Seen<'a>) -> Ordering,
        why: impl Fn(&Seen<'a>, bool) -> String,
    ) -> Position {
        let all = self.usable.len() + self.barred.len() + self.more_barred;
        let others = self.usable.into_iter();
        let mut told: Vec<_> = others.filter(|seen| seen.number != taken.number).collect();
        if told.len() >= TOLD {
            told.select_nth_unstable_by(TOLD - 1, &order);
            told.truncate(TOLD - 1);
        }
        told.push(taken);
        let told = told.iter().map(|seen| Candidate {
            taken: seen.number == taken.number,
            why: why(seen, seen.number == taken.number),
            ..candidate(seen, self.length)
        });
        let mut candidates: Vec<_> = self.barred.into_iter().chain(told).collect();
        candidates.sort_by(|a, b| by_name(&a.instance, &b.instance));
        Position {
            function: function.clone(),
            rule,
            more: all - candidates.len(),
            candidates,
        }
    }
}

fn candidate(seen: &Seen<'_>, length: Length) -> Candidate {
    let (hops, latency) = told(length, seen.hops);
    Candidate {
        instance: seen.sf.name.to_string(),
        sff: seen.sf.sff.to_string(),
        load: seen.sf.load,
        stale: seen.sf.stale,
        hops,
        latency,
        taken: false,
        why: String::new(),
    }
}

/// Walks the chain type by type: `choose` gets the place in the chain, where the path stands
/// and what there is, and answers with one of them and the position as explained.
pub(super) fn step_by_step<'a>(
    request: &Request<'a>,
    scheduler: String,
    mut choose: impl FnMut(usize, Option<&str>, &Name, Survey<'a>) -> Option<(Seen<'a>, Position)>,
) -> Result<Choice, NoPath> {
    let mut path: Vec<&'a str> = Vec::new();
    let mut positions = Vec::new();
    for (place, function) in request.functions.iter().enumerate() {
        let from = path.last().copied().or(request.ingress);
        let survey = Survey::new(request, function, from).or_no_path(function)?;
        let chosen = choose(place, from, function, survey);
        let (taken, position) = chosen.ok_or_else(|| NoPath::nobody(function))?;
        path.push(&*taken.sf.name);
        positions.push(position);
    }
    let path: Vec<String> = path.into_iter().map(str::to_owned).collect();
    let (hops, latency) = told(request.topology.length(), total_hops(request, &path));
    Ok(Choice {
        explanation: Explanation {
            scheduler,
            positions,
            hops,
            latency,
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
