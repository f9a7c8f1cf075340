//! What the engine is told to make, from what the document says. Pure.

use super::steps::GRACE_S;
use crate::reconcile::{Part, container_hash, overrides_image, pause_hash};
use bollard::models::{
    ContainerCreateBody, DeviceMapping, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountType, RestartPolicy, RestartPolicyNameEnum,
};
use kc_agent_api::{ContainerSpec, Device, Network, Restart, Role, Tmpfs};
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
    /// A volume's name in the document.
    pub const VOLUME: &str = "kcluster.volume";
}

/// The engine's name for a container.
pub fn container_name(name: &str, part: Part) -> String {
    match part {
        Part::Main => format!("kc-{name}"),
        Part::Pause => format!("kc-{name}-pause"),
    }
}

/// The engine's name for a volume.
pub(super) fn volume_name(name: &str) -> String {
    format!("kc-{name}")
}

/// The container that holds the network namespace.
pub fn pause_body(node: &str, spec: &ContainerSpec, image: &str) -> ContainerCreateBody {
    let hash = pause_hash(spec);
    let hostname = spec.hostname.as_ref().unwrap_or(&spec.name);
    ContainerCreateBody {
        image: Some(image.to_owned()),
        entrypoint: Some(vec!["/kc-function".into(), "pause".into()]),
        hostname: Some(hostname.chars().take(63).collect()),
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

/// Host and container paths of what the document brought along.
#[derive(Debug, Default)]
pub struct Brought {
    /// Small files.
    pub files: Vec<(PathBuf, String)>,
    /// Secrets. They are not there after a reboot, and the engine must not make directories of them.
    pub secrets: Vec<(PathBuf, String)>,
}

/// The container that does the work. `join` is the pause container's id.
pub fn container_body(
    node: &str,
    spec: &ContainerSpec,
    join: Option<&str>,
    brought: Brought,
) -> ContainerCreateBody {
    let role = match spec.role {
        Role::Function { .. } => "function",
        Role::Service { .. } => "service",
    };
    let mounts = spec.mounts.iter().map(|mount| {
        let mode = if mount.read_only { "ro" } else { "rw" };
        format!("{}:{}:{mode}", mount.source, mount.target)
    });
    let volumes = spec.volumes.iter().map(|volume| {
        let mode = if volume.read_only { "ro" } else { "rw" };
        format!("{}:{}:{mode}", volume_name(&volume.name), volume.target)
    });
    let files = brought
        .files
        .into_iter()
        .map(|(host, inside)| format!("{}:{inside}:ro", host.display()));
    let binds: Vec<String> = mounts.chain(volumes).chain(files).collect();
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
        labels: Some(labels_over_users(node, spec, role)),
        working_dir: spec.working_dir.clone(),
        user: spec.user.clone(),
        // With legs it has the name of the pause container, whose network it joins.
        hostname: match spec.network {
            Network::Host => spec.hostname.clone(),
            Network::Legs(_) => None,
        },
        healthcheck: overrides_image(spec).then(|| HealthConfig {
            test: Some(vec!["NONE".into()]),
            ..HealthConfig::default()
        }),
        // Whoever stops it later, the engine at shutdown too, goes by this.
        stop_timeout: Some(spec.stop_timeout_s.unwrap_or(GRACE_S).into()),
        host_config: Some(HostConfig {
            network_mode: Some(network),
            binds: (!binds.is_empty()).then_some(binds),
            mounts: (!brought.secrets.is_empty())
                .then(|| brought.secrets.iter().map(secret).collect()),
            nano_cpus: spec
                .limits
                .cpu_millis
                .map(|millis| i64::from(millis) * 1_000_000),
            memory,
            // No swap on top: a box that swaps to its SD card is a box that stands still.
            memory_swap: memory,
            cap_add: list(&spec.capabilities),
            group_add: list(&spec.group_add),
            readonly_rootfs: spec.read_only_root.then_some(true),
            tmpfs: (!spec.tmpfs.is_empty()).then(|| spec.tmpfs.iter().map(tmpfs).collect()),
            devices: (!spec.devices.is_empty()).then(|| spec.devices.iter().map(device).collect()),
            sysctls: (!spec.sysctls.is_empty()).then(|| spec.sysctls.clone().into_iter().collect()),
            // The engine knows no order: what waits for others is started by the agent alone.
            restart_policy: Some(policy(match spec.restart {
                _ if !spec.depends_on.is_empty() => RestartPolicyNameEnum::NO,
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

fn secret((host, inside): &(PathBuf, String)) -> Mount {
    Mount {
        source: Some(host.display().to_string()),
        target: Some(inside.clone()),
        typ: Some(MountType::BIND),
        read_only: Some(true),
        ..Mount::default()
    }
}

fn tmpfs(tmpfs: &Tmpfs) -> (String, String) {
    let size = tmpfs.size_bytes.map(|bytes| format!("size={bytes}"));
    (tmpfs.target.clone(), size.unwrap_or_default())
}

fn device(device: &Device) -> DeviceMapping {
    DeviceMapping {
        path_on_host: Some(device.source.clone()),
        path_in_container: Some(device.target.clone()),
        cgroup_permissions: Some(device.permissions.clone()),
    }
}

fn policy(name: RestartPolicyNameEnum) -> RestartPolicy {
    RestartPolicy {
        name: Some(name),
        maximum_retry_count: None,
    }
}

/// What the user says, and ours, which are how we know it again.
fn labels_over_users(node: &str, spec: &ContainerSpec, role: &str) -> HashMap<String, String> {
    let mut all: HashMap<String, String> = spec.labels.clone().into_iter().collect();
    all.extend(labels(node, spec, role, container_hash(spec)));
    all
}

fn labels(node: &str, spec: &ContainerSpec, role: &str, hash: String) -> HashMap<String, String> {
    HashMap::from([
        (Labels::NODE.into(), node.into()),
        (Labels::NAME.into(), spec.name.clone()),
        (Labels::HASH.into(), hash),
        (Labels::ROLE.into(), role.into()),
        (Labels::OWNER.into(), spec.role.owner().to_owned()),
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
        let brought = Brought {
            files,
            secrets: vec![("/run/kc/0".into(), "/run/secrets/a/b".into())],
        };
        let body = container_body("pi", &spec(), Some("abc"), brought);
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
        let mount = &host.mounts.unwrap()[0];
        assert_eq!(mount.source.as_deref(), Some("/run/kc/0"));
        assert_eq!(mount.read_only, Some(true));
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
    fn ours_are_the_labels_that_count_and_all_else_is_as_the_user_says() {
        let spec = ContainerSpec {
            working_dir: Some("/srv".into()),
            user: Some("1000:dialout".into()),
            group_add: vec!["997".into()],
            hostname: Some("meter".into()),
            read_only_root: true,
            tmpfs: serde_json::from_value(serde_json::json!([
                {"target": "/run", "size-bytes": 4096}, {"target": "/tmp"}
            ]))
            .unwrap(),
            volumes: serde_json::from_value(serde_json::json!([
                {"name": "data", "target": "/data"},
                {"name": "maps", "target": "/maps", "read-only": true}
            ]))
            .unwrap(),
            devices: serde_json::from_value(serde_json::json!([
                {"source": "/dev/ttyUSB0", "target": "/dev/meter", "permissions": "rw"}
            ]))
            .unwrap(),
            labels: [("kcluster.name", "forged"), ("traefik.enable", "true")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
            sysctls: [("net.ipv4.ip_forward".to_owned(), "1".to_owned())].into(),
            ..spec()
        };
        let body = container_body("pi", &spec, Some("abc"), Brought::default());
        let (host, labels) = (body.host_config.unwrap(), body.labels.unwrap());
        assert_eq!(labels[Labels::NAME], "fw");
        assert_eq!(labels["traefik.enable"], "true");
        assert_eq!(body.working_dir.as_deref(), Some("/srv"));
        assert_eq!(body.user.as_deref(), Some("1000:dialout"));
        assert_eq!(host.group_add.unwrap(), ["997"]);
        assert_eq!(host.readonly_rootfs, Some(true));
        let tmpfs = host.tmpfs.unwrap();
        assert_eq!((&*tmpfs["/run"], &*tmpfs["/tmp"]), ("size=4096", ""));
        assert_eq!(
            host.binds.unwrap(),
            ["/a:/b:ro", "kc-data:/data:rw", "kc-maps:/maps:ro"]
        );
        let device = &host.devices.unwrap()[0];
        assert_eq!(device.path_on_host.as_deref(), Some("/dev/ttyUSB0"));
        assert_eq!(device.path_in_container.as_deref(), Some("/dev/meter"));
        assert_eq!(device.cgroup_permissions.as_deref(), Some("rw"));
        assert_eq!(host.sysctls.unwrap()["net.ipv4.ip_forward"], "1");
        // The engine refuses a name beside somebody else's network, so the pause has it.
        assert_eq!(body.hostname, None);
        let pause = pause_body("pi", &spec, "p:1");
        assert_eq!(pause.hostname.as_deref(), Some("meter"));
        let plain = ContainerSpec {
            hostname: None,
            ..spec.clone()
        };
        assert_ne!(pause_hash(&plain), pause_hash(&spec));
        let network = Network::Host;
        let body = container_body(
            "pi",
            &ContainerSpec { network, ..spec },
            None,
            Brought::default(),
        );
        assert_eq!(body.hostname.as_deref(), Some("meter"));
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
