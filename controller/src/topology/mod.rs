//! SFFs, the service functions behind them and the links between them, as one graph. Counts
//! hops node to node, service functions included: with SFF1 - SFF2 - SFF3 in a line, FW1 to
//! DPI3 is FW1, SFF1, SFF2, SFF3, DPI3: four hops.
//!
//! Service functions are leaves, so only SFFs are in the graph: ten thousand boxes with a hundred
//! thousand functions are a graph of ten thousand. A full mesh costs two vertices, not fifty
//! million edges. Distances are found when they are asked for, and kept.

mod distance;

use crate::resource::{Length, MissingLoad, Name};
use distance::Network;
pub(crate) use distance::Row;
use foldhash::HashMap;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// One instance of a service function.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceFunction {
    /// Instance name.
    pub name: Arc<str>,
    /// Its type.
    pub function: Name,
    /// The SFF it is attached to.
    pub sff: Arc<str>,
    /// CPU load in percent, when it is known.
    pub load: Option<f32>,
    /// Whether the load is the last one known and too old to be believed as it stands.
    pub stale: bool,
    /// Why it may not be chosen; `None` when it may.
    pub barred: Option<String>,
}

impl ServiceFunction {
    /// The load it is compared by, where `missing` says what one that is old or unknown counts as.
    pub fn effective_load(&self, missing: MissingLoad) -> f32 {
        match (self.load, missing) {
            (Some(load), _) if !self.stale => load,
            (Some(load), MissingLoad::LastKnown) => load,
            (None, MissingLoad::LastKnown) | (_, MissingLoad::Average) => 50.0,
            (load, MissingLoad::Pessimistic) => load.unwrap_or(100.0).max(100.0),
        }
    }
}

/// A service function forwarder.
#[derive(Debug, Clone, Copy)]
pub struct Sff<'a> {
    /// Its name.
    pub name: &'a str,
    /// What it is linked to without anybody saying so.
    pub mesh: Option<Mesh>,
}

/// One hop to every other SFF of the class, except between two whose links are spelled out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mesh {
    /// Those of one class reach each other.
    pub class: u8,
    /// Whether its links are spelled out.
    pub spoken: bool,
}

impl<'a> From<&'a str> for Sff<'a> {
    fn from(name: &'a str) -> Self {
        Self { name, mesh: None }
    }
}

/// The graph.
#[derive(Debug, Clone)]
pub struct Topology {
    /// SFFs in name order: a place here is an SFF's number.
    sffs: Vec<String>,
    sff_numbers: HashMap<String, usize>,
    network: Network,
    /// Instances type by type in natural name order: a place here is an instance's number.
    instances: Vec<ServiceFunction>,
    /// By an instance's number: its SFF.
    places: Vec<usize>,
    instance_numbers: HashMap<Arc<str>, usize>,
    types: BTreeMap<Name, Vec<usize>>,
    length: Length,
}

impl Topology {
    /// Builds the graph. A link with an end that is no SFF, and a function behind none, are
    /// left out of it: the former links nothing, the latter is nowhere. Of links between the
    /// same two SFFs the last one counts; of instances with the same name only one.
    pub fn new<'a, S: Into<Sff<'a>>>(
        sffs: impl IntoIterator<Item = S>,
        links: impl IntoIterator<Item = (&'a str, &'a str, u32)>,
        functions: impl IntoIterator<Item = ServiceFunction>,
    ) -> Self {
        Self::measured(Length::Hops, 1, sffs, links, functions)
    }

    /// The same with links in `length`; those of the mesh that are not among them are `meshed` long,
    /// and none of the others may be longer.
    pub fn measured<'a, S: Into<Sff<'a>>>(
        length: Length,
        meshed: u32,
        sffs: impl IntoIterator<Item = S>,
        links: impl IntoIterator<Item = (&'a str, &'a str, u32)>,
        functions: impl IntoIterator<Item = ServiceFunction>,
    ) -> Self {
        let mut sffs: Vec<Sff<'a>> = sffs.into_iter().map(Into::into).collect();
        sffs.sort_by_key(|sff| sff.name);
        sffs.dedup_by_key(|sff| sff.name);
        let names = sffs.iter().map(|sff| sff.name.to_owned());
        let sff_numbers: HashMap<_, _> = names.clone().zip(0..).collect();
        let known = |name: &str| sff_numbers.get(name).copied();
        let links = links
            .into_iter()
            .filter_map(|(a, b, hops)| Some((known(a)?, known(b)?, hops)));
        let meshes: Vec<_> = sffs.iter().map(|sff| sff.mesh).collect();
        let network = Network::new(&meshes, meshed, links);
        let mut types = BTreeMap::new();
        let (mut instances, mut places) = (Vec::new(), Vec::new());
        let mut instance_numbers = HashMap::default();
        for (function, group) in by_type(functions, known) {
            let mut numbers = Vec::with_capacity(group.len());
            for (_, place, instance) in group {
                let Entry::Vacant(entry) = instance_numbers.entry(instance.name.clone()) else {
                    continue;
                };
                numbers.push(*entry.insert(instances.len()));
                places.push(place);
                instances.push(instance);
            }
            types.insert(function, numbers);
        }
        Self {
            sffs: names.collect(),
            network,
            instances,
            places,
            instance_numbers,
            types,
            sff_numbers,
            length,
        }
    }

