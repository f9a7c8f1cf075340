//! Boxes come and go: registration, and whether each is counted on.

use super::draft::Draft;
use super::{NodeRecord, PlanEventKind, Step};
use crate::observation::Presumption;
use crate::resource::{Kind, Name, ResourceId};
use crate::shared::Shared;
use kc_agent_api::{NodeName, NodeStatus, Presence};

/// Name of a node's resource, whether a user wrote one or not.
pub(super) fn id(node: &NodeName) -> ResourceId {
    ResourceId::new(Kind::Node, Name::from(node.clone()))
}

/// Takes up what nodes say of themselves.
pub(super) fn observe(draft: &mut Draft<'_>) {
    let observed = draft.observed;
    for (name, seen) in &observed.nodes {
        let status = seen.status.as_ref().map(|status| &status.report);
        let Some(status) = status.filter(|status| status.presence == Presence::Online) else {
            continue;
        };
        if !draft.state.nodes.contains_key(name) {
            register(draft, name, status);
        }
        let known = draft.state.nodes.get(name);
        if known.is_some_and(|record| !tells_of(record, status))
            && let Some(record) = draft.state.nodes.get_mut(name)
        {
            record.labels.clone_from(&status.labels);
            record.capacity = status.capacity;
            record.vtep = status.vtep.or(record.vtep);
            record.underlay_mtu = status.underlay_mtu;
        }
        key(draft, name, status);
    }
    let nodes = draft.state.nodes.clone();
    for (name, record) in &nodes {
        judge(draft, name, record);
    }
    draft.nodes_changed();
}

/// Whether a record says what the node says of itself.
fn tells_of(record: &NodeRecord, status: &NodeStatus) -> bool {
    record.labels == status.labels
        && record.capacity == status.capacity
        && (record.vtep == status.vtep || status.vtep.is_none())
        && record.underlay_mtu == status.underlay_mtu
}

/// The first key is believed; another one is told, and waited with.
fn key(draft: &mut Draft<'_>, name: &NodeName, status: &NodeStatus) {
    let (Some(told), Some(record)) = (status.seal_key, draft.state.nodes.get(name)) else {
        return;
    };
    let known = record.seal_key.unwrap_or(told);
    let strange = (told != known).then_some(told);
    let same = record.strange_key == strange;
    if same && record.seal_key.is_some() {
        return;
    }
    if let Some(record) = draft.state.nodes.get_mut(name) {
        record.seal_key = Some(known);
        record.strange_key = strange;
    }
    if same {
        return;
    }
    if strange.is_some() {
        let message = format!(
            "{name} tells another key than before: secrets are held back from it; if that is right, \
             for instance because it was installed anew, `kc trust {name}` takes the new key"
        );
        draft.tell(
            PlanEventKind::NodeKeyChanged,
            &id(name),
            Some(name),
            message,
        );
    }
}

fn register(draft: &mut Draft<'_>, name: &NodeName, status: &NodeStatus) {
    draft.state.last_node_index = draft.state.last_node_index.saturating_add(1);
    let record = NodeRecord {
        index: draft.state.last_node_index,
        ready: true,
        reason: None,
        gone_since_ms: None,
        ready_since_ms: Some(draft.now_ms),
        labels: status.labels.clone(),
        capacity: status.capacity,
        vtep: status.vtep,
        underlay_mtu: status.underlay_mtu,
        seal_key: status.seal_key,
        strange_key: None,
        generation: 0,
        digest: 0,
    };
    draft.state.nodes.insert(name.clone(), record.into());
    draft.steps.push(Step::Register { node: name.clone() });
    let message = format!("{name} joined ({}, agent {})", status.arch, status.version);
    draft.tell(PlanEventKind::NodeJoined, &id(name), Some(name), message);
}

fn judge(draft: &mut Draft<'_>, name: &NodeName, known: &Shared<NodeRecord>) {
    let now_ms = draft.now_ms;
    let settings = draft.state.settings;
    let presumption = draft.observed.presumption(name, &settings, now_ms);
    let since = [known.gone_since_ms, known.ready_since_ms];
    let dated = since.into_iter().flatten().all(|at_ms| at_ms <= now_ms);
    match presumption {
        Presumption::Present { until_ms }
            if known.ready && dated && known.reason.is_none() && known.gone_since_ms.is_none() =>
        {
            return draft.wake(until_ms);
        }
        Presumption::Undecided { until_ms } if dated => {
            if let Some(until_ms) = until_ms.filter(|_| known.ready) {
                draft.wake(until_ms);
            }
            return;
        }
        Presumption::Gone(_) if dated && !known.ready => return,
        _ => {}
    }
    let Some(record) = draft.state.nodes.get_mut(name) else {
        return;
    };
    // A clock that was set back must not put off for ever what waits for this.
    record.gone_since_ms = record.gone_since_ms.map(|since_ms| since_ms.min(now_ms));
    record.ready_since_ms = record.ready_since_ms.map(|since_ms| since_ms.min(now_ms));
    match presumption {
        Presumption::Present { until_ms } => {
            let back = !record.ready;
            if back {
                record.ready_since_ms = Some(now_ms);
            }
            record.ready = true;
            record.reason = None;
            record.gone_since_ms = None;
            draft.wake(until_ms);
            if back {
                let message = format!("{name} is back");
                draft.tell(PlanEventKind::NodeReady, &id(name), Some(name), message);
            }
        }
        Presumption::Undecided { until_ms } => {
            if let Some(until_ms) = until_ms.filter(|_| record.ready) {
                draft.wake(until_ms);
            }
        }
        Presumption::Gone(absence) => {
            if record.ready {
                record.ready = false;
                record.reason = Some(absence.as_str().to_owned());
                record.gone_since_ms = Some(now_ms);
                record.ready_since_ms = None;
                let message = format!("{name} {}", absence.as_str());
                draft.tell(PlanEventKind::NodeGone, &id(name), Some(name), message);
            }
        }
    }
}
