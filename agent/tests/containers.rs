//! The loop against a real Docker engine: wiring, restarts, replacement, removal.
#![cfg(test)]

mod support;

use kc_agent::reconcile::Part;
use kc_agent_api::{ContainerPhase, EventKind, File, Network, NodeSpec, NodeState};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::process::Command;
use std::time::{Duration, Instant};
use support::{Agent, leg, of, on_a_box, play, run, run_inside, spec_of};

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

fn document(generation: u64, names: &[&str]) -> NodeSpec {
    let containers = names.iter().map(|name| {
        let inside = leg("inside", &format!("{name}i"), &[]);
        let outside = leg(
            "outside",
            &format!("{name}o"),
            &["10.9.0.2/24", "fd09::2/64"],
        );
        spec_of(name, vec![inside, outside])
    });
    NodeSpec {
        generation,
        containers: containers.collect(),
        ..NodeSpec::default()
    }
}

const OFFLOADS: [&str; 5] = [
    "tx-checksumming: off",
    "tcp-segmentation-offload: off",
    "generic-segmentation-offload: off",
    "generic-receive-offload: off",
    "scatter-gather: off",
];

#[test]
fn a_container_is_wired_silent_and_without_offloads() {
    on_a_box("wired", async |engine| {
        let mut agent = Agent::start(&engine);
        let mut spec = document(3, &["fw"]);
        if let Network::Legs(legs) = &mut spec.containers[0].network {
            legs[1].gateway = Some("10.9.0.1".parse().unwrap());
            legs[1].virtual_addresses = vec!["10.128.0.7".parse().unwrap()];
        }
        spec.containers[0].files = vec![File {
            path: "/etc/kc/rules".into(),
            content: "allow\n".into(),
        }];
        spec.containers[0].limits.cpu_millis = Some(250);
        spec.containers[0].limits.memory_bytes = Some(32 << 20);
        spec.host_legs = vec![leg("kcsvc", "kcsvc-p", &["10.128.1.1/24"])];
        let began = Instant::now();
        agent.want(&spec);
        let state = agent.until_running(3).await;
        eprintln!("measured: document to running {:?}", began.elapsed());
        assert_eq!(state.errors, Vec::<String>::new());
        let pid = agent.pid(&of(&state, "fw").id);

        for interface in ["inside", "outside"] {
            let features = run_inside(pid, "ethtool", &["-k", interface]);
            for off in OFFLOADS {
                assert!(features.contains(off), "{interface}: {off}\n{features}");
            }
        }
        for port in ["fwi", "fwo", "kcsvc", "kcsvc-p"] {
            let features = run("ethtool", &["-k", port]);
            for off in OFFLOADS {
                assert!(features.contains(off), "{port}: {off}\n{features}");
            }
        }
        // What it shares is its own, and nobody hears of it by ARP.
        let shared = run_inside(pid, "ip", &["addr", "show", "lo"]);
        assert!(shared.contains("inet 10.128.0.7/32"), "{shared}");
        for (key, value) in [("arp_ignore", "1"), ("arp_announce", "2")] {
            let path = format!("/proc/sys/net/ipv4/conf/outside/{key}");
            assert_eq!(run_inside(pid, "cat", &[&path]).trim(), value, "{key}");
        }
        let outside = run_inside(pid, "ip", &["addr", "show", "outside"]);
        for word in [
            "mtu 1426",
            "10.9.0.2/24",
            "fd09::2/64",
            "state UP",
            "02:00:00:00:01",
        ] {
            assert!(outside.contains(word), "{word}: {outside}");
        }
        let routes = run_inside(pid, "ip", &["route"]);
        assert!(
            routes.contains("default via 10.9.0.1 dev outside"),
            "{routes}"
        );
        let inside = run_inside(pid, "ip", &["addr", "show", "inside"]);
        assert!(!inside.contains("inet6"), "{inside}");
        let port = run("ip", &["addr", "show", "fwi"]);
        assert!(!port.contains("inet6") && port.contains("NOARP"), "{port}");
        let own = run("ip", &["addr", "show", "kcsvc"]);
        assert!(
            own.contains("10.128.1.1/24") && !own.contains("NOARP"),
            "{own}"
        );

        let inspect = |format: &str| engine.docker(&["inspect", "-f", format, "kc-fw"]);
        assert_eq!(
            inspect("{{.HostConfig.NanoCpus}} {{.HostConfig.Memory}}"),
            "250000000 33554432"
        );
        assert_eq!(inspect("{{.HostConfig.RestartPolicy.Name}}"), "always");
        assert_eq!(
            inspect("{{index .Config.Labels \"kcluster.node\"}}"),
            "box1"
        );
        let cat = engine.docker(&[
            "exec",
            "kc-fw",
            "sh",
            "-c",
            "read x < /etc/kc/rules; echo $x",
        ]);
        assert_eq!(cat, "allow");

        spec.generation = 4;
        spec.host_legs.clear();
        agent.want(&spec);
        agent.until_running(4).await;
        let gone = || {
            !Command::new("ip")
                .args(["link", "show", "kcsvc"])
                .output()
                .unwrap()
                .status
                .success()
        };
        let began = Instant::now();
        while !gone() {
            assert!(began.elapsed() < support::PATIENCE);
            tokio::task::yield_now().await;
        }
        assert_eq!(of(&state, "fw").id, of(&agent.state.borrow(), "fw").id);
        agent.stop().await;
    });
}

