//! The links between SFFs, and distances over them. A mesh is two hubs a class: those whose links
//! are not spelled out enter the first, which leads to everybody; those whose links are, enter the
//! second, which leads to the former. Entering costs one hop, leaving nothing.

use super::{Mesh, UNREACHED};
use petgraph::graph::{DiGraph, NodeIndex};
use petgraph::visit::EdgeRef;
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};

/// SFFs by number, then hubs.
#[derive(Debug, Clone)]
pub(super) struct Network {
    graph: DiGraph<(), u32>,
    sffs: usize,
    /// Hops of the longest link.
    longest: usize,
    /// By SFF, found when asked for.
    rows: Vec<OnceCell<Box<[u32]>>>,
    meshes: Vec<Option<Mesh>>,
    /// Length of the mesh's links.
    meshed: u32,
    /// Whether there are no other links.
    only_meshed: bool,
}

/// Distances from one SFF to every other, by their numbers.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Row<'a> {
    /// As they were found.
    Found(&'a [u32]),
    /// One link to everybody of the same class, where nobody has a link that is spelled out.
    Meshed {
        /// The SFF.
        from: usize,
        /// Everybody.
        meshes: &'a [Option<Mesh>],
        /// How long that link is.
        length: u32,
    },
}

impl Row<'_> {
    /// The distance of one; `None` where there is no way.
    pub(crate) fn get(&self, to: usize) -> Option<u32> {
        match *self {
            Self::Found(distances) => {
                let distance = distances.get(to).copied();
                distance.filter(|distance| *distance != UNREACHED)
            }
            Self::Meshed { from, .. } if from == to => Some(0),
            Self::Meshed {
                from,
                meshes,
                length,
            } => {
                let class = |sff: usize| meshes.get(sff).copied().flatten().map(|mesh| mesh.class);
                (class(from)? == class(to)?).then_some(length)
            }
        }
    }
}

impl Network {
    /// A network of as many SFFs as there are `meshes`.
    pub(super) fn new(
        meshes: &[Option<Mesh>],
        meshed: u32,
        links: impl IntoIterator<Item = (usize, usize, u32)>,
    ) -> Self {
        let links: BTreeMap<_, _> = links
            .into_iter()
            .filter(|(a, b, _)| a != b)
            .map(|(a, b, hops)| ((a.min(b), a.max(b)), hops))
            .collect();
        let free = |mesh: &Option<Mesh>| mesh.is_none_or(|mesh| !mesh.spoken);
        let only_meshed = links.is_empty() && meshes.iter().all(free);
        let mut graph = DiGraph::with_capacity(meshes.len(), links.len() * 2);
        for _ in meshes {
            graph.add_node(());
        }
        for ((a, b), hops) in links {
            graph.add_edge(NodeIndex::new(a), NodeIndex::new(b), hops);
            graph.add_edge(NodeIndex::new(b), NodeIndex::new(a), hops);
        }
        let mut hubs: BTreeMap<u8, [NodeIndex; 2]> = BTreeMap::new();
        for (number, mesh) in meshes.iter().enumerate() {
            let Some(mesh) = mesh else { continue };
            let [to_all, to_free] = *hubs
                .entry(mesh.class)
                .or_insert_with(|| [graph.add_node(()), graph.add_node(())]);
            let sff = NodeIndex::new(number);
            graph.add_edge(to_all, sff, 0);
            if mesh.spoken {
                graph.add_edge(sff, to_free, meshed);
            } else {
                graph.add_edge(sff, to_all, meshed);
                graph.add_edge(to_free, sff, 0);
            }
        }
        let longest = graph.edge_weights().copied().max().unwrap_or(1);
        Self {
            longest: usize::try_from(longest).unwrap_or(usize::MAX - 1),
            graph,
            sffs: meshes.len(),
            rows: vec![OnceCell::new(); meshes.len()],
            meshes: meshes.to_vec(),
            meshed,
            only_meshed,
        }
    }

    /// Hops of the link between two SFFs, if they have one.
    pub(super) fn link(&self, a: usize, b: usize) -> Option<u32> {
        let edge = self.graph.find_edge(NodeIndex::new(a), NodeIndex::new(b));
        let spelled = edge.and_then(|edge| self.graph.edge_weight(edge)).copied();
        let mesh = |sff: usize| self.meshes.get(sff).copied().flatten();
        let meshed = mesh(a).zip(mesh(b));
        let meshed = meshed.filter(|(a, b)| a.class == b.class && !(a.spoken && b.spoken));
        spelled.into_iter().chain(meshed.map(|_| self.meshed)).min()
    }

