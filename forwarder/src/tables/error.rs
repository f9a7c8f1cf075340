//! What can be wrong with tables. Every message names the entry that is wrong and what would be
//! right, because a person wrote it or wrote the program that did.

use kc_forwarder_api::{GroupName, MacAddr, Neighbour, PortName, SfName, Si, Spi, Vid, Vni};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// An entry of the tables, as a person would point at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The underlay.
    Underlay,
    /// A port.
    Port(PortName),
    /// A tunnel, by name.
    Tunnel(String),
    /// A function.
    Function(SfName),
    /// A group.
    Group(GroupName),
    /// A classifier rule, by name.
    Rule(String),
    /// A path.
    Path(Spi),
    /// One hop of a path.
    Hop(Spi, Si),
    /// A segment.
    Segment(Vni),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Underlay => f.write_str("the underlay"),
            Self::Port(name) => write!(f, "port {name}"),
            Self::Tunnel(name) => write!(f, "tunnel {name}"),
            Self::Function(name) => write!(f, "function {name}"),
            Self::Group(name) => write!(f, "group {name}"),
            Self::Rule(name) => write!(f, "rule {name:?}"),
            Self::Path(spi) => write!(f, "path {spi}"),
            Self::Hop(spi, si) => write!(f, "path {spi} at SI {si}"),
            Self::Segment(vni) => write!(f, "segment {vni}"),
        }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A port.
    Port,
    /// A tunnel.
    Tunnel,
    /// A function.
    Function,
    /// A group.
    Group,
    /// A member of a group.
    GroupMember,
    /// A classifier rule.
    Rule,
    /// A segment.
    Segment,
    /// A path.
    Path,
    /// A hop of any path.
    Hop,
    /// A port of a segment.
    Member,
    /// A peer of a segment.
    Peer,
    /// A static entry of a segment.
    StaticEntry,
    /// An address of a port.
    Address,
    /// A virtual address of a segment.
    VirtualAddress,
    /// A member of a virtual address.
    VirtualMember,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Port => "port",
            Self::Tunnel => "tunnel",
            Self::Function => "function",
            Self::Group => "group",
            Self::GroupMember => "group member",
            Self::Rule => "rule",
            Self::Segment => "segment",
            Self::Path => "path",
            Self::Hop => "hop",
            Self::Member => "member port",
            Self::Peer => "peer",
            Self::StaticEntry => "static entry",
            Self::Address => "address",
            Self::VirtualAddress => "virtual address",
            Self::VirtualMember => "member of a virtual address",
        })
    }
}

/// The nearest name that does exist; prints as the end of a sentence.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suggestion(pub Option<String>);

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(name) => write!(f, "; did you mean {name}?"),
            None => Ok(()),
        }
    }
}

