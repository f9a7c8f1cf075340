//! The controller goes and comes: boxes must not notice.

use super::agent::Agent;
use super::site::{Site, WEB, until};
use kc_agent_api::Presence;

fn settled(site: &Site) {
    until("all is as it shall be", || {
        site.json(&["get", "chains"])[0]["state"] == "Ready"
            && site.says(&["get", "paths"]).matches("Active").count() == 2
    });
}

#[test]
fn a_restarted_controller_publishes_the_same_documents_to_the_byte() {
    let mut site = Site::start();
    let boxes = [Agent::start(site.broker, 1), Agent::start(site.broker, 2)];
    site.says(&["apply", "-f", &site.file("web.yaml", WEB)]);
    settled(&site);
    for kill in [true, false] {
        let before = boxes.each_ref().map(Agent::documents);
        if kill {
            site.kill_controller();
        } else {
            site.stop_controller();
        }
        let said = site.start_controller().concat();
        assert!(!said.contains("token"), "it is printed once: {said}");
        for (agent, before) in boxes.iter().zip(&before) {
            agent.until_count(before.len() + 1);
            let after = agent.documents();
            for document in &after[before.len()..] {
                assert_eq!(Some(document), before.last(), "killed: {kill}");
            }
        }
        settled(&site);
        assert!(site.says(&["get", "nodes"]).matches("Ready").count() == 2);
    }
}

#[test]
fn what_was_answered_survives_a_kill() {
    let mut site = Site::start();
    let agent = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    let function = |number: u32| {
        format!(
            "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {{name: f{number}}}\nspec: {{image: x}}\n"
        )
    };
    for number in 0..5 {
        site.says(&["apply", "-f", &site.file("f.yaml", &function(number))]);
        site.kill_controller();
        site.start_controller();
    }
    let names = site.says(&["get", "functions", "-o", "name"]);
    assert_eq!(names.lines().count(), 5, "{names}");
    agent.until("all five run on the box", |spec| spec.containers.len() == 5);
}

#[test]
fn without_a_broker_changes_are_taken_and_delivered_later() {
    let mut site = Site::start();
    let agent = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    site.stop_broker();
    until("the controller notices", || {
        site.says(&["version"]).contains("(not connected)")
    });
    let text = "apiVersion: kcluster/v1\nkind: ServiceFunction\nmetadata: {name: late}\nspec: {image: x}\n";
    site.says(&["apply", "-f", &site.file("late.yaml", text)]);
    let output = site.kc(&["logs", "late-1"]).output().unwrap();
    assert_ne!(output.status.code(), Some(0), "nobody can be asked");
    site.kill_controller();
    site.start_controller();
    assert!(site.says(&["get", "functions"]).contains("late"));
    site.start_broker();
    agent.until("the late function", |spec| !spec.containers.is_empty());
}

#[test]
fn a_damaged_database_ends_the_controller_with_the_name_of_the_file() {
    let site = Site::without_broker();
    std::fs::create_dir_all(site.data()).unwrap();
    std::fs::write(site.data().join("controller.db"), "noise ".repeat(2_000)).unwrap();
    let output = assert_cmd::Command::new(env!("CARGO_BIN_EXE_kc-controller"))
        .args(["run", "--listen", "127.0.0.1:0", "--data-dir"])
        .arg(site.data())
        .timeout(super::site::PATIENCE)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("controller.db is damaged"), "{errors}");
}

#[test]
fn a_last_will_that_comes_late_is_not_believed_not_even_after_a_restart() {
    let mut site = Site::start();
    let agent = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    agent.late_will();
    agent.event(1);
    until("what came after the will has been taken up", || {
        site.says(&["events"]).contains("container-died")
    });
    for restart in [false, true] {
        if restart {
            site.kill_controller();
            site.start_controller();
            site.until_connected();
        }
        let began = std::time::Instant::now();
        // Longer than a box may be offline before it counts as gone.
        while began.elapsed() < std::time::Duration::from_millis(2_500) {
            let node = site.json(&["get", "node", "box1"]);
            assert_eq!(node["condition"], "ready", "restart: {restart}");
        }
    }
    let events = site.says(&["events"]);
    assert!(!events.contains("node-gone"), "{events}");
}

#[test]
fn boxes_are_told_when_the_controller_comes_and_goes() {
    let mut site = Site::start();
    let agent = Agent::start(site.broker, 1);
    let heard = |wanted: Presence| {
        until("the box has heard", || {
            agent
                .controller()
                .is_some_and(|said| said.presence == wanted)
        });
        agent.controller().unwrap()
    };
    let mut before = heard(Presence::Online);
    for kill in [true, false] {
        if kill {
            site.kill_controller();
        } else {
            site.stop_controller();
        }
        let gone = heard(Presence::Offline);
        assert!(gone.replaces(Some(&before)), "{gone:?} {before:?}");
        site.start_controller();
        let there = heard(Presence::Online);
        assert_ne!(there.instance, before.instance);
        assert!(there.replaces(Some(&gone)));
        // A will that comes late says nothing of who is there now.
        assert!(!gone.replaces(Some(&there)));
        before = there;
    }
}

#[test]
fn an_event_is_acknowledged_when_it_is_on_the_disk_and_again_when_it_comes_again() {
    let mut site = Site::start();
    let agent = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    let acknowledged = |number: u64| {
        let acks = agent.acks();
        let stored = acks.iter().flat_map(|ack| &ack.stored);
        stored
            .filter(|(from, to)| (*from..=*to).contains(&number))
            .count()
    };
    for number in 1..=20 {
        agent.event(number);
        until("it is acknowledged", || acknowledged(number) > 0);
        if number % 5 == 0 {
            site.kill_controller();
            site.start_controller();
            site.until_connected();
        }
    }
    let count = || site.says(&["events"]).matches("container-died").count();
    assert_eq!(count(), 20);
    agent.event(7);
    until("it is acknowledged again", || acknowledged(7) > 1);
    assert_eq!(count(), 20, "stored once");
}
