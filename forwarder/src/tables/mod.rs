//! The tables of `kc-forwarder-api` made ready for packets: names become numbers, every
//! reference is checked, (SPI, SI) and classifier rules become hash tables. Everything here is
//! immutable once built and shared by reference; what changes with packets lives elsewhere.

mod build;
mod check;
mod compiled;
mod error;
mod groups;
mod heritage;
mod hops;
mod lan;
mod legs;
mod names;
mod relations;
mod rules;
pub(crate) mod steering;
mod virtuals;

pub(crate) use compiled::{
    Binding, Circuit, CompiledFunction, CompiledRule, CompiledSegment, CompiledTunnel, LanHop, Leg,
    Location, Role, Station, Tagging, Verdict, Wiring,
};
pub use compiled::{Compiled, PortIndex};
pub use error::{Conflict, Entry, Kind, PortRole, Suggestion, TableError};
pub(crate) use heritage::Heritage;
pub(crate) use names::nearest;
pub(crate) use steering::Target;
pub(crate) use virtuals::{CompiledVirtual, VirtualPlace, Virtuals};
