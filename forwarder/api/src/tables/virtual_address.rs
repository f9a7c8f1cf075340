//! Addresses of a segment behind which several of its stations serve the same.

use crate::MacAddr;
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// An address that this forwarder answers ARP for, and whose flows it spreads over members. What they
/// answer goes straight back, since each of them has the address too (direct server return): so it
/// must be one that they do not speak ARP for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VirtualAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// The MAC address it is told under, the same in all forwarders of the segment. Nobody has it.
    pub mac: MacAddr,
    /// Who serves it; nobody may be left.
    #[serde(default)]
    pub members: Vec<VirtualMember>,
}

/// A station that serves a virtual address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct VirtualMember {
    /// Its MAC address, one of the segment's `entries`.
    pub mac: MacAddr,
    /// It keeps the flows that it has and gets no new ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draining: bool,
}
