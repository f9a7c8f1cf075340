//! What is told of a container, over a real broker and from a real engine: its output, its load.
#![cfg(test)]

mod support;

use bollard::{API_DEFAULT_VERSION, Docker};
use kc_agent::calls::Calls;
use kc_agent::config::{DockerSocket, Overrides, Settings};
use kc_agent::events::Events;
use kc_agent::forwarder::Forwarder;
use kc_agent::last_words::LastWords;
use kc_agent::load::{self, Sampler, Watched};
use kc_agent::status::{Boot, Identity};
use kc_agent::update::{Desk, Shelf};
use kc_agent_api::{
    Call, CallBody, Capacity, Event, EventAck, EventKind, Limits, NodeName, Reply, ReplyBody,
    Severity, Topic, decode, encode, octets,
};
use kc_forwarder_api::Request;
use kc_mqtt::{Config, Incoming, Link, QoS};
use std::sync::Arc;
use std::time::Duration;
use support::{Broker, Engine, PATIENCE, on_a_box};
use tokio::sync::mpsc::Receiver;
use tokio::time::{sleep, timeout};

fn identity() -> Arc<Identity> {
    Arc::new(Identity {
        node: NodeName::new("pi-1").unwrap(),
        domain: "lab".parse().unwrap(),
        boot: Boot::read().unwrap(),
        labels: Default::default(),
        capacity: Capacity::default(),
        vtep: None,
        underlay_mtu: 1500,
        version: "0.1.0".into(),
        update: None,
        seal_key: None,
    })
}

/// A link of the controller's that hears `leaf` of every node.
async fn controller(leaf: &str) -> (Link, Receiver<Incoming>) {
    let mut config = Config::new("127.0.0.1", 1883, "controller");
    let filter = format!("kcluster/lab/node/+/{leaf}");
    config.subscriptions = vec![(filter, QoS::AtLeastOnce)];
    let (link, mut incoming) = Link::start(config);
    while timeout(PATIENCE, incoming.recv()).await.unwrap() != Some(Incoming::Connected) {}
    (link, incoming)
}

async fn message(incoming: &mut Receiver<Incoming>) -> kc_mqtt::Message {
    loop {
        let told = timeout(PATIENCE, incoming.recv()).await.unwrap();
        if let Incoming::Message(message) = told.unwrap() {
            return message;
        }
    }
}

/// All parts of answer `id`, in order.
async fn answer(incoming: &mut Receiver<Incoming>, id: u64) -> Vec<ReplyBody> {
    let mut parts = Vec::new();
    loop {
        let message = message(incoming).await;
        let (_, topic) = Topic::parse(&message.topic).unwrap();
        assert_eq!(topic, Topic::Reply(NodeName::new("pi-1").unwrap(), id));
        let reply: Reply = decode(&message.payload).unwrap();
        assert_eq!(usize::try_from(reply.part).unwrap(), parts.len());
        parts.push(reply.body);
        if reply.last {
            return parts;
        }
    }
}

fn text(parts: &[ReplyBody]) -> String {
    let parts = parts.iter().map(|part| match part {
        ReplyBody::Data { base64, .. } => octets(base64).unwrap(),
        ReplyBody::Begun { .. } | ReplyBody::Ended { .. } => Vec::new(),
        other => panic!("{other:?}"),
    });
    String::from_utf8(parts.collect::<Vec<_>>().concat()).unwrap()
}

fn logs(container: &str, tail: Option<u32>) -> Vec<u8> {
    let body = CallBody::Logs {
        container: container.into(),
        tail,
        since_s: None,
        since_wall_s: None,
        follow: false,
        timestamps: false,
        previous: false,
        credit: u32::MAX,
    };
    encode(&Call { body }).unwrap()
}

/// A container that says 6 MB and then spins, held to half a core and 64 MiB.
async fn talker(engine: &Engine) -> Watched {
    let script = "i=0; p=01234567890123456789012345678901234567890123456789012345678901234567; \
                  while [ $i -lt 80000 ]; do echo \"$i $p\"; i=$((i+1)); done; echo the end; \
                  while :; do :; done";
    let id = engine.docker(&[
        "run",
        "-d",
        "--name",
        "kc-talker",
        "--network",
        "none",
        "--cpus",
        "0.5",
        "--memory",
        "64m",
        "--entrypoint",
        "/bin/sh",
        "kc-test:1",
        "-c",
        script,
    ]);
    while engine.docker(&["logs", "--tail", "1", "kc-talker"]) != "the end" {
        sleep(Duration::from_millis(100)).await;
    }
    let pid = engine.docker(&["inspect", "-f", "{{.State.Pid}}", "kc-talker"]);
    Watched {
        name: "talker".into(),
        id,
        pid: pid.parse().unwrap(),
        limits: Limits {
            cpu_millis: Some(500),
            memory_bytes: Some(64 << 20),
        },
        ports: Vec::new(),
    }
}

