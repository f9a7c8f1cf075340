//! The planner's whole memory: what users asked for, and what was decided. Stored in one piece.

use super::{
    AlarmRecord, ChainRecord, Instance, NodeRecord, RolloutRecord, ScaleRecord, Substitute, Vault,
    VirtualAddresses,
};
use crate::resource::{
    ApiVersion, Kind, Metadata, Name, NodeResourceSpec, Object, Resource, ResourceId, Stack,
};
use crate::shared::Shared;
use kc_agent_api::NodeName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Times the planner goes by, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// A node that says nothing for this long is gone.
    pub heartbeat_timeout_ms: u64,
    /// A node that said offline is gone after this long, unless it comes back.
    pub offline_grace_ms: u64,
    /// How long nodes may take to come back after our own connection did.
    pub reconnect_grace_ms: u64,
    /// What ran on a node that is gone for this long is placed elsewhere.
    pub replace_grace_ms: u64,
    /// How long a chain's first path waits for instances that are starting, so that the
    /// scheduler has all of them to choose from.
    pub patience_ms: u64,
    /// How long a former path is kept for frames under way.
    pub drain_ms: u64,
    /// How long a chain does not come back to an instance that it left for being overloaded.
    pub relief_hold_ms: u64,
    /// How long what a chain prefers has to be usable without a break before it goes back to that.
    pub settle_ms: u64,
    /// A load sample older than this is no longer believed.
    pub load_max_age_ms: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            heartbeat_timeout_ms: 3_000,
            offline_grace_ms: 1_500,
            reconnect_grace_ms: 8_000,
            replace_grace_ms: 10_000,
            patience_ms: 5_000,
            drain_ms: 5_000,
            relief_hold_ms: 300_000,
            settle_ms: 10_000,
            load_max_age_ms: 10_000,
        }
    }
}

/// Everything the planner remembers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct State {
    /// Times.
    pub settings: Settings,
    /// What users asked for.
    pub resources: Shared<BTreeMap<ResourceId, Resource>>,
    /// Resources that were deleted while instances of theirs are still on a path.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub retired: BTreeMap<ResourceId, Resource>,
    /// Resources that were made together.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stacks: BTreeMap<Name, Stack>,
    /// Boxes that registered.
    pub nodes: Shared<BTreeMap<NodeName, Shared<NodeRecord>>>,
    /// Function instances and service replicas by container name.
    pub instances: Shared<BTreeMap<String, Shared<Instance>>>,
    /// Chains and their paths.
    pub chains: Shared<BTreeMap<Name, Shared<ChainRecord>>>,
    /// Alarms by name, and how they stand.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub alarms: Shared<BTreeMap<String, AlarmRecord>>,
    /// Resources whose containers are being changed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub rollouts: Shared<BTreeMap<ResourceId, RolloutRecord>>,
    /// How many instances load asks for, of resources that let it decide.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub scales: Shared<BTreeMap<ResourceId, ScaleRecord>>,
    /// Virtual addresses of services.
    #[serde(skip_serializing_if = "VirtualAddresses::is_unused")]
    pub virtuals: VirtualAddresses,
    /// Instances that take the places of others, by the number whose place it is.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub substitutes: BTreeMap<ResourceId, BTreeMap<u32, Substitute>>,
    /// Instances of drained boxes whose substitutes did not work, and why: it is not tried again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub unmoved: BTreeMap<String, String>,
    /// Values of secrets.
    #[serde(skip_serializing_if = "Vault::is_unused")]
    pub vault: Shared<Vault>,
    /// Round robin: the instance of each type that was taken last.
    pub rotation: BTreeMap<Name, String>,
    /// Last instance id given away.
    pub last_id: u32,
    /// Last node index given away.
    pub last_node_index: u32,
    /// Last path number given away; path n has SPIs 2n and 2n+1.
    pub last_path: u32,
}

/// What applying did to one resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Applied {
    /// The resource.
    pub id: ResourceId,
    /// What happened to it.
    pub change: Change,
}

