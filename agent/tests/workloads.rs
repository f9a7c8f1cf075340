//! What a document may say about a container, made real by a Docker engine.
#![cfg(test)]

mod support;

use kc_agent::vault::own_key;
use kc_agent_api::{
    BoxKey, ContainerPhase, ContainerSpec, ContainerState, EventKind, NodeSpec, NodeState, Sealed,
    Sealing,
};
use serde_json::json;
use std::process::Command;
use std::time::Instant;
use support::{Agent, Engine, leg, of, on_a_box, play, run, spec_of};

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

fn document(generation: u64, containers: &[ContainerSpec]) -> NodeSpec {
    NodeSpec {
        generation,
        containers: containers.to_vec(),
        ..NodeSpec::default()
    }
}

/// A container that waits, with `more` in its entry.
fn with(name: &str, more: serde_json::Value) -> ContainerSpec {
    let legs = vec![leg("eth0", &format!("{name}0"), &["10.9.0.2/24"])];
    let mut spec = serde_json::to_value(spec_of(name, legs)).unwrap();
    let more = more.as_object().unwrap().clone();
    spec.as_object_mut().unwrap().extend(more);
    serde_json::from_value(spec).unwrap()
}

fn inside(engine: &Engine, name: &str, script: &str) -> String {
    engine.docker(&["exec", &format!("kc-{name}"), "sh", "-c", script])
}

/// A device of the box under a name of its own: what `/dev/null` is.
struct Node(String);

impl Node {
    fn named(name: &str) -> Self {
        Self(format!("/dev/kc-{name}-{}", std::process::id()))
    }

    fn plug(&self) {
        run("mknod", &["-m", "666", &self.0, "c", "1", "3"]);
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = Command::new("rm").args(["-f", &self.0]).status();
    }
}

#[test]
fn a_process_is_who_and_where_the_document_says() {
    on_a_box("process", async |engine| {
        let mut agent = Agent::start(&engine);
        let spec = with(
            "app",
            json!({
                "entrypoint": ["/bin/sh"], "args": ["/kc-function"], "working-dir": "/proc",
                "user": "1000:1001", "group-add": ["2002"], "hostname": "meter",
                "read-only-root": true, "tmpfs": [{"target": "/scratch", "size-bytes": 65536}],
                "labels": {"team": "edge", "kcluster.name": "forged"},
                "sysctls": {"net.ipv4.ip_forward": "1"},
            }),
        );
        agent.want(&document(1, &[spec]));
        agent.until_running(1).await;
        let status = inside(&engine, "app", "pwd; cat /proc/self/status");
        let words: Vec<_> = status.lines().map(|l| l.replace('\t', " ")).collect();
        for line in [
            "/proc",
            "Uid: 1000 1000 1000 1000",
            "Gid: 1001 1001 1001 1001",
        ] {
            assert!(words.iter().any(|l| l == line), "{line}: {status}");
        }
        let groups = words
            .iter()
            .find(|line| line.starts_with("Groups:"))
            .unwrap();
        assert!(groups.contains(" 2002"), "{groups}");
        let host = inside(
            &engine,
            "app",
            "cat /proc/sys/kernel/hostname /proc/sys/net/ipv4/ip_forward",
        );
        assert_eq!(host, "meter\n1");
        let tried = inside(
            &engine,
            "app",
            "(echo a > /a) 2>&1; echo b > /scratch/b && echo kept",
        );
        assert!(
            tried.contains("Read-only") && tried.ends_with("kept"),
            "{tried}"
        );
        let label = |key: &str| {
            let format = format!("{{{{index .Config.Labels {key:?}}}}}");
            engine.docker(&["inspect", "-f", &format, "kc-app"])
        };
        assert_eq!([label("team"), label("kcluster.name")], ["edge", "app"]);
        agent.stop().await;
    });
}

#[test]
fn a_device_that_is_missing_is_said_and_taken_when_it_comes() {
    on_a_box("device", async |engine| {
        let mut agent = Agent::start(&engine);
        let node = Node::named("device");
        let meter = json!({"devices": [
            {"source": node.0.clone(), "target": "/dev/meter", "permissions": "rw"}
        ]});
        let spec = document(1, &[with("meter", meter), with("other", json!({}))]);
        agent.want(&spec);
        let state = agent
            .until("one runs, one misses its device", |state| {
                state.containers.len() == 2
                    && of(state, "other").phase == ContainerPhase::Running
                    && of(state, "meter").phase == ContainerPhase::Failed
                    && state.forwarder_generation == 1
            })
            .await;
        let error = of(&state, "meter").error.clone().unwrap();
        let wanted = format!("device {} is not on this box", node.0);
        assert!(error.contains(&wanted), "{error}");

        node.plug();
        let well = |state: &NodeState| {
            of(state, "meter").phase == ContainerPhase::Running && state.errors.is_empty()
        };
        agent.until("it has its device", well).await;
        let told = inside(
            &engine,
            "meter",
            "echo gone > /dev/meter; cat /dev/meter; echo read",
        );
        assert_eq!(told, "read");
        let privileged =
            engine.docker(&["inspect", "-f", "{{.HostConfig.Privileged}}", "kc-meter"]);
        assert_eq!(privileged, "false");
        agent.stop().await;
    });
}

