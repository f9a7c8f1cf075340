//! What containers of functions and services have in common. Its fields are written down once, in
//! [`with_container_fields`]: serde's `flatten` would take places and typed scalars out of a user's mistakes.

use super::Memory;
use kc_agent_api::{Device, Tmpfs, Volume};
use serde::{Deserialize, Serialize};

/// Hands the fields that every container has to the macro `$then`, behind what it is given itself.
macro_rules! with_container_fields {
    ($then:ident! { $($given:tt)* }) => {
        $then! {
            { $($given)* }
            /// Image reference; only what is physical has none.
            #[serde(default, skip_serializing_if = "String::is_empty")]
            image: String,
            /// Replaces the image's entry point.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            command: Vec<String>,
            /// Arguments.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            args: Vec<String>,
            /// Where the process starts.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            working_dir: Option<String>,
            /// Who the process is: `user` or `user:group`, names or numbers.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            user: Option<String>,
            /// Groups the process is in besides, names of the image or numbers.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            group_add: Vec<String>,
            /// What the container takes its host for.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            hostname: Option<String>,
            /// Environment.
            #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            env: std::collections::BTreeMap<String, String>,
            /// Small files mounted read-only.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            files: Vec<super::FileSpec>,
            /// Values of secrets, as files.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            secrets: Vec<super::SecretRef>,
            /// The secret that the image is pulled with.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            pull_secret: Option<super::Name>,
            /// Paths of the box.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            mounts: Vec<super::MountSpec>,
            /// Storage of the box that outlives the container.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            volumes: Vec<super::VolumeSpec>,
            /// File systems in memory.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            tmpfs: Vec<super::TmpfsSpec>,
            /// Whether nothing can be written but what is mounted.
            #[serde(default, skip_serializing_if = "std::ops::Not::not")]
            read_only_root_filesystem: bool,
            /// Devices of the box.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            devices: Vec<super::DeviceSpec>,
            /// Linux capabilities added.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            capabilities: Vec<String>,
            /// Kernel parameters of the container's namespaces.
            #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            sysctls: std::collections::BTreeMap<String, String>,
            /// Labels of the engine's container.
            #[serde(default, skip_serializing_if = "std::collections::BTreeMap::is_empty")]
            labels: std::collections::BTreeMap<String, String>,
            /// Functions and services of which an instance must be ready before this one is placed, and, on
            /// its own box, before it is started.
            #[serde(default, skip_serializing_if = "Vec::is_empty")]
            depends_on: Vec<super::Name>,
            /// What one container asks for and is limited to.
            #[serde(default)]
            resources: super::Requests,
            /// When the image is pulled.
            #[serde(default, with = "super::workload::pull")]
            pull: kc_agent_api::PullPolicy,
            /// What the engine does when the process ends.
            #[serde(default, with = "super::workload::restart")]
            restart: kc_agent_api::Restart,
            /// How it is known that it works; the image's own check when absent.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            health: Option<super::HealthSpec>,
            /// How a change comes to containers.
            #[serde(default, skip_serializing_if = "super::UpdateSpec::is_default")]
            update: super::UpdateSpec,
            /// How long it may take to end by itself; 3 s when absent.
            #[serde(default, skip_serializing_if = "Option::is_none")]
            stop_timeout: Option<super::Period>,
        }
    };
}