    /// What distances are measured in.
    pub fn length(&self) -> Length {
        self.length
    }

    /// How many SFFs there are.
    pub fn sff_count(&self) -> usize {
        self.sffs.len()
    }

    /// Whether `name` is an SFF of this topology.
    pub fn has_sff(&self, name: &str) -> bool {
        self.sff_numbers.contains_key(name)
    }

    /// One instance.
    pub fn function(&self, name: &str) -> Option<&ServiceFunction> {
        self.instances.get(*self.instance_numbers.get(name)?)
    }

    /// Changes what an instance is like. Its name, type and SFF stay.
    pub(crate) fn alter(&mut self, name: &str, change: impl FnOnce(&mut ServiceFunction)) {
        let number = self.instance_numbers.get(name);
        if let Some(instance) = number.and_then(|number| self.instances.get_mut(*number)) {
            change(instance);
        }
    }

    /// Numbers of all instances of a type, in natural name order.
    pub(crate) fn numbers_of(&self, function: &Name) -> &[usize] {
        self.types.get(function).map_or(&[], Vec::as_slice)
    }

    /// The instance of a number.
    pub(crate) fn instance(&self, number: usize) -> Option<&ServiceFunction> {
        self.instances.get(number)
    }

    /// The number of the SFF that an instance is behind.
    pub(crate) fn place(&self, number: usize) -> Option<usize> {
        self.places.get(number).copied()
    }

    /// Where `name`, an SF or an SFF, is: its SFF, and its own hops to that.
    pub(crate) fn locate(&self, name: &str) -> Option<(usize, u32)> {
        match self.instance_numbers.get(name) {
            Some(&number) => Some((self.place(number)?, self.length.leaf())),
            None => Some((*self.sff_numbers.get(name)?, 0)),
        }
    }

    /// The number of an instance.
    pub(crate) fn number(&self, name: &str) -> Option<usize> {
        self.instance_numbers.get(name).copied()
    }

    /// Hops from the SFF of a number to every other, by their numbers.
    pub(crate) fn hops_from(&self, number: usize) -> Row<'_> {
        self.network.row(number)
    }

    /// See [`Network::spread`].
    pub(crate) fn spread(&self, costs: &mut [u64]) {
        self.network.spread(costs);
    }

    /// Hops between two nodes, SFs or SFFs; `None` when there is no way.
    pub fn hops(&self, from: &str, to: &str) -> Option<u32> {
        let ((a, from_leaf), (b, to_leaf)) = (self.locate(from)?, self.locate(to)?);
        if from == to {
            return Some(0);
        }
        let between = self.hops_from(a).get(b)?;
        Some(between.saturating_add(from_leaf + to_leaf))
    }

    /// The SFF to hand a packet to on the shortest way from one SFF to another; the first by
    /// name where several are as short. `None` when there is no way, or none is needed.
    pub fn next_sff(&self, from: &str, to: &str) -> Option<&str> {
        let here = *self.sff_numbers.get(from)?;
        let there = *self.sff_numbers.get(to)?;
        if here == there {
            return None;
        }
        // Links are the same both ways.
        let ahead = self.hops_from(there);
        let all = ahead.get(here)?;
        // Nothing is between two that one hop parts; and where latency is the length, whoever hands a
        // packet on costs more than a link that is as long tells.
        let direct = self.length == Length::Latency || all == 1;
        if direct && self.network.link(here, there) == Some(all) {
            return self.sffs.get(there).map(String::as_str);
        }
        let next = (0..self.sffs.len()).find(|&next| {
            let first = self.network.link(here, next);
            first
                .zip(ahead.get(next))
                .is_some_and(|(first, rest)| next != here && first.checked_add(rest) == Some(all))
        })?;
        self.sffs.get(next).map(String::as_str)
    }
}

/// An instance with what it is ordered by and the number of its SFF.
type Placed = (Ending, usize, ServiceFunction);

