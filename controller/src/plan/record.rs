//! What the planner remembers of nodes, instances and chains from one plan to the next.

use crate::resource::{ChainSpec, Name, ResourceId};
use crate::scheduler::Explanation;
use crate::shared::Shared;
use kc_agent_api::{Capacity, ClusterRole, NodeName, PublicKey};
use kc_forwarder_api::{SfName, Spi, Vid};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// A box that has registered itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeRecord {
    /// 1, 2, 3 …: its part of the overlay is 10.128.`index`.0/24. Never given to another.
    pub index: u32,
    /// Whether it is counted on.
    pub ready: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when it is gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gone_since_ms: Option<u64>,
    /// Since when it is ready.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_since_ms: Option<u64>,
    /// Labels it gave itself.
    pub labels: BTreeMap<String, String>,
    /// What it has.
    pub capacity: Capacity,
    /// Where its forwarder is reached.
    pub vtep: Option<IpAddr>,
    /// MTU of the interface that carries tunnels, in bytes.
    pub underlay_mtu: u16,
    /// What secrets are sealed to: the first key that it told, or a later one that somebody trusts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seal_key: Option<PublicKey>,
    /// Another key that it tells now. Secrets are held back until somebody trusts it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strange_key: Option<PublicKey>,
    /// Generation of its newest document; 0 before the first.
    pub generation: u64,
    /// Fingerprint of that document without its generation.
    pub digest: u64,
}

/// One instance of a service function or one replica of a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Instance {
    /// The `ServiceFunction` or `Service` it belongs to.
    pub owner: ResourceId,
    /// 1, 2, 3 … within its owner.
    pub ordinal: u32,
    /// Numbers its ports and MAC addresses. Never given to another.
    pub id: u32,
    /// Where it runs.
    pub node: Option<NodeName>,
    /// Generation of that node's document that brought it there: a node that has not taken
    /// that up speaks of something else by the same name. 0 until it is known.
    pub since: u64,
    /// Its address in the overlay; overlay services only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// How it is.
    pub health: InstanceHealth,
    /// The engine's id of its container that has answered its forwarder: the silence of one that never
    /// did says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answered: Option<String>,
    /// The hardware that it is; nothing where it is a container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hardware: Option<super::Hardware>,
    /// No longer wanted; it goes as soon as no path needs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retiring: bool,
    /// Since when it keeps the flows that it has and gets no new ones, because it is about to go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub draining_ms: Option<u64>,
    /// Why it has no node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
}

impl Instance {
    /// What becomes of it where it cannot stay: hardware goes nowhere.
    pub(super) const fn verb(&self) -> &'static str {
        match self.hardware {
            Some(_) => "be left",
            None => "move",
        }
    }
}

/// How an instance is, as far as is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InstanceHealth {
    /// Not seen running yet.
    #[default]
    Starting,
    /// Runs.
    Running,
    /// Ran, and no longer does.
    Down,
}

/// A chain that is carried, or was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChainRecord {
    /// Its paths, oldest first.
    pub paths: Vec<PathRecord>,
    /// How it is.
    pub status: ChainStatus,
    /// How often a path was chosen for it: the place in a random sequence.
    pub draws: u64,
    /// When it was first planned.
    #[serde(default)]
    pub since_ms: Option<u64>,
    /// Since when another path is better by the margin that its scheduler asks for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub better_since_ms: Option<u64>,
    /// Instances that it left for being overloaded, and when.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub left: BTreeMap<String, u64>,
    /// Its way back to the kind of function that it prefers.
    #[serde(default, skip_serializing_if = "super::Back::is_default")]
    pub back: super::Back,
}

impl ChainRecord {
    /// The path that classifiers point at, or are being turned to.
    pub fn carrying(&self) -> Option<&PathRecord> {
        self.paths
            .iter()
            .rev()
            .find(|path| matches!(path.phase, Phase::Switching { .. } | Phase::Active))
    }

    /// The path that is being prepared.
    pub fn installing(&self) -> Option<&PathRecord> {
        self.paths
            .iter()
            .find(|path| matches!(path.phase, Phase::Installing { .. }))
    }
}

/// How a chain is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum ChainStatus {
    /// No path yet.
    Waiting {
        /// For what.
        reason: String,
    },
    /// Traffic runs over healthy instances.
    Ready,
    /// A new path is on its way.
    Changing {
        /// Why.
        reason: String,
    },
    /// Its path is dead and there is no other.
    Broken {
        /// Why.
        reason: String,
    },
    /// Being removed.
    Leaving,
}

impl Default for ChainStatus {
    fn default() -> Self {
        Self::Waiting {
            reason: "not planned yet".to_owned(),
        }
    }
}

