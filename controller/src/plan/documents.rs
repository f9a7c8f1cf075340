//! Numbers the documents: a node's generation grows only when its content changes, and paths
//! that wait are told which generations to wait for.

use super::draft::Draft;
use super::{Before, NodeRecord, PathRecord, Phase, Step};
use crate::render;
use crate::shared::{Shared, differences};
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

/// Documents by node; whoever has the same one has it for nothing.
pub type Documents = BTreeMap<NodeName, Shared<NodeSpec>>;

/// Nodes whose documents have to be rendered: those that something touched since `before`, and those
/// that have none yet. `None` for all.
fn stale(draft: &Draft<'_>, before: Before<'_>) -> Option<BTreeSet<NodeName>> {
    if before.documents.is_empty() {
        return None;
    }
    let mut stale = render::touched(before.state, &draft.state)?;
    // Whoever has forgotten what was published has to find it out anew.
    let same = |a: &Shared<NodeRecord>, b: &Shared<NodeRecord>| {
        a.is(b) || (a.generation, a.digest) == (b.generation, b.digest)
    };
    let forgotten = differences(&before.state.nodes, &draft.state.nodes, same);
    stale.extend(forgotten.into_iter().map(|(name, ..)| name.clone()));
    let nodes = draft.state.nodes.keys();
    stale.extend(
        nodes
            .filter(|name| !before.documents.contains_key(*name))
            .cloned(),
    );
    Some(stale)
}

/// Renders and numbers documents, and takes over from `before` what is as it was.
pub(super) fn number(draft: &mut Draft<'_>, before: Before<'_>) -> Documents {
    let stale = stale(draft, before);
    let mut rendered = render::documents(&draft.state, stale.as_ref());
    let mut documents = Documents::new();
    let nodes = draft.state.nodes.clone();
    for (name, record) in &nodes {
        let known = before.documents.get(name);
        let new = rendered.remove(name);
        let digest = new.as_ref().map_or(record.digest, digest);
        let seen = draft.observed.nodes.get(name);
        let seen = seen.and_then(|node| node.state.as_ref());
        // What the node has already seen; ahead of us only if our own memory was lost.
        let seen = seen.map_or(0, |state| {
            state
                .report
                .spec_generation
                .max(state.report.forwarder_generation)
        });
        let changed = record.generation == 0 || record.digest != digest;
        let generation = if changed || seen > record.generation {
            record.generation.max(seen).saturating_add(1)
        } else {
            record.generation
        };
        let same = known.filter(|known| !changed && known.generation == generation);
        let document = match (same, new, known) {
            (Some(same), ..) => same.clone(),
            (None, Some(new), _) => numbered(new.into(), generation),
            (None, None, Some(known)) => numbered(known.clone(), generation),
            (None, None, None) => continue,
        };
        if generation != record.generation
            && let Some(record) = draft.state.nodes.get_mut(name)
        {
            record.generation = generation;
            record.digest = digest;
            draft.steps.push(Step::Publish {
                node: name.clone(),
                generation,
                containers: document.containers.len(),
                paths: document.forwarder.paths.len(),
            });
        }
        documents.insert(name.clone(), document);
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

fn numbered(mut document: Shared<NodeSpec>, generation: u64) -> Shared<NodeSpec> {
    document.generation = generation;
    document.forwarder.generation = generation;
    document
}

/// Whether a path has yet to be told which generations to wait for.
fn is_new(path: &PathRecord) -> bool {
    match &path.phase {
        Phase::Installing { waits, .. }
        | Phase::Switching { waits }
        | Phase::Withdrawing { waits } => waits.is_empty(),
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
                Phase::Installing { waits, .. } => *waits = hops,
                Phase::Switching { waits } | Phase::Withdrawing { waits } => *waits = ends,
                Phase::Active | Phase::Superseded | Phase::Draining { .. } => {}
            }
        }
    }
}
