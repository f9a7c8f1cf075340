//! The box's interfaces: veth pairs between pause containers and the forwarder, made through
//! rtnetlink. Knows how, never whether: [`crate::reconcile`] decides.
//!
//! Whatever happens inside another network namespace happens on a thread of its own, which
//! ends with the work: a thread of the runtime never leaves the box's namespace.

mod error;
mod ethtool;
mod leg;
mod look;
mod monitor;
mod net;
mod underlay;

pub use error::WiringError;
pub use leg::{unwire_host, wire, wire_host};
pub use look::{host, inside, netns_of};
pub use monitor::{LinkMonitor, monitor};
pub(crate) use net::{enter, namespace};
pub use underlay::{Underlay, underlay};
