//! How paths belong together: which one answers take, and which are alternatives of each other.

use super::compiled::PathFacts;
use super::groups::sum_of_indices;
use super::steering::key;
use kc_forwarder_api::{Hop, NextHop, Path, Spi, Tables};
use rustc_hash::FxHashMap;

/// What each path says of itself, by SPI.
pub(super) fn facts(tables: &Tables) -> FxHashMap<u32, PathFacts> {
    let mut numbers: FxHashMap<&str, u32> = FxHashMap::default();
    let mut facts = FxHashMap::default();
    let paths: FxHashMap<Spi, &Path> = tables.paths.iter().map(|path| (path.spi, path)).collect();
    for path in &tables.paths {
        let affinity = path.affinity.as_deref().map(|name| {
            let next = u32::try_from(numbers.len()).unwrap_or(u32::MAX);
            *numbers.entry(name).or_insert(next)
        });
        let back = path.reverse.and_then(|spi| paths.get(&spi));
        let back = back.filter(|back| returns_twice(back));
        let fact = PathFacts {
            mtu: path.mtu.unwrap_or(u16::MAX),
            reverse: path.reverse.map(Spi::get),
            sum: back.and_then(|back| sum_of_indices(tables, path, back)),
            affinity,
        };
        facts.insert(path.spi.get(), fact);
    }
    facts
}

/// Whether several hops of a path may lead to the same place beyond this SFF.
fn returns_twice(path: &Path) -> bool {
    let onward = |hop: &&Hop| !matches!(hop.to, NextHop::Egress { .. } | NextHop::Segment { .. });
    path.hops.iter().filter(onward).nth(1).is_some()
}

/// For every hop, in table order: the service path header that answers start with, where a path
/// with a reverse ends at a port of ours.
pub(super) fn answers(tables: &Tables) -> Vec<Option<u32>> {
    let mut starts: FxHashMap<Spi, u32> = FxHashMap::default();
    for path in &tables.paths {
        if let Some(first) = path.hops.iter().map(|hop| hop.si).max() {
            starts.insert(path.spi, key(path.spi, first));
        }
    }
    let hops = tables.paths.iter().flat_map(|path| {
        let start = path
            .reverse
            .and_then(|reverse| starts.get(&reverse).copied());
        path.hops
            .iter()
            .map(move |hop| start.filter(|_| matches!(hop.to, NextHop::Egress { .. })))
    });
    hops.collect()
}
