//! What contestants are given to do.

use kc_tests::bench::frames::{Wrap, site as address};
use std::fmt;

/// A kind of forwarding: what comes in by in0 and how it leaves by out0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Work {
    /// Frame to frame, by a rule of the port.
    PortHop,
    /// Frame into NSH in VXLAN-GPE, by a rule of the port.
    GpeEncap,
    /// Frame into NSH in Ethernet, by a rule of the port.
    EthEncap,
    /// NSH from one VXLAN-GPE tunnel into another: what an SFF does most.
    GpeHop,
    /// NSH from one LAN to another.
    EthHop,
    /// NSH in VXLAN-GPE ends, its frame leaves.
    GpeDecap,
    /// NSH in Ethernet ends, its frame leaves.
    EthDecap,
    /// Frame into VXLAN, by MAC address.
    VxlanEncap,
    /// VXLAN to frame, by MAC address.
    VxlanDecap,
    /// VXLAN to VXLAN, by MAC address. Not what RFC 7348 has a VTEP do; peers can.
    VxlanHop,
    /// As `GpeHop`, through a function that knows no NSH, by its two legs.
    ProxyHop,
}

impl Work {
    /// All of them, the most telling first.
    pub(crate) const ALL: [Self; 11] = [
        Self::GpeHop,
        Self::EthHop,
        Self::PortHop,
        Self::GpeEncap,
        Self::EthEncap,
        Self::GpeDecap,
        Self::EthDecap,
        Self::VxlanEncap,
        Self::VxlanDecap,
        Self::VxlanHop,
        Self::ProxyHop,
    ];

    /// As the command line calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PortHop => "port-hop",
            Self::GpeEncap => "gpe-encap",
            Self::EthEncap => "eth-encap",
            Self::GpeHop => "gpe-hop",
            Self::EthHop => "eth-hop",
            Self::GpeDecap => "gpe-decap",
            Self::EthDecap => "eth-decap",
            Self::VxlanEncap => "vxlan-encap",
            Self::VxlanDecap => "vxlan-decap",
            Self::VxlanHop => "vxlan-hop",
            Self::ProxyHop => "proxy-hop",
        }
    }

    /// For people.
    pub(crate) const fn title(self) -> &'static str {
        match self {
            Self::PortHop => "frame to frame, by a rule",
            Self::GpeEncap => "frame into VXLAN-GPE + NSH",
            Self::EthEncap => "frame into Ethernet + NSH",
            Self::GpeHop => "SFF hop, VXLAN-GPE + NSH in and out",
            Self::EthHop => "SFF hop, Ethernet + NSH in and out",
            Self::GpeDecap => "end of path, from VXLAN-GPE + NSH",
            Self::EthDecap => "end of path, from Ethernet + NSH",
            Self::VxlanEncap => "frame into VXLAN",
            Self::VxlanDecap => "VXLAN to frame",
            Self::VxlanHop => "VXLAN to VXLAN",
            Self::ProxyHop => "SFF hop through an NSH-unaware function, VXLAN-GPE + NSH",
        }
    }

    /// What arrives.
    pub(crate) const fn arrives(self) -> Wrap {
        match self {
            Self::PortHop | Self::GpeEncap | Self::EthEncap | Self::VxlanEncap => Wrap::Plain,
            Self::GpeHop | Self::GpeDecap | Self::ProxyHop => Wrap::Gpe,
            Self::EthHop | Self::EthDecap => Wrap::Ethernet,
            Self::VxlanDecap | Self::VxlanHop => Wrap::Vxlan,
        }
    }

    /// VNI of what leaves. From VXLAN to VXLAN it is another one: the kernel has one device for
    /// each.
    pub(crate) const fn next_vni(self) -> u8 {
        match self {
            Self::VxlanHop => 200,
            _ => address::VNI,
        }
    }

    /// What leaves.
    pub(crate) const fn leaves(self) -> Wrap {
        match self {
            Self::PortHop | Self::GpeDecap | Self::EthDecap | Self::VxlanDecap => Wrap::Plain,
            Self::GpeHop | Self::GpeEncap | Self::ProxyHop => Wrap::Gpe,
            Self::EthHop | Self::EthEncap => Wrap::Ethernet,
            Self::VxlanEncap | Self::VxlanHop => Wrap::Vxlan,
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A work and how much of it a contestant has to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Task {
    /// The work.
    pub(crate) work: Work,
    /// Service paths in its tables; packets are spread over them.
    pub(crate) paths: u32,
    /// Classifier rules; the last one is for our packets.
    pub(crate) rules: u32,
    /// Whether the kernel's part of receiving is on the contestant's CPU, too.
    pub(crate) one_core: bool,
}

impl Task {
    /// With tables as small as they get.
    pub(crate) const fn small(work: Work) -> Self {
        Self {
            work,
            paths: 1,
            rules: 1,
            one_core: false,
        }
    }
}
