//! The planner: desired resources and observations in, node documents and the story of what
//! changes out. Pure and total; the same input gives the same plan, byte for byte.
//!
//! The caller stores [`Plan::state`] before it publishes [`Plan::documents`]: a controller that
//! dies in between renders the same documents with the same generations again.

mod addresses;
mod alarms;
mod allot;
mod chains;
mod choose;
mod cluster;
mod documents;
mod draft;
mod drain;
mod evacuate;
mod event;
mod instances;
mod nodes;
mod paths;
mod physical;
mod places;
mod preference;
mod rebalance;
mod record;
mod relief;
mod rollout;
mod rooms;
mod scale;
mod search;
mod secrets;
mod serving;
mod spare;
mod stacks;
mod state;
mod step;
mod survey;
#[cfg(test)]
mod tests;
mod trial;
mod vault;
mod virtuals;
mod what_if;

pub use alarms::{AlarmRecord, Subject};
pub(crate) use chains::unanswered;
pub use documents::Documents;
pub use evacuate::Substitute;
pub use event::{PlanEvent, PlanEventKind};
pub use instances::MAX_REPLICAS;
pub use physical::Hardware;
pub(crate) use physical::{ailment, load as hardware_load, maintenance};
pub use preference::Back;
pub use record::{
    ChainRecord, ChainStatus, Instance, InstanceHealth, NodeRecord, PathInstance, PathRecord, Phase,
};
pub use rollout::RolloutRecord;
pub use scale::ScaleRecord;
pub use secrets::SecretInFile;
pub use state::{Applied, Change, DeleteError, Settings, State};
pub use step::Step;
pub(crate) use survey::can_tunnel;
pub use vault::Vault;
pub use virtuals::VirtualAddresses;
pub use what_if::what_if;

use crate::observation::Observations;

/// What is to be done, and what is so afterwards.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    /// To be stored before anything is published.
    pub state: State,
    /// The whole document of every node, also of those that do not change.
    pub documents: Documents,
    /// What changes, for people; empty when nothing does.
    pub steps: Vec<Step>,
    /// What happened, each told once.
    pub events: Vec<PlanEvent>,
    /// When to plan again although nothing new was observed.
    pub wake_at_ms: Option<u64>,
}

/// A former plan: its documents, and the state that they are made of.
#[derive(Debug, Clone, Copy)]
pub struct Before<'a> {
    /// What the documents are made of.
    pub state: &'a State,
    /// The documents; none where nothing was planned yet.
    pub documents: &'a Documents,
}

/// Plans.
pub fn plan(state: &State, observed: &Observations, now_ms: u64) -> Plan {
    let documents = Documents::new();
    let before = Before {
        state,
        documents: &documents,
    };
    plan_after(before, state, observed, now_ms)
}

/// Plans, and comes to the very same without making anew those documents of a former plan that cannot
/// have changed.
pub fn plan_after(before: Before<'_>, state: &State, observed: &Observations, now_ms: u64) -> Plan {
    let mut draft = draft::Draft::new(state, observed, now_ms);
    nodes::observe(&mut draft);
    instances::observe(&mut draft);
    alarms::evaluate(&mut draft);
    secrets::settle(&mut draft);
    scale::decide(&mut draft);
    evacuate::judge(&mut draft);
    instances::reconcile(&mut draft);
    drain::give_up(&mut draft);
    // In this order nothing that is decided later changes what was decided before, so that
    // planning the same again does nothing.
    chains::progress(&mut draft);
    rollout::advance(&mut draft);
    instances::sweep(&mut draft);
    virtuals::settle(&mut draft);
    places::settle(&mut draft);
    evacuate::forget(&mut draft);
    chains::begin(&mut draft);
    physical::watch_windows(&mut draft);
    let documents = documents::number(&mut draft, before);
    Plan {
        state: draft.state,
        documents,
        steps: draft.steps,
        events: draft.events,
        wake_at_ms: draft.wake_at_ms,
    }
}
