//! `kc logs`: outputs apart, following, slow readers.

use super::agent::Agent;
use super::inside::PART;
use super::site::{Process, Site, WEB, until};
use std::io::Read as _;
use std::process::Stdio;

/// Two boxes with a firewall each, which run.
pub(crate) fn cluster() -> (Site, [Agent; 2]) {
    let site = Site::start();
    let boxes = [Agent::start(site.broker, 1), Agent::start(site.broker, 2)];
    site.says(&["apply", "-f", &site.file("web.yaml", WEB)]);
    until("the instances run", || {
        let all = site.says(&["get", "instances"]);
        all.matches("Running").count() == 2
    });
    (site, boxes)
}

/// The box that an instance is on.
pub(crate) fn home<'a>(site: &Site, boxes: &'a [Agent; 2], instance: &str) -> &'a Agent {
    let view = site.json(&["get", "instance", instance]);
    let view = view.get(0).unwrap_or(&view);
    let node = view["node"].as_str().unwrap();
    boxes
        .iter()
        .find(|one| one.name().as_str() == node)
        .unwrap()
}

/// `kc` as a process of its own, with pipes.
pub(crate) fn spawn(site: &Site, words: &[&str]) -> Process {
    let child = std::process::Command::new(env!("CARGO_BIN_EXE_kc"))
        .env("KC_SERVER", format!("unix://{}", site.socket().display()))
        .env("KC_TOKEN", site.token())
        .args(words)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    Process(child.unwrap())
}

#[test]
fn logs_are_asked_of_the_box_and_their_outputs_stay_apart() {
    let (site, _boxes) = cluster();
    let words = ["logs", "firewall-1", "--tail", "7", "--since", "5m", "-t"];
    let output = site.kc(&words).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 2, "no part twice: {text}");
    for part in [
        "firewall-1",
        "tail: Some(7)",
        "since_s: Some(300)",
        "timestamps: true",
        "second part",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(errors, "to stderr\n");
    let text = site.says(&["logs", "firewall-1", "--since", "1970-01-01T00:01:40Z"]);
    assert!(text.contains("since_wall_s: Some(100)"), "{text}");

    assert!(text.contains("previous: false"), "{text}");
    let text = site.says(&["logs", "-p", "firewall-1"]);
    assert!(text.contains("previous: true"), "{text}");
    let both = site.kc(&["logs", "-p", "-f", "firewall-1"]).output();
    assert_eq!(
        both.unwrap().status.code(),
        Some(2),
        "what has ended is not followed"
    );

    for (instance, since, code, words) in [
        ("firewal-1", "5m", 3, "did you mean firewall-1?"),
        ("firewall-1", "soon", 2, "2026-01-31T12:00:00Z"),
    ] {
        let output = site.kc(&["logs", instance, "--since", since]).output();
        let output = output.unwrap();
        assert_eq!(output.status.code(), Some(code));
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains(words), "{errors}");
    }
}

#[test]
fn a_slow_reader_holds_back_its_own_log_and_nothing_else() {
    let (site, boxes) = cluster();
    let home = home(&site, &boxes, "firewall-1");
    let flooded = || home.inside.lock().unwrap().flooded;
    let mut kc = spawn(&site, &["logs", "-f", "firewall-1"]);
    until("the log flows", || flooded() > 0);
    // Nobody reads. The same box is asked something else meanwhile, and answers.
    let mut before = 0;
    until("the log is held back", || {
        site.kc(&["doctor", home.name().as_str(), "--timeout", "5s"])
            .assert()
            .code(0);
        std::mem::replace(&mut before, flooded()) == flooded()
    });
    let held = flooded();
    assert!(held < 4 << 20, "{held} octets are under way for nobody");
    // Once it reads, it goes on: nothing was lost.
    let mut out = kc.0.stdout.take().unwrap();
    let mut read = vec![0; held + 100 * PART];
    out.read_exact(&mut read).unwrap();
    assert!(read.iter().all(|octet| *octet == b'x'));
    assert!(flooded() > held);
    // And when it goes, the box hears of it.
    assert_eq!(home.inside.lock().unwrap().cancelled, 0);
    drop(kc);
    until("the box is told that nobody reads", || {
        home.inside.lock().unwrap().cancelled == 1
    });
}

#[test]
fn whoever_has_no_kc_reads_logs_as_text() {
    let (site, boxes) = cluster();
    let node = home(&site, &boxes, "firewall-1").name();
    let output = std::process::Command::new("curl")
        .args(["-sS", "--unix-socket"])
        .arg(site.socket())
        .args(["-H", &format!("Authorization: Bearer {}", site.token())])
        .arg(format!("http://c/api/v1/nodes/{node}/logs/firewall-1"))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("to stderr\nsecond part\n"), "{text}");
}
