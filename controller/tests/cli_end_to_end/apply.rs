//! Applying, comparing and deleting.

use super::agent::Agent;
use super::site::{Site, WEB, until};

fn ready(site: &Site) {
    until("the chain is ready", || {
        site.json(&["get", "chains"])[0]["state"] == "Ready"
    });
}

#[test]
fn what_is_applied_reaches_the_boxes_and_the_chain_becomes_ready() {
    let site = Site::start();
    let (one, two) = (Agent::start(site.broker, 1), Agent::start(site.broker, 2));
    until("both boxes are ready", || {
        site.says(&["get", "nodes"]).matches("Ready").count() == 2
    });
    let file = site.file("web.yaml", WEB);

    let differs = site.kc(&["diff", "-f", &file]).output().unwrap();
    assert_eq!(differs.status.code(), Some(7));
    let text = String::from_utf8(differs.stdout).unwrap();
    assert!(
        text.contains("created chain/web") && text.contains("+  functions:"),
        "{text}"
    );
    assert_eq!(
        site.json(&["get", "chains"]),
        serde_json::json!([]),
        "diff changes nothing"
    );

    let text = site.says(&["apply", "-f", &file]);
    assert!(text.contains("function/firewall created\n"), "{text}");
    assert!(text.contains("chain/web created\n"), "{text}");
    for agent in [&one, &two] {
        agent.until("a container and a path", |spec| {
            spec.containers.len() == 1 && !spec.forwarder.paths.is_empty()
        });
    }
    ready(&site);
    until("packets are counted", || {
        site.json(&["get", "chain", "web"])["packets"] == 1_234
    });

    let text = site.says(&["apply", "-f", &file]);
    assert!(text.contains("chain/web unchanged\n"), "{text}");
    site.kc(&["diff", "-f", &file]).assert().code(0);

    let recorded = site.says(&["record", "--for", "1s", "--every", "500ms"]);
    let file = site.file("load.yaml", &recorded);
    let replay = site.json(&["simulate", "-f", &file]);
    assert_eq!(replay["samples"], 3, "{recorded}");
    assert_eq!(replay["runs"].as_array().unwrap().len(), 7, "{replay}");
    assert_eq!(replay["runs"][0]["withoutPath"], 0, "{recorded}");
    let text = site.says(&["explain", "chain", "web"]);
    assert!(text.contains("What would change the choice:"), "{text}");
    let json = site.json(&["explain", "chain", "web"]);
    let candidates = &json["whatIf"]["positions"][0]["candidates"];
    assert_eq!(candidates.as_array().unwrap().len(), 2, "{json}");
    let text = site.says(&["describe", "chain", "web"]);
    for part in [
        "Ready",
        "firewall-",
        "1234 packets",
        "255",
        "Why this path",
        "Events:",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let text = site.says(&["explain", "chain", "web"]);
    assert!(text.contains("shortest-path"), "{text}");
    let paths = site.json(&["get", "paths"]);
    assert_eq!(paths.as_array().unwrap().len(), 2, "there and back");
    for (path, start, end, out) in [
        (&paths[0], "box1", "box2", "out server0"),
        (&paths[1], "box2", "box1", "out client0"),
    ] {
        let hops = path["hops"].as_array().unwrap();
        let (first, last) = (&hops[0], &hops[hops.len() - 1]);
        assert_eq!((&first["node"], &first["si"]), (&start.into(), &255.into()));
        assert_eq!((&last["node"], &last["si"]), (&end.into(), &254.into()));
        assert_eq!(last["to"], out, "{path}");
        assert!(hops.iter().all(|hop| hop["packets"] == 1_234), "{path}");
        assert!(
            hops.iter()
                .any(|hop| hop["to"].as_str().unwrap().starts_with("firewall-"))
        );
    }
}

#[test]
fn a_broken_manifest_changes_nothing() {
    let site = Site::start();
    let agent = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    agent.until_count(1);
    let before = (agent.documents().len(), site.json(&["get", "functions"]));
    let good = "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: good}\nspec: {image: x}\n---\n";
    for (name, bad, line, right) in [
        (
            "unknown field",
            "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: a}\nspec:\n  image: x\n  replicsa: 3\n",
            11,
            "replicas",
        ),
        (
            "wrong type",
            "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: a}\nspec:\n  image: x\n  replicas: many\n",
            11,
            "replicas",
        ),
        (
            "unknown function type",
            "apiVersion: kcluster/v1\nkind: Chain\nmetadata: {name: c}\nspec:\n  functions: [goood]\n  from: {node: box1, interface: a}\n  to: {node: box1, interface: b}\n",
            10,
            "good",
        ),
        (
            "duplicate name",
            "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: good}\nspec: {image: y}\n",
            8,
            "good",
        ),
        ("no YAML", "a: b: c: [\n", 6, ""),
    ] {
        let file = site.file("broken.yaml", &format!("{good}{bad}"));
        let output = site.kc(&["apply", "-f", &file]).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{name}: {errors}");
        assert!(
            errors.contains(&format!("broken.yaml:{line}:")),
            "{name}: {errors}"
        );
        assert!(errors.contains(right), "{name}: {errors}");
        assert!(errors.contains("nothing was changed"), "{name}: {errors}");
        assert!(output.stdout.is_empty());
    }
    let after = (agent.documents().len(), site.json(&["get", "functions"]));
    assert_eq!(before, after);
}

#[test]
fn ten_megabytes_of_noise_are_refused_and_the_controller_goes_on() {
    let site = Site::start();
    let noise: String = (0..10_u32 << 20)
        .map(|n| char::from(b' ' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 26).unwrap()))
        .collect();
    let file = site.file("noise.yaml", &noise);
    let output = site.kc(&["apply", "-f", &file]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{errors}");
    assert!(
        errors.contains("noise.yaml") && errors.contains("MiB"),
        "{errors}"
    );
    let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| n.to_le_bytes()[0]).collect();
    let binary = site.directory.path().join("binary.yaml");
    std::fs::write(&binary, bytes).unwrap();
    let name = binary.display().to_string();
    site.kc(&["apply", "-f", &name]).assert().code(4);
    site.says(&["get", "nodes"]);
}

