//! Mistakes people make, and what they are told.

use super::*;

const GOOD: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: firewall}
spec:
  image: kcluster/function:latest
  replicas: 2
  resources: {cpu: 500m, memory: 64Mi}
---
apiVersion: kcluster/v1
kind: Chain
metadata:
  name: web
spec:
  functions: [firewall]
  scheduler: {algorithm: load-path-aware, lTh: 4}
  from: {node: box1, interface: client0}
  to: {node: box2, interface: server0}
  match:
    - {protocol: tcp, destinationPorts: 80}
---
apiVersion: kcluster/v1
kind: Service
metadata: {name: hello}
spec:
  image: kcluster/function:latest
  ports: [{port: 80}]
  pull: IfNotPresent
---
apiVersion: kcluster/v1
kind: Node
metadata: {name: box1, labels: {zone: NO}}
";

pub(super) fn load_text(text: &str) -> Result<Loaded, Vec<ManifestError>> {
    let nodes = ["box1", "box2"].map(|name| NodeName::new(name).unwrap());
    let context = Context {
        resources: &BTreeMap::new(),
        nodes: &nodes.into_iter().collect(),
    };
    load(
        &[Source {
            name: "m.yaml",
            text,
        }],
        context,
    )
}

pub(super) fn told(text: &str) -> String {
    let errors = load_text(text).unwrap_err();
    let each: Vec<_> = errors.iter().map(ToString::to_string).collect();
    each.join("\n")
}

/// The good manifest with one thing changed.
fn broken(right: &str, wrong: &str) -> String {
    assert!(GOOD.contains(right), "{right}");
    told(&GOOD.replacen(right, wrong, 1))
}

#[test]
fn a_good_file_is_taken_whole() {
    let loaded = load_text(GOOD).unwrap();
    assert_eq!(loaded.resources.len(), 4);
    assert_eq!(loaded.warnings, []);
    let Resource::Node(node) = &loaded.resources[3] else {
        panic!("{:?}", loaded.resources[3]);
    };
    assert_eq!(node.metadata.labels["zone"], "NO");
    let json = serde_json::to_string(&loaded.resources).unwrap();
    let back: Vec<Resource> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, loaded.resources);
    let yaml: String = loaded
        .resources
        .iter()
        .map(|resource| format!("---\n{}\n", serde_saphyr::to_string(resource).unwrap()))
        .collect();
    assert_eq!(
        load_text(&yaml).unwrap().resources,
        loaded.resources,
        "{yaml}"
    );
}

#[test]
fn every_mistake_is_told_with_its_place_and_the_right_word() {
    let cases = [
        ("  replicas: 2", "  replica: 2"),
        ("  replicas: 2", "  replicas: two"),
        ("  replicas: 2", "  replicas: 0"),
        ("cpu: 500m", "cpu: 500x"),
        (
            "  image: kcluster/function:latest\n  replicas",
            "  replicas",
        ),
        ("kind: Chain", "kind: Chian"),
        ("kind: Chain", "knd: Chain"),
        ("kcluster/v1\nkind: Chain", "kcluster/v2\nkind: Chain"),
        ("functions: [firewall]", "functions: [firewal]"),
        ("functions: [firewall]", "functions: []"),
        ("functions: [firewall]", "functions: [firewall, firewall]"),
        ("algorithm: load-path-aware", "algorithm: load-path-awre"),
        ("lTh: 4", "lTh: 0"),
        ("lTh: 4", "lth: 4"),
        (", lTh: 4", ""),
        (
            "node: box2, interface: server0",
            "node: box1, interface: client0",
        ),
        ("destinationPorts: 80", "destinationPorts: 0"),
        ("protocol: tcp", "protocol: icmp"),
        ("protocol: tcp", "protocol: tpc"),
        ("port: 80}]", "port: 0}]"),
        ("port: 80}]", "port: 80000}]"),
        ("name: web", "name: Web"),
        ("name: hello", "name: firewall"),
        ("spec:\n  functions", "spec:\n functions: [a\n  functions"),
        ("  replicas: 2", "  replicas: 2\n  replicas: 3"),
        ("pull: IfNotPresent", "pull: ifNotPresent"),
    ];
    let all: Vec<_> = cases
        .iter()
        .map(|(right, wrong)| format!("{}\n", broken(right, wrong)))
        .collect();
    insta::assert_snapshot!(all.join("\n"));
}

#[test]
fn one_name_twice_names_both_places() {
    let twice =
        format!("{GOOD}---\napiVersion: kcluster/v1\nkind: Node\nmetadata: {{name: box1}}\n");
    let text = told(&twice);
    assert!(
        text.starts_with("m.yaml:35:18: Node/box1 is already at m.yaml:31:18"),
        "{text}"
    );
}

