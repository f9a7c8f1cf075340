//! What is printed into a pipe.

use super::agent::Agent;
use super::site::{Site, WEB, until};
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

#[test]
fn piped_output_is_one_record_a_line_without_colours() {
    let site = Site::start();
    let _boxes = [Agent::start(site.broker, 1), Agent::start(site.broker, 2)];
    site.says(&["apply", "-f", &site.file("web.yaml", WEB)]);
    until("the chain is ready", || {
        site.json(&["get", "chains"])[0]["state"] == "Ready"
    });
    for (kind, count) in [
        ("nodes", 2),
        ("sf", 1),
        ("instances", 2),
        ("chains", 1),
        ("paths", 2),
    ] {
        let text = site.says(&["get", kind]);
        assert_eq!(text.lines().count(), count + 1, "{kind}: {text}");
        assert!(!text.contains('\x1b'), "{kind}: {text}");
        assert!(
            text.lines().all(|line| line.trim_end() == line),
            "{kind}: {text}"
        );
        let bare = site.says(&["get", kind, "--no-headers"]);
        assert_eq!(bare.lines().count(), count);
        let named = site.says(&["get", kind, "-o", "name"]);
        assert!(named.lines().all(|line| line.contains('/')), "{named}");
        let yaml = site.says(&["get", kind, "-o", "yaml"]);
        assert!(yaml.starts_with("- "), "{yaml}");
        let wide = site.says(&["get", kind, "-o", "wide"]);
        assert!(wide.lines().next().unwrap().len() >= text.lines().next().unwrap().len());
    }
    // What does not move is the same every time.
    let steady = ["get", "instances", "-o", "name"];
    assert_eq!(site.says(&steady), site.says(&steady));
    until("load has come", || {
        let text = site.says(&["get", "node", "box2"]);
        text.contains("20% of 4") && text.contains("512MiB/1GiB") && text.contains("48C")
    });
    let node = site.json(&["get", "node", "box1"]);
    assert_eq!(node["memoryTotalBytes"], 1_u64 << 30, "base units: {node}");
    let top = site.says(&["top", "nodes"]);
    assert!(
        top.lines().nth(1).unwrap().starts_with("box2"),
        "busiest first: {top}"
    );
    assert!(site.says(&["top", "containers"]).contains("3MiB"));
}

#[test]
fn a_watch_goes_on_and_prints_what_changes() {
    let site = Site::start();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_kc"));
    command
        .args(["get", "nodes", "-w", "-o", "name"])
        .env("KC_SERVER", format!("unix://{}", site.socket().display()))
        .env("KC_TOKEN", site.token())
        .stdout(Stdio::piped());
    let mut child = super::site::Process(command.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines();
    let _box = Agent::start(site.broker, 1);
    assert_eq!(lines.next().unwrap().unwrap(), "node/box1");
}

#[test]
fn events_come_once_and_are_found_by_what_they_are_about() {
    let site = Site::start();
    let agent = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    for sequence in [1, 1, 2, 1] {
        agent.event(sequence);
    }
    until("both events are there", || {
        site.says(&["events", "firewall-1"])
            .matches("container-died")
            .count()
            == 2
    });
    let events = site.json(&["get", "events", "box1"]);
    let kinds: Vec<&str> = events
        .as_array()
        .unwrap()
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    assert_eq!(
        kinds
            .iter()
            .filter(|kind| **kind == "container-died")
            .count(),
        2
    );
    assert!(kinds.contains(&"node-joined"), "{kinds:?}");
}

#[test]
fn an_unreadable_message_becomes_an_event() {
    let site = Site::start();
    let agent = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    for bytes in [&b"\xff\xfe"[..], b"{\"v\":77}", b"{}", &[b'['; 100_000]] {
        agent.raw(kc_agent_api::Topic::State(agent.name()), bytes.to_vec());
        agent.raw(kc_agent_api::Topic::Event(agent.name()), bytes.to_vec());
    }
    until("the refusal is told", || {
        site.says(&["events"]).contains("message-refused")
    });
    assert!(
        site.says(&["get", "nodes"]).contains("Ready"),
        "nothing else happened"
    );
}
