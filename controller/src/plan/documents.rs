//! Numbers the documents: a node's generation grows only when its content changes, and paths
//! that wait are told which generations to wait for.

use super::draft::Draft;
use super::{PathRecord, Phase, Step};
use crate::render::documents as render;
use kc_agent_api::{NodeName, NodeSpec};
use std::collections::{BTreeMap, BTreeSet};

/// FNV-1a, 64 bits: stable over versions and platforms, which the hashers of std are not.
struct Fingerprint(u64);

impl std::io::Write for Fingerprint {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn digest(document: &NodeSpec) -> u64 {
    let mut fingerprint = Fingerprint(0xcbf2_9ce4_8422_2325);
    // Writing to memory cannot fail, and every map key is text.
    match serde_json::to_writer(&mut fingerprint, document) {
        Ok(()) => fingerprint.0,
        Err(_) => 0,
    }
}

/// Renders and numbers every node's document.
pub(super) fn number(draft: &mut Draft<'_>) -> BTreeMap<NodeName, NodeSpec> {
    let mut documents = render(&draft.state);
    for (name, document) in &mut documents {
        let digest = digest(document);
        let seen = draft
            .observed
            .nodes
            .get(name)
            .and_then(|node| node.state.as_ref());
        // What the node has already seen; ahead of us only if our own memory was lost.
        let seen = seen.map_or(0, |state| {
            state
                .report
                .spec_generation
                .max(state.report.forwarder_generation)
        });
        let Some(record) = draft.state.nodes.get_mut(name) else {
            continue;
        };
        let changed = record.generation == 0 || record.digest != digest;
        if changed || seen > record.generation {
            record.generation = record.generation.max(seen).saturating_add(1);
            record.digest = digest;
            draft.steps.push(Step::Publish {
                node: name.clone(),
                generation: record.generation,
                containers: document.containers.len(),
                paths: document.forwarder.paths.len(),
            });
        }
        document.generation = record.generation;
        document.forwarder.generation = record.generation;
    }
    let new = draft.state.instances.iter().filter_map(|(name, instance)| {
        let node = instance.node.as_ref().filter(|_| instance.since == 0)?;
        let generation = draft.state.nodes.get(node)?.generation;
        Some((name.clone(), generation))
    });
    for (name, generation) in new.collect::<Vec<_>>() {
        if let Some(instance) = draft.state.instances.get_mut(&name) {
            instance.since = generation;
        }
    }
    fill_waits(draft);
    documents
}

/// Whether a path has yet to be told which generations to wait for.
fn is_new(path: &PathRecord) -> bool {
    match &path.phase {
        Phase::Installing { waits } | Phase::Switching { waits } | Phase::Withdrawing { waits } => {
            waits.is_empty()
        }
        Phase::Active | Phase::Superseded | Phase::Draining { .. } => false,
    }
}

/// Tells paths whose phase is new which generations to wait for.
fn fill_waits(draft: &mut Draft<'_>) {
    let nodes = draft.state.nodes.clone();
    let at = |wanted: BTreeSet<&NodeName>| {
        let known = wanted.into_iter().filter_map(|node| {
            let record = nodes.get(node)?;
            Some((node.clone(), record.generation))
        });
        known.collect::<BTreeMap<_, _>>()
    };
    let chains = draft.state.chains.iter();
    let new = chains.filter(|(_, chain)| chain.paths.iter().any(is_new));
    let new: Vec<_> = new.map(|(name, _)| name.clone()).collect();
    for name in new {
        let Some(chain) = draft.state.chains.get_mut(&name) else {
            continue;
        };
        for path in chain.paths.iter_mut().filter(|path| is_new(path)) {
            let (hops, ends) = (at(path.nodes()), at(path.ends()));
            match &mut path.phase {
                Phase::Installing { waits } => *waits = hops,
                Phase::Switching { waits } | Phase::Withdrawing { waits } => *waits = ends,
                Phase::Active | Phase::Superseded | Phase::Draining { .. } => {}
            }
        }
    }
}
