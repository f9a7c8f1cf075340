//! SFFs, the service functions behind them and the links between them, as one graph. Counts
//! hops node to node, service functions included: with SFF1 - SFF2 - SFF3 in a line, FW1 to
//! DPI3 is FW1, SFF1, SFF2, SFF3, DPI3: four hops.

use crate::resource::Name;
use petgraph::algo::dijkstra;
use petgraph::graph::{NodeIndex, UnGraph};
use std::cmp::Ordering;
use std::collections::BTreeMap;

/// One instance of a service function.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceFunction {
    /// Instance name.
    pub name: String,
    /// Its type.
    pub function: Name,
    /// The SFF it is attached to.
    pub sff: String,
    /// CPU load in percent, when it is known.
    pub load: Option<f32>,
    /// Why it may not be chosen; `None` when it may.
    pub barred: Option<String>,
}

/// What an unknown load counts as: neither a reason to go there nor one to stay away.
pub const UNKNOWN_LOAD: f32 = 50.0;

impl ServiceFunction {
    /// The load it is compared by.
    pub fn effective_load(&self) -> f32 {
        self.load.unwrap_or(UNKNOWN_LOAD)
    }
}

/// The graph. Service functions are leaves: one hop from their SFF, never passed through.
#[derive(Debug, Clone, Default)]
pub struct Topology {
    graph: UnGraph<String, u32>,
    sffs: BTreeMap<String, NodeIndex>,
    functions: BTreeMap<String, (NodeIndex, ServiceFunction)>,
    distances: BTreeMap<NodeIndex, BTreeMap<NodeIndex, u32>>,
}

impl Topology {
    /// Builds the graph. A link with an end that is no SFF, and a function behind none, are
    /// left out of it: the former links nothing, the latter is nowhere.
    pub fn new<'a>(
        sffs: impl IntoIterator<Item = &'a str>,
        links: impl IntoIterator<Item = (&'a str, &'a str, u32)>,
        functions: impl IntoIterator<Item = ServiceFunction>,
    ) -> Self {
        let mut topology = Self::default();
        for sff in sffs {
            if !topology.sffs.contains_key(sff) {
                let index = topology.graph.add_node(sff.to_owned());
                topology.sffs.insert(sff.to_owned(), index);
            }
        }
        for (a, b, hops) in links {
            if let (Some(&a), Some(&b)) = (topology.sffs.get(a), topology.sffs.get(b)) {
                topology.graph.update_edge(a, b, hops);
            }
        }
        for function in functions {
            if let Some(&sff) = topology.sffs.get(&function.sff) {
                let index = topology.graph.add_node(function.name.clone());
                topology.graph.add_edge(sff, index, 1);
                let name = function.name.clone();
                topology.functions.insert(name, (index, function));
            }
        }
        topology.distances = topology
            .graph
            .node_indices()
            .map(|from| {
                let reached = dijkstra(&topology.graph, from, None, |edge| *edge.weight());
                (from, reached.into_iter().collect())
            })
            .collect();
        topology
    }

    /// Whether `name` is an SFF of this topology.
    pub fn has_sff(&self, name: &str) -> bool {
        self.sffs.contains_key(name)
    }

    /// One instance.
    pub fn function(&self, name: &str) -> Option<&ServiceFunction> {
        self.functions.get(name).map(|(_, function)| function)
    }

    /// All instances of a type, in natural name order.
    pub fn functions_of(&self, function: &Name) -> Vec<&ServiceFunction> {
        let mut found: Vec<_> = self
            .functions
            .values()
            .map(|(_, instance)| instance)
            .filter(|instance| instance.function == *function)
            .collect();
        found.sort_by(|a, b| by_name(&a.name, &b.name));
        found
    }

    fn index(&self, name: &str) -> Option<NodeIndex> {
        let function = self.functions.get(name).map(|(index, _)| *index);
        function.or_else(|| self.sffs.get(name).copied())
    }

    /// Hops between two nodes, SFs or SFFs; `None` when there is no way.
    pub fn hops(&self, from: &str, to: &str) -> Option<u32> {
        let (from, to) = (self.index(from)?, self.index(to)?);
        self.distances.get(&from)?.get(&to).copied()
    }

    /// The SFF to hand a packet to on the shortest way from one SFF to another; the first by
    /// name where several are as short. `None` when there is no way, or none is needed.
    pub fn next_sff(&self, from: &str, to: &str) -> Option<&str> {
        let all = self.hops(from, to)?;
        let here = self.sffs.get(from).copied()?;
        if from == to {
            return None;
        }
        self.sffs
            .iter()
            .filter_map(|(name, &next)| {
                let edge = self.graph.find_edge(here, next)?;
                let first = *self.graph.edge_weight(edge)?;
                (first.checked_add(self.hops(name, to)?)? == all).then_some(name.as_str())
            })
            .next()
    }
}

/// Orders `fw-2` before `fw-10`.
pub fn by_name(a: &str, b: &str) -> Ordering {
    fn split(name: &str) -> (&str, Option<u64>) {
        let stem = name.trim_end_matches(|c: char| c.is_ascii_digit());
        (stem, name[stem.len()..].parse().ok())
    }
    split(a).cmp(&split(b)).then_with(|| a.cmp(b))
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
    fn ten_comes_after_two() {
        let mut names = ["fw-10", "fw-2", "fw", "dpi-3"];
        names.sort_by(|a, b| by_name(a, b));
        assert_eq!(names, ["dpi-3", "fw", "fw-2", "fw-10"]);
    }
}
