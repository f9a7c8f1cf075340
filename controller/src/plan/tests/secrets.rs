//! Secrets on their way: sealed to the box that needs them, changed a few at a time, held back from a
//! box whose key has changed, and nowhere to be read.

use super::cluster::node;
use super::*;
use kc_agent_api::{BoxKey, ContainerSpec, NodeName, Presence};

const MARKER: &str = "xyzzy-4711";

const DB: &str = "\
apiVersion: kcluster/v1
kind: Secret
metadata: {name: db}
stringData: {password: xyzzy-4711, user: me}
---
apiVersion: kcluster/v1
kind: Secret
metadata: {name: hub}
stringData: {username: puller, password: xyzzy-4711}
---
apiVersion: kcluster/v1
kind: Service
metadata: {name: db}
spec:
  image: d
  replicas: 2
  pullSecret: hub
  placement: {nodes: [box1, box2]}
  secrets: [{name: db, key: password, path: /etc/pw}, {name: db}]
";

fn key(number: u8) -> BoxKey {
    BoxKey::new([number; 32])
}

/// Two boxes that have keys, and the service on them.
fn placed() -> Cluster {
    let mut cluster = Cluster::new(2);
    cluster.state.vault.begin([7; 32]);
    for number in 1..=2 {
        tell_key(&mut cluster, number, key(number));
    }
    cluster.apply(DB);
    cluster.settle();
    cluster
}

fn tell_key(cluster: &mut Cluster, number: u8, key: BoxKey) {
    let name = node(&format!("box{number}"));
    cluster.keys.insert(name.clone(), key);
    cluster.presence(&name, Presence::Online);
}

fn on(cluster: &Cluster, name: &NodeName) -> ContainerSpec {
    cluster.boxes[name].retained.clone().unwrap().containers[0].clone()
}

/// The password that a box can read, with that key.
fn password(cluster: &Cluster, number: u8, key: &BoxKey) -> String {
    let container = on(cluster, &node(&format!("box{number}")));
    let opened = container.secrets[0]
        .sealed
        .open(key, "db/password")
        .unwrap();
    String::from_utf8(opened.reveal().to_vec()).unwrap()
}

/// Everything that leaves the planner, or is printed of it.
fn seen(cluster: &Cluster) -> String {
    let documents: Vec<_> = cluster.boxes.values().map(|one| &one.retained).collect();
    let resources: Vec<_> = cluster.state.resources.values().collect();
    format!(
        "{}\n{}\n{}\n{:?}",
        serde_json::to_string(&documents).unwrap(),
        serde_json::to_string(&resources).unwrap(),
        cluster.told(),
        cluster.state,
    )
}

#[test]
fn each_box_can_read_what_is_sealed_to_it_and_nobody_else_anything() {
    let mut cluster = placed();
    let container = on(&cluster, &node("box1"));
    let files: Vec<_> = container
        .secrets
        .iter()
        .map(|s| (s.name.as_str(), s.path.as_str(), s.mode))
        .collect();
    assert_eq!(
        files,
        [
            ("db/password", "/etc/pw", 0o400),
            ("db/password", "/run/secrets/db/password", 0o400),
            ("db/user", "/run/secrets/db/user", 0o400),
        ]
    );
    assert_eq!(password(&cluster, 1, &key(1)), MARKER);
    assert_eq!(password(&cluster, 2, &key(2)), MARKER);
    assert!(
        container.secrets[0]
            .sealed
            .open(&key(2), "db/password")
            .is_err()
    );
    let pull = container.pull_secret.unwrap();
    let login = pull.sealed.open(&key(1), "hub").unwrap();
    let login: serde_json::Value = serde_json::from_slice(login.reveal()).unwrap();
    assert_eq!(
        login,
        serde_json::json!({"username": "puller", "password": MARKER})
    );

    let seen = seen(&cluster);
    assert!(!seen.contains(MARKER), "{seen}");
    // Base64 of it, at any of its three alignments.
    for packed in ["eHl6enktNDcxM", "h5enp5LTQ3MT", "4eXp6eS00NzEx"] {
        assert!(!seen.contains(packed), "{packed}: {seen}");
    }
    // Planning again changes nothing, and applying the same again neither.
    let generation = cluster.state.nodes[&node("box1")].generation;
    cluster.apply(DB);
    cluster.settle();
    assert_eq!(cluster.state.nodes[&node("box1")].generation, generation);
}

#[test]
fn a_changed_secret_comes_to_one_instance_after_another() {
    let mut cluster = placed();
    cluster
        .boxes
        .get_mut(&node("box1"))
        .unwrap()
        .unready
        .insert("db-1".into());
    cluster.pass(1_000);
    let other = DB.replacen(MARKER, "halibut", 1);
    // The secret alone: the service that names it is not in this file.
    cluster.apply(other.split("---").next().unwrap());
    cluster.pass(10_000);
    assert_eq!(password(&cluster, 1, &key(1)), "halibut");
    assert_eq!(password(&cluster, 2, &key(2)), MARKER);
    let told = cluster.state.rollout(&"Service/db".parse().unwrap());
    assert_eq!(told.as_deref(), Some("changing db-1, 1 to go"));
    cluster
        .boxes
        .get_mut(&node("box1"))
        .unwrap()
        .unready
        .clear();
    cluster.pass(1_000);
    assert_eq!(password(&cluster, 2, &key(2)), "halibut");
    // What nobody has any more is forgotten: three values are left, of which two say the same.
    assert_eq!(format!("{:?}", cluster.state.vault), "Vault(4 values)");
}

