//! Load of the box, of its containers and of the paths through it.
//!
//! [`machine`] and [`cgroup`] read text and are pure, so is [`report()`], which makes a report out
//! of two samples. [`Sampler`] is the shell around them: files kept open, buffers used again, and
//! nothing but numbers handed on. What a box does not have is zero or absent, never an error.

pub mod cgroup;
pub mod machine;
mod report;
mod sampler;

pub(crate) use machine::{firmware_flags, uptime_s};
pub use report::{ContainerSample, MachineSample, Sample, report, tunnels};
pub use sampler::{Sampler, Watched};
pub(crate) use sampler::{disk, get_throttled, percent};
