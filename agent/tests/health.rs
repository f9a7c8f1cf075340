//! Health checks against a real engine: what becomes of containers that do not work.
#![cfg(test)]

mod support;

use kc_agent_api::{
    ContainerSpec, EventKind, Health, HealthCheck, Network, NodeSpec, NodeState, Probe,
};
use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use support::{Agent, leg, of, on_a_box, play, spec_of};

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

fn checked(name: &str, probe: Probe) -> ContainerSpec {
    let mut spec = spec_of(
        name,
        vec![leg("eth0", &format!("{name}e"), &["10.9.0.2/24"])],
    );
    spec.health = Some(HealthCheck {
        interval_ms: 200,
        timeout_ms: 1_000,
        failure_threshold: 2,
        ..HealthCheck::new(probe)
    });
    spec
}

fn document(containers: Vec<ContainerSpec>) -> NodeSpec {
    NodeSpec {
        generation: 1,
        containers,
        ..NodeSpec::default()
    }
}

fn health(state: &NodeState, name: &str) -> Option<Health> {
    let container = state.containers.iter().find(|one| one.name == name);
    container.and_then(|container| container.health)
}

/// A server in the network namespace of a process, which answers 200 while it is well, else 503.
fn serve(pid: u32, address: &'static str, well: Arc<AtomicBool>) {
    let (ready, listening) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net")).unwrap();
        nix::sched::setns(namespace, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        let listener = TcpListener::bind(address).unwrap();
        ready.send(()).unwrap();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut asked = [0; 512];
            let _ = stream.read(&mut asked);
            let status = if well.load(Ordering::Relaxed) {
                "200 OK"
            } else {
                "503 Sick"
            };
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    listening.recv().unwrap();
}

#[test]
fn http_and_tcp_are_tried_from_inside_and_the_unhealthy_is_started_again() {
    on_a_box("http", async |engine| {
        let mut agent = Agent::start(&engine);
        let http = Probe::Http {
            port: 8080,
            path: "/healthz".into(),
        };
        let mut web = checked("web", http);
        // Long enough that the test is there first.
        if let Some(check) = &mut web.health {
            check.start_period_ms = 20_000;
        }
        let tcp = checked("tcp", Probe::Tcp { port: 9000 });
        agent.want(&document(vec![web, tcp]));
        let state = agent.until_running(1).await;
        assert_eq!(health(&state, "web"), Some(Health::Starting));
        let well = Arc::new(AtomicBool::new(true));
        // Not on the loopback interface: the container's own address is tried too.
        let pid = agent.pid(&of(&state, "web").id);
        serve(pid, "10.9.0.2:8080", Arc::clone(&well));
        agent
            .until("web healthy", |state| {
                health(state, "web") == Some(Health::Healthy)
            })
            .await;
        // Nobody listens in the other: it is started again, and again, more slowly.
        let told = agent.event(EventKind::ContainerRestarted).await;
        assert!(
            told.message.contains("port 9000 takes no connection"),
            "{told:?}"
        );
        assert_eq!(told.object, "tcp");
        let started = of(&state, "web").started_at.clone();
        well.store(false, Ordering::Relaxed);
        let told = loop {
            let told = agent.event(EventKind::ContainerRestarted).await;
            if told.object == "web" {
                break told;
            }
        };
        assert!(told.message.contains("answered with 503"), "{told:?}");
        agent
            .until("web started again", |state| {
                of(state, "web").started_at != started
                    && health(state, "web") == Some(Health::Starting)
            })
            .await;
        agent.stop().await;
    });
}

#[test]
fn a_command_is_tried_in_the_container_and_killed_when_it_hangs() {
    on_a_box("exec", async |engine| {
        let mut agent = Agent::start(&engine);
        let shell = |script: &str| Probe::Exec {
            command: ["/bin/sh", "-c", script].map(str::to_owned).into(),
        };
        let good = checked("good", shell("exit 0"));
        let bad = checked("bad", shell("exit 3"));
        let mut hung = checked("hung", shell("exec sleep 4242"));
        hung.restart = kc_agent_api::Restart::Never;
        let mut host = checked("host", Probe::Tcp { port: 7070 });
        host.network = Network::Host;
        let listener = TcpListener::bind("127.0.0.1:7070").unwrap();
        agent.want(&document(vec![good, bad, hung, host]));
        let state = agent
            .until("each judged", |state| {
                health(state, "good") == Some(Health::Healthy)
                    && health(state, "hung") == Some(Health::Unhealthy)
                    && health(state, "host") == Some(Health::Healthy)
            })
            .await;
        drop(listener);
        let told = agent.event(EventKind::ContainerRestarted).await;
        assert_eq!(told.object, "bad");
        assert!(
            told.message.contains("the command ended with 3"),
            "{told:?}"
        );
        // Never means never, also when it is unhealthy.
        assert_eq!(of(&state, "hung").restarts, 0);
        let pid = agent.pid(&of(&state, "hung").id);
        let hanging = || {
            let listed = support::run("ps", &["-eo", "pid,args"]);
            listed
                .lines()
                .filter(|line| line.contains("sleep 4242"))
                .count()
        };
        assert!(
            pid > 0 && hanging() <= 1,
            "killed, but for the one that is tried now"
        );
        agent.stop().await;
    });
}

#[test]
fn an_agent_that_restarts_makes_nobody_less_healthy() {
    on_a_box("stays", async |engine| {
        let mut agent = Agent::start(&engine);
        let probe = Probe::Exec {
            command: ["/bin/sh", "-c", "exit 0"].map(str::to_owned).into(),
        };
        agent.want(&document(vec![checked("web", probe)]));
        agent
            .until("healthy", |state| {
                health(state, "web") == Some(Health::Healthy)
            })
            .await;
        agent.stop().await;
        let mut agent = Agent::start(&engine);
        let first = agent
            .until("any report of it", |state| health(state, "web").is_some())
            .await;
        assert_eq!(health(&first, "web"), Some(Health::Healthy));
        agent.stop().await;
    });
}

#[test]
fn the_images_own_check_counts_unless_it_is_switched_off() {
    on_a_box("own", async |engine| {
        let context = engine.dir.path().join("own");
        std::fs::create_dir(&context).unwrap();
        let file = "FROM kc-test:1\n\
             HEALTHCHECK --interval=1s --timeout=5s --retries=1 CMD [\"/bin/sh\", \"-c\", \"test -e /well\"]\n\
             CMD [\"/kc-function\"]\n";
        std::fs::write(context.join("Dockerfile"), file).unwrap();
        engine.docker(&["build", "-q", "-t", "own:1", context.to_str().unwrap()]);
        let mut agent = Agent::start(&engine);
        let own = |name: &str| {
            let mut spec = spec_of(name, vec![]);
            spec.image = "own:1".into();
            spec
        };
        let mut off = own("off");
        off.health = Some(HealthCheck::new(Probe::None));
        agent.want(&document(vec![own("own"), off]));
        let told = agent.event(EventKind::ContainerRestarted).await;
        assert_eq!(told.object, "own");
        agent
            .until("off says nothing", |state| {
                state.containers.len() == 2 && health(state, "off").is_none()
            })
            .await;
        let checks = engine.docker(&["inspect", "-f", "{{.Config.Healthcheck.Test}}", "kc-off"]);
        assert_eq!(checks, "[NONE]");
        agent.stop().await;
    });
}
