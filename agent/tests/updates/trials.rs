//! Versions on trial: what takes over, what is given up, and what the box's containers notice.

use crate::package::{compiled, real, version};
use crate::site::{Plan, Site, in_a_namespace, text};
use crate::support::{Engine, leg, on_a_box, spec_of};
use kc_agent_api::{ContainerPhase, EventKind, NodeSpec, NodeState, Presence, UpdateOutcome};
use std::time::{Duration, Instant};

/// A document with one container.
fn document() -> NodeSpec {
    NodeSpec {
        generation: 3,
        containers: vec![spec_of("fw", vec![leg("eth0", "fwe", &["10.9.0.2/24"])])],
        ..NodeSpec::default()
    }
}

async fn until_running(site: &mut Site) {
    site.say("spec", &document(), true);
    let running = |state: NodeState| {
        let all = state.containers.iter();
        let running = all
            .filter(|one| one.phase == ContainerPhase::Running)
            .count();
        (running == 1 && state.forwarder_generation == 3).then_some(())
    };
    site.until("/state", "running", running).await;
}

/// Identity and start of each container, and the process of the forwarder.
fn untouched(site: &Site, engine: &Engine) -> (String, u32) {
    let format = "{{.Id}} {{.State.StartedAt}} {{.RestartCount}}";
    let ids = engine.docker(&["ps", "-aq"]);
    let mut all: Vec<String> = ids
        .lines()
        .map(|id| engine.docker(&["inspect", "--format", format, id]))
        .collect();
    all.sort();
    (all.join("\n"), site.forwarder())
}

#[test]
fn a_good_version_takes_over_and_nothing_on_the_box_notices() {
    on_a_box("update", async |engine| {
        let docker = engine.socket();
        let plan = Plan {
            docker,
            ..Plan::default()
        };
        let Some(mut site) = Site::start(plan).await else {
            return;
        };
        until_running(&mut site).await;
        let (before, pid) = (untouched(&site, &engine), site.pid());
        let began = Instant::now();
        site.update(7, &version("0.2.0", real())).await.unwrap();
        let sent = Instant::now();
        let (status, record) = site.until_decided(7).await;
        assert_eq!(record.outcome, UpdateOutcome::Updated, "{record:?}");
        assert_eq!(
            (status.version.as_str(), record.from.as_str()),
            ("0.2.0", "0.1.0")
        );
        site.until_event(EventKind::AgentUpdated, "0.2.0").await;
        assert_eq!(untouched(&site, &engine), before);
        assert!(
            site.is_alive(),
            "a system manager sees one process all along"
        );
        let told = site.told_manager();
        assert!(told.contains("STATUS=version 0.2.0 is on trial"), "{told}");
        assert_eq!(told.matches("READY=1").count(), 2, "{told}");
        assert!(told.matches("WATCHDOG=1").count() >= 2, "{told}");
        for word in ["STOPPING", "MAINPID", "RELOADING"] {
            assert!(!told.contains(word), "{told}");
        }
        let program = site.state_dir.join("versions/0.2.0/kc-agent");
        assert_eq!(Site::exe(pid), program.canonicalize().unwrap());
        assert_eq!(site.agents(), [pid]);
        let presences = site.presences(began);
        assert!(
            presences.iter().all(|one| *one == Presence::Online),
            "{presences:?}"
        );
        eprintln!(
            "measured: archive sent in {:?}, decided {:?} later, longest silence {:?}",
            sent - began,
            sent.elapsed(),
            site.longest_gap(sent)
        );
        assert!(
            site.longest_gap(sent) < Duration::from_secs(3),
            "it was taken for gone"
        );

        // Whoever starts the package's program gets what was taken last.
        site.crash().await;
        site.start_agent();
        assert_eq!(site.until_online().await.version, "0.2.0");
        assert_eq!(Site::exe(site.pid()), program.canonicalize().unwrap());

        // An older one needs a word, stays, and the one before the former goes.
        let older = version("0.1.5", real());
        let refused = site.update(8, &older).await.unwrap_err();
        assert!(refused.contains("--allow-downgrade"), "{refused}");
        let signature = site.signer.sign(&older);
        let sent = site.send(9, &older, older.len() as u64, signature, true);
        sent.await.unwrap();
        let (status, record) = site.until_decided(9).await;
        assert_eq!(
            (status.version.as_str(), record.outcome),
            ("0.1.5", UpdateOutcome::Updated)
        );
        assert_eq!(site.shelved(), ["0.1.5", "0.2.0", "current"]);
        assert_eq!(untouched(&site, &engine), before);
    });
}

