//! What a user of `kc-forwarder` shares with it: checked identifiers, steering tables,
//! control messages and counters. Types only; nothing here does I/O.
//!
//! The agent sends [`Tables`] over the control socket, a person writes the same
//! structure as TOML. Terms are those of RFC 7665 and RFC 8300.

pub mod bounds;
mod capture;
mod control;
mod counters;
mod fast_path;
mod health;
mod ids;
mod matching;
mod names;
mod neighbour;
mod oam;
mod probe;
mod tables;
mod trace;
mod word;

pub use capture::{
    Capture, CaptureError, CapturePoint, MAX_CAPTURES, MAX_SELECTED, PointError, WHOLE_FRAME,
};
pub use control::{
    Backend, ControlError, ErrorCode, MAX_REQUEST, PortState, PortStatus, Request, Response,
    Status, UnderlayStatus,
};
pub use counters::{Counters, DropReason, PathCounters, PortCounters, TunnelCounters};
pub use counters::{
    RoundTrip, RuleCounters, UnderlayCounters, VirtualCounters, VirtualMemberCounters,
    drops_by_reason,
};
pub use fast_path::{FastInterface, FastMode, FastPath, FastPathStatus, FastState, LeftHops};
pub use health::{FunctionStatus, HealthEvent, HealthState, HealthSubject, Liveness, TunnelStatus};
pub use ids::{IdError, Si, Spi, Ttl, Vid, Vni};
pub use matching::{Match, MatchError, PortRange, Protocol};
pub use names::{GroupName, MacAddr, NameError, PortName, SfName, SffName, TunnelName};
pub use neighbour::{NeighbourState, NeighbourStatus};
pub use oam::{Echo, EchoCode, EchoFunction, EchoReply, MAX_ECHO, MAX_ECHO_TIMEOUT_MS, Responder};
pub use probe::{Probe, ProbeError, ProbeReport, ProbeTarget, ProbeTargetError, Spread};
pub use tables::{
    Action, Attachment, ContextHeader, ContextValue, ContextValueError, Direction, Encapsulation,
    Function, Group, Hop, Member, MemberTarget, Metadata, Neighbour, NextHop, Path, Port, Rule,
    Segment, StaticEntry, Tables, Transport, Tunnel, Underlay, UnderlayBackend, VirtualAddress,
    VirtualMember, VtepAddressError, VtepAddresses,
};
pub use trace::{Trace, TraceFault};
pub use word::Word;
