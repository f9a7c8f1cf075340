//! How far a drained box is: what leaves it, and what stays, and why.

use crate::plan::{Instance, State};
use crate::resource::Name;
use kc_agent_api::NodeName;
use serde::{Deserialize, Serialize};

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct EvacuationView {
    /// What is on its way: `instance/web-1`, `chain/web`.
    pub leaving: Vec<String>,
    /// What stays.
    pub stays: Vec<StayView>,
}

/// Something that stays on a drained box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StayView {
    /// `instance/web-1`, `chain/web`.
    pub object: String,
    /// Why.
    pub why: String,
}

/// What is on a box that a user wants empty; nothing for any other.
pub fn evacuation(state: &State, node: &NodeName) -> Option<EvacuationView> {
    if !state.is_drained(node) {
        return None;
    }
    let mut view = EvacuationView::default();
    for (name, instance) in &state.instances {
        if instance.node.as_ref() != Some(node) {
            continue;
        }
        let object = format!("instance/{name}");
        match stays(state, instance, node) {
            Some(why) => view.stays.push(StayView { object, why }),
            None => view.leaving.push(object),
        }
    }
    for (name, chain) in &state.chains {
        let Some(path) = chain.carrying() else {
            continue;
        };
        let object = format!("chain/{name}");
        let here: Vec<_> = path.members().filter(|on| on.node == *node).collect();
        let leaves = |on: &&crate::plan::PathInstance| {
            let instance = state.instances.get(&on.name);
            instance.is_none_or(|instance| stays(state, instance, node).is_none())
        };
        if here.iter().copied().any(|on| leaves(&on)) {
            view.leaving.push(object.clone());
        }
        if let Some(why) = passes(state, name, node) {
            view.stays.push(StayView { object, why });
        }
    }
    Some(view)
}

fn stays(state: &State, instance: &Instance, node: &NodeName) -> Option<String> {
    if instance.hardware.is_some() {
        return Some("it is hardware that is plugged in there".to_owned());
    }
    let ready = state.nodes.get(node).is_some_and(|record| record.ready);
    let waiting = instance.waiting.clone().filter(|_| !instance.retiring);
    waiting.or_else(|| {
        let message = "the box is away, so nobody can take it off";
        (!ready && instance.retiring).then(|| message.to_owned())
    })
}

/// Why a chain needs a box although none of its instances is there.
fn passes(state: &State, name: &Name, node: &NodeName) -> Option<String> {
    let path = state.chains.get(name)?.carrying()?;
    for (word, end) in [("begins", &path.spec.from), ("ends", &path.spec.to)] {
        if end.node == *node {
            return Some(format!("it {word} there, at {}", end.interface));
        }
    }
    let none = !path.instances.iter().any(|on| on.node == *node);
    let through = none && path.route.iter().flatten().any(|passed| passed == node);
    through.then(|| "the links between its boxes lead through it".to_owned())
}
