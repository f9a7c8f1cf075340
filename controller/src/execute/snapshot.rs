//! What readers see: state, observations and documents of one moment.

use super::Clock;
use crate::observation::Observations;
use crate::plan::{Documents, State};
use std::collections::BTreeMap;

/// One moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Revision of the stored state.
    pub revision: u64,
    /// Id of the newest event.
    pub last_event: u64,
    /// What is wanted and decided.
    pub state: State,
    /// What is observed.
    pub observed: Observations,
    /// Every node's document.
    pub documents: Documents,
    /// Phase of every path by forward SPI, and since when this run has seen it.
    pub phases: BTreeMap<u32, (&'static str, u64)>,
    /// Planner's time.
    pub now_ms: u64,
    /// Turns planner's time into wall time.
    pub clock: Clock,
}