#[test]
fn a_login_that_changes_restarts_nothing() {
    let mut cluster = placed();
    let before = on(&cluster, &node("box1"));
    cluster.apply(&DB.replace(
        "username: puller, password: xyzzy-4711",
        "username: puller, password: halibut",
    ));
    assert_eq!(cluster.state.rollout(&"Service/db".parse().unwrap()), None);
    cluster.settle();
    let after = on(&cluster, &node("box1"));
    assert_eq!(before.secrets, after.secrets);
    assert_ne!(before.pull_secret, after.pull_secret);
}

#[test]
fn a_box_with_another_key_gets_nothing_until_somebody_trusts_it() {
    let mut cluster = placed();
    let before = on(&cluster, &node("box1"));
    tell_key(&mut cluster, 1, key(9));
    cluster.settle();
    assert_eq!(on(&cluster, &node("box1")), before);
    assert!(
        cluster.told().contains("node-key-changed Node/box1"),
        "{}",
        cluster.told()
    );
    assert!(
        cluster.told().contains("`kc trust box1`"),
        "{}",
        cluster.told()
    );
    // Told once, and a value that is new meanwhile is not for that key either.
    cluster.story.clear();
    cluster.apply(&DB.replacen(MARKER, "halibut", 1));
    cluster.pass(2_000);
    assert!(
        !cluster.told().contains("node-key-changed"),
        "{}",
        cluster.told()
    );
    let sealed = &on(&cluster, &node("box1")).secrets[0].sealed;
    assert!(sealed.open(&key(9), "db/password").is_err());

    assert_eq!(cluster.state.trust(&node("box1")), Some(true));
    assert_eq!(cluster.state.trust(&node("box1")), Some(false));
    assert_eq!(cluster.state.trust(&node("box9")), None);
    cluster.settle();
    assert_eq!(password(&cluster, 1, &key(9)), "halibut");
    // The value is the same, so is the container.
    let version = |container: ContainerSpec| container.secrets[2].version.clone();
    assert_eq!(version(on(&cluster, &node("box1"))), version(before));
}

#[test]
fn a_key_that_comes_back_is_the_one_that_was_trusted() {
    let mut cluster = placed();
    tell_key(&mut cluster, 1, key(9));
    cluster.settle();
    tell_key(&mut cluster, 1, key(1));
    cluster.settle();
    assert_eq!(cluster.state.nodes[&node("box1")].strange_key, None);
    assert_eq!(password(&cluster, 1, &key(1)), MARKER);
}

#[test]
fn nothing_with_secrets_goes_where_they_cannot_be_read() {
    let mut cluster = Cluster::new(2);
    cluster.state.vault.begin([7; 32]);
    tell_key(&mut cluster, 1, key(1));
    cluster.apply(DB);
    cluster.settle();
    let waiting = |cluster: &Cluster, name: &str| cluster.state.instances[name].waiting.clone();
    assert_eq!(waiting(&cluster, "db-1"), None);
    let why = waiting(&cluster, "db-2").unwrap();
    assert!(why.contains("no key that secrets"), "{why}");
    tell_key(&mut cluster, 2, key(2));
    cluster.settle();
    assert_eq!(password(&cluster, 2, &key(2)), MARKER);
}

#[test]
fn a_secret_goes_only_when_nobody_names_it() {
    let mut cluster = placed();
    let refused = cluster
        .state
        .delete(&"Secret/db".parse().unwrap())
        .unwrap_err();
    assert_eq!(
        refused.to_string(),
        "Secret/db is needed by Service/db; delete that first"
    );
    cluster.delete("Service/db");
    cluster.settle();
    cluster.delete("Secret/db");
    cluster.delete("Secret/hub");
    cluster.settle();
    assert_eq!(format!("{:?}", cluster.state.vault), "Vault(0 values)");
}

#[test]
fn a_deleted_secret_stays_with_a_function_that_is_still_on_a_path() {
    let mut cluster = Cluster::new(2);
    cluster.state.vault.begin([7; 32]);
    for number in 1..=2 {
        tell_key(&mut cluster, number, key(number));
    }
    cluster.apply(
        "\
apiVersion: kcluster/v1
kind: Secret
metadata: {name: db}
stringData: {password: xyzzy-4711}
---
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: fw}
spec: {image: f, placement: {nodes: [box1]}, secrets: [{name: db}]}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec: {functions: [fw], from: {node: box1, interface: c0}, to: {node: box2, interface: s0}}
",
    );
    cluster.settle();
    assert_eq!(cluster.path("web"), ["fw-1"]);
    for id in ["Chain/web", "ServiceFunction/fw", "Secret/db"] {
        cluster.delete(id);
    }
    let plan = cluster.think();
    cluster.publish(&plan);
    let container = &plan.documents[&node("box1")].containers[0];
    let opened = container.secrets[0].sealed.open(&key(1), "db/password");
    assert_eq!(opened.unwrap().reveal(), MARKER.as_bytes());
    cluster.settle();
    assert!(cluster.state.retired.is_empty() && cluster.state.instances.is_empty());
    assert_eq!(format!("{:?}", cluster.state.vault), "Vault(0 values)");
}