/// What happened to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It was not there.
    Created,
    /// It was there and different.
    Configured,
    /// It was there and the same.
    Unchanged,
}

/// Why something was not deleted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeleteError {
    /// It does not exist.
    #[error("{0} does not exist")]
    NotFound(ResourceId),
    /// Something needs it.
    #[error("{id} is needed by {by}; delete that first")]
    InUse {
        /// What was to be deleted.
        id: ResourceId,
        /// What needs it.
        by: ResourceId,
    },
    /// It is a part of something that is deleted as one.
    #[error(
        "{id} belongs to stack {stack}: take it out of the template and apply that, or delete the stack"
    )]
    InStack {
        /// What was to be deleted.
        id: ResourceId,
        /// Whose it is.
        stack: Name,
    },
    /// It would register itself again.
    #[error("node {0} is online; stop its agent first")]
    NodeOnline(NodeName),
}

impl State {
    /// Adds or replaces resources that were validated before.
    pub fn apply(&mut self, resources: Vec<Resource>) -> Vec<Applied> {
        let (before, secrets) = (self.resources.clone(), self.secrets_by_name());
        let applied = resources
            .into_iter()
            .map(|mut resource| {
                let known = self.resources.get(&resource.id());
                Self::take_up(&mut self.vault, &mut resource, known);
                let id = resource.id();
                let change = match self.resources.get(&id) {
                    None => Change::Created,
                    Some(known) if *known == resource => Change::Unchanged,
                    Some(_) => Change::Configured,
                };
                self.resources.insert(id.clone(), resource);
                Applied { id, change }
            })
            .collect();
        // A changed secret changes containers of resources that were not applied.
        for (id, old) in &before {
            self.hold(id, old, &secrets);
        }
        applied
    }

    /// Takes a resource back. A node that registered itself and is gone is forgotten.
    pub fn delete(&mut self, id: &ResourceId) -> Result<(), DeleteError> {
        let node = match id.kind {
            Kind::Node => NodeName::new(id.name.as_str()).ok(),
            _ => None,
        };
        let record = node.as_ref().and_then(|node| self.nodes.get(node));
        if !self.resources.contains_key(id) && record.is_none() {
            return Err(DeleteError::NotFound(id.clone()));
        }
        if let Some(stack) = self.stack_of(id) {
            return Err(DeleteError::InStack {
                id: id.clone(),
                stack: stack.clone(),
            });
        }
        if let Some(by) = self.needed_by(id) {
            return Err(DeleteError::InUse { id: id.clone(), by });
        }
        if let (Some(node), Some(record)) = (node, record) {
            if record.ready && !self.resources.contains_key(id) {
                return Err(DeleteError::NodeOnline(node));
            }
            if !record.ready {
                self.nodes.remove(&node);
            }
        }
        if let Some(resource) = self.resources.remove(id)
            && (self.named_by_retired(&resource)
                || self
                    .instances
                    .values()
                    .any(|instance| instance.owner == *id))
        {
            self.retired.insert(id.clone(), resource);
        }
        Ok(())
    }

    /// The first resource that cannot do without `id`.
    fn needed_by(&self, id: &ResourceId) -> Option<ResourceId> {
        match self.resources.get(id)? {
            Resource::ServiceFunction(object) => {
                let name = &object.metadata.name;
                let lost = object.spec.type_name(name);
                let another = self.functions().any(|other| {
                    other.metadata.name != *name
                        && other.spec.type_name(&other.metadata.name) == lost
                });
                let user = self
                    .chains_wanted()
                    .find(|c| c.spec.functions.contains(lost));
                user.filter(|_| !another)
                    .map(|chain| ResourceId::new(Kind::Chain, chain.metadata.name.clone()))
                    .or_else(|| self.dependent(name))
            }
            Resource::Service(object) => self.dependent(&object.metadata.name),
            Resource::Secret(secret) => {
                let name = &secret.metadata.name;
                let all = self.resources.values();
                all.filter_map(|other| Some((other, super::rollout::workload(other)?)))
                    .find(|(_, work)| work.names_secret(name))
                    .map(|(other, _)| other.id())
            }
            Resource::Chain(_) | Resource::Node(_) => None,
        }
    }

