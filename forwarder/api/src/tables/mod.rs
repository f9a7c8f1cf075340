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
mod virtual_address;
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
pub use virtual_address::{VirtualAddress, VirtualMember};
pub use whole::Tables;

use serde::{Deserialize, Deserializer};

/// Reads a list into just the room it needs: most paths have one or two hops here, and a list
/// that grows begins with room for four.
fn exact<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let mut list = Vec::deserialize(deserializer)?;
    list.shrink_to_fit();
    Ok(list)
}
