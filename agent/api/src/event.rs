//! Things that happened on a box, numbered per boot so that none is lost unnoticed or counted twice.

use crate::{BootId, Payload, Stamp};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One event.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Event {
    /// When.
    #[serde(flatten)]
    pub at: Stamp,
    /// Grows by one within the boot, and is never used again.
    pub sequence: u64,
    /// What kind.
    pub kind: EventKind,
    /// The container, port or process it happened to.
    pub object: String,
    /// For people.
    pub message: String,
}

impl Payload for Event {
    const NAME: &'static str = "event";
}

/// Which events the controller has on its disk: an agent keeps an event until it hears this.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct EventAck {
    /// The boot they are numbered in.
    pub boot: BootId,
    /// Ranges of numbers, both ends included.
    pub stored: Vec<(u64, u64)>,
}

impl Payload for EventAck {
    const NAME: &'static str = "event acknowledgement";
}

impl EventAck {
    /// Whether `event` is among them.
    pub fn covers(&self, event: &Event) -> bool {
        let number = event.sequence;
        self.boot == event.at.boot
            && self
                .stored
                .iter()
                .any(|(from, to)| (*from..=*to).contains(&number))
    }
}

/// Kinds of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// The agent started.
    AgentStarted,
    /// A document was taken up.
    SpecAccepted,
    /// A document was refused.
    SpecRefused,
    /// An image was pulled.
    ImagePulled,
    /// An image could not be pulled.
    ImagePullFailed,
    /// A container started.
    ContainerStarted,
    /// A container ended.
    ContainerDied,
    /// A container ran out of memory.
    ContainerOom,
    /// A container's health changed.
    ContainerHealth,
    /// A container was removed.
    ContainerRemoved,
    /// A container could not be made or wired.
    ContainerFailed,
    /// A container that was unhealthy for too long is started again.
    ContainerRestarted,
    /// A changed container did not get healthy; the former one is back.
    ContainerRolledBack,
    /// Images that nothing uses were removed, because the disk is full.
    ImagesRemoved,
    /// The forwarder started.
    ForwarderStarted,
    /// The forwarder ended.
    ForwarderDied,
    /// The forwarder refused its tables.
    TablesRefused,
    /// The other end of a tunnel answers no more.
    TunnelDead,
    /// The other end of a tunnel answers again.
    TunnelAlive,
    /// A function answers its forwarder no more.
    FunctionDead,
    /// A function answers its forwarder again.
    FunctionAlive,
    /// A member of a cluster was told what it is.
    HookRun,
    /// The Docker engine went away or came back.
    Engine,
    /// The agent was updated.
    AgentUpdated,
    /// An update of the agent was given up; the former version runs.
    AgentUpdateFailed,
    /// Events found no room while the controller was away, and are gone.
    EventsLost,
    /// A kind this version does not know.
    #[serde(other)]
    Unknown,
}

impl EventKind {
    /// The kind's stable name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AgentStarted => "agent-started",
            Self::SpecAccepted => "spec-accepted",
            Self::SpecRefused => "spec-refused",
            Self::ImagePulled => "image-pulled",
            Self::ImagePullFailed => "image-pull-failed",
            Self::ContainerStarted => "container-started",
            Self::ContainerDied => "container-died",
            Self::ContainerOom => "container-oom",
            Self::ContainerHealth => "container-health",
            Self::ContainerRemoved => "container-removed",
            Self::ContainerFailed => "container-failed",
            Self::ContainerRestarted => "container-restarted",
            Self::ContainerRolledBack => "container-rolled-back",
            Self::ImagesRemoved => "images-removed",
            Self::ForwarderStarted => "forwarder-started",
            Self::ForwarderDied => "forwarder-died",
            Self::TablesRefused => "tables-refused",
            Self::TunnelDead => "tunnel-dead",
            Self::TunnelAlive => "tunnel-alive",
            Self::FunctionDead => "function-dead",
            Self::FunctionAlive => "function-alive",
            Self::HookRun => "hook-run",
            Self::Engine => "engine",
            Self::AgentUpdated => "agent-updated",
            Self::AgentUpdateFailed => "agent-update-failed",
            Self::EventsLost => "events-lost",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