#[test]
fn a_volume_outlives_every_container_that_had_it() {
    on_a_box("volume", async |engine| {
        let mut agent = Agent::start(&engine);
        let volumes = |env: &str| {
            json!({
                "env": {"TURN": env},
                "volumes": [{"name": "data", "target": "/data"}, {"name": "maps", "target": "/maps", "read-only": true}],
            })
        };
        agent.want(&document(1, &[with("db", volumes("first"))]));
        let first = agent.until_running(1).await;
        let tried = inside(
            &engine,
            "db",
            "echo kept > /data/row; (echo x > /maps/x) 2>&1; true",
        );
        assert!(tried.contains("Read-only"), "{tried}");

        agent.want(&document(2, &[with("db", volumes("second"))]));
        // Until it has gone the former one may be seen beside a new document.
        let another = |former: NodeState| {
            move |state: &NodeState| {
                let mut containers = state.containers.iter();
                let former = &of(&former, "db").id;
                containers.any(|db| db.phase == ContainerPhase::Running && db.id != *former)
            }
        };
        let second = agent.until("replaced", another(first)).await;
        assert_eq!(inside(&engine, "db", "cat /data/row"), "kept");

        agent.want(&document(3, &[]));
        agent.event(EventKind::ContainerRemoved).await;
        agent
            .until("nothing left", |state| state.containers.is_empty())
            .await;
        let list = [
            "volume",
            "ls",
            "--filter",
            "label=kcluster.volume",
            "--format",
        ];
        let format = "{{.Name}} {{.Label \"kcluster.volume\"}} {{.Label \"kcluster.node\"}}";
        let listed = engine.docker(&[&list[..], &[format]].concat());
        assert_eq!(listed, "kc-data data box1\nkc-maps maps box1");
        agent.want(&document(4, &[with("db", volumes("third"))]));
        agent.until("made again", another(second)).await;
        assert_eq!(inside(&engine, "db", "cat /data/row"), "kept");
        agent.stop().await;
    });
}

/// What the controller sends of `value`, to the key that this box has.
fn sealed(engine: &Engine, name: &str, value: &str) -> Sealed {
    let own = own_key(&engine.dir.path().join("state")).unwrap();
    let sealing = Sealing::new(&BoxKey::new([3; 32]), own.public());
    let mut nonce = [0; 24];
    nonce[..value.len()].copy_from_slice(value.as_bytes());
    sealing.seal(nonce, name, value.as_bytes())
}

fn secret(engine: &Engine, value: &str) -> serde_json::Value {
    json!({"name": "db/password", "path": "/run/secrets/db/password",
        "version": format!("v-{}", value.len()), "sealed": sealed(engine, "db/password", value)})
}

