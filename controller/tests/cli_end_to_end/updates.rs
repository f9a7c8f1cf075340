//! `kc update node`: one box after the other, as far as they take it.

use super::agent::Agent;
use super::site::{Site, until};
use serde_json::Value;
use tar::{Builder, Header};

/// An archive for boxes of `arch` with a signature that nobody here looks at.
fn package(site: &Site, name: &str, arch: &str, version: &str) -> String {
    let mut tar = Builder::new(Vec::new());
    let manifest = format!(r#"{{"format":1,"version":"{version}","arch":"{arch}"}}"#);
    let program = super::exec::noise(3 << 20);
    for (name, octets) in [
        ("manifest.json", manifest.as_bytes()),
        ("kc-agent", &program),
    ] {
        let mut header = Header::new_ustar();
        header.set_size(octets.len() as u64);
        tar.append_data(&mut header, name, octets).unwrap();
    }
    let path = site.directory.path().join(name);
    std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
    std::fs::write(
        path.with_extension("tar.minisig"),
        "untrusted comment: signed\n",
    )
    .unwrap();
    path.display().to_string()
}

fn cluster() -> (Site, [Agent; 3]) {
    let site = Site::start();
    let boxes = [1, 2, 3].map(|number| Agent::start(site.broker, number));
    until("all boxes are ready", || {
        site.says(&["get", "nodes"]).matches("Ready").count() == 3
    });
    (site, boxes)
}

fn version(site: &Site, node: &str) -> Value {
    site.json(&["get", "node", node])["version"].clone()
}

#[test]
fn boxes_are_updated_one_after_the_other_and_those_that_are_need_nothing() {
    let (site, boxes) = cluster();
    let file = package(&site, "good.tar", "aarch64", "0.2.0");
    let said = site.says(&["update", "node", "box2", "--package", &file]);
    assert!(
        said.starts_with("node/box2 updated from 0.1.0 to 0.2.0 in "),
        "{said}"
    );
    let whole = std::fs::read(&file).unwrap();
    assert!(boxes[1].inside.lock().unwrap().uploaded == whole);
    // As other tools call it; a package for other boxes does no harm.
    let other = package(&site, "other.tar", "arm", "0.2.0");
    let words = [
        "upgrade",
        "no",
        "--all",
        "--package",
        &other,
        "--package",
        &file,
    ];
    let said = site.says(&words);
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[0].starts_with("node/box1 updated"), "{said}");
    assert_eq!(lines[1], "node/box2 runs 0.2.0 already");
    assert!(lines[2].starts_with("node/box3 updated"), "{said}");
    assert_eq!(version(&site, "box3"), "0.2.0");
    assert!(
        site.says(&["get", "nodes", "-o", "wide"])
            .matches("0.2.0")
            .count()
            == 3
    );
    let told = site.says(&["describe", "node", "box1"]);
    assert!(told.contains("to 0.2.0 from 0.1.0"), "{told}");
}

#[test]
fn the_first_that_does_not_take_it_ends_it_and_is_told_with_its_reason() {
    let (site, boxes) = cluster();
    let file = package(&site, "bad.tar", "aarch64", "0.2.0");
    let ails = "after 60 s it still waited for the broker";
    boxes[1].inside.lock().unwrap().ails = Some(ails.to_owned());
    let words = ["update", "node", "--all", "--package", &file, "-o", "json"];
    let output = site.kc(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(10));
    let lines: Value = serde_json::from_slice(&output.stdout).unwrap();
    let outcomes = [0, 1, 2].map(|at: usize| lines[at]["outcome"].as_str().unwrap());
    assert_eq!(outcomes, ["updated", "failed", "not-tried"]);
    assert!(lines[1]["reason"].as_str().unwrap().contains(ails));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(told.contains("box2 is back at 0.1.0"), "{told}");
    assert!(told.contains("; not tried: box3"), "{told}");
    assert_eq!(
        [version(&site, "box2"), version(&site, "box3")],
        ["0.1.0", "0.1.0"]
    );
    let told = site.says(&["describe", "node", "box2"]);
    assert!(told.contains("failed: after 60 s"), "{told}");

    let refuses = "this box trusts no key";
    boxes[2].inside.lock().unwrap().refuses = Some(refuses.to_owned());
    let words = ["update", "node", "box3", "--package", &file];
    let output = site.kc(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(10));
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(told, "error: box3: this box trusts no key\n");
}

#[test]
fn nothing_is_begun_unless_all_of_it_can_be() {
    let (site, boxes) = cluster();
    let file = package(&site, "good.tar", "aarch64", "0.2.0");
    let arm = package(&site, "arm.tar", "arm", "0.2.0");
    let unsigned = site.file("unsigned.tar", "no archive");
    let fails = |words: &[&str], code: i32, word: &str| {
        let output = site.kc(words).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{told}");
        assert!(told.contains(word), "{word}: {told}");
        assert!(output.stdout.is_empty());
    };
    fails(
        &["update", "node", "box1", "bxo2", "-p", &file],
        3,
        "did you mean box2?",
    );
    fails(&["update", "chain", "web", "-p", &file], 2, "only nodes");
    fails(&["update", "node", "-p", &file], 2, "--all");
    fails(&["update", "node", "box1"], 2, "--package");
    fails(
        &["update", "node", "box1", "-p", &unsigned],
        2,
        "no update's archive",
    );
    fails(
        &["update", "node", "box1", "-p", &arm],
        10,
        "box1 is aarch64, and the package is for arm",
    );
    let [one, two, three] = boxes;
    drop(two);
    until("a box is offline", || {
        site.json(&["get", "node", "box2"])["condition"] == "offline"
    });
    fails(
        &["update", "node", "--all", "-p", &file],
        10,
        "box2 is Offline; nothing was begun",
    );
    for left in [one, three] {
        assert!(left.inside.lock().unwrap().uploaded.is_empty());
    }
}
