//! Interfaces that frames enter and leave by.

use crate::{Backend, PortName};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// An interface the forwarder owns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Port {
    /// Name used by rules, functions and counters.
    pub name: PortName,
    /// Kernel interface; the port's own name when absent. It may appear later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<PortName>,
    /// Which packet I/O to use.
    #[serde(default)]
    pub backend: Backend,
    /// Largest IP packet sent out of this port, in bytes; the interface's MTU when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u16>,
    /// The forwarder's own addresses on this port. It asks for neighbours with them, answers for
    /// them, and for nothing else.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<IpAddr>,
}