#[test]
fn a_directory_is_applied_whole_or_not_at_all() {
    let site = Site::start();
    let directory = site.directory.path().join("manifests");
    std::fs::create_dir(&directory).unwrap();
    let (functions, chain) = WEB.split_once("---\n").unwrap();
    // The chain comes first by name; order does not matter.
    std::fs::write(directory.join("a.yaml"), chain).unwrap();
    std::fs::write(directory.join("b.yml"), functions).unwrap();
    std::fs::write(directory.join("readme.txt"), "not a manifest").unwrap();
    let name = directory.display().to_string();
    let text = site.says(&["apply", "-f", &name, "--dry-run"]);
    assert!(text.contains("chain/web created (dry run)"), "{text}");
    assert_eq!(site.json(&["get", "functions"]), serde_json::json!([]));
    site.says(&["apply", "-f", &name]);
    assert_eq!(
        site.says(&["get", "sf", "-o", "name"]),
        "function/firewall\n"
    );

    // From stdin, and away again with the same files.
    let output = site
        .kc(&["apply", "-f", "-"])
        .write_stdin(WEB)
        .output()
        .unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("chain/web unchanged")
    );
    site.kc(&["delete", "sf", "firewall"]).assert().code(1);
    let text = site.says(&["delete", "-f", &name]);
    assert!(text.contains("chain/web deleted\n"), "{text}");
    assert!(text.contains("function/firewall deleted\n"), "{text}");
    site.kc(&["delete", "-f", &name]).assert().code(3);
    site.says(&["delete", "-f", &name, "--ignore-not-found"]);
    site.kc(&["delete", "chain", "web"]).assert().code(3);
    site.says(&["delete", "chain", "web", "--ignore-not-found"]);
}
