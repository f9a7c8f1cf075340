//! `kc exec`: octets both ways, exit codes, and what happens when somebody dies meanwhile.

use super::logs::{cluster, home, spawn};
use super::site::{Process, until};
use std::io::{Read as _, Write as _};

/// Octets that look random and are the same every time.
pub(crate) fn noise(count: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(count).collect()
}

#[test]
fn megabytes_go_in_and_come_out_as_they_were() {
    let (site, boxes) = cluster();
    let sent = noise(3 << 20);
    let mut kc = site.kc(&["exec", "-i", "firewall-1", "--", "cat"]);
    let output = kc.write_stdin(sent.clone()).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty());
    assert!(output.stdout == sent, "{} octets", output.stdout.len());
    let held = home(&site, &boxes, "firewall-1")
        .inside
        .lock()
        .unwrap()
        .held;
    assert!(held <= 32, "{held} parts waited in the box");
}

#[test]
fn the_exit_code_is_that_of_the_command_and_its_outputs_stay_apart() {
    let (site, _boxes) = cluster();
    for code in [0, 1, 3, 126, 127, 255] {
        let text = code.to_string();
        let words = ["exec", "firewall-1", "exit", &text];
        site.kc(&words).assert().code(code).stdout("").stderr("");
    }
    let words = ["exec", "firewall-1", "--", "both", "-x", "--flag"];
    site.kc(&words).assert().code(0).stdout("out").stderr("err");
}

#[test]
fn what_cannot_be_run_is_told() {
    let (site, _boxes) = cluster();
    for (words, code, told) in [
        (&["exec", "firewall-1"][..], 2, "COMMAND"),
        (&["exec", "firewal-1", "sh"], 3, "did you mean firewall-1?"),
        (&["exec", "-it", "firewall-1", "sh"], 2, "leave -t out"),
    ] {
        let output = site.kc(words).output().unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{words:?}: {errors}");
        assert!(errors.contains(told), "{errors}");
    }
    let words = ["exec", "firewall-1", "exit", "0", "--token", "wrong"];
    let output = site
        .kc(&words[..2])
        .env("KC_TOKEN", "wrong")
        .args(&words[2..4])
        .output();
    let errors = String::from_utf8(output.unwrap().stderr).unwrap();
    assert!(errors.contains("token"), "exec needs the token: {errors}");
}

/// What `kc` says before it ends with exit code 1.
fn told(mut kc: Process) -> String {
    assert_eq!(kc.0.wait().unwrap().code(), Some(1));
    let mut errors = String::new();
    let mut stderr = kc.0.stderr.take().unwrap();
    stderr.read_to_string(&mut errors).unwrap();
    errors
}

#[test]
fn a_box_that_goes_ends_the_session_with_a_clear_word() {
    let (site, boxes) = cluster();
    let node = home(&site, &boxes, "firewall-1").name();
    let mut kc = spawn(&site, &["exec", "-i", "firewall-1", "--", "cat"]);
    let mut stdin = kc.0.stdin.take().unwrap();
    stdin.write_all(b"there?").unwrap();
    let mut heard = [0; 6];
    let mut stdout = kc.0.stdout.take().unwrap();
    stdout.read_exact(&mut heard).unwrap();
    drop(boxes);
    assert_eq!(told(kc), format!("error: {node} went offline\n"));
}

#[test]
fn a_controller_or_broker_that_dies_ends_the_session_too_and_a_kc_that_dies_ends_the_command() {
    let (mut site, boxes) = cluster();
    let attempt = |site: &_| {
        let mut kc = spawn(site, &["exec", "-i", "firewall-1", "--", "cat"]);
        let mut stdin = kc.0.stdin.take().unwrap();
        stdin.write_all(b"!").unwrap();
        let mut stdout = kc.0.stdout.take().unwrap();
        stdout.read_exact(&mut [0]).ok()?;
        Some((kc, stdin))
    };
    let begin = |site: &_| attempt(site).unwrap();
    let told = |(kc, _stdin): (Process, _)| told(kc);
    let (mut kc, stdin) = begin(&site);
    kc.0.kill().unwrap();
    kc.0.wait().unwrap();
    until("the box is told", || {
        boxes
            .iter()
            .any(|one| one.inside.lock().unwrap().cancelled == 1)
    });
    drop(stdin);
    let session = begin(&site);
    site.stop_broker();
    let errors = told(session);
    assert!(errors.contains("the broker is not connected"), "{errors}");
    site.start_broker();
    site.until_connected();
    // They were not away for long enough to be missed, so only an answer tells.
    let mut session = None;
    until("the boxes are back", || {
        session = attempt(&site);
        session.is_some()
    });
    let session = session.unwrap();
    site.kill_controller();
    let errors = told(session);
    assert!(errors.contains("broke off"), "{errors}");
}
