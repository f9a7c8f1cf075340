//! `kc doctor`: boxes look at themselves, the controller adds what they cannot know.

use super::agent::Agent;
use super::site::{Site, until};
use serde_json::Value;

fn finding<'a>(findings: &'a Value, check: &str) -> &'a Value {
    let mut all = findings.as_array().unwrap().iter();
    let found = all.find(|finding| finding["check"] == check);
    found.unwrap_or_else(|| panic!("no {check}: {findings}"))
}

#[test]
fn what_boxes_find_is_put_together_with_what_only_the_controller_knows() {
    let site = Site::start();
    let (_one, two) = (Agent::start(site.broker, 1), Agent::start(site.broker, 2));
    until("both boxes are ready", || {
        site.says(&["get", "nodes"]).matches("Ready").count() == 2
    });
    // Nothing is wrong with the first.
    let text = site.says(&["doctor", "box1"]);
    for part in ["controller\n", "box1\n", "no under-voltage since boot"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(!text.contains("box2"), "{text}");
    // The second believes that it is 1970.
    let output = site.kc(&["doctor", "-o", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    let view: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(finding(&view["controller"], "broker")["severity"], "ok");
    let nodes = view["nodes"].as_array().unwrap();
    assert_eq!(nodes.len(), 2);
    let of = |at: usize| &nodes[at]["findings"];
    assert_eq!(finding(of(0), "clock-offset")["severity"], "ok");
    let clock = finding(of(1), "clock-offset");
    assert_eq!(clock["severity"], "problem", "{clock}");
    assert!(clock["fix"].as_str().unwrap().contains("time server"));
    assert_eq!(finding(of(1), "power")["severity"], "ok");

    drop(two);
    until("the box is offline", || {
        site.json(&["get", "node", "box2"])["condition"] == "offline"
    });
    let output = site.kc(&["doctor", "box2"]).output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("problem  presence  Offline for"), "{text}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "error: 1 problem found\n");
}

#[test]
fn a_box_that_is_misspelt_is_answered_with_the_right_one_and_a_lost_broker_is_told() {
    let mut site = Site::start();
    let _one = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    let output = site.kc(&["doctor", "box11"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("did you mean box1?"), "{errors}");
    site.stop_broker();
    until("the controller is on its own", || {
        site.says(&["version"]).contains("(not connected)")
    });
    let output = site.kc(&["doctor"]).output().unwrap();
    assert_eq!(output.status.code(), Some(9));
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("is not connected: boxes go on"), "{text}");
}
