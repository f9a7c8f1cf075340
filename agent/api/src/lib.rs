//! What an agent shares with its controller over MQTT: topics, the desired document of a node,
//! what is reported back, calls. Types only; nothing here does I/O.
//!
//! Every payload is JSON with a `v` field. Unknown fields are ignored; an unknown version is
//! refused by [`decode`].

mod call;
mod cluster;
mod device;
mod event;
mod finding;
mod health;
mod load;
mod names;
mod payload;
mod seal;
mod secret;
mod spec;
mod state;
mod status;
mod topic;
mod update;
mod volume;

pub use call::{
    Call, CallBody, Entry, NO_SUCH_CALL, Output, Reply, ReplyBody, SIGN_OF_LIFE_S, Window, octets,
};
pub use cluster::{ClusterRole, Membership, Part as ClusterPart, Peer};
pub use device::Device;
pub use event::{Event, EventAck, EventKind};
pub use finding::{Finding, Listing, Severity};
pub use health::{Health, HealthCheck, Probe, UpdatePolicy};
pub use load::{
    BoxLoad, ContainerLoad, DrainingLoad, LoadReport, NetworkLoad, PathLoad, TunnelReport,
};
pub use names::{BootId, DomainName, NameError, NodeName};
pub use payload::{Payload, PayloadError, Stamp, VERSION, decode, encode};
pub use seal::{BoxKey, Hidden, OpenError, PublicKey, PublicKeyError, Sealed, Sealing};
pub use secret::{PullLogin, PullSecret, SecretFile};
pub use spec::{
    ContainerSpec, File, Leg, Limits, Mount, Network, NodeSpec, PullPolicy, Restart, Role,
};
pub use state::{ContainerPhase, ContainerState, NodeState};
pub use status::{Capacity, ControllerStatus, NodeStatus, Presence};
pub use topic::{Topic, TopicError};
pub use update::{MANIFEST, UpdateManifest, UpdateOutcome, UpdateRecord};
pub use volume::{Tmpfs, Volume};
