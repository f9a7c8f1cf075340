//! Service functions and how they are wired.

use crate::{Liveness, MacAddr, PortName, SfName};
use serde::{Deserialize, Serialize};

/// One local service function instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Function {
    /// Instance name.
    pub name: SfName,
    /// How it is wired.
    pub attachment: Attachment,
    /// Whether and how it is asked if it lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub liveness: Option<Liveness>,
}

/// How a function is wired to its SFF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(
    deny_unknown_fields,
    rename_all = "kebab-case",
    rename_all_fields = "kebab-case"
)]
pub enum Attachment {
    /// Bump in the wire: what enters by one leg leaves by the other. NSH-unaware.
    TwoLeg {
        /// Leg towards the start of a forward path.
        inside: PortName,
        /// Leg towards the end of a forward path.
        outside: PortName,
    },
    /// A routed function: frames are addressed to its MAC and come back by the same leg. NSH-unaware.
    OneLeg {
        /// Its only leg.
        port: PortName,
        /// Its MAC address, written as destination.
        mac: MacAddr,
    },
    /// Understands NSH: Ethernet frames of type 0x894F go both ways; it decrements SI itself.
    NshAware {
        /// Its only leg.
        port: PortName,
        /// Its MAC address, written as destination.
        mac: MacAddr,
    },
}
