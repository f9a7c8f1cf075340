//! What dies comes back: agent, forwarder, engine, ledger; and nothing healthy is touched.
#![cfg(test)]

mod support;

use kc_agent_api::{ContainerPhase, EventKind, NodeSpec, NodeState};
use std::time::Instant;
use support::{Agent, leg, of, on_a_box, play, spec_of};

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

fn document(generation: u64, names: &[&str]) -> NodeSpec {
    let containers = names.iter().map(|name| {
        spec_of(
            name,
            vec![leg("eth0", &format!("{name}e"), &["10.9.0.2/24"])],
        )
    });
    NodeSpec {
        generation,
        containers: containers.collect(),
        ..NodeSpec::default()
    }
}

/// Ends the forwarder that this agent left behind.
async fn end_forwarder(agent: &Agent) {
    let socket = agent.settings.forwarder_socket();
    let stream = tokio::net::UnixStream::connect(socket).await.unwrap();
    let pid = stream.peer_cred().unwrap().pid().unwrap();
    let pid = nix::unistd::Pid::from_raw(pid);
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
}

fn identities(state: &NodeState) -> Vec<(String, Option<String>)> {
    let containers = state.containers.iter();
    containers
        .map(|container| (container.id.clone(), container.started_at.clone()))
        .collect()
}

#[test]
fn a_restarted_agent_touches_nothing_and_needs_nobody() {
    on_a_box("agent", async |engine| {
        let mut agent = Agent::start(&engine);
        agent.want(&document(7, &["fw", "dpi"]));
        let before = agent.until_running(7).await;
        agent.stop().await;
        let index = support::index_of("fwe");

        let mut agent = Agent::start(&engine);
        let after = agent.until_running(7).await;
        assert_eq!(identities(&after), identities(&before));
        assert_eq!(support::index_of("fwe"), index);
        // The same document again, as a retained message comes at every connection.
        agent.want(&document(7, &["fw", "dpi"]));
        agent.want_bytes(b"{\"v\":1,\"generation\":6}");
        let told = agent.event(EventKind::SpecRefused).await;
        assert!(told.message.contains("older"), "{told:?}");
        let errors = agent.state.borrow().errors.clone();
        assert!(
            errors.iter().any(|error| error.contains("older")),
            "{errors:?}"
        );
        assert_eq!(identities(&agent.state.borrow()), identities(&before));
        let events: Vec<_> = std::iter::from_fn(|| agent.happened.try_recv().ok()).collect();
        assert!(
            events
                .iter()
                .all(|event| event.kind != EventKind::ContainerStarted),
            "{events:?}"
        );
        end_forwarder(&agent).await;
        agent.stop().await;
    });
}

#[test]
fn a_ruined_ledger_is_said_and_takes_nothing_away() {
    on_a_box("ledger", async |engine| {
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, &["fw"]));
        agent.until_running(1).await;
        agent.want(&document(2, &["fw", "dpi"]));
        let before = agent.until_running(2).await;
        let file = agent.settings.state_dir.join("spec.json");
        agent.stop().await;
        std::fs::write(&file, b"{\"v\":1,\"generation\":2,\"contai").unwrap();

        let mut agent = Agent::start(&engine);
        let told = agent.event(EventKind::SpecRefused).await;
        assert!(
            told.message.contains("spec.json") && told.message.contains("generation 1"),
            "{told:?}"
        );
        agent
            .until("generation 1", |state| {
                state.spec_generation == 1
                    && state
                        .containers
                        .iter()
                        .all(|container| container.phase == ContainerPhase::Running)
            })
            .await;
        let names = engine.docker(&["ps", "--format", "{{.Names}}"]);
        assert!(names.contains("kc-dpi"), "{names}");
        agent.want(&document(2, &["fw", "dpi"]));
        let after = agent.until_running(2).await;
        assert_eq!(identities(&after), identities(&before));
        assert_eq!(after.errors, Vec::<String>::new());
        end_forwarder(&agent).await;
        agent.stop().await;
    });
}

#[test]
fn an_engine_that_crashed_and_came_back_has_everything_running_again() {
    on_a_box("engine", async |mut engine| {
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, &["fw"]));
        agent.until_running(1).await;
        engine.crash();
        agent.event(EventKind::Engine).await;
        agent
            .until("engine is away", |state| {
                state
                    .errors
                    .iter()
                    .any(|error| error.contains("no Docker engine at"))
            })
            .await;
        // Without an engine tables are still taken up.
        let mut next = document(2, &["fw"]);
        next.load_interval_s = 2;
        agent.want(&next);
        agent
            .until("tables", |state| state.forwarder_generation == 2)
            .await;
        let began = Instant::now();
        engine.start_again();
        let state = agent
            .until("running again", |state| {
                state.errors.is_empty() && of(state, "fw").phase == ContainerPhase::Running
            })
            .await;
        eprintln!("measured: engine restart to running {:?}", began.elapsed());
        let pid = agent.pid(&of(&state, "fw").id);
        assert!(support::run_inside(pid, "ip", &["addr"]).contains("10.9.0.2/24"));
        end_forwarder(&agent).await;
        agent.stop().await;
    });
}
