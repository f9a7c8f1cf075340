//! Boxes: cordon, drain, leaving.

use super::agent::Agent;
use super::site::{Site, WEB, until};
use std::time::Instant;

#[test]
fn a_drained_node_is_left_by_everything() {
    let site = Site::start();
    let _boxes = [Agent::start(site.broker, 1), Agent::start(site.broker, 2)];
    until("both boxes are ready", || {
        site.says(&["get", "nodes"]).matches("Ready").count() == 2
    });
    site.says(&["apply", "-f", &site.file("web.yaml", WEB)]);
    until("the chain is ready", || {
        site.json(&["get", "chains"])[0]["state"] == "Ready"
    });
    assert_eq!(site.says(&["cordon", "box2"]), "node/box2 cordoned\n");
    assert_eq!(
        site.says(&["cordon", "box2"]),
        "node/box2 already cordoned\n"
    );
    assert!(site.says(&["get", "nodes"]).contains("Ready,cordoned"));
    let rehearsed = site.kc(&["drain", "box2", "--dry-run"]).output().unwrap();
    assert_eq!(rehearsed.status.code(), Some(11));
    let text = String::from_utf8(rehearsed.stdout).unwrap();
    assert!(
        text.contains("chain/web stays (dry run): it ends there, at server0\n"),
        "{text}"
    );
    assert!(
        text.contains("instance/firewall-2 leaves (dry run)\n") || text.lines().count() == 1,
        "{text}"
    );
    let drained = site
        .kc(&["drain", "box2", "--timeout", "25s"])
        .output()
        .unwrap();
    let text = String::from_utf8(drained.stdout).unwrap();
    assert_eq!(drained.status.code(), Some(11), "{text}");
    assert!(text.contains("node/box2 draining\n"), "{text}");
    assert!(
        text.contains("chain/web stays: it ends there, at server0\n"),
        "{text}"
    );
    let told = site.says(&["describe", "node", "box2"]);
    assert!(
        told.contains("Stays:\n  chain/web: it ends there"),
        "{told}"
    );
    let instances = site.json(&["get", "instances"]);
    for instance in instances.as_array().unwrap() {
        assert_eq!(instance["node"], "box1", "{instance}");
    }
    // Its work done by others, the box of no chain's end is empty.
    site.says(&["delete", "chain", "web"]);
    let json = site.json(&["drain", "box2"]);
    assert_eq!(json["stays"], serde_json::json!([]), "{json}");
    assert!(
        site.says(&["drain", "box2"])
            .contains("node/box2 drained in ")
    );
    assert_eq!(site.says(&["uncordon", "box2"]), "node/box2 uncordoned\n");
    assert!(!site.says(&["get", "nodes"]).contains("cordoned"));
}

#[test]
fn a_box_that_is_gone_is_told_from_one_that_is_there_and_can_be_forgotten() {
    let site = Site::start();
    let (one, two) = (Agent::start(site.broker, 1), Agent::start(site.broker, 2));
    until("both boxes are ready", || {
        site.says(&["get", "nodes"]).matches("Ready").count() == 2
    });
    site.kc(&["delete", "node", "box2"]).assert().code(1);
    drop(two);
    until("the box is offline", || {
        let node = site.json(&["get", "node", "box2"]);
        node["condition"] == "offline" && node["sinceMs"].is_u64()
    });
    site.says(&["delete", "node", "box2"]);
    site.kc(&["get", "node", "box2"]).assert().code(3);
    // It comes back as if it were new, with nothing of its former life.
    let two = Agent::start(site.broker, 2);
    two.until("a document", |spec| spec.generation > 0);
    until("it is ready", || {
        site.says(&["get", "nodes"]).matches("Ready").count() == 2
    });
    drop((one, two));
}

#[test]
fn a_box_that_falls_silent_is_unreachable_when_the_time_is_up_that_was_set() {
    for (setting, seconds) in [(None, 3.0), (Some("1.5"), 1.5)] {
        let mut site = Site::without_broker();
        site.heartbeat = setting;
        site.start_broker();
        site.start_controller();
        let agent = Agent::start(site.broker, 1);
        until("the box is ready", || {
            site.says(&["get", "nodes"]).contains("Ready")
        });
        let began = Instant::now();
        agent.hush();
        until("it is unreachable", || {
            site.json(&["get", "node", "box1"])["condition"] == "unreachable"
        });
        let took = began.elapsed().as_secs_f64();
        eprintln!("measured: silent box noticed after {took:.2} s of {seconds}");
        // It spoke at most 200 ms before it fell silent; asking takes its time.
        assert!((seconds - 0.25..seconds + 1.0).contains(&took), "{took}");
        let line = site.says(&["get", "nodes"]);
        assert!(line.contains("Unreachable"), "{line}");
        let since = site.json(&["get", "node", "box1"])["sinceMs"].as_u64();
        assert!(since.is_some());
    }
}

#[test]
fn a_time_that_no_box_could_keep_is_refused_with_what_would_be_right() {
    for wrong in ["0", "1", "-3", "nan", "inf", "soon", "3601"] {
        let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_kc-controller"))
            .args(["run", &format!("--heartbeat-timeout={wrong}")])
            .timeout(super::site::PATIENCE)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}: {said}");
        assert!(said.contains("seconds from 1.5 to 3600"), "{wrong}: {said}");
    }
}
