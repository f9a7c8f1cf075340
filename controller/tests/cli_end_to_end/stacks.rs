//! Stacks: one template, its parameters, and everything made from it as one.

use super::agent::Agent;
use super::site::{Site, until};

const SHOP: &str = include_str!("../../examples/stack/shop.yaml");
const PARAMETERS: &str = include_str!("../../examples/stack/shop.parameters.yaml");
const MARKER: &str = "correct-horse-battery";

#[test]
fn a_stack_is_applied_compared_told_and_deleted_as_one() {
    let mut site = Site::start();
    let _boxes = [Agent::start(site.broker, 1), Agent::start(site.broker, 2)];
    until("both boxes are ready", || {
        site.says(&["get", "nodes"]).matches("Ready").count() == 2
    });
    let file = site.file("shop.yaml", SHOP);
    let given = site.file("p.yaml", PARAMETERS);
    let with = |words: &[&str]| {
        let mut all = words.to_vec();
        all.extend(["-f", &file, "--parameters-file", &given]);
        site.kc(&all).output().unwrap()
    };
    let said = |output: &std::process::Output| {
        let both = [&output.stdout[..], &output.stderr[..]].concat();
        String::from_utf8(both).unwrap()
    };

    let refused = site
        .kc(&["apply", "-f", &file, "-p", "replcas=3"])
        .output()
        .unwrap();
    assert_eq!(refused.status.code(), Some(4), "{}", said(&refused));
    assert!(
        said(&refused).contains("did you mean replicas?"),
        "{}",
        said(&refused)
    );
    let differs = with(&["diff", "-p", "replicas=3"]);
    assert_eq!(differs.status.code(), Some(7), "{}", said(&differs));
    assert!(
        said(&differs).contains("created stack/shop"),
        "{}",
        said(&differs)
    );

    let applied = with(&["apply", "-p", "replicas=3", "-p", "image=nginx:1"]);
    assert!(applied.status.success(), "{}", said(&applied));
    assert!(
        said(&applied).contains("service/shop-web created\n"),
        "{}",
        said(&applied)
    );
    assert_eq!(
        with(&["diff", "-p", "replicas=3", "-p", "image=nginx:1"])
            .status
            .code(),
        Some(0)
    );
    until("all of it runs", || {
        let stack = site.json(&["get", "stack", "shop"]);
        stack["ready"] == 4 && stack["outputs"][2]["value"] == "3 of 3"
    });
    let told = site.says(&["describe", "stack", "shop"]);
    for part in [
        "4 of 4 resources",
        "service/shop-web: 3/3 running",
        "dbPassword: (hidden)",
        "size: \"large\"",
        "verbose: false (default)",
        "replicas: 3 of 3  # shops that run",
    ] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(site.says(&["get", "stacks"]).contains("4/4"));
    for words in [
        &["get", "stacks", "-o", "yaml"][..],
        &["describe", "stack", "shop"],
        &["get", "secrets", "-o", "yaml"],
    ] {
        let told = site.says(words);
        assert!(!told.contains(MARKER), "{words:?}: {told}");
    }
    for output in [&differs, &applied] {
        assert!(!said(output).contains(MARKER), "{}", said(output));
    }

    let member = site
        .kc(&["delete", "service", "shop-web"])
        .output()
        .unwrap();
    assert_eq!(member.status.code(), Some(1), "{}", said(&member));
    assert!(
        said(&member).contains("belongs to stack shop"),
        "{}",
        said(&member)
    );
    let fewer = site.file("fewer.yaml", &without_chain());
    let told = site.says(&["apply", "-f", &fewer, "--parameters-file", &given]);
    assert!(told.contains("chain/shop deleted\n"), "{told}");

    // It outlives the controller.
    site.kill_controller();
    site.start_controller();
    assert_eq!(
        site.json(&["get", "stacks"])[0]["resources"]
            .as_array()
            .unwrap()
            .len(),
        3
    );
    assert!(!site.log().contains(MARKER));
    let told = site.says(&["delete", "stack", "shop"]);
    assert!(
        told.contains("stack/shop deleted\n") && told.contains("secret/shop-db deleted\n"),
        "{told}"
    );
    assert_eq!(site.json(&["get", "services"]), serde_json::json!([]));
    site.kc(&["delete", "-f", &fewer]).assert().code(3);
    site.says(&["delete", "-f", &fewer, "--ignore-not-found"]);
}

/// The example without its chain, and without the output that speaks of it.
fn without_chain() -> String {
    let (head, tail) = SHOP
        .split_once("    - apiVersion: kcluster/v1\n      kind: Chain")
        .unwrap();
    let (_, outputs) = tail.split_once("  outputs:").unwrap();
    let (before, path) = outputs.split_once("    path:").unwrap();
    let (_, image) = path.split_once("    image:").unwrap();
    format!("{head}  outputs:{before}    image:{image}")
}