#[test]
fn a_secret_is_a_file_in_memory_and_nowhere_else() {
    on_a_box("secret", async |engine| {
        let mut agent = Agent::start(&engine);
        let marker = "xyzzy-hunter2";
        let secrets = json!({"secrets": [secret(&engine, marker)], "user": "1000:1000"});
        agent.want(&document(1, &[with("db", secrets)]));
        let first = agent.until_running(1).await;
        let read = |file: &str| inside(&engine, "db", &format!("cat {file}"));
        assert_eq!(read("/run/secrets/db/password"), marker);
        let tried = inside(
            &engine,
            "db",
            "(echo x > /run/secrets/db/password) 2>&1; true",
        );
        assert!(
            tried.contains("Read-only") || tried.contains("denied"),
            "{tried}"
        );

        // What Docker tells, what the agent tells, and what is kept.
        let told = engine.docker(&["inspect", "kc-db"]);
        assert!(!told.contains(marker), "{told}");
        let state = serde_json::to_string(&*agent.state.borrow()).unwrap();
        assert!(!state.contains(marker), "{state}");
        let opened = engine.dir.path().join("run/secrets");
        let grep = Command::new("grep")
            .args(["-rl", marker, "--exclude-dir=docker", "--exclude-dir=exec"])
            .arg(engine.dir.path())
            .output()
            .unwrap();
        let found = String::from_utf8_lossy(&grep.stdout).into_owned();
        let found: Vec<_> = found.lines().collect();
        assert_eq!(found, [opened.join("db/0").to_str().unwrap()]);

        // What a reboot does: nothing is in memory any more when the engine starts containers.
        engine.docker(&["kill", "kc-db"]);
        std::fs::remove_dir_all(&opened).unwrap();
        let again = |state: &NodeState| {
            let db = of(state, "db");
            db.phase == ContainerPhase::Running && db.started_at != of(&first, "db").started_at
        };
        agent.until("started again", again).await;
        assert_eq!(read("/run/secrets/db/password"), marker);

        let other = json!({"secrets": [secret(&engine, "other")]});
        agent.want(&document(2, &[with("db", other)]));
        let another = |state: &NodeState| {
            let mut containers = state.containers.iter();
            containers.any(|db| db.phase == ContainerPhase::Running && db.id != of(&first, "db").id)
        };
        agent.until("made of the other value", another).await;
        assert_eq!(read("/run/secrets/db/password"), "other");
        agent.want(&document(3, &[]));
        agent.event(EventKind::ContainerRemoved).await;
        agent
            .until("nothing left", |state| state.containers.is_empty())
            .await;
        let began = Instant::now();
        while opened.join("db").exists() {
            assert!(began.elapsed() < support::PATIENCE);
            tokio::task::yield_now().await;
        }
        agent.stop().await;
    });
}

#[test]
fn a_value_for_another_key_is_that_containers_trouble_and_no_other() {
    on_a_box("otherkey", async |engine| {
        let mut agent = Agent::start(&engine);
        let was = secret(&engine, "swordfish");
        std::fs::remove_file(engine.dir.path().join("state/box.key")).unwrap();
        let spec = with("db", json!({"secrets": [was]}));
        agent.want(&document(1, &[spec, with("other", json!({}))]));
        let state = agent
            .until("one runs, one does not", |state| {
                state.containers.len() == 2
                    && of(state, "other").phase == ContainerPhase::Running
                    && of(state, "db").phase == ContainerPhase::Failed
            })
            .await;
        let error = of(&state, "db").error.clone().unwrap();
        assert!(
            error.contains("secret db/password") && error.contains("kc trust"),
            "{error}"
        );
        let again = json!({"secrets": [secret(&engine, "swordfish")]});
        agent.want(&document(2, &[with("db", again), with("other", json!({}))]));
        agent.until_running(2).await;
        agent.stop().await;
    });
}

#[test]
fn what_others_need_starts_first_when_the_box_comes_back_too() {
    on_a_box("order", async |mut engine| {
        let mut agent = Agent::start(&engine);
        let check = json!({"probe": {"exec": {"command": ["/bin/sh", "-c", "test -e /ready"]}},
            "interval-ms": 100, "timeout-ms": 2000});
        let db = with(
            "db",
            json!({"health": check, "role": {"service": {"service": "db"}}}),
        );
        let web = with("web", json!({"depends-on": ["db", "elsewhere"]}));
        agent.want(&document(1, &[web, db]));
        let waits = |state: &NodeState| {
            let runs = |c: &ContainerState| c.phase == ContainerPhase::Running;
            let waits = |c: &ContainerState| c.error.as_deref() == Some("waits for db to be ready");
            state.containers.iter().any(waits) && state.containers.iter().any(runs)
        };
        let state = agent.until("one runs, the other waits", waits).await;
        assert_eq!(of(&state, "web").id, "");
        inside(&engine, "db", "echo > /ready");
        let before = agent.until_running(1).await;
        assert_eq!(of(&before, "web").error, None);
        let policy = [
            "inspect",
            "-f",
            "{{.HostConfig.RestartPolicy.Name}}",
            "kc-web",
        ];
        assert_eq!(engine.docker(&policy), "no");

        // A reboot, with nobody to ask: everything has ended when the engine comes.
        agent.stop().await;
        engine.docker(&["kill", "kc-web", "kc-db"]);
        engine.crash();
        engine.start_again();
        let mut agent = Agent::start(&engine);
        let both = |state: &NodeState| {
            let runs = |name| {
                state
                    .containers
                    .iter()
                    .any(|c| c.name == name && c.phase == ContainerPhase::Running)
            };
            runs("db") && runs("web")
        };
        let after = agent.until("both run again", both).await;
        let since = |name| of(&after, name).started_at.clone().unwrap();
        assert!(
            since("db") < since("web"),
            "{} {}",
            since("db"),
            since("web")
        );
        assert_eq!(of(&after, "web").id, of(&before, "web").id);
        agent.stop().await;
    });
}
