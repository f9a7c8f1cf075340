//! A secret's whole way: from a manifest to one box, and in nothing that anybody prints, serves, logs or
//! sends.

use super::agent::{Agent, seal_key};
use super::site::{Process, Site, until};
use super::web::{ask, request};
use kc_agent_api::{NodeSpec, NodeStatus, Presence, SecretFile, Topic, encode};
use std::process::{Command, Stdio};

const MARKER: &str = "xyzzy-4711-swordfish";

const DB: &str = "\
apiVersion: kcluster/v1
kind: Secret
metadata: {name: db}
stringData:
  password: xyzzy-4711-swordfish
---
apiVersion: kcluster/v1
kind: Service
metadata: {name: db}
spec:
  image: d
  secrets: [{name: db}]
";

/// What MQTT carries, all of it, as another client of the broker sees it.
struct Wire {
    process: Process,
    file: std::path::PathBuf,
}

impl Wire {
    fn listen(site: &Site) -> Option<Self> {
        let file = site.directory.path().join("wire.log");
        let child = Command::new("mosquitto_sub")
            .args([
                "-h",
                "127.0.0.1",
                "-p",
                &site.broker.to_string(),
                "-t",
                "#",
                "-v",
            ])
            .stdout(std::fs::File::create(&file).unwrap())
            .stderr(Stdio::null())
            .spawn();
        let Ok(child) = child else {
            let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
            assert!(!ci, "CI must have mosquitto_sub");
            eprintln!("skipped: needs mosquitto_sub");
            return None;
        };
        let process = Process(child);
        until("the listener is there", || {
            std::fs::metadata(&file).unwrap().len() > 0
        });
        Some(Self { process, file })
    }

    fn end(mut self) -> String {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
        String::from_utf8_lossy(&std::fs::read(&self.file).unwrap()).into_owned()
    }
}

/// The value and what base64 makes of it at any alignment.
fn clean(what: &str, text: &str) {
    for trace in [
        MARKER,
        "eHl6enktNDcxMS1zd29yZGZp",
        "h5enp5LTQ3MTEtc3dvcmRmaX",
        "4eXp6eS00NzExLXN3b3JkZm",
    ] {
        assert!(!text.contains(trace), "{what}: {text}");
    }
}

fn file(spec: &NodeSpec) -> Option<&SecretFile> {
    spec.containers.first()?.secrets.first()
}

fn opened(spec: &NodeSpec, number: u8) -> String {
    let opened = file(spec)
        .unwrap()
        .sealed
        .open(&seal_key(number), "db/password")
        .unwrap();
    String::from_utf8(opened.reveal().to_vec()).unwrap()
}

