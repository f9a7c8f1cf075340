//! What would change the choice of a chain's instances at present.

use super::draft::Draft;
use super::preference::{bars, second_choice};
use super::search::request;
use super::survey::topology;
use super::{ChainRecord, State};
use crate::observation::Observations;
use crate::resource::{Kind, Name, Resource, ResourceId};
use crate::scheduler::{WhatIf, what_if as ask};
use std::collections::BTreeMap;

/// Asks the scheduler of a chain; nothing when there is no such chain.
pub fn what_if(state: &State, observed: &Observations, now_ms: u64, name: &Name) -> Option<WhatIf> {
    let id = ResourceId::new(Kind::Chain, name.clone());
    let resource = state.resources.get(&id)?;
    let Resource::Chain(object) = resource else {
        return None;
    };
    let draft = Draft::new(state, observed, now_ms);
    let topology = topology(&draft, object.spec.scheduler.length);
    let none = ChainRecord::default();
    let chain = state.chains.get(name).map_or(&none, |chain| chain);
    let kept = BTreeMap::new();
    let without = bars(&draft, name, &object.spec);
    let asked = |without: &BTreeMap<String, String>| {
        let request = request(&draft, &topology, chain, &object.spec, &kept, without);
        ask(&request, &object.spec.scheduler)
    };
    // What is only second choice is taken where there is nothing else.
    let first = asked(&second_choice(&draft, &object.spec, &kept, &without));
    Some(match first.path.is_empty() {
        true => asked(&without),
        false => first,
    })
}