#[test]
fn a_circle_of_services_and_functions_is_named() {
    let service = |name: &str, needs: &str| {
        format!(
            "---\napiVersion: kcluster/v1\nkind: Service\nmetadata: {{name: {name}}}\nspec: {{image: x, dependsOn: [{needs}]}}\n"
        )
    };
    let text = told(&[service("a", "b"), service("b", "c"), service("c", "a")].concat());
    assert!(
        text.contains("m.yaml:5:30: dependsOn goes in a circle: a -> b -> c -> a"),
        "{text}"
    );
    assert!(told(&service("a", "a")).contains("a -> a"));
    let function = service("b", "a").replace("Service", "ServiceFunction");
    let text = told(&[service("a", "b"), function].concat());
    assert!(text.contains("a -> b -> a"), "{text}");
    assert!(told(&service("a", "q")).contains("there is no Service or ServiceFunction q"));
}

#[test]
fn a_bad_document_spoils_the_good_ones() {
    let errors = load_text(&GOOD.replacen("name: hello", "nme: hello", 1)).unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
}

#[test]
fn a_node_nobody_knows_is_only_a_warning() {
    let loaded = load_text(&GOOD.replacen("node: box2", "node: box3", 1)).unwrap();
    assert_eq!(loaded.warnings.len(), 1);
    assert!(
        loaded.warnings[0]
            .to_string()
            .contains("no node box3 has registered yet")
    );
}

#[test]
fn a_type_that_an_existing_chain_needs_cannot_be_renamed_away() {
    let before = load_text(GOOD).unwrap().resources;
    let resources = before.into_iter().map(|r| (r.id(), r)).collect();
    let context = Context {
        resources: &resources,
        nodes: &BTreeSet::new(),
    };
    let text = "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: firewall}\nspec:\n  type: other\n  image: x\n";
    let errors = load(&[Source { name: "f", text }], context).unwrap_err();
    assert_eq!(
        errors[0].to_string().lines().next().unwrap(),
        "f:5:9: chain web needs a function of type firewall"
    );
}

#[test]
fn noise_is_refused_quickly_and_briefly() {
    let mut seed = 1u64;
    let noise: Vec<u8> = (0..10 << 20)
        .map(|_| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1);
            seed.to_be_bytes()[0]
        })
        .collect();
    let error = Source::new("noise", &noise).unwrap_err().to_string();
    assert_eq!(
        error,
        "noise: the file has 10.0 MiB; a manifest may have at most 4 MiB"
    );
    let error = Source::new("noise", &noise[..1 << 20])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("is no UTF-8 text") && error.len() < 600,
        "{error}"
    );
    let text: String = noise[..2 << 20]
        .iter()
        .map(|b| char::from(b & 0x7f))
        .collect();
    let told = told(&text);
    assert!(
        told.contains("control character") && told.len() < 600,
        "{told}"
    );
    let harmless: String = text.chars().filter(|c| !c.is_control()).collect();
    assert!(super::tests::told(&harmless).len() < 2_000);
}

#[test]
fn depth_and_alias_bombs_are_refused() {
    let deep = format!("a: {}{}", "[".repeat(200), "]".repeat(200));
    assert!(told(&deep).contains("m.yaml:1:"), "{}", told(&deep));
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x]\n");
    for i in 1..12 {
        let row = vec![format!("*a{}", i - 1); 9].join(", ");
        bomb.push_str(&format!("a{i}: &a{i} [{row}]\n"));
    }
    assert!(!told(&bomb).is_empty());
    assert!(told("").contains("there is no resource in it"));
    assert!(told("- a\n").contains("a resource is a mapping"));
}

mod properties {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_text_makes_the_reader_panic(text in "\\PC{0,400}") {
            let _ = load_text(&text);
        }

        #[test]
        fn no_mutilation_of_a_good_file_makes_the_reader_panic(
            cut in 0..GOOD.len(),
            length in 0..40usize,
            filling in "[\\[\\]{}:,&*!|>'\"%@`#a-z0-9 \n-]{0,6}",
        ) {
            let mut text = GOOD.to_owned();
            let end = (cut + length).min(text.len());
            text.replace_range(cut..end, &filling);
            if let Err(errors) = load_text(&text) {
                for error in errors {
                    prop_assert!(error.line as usize <= text.lines().count() + 1, "{}", error);
                }
            }
        }
    }
}

#[test]
fn legs_of_their_own_are_refused_where_they_cannot_be() {
    let with = |legs: &str| {
        let spec = format!("  image: kcluster/function:latest\n  {legs}\n  replicas: 2");
        GOOD.replacen("  image: kcluster/function:latest\n  replicas: 2", &spec, 1)
    };
    assert!(load_text(&with("legs: per-path")).is_ok());
    assert!(load_text(&with("attachment: one-leg\n  legs: per-path")).is_ok());
    let aware = told(&with("attachment: nsh-aware\n  legs: per-path"));
    assert!(
        aware.contains("m.yaml:7:") && aware.contains("sees which path a frame is on"),
        "{aware}"
    );
    let address = told(&with(
        "attachment: one-leg\n  address: 10.0.0.9/24\n  legs: per-path",
    ));
    assert!(address.contains("is in no VLAN"), "{address}");
    let word = told(&with("legs: per-paht"));
    assert!(word.contains("per-path"), "{word}");
}

