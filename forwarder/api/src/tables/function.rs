//! Service functions and how they are wired.

use crate::{Liveness, MacAddr, PortName, SfName, Vid};
use serde::{Deserialize, Serialize};

/// One local service function instance, or one of several ways into it: entries that differ in
/// their VLAN may share their ports. What is remembered of flows is kept by entry, so that a
/// function that rewrites them, entered by a way of its own for each path, never mixes paths up.
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
///
/// A VLAN is an 802.1Q tag put on in front of any tag that a frame has itself, and taken off
/// again when the frame comes back. A frame without VLAN shares its port with others' VLANs only
/// while it has no tag of its own.
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
        /// VLAN on both legs.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<Vid>,
    },
    /// Bump in the wire whose two legs are two VLANs of one port: it changes the tag of what it
    /// passes. NSH-unaware.
    VlanPair {
        /// Its only port.
        port: PortName,
        /// VLAN towards the start of a forward path.
        inside: Vid,
        /// VLAN towards the end of a forward path.
        outside: Vid,
    },
    /// A routed function: frames are addressed to its MAC and come back by the same leg. NSH-unaware.
    OneLeg {
        /// Its only leg.
        port: PortName,
        /// Its MAC address, written as destination.
        mac: MacAddr,
        /// VLAN on its leg.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<Vid>,
    },
    /// Understands NSH: Ethernet frames of type 0x894F go both ways; it decrements SI itself.
    NshAware {
        /// Its only leg.
        port: PortName,
        /// Its MAC address, written as destination.
        mac: MacAddr,
        /// VLAN on its leg.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vlan: Option<Vid>,
    },
}