#[test]
fn a_version_that_does_not_get_healthy_is_given_up_for_the_former() {
    on_a_box("given-up", async |engine| {
        let plan = Plan {
            docker: engine.socket(),
            trial_s: 3,
            ..Plan::default()
        };
        let Some(mut site) = Site::start(plan).await else {
            return;
        };
        until_running(&mut site).await;
        let (before, pid) = (untouched(&site, &engine), site.pid());
        let bad = [
            ("return 3;", "it ended at once: exit status: 3"),
            ("for (;;) pause();", "it had said nothing"),
            ("for (;;) puts(\"y\");", "it had said nothing"),
            (
                "close(0); close(1); close(2); for (;;) pause();",
                "it had said nothing",
            ),
            (
                "puts(\"waiting for the moon\"); fflush(stdout); for (;;) pause();",
                "still waited for the moon",
            ),
            (
                "puts(\"healthy\"); fflush(stdout); sleep(1); abort();",
                "it was healthy, and ended: signal: 6",
            ),
        ];
        for (attempt, (body, word)) in (1..).zip(bad) {
            let program = compiled(site.dir.path(), body);
            site.update(attempt, &version("0.2.0", &program))
                .await
                .unwrap();
            let (status, record) = site.until_decided(attempt).await;
            let reason = record.reason.clone().unwrap_or_default();
            assert_eq!(record.outcome, UpdateOutcome::Failed, "{body}");
            assert!(reason.contains(word), "{body}: {reason}");
            assert_eq!(status.version, "0.1.0");
            site.until_event(EventKind::AgentUpdateFailed, word).await;
            assert_eq!(site.agents(), [pid], "{body}");
            assert_eq!(site.shelved(), Vec::<String>::new(), "{body}");
            assert_eq!(untouched(&site, &engine), before);
        }
        assert!(site.is_alive());
        // And it still takes a good one.
        site.update(99, &version("0.2.0", real())).await.unwrap();
        let (_, record) = site.until_decided(99).await;
        assert_eq!(record.outcome, UpdateOutcome::Updated, "{record:?}");
    });
}

