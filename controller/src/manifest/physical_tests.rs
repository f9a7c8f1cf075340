//! Mistakes people make with hardware, and what they are told.

use super::tests::{load_text, told};
use super::*;

const GOOD: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: fw-box}
spec:
  type: firewall
  physical:
    - {name: fw-hw, node: box1, inside: eth2, outside: eth3, maintenance: [Sun 02:00-04:00]}
    - {name: fw-one, node: box2, port: eth2, mac: \"02:00:00:00:00:07\", capacity: {traffic: 1Gbit/s}}
    - {name: fw-tag, node: box2, port: eth3, vlans: {inside: 10, outside: 20}}
---
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: firewall}
spec: {image: f, replicas: 2}
---
apiVersion: kcluster/v1
kind: Chain
metadata: {name: web}
spec:
  functions: [firewall]
  scheduler: {algorithm: adaptive, physical: prefer}
  from: {node: box1, interface: client0}
  to: {node: box2, interface: server0}
";

#[test]
fn hardware_is_read_as_it_is_written_and_written_again() {
    let loaded = load_text(GOOD).unwrap();
    assert_eq!(loaded.warnings, []);
    let json = serde_json::to_string(&loaded.resources).unwrap();
    let back: Vec<Resource> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, loaded.resources);
    let yaml = loaded
        .resources
        .iter()
        .map(|one| serde_saphyr::to_string(one).unwrap());
    let yaml = yaml.collect::<Vec<_>>().join("\n---\n");
    assert_eq!(
        load_text(&yaml).unwrap().resources,
        loaded.resources,
        "{yaml}"
    );
    // Two VLANs of a port are not the whole of it.
    let shared =
        "    - {name: fw-tag2, node: box2, port: eth3, vlans: {inside: 11, outside: 21}}\n---";
    load_text(&GOOD.replacen("---", shared, 1)).unwrap();
}

#[test]
fn what_hardware_has_not_is_told_by_its_place() {
    for (right, wrong, line, word) in [
        (
            "type: firewall",
            "type: firewall\n  image: f",
            6,
            "hardware has no image",
        ),
        (
            "type: firewall",
            "type: firewall\n  env: {A: b}",
            6,
            "hardware has no env",
        ),
        (
            "type: firewall",
            "type: firewall\n  replicas: 2",
            6,
            "hardware cannot be scaled",
        ),
        (
            "type: firewall",
            "type: firewall\n  placement: {nodes: [box1]}",
            6,
            "hardware has no placement",
        ),
        (
            "type: firewall",
            "type: firewall\n  update: {maxSurge: 0}",
            6,
            "hardware has no update",
        ),
        (
            "type: firewall",
            "type: firewall\n  alarms: [{name: a, when: memory > 5% for 5s}]",
            6,
            "cpu stands for its load",
        ),
        (
            "type: firewall",
            "type: firewall\n  liveness: {by: carier}",
            6,
            "did you mean carrier?",
        ),
        (
            "type: firewall",
            "type: firewall\n  liveness: {interval: 1ms}",
            6,
            "write 10ms to 60s",
        ),
        (
            "type: firewall",
            "type: firewall\n  liveness: {by: carrier, misses: 3}",
            6,
            "nobody is asked",
        ),
        (
            "type: firewall",
            "type: firewall\n  attachment: nsh-aware",
            8,
            "port and mac",
        ),
        (
            "inside: eth2, ",
            "",
            7,
            "inside and outside, or port and mac",
        ),
        ("inside: eth2", "inside: eth3", 7, "its inside already"),
        (
            "inside: eth2",
            "inside: kc1i",
            7,
            "made by K-Cluster itself",
        ),
        (
            "inside: eth2",
            "inside: client0",
            7,
            "is an end of chain web",
        ),
        (
            "port: eth3",
            "port: eth2",
            9,
            "eth2 of box2 leads to fw-one already",
        ),
        (
            "name: fw-one",
            "name: fw-hw",
            8,
            "has hardware of this name already",
        ),
        (
            "name: fw-hw",
            "name: firewall-2",
            7,
            "may have a container of this name",
        ),
        ("inside: 10", "inside: 20", 9, "the same VLAN"),
        ("inside: 10", "inside: 4095", 9, "4095"),
        ("Sun 02:00-04:00", "Sunday 2-4", 7, "write Sun 02:00-04:00"),
        ("1Gbit/s", "1G", 8, "Mbit/s"),
        ("traffic: 1Gbit/s", "chains: 0", 8, "no limit"),
        ("inside: eth2", "insid: eth2", 7, "did you mean inside?"),
        (
            "physical: prefer",
            "physical: preferred",
            21,
            "did you mean prefer?",
        ),
        ("image: f, ", "", 14, "\"image\" is missing"),
    ] {
        assert!(GOOD.contains(right), "{right}");
        let text = told(&GOOD.replacen(right, wrong, 1));
        assert!(text.contains(word), "{wrong}: {text}");
        assert!(text.contains(&format!("m.yaml:{line}:")), "{wrong}: {text}");
    }
}

#[test]
fn a_box_that_nobody_knows_is_odd_but_no_mistake() {
    let loaded = load_text(&GOOD.replacen("node: box1, inside", "node: box9, inside", 1)).unwrap();
    let warning = loaded.warnings[0].to_string();
    assert!(
        warning.contains("m.yaml:7:27: no node box9 has registered yet"),
        "{warning}"
    );
}

#[test]
fn a_cluster_is_told_what_it_can_be() {
    let right = "image: f, replicas: 2, cluster: {mode: active-standby}";
    let good = GOOD.replacen("image: f, replicas: 2", right, 1);
    load_text(&good).unwrap();
    for (wrong, word) in [
        (
            "image: f, replicas: 2, cluster: {mode: active}",
            "active-standby",
        ),
        ("image: f, replicas: 2, cluster: {}", "\"mode\" is missing"),
        (
            "image: f, cluster: {mode: active-active}",
            "2 members, and there are 1 replicas",
        ),
        (
            "image: f, replicas: 9, cluster: {mode: active-active, size: 9}",
            "2 to 8",
        ),
        (
            "image: f, replicas: 2, cluster: {mode: active-active, size: 1}",
            "2 to 8",
        ),
        (
            "image: f, replicas: 2, placement: {spread: false}, cluster: {mode: active-active}",
            "on different boxes",
        ),
    ] {
        let text = told(&good.replacen(right, wrong, 1));
        assert!(
            text.contains(word) && text.contains("m.yaml:14:"),
            "{wrong}: {text}"
        );
    }
    let hardware = "type: firewall\n  cluster: {mode: active-active}";
    let text = told(&GOOD.replacen("type: firewall", hardware, 1));
    assert!(text.contains("hardware has no cluster"), "{text}");
}
