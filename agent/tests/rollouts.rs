//! Changed containers against a real engine and a real registry: what does not get healthy goes back by
//! itself, and what the box cannot run never takes the place of what runs.
#![cfg(test)]

mod support;

use kc_agent_api::{
    ContainerPhase, ContainerSpec, EventKind, Health, HealthCheck, NodeSpec, NodeState, Probe,
    PullPolicy,
};
use support::registry::{REGISTRY, Registry, publish};
use support::{Agent, Engine, leg, of, on_a_box, play, run, spec_of};

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

/// The test's image once more, under another name and for another architecture.
fn import_for(engine: &Engine, platform: &str, image: &str) {
    let at = |leaf: &str| engine.dir.path().join(leaf).to_str().unwrap().to_owned();
    let (saved, dir, tar) = (at("saved.tar"), at("saved"), at("other.tar"));
    engine.docker(&["save", "-o", &saved, support::IMAGE]);
    std::fs::create_dir(&dir).unwrap();
    run("tar", &["-C", &dir, "-xf", &saved]);
    for entry in std::fs::read_dir(&dir).unwrap().flatten() {
        let path = entry.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "json")
        {
            let mut text: String = std::fs::read_to_string(&path).unwrap();
            for known in ["amd64", "arm64"] {
                let (old, new) = (format!("\"{known}\""), format!("\"{platform}\""));
                text = text.replace(&old, &new);
            }
            std::fs::write(&path, text.replace(support::IMAGE, image)).unwrap();
        }
    }
    run("tar", &["-C", &dir, "-cf", &tar, "."]);
    engine.docker(&["load", "-i", &tar]);
}

fn web(image: &str) -> ContainerSpec {
    let mut spec = spec_of("web", vec![leg("eth0", "webe", &["10.9.0.2/24"])]);
    spec.image = format!("{REGISTRY}/{image}");
    spec.pull = PullPolicy::IfNotPresent;
    spec.args = vec![];
    spec.update.deadline_ms = 15_000;
    spec.health = Some(HealthCheck {
        interval_ms: 200,
        failure_threshold: 2,
        timeout_ms: 2_000,
        ..HealthCheck::new(Probe::Exec {
            command: ["/bin/sh", "-c", "test -z \"$SICK\""]
                .map(str::to_owned)
                .into(),
        })
    });
    spec
}

fn document(generation: u64, web: ContainerSpec) -> NodeSpec {
    NodeSpec {
        generation,
        containers: vec![web],
        ..NodeSpec::default()
    }
}

async fn healthy(agent: &mut Agent, generation: u64) -> NodeState {
    agent
        .until("healthy and as it shall be", |state| {
            state.spec_generation == generation
                && state
                    .containers
                    .iter()
                    .all(|container| container.health == Some(Health::Healthy) && !container.former)
        })
        .await
}

#[test]
fn a_bad_image_goes_back_by_itself_and_a_good_one_stays() {
    on_a_box("back", async |engine| {
        let Some(_registry) = Registry::start(&engine) else {
            return;
        };
        let first = publish(&engine, "app:1", "ENV V=1");
        publish(&engine, "app:bad", "ENV SICK=yes");
        let third = publish(&engine, "app:3", "ENV V=3");
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, web("app:1")));
        let state = healthy(&mut agent, 1).await;
        assert_eq!(of(&state, "web").digest.as_deref(), Some(first.as_str()));
        let index = support::index_of("webe");

        agent.want(&document(2, web("app:bad")));
        let told = agent.event(EventKind::ContainerRolledBack).await;
        assert!(
            told.message.contains("the command ended with 1"),
            "{told:?}"
        );
        let back = |state: &NodeState| {
            state.containers.iter().any(|web| {
                web.phase == ContainerPhase::Running
                    && web.health == Some(Health::Healthy)
                    && web.rolled_back.is_some()
            })
        };
        let state = agent.until("back", back).await;
        let web_state = of(&state, "web").clone();
        assert_eq!(state.spec_generation, 2);
        assert!(web_state.former);
        assert_eq!(web_state.digest.as_deref(), Some(first.as_str()));
        assert_eq!(web_state.image, format!("{REGISTRY}/app:1"));
        assert_eq!(
            support::index_of("webe"),
            index,
            "its wires were not touched"
        );

        // The agent's end and return change nothing about it.
        agent.stop().await;
        let mut agent = Agent::start(&engine);
        let state = agent.until("still back", back).await;
        assert_eq!(of(&state, "web").id, web_state.id);

        // By its digest, which needs no tag.
        let mut by_digest = web("app:3");
        by_digest.image = format!("{REGISTRY}/app@{third}");
        agent.want(&document(3, by_digest));
        let state = healthy(&mut agent, 3).await;
        assert_eq!(of(&state, "web").digest.as_deref(), Some(third.as_str()));
        assert_eq!(of(&state, "web").rolled_back, None);
        agent.stop().await;
    });
}

