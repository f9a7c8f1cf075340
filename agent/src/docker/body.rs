//! What the engine is told to make, from what the document says. Pure.

use super::steps::GRACE_S;
use crate::reconcile::{Part, container_hash, overrides_image, pause_hash};
use bollard::models::{
    ContainerCreateBody, HealthConfig, HostConfig, HostConfigLogConfig, RestartPolicy,
    RestartPolicyNameEnum,
};
use kc_agent_api::{ContainerSpec, Network, Restart, Role};
use std::collections::HashMap;
use std::path::PathBuf;

/// Labels by which our containers are known.
#[derive(Debug, Clone, Copy)]
pub struct Labels;

impl Labels {
    /// The node a container belongs to.
    pub const NODE: &str = "kcluster.node";
    /// Its name in the document.
    pub const NAME: &str = "kcluster.name";
    /// Fingerprint of what it was made from.
    pub const HASH: &str = "kcluster.spec-hash";
    /// `pause`, `function` or `service`.
    pub const ROLE: &str = "kcluster.role";
    /// The `ServiceFunction` or `Service` it belongs to.
    pub const OWNER: &str = "kcluster.owner";
}

/// The engine's name for a container.
pub fn container_name(name: &str, part: Part) -> String {
    match part {
        Part::Main => format!("kc-{name}"),
        Part::Pause => format!("kc-{name}-pause"),
    }
}

/// The container that holds the network namespace.
pub fn pause_body(node: &str, spec: &ContainerSpec, image: &str) -> ContainerCreateBody {
    let hash = pause_hash(&spec.network);
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["/kc-function".into(), "pause".into()]),
        hostname: Some(spec.name.chars().take(63).collect()),
        labels: Some(labels(node, spec, "pause", hash)),
        host_config: Some(HostConfig {
            network_mode: Some("none".into()),
            restart_policy: Some(policy(RestartPolicyNameEnum::ALWAYS)),
            cap_drop: Some(vec!["ALL".into()]),
            readonly_rootfs: Some(true),
            log_config: Some(log_config()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

/// The container that does the work. `join` is the pause container's id; `files` are host and
/// container paths of what the document brought along.
pub fn container_body(
    node: &str,
    spec: &ContainerSpec,
    join: Option<&str>,
    files: Vec<(PathBuf, String)>,
) -> ContainerCreateBody {
    let role = match spec.role {
        Role::Function { .. } => "function",
        Role::Service { .. } => "service",
    };
    let mounts = spec.mounts.iter().map(|mount| {
        let mode = if mount.read_only { "ro" } else { "rw" };
        format!("{}:{}:{mode}", mount.source, mount.target)
    });
    let files = files
        .into_iter()
        .map(|(host, inside)| format!("{}:{inside}:ro", host.display()));
    let binds: Vec<String> = mounts.chain(files).collect();
    let memory = spec
        .limits
        .memory_bytes
        .map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let network = match (&spec.network, join) {
        (Network::Host, _) => "host".to_owned(),
        (Network::Legs(_), Some(pause)) => format!("container:{pause}"),
        (Network::Legs(_), None) => "none".to_owned(),
    };
    ContainerCreateBody {
        image: Some(spec.image.clone()),
        entrypoint: list(&spec.entrypoint),
        cmd: list(&spec.args),
        env: Some(
            spec.env
                .iter()
                .map(|(key, value)| format!("{key}={value}"))
                .collect(),
        ),
        labels: Some(labels(node, spec, role, container_hash(spec))),
        healthcheck: overrides_image(spec).then(|| HealthConfig {
            test: Some(vec!["NONE".into()]),
            ..HealthConfig::default()
        }),
        // Whoever stops it later, the engine at shutdown too, goes by this.
        stop_timeout: Some(spec.stop_timeout_s.unwrap_or(GRACE_S).into()),
        host_config: Some(HostConfig {
            network_mode: Some(network),
            binds: (!binds.is_empty()).then_some(binds),
            nano_cpus: spec
                .limits
                .cpu_millis
                .map(|millis| i64::from(millis) * 1_000_000),
            memory,
            // No swap on top: a box that swaps to its SD card is a box that stands still.
            memory_swap: memory,
            cap_add: list(&spec.capabilities),
            restart_policy: Some(policy(match spec.restart {
                Restart::Always => RestartPolicyNameEnum::ALWAYS,
                Restart::OnFailure => RestartPolicyNameEnum::ON_FAILURE,
                Restart::Never => RestartPolicyNameEnum::NO,
            })),
            log_config: Some(log_config()),
            ..HostConfig::default()
        }),
        ..ContainerCreateBody::default()
    }
}

fn list(words: &[String]) -> Option<Vec<String>> {
    (!words.is_empty()).then(|| words.to_vec())
}

fn policy(name: RestartPolicyNameEnum) -> RestartPolicy {
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: None,
    }
}

fn labels(node: &str, spec: &ContainerSpec, role: &str, hash: String) -> HashMap<String, String> {
    let owner = match &spec.role {
        Role::Function { function } => function,
        Role::Service { service } => service,
    };
    HashMap::from([
        (Labels::NODE.into(), node.into()),
        (Labels::NAME.into(), spec.name.clone()),
        (Labels::HASH.into(), hash),
        (Labels::ROLE.into(), role.into()),
        (Labels::OWNER.into(), owner.clone()),
    ])
}

/// Bounded: logs of a chatty function do not fill the card.
fn log_config() -> HostConfigLogConfig {
    let options = [("max-size", "10m"), ("max-file", "2")];
    HostConfigLogConfig {
        typ: Some("json-file".into()),
        config: Some(
            options
                .map(|(key, value)| (key.into(), value.into()))
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec() -> ContainerSpec {
        let spec = serde_json::json!({
            "name": "fw", "role": {"function": {"function": "firewall"}}, "image": "a:1",
            "args": ["x"], "env": {"A": "b"}, "capabilities": ["NET_ADMIN"],
            "limits": {"cpu-millis": 250, "memory-bytes": 1048576},
            "mounts": [{"source": "/a", "target": "/b", "read-only": true}],
            "network": {"legs": []}, "restart": "on-failure",
        });
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn a_container_is_told_everything_the_document_says() {
        let files = vec![("/state/fw/0".into(), "/etc/rules".into())];
        let body = container_body("pi", &spec(), Some("abc"), files);
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("container:abc"));
        assert_eq!(host.nano_cpus, Some(250_000_000));
        assert_eq!(
            (host.memory, host.memory_swap),
            (Some(1 << 20), Some(1 << 20))
        );
        assert_eq!(
            host.binds.unwrap(),
            ["/a:/b:ro", "/state/fw/0:/etc/rules:ro"]
        );
        assert_eq!(host.cap_add.unwrap(), ["NET_ADMIN"]);
        assert_eq!(
            (body.cmd.unwrap(), body.entrypoint),
            (vec!["x".to_owned()], None)
        );
        let labels = body.labels.unwrap();
        assert_eq!(labels[Labels::HASH], container_hash(&spec()));
        assert_eq!(
            (&*labels[Labels::ROLE], &*labels[Labels::OWNER]),
            ("function", "firewall")
        );
    }

    #[test]
    fn a_pause_container_has_nothing_but_its_namespace() {
        let body = pause_body("pi", &spec(), "p:1");
        let host = body.host_config.unwrap();
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.cap_drop.unwrap(), ["ALL"]);
        assert_eq!(body.labels.unwrap()[Labels::ROLE], "pause");
    }
}
