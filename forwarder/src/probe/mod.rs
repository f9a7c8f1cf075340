//! A host that is not there: a TCP/IP endpoint (smoltcp) that stands behind an access port while
//! a probe runs, and measures loss, latency and jitter of real traffic through a path.
//!
//! Pure: frames and the time in, frames and a report out. Who carries the frames is
//! [`crate::runtime`]'s business.

mod answer;
mod ask;
mod measure;
mod plan;
mod queues;
mod session;

pub use plan::{Plan, PlanError};
pub use queues::Queues;
pub use session::Session;

#[cfg(test)]
mod tests;
