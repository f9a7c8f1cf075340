//! What a forwarder counts. Every frame is counted exactly once at its end: sent, delivered or
//! dropped under one [`DropReason`].

use crate::{Encapsulation, Neighbour, PortName, Si, Spi, Vid, Vni};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a frame was not forwarded. A drop is a counter, never an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum DropReason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl DropReason {
            /// Every reason, in declaration order: `ALL[reason as usize] == reason`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The reason's stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }
        }
    };
}

drop_reasons! {
    /// Shorter than its own headers say.
    Truncated = "truncated",
    /// NSH version other than 0.
    NshVersion = "nsh-version",
    /// NSH length that does not fit its MD type or the frame.
    NshLength = "nsh-length",
    /// NSH MD type 0 or one nobody assigned.
    NshMdType = "nsh-md-type",
    /// NSH next protocol that this hop cannot deliver.
    NshNextProtocol = "nsh-next-protocol",
    /// NSH O bit where no OAM is spoken.
    NshOam = "nsh-oam",
    /// NSH TTL reached zero.
    TtlExpired = "ttl-expired",
    /// Service index could not be decremented.
    SiExhausted = "si-exhausted",
    /// No next hop for (SPI, SI).
    NoPath = "no-path",
    /// No classifier rule and no segment wanted the frame.
    NoMatch = "no-match",
    /// A rule said so.
    RuleDrop = "rule-drop",
    /// VXLAN header without a valid VNI, or GPE flags that are illegal.
    VxlanHeader = "vxlan-header",
    /// VXLAN-GPE payload that is not NSH.
    GpeNextProtocol = "gpe-next-protocol",
    /// A VNI that is not ours.
    UnknownVni = "unknown-vni",
    /// A frame from a VTEP that is no peer of the segment.
    UnknownVtep = "unknown-vtep",
    /// A frame from a function that belongs to no path.
    NoReturn = "no-return",
    /// Something other than NSH from an NSH-aware function.
    NotNsh = "not-nsh",
    /// Longer than the next link takes; the sender was told where that is possible.
    MtuExceeded = "mtu-exceeded",
    /// A GSO super-frame of a kind that cannot be segmented.
    GsoRefused = "gso-refused",
    /// Would have to go back to the segment member, or from tunnel to tunnel, that it came from.
    HairPin = "hair-pin",
    /// Egress port has no interface at present.
    PortDown = "port-down",
    /// The kernel took no more frames.
    TxFull = "tx-full",
    /// The kernel refused the frame.
    TxError = "tx-error",
    /// A buffer was not to be had.
    NoBuffer = "no-buffer",
    /// A segment without another member to send to.
    NoMember = "no-member",
    /// A VLAN tag inside a VXLAN frame (RFC 7348 section 6.1).
    InnerVlan = "inner-vlan",
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A snapshot of all counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct Counters {
    /// Generation of the tables in force.
    pub generation: u64,
    /// Per port.
    pub ports: Vec<PortCounters>,
    /// Per (SPI, SI) looked up on this SFF.
    pub paths: Vec<PathCounters>,
    /// Per remote VTEP and VNI, or per next hop on a LAN.
    pub tunnels: Vec<TunnelCounters>,
    /// Dropped frames by reason; reasons that never happened are absent.
    pub drops: BTreeMap<DropReason, u64>,
}

/// Frames through one port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PortCounters {
    /// Port.
    pub name: PortName,
    /// Frames received.
    pub rx_packets: u64,
    /// Octets received.
    pub rx_bytes: u64,
    /// Frames sent.
    pub tx_packets: u64,
    /// Octets sent.
    pub tx_bytes: u64,
}

/// Packets of one service path at one index.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct PathCounters {
    /// Service path.
    pub spi: Spi,
    /// Service index.
    pub si: Si,
    /// Packets looked up.
    pub packets: u64,
    /// Inner octets.
    pub bytes: u64,
}

/// Packets through one tunnel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TunnelCounters {
    /// Remote VTEP, or the next hop on a LAN.
    pub remote: Neighbour,
    /// VNI, where UDP carries the packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vni: Option<Vni>,
    /// How packets are wrapped.
    pub encapsulation: Encapsulation,
    /// The port on the LAN, where Ethernet carries the packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortName>,
    /// The LAN's 802.1Q tag, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vid>,
    /// Packets received.
    pub rx_packets: u64,
    /// Octets received, VXLAN header included.
    pub rx_bytes: u64,
    /// Packets sent.
    pub tx_packets: u64,
    /// Octets sent, VXLAN header included.
    pub tx_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_name_and_place() {
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
            let json = serde_json::to_string(reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
        }
    }
}
