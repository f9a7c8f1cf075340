//! The run loop: one task owns state and observations. Everything that changes either comes in
//! through its channel; it plans, stores, and only then publishes. Others read snapshots.
//!
//! No policy lives here: what to do is [`crate::plan`]'s to say, when to look again too.

mod alarms;
mod clock;
mod documents;
mod events;
mod handle;
mod input;
mod mutate;
mod order;
mod owner;
mod snapshot;
#[cfg(test)]
mod stack_tests;

pub use clock::Clock;
pub(crate) use events::{object, word};
pub use handle::{Engine, Handle, StartError};
pub use input::{Mutation, MutationError, Outcome, Shown};
pub use snapshot::Snapshot;