#[test]
fn output_is_told_whole_and_load_is_measured_against_the_limit() {
    on_a_box("reports", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        let watched = talker(&engine).await;
        let socket = engine.socket();
        let docker = Docker::connect_with_unix(socket.to_str().unwrap(), 120, API_DEFAULT_VERSION)
            .unwrap()
            .negotiate_version()
            .await
            .unwrap();
        let (_hears, mut incoming) = controller("reply/+").await;
        let settings = Settings::complete(Overrides {
            node: Some(NodeName::new("pi-1").unwrap()),
            run_dir: Some(engine.dir.path().to_owned()),
            forwarder: Some("/nonexistent/kc-forwarder".into()),
            docker: Some(DockerSocket(socket.clone())),
            ..Overrides::default()
        });
        let settings = Arc::new(settings.unwrap());
        let forwarder = Forwarder::supervise(&settings).forwarder;
        let (link, _told) = Link::start(Config::new("127.0.0.1", 1883, "agent"));
        let shelf = Shelf::below(&settings.state_dir);
        let (desk, _candidates) = Desk::new(shelf, semver::Version::new(0, 1, 0));
        let mut calls = Calls::new(
            identity(),
            link,
            forwarder,
            settings,
            desk,
            LastWords::default(),
        );

        // Twice the same call is one answer.
        for _ in 0..2 {
            calls.handle(1, &logs("talker", None), Some(docker.clone()));
        }
        let whole = text(&answer(&mut incoming, 1).await);
        assert_eq!(whole.lines().count(), 80_001, "nothing is cut");
        assert!(whole.starts_with("0 ") && whole.ends_with("\nthe end\n"));

        calls.handle(2, &logs("talker", Some(2)), Some(docker.clone()));
        let two = text(&answer(&mut incoming, 2).await);
        assert!(
            two.starts_with("79999 ") && two.ends_with("\nthe end\n"),
            "{two}"
        );

        let refused = [
            (3, logs("nobody", None), "not on this box"),
            (4, logs("a/../b", None), "no container can be called"),
            (5, b"{\"v\":9}".to_vec(), "version 9"),
            (
                6,
                encode(&Call {
                    body: CallBody::Forwarder {
                        request: Box::new(Request::Counters),
                        credit: 1,
                    },
                })
                .unwrap(),
                "forwarder",
            ),
        ];
        for (id, call, words) in refused {
            calls.handle(id, &call, Some(docker.clone()));
            match answer(&mut incoming, id).await.as_slice() {
                [ReplyBody::Error { message }] => assert!(message.contains(words), "{message}"),
                other => panic!("{other:?}"),
            }
        }

        let doctor = Call {
            body: CallBody::Doctor,
        };
        calls.handle(7, &encode(&doctor).unwrap(), Some(docker));
        match answer(&mut incoming, 7).await.as_slice() {
            [ReplyBody::Doctor { findings, wall_ms }] => {
                assert!(*wall_ms > 0);
                for (check, severity) in [
                    ("docker", Severity::Ok),
                    ("broker", Severity::Ok),
                    ("forwarder", Severity::Problem),
                ] {
                    let found = findings.iter().find(|finding| finding.check == check);
                    assert_eq!(found.unwrap().severity, severity, "{findings:?}");
                }
            }
            other => panic!("{other:?}"),
        }

        let mut sampler = Sampler::new("/var/lib/docker");
        let boot = Boot::read().unwrap();
        let before = sampler.sample(boot.elapsed(), std::slice::from_ref(&watched));
        sleep(Duration::from_secs(2)).await;
        let now = sampler.sample(boot.elapsed(), std::slice::from_ref(&watched));
        let report = load::report(boot.stamp(), Some(&before), &now, None);
        let load = &report.containers[0];
        eprintln!("measured: {load:?}");
        assert!(
            load.cpu_percent > 20.0 && load.cpu_percent < 130.0,
            "{}",
            load.cpu_percent
        );
        assert!(load.memory_bytes > 10_000 && load.memory_bytes < 64 << 20);
        let interfaces: Vec<_> = report
            .machine
            .networks
            .iter()
            .map(|n| n.name.as_str())
            .collect();
        assert_eq!(
            interfaces,
            ["lo"],
            "those of the namespace, not those of /sys"
        );
    });
}

#[test]
fn events_reach_a_broker_that_comes_late_in_order_and_stay_until_they_are_acknowledged() {
    on_a_box("events", async |engine| {
        let identity = identity();
        let run_dir = engine.dir.path();
        let boot = identity.boot.clone();
        let (link, mut told) = Link::start(Config::new("127.0.0.1", 1883, "agent"));
        let mut events = Events::open(run_dir, boot.clone(), false);
        for number in 0..700 {
            events.record(EventKind::ContainerDied, "fw-1", number.to_string());
            events.flush(&identity, &link, true);
        }
        assert_eq!(
            events.waiting(),
            700,
            "nothing is handed to a link without a broker"
        );
        let Some(_broker) = Broker::start() else {
            return;
        };
        let (_hears, mut incoming) = controller("event").await;
        while timeout(PATIENCE, told.recv()).await.unwrap() != Some(Incoming::Connected) {}
        let mut heard = Vec::new();
        while heard.len() < 700 {
            events.flush(&identity, &link, true);
            let message = message(&mut incoming).await;
            heard.push(decode::<Event>(&message.payload).unwrap().sequence);
        }
        let expected: Vec<u64> = (heard[0]..).take(700).collect();
        assert_eq!(heard, expected);
        let stored = vec![(heard[0], heard[698])];
        events.acknowledged(&EventAck {
            boot: boot.id().clone(),
            stored,
        });
        drop(events);
        // Killed and started again: what nobody acknowledged comes once more.
        let mut events = Events::open(run_dir, boot, false);
        events.record(EventKind::AgentStarted, "agent", "again");
        events.flush(&identity, &link, true);
        for expected in [heard[699], heard[699] + 1] {
            let message = message(&mut incoming).await;
            assert_eq!(
                decode::<Event>(&message.payload).unwrap().sequence,
                expected
            );
        }
    });
}
