//! Supervision of a forwarder: started, fed, adopted, restarted; no engine needed.
#![cfg(test)]

mod support;

use kc_agent_api::{EventKind, NodeSpec};
use kc_forwarder_api::{Action, Rule};
use std::path::Path;
use std::time::Instant;
use support::{Agent, fake_forwarder, play};

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

fn agent(dir: &Path) -> Agent {
    let program = fake_forwarder(dir);
    Agent::start_at(dir, &dir.join("no-docker.sock"), &program)
}

fn document(generation: u64, rule: &str) -> NodeSpec {
    let mut spec = NodeSpec {
        generation,
        ..NodeSpec::default()
    };
    let (name, matches, action) = (rule.to_owned(), Default::default(), Action::Drop);
    spec.forwarder.rules.push(Rule {
        name,
        matches,
        action,
    });
    spec
}

async fn forwarder_pid(agent: &Agent) -> i32 {
    let stream = tokio::net::UnixStream::connect(agent.settings.forwarder_socket())
        .await
        .unwrap();
    stream.peer_cred().unwrap().pid().unwrap()
}

fn kill(pid: i32) {
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

#[tokio::test]
async fn tables_are_in_force_without_any_engine_and_survive_the_forwarder() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(dir.path());
    agent.want(&document(5, "a"));
    agent
        .until("applied", |state| state.forwarder_generation == 5)
        .await;
    let pid = forwarder_pid(&agent).await;

    let began = Instant::now();
    kill(pid);
    let died = agent.event(EventKind::ForwarderDied).await;
    assert!(died.message.contains("signal: 9"), "{died:?}");
    agent.event(EventKind::ForwarderStarted).await;
    agent
        .until("in force again", |state| state.forwarder_generation == 5)
        .await;
    eprintln!(
        "measured: forwarder killed to tables in force {:?}",
        began.elapsed()
    );
    assert_ne!(forwarder_pid(&agent).await, pid);
    kill(forwarder_pid(&agent).await);
    agent.stop().await;
}

#[tokio::test]
async fn a_forwarder_outlives_its_agent_and_is_adopted() {
    let dir = tempfile::tempdir().unwrap();
    let mut first = agent(dir.path());
    first.want(&document(1, "a"));
    first
        .until("applied", |state| state.forwarder_generation == 1)
        .await;
    let pid = forwarder_pid(&first).await;
    first.stop().await;

    let mut second = agent(dir.path());
    second
        .until("adopted", |state| state.forwarder_generation == 1)
        .await;
    assert_eq!(forwarder_pid(&second).await, pid);
    second.want(&document(2, "b"));
    second
        .until("applied", |state| state.forwarder_generation == 2)
        .await;
    assert_eq!(forwarder_pid(&second).await, pid);
    // It is nobody's child now; its end is still seen.
    kill(pid);
    second.event(EventKind::ForwarderDied).await;
    second
        .until("in force again", |state| state.forwarder_generation == 2)
        .await;
    kill(forwarder_pid(&second).await);
    second.stop().await;
}

#[tokio::test]
async fn refused_tables_are_said_and_the_old_ones_stay() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(dir.path());
    agent.want(&document(1, "a"));
    agent
        .until("applied", |state| state.forwarder_generation == 1)
        .await;
    agent.want(&document(2, "refuse-me"));
    let told = agent.event(EventKind::TablesRefused).await;
    assert!(
        told.message.contains("generation 2") && told.message.contains("leads nowhere"),
        "{told:?}"
    );
    let state = agent
        .until("said", |state| {
            !state.errors.iter().all(|e| !e.contains("refused"))
        })
        .await;
    assert_eq!((state.spec_generation, state.forwarder_generation), (2, 1));
    agent.want(&document(3, "c"));
    let state = agent
        .until("applied", |state| state.forwarder_generation == 3)
        .await;
    assert!(
        state.errors.iter().all(|error| !error.contains("refused")),
        "{:?}",
        state.errors
    );
    kill(forwarder_pid(&agent).await);
    agent.stop().await;
}

#[tokio::test]
async fn a_forwarder_that_hangs_is_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(dir.path());
    agent.want(&document(1, "a"));
    agent
        .until("applied", |state| state.forwarder_generation == 1)
        .await;
    let pid = forwarder_pid(&agent).await;
    agent.want(&document(2, "hang"));
    agent.event(EventKind::ForwarderDied).await;
    agent.want(&document(3, "c"));
    agent
        .until("applied", |state| state.forwarder_generation == 3)
        .await;
    assert_ne!(forwarder_pid(&agent).await, pid);
    kill(forwarder_pid(&agent).await);
    agent.stop().await;
}

#[tokio::test]
async fn a_missing_program_is_said_and_found_when_it_comes() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("fake-forwarder");
    let mut agent = Agent::start_at(dir.path(), &dir.path().join("no-docker.sock"), &program);
    agent.want(&document(1, "a"));
    let missing =
        |error: &String| error.contains("cannot start") && error.contains("fake-forwarder");
    agent
        .until("said", |state| state.errors.iter().any(missing))
        .await;
    fake_forwarder(dir.path());
    let state = agent
        .until("applied", |state| state.forwarder_generation == 1)
        .await;
    assert!(!state.errors.iter().any(missing), "{:?}", state.errors);
    kill(forwarder_pid(&agent).await);
    agent.stop().await;
}

#[tokio::test]
async fn a_document_that_is_none_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let mut agent = agent(dir.path());
    agent.want(&document(1, "a"));
    agent
        .until("applied", |state| state.forwarder_generation == 1)
        .await;
    for wrong in [
        &b"{"[..],
        b"\xff\xfe",
        b"{\"v\":9}",
        b"[]",
        b"{\"v\":1,\"generation\":\"x\"}",
    ] {
        agent.want_bytes(wrong);
        agent.event(EventKind::SpecRefused).await;
    }
    let state = agent.state.borrow().clone();
    assert_eq!((state.spec_generation, state.forwarder_generation), (1, 1));
    kill(forwarder_pid(&agent).await);
    agent.stop().await;
}
