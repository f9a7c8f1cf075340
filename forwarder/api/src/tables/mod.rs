//! The steering state of one forwarder: the structure an agent sends over the control socket,
//! and the TOML file that a person writes. A file for each concept.

mod function;
mod group;
mod metadata;
mod path;
mod port;
mod rule;
mod segment;
mod tunnel;
mod underlay;
mod whole;

pub use function::{Attachment, Function};
pub use group::{Group, Member, MemberTarget};
pub use metadata::{ContextHeader, ContextValue, ContextValueError, Metadata};
pub use path::{Direction, Hop, NextHop, Path};
pub use port::Port;
pub use rule::{Action, Rule};
pub use segment::{Segment, StaticEntry};
pub use tunnel::{Encapsulation, Neighbour, Transport, Tunnel};
pub use underlay::{Underlay, UnderlayBackend, VtepAddressError, VtepAddresses};
pub use whole::Tables;