/// Why tables were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TableError {
    /// A reference to something that is not there.
    #[error("{entry} refers to {kind} {name}, which the tables do not define{suggestion}")]
    Unknown {
        /// Who refers.
        entry: Entry,
        /// To what kind of thing.
        kind: Kind,
        /// By which name.
        name: String,
        /// The nearest name that exists.
        suggestion: Suggestion,
    },
    /// Two things of one name.
    #[error("{kind} {name} is defined twice; names and VNIs must be unique")]
    Duplicate {
        /// What kind of thing.
        kind: Kind,
        /// Its name.
        name: String,
    },
    /// More entries than a list may have.
    #[error("{count} entries of kind {kind}; at most {max} are possible")]
    TooMany {
        /// Of what.
        kind: Kind,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// More entries than a list inside an entry may have.
    #[error("{entry} has {count} entries of kind {kind}; at most {max} are possible")]
    TooManyIn {
        /// Whose list.
        entry: Entry,
        /// Of what.
        kind: Kind,
        /// How many there are.
        count: usize,
        /// How many there may be.
        max: usize,
    },
    /// Two ports on one interface.
    #[error(
        "ports {first} and {second} both use interface {interface}; an interface serves one port"
    )]
    SharedInterface {
        /// One port.
        first: PortName,
        /// The other.
        second: PortName,
        /// Their interface.
        interface: PortName,
    },
    /// A (SPI, SI) with two next hops.
    #[error("path {spi} has two next hops at SI {si}; (SPI, SI) must be unique")]
    DuplicateHop {
        /// Service path.
        spi: Spi,
        /// Service index.
        si: Si,
    },
    /// A rule's path that does not start here.
    #[error("{entry} sends to path {spi} at SI {si}, which has no next hop here{suggestion}")]
    NoSuchHop {
        /// The rule.
        entry: Entry,
        /// Service path.
        spi: Spi,
        /// Service index.
        si: Si,
        /// The highest index this path has here.
        suggestion: Suggestion,
    },
    /// RFC 8300 section 2.3: nothing can follow a function at SI 0.
    #[error(
        "{0} leads to a function, but SI 0 cannot be decremented; start the path at a higher SI"
    )]
    FunctionAtZero(Entry),
    /// Tunnels or peers without a local end.
    #[error(
        "{0} needs an underlay, and the tables have none; add [underlay] with this box's VTEP address"
    )]
    NoUnderlay(Entry),
    /// A remote VTEP of a family that the underlay has no address of.
    #[error(
        "{entry} leads to {remote}, but the underlay has no {} address; add one to its list",
        if remote.is_ipv4() { "IPv4" } else { "IPv6" }
    )]
    Family {
        /// The tunnel or segment.
        entry: Entry,
        /// Its remote VTEP.
        remote: IpAddr,
    },
    /// A next hop on a LAN that is nobody, or ourselves.
    #[error("{entry} has next hop {next_hop}, which must be another station's unicast address")]
    NextHop {
        /// The tunnel.
        entry: Entry,
        /// As given.
        next_hop: Neighbour,
    },
    /// A next hop that nobody can ask for.
    #[error(
        "{entry} has to find {address} by port {port}, where the forwarder has no {} address to ask with; add one to the port's addresses, or give the next hop's MAC address",
        if address.is_ipv4() { "IPv4" } else { "IPv6" }
    )]
    NoAddress {
        /// The tunnel or function.
        entry: Entry,
        /// The port that is to carry the tag.
        port: PortName,
        /// The next hop.
        address: IpAddr,
    },
    /// An own address that is none, or twice.
    #[error("port {port} has address {address}, which must be a unicast address and there once")]
    PortAddress {
        /// The port.
        port: PortName,
        /// The address.
        address: IpAddr,
    },
    /// Tags by a backend that never sees them.
    #[error(
        "{entry} has a VLAN tag, which backend pnet of port {port} never sees; use packet or auto"
    )]
    TagHidden {
        /// The tunnel or function.
        entry: Entry,
        /// The port that is to carry the tag.
        port: PortName,
    },
    /// A VTEP address no frame can be sent to.
    #[error("{entry} has VTEP address {address}, which must be another box's unicast address")]
    Address {
        /// The tunnel, segment or underlay.
        entry: Entry,
        /// The address.
        address: IpAddr,
    },
    /// An MTU too small to carry anything.
    #[error("{entry} has an MTU of {mtu}; at least {min} octets are needed")]
    Mtu {
        /// Whose.
        entry: Entry,
        /// As given.
        mtu: u16,
        /// Smallest sensible.
        min: u16,
    },
    /// A port that would have two meanings.
    #[error("port {port} is already {first} and cannot also be {second}")]
    PortRole {
        /// The port.
        port: PortName,
        /// What it is.
        first: PortRole,
        /// What it was to become.
        second: PortRole,
    },
    /// A group that leads nowhere.
    #[error("group {0} has no members; give it one at least")]
    EmptyGroup(GroupName),
    /// A member that would get nothing.
    #[error(
        "{entry} gives {member} a weight of 0; weights are 1 to 65535, and a member that shall get nothing is left out"
    )]
    Weightless {
        /// The group.
        entry: Entry,
        /// The member.
        member: String,
    },
    /// More NSH context than a header holds.
    #[error(
        "{entry} asks for an NSH of {length} octets; its length field ends at {max}, of which 8 are no context"
    )]
    NshLength {
        /// The rule.
        entry: Entry,
        /// Octets it would have.
        length: usize,
        /// Octets it may have.
        max: usize,
    },
    /// A VLAN identifier out of range.
    #[error("{entry} matches VLAN {vlan}; VLANs are 1 to 4094, and 0 stands for untagged frames")]
    Vlan {
        /// The rule.
        entry: Entry,
        /// As given.
        vlan: u16,
    },
    /// Conditions that no frame can meet together.
    #[error("{entry} can never match: {conflict}")]
    Contradiction {
        /// The rule.
        entry: Entry,
        /// Which conditions exclude each other.
        conflict: Conflict,
    },
    /// A MAC address that cannot be somebody's own.
    #[error("{entry} has MAC address {mac}, which must be a unicast address")]
    GroupMac {
        /// The function or segment.
        entry: Entry,
        /// The address.
        mac: MacAddr,
    },
    /// A static MAC twice in one segment.
    #[error("{entry} has two static entries for {mac}; keep the one that is right")]
    DuplicateMac {
        /// The segment.
        entry: Entry,
        /// The address.
        mac: MacAddr,
    },
    /// Asked for life too often, too seldom, or given up too soon or too late.
    #[error(
        "the liveness of {0} must have an interval-ms of 10 to 60000 and a multiplier of 2 to 100"
    )]
    Liveness(Entry),
    /// Asked for life by an address that it cannot have.
    #[error(
        "the liveness of {entry} names address {address}; only a function with one leg is asked by its address, an IPv4 one"
    )]
    LivenessAddress {
        /// The tunnel or function.
        entry: Entry,
        /// The address.
        address: IpAddr,
    },
    /// A virtual address that cannot be a station's.
    #[error("{entry} has virtual address {address}, which must be a unicast address")]
    VirtualAddress {
        /// The segment.
        entry: Entry,
        /// The address.
        address: Ipv4Addr,
    },
    /// The MAC address of a virtual address is that of something else.
    #[error("{entry} gives {mac} to virtual address {address}; it must be nobody else's")]
    VirtualMac {
        /// The segment.
        entry: Entry,
        /// The virtual address.
        address: Ipv4Addr,
        /// Its MAC address.
        mac: MacAddr,
    },
    /// A member of a virtual address of which nobody knows where it is.
    #[error("{entry} has {mac} as a member of {address}; add it to the segment's entries")]
    PlacelessMember {
        /// The segment.
        entry: Entry,
        /// The virtual address.
        address: Ipv4Addr,
        /// The member.
        mac: MacAddr,
    },
    /// A static entry behind a port outside the segment.
    #[error(
        "{entry} places {mac} behind port {port}, which is no member of the segment; add it to its ports"
    )]
    NotAMember {
        /// The segment.
        entry: Entry,
        /// The address.
        mac: MacAddr,
        /// The port.
        port: PortName,
    },
}

