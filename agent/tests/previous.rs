//! What ran before, against a real engine: the log of a container before its last start, and of one
//! that another took the place of.
#![cfg(test)]

mod support;

use kc_agent::config::Overrides;
use kc_agent_api::{
    CallBody, ContainerPhase, ContainerSpec, EventKind, Health, HealthCheck, NodeSpec, Probe,
};
use support::{Agent, Answer, Broker, Caller, leg, of, on_a_box, play, spec_of};

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

fn previous(container: &str, tail: Option<u32>, timestamps: bool) -> CallBody {
    CallBody::Logs {
        container: container.into(),
        tail,
        since_s: None,
        since_wall_s: None,
        follow: false,
        timestamps,
        previous: true,
        credit: 64,
    }
}

/// A container that runs `script`.
fn talker(script: &str) -> ContainerSpec {
    let mut spec = spec_of("app", vec![leg("eth0", "app0", &["10.9.0.2/24"])]);
    spec.entrypoint = ["/bin/sh", "-c"].map(str::to_owned).into();
    spec.args = vec![format!("{script}; while :; do sleep 3600; done")];
    spec.stop_timeout_s = Some(0);
    spec
}

fn document(generation: u64, app: ContainerSpec) -> NodeSpec {
    NodeSpec {
        generation,
        containers: vec![app],
        ..NodeSpec::default()
    }
}

async fn ask(caller: &mut Caller, body: CallBody) -> Answer {
    let id = caller.say(body);
    caller.whole(id, None).await
}

fn text(octets: &[u8]) -> &str {
    std::str::from_utf8(octets).unwrap()
}

#[test]
fn what_was_removed_and_what_was_restarted_are_told_apart_from_what_runs() {
    on_a_box("previous", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        let mut agent = Agent::start(&engine);
        let words = agent.last_words.clone();
        let mut caller = Caller::beside(&engine, Overrides::default(), words).await;

        // Its first life: nothing ran before.
        agent.want(&document(1, talker("echo first; echo trouble >&2")));
        agent.until_running(1).await;
        let answer = ask(&mut caller, previous("app", None, false)).await;
        let refused = answer.refused.unwrap();
        assert!(
            refused.contains("nothing ran before as \"app\""),
            "{refused}"
        );

        // Another takes its place.
        let heard = async |what: &str| {
            let mut lines = 0;
            while lines == 0 {
                lines = engine.docker(&["logs", "kc-app"]).matches(what).count();
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        heard("first").await;
        let former = of(&agent.state.borrow(), "app").id.clone();
        agent.want(&document(
            2,
            talker("i=0; while [ $i -lt 3000 ]; do echo line $i; i=$((i+1)); done"),
        ));
        agent
            .until("another", |state| {
                state
                    .containers
                    .iter()
                    .any(|app| app.phase == ContainerPhase::Running && app.id != former)
            })
            .await;
        let answer = ask(&mut caller, previous("app", None, false)).await;
        assert_eq!(answer.refused, None);
        assert_eq!(
            (text(&answer.out), text(&answer.err)),
            ("first\n", "trouble\n")
        );
        let answer = ask(&mut caller, previous("app", None, true)).await;
        let (at, line) = text(&answer.out).split_once(' ').unwrap();
        assert!(at.ends_with('Z') && line == "first\n", "{at} {line}");

        // It dies, and the engine starts it again: its own words from before count, as many as are kept.
        heard("line 2999").await;
        let pid = agent.pid(&of(&agent.state.borrow(), "app").id.clone());
        let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
        agent
            .until("started again", |state| {
                state
                    .containers
                    .iter()
                    .any(|app| app.restarts == 1 && app.phase == ContainerPhase::Running)
            })
            .await;
        let answer = ask(&mut caller, previous("app", None, false)).await;
        let lines: Vec<&str> = text(&answer.out).lines().collect();
        assert_eq!(
            (lines.len(), lines.first(), lines.last()),
            (1_000, Some(&"line 2000"), Some(&"line 2999"))
        );
        let answer = ask(&mut caller, previous("app", Some(2), false)).await;
        assert_eq!(text(&answer.out), "line 2998\nline 2999\n");
        agent.stop().await;
    });
}

#[test]
fn the_reason_of_a_rollback_can_be_read() {
    on_a_box("reason", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        let mut agent = Agent::start(&engine);
        let words = agent.last_words.clone();
        let mut caller = Caller::beside(&engine, Overrides::default(), words).await;
        let checked = |script: &str| {
            let mut spec = talker(script);
            let command = ["/bin/sh", "-c", "test ! -e /sick"];
            spec.health = Some(HealthCheck {
                interval_ms: 200,
                failure_threshold: 2,
                ..HealthCheck::new(Probe::Exec {
                    command: command.map(str::to_owned).into(),
                })
            });
            spec
        };
        agent.want(&document(1, checked("echo good")));
        agent.until_running(1).await;
        agent
            .until("healthy", |state| {
                state
                    .containers
                    .iter()
                    .any(|app| app.health == Some(Health::Healthy))
            })
            .await;
        agent.want(&document(
            2,
            checked(": > /sick; echo no such table: users >&2"),
        ));
        agent.event(EventKind::ContainerRolledBack).await;
        agent
            .until("back", |state| {
                state
                    .containers
                    .iter()
                    .any(|app| app.former && app.health == Some(Health::Healthy))
            })
            .await;
        let answer = ask(&mut caller, previous("app", None, false)).await;
        assert_eq!(
            (text(&answer.out), text(&answer.err)),
            ("", "no such table: users\n")
        );
        agent.stop().await;
    });
}