#[test]
fn images_that_nobody_needs_leave_a_full_disk_and_those_of_others_stay() {
    on_a_box("full", async |engine| {
        let Some(_registry) = Registry::start(&engine) else {
            return;
        };
        for (tag, line) in [
            ("app:1", "ENV V=1"),
            ("app:2", "ENV V=2"),
            ("other:1", "ENV O=1"),
        ] {
            publish(&engine, tag, line);
        }
        let stranger = format!("{REGISTRY}/other:1");
        engine.docker(&["pull", "-q", &stranger]);
        let mut agent = Agent::start(&engine);
        agent.want(&document(1, web("app:1")));
        healthy(&mut agent, 1).await;
        let has = |image: &str| {
            let listed = engine.docker(&["images", "-q", "--no-trunc", image]);
            !listed.trim().is_empty()
        };
        let (first, second) = (format!("{REGISTRY}/app:1"), format!("{REGISTRY}/app:2"));
        // Somebody else's container keeps one.
        engine.docker(&["create", "--name", "theirs", &first]);
        agent.want(&document(2, web("app:2")));
        healthy(&mut agent, 2).await;
        agent
            .until("proven", |state| !of(state, "web").on_trial)
            .await;
        // The memory of what was pulled outlives the agent.
        agent.stop().await;
        let mut agent = Agent::start(&engine);
        healthy(&mut agent, 2).await;
        agent.disk.send_replace(90);
        // Nothing can go before that container does.
        engine.docker(&["rm", "theirs"]);
        let told = agent.event(EventKind::ImagesRemoved).await;
        assert!(told.message.ends_with(&first), "{told:?}");
        assert!(!has(&first) && has(&second) && has(&stranger));
        agent.stop().await;
    });
}

#[test]
fn a_tag_that_means_something_else_by_now_goes_back_to_what_it_meant() {
    on_a_box("tag", async |engine| {
        let Some(_registry) = Registry::start(&engine) else {
            return;
        };
        let first = publish(&engine, "app:latest", "ENV V=1");
        let mut agent = Agent::start(&engine);
        let mut spec = web("app:latest");
        spec.pull = PullPolicy::Always;
        agent.want(&document(1, spec.clone()));
        healthy(&mut agent, 1).await;
        // Pushed from elsewhere: this engine's own tag stays where it is until the pull.
        let before = engine.docker(&["images", "-q", "--no-trunc", &spec.image]);
        publish(&engine, "app:latest", "ENV SICK=yes");
        engine.docker(&["tag", &before, &spec.image]);
        spec.env.insert("CHANGED".into(), "yes".into());
        agent.want(&document(2, spec));
        agent.event(EventKind::ContainerRolledBack).await;
        let state = agent
            .until("what it meant", |state| {
                let web = of(state, "web");
                web.health == Some(Health::Healthy) && web.rolled_back.is_some()
            })
            .await;
        assert_eq!(of(&state, "web").digest.as_deref(), Some(first.as_str()));
        agent.stop().await;
    });
}

#[test]
fn an_image_for_other_boxes_or_none_at_all_leaves_what_runs_alone() {
    on_a_box("arch", async |engine| {
        let mut agent = Agent::start(&engine);
        let mut good = web("");
        good.image = support::IMAGE.into();
        good.args = vec!["/kc-function".into()];
        agent.want(&document(1, good.clone()));
        let before = healthy(&mut agent, 1).await;
        let other = "other:1";
        let platform = if cfg!(target_arch = "x86_64") {
            "arm64"
        } else {
            "amd64"
        };
        import_for(&engine, platform, other);
        let mut changed = good.clone();
        changed.image = other.into();
        for (generation, image, word) in [
            (2, other, format!("is made for {platform}")),
            (3, "127.0.0.1:5000/no/such:1", "127.0.0.1:5000".to_owned()),
        ] {
            changed.image = image.into();
            agent.want(&document(generation, changed.clone()));
            let told = agent.event(EventKind::ImagePullFailed).await;
            assert!(told.message.contains(&word), "{told:?}");
            assert!(told.message.contains(image), "{told:?}");
            let state = agent
                .until("told, and running as before", |state| {
                    state.spec_generation == generation && of(state, "web").error.is_some()
                })
                .await;
            let web = of(&state, "web");
            assert_eq!(web.id, of(&before, "web").id);
            assert_eq!(web.started_at, of(&before, "web").started_at);
            assert_eq!(web.phase, ContainerPhase::Running);
            assert!(web.former && web.rolled_back.is_none());
        }
        agent.stop().await;
    });
}