#[test]
fn a_killed_container_comes_back_with_the_same_wires() {
    on_a_box("killed", async |engine| {
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, &["fw"]));
        let before = agent.until_running(1).await;
        let index = support::index_of("fwi");
        let id = of(&before, "fw").id.clone();

        let began = Instant::now();
        engine.docker(&["kill", "kc-fw"]);
        let told = agent.event(EventKind::ContainerDied).await;
        assert!(told.message.contains("137"), "{told:?}");
        let after = agent
            .until("started anew", |state| {
                let fw = of(state, "fw");
                fw.phase == ContainerPhase::Running && fw.started_at != of(&before, "fw").started_at
            })
            .await;
        eprintln!("measured: docker kill to running {:?}", began.elapsed());
        assert_eq!(of(&after, "fw").id, id);
        assert_eq!(support::index_of("fwi"), index);

        let began = Instant::now();
        engine.docker(&["kill", "kc-fw-pause"]);
        let after = agent
            .until("both made anew", |state| {
                let fw = of(state, "fw");
                fw.phase == ContainerPhase::Running && fw.id != id
            })
            .await;
        eprintln!("measured: pause killed to running {:?}", began.elapsed());
        let pid = agent.pid(&of(&after, "fw").id);
        assert!(run_inside(pid, "ip", &["link"]).contains("outside"));
        agent.stop().await;
    });
}

#[test]
fn a_restarted_pause_gets_its_wires_and_its_container_back() {
    on_a_box("repause", async |engine| {
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, &["fw"]));
        let before = agent.until_running(1).await;
        engine.docker(&["restart", "-t", "1", "kc-fw-pause"]);
        let started = of(&before, "fw").started_at.clone();
        let after = agent
            .until("running in the new namespace", |state| {
                let fw = of(state, "fw");
                fw.phase == ContainerPhase::Running && fw.started_at != started
            })
            .await;
        let pid = agent.pid(&of(&after, "fw").id);
        assert!(run_inside(pid, "ip", &["link"]).contains("inside"));
        agent.stop().await;
    });
}

#[test]
fn a_container_that_its_engine_gave_up_restarting_runs_again() {
    on_a_box("gaveup", async |engine| {
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, &["fw"]));
        let state = agent.until_running(1).await;
        let first = |part: Part| {
            let seen = agent.view.borrow();
            let mut seen = seen.containers.iter();
            let pid = seen
                .find(|seen| seen.part == part)
                .and_then(|seen| seen.pid);
            Pid::from_raw(i32::try_from(pid.unwrap()).unwrap())
        };
        // The engine starts it again 100 ms after its end, then 200, and so on, and fails where its
        // namespace is gone at that moment; after that it tries no more, and says nothing of it.
        let (main, pause) = (first(Part::Main), first(Part::Pause));
        let died = of(&state, "fw").started_at.clone();
        kill(main, Signal::SIGKILL).unwrap();
        tokio::time::sleep(Duration::from_millis(70)).await;
        kill(pause, Signal::SIGKILL).unwrap();
        let back = |state: &NodeState| {
            let fw = of(state, "fw");
            fw.phase == ContainerPhase::Running && fw.started_at != died
        };
        let state = agent.until("it is back", back).await;
        assert_eq!(state.errors, Vec::<String>::new());
        agent.stop().await;
    });
}

