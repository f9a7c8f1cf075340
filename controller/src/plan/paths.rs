//! Which paths lead through which instance, found once for all who ask.

use super::{ChainRecord, PathRecord, Phase, State};
use crate::resource::Name;
use crate::shared::Shared;
use foldhash::{HashMap, HashSet};
use kc_agent_api::NodeName;
use kc_forwarder_api::Vid;
use std::collections::BTreeSet;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Paths {
    ways: HashMap<String, Vec<Way>>,
    numbers: HashSet<u32>,
}

/// One path's way through an instance.
#[derive(Debug)]
struct Way {
    chain: Name,
    node: NodeName,
    vlan: Option<Vid>,
    /// New traffic is sent along it, or will be.
    current: bool,
}

impl Paths {
    pub(super) fn new(state: &State) -> Self {
        let mut paths = Self::default();
        let chains = state.chains.iter();
        let all = chains.flat_map(|(name, chain): (_, &Shared<ChainRecord>)| {
            chain.paths.iter().map(move |path| (name, path))
        });
        for (chain, path) in all {
            paths.add(chain, path);
        }
        paths
    }

    /// Takes one more up.
    pub(super) fn add(&mut self, chain: &Name, path: &PathRecord) {
        let current = matches!(
            path.phase,
            Phase::Installing { .. } | Phase::Switching { .. } | Phase::Active
        );
        self.numbers.insert(path.forward.get() / 2);
        for on_path in path.members() {
            let way = Way {
                chain: chain.clone(),
                node: on_path.node.clone(),
                vlan: on_path.vlan,
                current,
            };
            match self.ways.get_mut(&on_path.name) {
                Some(ways) => ways.push(way),
                None => drop(self.ways.insert(on_path.name.clone(), vec![way])),
            }
        }
    }

    fn through(&self, instance: &str) -> &[Way] {
        self.ways.get(instance).map_or(&[], Vec::as_slice)
    }

    /// Whether any leads through the instance on that node.
    pub(super) fn pass(&self, instance: &str, node: &NodeName) -> bool {
        self.through(instance).iter().any(|way| way.node == *node)
    }

    /// How many other chains send new traffic through the instance.
    pub(super) fn chains_through(&self, instance: &str, but: &Name) -> u32 {
        let ways = self.through(instance).iter();
        let others = ways.filter(|way| way.current && way.chain != *but);
        let chains: BTreeSet<&Name> = others.map(|way| &way.chain).collect();
        u32::try_from(chains.len()).unwrap_or(u32::MAX)
    }

    /// VLANs that chains have on the legs of the instance.
    pub(super) fn vlans(&self, instance: &str) -> BTreeSet<Vid> {
        let ways = self.through(instance).iter();
        ways.filter_map(|way| way.vlan).collect()
    }

    /// Whether a path has that number.
    pub(super) fn has_number(&self, number: u32) -> bool {
        self.numbers.contains(&number)
    }
}