#[test]
fn a_version_that_finds_no_broker_where_there_was_one_is_given_up() {
    in_a_namespace(async || {
        let plan = Plan {
            trial_s: 3,
            ..Plan::default()
        };
        let Some(mut site) = Site::start(plan).await else {
            return;
        };
        site.update(1, &version("0.2.0", real())).await.unwrap();
        site.stop_broker();
        // The trial is decided by its own clock: nobody can be heard until then.
        let deadline = Instant::now() + Duration::from_secs(20);
        while !site.log().contains("given up") {
            assert!(Instant::now() < deadline, "{}", site.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        site.start_broker();
        let (status, record) = site.until_decided(1).await;
        assert_eq!(
            (status.version.as_str(), record.outcome),
            ("0.1.0", UpdateOutcome::Failed)
        );
        let reason = record.reason.unwrap();
        assert!(reason.contains("waited for the broker"), "{reason}");
        site.until_event(EventKind::AgentUpdateFailed, "the broker")
            .await;
    });
}

#[test]
fn a_forwarder_that_does_not_take_the_tables_is_a_reason_too() {
    in_a_namespace(async || {
        let Some(mut site) = Site::start(Plan::default()).await else {
            return;
        };
        site.say(
            "spec",
            &NodeSpec {
                generation: 2,
                ..NodeSpec::default()
            },
            true,
        );
        site.until("/state", "tables", |state: NodeState| {
            (state.forwarder_generation == 2).then_some(())
        })
        .await;
        let body = "fputs(\"no such table\\n\", stderr); return 1;";
        let forwarder = compiled(site.dir.path(), body);
        let programs = [("kc-agent", real()), ("kc-forwarder", &forwarder[..])];
        let archive = crate::package::archive("0.2.0", std::env::consts::ARCH, &programs);
        site.update(1, &archive).await.unwrap();
        let (_, record) = site.until_decided(1).await;
        let reason = record.reason.unwrap();
        assert!(
            reason.contains("kc-forwarder") && reason.contains("no such table"),
            "{reason}"
        );
        assert!(text(&site.state_dir).starts_with('/') && site.current().is_none());
    });
}

/// A forwarder as a program of its own, which becomes the one that this test program plays.
fn playing(site: &Site) -> Vec<u8> {
    let us = std::env::current_exe().unwrap();
    let body = format!(
        "if (argc > 1 && !strcmp(argv[1], \"check\")) return 0; \
         setenv(\"KC_FAKE_SOCKET\", argv[3], 1); setenv(\"KC_FAKE_TABLES\", argc > 5 ? argv[5] : \"\", 1); \
         execl(\"{0}\", \"{0}\", \"--exact\", \"plays_forwarder\", \"--ignored\", \"--nocapture\", (char *)0); return 9;",
        text(&us)
    );
    compiled(site.dir.path(), &body)
}

#[test]
fn the_forwarder_of_a_new_version_takes_over_with_its_tables_at_once() {
    in_a_namespace(async || {
        let plan = Plan {
            forwarder_named: false,
            ..Plan::default()
        };
        let Some(mut site) = Site::start(plan).await else {
            return;
        };
        // The one that is there before; the agent finds it at its socket.
        let run = site.dir.path().join("run");
        let former = std::process::Command::new(site.dir.path().join("fake-forwarder"))
            .args(["run", "--socket", text(&run.join("forwarder.sock"))])
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn();
        let mut former = former.unwrap();
        let document = NodeSpec {
            generation: 2,
            ..NodeSpec::default()
        };
        site.say("spec", &document, true);
        let tables = |state: NodeState| (state.forwarder_generation == 2).then_some(());
        site.until("/state", "tables", tables).await;
        assert_eq!(site.forwarder(), former.id());
        let forwarder = playing(&site);
        let programs = [("kc-agent", real()), ("kc-forwarder", &forwarder[..])];
        let archive = crate::package::archive("0.2.0", std::env::consts::ARCH, &programs);
        site.update(1, &archive).await.unwrap();
        let (_, record) = site.until_decided(1).await;
        assert_eq!(record.outcome, UpdateOutcome::Updated, "{record:?}");
        // The agent becomes the new version, and then replaces it.
        let ended = tokio::task::spawn_blocking(move || former.wait());
        let ended = tokio::time::timeout(Duration::from_secs(10), ended).await;
        let ended = ended.unwrap().unwrap().unwrap();
        assert_eq!(ended.to_string(), "signal: 9 (SIGKILL)");
        site.until("/state", "tables again", tables).await;
        let ours = site.forwarder();
        let environment = std::fs::read(format!("/proc/{ours}/environ")).unwrap();
        let told = String::from_utf8_lossy(&environment);
        assert!(
            told.contains("forwarder.json"),
            "it begins with its tables: {told}"
        );

        // A version without a forwarder of its own leaves this one alone.
        site.update(2, &version("0.3.0", real())).await.unwrap();
        let (_, record) = site.until_decided(2).await;
        assert_eq!(record.outcome, UpdateOutcome::Updated, "{record:?}");
        assert_eq!(site.forwarder(), ours);
    });
}
