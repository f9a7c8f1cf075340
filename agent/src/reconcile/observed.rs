//! What is seen on the box, in the terms decisions are made in.

use ipnet::IpNet;
use kc_agent_api::Health;
use kc_forwarder_api::MacAddr;
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Everything seen on one box.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Observed {
    /// Whether the engine answers; without it `containers` says nothing.
    pub engine: bool,
    /// Containers with this node's label, and no others.
    pub containers: Vec<Seen>,
    /// Interfaces inside running pause containers, by the pause's id and interface name.
    pub inner: BTreeMap<String, BTreeMap<String, SeenLink>>,
    /// Interfaces of the box itself by name.
    pub host: BTreeMap<String, SeenLink>,
}

impl Observed {
    /// All of `part` that carry the document name `name`.
    pub fn all<'a>(&'a self, name: &'a str, part: Part) -> impl Iterator<Item = &'a Seen> {
        self.containers
            .iter()
            .filter(move |seen| seen.name == name && seen.part == part)
    }

    /// The container of `part` that carries the document name `name`.
    pub fn find(&self, name: &str, part: Part) -> Option<&Seen> {
        self.containers
            .iter()
            .find(|seen| seen.name == name && seen.part == part)
    }
}

/// Which of the two containers behind one document entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Holds the network namespace.
    Pause,
    /// Does the work.
    Main,
}

/// One container as the engine tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The engine's id.
    pub id: String,
    /// Name in the document, from its label.
    pub name: String,
    /// Which of the two.
    pub part: Part,
    /// Hash of what it was made from, from its label.
    pub hash: String,
    /// Image reference it was made from.
    pub image: String,
    /// Where it is in its life.
    pub phase: Phase,
    /// Exit code of the last end.
    pub exit_code: Option<i64>,
    /// The engine's own words on why it did not start.
    pub error: Option<String>,
    /// How often the engine restarted it.
    pub restarts: u64,
    /// RFC 3339 time of its last start.
    pub started_at: Option<String>,
    /// Its first process, while it runs.
    pub pid: Option<u32>,
    /// Identity of its network namespace, while it runs.
    pub netns: Option<u64>,
    /// Id of the container whose network it shares.
    pub joined: Option<String>,
    /// What the engine says of the image's own health check, while it has one and runs.
    pub health: Option<Health>,
    /// The engine's id of the image it was made from.
    pub image_id: Option<String>,
}

/// Where a container is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Made, never started.
    Created,
    /// Running, or frozen by somebody who knows why.
    Running,
    /// Ended; the engine is about to start it again.
    Restarting,
    /// Ended for good as far as the engine goes.
    Exited,
    /// Half removed; only removal helps.
    Dead,
    /// Being removed.
    Removing,
}

/// One interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenLink {
    /// Index in its own namespace.
    pub index: u32,
    /// Index of the other end of a veth pair, in the other end's namespace.
    pub peer: Option<u32>,
    /// Hardware address.
    pub mac: Option<MacAddr>,
    /// MTU in bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// The mark we leave on what we made.
    pub alias: Option<String>,
    /// Addresses with prefix lengths.
    pub addresses: Vec<IpNet>,
    /// Gateway of a default route out of this interface.
    pub gateway: Option<IpAddr>,
}