#[test]
fn an_interface_somebody_pulled_out_is_put_back() {
    on_a_box("pulled", async |engine| {
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, &["fw"]));
        let before = agent.until_running(1).await;
        let started = of(&before, "fw").started_at.clone();
        run("ip", &["link", "del", "fwi"]);
        let after = agent
            .until("rewired", |state| {
                let fw = of(state, "fw");
                fw.phase == ContainerPhase::Running && fw.started_at != started
            })
            .await;
        let pid = agent.pid(&of(&after, "fw").id);
        assert!(run_inside(pid, "ip", &["link"]).contains("inside"));

        run("ip", &["link", "set", "fwo", "down"]);
        let started = of(&after, "fw").started_at.clone();
        let flags = || run("ip", &["link", "show", "fwo"]);
        let began = Instant::now();
        while !flags().contains("UP") {
            assert!(began.elapsed() < support::PATIENCE);
            agent.state.changed().await.unwrap();
        }
        let after = agent.until_running(1).await;
        assert_eq!(of(&after, "fw").started_at, started);
        agent.stop().await;
    });
}

#[test]
fn a_change_replaces_one_container_and_removal_leaves_nothing() {
    on_a_box("change", async |engine| {
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, &["fw", "dpi"]));
        let before = agent.until_running(1).await;
        let mut changed = document(2, &["fw", "dpi"]);
        changed.containers[0]
            .env
            .insert("MODE".into(), "strict".into());
        agent.want(&changed);
        let after = agent
            .until("fw replaced", |state| {
                let fw = of(state, "fw");
                fw.id != of(&before, "fw").id && fw.phase == ContainerPhase::Running
            })
            .await;
        assert_eq!(of(&after, "dpi"), of(&before, "dpi"));

        engine.docker(&[
            "run",
            "-d",
            "--name",
            "somebody",
            "--network",
            "none",
            "kc-test:1",
            "/kc-function",
        ]);
        agent.want(&document(3, &["dpi"]));
        agent.event(EventKind::ContainerRemoved).await;
        let wanted = ["kc-dpi", "kc-dpi-pause", "somebody"];
        let mut names = Vec::new();
        let began = Instant::now();
        while names != wanted {
            assert!(began.elapsed() < support::PATIENCE, "{names:?}");
            let listed = engine.docker(&["ps", "-a", "--format", "{{.Names}}"]);
            names = listed.lines().map(str::to_owned).collect();
            names.sort();
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert_eq!(of(&agent.until_running(3).await, "dpi"), of(&before, "dpi"));
        assert!(!run("ip", &["link"]).contains("fwi"));
        agent.stop().await;
    });
}

#[test]
fn what_cannot_be_made_is_said_and_holds_nothing_up() {
    on_a_box("failing", async |engine| {
        let mut agent = Agent::start(&engine);
        engine.docker(&["create", "--name", "kc-taken", "kc-test:1", "true"]);
        let mut spec = document(1, &["fw", "noimage", "noprogram", "taken"]);
        spec.containers[1].image = "nowhere/nothing:1".into();
        spec.containers[2].args = vec!["/no/such/program".into()];
        agent.want(&spec);
        let state = agent
            .until("one runs, three fail", |state| {
                let phase = |name| of(state, name).phase;
                state.containers.len() == 4
                    && phase("fw") == ContainerPhase::Running
                    && ["noimage", "noprogram", "taken"].map(phase) == [ContainerPhase::Failed; 3]
                    && state.forwarder_generation == 1
            })
            .await;
        for (name, word) in [
            ("noimage", "pull policy"),
            ("noprogram", "/no/such/program"),
            ("taken", "already in use"),
        ] {
            let error = of(&state, name).error.clone().unwrap();
            assert!(error.contains(word), "{name}: {error}");
        }
        assert_eq!(state.errors.len(), 3, "{:?}", state.errors);
        // What was wrong is right in the next document.
        spec.generation = 2;
        spec.containers.truncate(3);
        spec.containers[1].image = "kc-test:1".into();
        spec.containers[2].args = vec!["/kc-function".into()];
        agent.want(&spec);
        let state = agent.until_running(2).await;
        assert_eq!(state.errors, Vec::<String>::new());
        agent.stop().await;
    });
}
