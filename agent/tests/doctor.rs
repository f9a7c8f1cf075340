//! The real `kc-agent doctor`: without engine, broker and agent, and without privileges.
#![cfg(test)]

use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};

/// Nobody's user and group.
const NOBODY: u32 = 65_534;

/// `kc-agent doctor` on a box whose engine, broker and forwarder do not exist.
fn doctor(program: &Path, dir: &Path) -> Command {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut command = Command::new(program);
    command.args(["doctor", "--node", "pi-1", "--broker", &broker]);
    command.args(["--forwarder", "/nonexistent/kc-forwarder"]);
    command.arg("--docker").arg(dir.join("docker.sock"));
    command.arg("--run-dir").arg(dir.join("run"));
    command.arg("--state-dir").arg(dir.join("state"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("KC_AGENT_") {
            command.env_remove(name);
        }
    }
    command
}

fn own() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_kc-agent"))
}

fn report(output: &Output) -> Value {
    let said = String::from_utf8_lossy(&output.stderr);
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {said}"))
}

fn severity<'a>(report: &'a Value, check: &str) -> &'a str {
    let mut all = report["findings"].as_array().unwrap().iter();
    let found = all.find(|finding| finding["check"] == check);
    let found = found.unwrap_or_else(|| panic!("no {check}: {report}"));
    found["severity"].as_str().unwrap()
}

#[test]
fn what_is_missing_is_a_problem_with_a_fix_and_exit_code_3() {
    let dir = tempfile::tempdir().unwrap();
    let output = doctor(own(), dir.path())
        .args(["-o", "json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
    let report = report(&output);
    assert_eq!(report["node"], "pi-1");
    for check in ["docker", "broker", "forwarder"] {
        assert_eq!(severity(&report, check), "problem", "{check}");
    }
    for finding in report["findings"].as_array().unwrap() {
        let well = finding["severity"] == "ok";
        assert_eq!(finding["fix"].is_null(), well, "{finding}");
    }
    // The same for people: a line each, and the fix below.
    let output = doctor(own(), dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut lines = text
        .lines()
        .skip_while(|line| !line.starts_with("problem  docker"));
    assert!(lines.next().unwrap().contains("docker.sock"), "{text}");
    assert!(
        lines.next().unwrap().contains("apt install docker.io"),
        "{text}"
    );
    assert!(output.stderr.is_empty(), "{:?}", output.stderr);
}

#[test]
fn a_wrong_configuration_is_exit_code_2_and_names_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("agent.toml");
    fs::write(&file, "node = \"pi-1\"\nbrocker = \"x:1\"\n").unwrap();
    let mut command = doctor(own(), dir.path());
    let output = command.arg("--config").arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("line 2"), "{said}");
}

#[test]
fn somebody_without_rights_is_told_what_cannot_be_told() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root to become somebody else");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    mode(dir.path(), 0o755);
    // Where this was built may be closed to others.
    let program = dir.path().join("kc-agent");
    fs::copy(own(), &program).unwrap();
    mode(&program, 0o755);
    let file = dir.path().join("agent.toml");
    fs::write(&file, "mqtt-user = \"pi-1\"\n").unwrap();
    mode(&file, 0o600);
    let mut command = doctor(&program, dir.path());
    command.uid(NOBODY).gid(NOBODY).args(["-o", "json"]);
    let output = command.arg("--config").arg(&file).output().unwrap();
    let report = report(&output);
    for check in ["configuration", "broker"] {
        assert_eq!(severity(&report, check), "unknown", "{check}");
    }
    assert_eq!(severity(&report, "docker"), "problem");
    assert_eq!(output.status.code(), Some(3));
}