#[test]
fn a_value_is_seen_by_its_box_and_nobody_else() {
    let mut site = Site::start();
    let wire = Wire::listen(&site);
    let agent = Agent::start(site.broker, 1);
    let manifest = site.file("db.yaml", DB);
    let difference = site.kc(&["diff", "-f", &manifest]).assert().code(7);
    let mut printed = String::from_utf8_lossy(&difference.get_output().stdout).into_owned();
    printed += &site.says(&["apply", "-f", &manifest]);
    let spec = agent.until("the secret", |spec| file(spec).is_some());
    assert_eq!(opened(&spec, 1), MARKER);

    // The same again is no change, another value of the same length is one.
    assert!(
        site.says(&["apply", "-f", &manifest])
            .contains("secret/db unchanged")
    );
    let other = DB.replace("swordfish", "fishsword");
    let told = site.says(&["apply", "-f", &site.file("db.yaml", &other)]);
    assert!(told.contains("secret/db configured"), "{told}");
    agent.until("the other value", |spec| {
        file(spec).is_some() && opened(spec, 1) != MARKER
    });
    printed += &site.says(&["apply", "-f", &site.file("db.yaml", DB)]);
    agent.until("the value", |spec| {
        file(spec).is_some() && opened(spec, 1) == MARKER
    });

    let broken = site.file(
        "broken.yaml",
        &DB.replace("password: xyzzy", "password: : xyzzy"),
    );
    let refused = site.kc(&["apply", "-f", &broken]).assert().code(4);
    clean(
        "a refusal",
        &String::from_utf8_lossy(&refused.get_output().stderr),
    );

    let listed = site.says(&["get", "secrets"]);
    assert!(
        listed.contains("db") && listed.contains("password") && listed.contains("service/db"),
        "{listed}"
    );
    printed += &listed;
    assert_eq!(
        site.json(&["get", "secret", "db"])["keys"][0]["octets"],
        MARKER.len()
    );
    let story = site.says(&["describe", "secret", "db"]);
    assert!(
        story.contains(&format!("password: {} octets", MARKER.len())),
        "{story}"
    );
    printed += &story;
    for words in [
        &["get", "secrets", "-o", "yaml"][..],
        &["get", "secrets", "-o", "wide"],
        &["get", "services", "-o", "yaml"],
        &["describe", "service", "db"],
        &["describe", "node", "box1"],
        &["get", "instances", "-o", "json"],
        &["events"],
    ] {
        printed += &site.says(words);
    }
    clean("what kc prints", &printed);
    let token = site.token();
    for (method, path) in kc_controller::http::ROUTES {
        let path = path
            .replace("{kind}/{name}", "secret/db")
            .replace("/nodes/{name}", "/nodes/box1");
        let path = path.replace("{name}", "db");
        if *method == "get"
            && !["watch", "logs"]
                .iter()
                .any(|endless| path.contains(endless))
        {
            let (_, body) = ask(&site.address, &request("GET", &path, Some(&token)));
            clean(&path, &body);
        }
    }
    site.kc(&["delete", "secret", "db"]).assert().code(1);
    // A controller that comes back says the same, once the change is over and what stood in is gone.
    until("the change is over", || {
        site.json(&["get", "service", "db"])["update"].is_null()
            && site.json(&["get", "instances"]).as_array().unwrap().len() == 1
    });
    agent.until("one container", |spec| spec.containers.len() == 1);
    let before = agent.documents().len();
    site.kill_controller();
    site.start_controller();
    site.until_connected();
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    site.says(&["apply", "-f", &manifest]);
    for document in &agent.documents()[before..] {
        let (now, then) = (document, &agent.documents()[before - 1]);
        assert_eq!(String::from_utf8_lossy(now), String::from_utf8_lossy(then));
    }
    clean("the log", &site.log());
    for document in agent.documents() {
        clean("a document", &String::from_utf8_lossy(&document));
    }
    if let Some(wire) = wire {
        let all = wire.end();
        assert!(
            all.contains("node/box1/spec") && all.contains("sealed"),
            "{all}"
        );
        clean("MQTT", &all);
    }
}

#[test]
fn a_new_key_is_told_and_taken_only_by_word() {
    let site = Site::start();
    let agent = Agent::start(site.broker, 1);
    site.says(&["apply", "-f", &site.file("db.yaml", DB)]);
    let spec = agent.until("the secret", |spec| file(spec).is_some());
    // Whoever can write to the broker can say this.
    let status: serde_json::Value = serde_json::json!({
        "v": 1, "node": "box1", "presence": Presence::Online, "version": "0.1.0", "arch": "aarch64",
        "boot": "boot", "session": 77, "labels": {}, "vtep": "192.168.50.1", "underlay-mtu": 1500,
        "capacity": {"cpu-millis": 4000, "memory-bytes": 1 << 30, "disk-bytes": 1 << 30},
        "engine": "20.10.24", "seal-key": seal_key(9).public(),
    });
    let status: NodeStatus = serde_json::from_value(status).unwrap();
    agent.raw(Topic::Status(agent.name()), encode(&status).unwrap());
    until("it is told", || {
        site.says(&["describe", "node", "box1"])
            .contains("kc trust box1")
    });
    assert!(site.says(&["events"]).contains("node-key-changed"));
    let now = agent.documents().last().cloned().unwrap();
    let now: NodeSpec = kc_agent_api::decode(&now).unwrap();
    assert_eq!(file(&now), file(&spec));

    site.kc(&["trust", "box7"]).assert().code(3);
    assert_eq!(site.says(&["trust", "box1"]), "node/box1 trusted\n");
    assert_eq!(site.says(&["trust", "box1"]), "node/box1 already trusted\n");
    let spec = agent.until("sealed anew", |spec| {
        file(spec).is_some_and(|file| file.sealed.open(&seal_key(9), "db/password").is_ok())
    });
    assert_eq!(opened(&spec, 9), MARKER);
    assert!(site.json(&["get", "node", "box1"])["secretsHeld"].is_null());
}