    /// The first resource whose containers start after those of `name`.
    fn dependent(&self, name: &Name) -> Option<ResourceId> {
        let mut all = self.workloads();
        let found = all.find(|(_, work)| work.depends_on.contains(name));
        found.map(|(id, _)| id.clone())
    }

    /// Takes the key that a node tells now for right. False when it is known already, nothing when there is
    /// no such node.
    pub fn trust(&mut self, node: &NodeName) -> Option<bool> {
        let record = self.nodes.get_mut(node)?;
        let strange = record.strange_key.take();
        if strange.is_some() {
            record.seal_key = strange;
        }
        Some(strange.is_some())
    }

    /// Cordons, drains or frees a node. False when no such node is known.
    pub fn set_cordon(&mut self, node: &NodeName, cordon: bool, drain: bool) -> bool {
        let name = Name::from(node.clone());
        let id = ResourceId::new(Kind::Node, name.clone());
        if !self.nodes.contains_key(node) && !self.resources.contains_key(&id) {
            return false;
        }
        let resource = self.resources.entry(id).or_insert_with(|| {
            Resource::Node(Object {
                api_version: ApiVersion::V1,
                metadata: Metadata {
                    name,
                    labels: BTreeMap::new(),
                },
                spec: NodeResourceSpec::default(),
            })
        });
        if let Resource::Node(object) = resource {
            object.spec.cordon = cordon;
            object.spec.drain = drain;
        }
        true
    }

    /// Resources of one kind.
    pub fn of_kind(&self, kind: Kind) -> impl Iterator<Item = (&ResourceId, &Resource)> {
        let all = self.resources.range(ResourceId::before(kind)..);
        all.take_while(move |(id, _)| id.kind == kind)
    }

    /// Service functions asked for.
    pub fn functions(&self) -> impl Iterator<Item = &Object<crate::resource::FunctionSpec>> {
        let all = self.of_kind(Kind::ServiceFunction);
        all.filter_map(|(_, resource)| match resource {
            Resource::ServiceFunction(object) => Some(object),
            _ => None,
        })
    }

    /// Chains asked for.
    pub fn chains_wanted(&self) -> impl Iterator<Item = &Object<crate::resource::ChainSpec>> {
        let all = self.of_kind(Kind::Chain);
        all.filter_map(|(_, resource)| match resource {
            Resource::Chain(object) => Some(object),
            _ => None,
        })
    }

    /// Services asked for.
    pub fn services(&self) -> impl Iterator<Item = &Object<crate::resource::ServiceSpec>> {
        let all = self.of_kind(Kind::Service);
        all.filter_map(|(_, resource)| match resource {
            Resource::Service(object) => Some(object),
            _ => None,
        })
    }

    /// The resource an instance belongs to, also when it was deleted meanwhile.
    pub fn owner(&self, id: &ResourceId) -> Option<&Resource> {
        self.resources.get(id).or_else(|| self.retired.get(id))
    }

    /// The function type that instances of `owner` have; `None` for services.
    pub fn function_type(&self, owner: &ResourceId) -> Option<&Name> {
        match self.owner(owner)? {
            Resource::ServiceFunction(object) => Some(object.spec.type_name(&object.metadata.name)),
            _ => None,
        }
    }

    /// What a user said about `node`, if anything.
    pub fn node_resource(&self, node: &NodeName) -> Option<&Object<NodeResourceSpec>> {
        let id = ResourceId::new(Kind::Node, Name::from(node.clone()));
        match self.resources.get(&id) {
            Some(Resource::Node(object)) => Some(object),
            _ => None,
        }
    }

    /// Labels of `node`: its own, and over them those a user gave it.
    pub fn labels(&self, node: &NodeName) -> BTreeMap<String, String> {
        let mut labels = self
            .nodes
            .get(node)
            .map(|n| n.labels.clone())
            .unwrap_or_default();
        if let Some(object) = self.node_resource(node) {
            labels.extend(object.metadata.labels.clone());
        }
        labels
    }
}
