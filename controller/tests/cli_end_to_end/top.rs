//! `kc top`: what is busy, in which order, again and again.

use super::logs::{cluster, spawn};
use super::site::until;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};

fn names(values: &Value) -> Vec<&str> {
    let values = values.as_array().unwrap().iter();
    values
        .map(|value| value["name"].as_str().unwrap())
        .collect()
}

#[test]
fn load_is_sorted_filtered_and_followed() {
    let (site, _boxes) = cluster();
    until("both boxes report load", || {
        site.says(&["top", "nodes"]).matches("512MiB").count() == 2
    });
    // The second box is twice as busy.
    assert_eq!(names(&site.json(&["top", "nodes"])), ["box2", "box1"]);
    let by_name = site.json(&["top", "nodes", "--sort-by", "name"]);
    assert_eq!(names(&by_name), ["box1", "box2"]);
    let one = site.json(&["top", "pods", "firewall-2"]);
    assert_eq!(names(&one), ["firewall-2"]);
    let bare = site.says(&["top", "nodes", "box1", "--no-headers"]);
    assert!(
        bare.starts_with("box1 ") && bare.lines().count() == 1,
        "{bare}"
    );
    let output = site.kc(&["top", "nodes", "box3"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("did you mean box"), "{errors}");

    // In a pipe the heading comes once and every record is a line.
    let mut kc = spawn(&site, &["top", "nodes", "-w"]);
    let lines = BufReader::new(kc.0.stdout.take().unwrap()).lines();
    let lines: Vec<String> = lines.map(Result::unwrap).take(5).collect();
    assert!(lines[0].starts_with("NAME"), "{lines:?}");
    assert!(
        lines[1..].iter().all(|line| line.starts_with("box")),
        "{lines:?}"
    );
    let mut kc = spawn(&site, &["top", "nodes", "-w", "-o", "json"]);
    let lines = BufReader::new(kc.0.stdout.take().unwrap()).lines();
    for line in lines.take(2) {
        let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
        assert_eq!(names(&value), ["box2", "box1"]);
    }
}
