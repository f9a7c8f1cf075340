//! Fingerprints of what a container is made from. They outlive agent versions: absent, empty
//! and false are left out, so that a field added later, and not used, changes nothing.

use kc_agent_api::{ContainerSpec, HealthCheck, Network, Probe, Sealed, SecretFile, UpdatePolicy};
use serde::Serialize;
use serde_json::Value;

/// Fingerprint of everything a container is made from. How it is checked, updated and stopped is
/// the agent's own work and changes without it; but whether the engine leaves the image's own check
/// alone is decided when it is made. Of secrets their versions count: one that is sealed to another key
/// is still the same value.
pub fn container_hash(spec: &ContainerSpec) -> String {
    fingerprint(&ContainerSpec {
        health: overrides_image(spec).then(|| HealthCheck::new(Probe::None)),
        update: UpdatePolicy::default(),
        network: apart(&spec.network),
        stop_timeout_s: None,
        secrets: spec.secrets.iter().map(unsealed).collect(),
        pull_secret: None,
        cluster: None,
        // Whether it waits for others decides who starts it again, and not which ones.
        depends_on: spec
            .depends_on
            .first()
            .map(|_| String::new())
            .into_iter()
            .collect(),
        ..spec.clone()
    })
}

fn unsealed(secret: &SecretFile) -> SecretFile {
    SecretFile {
        sealed: Sealed::default(),
        ..secret.clone()
    }
}

/// Whether the image's own health check is not wanted.
pub fn overrides_image(spec: &ContainerSpec) -> bool {
    let check = spec.health.as_ref();
    check.is_some_and(|check| check.probe != Probe::Image)
}

/// Fingerprint of what a pause container is made from: its legs and its name of the host, not its
/// image, so that a new pause image restarts nothing.
pub fn pause_hash(spec: &ContainerSpec) -> String {
    let network = apart(&spec.network);
    match &spec.hostname {
        None => fingerprint(&network),
        Some(hostname) => fingerprint(&(network, hostname)),
    }
}

/// Without what legs share with others, which comes and goes while they run.
fn apart(network: &Network) -> Network {
    let mut network = network.clone();
    if let Network::Legs(legs) = &mut network {
        legs.iter_mut()
            .for_each(|leg| leg.virtual_addresses.clear());
    }
    network
}

fn fingerprint<T: Serialize>(value: &T) -> String {
    // A type that does not serialise has no fingerprint; ours all do.
    let value = serde_json::to_value(value).map(essence).unwrap_or_default();
    format!("{:016x}", fnv1a(value.to_string().as_bytes()))
}

/// `value` without what says nothing. Objects come out in key order.
fn essence(value: Value) -> Value {
    match value {
        Value::Object(fields) => Value::Object(
            fields
                .into_iter()
                .map(|(key, value)| (key, essence(value)))
                .filter(|(_, value)| !says_nothing(value))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.into_iter().map(essence).collect()),
        other => other,
    }
}

fn says_nothing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    }
}

/// FNV-1a, 64 bits: stable over builds and architectures, and nobody here forges documents.
pub(crate) fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_hash_is_the_published_one() {
        assert_eq!(fnv1a(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn a_field_that_says_nothing_changes_nothing() {
        let old = json!({"image": "a", "env": {"K": "v"}});
        let new =
            json!({"gpu": null, "env": {"K": "v"}, "image": "a", "devices": [], "init": false});
        assert_eq!(fingerprint(&old), fingerprint(&new));
        assert_ne!(
            fingerprint(&old),
            fingerprint(&json!({"image": "b", "env": {"K": "v"}}))
        );
    }

    #[test]
    fn an_empty_argument_is_not_nothing() {
        assert_ne!(
            fingerprint(&json!({"args": ["", "a"]})),
            fingerprint(&json!({"args": ["a"]}))
        );
    }
}
