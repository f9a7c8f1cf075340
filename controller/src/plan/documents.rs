//! Numbers the documents: a node's generation grows only when its content changes, and paths
//! that wait are told which generations to wait for.

use super::draft::Draft;
use super::{Phase, Step};
use crate::render::documents as render;
use kc_agent_api::{NodeName, NodeSpec};
use std::collections::BTreeMap;

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
    for instance in draft.state.instances.values_mut().filter(|i| i.since == 0) {
        let record = instance
            .node
            .as_ref()
            .and_then(|node| draft.state.nodes.get(node));
        instance.since = record.map_or(0, |record| record.generation);
    }
    fill_waits(draft);
    documents
}

/// Tells paths whose phase is new which generations to wait for.
fn fill_waits(draft: &mut Draft<'_>) {
    let generations: BTreeMap<NodeName, u64> = draft
        .state
        .nodes
        .iter()
        .map(|(name, node)| (name.clone(), node.generation))
        .collect();
    let at = |nodes: std::collections::BTreeSet<&NodeName>| {
        let known = nodes.into_iter().filter_map(|node| {
            generations
                .get(node)
                .map(|generation| (node.clone(), *generation))
        });
        known.collect::<BTreeMap<_, _>>()
    };
    for path in draft
        .state
        .chains
        .values_mut()
        .flat_map(|chain| &mut chain.paths)
    {
        let (hops, ends) = (at(path.nodes()), at(path.ends()));
        match &mut path.phase {
            Phase::Installing { waits } if waits.is_empty() => *waits = hops,
            Phase::Switching { waits } | Phase::Withdrawing { waits } if waits.is_empty() => {
                *waits = ends;
            }
            _ => {}
        }
    }
}
