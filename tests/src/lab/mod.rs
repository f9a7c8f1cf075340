//! Network namespaces and forwarders for tests: each namespace is held by a process of its own and
//! goes when that goes, whatever becomes of the test. Works as root, and without where user
//! namespaces are allowed.
//!
//! Made for tests, so what goes wrong here is a panic.

mod forwarder;
mod namespace;
mod process;
mod tcp;

pub use forwarder::{Forwarder, raw_exchange, unexpected_drops};
pub use namespace::{Lab, Namespace};
pub use process::Process;
pub use tcp::Tcp;

use std::time::Duration;

/// The longest any single step of a test may take.
pub const PATIENCE: Duration = Duration::from_secs(15);
