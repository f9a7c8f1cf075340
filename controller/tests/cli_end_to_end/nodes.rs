//! Boxes: cordon, drain, leaving.

use super::agent::Agent;
use super::site::{Site, WEB, until};

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
    let text = site.says(&["drain", "box2", "--timeout", "25s"]);
    assert!(text.contains("node/box2 draining\n"), "{text}");
    assert!(text.contains("node/box2 drained in "), "{text}");
    let instances = site.json(&["get", "instances"]);
    for instance in instances.as_array().unwrap() {
        assert_eq!(instance["node"], "box1", "{instance}");
    }
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