/// Instances by type, in natural name order: to put a thousand in order a hundred times is less work than a
/// hundred thousand at once.
fn by_type(
    functions: impl IntoIterator<Item = ServiceFunction>,
    place: impl Fn(&str) -> Option<usize>,
) -> BTreeMap<Name, Vec<Placed>> {
    let mut types: BTreeMap<Name, Vec<Placed>> = BTreeMap::new();
    let mut end = |run: &mut Vec<Placed>| {
        if let Some((.., last)) = run.last() {
            let function = last.function.clone();
            types.entry(function).or_default().append(run);
        }
    };
    // They come type by type as a rule.
    let mut run: Vec<Placed> = Vec::new();
    for instance in functions {
        let Some(place) = place(&instance.sff) else {
            continue;
        };
        let same = |(.., last): &Placed| last.function == instance.function;
        if !run.last().is_some_and(same) {
            end(&mut run);
        }
        run.push((ending(&instance.name), place, instance));
    }
    end(&mut run);
    for group in types.values_mut() {
        group.sort_by(|(a, _, one), (b, _, other)| in_order((*a, &one.name), (*b, &other.name)));
    }
    types
}

/// What distances say where there is no way.
const UNREACHED: u32 = u32::MAX;

/// Orders `fw-2` before `fw-10`.
pub fn by_name(a: &str, b: &str) -> Ordering {
    in_order((ending(a), a), (ending(b), b))
}

/// Where the number begins that a name ends with, and the number.
type Ending = (usize, Option<u64>);

fn ending(name: &str) -> Ending {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let begin = name.len() - digits;
    (
        begin,
        name.get(begin..).and_then(|digits| digits.parse().ok()),
    )
}

fn in_order(((end, n), a): (Ending, &str), ((other_end, m), b): (Ending, &str)) -> Ordering {
    let stems = a.get(..end).cmp(&b.get(..other_end));
    stems.then(n.cmp(&m)).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line() -> Topology {
        let function = |name: &str, function: &str, sff: &str| ServiceFunction {
            name: name.into(),
            function: Name::new(function).unwrap(),
            sff: sff.into(),
            load: None,
            stale: false,
            barred: None,
        };
        Topology::new(
            ["sff1", "sff2", "sff3", "island"],
            [("sff1", "sff2", 1), ("sff2", "sff3", 1)],
            [
                function("fw1", "fw", "sff1"),
                function("dpi1", "dpi", "sff1"),
                function("dpi3", "dpi", "sff3"),
                function("lost", "dpi", "island"),
            ],
        )
    }

    #[test]
    fn hops_are_counted_node_to_node_with_functions_included() {
        let line = line();
        assert_eq!(line.hops("fw1", "dpi3"), Some(4));
        assert_eq!(line.hops("fw1", "dpi1"), Some(2));
        assert_eq!(line.hops("sff1", "fw1"), Some(1));
        assert_eq!(line.hops("fw1", "fw1"), Some(0));
        assert_eq!(line.hops("fw1", "lost"), None);
        assert_eq!(line.hops("fw1", "nowhere"), None);
    }

    #[test]
    fn packets_are_handed_along_the_line() {
        let line = line();
        assert_eq!(line.next_sff("sff1", "sff3"), Some("sff2"));
        assert_eq!(line.next_sff("sff2", "sff3"), Some("sff3"));
        assert_eq!(line.next_sff("sff1", "sff1"), None);
        assert_eq!(line.next_sff("sff1", "island"), None);
    }

    #[test]
    fn a_mesh_links_all_but_those_whose_links_are_spelled_out() {
        let sff = |name, class, spoken| Sff {
            name,
            mesh: Some(Mesh { class, spoken }),
        };
        let sffs = [
            sff("a", 4, true),
            sff("b", 4, true),
            sff("c", 4, true),
            sff("free", 4, false),
            sff("six", 6, false),
        ];
        let none: [ServiceFunction; 0] = [];
        let mesh = Topology::new(sffs, [("a", "b", 1)], none);
        assert_eq!(mesh.hops("a", "b"), Some(1));
        assert_eq!(mesh.hops("a", "free"), Some(1));
        assert_eq!(
            mesh.hops("b", "c"),
            Some(2),
            "both are spelled out: over free"
        );
        assert_eq!(mesh.next_sff("b", "c"), Some("free"));
        assert_eq!(mesh.hops("free", "six"), None, "of another class");
    }

    #[test]
    fn ten_comes_after_two() {
        let mut names = ["fw-10", "fw-2", "fw", "dpi-3"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, ["dpi-3", "fw", "fw-2", "fw-10"]);
    }
}