/// A resource that has containers: what is written, and in front of it its own fields.
macro_rules! spec {
    (
        { $(#[$meta:meta])* pub struct $name:ident { $($own:tt)* } }
        $($(#[$attribute:meta])* $field:ident : $type:ty,)*
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(deny_unknown_fields, rename_all = "camelCase")]
        pub struct $name {
            $($own)*
            $($(#[$attribute])* pub $field: $type,)*
        }

        impl $name {
            /// The part that is about one container.
            pub fn workload(&self) -> $crate::resource::WorkloadSpec<'_> {
                $crate::resource::WorkloadSpec { $($field: &self.$field,)* }
            }
        }
    };
}

pub(super) use {spec, with_container_fields};

/// The same, borrowed from whichever resource it is part of.
macro_rules! borrowed {
    (
        { $(#[$meta:meta])* pub struct $name:ident }
        $($(#[doc = $doc:literal])* $(#[serde $serde:tt])? $field:ident : $type:ty,)*
    ) => {
        $(#[$meta])*
        pub struct $name<'a> {
            $($(#[doc = $doc])* pub $field: &'a $type,)*
        }
    };
}

with_container_fields! {
    borrowed! {
        /// What is wanted of one container.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub struct WorkloadSpec
    }
}

impl WorkloadSpec<'_> {
    /// Whether it is about this secret, for files or for pulling.
    pub fn names_secret(&self, name: &super::Name) -> bool {
        self.pull_secret.as_ref() == Some(name) || self.secrets.iter().any(|s| s.name == *name)
    }
}

/// A small file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct FileSpec {
    /// Absolute path in the container.
    pub path: String,
    /// Its text.
    pub content: String,
}

/// A path of the box in a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct MountSpec {
    /// Absolute path on the box.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may not write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// Storage of the box, kept when containers are replaced or deleted. Containers of one box that
/// name the same volume share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct VolumeSpec {
    /// Unique on the box; the engine's volume is called `kc-<name>`.
    pub name: String,
    /// Absolute path in the container.
    pub target: String,
    /// Whether the container may not write.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub read_only: bool,
}

/// A file system in memory, empty at each start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct TmpfsSpec {
    /// Absolute path in the container.
    pub target: String,
    /// Most it may hold; half the box's memory when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<Memory>,
}

/// A device of the box, without further privileges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct DeviceSpec {
    /// Absolute path on the box, such as `/dev/ttyUSB0`.
    pub source: String,
    /// Absolute path in the container; the same when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// Some of `r`, `w` and `m`; all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<String>,
}

impl VolumeSpec {
    /// As the agent is told.
    pub fn wire(&self) -> Volume {
        Volume {
            name: self.name.clone(),
            target: self.target.clone(),
            read_only: self.read_only,
        }
    }
}

impl TmpfsSpec {
    /// As the agent is told.
    pub fn wire(&self) -> Tmpfs {
        Tmpfs {
            target: self.target.clone(),
            size_bytes: self.size.map(Memory::bytes),
        }
    }
}

impl DeviceSpec {
    /// As the agent is told.
    pub fn wire(&self) -> Device {
        Device {
            source: self.source.clone(),
            target: self.inside().to_owned(),
            permissions: self.permissions.clone().unwrap_or_else(|| "rwm".to_owned()),
        }
    }

    /// Its path in the container.
    pub fn inside(&self) -> &str {
        self.target.as_ref().unwrap_or(&self.source)
    }
}

/// `IfNotPresent`, `Always`, `Never`: the spelling users know.
pub(super) mod pull {
    use kc_agent_api::PullPolicy;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Pull {
        IfNotPresent,
        Always,
        Never,
    }

    pub(in crate::resource) fn serialize<S: Serializer>(
        policy: &PullPolicy,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match policy {
            PullPolicy::IfNotPresent => Pull::IfNotPresent,
            PullPolicy::Always => Pull::Always,
            PullPolicy::Never => Pull::Never,
        }
        .serialize(serializer)
    }

    pub(in crate::resource) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<PullPolicy, D::Error> {
        Ok(match Pull::deserialize(deserializer)? {
            Pull::IfNotPresent => PullPolicy::IfNotPresent,
            Pull::Always => PullPolicy::Always,
            Pull::Never => PullPolicy::Never,
        })
    }
}

/// `Always`, `OnFailure`, `Never`.
pub(super) mod restart {
    use kc_agent_api::Restart as Policy;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    enum Restart {
        Always,
        OnFailure,
        Never,
    }

    pub(in crate::resource) fn serialize<S: Serializer>(
        policy: &Policy,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match policy {
            Policy::Always => Restart::Always,
            Policy::OnFailure => Restart::OnFailure,
            Policy::Never => Restart::Never,
        }
        .serialize(serializer)
    }

    pub(in crate::resource) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Policy, D::Error> {
        Ok(match Restart::deserialize(deserializer)? {
            Restart::Always => Policy::Always,
            Restart::OnFailure => Policy::OnFailure,
            Restart::Never => Policy::Never,
        })
    }
}