#[test]
fn every_example_is_sound() {
    macro_rules! examples {
        ($($name:literal),*) => { [$(($name, include_str!(concat!("../../examples/", $name)))),*] };
    }
    let nodes = ["box1", "box2", "box3"].map(|name| NodeName::new(name).unwrap());
    let context = Context {
        resources: &BTreeMap::new(),
        nodes: &nodes.into_iter().collect(),
    };
    for (name, text) in examples![
        "chain.yaml",
        "autoscale.yaml",
        "shared-nat.yaml",
        "physical.yaml",
        "cluster.yaml",
        "service.yaml",
        "container.yaml",
        "secret.yaml",
        "nodes.yaml"
    ] {
        let loaded = load(&[Source { name, text }], context).unwrap();
        assert_eq!(loaded.warnings, []);
    }
    let playground = examples![
        "playground/firewall.yaml",
        "playground/dpi.yaml",
        "playground/nat.yaml",
        "playground/web.yaml",
        "playground/hello.yaml"
    ];
    let sources = playground.map(|(name, text)| Source { name, text });
    assert_eq!(load(&sources, context).unwrap().warnings, []);
}

#[test]
fn a_health_check_is_read_as_it_is_written() {
    let check = "health: {http: {port: 80, path: /ready}, interval: 500ms, startPeriod: 1m}";
    let text = GOOD.replacen(
        "pull: IfNotPresent",
        &format!("{check}\n  stopTimeout: 20s"),
        1,
    );
    let text = text.replacen("stopTimeout", "update: {deadline: 2m}\n  stopTimeout", 1);
    let loaded = load_text(&text).unwrap();
    let Resource::Service(service) = &loaded.resources[2] else {
        panic!("{:?}", loaded.resources[2]);
    };
    let check = service.spec.health.as_ref().unwrap().check().unwrap();
    let probe = kc_agent_api::Probe::Http {
        port: 80,
        path: "/ready".into(),
    };
    let usual = kc_agent_api::HealthCheck::new(probe);
    let wanted = kc_agent_api::HealthCheck {
        interval_ms: 500,
        start_period_ms: 60_000,
        ..usual
    };
    assert_eq!(check, wanted);
    assert_eq!(service.spec.update.policy().deadline_ms, 120_000);
    let json = serde_json::to_string(&loaded.resources).unwrap();
    let back: Vec<Resource> = serde_json::from_str(&json).unwrap();
    assert_eq!(back, loaded.resources);
}

#[test]
fn a_wrong_health_check_is_told_what_would_be_right() {
    for (wrong, word) in [
        (
            "health: {}",
            "one of http, tcp, exec, image: true and disable: true; this is none",
        ),
        ("health: {tcp: {port: 1}, image: true}", "this is several"),
        ("health: {htp: {port: 80}}", "did you mean http?"),
        ("health: {http: {port: 80, pth: /x}}", "did you mean path?"),
        ("health: {http: {path: /x}}", "field \"port\" is missing"),
        ("health: {http: {port: 80, path: x y}}", "begins with /"),
        ("health: {tcp: {port: 0}}", "port 0"),
        ("health: {exec: []}", "the program, then its arguments"),
        ("health: {exec: curl x}", "expected"),
        ("health: {tcp: {port: 1}, interval: 5}", "30s"),
        (
            "health: {tcp: {port: 1}, interval: 5 seconds}",
            "write 500ms, 30s, 5m or 1h",
        ),
        (
            "health: {tcp: {port: 1}, interval: 10ms}",
            "take 100ms or more",
        ),
        (
            "health: {tcp: {port: 1}, failureThreshold: 0}",
            "take 1 to 1000",
        ),
        ("health: {image: true, timeout: 3s}", "leave timeout out"),
        ("update: {maxUnavailable: 0}", "one at a time"),
        ("update: {maxSurge: 2}", "0 for changes in place"),
        ("update: {deadline: 10ms}", "take 1s or more"),
        ("update: {deadlin: 10s}", "did you mean deadline?"),
        ("stopTimeout: 1500ms", "whole seconds"),
        ("stopTimeout: 11m", "10m at most"),
    ] {
        let text = broken("pull: IfNotPresent", wrong);
        assert!(text.contains(word), "{wrong}: {text}");
        assert!(text.contains("m.yaml:27"), "{wrong}: {text}");
    }
}
