//! What to do next, decided from the document, what is seen on the box, and what is under way.
//! Pure: no clock, no engine, no socket. One call yields at most one step per container; the
//! shell runs the steps, looks again and asks again, until nothing is left to do.
//!
//! Invariants: a container that matches its document is never touched; a container without
//! our label is never even seen; a replaced container goes only when its successor's image is
//! on the box, and comes back when that does not get healthy; a container that has left the document goes only when the tables that know
//! nothing of it are in force, or cannot be.

mod action;
mod backoff;
mod container;
mod hash;
mod images;
mod legs;
mod observed;
mod order;
mod plan;
mod rollout;
mod validate;
mod vitals;

#[cfg(test)]
pub(crate) mod model;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod rollout_tests;
#[cfg(test)]
mod tests;

pub use action::{Action, Lane};
pub use backoff::{Backoff, Backoffs};
pub(crate) use hash::fnv1a;
pub use hash::{container_hash, overrides_image, pause_hash};
pub use images::{Pulled, PulledImage};
pub(crate) use legs::LOOPBACK;
pub use legs::{LegState, is_wired, leg_state};
pub use observed::{Observed, Part, Phase, Seen, SeenLink};
pub(crate) use order::waits_for;
pub use plan::{HOST_LEG_ALIAS, Memory, Plan, TablesProgress, World, reconcile};
pub use rollout::{Judgement, Rollout, Rollouts};
pub use validate::{SpecError, validate};
pub use vitals::{Vital, Vitals};
