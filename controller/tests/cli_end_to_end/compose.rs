//! Compose files: applied, compared, printed and deleted; and judged by Docker's own reader.

use super::agent::Agent;
use super::site::{Site, bare_kc, until};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

const LAB: &str = "\
name: lab
services:
  web:
    image: web:${TAG:?which one}
    ports: [\"80:80\"]
    depends_on: {store: {condition: service_healthy}}
  store:
    image: store:1
    environment: [LEVEL]
    volumes: [data:/data]
    secrets: [token]
    healthcheck: {test: [CMD, ready]}
    deploy: {placement: {constraints: [node.hostname == box1]}}
volumes: {data: }
secrets: {token: {environment: TOKEN}}
";

fn said(output: &std::process::Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_compose_file_is_applied_compared_and_deleted_as_manifests_are() {
    let site = Site::start();
    let agent = Agent::start(site.broker, 1);
    until("the box is ready", || {
        site.says(&["get", "nodes"]).contains("Ready")
    });
    let file = site.file("compose.yaml", LAB);
    let missing = site.kc(&["apply", "-f", &file]).output().unwrap();
    assert_eq!(missing.status.code(), Some(4));
    let text = said(&missing);
    assert!(
        text.contains("compose.yaml:4:12: services.web.image: variable TAG is not set: which one"),
        "{text}"
    );

    site.file(".env", "TAG=2\nLEVEL='high'\nTOKEN=hunter2\n");
    let text = site.says(&["apply", "-f", &file, "--dry-run"]);
    assert!(text.contains("service/lab-web created (dry run)"), "{text}");
    assert_eq!(site.json(&["get", "services"]), json!([]));
    let applied = site.kc(&["apply", "-f", &file]).output().unwrap();
    assert!(applied.status.success(), "{}", said(&applied));
    let text = said(&applied);
    assert!(
        text.contains("compose.yaml:5: services.web.ports.0: it is put on the box's own network"),
        "{text}"
    );
    assert!(!text.contains("not set"), "{text}");
    agent.until("the store, with what .env says", |spec| {
        spec.containers.iter().any(|container| {
            container.name == "lab-store-1"
                && container.image == "store:1"
                && container
                    .env
                    .get("LEVEL")
                    .is_some_and(|level| level == "high")
                && container
                    .volumes
                    .iter()
                    .any(|volume| volume.name == "lab_data")
        })
    });
    agent.until("what depends on it, on the box's network", |spec| {
        let host = kc_agent_api::Network::Host;
        let web = spec.containers.iter().find(|c| c.name == "lab-web-1");
        web.is_some_and(|web| web.image == "web:2" && web.network == host)
    });

    // What is printed is what is applied.
    let diff = site.kc(&["diff", "-f", &file]).output().unwrap();
    assert_eq!(diff.status.code(), Some(0), "{}", said(&diff));
    assert!(site.says(&["get", "secrets"]).contains("lab-token"));
    for words in [
        &["describe", "service", "lab-store"][..],
        &["get", "secrets", "-o", "yaml"],
    ] {
        assert!(!site.says(words).contains("hunter2"), "{words:?}");
    }
    let printed = site.says(&["convert", "-f", &file]);
    let again = site
        .kc(&["apply", "-f", "-"])
        .write_stdin(printed)
        .output()
        .unwrap();
    let text = String::from_utf8(again.stdout).unwrap();
    assert_eq!(text.matches(" unchanged").count(), 3, "{text}");

    // What the file has no more is named, and stays.
    let (one, _) = LAB.split_once("  web:").unwrap();
    let (_, rest) = LAB.split_once("  store:").unwrap();
    let fewer = site.file("compose.yaml", &format!("{one}  store:{rest}"));
    let output = site.kc(&["apply", "-f", &fewer]).output().unwrap();
    let text = said(&output);
    assert!(text.contains("`kc delete service lab-web`"), "{text}");
    assert_eq!(site.json(&["get", "services"]).as_array().unwrap().len(), 2);

    site.file("compose.yaml", LAB);
    let deleted = site.kc(&["delete", "-f", &file]).output().unwrap();
    assert_eq!(said(&deleted), "", "no word of what is left out");
    let text = String::from_utf8(deleted.stdout).unwrap();
    assert!(text.contains("service/lab-web deleted\n"), "{text}");
    assert!(text.contains("service/lab-store deleted\n"), "{text}");
    assert_eq!(site.json(&["get", "services"]), json!([]));
}

#[test]
fn what_the_controller_refuses_is_told_in_the_compose_files_lines() {
    let site = Site::start();
    let function = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: lab-web}
spec: {image: a}
";
    site.says(&["apply", "-f", &site.file("function.yaml", function)]);
    let file = site.file(
        "compose.yaml",
        "services:\n  db: {image: a}\n  web: {image: a}\n",
    );
    let output = site
        .kc(&["apply", "-p", "lab", "-f", &file])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    let text = said(&output);
    assert!(
        text.contains("compose.yaml:3:3: services.web: ServiceFunction/lab-web has this name"),
        "{text}"
    );
    assert!(text.contains(" 3 |   web: {image: a}"), "{text}");
}

#[test]
fn converting_needs_no_controller_and_says_what_it_does_not_take() {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let compose = write(
        "compose.yml",
        "services: {a: {image: \"a:$TAG\"}, b: {image: b, profiles: [x]}}\n",
    );
    let variables = write("other.env", "TAG=7\nCOMPOSE_PROFILES=x\n");
    let convert = |more: &[&str]| {
        let mut words = vec![
            "convert",
            "-f",
            compose.as_str(),
            "-o",
            "json",
            "--env-file",
            variables.as_str(),
        ];
        words.extend(more);
        let output = bare_kc(home.path()).args(&words).output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        serde_json::from_slice::<Value>(&output.stdout).unwrap()
    };
    let made = convert(&["-p", "lab"]);
    assert_eq!(
        (&made[0]["metadata"]["name"], &made[0]["spec"]["image"]),
        (&json!("lab-a"), &json!("a:7"))
    );
    assert_eq!(made.as_array().unwrap().len(), 2, "profile x is on");
    assert_eq!(convert(&["--profile", "y"]).as_array().unwrap().len(), 1);

    let manifest = write("service.yaml", "kind: Service\n");
    let both = write("second.yaml", "services: {b: {image: b}}\n");
    for (files, code, right) in [
        (&[manifest.as_str()][..], 2, "services: at the top"),
        (&[&compose, &both], 2, "Compose files are not merged"),
        (&["/nowhere.yaml"], 1, "/nowhere.yaml"),
    ] {
        let mut kc = bare_kc(home.path());
        kc.arg("convert")
            .args(files.iter().flat_map(|file| ["-f", file]));
        let output = kc.output().unwrap();
        assert_eq!(
            output.status.code(),
            Some(code),
            "{files:?}: {}",
            said(&output)
        );
        assert!(
            said(&output).contains(right),
            "{files:?}: {}",
            said(&output)
        );
    }
}

/// What Docker Compose and we both read: interpolation, `.env`, files of variables, merge keys.
const JUDGED: &str = r#"
version: "3.8"
x-env: &env {A: base, B: "${SET}", N: 1.50}
x-more: &more {B: more, C: more}
services:
  web:
    image: "web:${TAG:-1}"
    env_file: web.env
    environment:
      <<: *env
      V0: "$SET"
      V1: "${EMPTY:-d}"
      V2: "${EMPTY-d}"
      V3: "${UNSET:-d}"
      V4: "$$SET $${SET}"
      V5: "${DOT} ${QUOTED} ${LITERAL}"
      V6: "${UNSET:-http://x:80/?q=1}"
      V7: "${EMPTY?e}${SET:?e}"
      V8: "a$UNSET-b"
      SET:
  merged:
    image: db
    environment:
      <<: [*env, *more]
      C: own
  listed:
    image: db
    environment: [SET, "X=a=b", "Y="]
"#;

#[test]
fn docker_compose_fills_in_variables_and_merges_alike() {
    if Command::new("docker-compose")
        .arg("version")
        .output()
        .is_err()
    {
        let ci = std::env::var_os("CI").is_some_and(|value| value == "true");
        assert!(!ci, "CI must have docker-compose");
        eprintln!("skipped: needs docker-compose");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
    write("compose.yaml", JUDGED);
    write(
        ".env",
        "DOT=dot # comment\nQUOTED=\"a b\"\nLITERAL='c $SET'\nSET=from-dotenv\n",
    );
    write(
        "web.env",
        "# c\n\nF1=plain\nF2='single $SET'\nF3=\"double\"\nexport F4=x\nF5=a#b\nF6= \nA=file\n",
    );
    let run = |program: &str, words: &[&str]| {
        let output = Command::new(program)
            .args(words)
            .current_dir(directory.path())
            .envs([("SET", "set"), ("EMPTY", "")])
            .env_remove("TAG")
            .output()
            .unwrap();
        assert!(output.status.success(), "{program}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap()
    };
    // What it prints could be read again, so a dollar is written as two.
    let judge = run("docker-compose", &["-f", "compose.yaml", "config"]).replace("$$", "$");
    let judge: Value = serde_saphyr::from_str(&judge).unwrap();
    let ours = run(
        env!("CARGO_BIN_EXE_kc"),
        &["convert", "-f", "compose.yaml", "-o", "json"],
    );
    let ours: Value = serde_json::from_str(&ours).unwrap();
    for service in ours.as_array().unwrap() {
        let name = service["metadata"]["labels"]["com.docker.compose.service"]
            .as_str()
            .unwrap();
        let theirs = &judge["services"][name];
        assert_eq!(theirs["image"], service["spec"]["image"], "{name}");
        assert_eq!(
            texts(&theirs["environment"]),
            texts(&service["spec"]["env"]),
            "{name}"
        );
    }
}

fn texts(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().unwrap().iter();
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    entries
        .map(|(key, value)| (key.clone(), text(value)))
        .collect()
}

#[test]
fn python_cuts_commands_alike() {
    let commands = [
        "a b",
        "a 'b c' \"d e\"",
        r"a\ b \\ \'",
        r#""\"q\" \n" '\n'"#,
        "a\"b\"'c'd",
        "'' x",
        "--colour=#fff #x",
        "  a \t b  ",
    ];
    let directory = tempfile::tempdir().unwrap();
    for command in commands {
        let program = "import shlex, sys, json; print(json.dumps(shlex.split(sys.argv[1])))";
        let output = Command::new("python3")
            .args(["-c", program, command])
            .output()
            .unwrap();
        let judge: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(cut(directory.path(), command), judge, "{command}");
    }
}

/// The words that a command becomes.
fn cut(directory: &Path, command: &str) -> Value {
    let path = directory.join("compose.yaml");
    let service = json!({"services": {"a": {"image": "a", "command": command.replace('$', "$$")}}});
    std::fs::write(&path, service.to_string()).unwrap();
    let output = bare_kc(directory)
        .args(["convert", "-p", "lab", "-o", "json", "-f"])
        .arg(&path)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let made: Value = serde_json::from_slice(&output.stdout).unwrap();
    made[0]["spec"]["args"].clone()
}
