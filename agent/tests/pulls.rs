//! Images that not everybody may pull, against a real registry that asks for a password.
#![cfg(test)]

mod support;

use kc_agent::vault::own_key;
use kc_agent_api::{
    BoxKey, ContainerPhase, ContainerSpec, EventKind, NodeSpec, NodeState, PullLogin, PullPolicy,
    PullSecret, Sealing,
};
use std::process::Command;
use support::registry::{PASSWORD, REGISTRY, Registry, USER, publish};
use support::{Agent, Engine, leg, of, on_a_box, play, spec_of};

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

fn app(engine: &Engine, password: Option<&str>) -> ContainerSpec {
    let own = own_key(&engine.dir.path().join("state")).unwrap();
    let seal = |password: &str| {
        let login = PullLogin {
            username: USER.into(),
            password: password.into(),
            server: None,
        };
        let value = serde_json::to_vec(&login).unwrap();
        let nonce = [u8::try_from(password.len()).unwrap(); 24];
        Sealing::new(&BoxKey::new([3; 32]), own.public()).seal(nonce, "hub", &value)
    };
    ContainerSpec {
        image: format!("{REGISTRY}/private:1"),
        pull: PullPolicy::IfNotPresent,
        pull_secret: password.map(|password| PullSecret {
            name: "hub".into(),
            version: password.len().to_string(),
            sealed: seal(password),
        }),
        ..spec_of("app", vec![leg("eth0", "appe", &["10.9.0.2/24"])])
    }
}

fn document(generation: u64, app: ContainerSpec) -> NodeSpec {
    NodeSpec {
        generation,
        containers: vec![app],
        ..NodeSpec::default()
    }
}

#[test]
fn an_image_is_pulled_with_the_login_that_came_sealed_and_by_nobody_else() {
    on_a_box("pulls", async |engine| {
        let Some(_registry) = Registry::locked(&engine) else {
            return;
        };
        publish(&engine, "private:1", "ENV V=1");
        let mut agent = Agent::start(&engine);
        let mut told = Vec::new();
        for (generation, password) in [(1, None), (2, Some("wrong-swordfish"))] {
            agent.want(&document(generation, app(&engine, password)));
            let failed = agent.event(EventKind::ImagePullFailed).await;
            assert!(failed.message.contains("private:1"), "{failed:?}");
            let login = failed.message.contains("with the login of its pull secret");
            assert_eq!(login, password.is_some(), "{failed:?}");
            told.push(failed.message);
            let refused = |state: &NodeState| {
                state.spec_generation == generation
                    && state
                        .containers
                        .first()
                        .is_some_and(|app| app.error.is_some())
            };
            let state = agent.until("refused", refused).await;
            told.push(serde_json::to_string(&state).unwrap());
        }
        agent.want(&document(3, app(&engine, Some(PASSWORD))));
        let runs = |state: &NodeState| {
            let mut containers = state.containers.iter();
            containers.any(|app| app.phase == ContainerPhase::Running)
        };
        let state = agent.until("pulled and running", runs).await;
        told.push(serde_json::to_string(&state).unwrap());
        // Another password restarts nothing.
        agent.want(&document(4, app(&engine, Some("wrong-swordfish"))));
        let after = agent.until_running(4).await;
        assert_eq!(of(&after, "app").id, of(&state, "app").id);
        agent.stop().await;

        // Neither told nor kept, by us or by the engine.
        let told = told.join("\n") + &engine.docker(&["inspect", "kc-app"]);
        let dir = engine.dir.path();
        for password in [PASSWORD, "wrong-swordfish"] {
            assert!(!told.contains(password), "{told}");
            let grep = Command::new("grep")
                .args(["-rl", password, "--exclude-dir=docker-config"])
                .arg(dir)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&grep.stdout), "");
        }
        engine.docker(&["rm", "-f", "kc-app"]);
        engine.docker(&["rmi", &format!("{REGISTRY}/private:1")]);
        let host = format!("unix://{}", engine.socket().display());
        let again = Command::new("docker")
            .args(["-H", &host, "--config", dir.join("none").to_str().unwrap()])
            .args(["pull", &format!("{REGISTRY}/private:1")])
            .output()
            .unwrap();
        assert!(!again.status.success(), "the engine has kept the login");
    });
}
