//! The agent's own update: a signed archive is verified, unpacked beside the version that runs, tried
//! out as a child, and taken only when it was healthy. At any moment a power cut leaves a box that
//! starts the last version which was.
//!
//! [`policy`], [`trial`], [`trust`], [`elf`] and [`expectation`] decide and are pure; [`archive`],
//! [`shelf`] and [`past`] are files; [`guard`], [`probation`] and [`launch`] are processes.

pub mod archive;
mod desk;
pub mod elf;
mod error;
pub mod expectation;
pub mod guard;
pub mod launch;
pub mod past;
pub mod policy;
pub mod probation;
pub mod shelf;
pub mod trial;
pub mod trust;

pub use desk::{Candidate, Desk};
pub use error::UpdateError;
pub use expectation::Expectation;
pub use shelf::Shelf;
