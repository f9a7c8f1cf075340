//! Exit codes, and what is said with them.

use super::site::{Site, bare_kc, free_port};

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_usage_mistake_is_2_and_names_the_right_word() {
    let home = tempfile::tempdir().unwrap();
    for (words, right) in [
        (&["get", "nods"][..], "did you mean nodes?"),
        (&["gett", "nodes"], "get"),
        (&["get"], "KIND"),
        (&["delete", "nodes"], "NAMES"),
        (
            &["delete", "events", "1", "--server", "http://127.0.0.1:1"],
            "come and go",
        ),
        (&["get", "nodes", "--timeout", "soon"], "30s"),
        (&["get", "nodes", "--server", "https://x:1"], "unix:///PATH"),
    ] {
        let output = bare_kc(home.path()).args(words).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(2),
            "{words:?}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains(right),
            "{words:?}: {}",
            said(&output)
        );
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn no_controller_is_5_and_says_which_one_and_who_named_it() {
    let home = tempfile::tempdir().unwrap();
    let address = format!("http://127.0.0.1:{}", free_port());
    let output = bare_kc(home.path())
        .args(["get", "nodes", "--server", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    for part in [address.as_str(), "--server", "kc-controller"] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
    let config = home.path().join(".config/kcluster");
    std::fs::create_dir_all(&config).unwrap();
    let text = "server = \"unix:///nowhere/c.sock\"\ntoken = \"x\"\n";
    std::fs::write(config.join("kc.toml"), text).unwrap();
    let output = bare_kc(home.path())
        .args(["top", "nodes"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(5));
    for part in ["unix:///nowhere/c.sock", ".config/kcluster/kc.toml"] {
        assert!(said(&output).contains(part), "{part}: {}", said(&output));
    }
}

#[test]
fn what_does_not_exist_is_3_unless_that_is_ignored() {
    let site = Site::start();
    for words in [
        &["get", "chain", "web"][..],
        &["get", "node", "box9"],
        &["describe", "sf", "x"],
        &["delete", "node", "box9"],
        &["cordon", "box9"],
        &["drain", "Box_9"],
        &["logs", "firewall-1"],
        &["explain", "chain", "web"],
    ] {
        let output = site.kc(words).output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(3),
            "{words:?}: {}",
            said(&output)
        );
        assert!(output.stdout.is_empty(), "{words:?}");
    }
    site.kc(&["get", "chain", "web", "--ignore-not-found"])
        .assert()
        .code(0);
}

#[test]
fn a_server_that_never_answers_is_6() {
    let home = tempfile::tempdir().unwrap();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let output = bare_kc(home.path())
        .args(["get", "nodes", "--timeout", "200ms", "--server", &address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(6), "{}", said(&output));
    assert!(said(&output).contains(&address), "{}", said(&output));
}

#[test]
fn the_help_lists_the_exit_codes_and_completions_know_the_verbs() {
    let home = tempfile::tempdir().unwrap();
    let output = bare_kc(home.path()).arg("--help").output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    for code in [
        "0  done",
        "4  the manifest was refused",
        "7  kc diff found differences",
    ] {
        assert!(help.contains(code), "{code}: {help}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = bare_kc(home.path())
            .args(["completions", shell])
            .output()
            .unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            script.contains("drain") && script.contains("simulate"),
            "{shell}"
        );
    }
    let output = bare_kc(home.path())
        .args(["version", "--client"])
        .output()
        .unwrap();
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("kc 0.")
    );
}

#[test]
fn a_wrong_or_missing_token_is_said_as_that() {
    let site = Site::start();
    let output = site
        .kc(&["get", "nodes", "--token", "wrong"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("token"), "{}", said(&output));
    let output = bare_kc(site.directory.path())
        .args(["get", "nodes", "--server", &site.address])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        said(&output).contains("no token was given"),
        "{}",
        said(&output)
    );
}

#[test]
fn a_simulation_needs_no_controller() {
    let home = tempfile::tempdir().unwrap();
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/simulate");
    let file = format!("{examples}/published-lth4.yaml");
    let simulate = |words: &[&str]| {
        let mut kc = bare_kc(home.path());
        kc.env("KC_SERVER", "nonsense").arg("simulate").args(words);
        kc.output().unwrap()
    };
    let output = simulate(&["-f", &file, "-o", "json"]);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let path = &value["runs"][0]["path"];
    assert_eq!(path, &serde_json::json!(["FW1", "DPI3", "NAT2"]), "{value}");
    let output = simulate(&["-f", &file]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("FW1 -> DPI3 -> NAT2"), "{text}");

    let broken = home.path().join("broken.yaml");
    std::fs::write(&broken, "nonsense: true\n").unwrap();
    let output = simulate(&["-f", &broken.display().to_string()]);
    assert_eq!(output.status.code(), Some(4), "{}", said(&output));
    assert!(
        said(&output).contains("broken.yaml:1:"),
        "{}",
        said(&output)
    );
    let output = simulate(&["-f", "/nowhere.yaml"]);
    assert_eq!(output.status.code(), Some(1));
}
