//! Mistakes in what is said about a container.

use super::tests::{load_text, told};
use crate::resource::Resource;

fn service(lines: &str) -> String {
    let lines = lines.replace('\n', "\n  ");
    format!(
        "apiVersion: kcluster/v1\nkind: Service\nmetadata: {{name: meter}}\nspec:\n  image: a\n  {lines}\n"
    )
}

const EVERYTHING: &str = "\
command: [/bin/sh, -c]
args: [run]
workingDir: /srv
user: 1000:dialout
groupAdd: [20, gpio]
hostname: meter-1.lan
readOnlyRootFilesystem: true
tmpfs: [{target: /run}, {target: /tmp, size: 16Mi}]
volumes: [{name: db_data, target: /data}, {name: maps, target: /maps, readOnly: true}]
devices: [{source: /dev/i2c-1}, {source: /dev/ttyUSB0, target: /dev/meter, permissions: rw}]
labels: {traefik.enable: \"true\"}
sysctls: {net.ipv4.ip_forward: \"1\", kernel.shmmax: \"65536\"}";

#[test]
fn everything_about_a_container_is_taken_kept_and_given_back() {
    let loaded = load_text(&service(EVERYTHING)).unwrap();
    let Resource::Service(object) = &loaded.resources[0] else {
        panic!("{loaded:?}");
    };
    let spec = &object.spec;
    assert_eq!(spec.user.as_deref(), Some("1000:dialout"));
    assert_eq!(spec.group_add, ["20", "gpio"]);
    assert_eq!(spec.devices[0].wire().target, "/dev/i2c-1");
    assert_eq!(spec.devices[0].wire().permissions, "rwm");
    assert_eq!(spec.devices[1].wire().permissions, "rw");
    assert_eq!(spec.tmpfs[1].wire().size_bytes, Some(16 << 20));
    let yaml = serde_saphyr::to_string(&loaded.resources[0]).unwrap();
    assert_eq!(load_text(&yaml).unwrap().resources, loaded.resources);
    let function = service(EVERYTHING).replace("kind: Service", "kind: ServiceFunction");
    let loaded = load_text(&function).unwrap();
    let Resource::ServiceFunction(function) = &loaded.resources[0] else {
        panic!("{loaded:?}");
    };
    assert_eq!(function.spec.workload(), spec.workload());
}

#[test]
fn what_no_container_can_have_is_told_at_its_place() {
    for (line, place, words) in [
        ("command: [\"\"]", "6:12", "the program, then its"),
        ("workingDir: srv", "6:15", "no absolute path"),
        ("user: \"me:\"", "6:9", "user or user:group"),
        ("groupAdd: [\"a b\"]", "6:14", "its name or number"),
        ("hostname: my_host", "6:13", "no host name"),
        ("tmpfs: [{target: run}]", "6:20", "no absolute path"),
        ("tmpfs: [{target: /run, size: 16Mb}]", "6:32", "with Ki, Mi"),
        (
            "volumes: [{name: ./data, target: /d}]",
            "6:20",
            "take mounts",
        ),
        (
            "volumes: [{name: d, target: \"/d:ro\"}]",
            "6:31",
            "without `..` and `:`",
        ),
        (
            "volumes: [{name: d, target: /d}]\ntmpfs: [{target: /d}]",
            "7:20",
            "here twice",
        ),
        ("devices: [{source: ttyUSB0}]", "6:22", "below /dev"),
        ("devices: [{source: /dev/../etc}]", "6:22", "below /dev"),
        (
            "devices: [{source: /dev/null, permissions: rx}]",
            "6:46",
            "some of r, w and m",
        ),
        (
            "devices: [{source: /dev/a}, {source: /dev/b, target: /dev/a}]",
            "6:56",
            "here twice",
        ),
        ("device: []", "6:3", "did you mean devices?"),
        ("labels: {kcluster.node: me}", "6:", "K-Cluster's own"),
        ("sysctls: {vm.swappiness: \"1\"}", "6:", "for itself"),
        (
            "network: host\nsysctls: {net.ipv4.ip_forward: \"1\"}",
            "7:",
            "whole box's",
        ),
    ] {
        let told = told(&service(line));
        let place = format!("m.yaml:{place}");
        assert!(told.starts_with(&place), "{line}: {place}: {told}");
        assert!(told.contains(words), "{line}: {words}: {told}");
    }
}