/// What a port is used for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortRole {
    /// Leg of a function.
    Leg(SfName),
    /// Leg of a function in a VLAN.
    TaggedLeg(SfName, Vid),
    /// Member of a segment.
    Member(Vni),
    /// The end of a path, or where a rule sends frames.
    Egress(Entry),
    /// Where a rule expects frames from.
    Ingress(Entry),
    /// On a LAN of other SFFs.
    Lan(Entry),
}

impl fmt::Display for PortRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Leg(function) => write!(f, "a leg of function {function}"),
            Self::TaggedLeg(function, vlan) => {
                write!(f, "a leg of function {function} in VLAN {vlan}")
            }
            Self::Member(vni) => write!(f, "a member of segment {vni}"),
            Self::Egress(entry) => write!(f, "the egress of {entry}"),
            Self::Ingress(entry) => write!(f, "the ingress port of {entry}"),
            Self::Lan(entry) => write!(f, "on the LAN of {entry}"),
        }
    }
}

/// Conditions that exclude each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conflict {
    /// IPv4 source with IPv6 destination or the other way round.
    Families,
    /// Ports of a protocol that has none.
    Ports,
    /// Addresses, protocol or ports of a frame that is not IP.
    EtherType,
}

impl fmt::Display for Conflict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Families => "source and destination are of different address families",
            Self::Ports => "only tcp, udp and sctp have ports",
            Self::EtherType => "the ethertype carries no such IP packet",
        })
    }
}
