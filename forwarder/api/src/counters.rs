//! What a forwarder counts. Every frame is counted exactly once at its end: sent, delivered or
//! dropped under one [`DropReason`].

use crate::{Encapsulation, MacAddr, Neighbour, PortName, Si, Spi, TunnelName, Vid, Vni, Word};
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

macro_rules! drop_reasons {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Why a frame was not forwarded. A drop is a counter, never an error.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum DropReason {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
            /// A reason that only a newer version knows. Nothing is dropped under it here.
            #[serde(rename = "other", other)]
            Other,
        }

        impl DropReason {
            /// Every reason, in declaration order: `ALL[reason as usize] == reason`.
            pub const ALL: &'static [Self] = &[$(Self::$name,)* Self::Other];

            /// The reason's stable name.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* Self::Other => "other" }
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
    /// SFC Active OAM without the O bit: an erroneous combination (RFC 9516 section 4).
    NshOamBit = "nsh-oam-bit",
    /// NSH in a frame from or for somebody outside the domain: by an access port, or on a LAN for
    /// another station.
    NshOutside = "nsh-outside",
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
    /// A frame from a VTEP that is no peer of the segment, or NSH from one that no tunnel leads to.
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
    /// An OAM request beyond the rate at which answers are given.
    OamLimit = "oam-limit",
    /// A VLAN tag inside a VXLAN frame (RFC 7348 section 6.1).
    InnerVlan = "inner-vlan",
    /// A fragment whose datagram's first fragment did not come in time, or for which there was no room to wait.
    FragmentOrphan = "fragment-orphan",
    /// Congestion was met on the way by a packet that does not understand the mark (RFC 6040 section 4.2).
    EcnNotCapable = "ecn-not-capable",
    /// Broadcast, unknown or multicast beyond the segment's rate.
    BumLimited = "bum-limited",
    /// A group address that no bridge forwards (IEEE 802.1Q, 01:80:c2:00:00:00 to 0f).
    ReservedGroup = "reserved-group",
    /// The next hop on a LAN did not tell its MAC address, or not in time for this frame.
    NoNeighbour = "no-neighbour",
    /// No member of the group or of the virtual address is alive.
    GroupDown = "group-down",
    /// At a port that functions share by VLAN: a tag that belongs to none of them, or a frame
    /// with a tag of its own for the one that has no VLAN.
    LegVlan = "leg-vlan",
    /// To the MAC address of a virtual address, and not for that address or not to be spread here; or
    /// somebody claims a virtual address to be his.
    VirtualAddress = "virtual-address",
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
    /// Per classifier rule, in table order.
    pub rules: Vec<RuleCounters>,
    /// Per virtual address of every segment.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub virtuals: Vec<VirtualCounters>,
    /// Round trips of the last answered probes, of tunnels whose other end answers.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub round_trips: Vec<RoundTrip>,
    /// The sockets that tunnels end in.
    pub underlay: UnderlayCounters,
    /// Dropped frames by reason; reasons that never happened are absent.
    #[serde(deserialize_with = "drops_by_reason")]
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
    /// Frames that the kernel dropped because nobody took them in time. They are in no other
    /// counter.
    #[serde(default)]
    pub rx_dropped: u64,
}

/// Frames that one classifier rule matched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RuleCounters {
    /// Rule.
    pub name: String,
    /// Frames.
    pub packets: u64,
    /// Their octets.
    pub bytes: u64,
}

/// How long the other end of a tunnel took to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct RoundTrip {
    /// Tunnel.
    pub tunnel: TunnelName,
    /// Microseconds.
    pub rtt_us: u32,
}

/// What this forwarder remembers of a virtual address.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VirtualCounters {
    /// The segment.
    pub vni: Vni,
    /// The address.
    pub address: Ipv4Addr,
    /// Its members, in table order.
    pub members: Vec<VirtualMemberCounters>,
}

/// What this forwarder remembers of one member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct VirtualMemberCounters {
    /// The member.
    pub mac: MacAddr,
    /// Whether it gets no new flows.
    #[serde(default)]
    pub draining: bool,
    /// Flows that are with it: those that were neither closed nor silent for long.
    pub flows: u64,
}

/// The sockets that tunnels end in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub struct UnderlayCounters {
    /// Datagrams that the kernel dropped because nobody took them in time. They are in no other
    /// counter.
    pub rx_dropped: u64,
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
    pub encapsulation: Word<Encapsulation>,
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

/// Reads drops by reason. Those that this version does not know are added up as
/// [`DropReason::Other`].
///
/// # Errors
/// It is no map of numbers.
pub fn drops_by_reason<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<BTreeMap<DropReason, u64>, D::Error> {
    struct Sum;
    impl<'de> Visitor<'de> for Sum {
        type Value = BTreeMap<DropReason, u64>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("frames by drop reason")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            let mut drops = BTreeMap::new();
            while let Some((reason, count)) = map.next_entry::<DropReason, u64>()? {
                let sum: &mut u64 = drops.entry(reason).or_default();
                *sum = sum.saturating_add(count);
            }
            Ok(drops)
        }
    }
    deserializer.deserialize_map(Sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_of_a_newer_version_are_added_up() {
        let text = r#"{"drops":{"no-path":1,"worm-hole":2,"glitch":3},"wormholes":[]}"#;
        let counters: Counters = serde_json::from_str(text).unwrap();
        let drops = [(DropReason::NoPath, 1), (DropReason::Other, 5)];
        assert_eq!(counters.drops, drops.into());
    }

    #[test]
    fn every_reason_has_its_own_name_and_place() {
        for (place, reason) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*reason as usize, place);
            let json = serde_json::to_string(reason).unwrap();
            assert_eq!(json, format!("\"{reason}\""));
        }
    }
}