    /// Hops from one SFF to every other.
    pub(super) fn row(&self, sff: usize) -> Row<'_> {
        if self.only_meshed {
            return Row::Meshed {
                from: sff,
                meshes: &self.meshes,
                length: self.meshed,
            };
        }
        let row = self.rows.get(sff);
        Row::Found(row.map_or(&[], |row| row.get_or_init(|| self.measure(sff))))
    }

    /// Dial's algorithm: hops are small numbers, so a ring with a bucket for each distance that
    /// can be waiting is the queue.
    fn measure(&self, sff: usize) -> Box<[u32]> {
        let mut hops = vec![UNREACHED; self.graph.node_count()];
        let mut ring: Vec<Vec<NodeIndex>> = vec![Vec::new(); self.longest + 1];
        let slot = |hops: u32| usize::try_from(hops).unwrap_or(usize::MAX) % (self.longest + 1);
        let mut queued = 0_usize;
        let reach = |hops: &mut [u32], ring: &mut [Vec<NodeIndex>], at: NodeIndex, now: u32| {
            let known = hops.get_mut(at.index()).filter(|known| now < **known);
            if let (Some(known), Some(bucket)) = (known, ring.get_mut(slot(now))) {
                *known = now;
                bucket.push(at);
                return 1;
            }
            0
        };
        queued += reach(&mut hops, &mut ring, NodeIndex::new(sff), 0);
        let mut now = 0;
        while queued > 0 {
            let Some(at) = ring.get_mut(slot(now)).and_then(Vec::pop) else {
                now += 1;
                continue;
            };
            queued -= 1;
            // One that was reached more cheaply since has been looked at.
            if hops.get(at.index()) == Some(&now) {
                for edge in self.graph.edges(at) {
                    let there = now.saturating_add(*edge.weight());
                    queued += reach(&mut hops, &mut ring, edge.target(), there);
                }
            }
        }
        hops.truncate(self.sffs);
        hops.into_boxed_slice()
    }

    /// From what it costs to end at each SFF (`u64::MAX`: one cannot) to what it costs to start
    /// at each and go on to the cheapest end. Hops count in the upper half of a cost.
    pub(super) fn spread(&self, costs: &mut [u64]) {
        let mut known = costs.to_vec();
        known.resize(self.graph.node_count(), u64::MAX);
        let starts = known.iter().enumerate();
        let mut queue: BinaryHeap<_> = starts
            .filter(|(_, cost)| **cost != u64::MAX)
            .map(|(sff, cost)| Reverse((*cost, NodeIndex::<u32>::new(sff))))
            .collect();
        while let Some(Reverse((cost, at))) = queue.pop() {
            if known.get(at.index()) != Some(&cost) {
                continue;
            }
            for edge in self.graph.edges_directed(at, petgraph::Incoming) {
                let from = edge.source();
                let more = cost.saturating_add(u64::from(*edge.weight()) << 32);
                if let Some(place) = known.get_mut(from.index()).filter(|place| more < **place) {
                    *place = more;
                    queue.push(Reverse((more, from)));
                }
            }
        }
        for (cost, found) in costs.iter_mut().zip(known) {
            *cost = found;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// The same as trying every link again and again (Bellman and Ford).
        #[test]
        fn distances_are_those_of_the_plainest_algorithm(
            meshes in prop::collection::vec(prop::option::of((0..2_u8, any::<bool>())), 1..12),
            meshed in 1..12_u32,
            links in prop::collection::vec((0..12_usize, 0..12_usize, 1..9_u32), 0..20),
        ) {
            let meshes: Vec<_> = meshes
                .into_iter()
                .map(|mesh| mesh.map(|(class, spoken)| Mesh { class, spoken }))
                .collect();
            let count = meshes.len();
            let links = links.into_iter().filter(|(a, b, _)| *a < count && *b < count);
            let network = Network::new(&meshes, meshed, links);
            for from in 0..count {
                let mut plain = vec![UNREACHED; count];
                plain[from] = 0;
                for _ in 0..count {
                    for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))) {
                        if let Some(hops) = network.link(a, b).filter(|_| a != b) {
                            plain[b] = plain[b].min(plain[a].saturating_add(hops));
                        }
                    }
                }
                let row = network.row(from);
                for (to, plain) in plain.iter().enumerate() {
                    prop_assert_eq!(row.get(to), Some(*plain).filter(|hops| *hops != UNREACHED));
                }
                prop_assert_eq!(row.get(count), None);
                let mut costs = vec![u64::MAX; count];
                costs[from] = 7;
                network.spread(&mut costs);
                let spread: Vec<_> = plain
                    .iter()
                    .map(|&hops| if hops == UNREACHED { u64::MAX } else { (u64::from(hops) << 32) + 7 })
                    .collect();
                prop_assert_eq!(costs, spread);
            }
        }
    }
}
