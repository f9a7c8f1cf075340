//! Whether a document can be carried out at all. What contradicts itself is refused whole,
//! before anything on the box changes.

use kc_agent_api::{ContainerSpec, Network, NodeSpec, Volume};
use std::collections::BTreeSet;

/// Why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    /// Two of one kind under one name.
    #[error("two {kind}s are called {name:?}")]
    Twice {
        /// What they are.
        kind: &'static str,
        /// Their name.
        name: String,
    },
    /// A name the engine would refuse.
    #[error(
        "container name {0:?} must be 1 to 63 characters of a-z A-Z 0-9 . _ -, the first a letter or digit, and not end in -pause"
    )]
    Name(String),
    /// A path that is not absolute, or climbs.
    #[error("path {path:?} of container {name} must be absolute and without `..`")]
    Path {
        /// The container.
        name: String,
        /// The path.
        path: String,
    },
    /// A volume the engine would refuse.
    #[error(
        "volume {volume:?} of container {name} must be 1 to 64 characters of a-z A-Z 0-9 . _ -, the first a letter or digit"
    )]
    Volume {
        /// The container.
        name: String,
        /// The volume.
        volume: String,
    },
    /// A MAC address that is a group, or nobody's.
    #[error("leg {port} has MAC address {mac}, which no interface can have")]
    Mac {
        /// The leg's port.
        port: String,
        /// The address.
        mac: String,
    },
}

/// Checks a document against itself.
pub fn validate(spec: &NodeSpec) -> Result<(), SpecError> {
    let mut names = BTreeSet::new();
    let mut links = BTreeSet::new();
    let mut claim = |kind, name: &str| {
        if links.insert(name.to_owned()) {
            Ok(())
        } else {
            Err(SpecError::Twice {
                kind,
                name: name.to_owned(),
            })
        }
    };
    for leg in &spec.host_legs {
        claim("interface", leg.port.as_str())?;
        claim("interface", leg.interface.as_str())?;
    }
    for container in &spec.containers {
        check_name(&container.name)?;
        if !names.insert(container.name.as_str()) {
            let name = container.name.clone();
            return Err(SpecError::Twice {
                kind: "container",
                name,
            });
        }
        check_paths(container)?;
        check_volumes(container)?;
        let Network::Legs(legs) = &container.network else {
            continue;
        };
        let mut inside = BTreeSet::new();
        for leg in legs {
            claim("interface", leg.port.as_str())?;
            if !inside.insert(leg.interface.as_str()) {
                let name = format!("{}/{}", container.name, leg.interface);
                return Err(SpecError::Twice {
                    kind: "interface",
                    name,
                });
            }
        }
    }
    for leg in all_legs(spec) {
        if leg.mac.is_group() || leg.mac.0 == [0; 6] {
            let (port, mac) = (leg.port.to_string(), leg.mac.to_string());
            return Err(SpecError::Mac { port, mac });
        }
    }
    Ok(())
}

fn all_legs(spec: &NodeSpec) -> impl Iterator<Item = &kc_agent_api::Leg> {
    let inside = spec
        .containers
        .iter()
        .flat_map(|container| match &container.network {
            Network::Legs(legs) => legs.as_slice(),
            Network::Host => &[],
        });
    inside.chain(&spec.host_legs)
}

fn check_name(name: &str) -> Result<(), SpecError> {
    let legal = name.len() <= 63
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
        && !name.ends_with("-pause");
    if legal {
        Ok(())
    } else {
        Err(SpecError::Name(name.to_owned()))
    }
}

fn check_volumes(container: &ContainerSpec) -> Result<(), SpecError> {
    let mut volumes = container.volumes.iter().map(|volume| &volume.name);
    match volumes.find(|volume| !Volume::is_legal_name(volume)) {
        Some(volume) => Err(SpecError::Volume {
            name: container.name.clone(),
            volume: volume.clone(),
        }),
        None => Ok(()),
    }
}

fn check_paths(container: &ContainerSpec) -> Result<(), SpecError> {
    let mounts = container
        .mounts
        .iter()
        .flat_map(|mount| [&mount.source, &mount.target]);
    let devices = container
        .devices
        .iter()
        .flat_map(|device| [&device.source, &device.target]);
    let files = container.files.iter().map(|file| &file.path);
    let volumes = container.volumes.iter().map(|volume| &volume.target);
    let tmpfs = container.tmpfs.iter().map(|tmpfs| &tmpfs.target);
    let secrets = container.secrets.iter().map(|secret| &secret.path);
    let all = mounts.chain(devices).chain(files).chain(secrets);
    for path in all
        .chain(volumes)
        .chain(tmpfs)
        .chain(&container.working_dir)
    {
        // A colon would end the path in the engine's bind syntax.
        let legal = path.starts_with('/')
            && !path.contains(':')
            && path.split('/').all(|part| part != "..");
        if !legal {
            let (name, path) = (container.name.clone(), path.clone());
            return Err(SpecError::Path { name, path });
        }
    }
    Ok(())
}
