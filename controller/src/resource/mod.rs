//! What a user may ask for: the kinds of resources and their fields, as they are written in
//! manifests, stored and served. Types only: [`crate::manifest`] reads and checks them,
//! [`crate::plan`] acts on them.

mod autoscale;
mod chain;
mod cluster;
mod function;
mod health;
mod liveness;
mod login;
mod name;
mod node;
mod period;
mod physical;
mod quantity;
mod secret;
mod service;
mod stack;
mod window;
mod workload;

pub use autoscale::{AutoscaleSpec, FlapBudget, Pace, StepPolicy, Targets};
pub use chain::{
    Algorithm, ChainSpec, End, Length, MissingLoad, PhysicalPolicy, Rebalance, ReturnPath,
    SchedulerSpec, Threshold, TrafficMatch,
};
pub use cluster::{ClusterMode, ClusterSpec, HookSpec};
pub use function::{FunctionSpec, LegSharing, Wiring};
pub use health::{HealthSpec, HttpProbe, TcpProbe, UpdateSpec};
pub use liveness::{LivenessKind, LivenessSpec};
pub use login::{DOCKER_CONFIG, is_docker_config, login};
pub use name::{Kind, KindError, Name, NameError, ResourceId, ResourceIdError};
pub use node::{LinkSpec, NodeResourceSpec};
pub use period::{Period, PeriodError};
pub use physical::{BitRate, BitRateError, CapacitySpec, PhysicalSpec, VlanLegs};
pub use quantity::{Cpu, Memory, QuantityError, Requests};
pub use secret::{Secret, SecretKey, SecretRef};
pub use service::{PlacementSpec, ServiceNetwork, ServicePort, ServiceSpec};
pub use stack::{Output, Parameter, ParameterType, Piece, Stack};
pub(crate) use window::rfc3339;
pub use window::{Window, WindowError};
pub use workload::{DeviceSpec, FileSpec, MountSpec, TmpfsSpec, VolumeSpec, WorkloadSpec};

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The only `apiVersion` there is.
pub const API_VERSION: &str = "kcluster/v1";

/// `apiVersion: kcluster/v1`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ApiVersion {
    /// The first version.
    #[default]
    #[serde(rename = "kcluster/v1")]
    V1,
}

/// Who a resource is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Metadata {
    /// Unique within its kind.
    pub name: Name,
    /// Free for users; on nodes, what `nodeSelector` selects by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

/// One resource of a known kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Object<S> {
    /// Always `kcluster/v1`.
    pub api_version: ApiVersion,
    /// Who it is.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: S,
}

/// One resource of any kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind")]
pub enum Resource {
    /// A kind of network function and its instances.
    ServiceFunction(Object<FunctionSpec>),
    /// An ordered list of function types that traffic runs through.
    Chain(Object<ChainSpec>),
    /// A replicated container.
    Service(Object<ServiceSpec>),
    /// What a user says about a box.
    Node(Object<NodeResourceSpec>),
    /// Values that only containers see.
    Secret(Secret),
}

impl Resource {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::ServiceFunction(_) => Kind::ServiceFunction,
            Self::Chain(_) => Kind::Chain,
            Self::Service(_) => Kind::Service,
            Self::Node(_) => Kind::Node,
            Self::Secret(_) => Kind::Secret,
        }
    }

    /// Its metadata.
    pub const fn metadata(&self) -> &Metadata {
        match self {
            Self::ServiceFunction(object) => &object.metadata,
            Self::Chain(object) => &object.metadata,
            Self::Service(object) => &object.metadata,
            Self::Node(object) => &object.metadata,
            Self::Secret(secret) => &secret.metadata,
        }
    }

    /// Its name.
    pub const fn name(&self) -> &Name {
        &self.metadata().name
    }

    /// Kind and name together.
    pub fn id(&self) -> ResourceId {
        ResourceId::new(self.kind(), self.name().clone())
    }
}