impl ChainStatus {
    /// One word for a table.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Waiting { .. } => "Waiting",
            Self::Ready => "Ready",
            Self::Changing { .. } => "Changing",
            Self::Broken { .. } => "Broken",
            Self::Leaving => "Leaving",
        }
    }

    /// The reason, where there is one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Waiting { reason } | Self::Changing { reason } | Self::Broken { reason } => {
                Some(reason)
            }
            Self::Ready | Self::Leaving => None,
        }
    }
}

/// One rendered service path, with its return path if it has one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathRecord {
    /// Forward path.
    pub forward: Spi,
    /// Return path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse: Option<Spi>,
    /// The chain as it was when this path was chosen.
    pub spec: Shared<ChainSpec>,
    /// Chosen instances in forward order.
    pub instances: Vec<PathInstance>,
    /// Boxes from each stop to the next, both included: from the ingress to the first function,
    /// from there to the second …, to the egress. One more than there are functions.
    pub route: Vec<Vec<NodeName>>,
    /// Why these.
    pub explanation: Shared<Explanation>,
    /// Whether it no longer carries traffic to its end; flows then leave it at once.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dead: bool,
    /// Where it is in its life.
    pub phase: Phase,
}

impl PathRecord {
    /// Whether another path has taken its place, or none is wanted.
    pub const fn is_former(&self) -> bool {
        matches!(
            self.phase,
            Phase::Superseded | Phase::Withdrawing { .. } | Phase::Draining { .. }
        )
    }

    /// Every box the path touches, in name order.
    pub fn nodes(&self) -> BTreeSet<&NodeName> {
        let members = self.members().map(|member| &member.node);
        self.route.iter().flatten().chain(members).collect()
    }

    /// Every instance that the path may lead through.
    pub fn members(&self) -> impl Iterator<Item = &PathInstance> {
        self.instances.iter().flat_map(PathInstance::members)
    }

    /// The boxes whose classifiers point at it.
    pub fn ends(&self) -> BTreeSet<&NodeName> {
        let far = self.reverse.map(|_| &self.spec.to.node);
        std::iter::once(&self.spec.from.node).chain(far).collect()
    }

    /// `firewall-1, dpi-3+dpi-1, nat-2`.
    pub fn names(&self) -> String {
        let name = |on_path: &PathInstance| {
            let members = on_path.members().map(|member| member.name.as_str());
            members.collect::<Vec<_>>().join("+")
        };
        let names: Vec<_> = self.instances.iter().map(name).collect();
        names.join(", ")
    }
}

/// An instance on a path. The node is kept: should the instance move, this path is dead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathInstance {
    /// Function type.
    pub function: Name,
    /// Instance.
    pub name: String,
    /// Where it ran.
    pub node: NodeName,
    /// The chain's VLAN on its legs, where chains have legs of their own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vlan: Option<Vid>,
    /// The others of its cluster, where it is the first of one; they have none themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<PathInstance>,
    /// Whether the others get flows only when it is dead.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub standby: bool,
}

impl PathInstance {
    /// It and the others of its cluster.
    pub fn members(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(&self.others)
    }

    /// Those of its cluster that new flows go to.
    pub fn active(&self) -> impl Iterator<Item = &Self> {
        self.members()
            .take(if self.standby { 1 } else { usize::MAX })
    }

    /// What a member of its cluster does.
    pub fn role(&self, member: &Self) -> ClusterRole {
        match self.standby && member.name != self.name {
            true => ClusterRole::Standby,
            false => ClusterRole::Active,
        }
    }

    /// What its forwarder calls it: the instance's name, or `nat-1.7` for one way into it.
    pub fn entry(&self) -> Option<SfName> {
        SfName::new(match self.vlan {
            None => self.name.clone(),
            Some(vlan) => format!("{}.{vlan}", self.name),
        })
        .ok()
    }
}

/// Where a path is in its life (make before break).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", tag = "phase")]
pub enum Phase {
    /// On its way onto every hop; no classifier points at it.
    Installing {
        /// Generation each hop must have in force.
        waits: BTreeMap<NodeName, u64>,
        /// Until when it waits at most for functions that have yet to answer their forwarder.
        #[serde(default)]
        until_ms: u64,
    },
    /// On every hop; classifiers are being turned to it.
    Switching {
        /// Generation each end must have in force.
        waits: BTreeMap<NodeName, u64>,
    },
    /// Carries the traffic.
    Active,
    /// Until the next path's classifiers are acknowledged, traffic may still come.
    Superseded,
    /// Its chain was removed; classifiers are being cleared.
    Withdrawing {
        /// Generation each end must have in force.
        waits: BTreeMap<NodeName, u64>,
    },
    /// No classifier points at it any more; frames under way may finish.
    Draining {
        /// When it is removed.
        until_ms: u64,
    },
}

impl Phase {
    /// One word for a table.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Installing { .. } => "Installing",
            Self::Switching { .. } => "Switching",
            Self::Active => "Active",
            Self::Superseded => "Superseded",
            Self::Withdrawing { .. } => "Withdrawing",
            Self::Draining { .. } => "Draining",
        }
    }
}
