//! What others see of a box: Home Assistant over a real broker, Prometheus over a real socket,
//! from the real program.
#![cfg(test)]

mod support;

use kc_agent_api::{NodeSpec, encode};
use kc_mqtt::Message;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use support::{Broker, Engine, Listener, PATIENCE, fake_forwarder, on_a_box, play, run, spec_of};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

#[test]
#[ignore = "plays the forwarder in a process of its own"]
fn plays_forwarder() {
    play();
}

const BASE: &str = "homeassistant/device/kcluster_lab_pi-1";
const NODE: &str = "kcluster/lab/node/pi-1";
const ADDRESS: &str = "127.0.0.1:9273";

/// The program; it goes with the test.
struct Program(Child);

impl Program {
    fn start(engine: &Engine, readings: &str) -> Self {
        let dir = engine.dir.path();
        let config = dir.join("agent.toml");
        let docker = engine.socket();
        let image = support::IMAGE;
        let text = format!(
            "node = \"pi-1\"\ndocker = \"unix://{}\"\nstate-dir = \"{dir}/state\"\n\
             run-dir = \"{dir}/run\"\nforwarder = \"{dir}/fake-forwarder\"\n\
             pause-image = \"{image}\"\n{readings}",
            docker.display(),
            dir = dir.display(),
        );
        std::fs::write(&config, text).unwrap();
        Self::run(&config)
    }

    fn run(config: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kc-agent"));
        command.args(["run", "--config"]).arg(config);
        Self(
            command
                .stderr(Stdio::piped())
                .kill_on_drop(true)
                .spawn()
                .unwrap(),
        )
    }

    /// Waits until it has said so in its log.
    async fn says(&mut self, words: &str) {
        let mut log = BufReader::new(self.0.stderr.as_mut().unwrap()).lines();
        let said = async { while !log.next_line().await.unwrap().unwrap().contains(words) {} };
        timeout(PATIENCE, said).await.unwrap();
    }

    /// SIGKILL.
    async fn crash(mut self) {
        self.0.kill().await.unwrap();
    }

    /// Ends as a service manager would end it.
    async fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().unwrap().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let ended = timeout(PATIENCE, self.0.wait()).await.unwrap();
        assert!(ended.unwrap().success());
    }
}

fn document(generation: u64, names: &[&str]) -> Vec<u8> {
    let containers = names.iter().map(|name| spec_of(name, Vec::new()));
    encode(&NodeSpec {
        generation,
        containers: containers.collect(),
        ..NodeSpec::default()
    })
    .unwrap()
}

/// Objects below our base that the messages tell of.
fn objects(heard: &BTreeMap<String, Message>) -> Vec<&str> {
    let told = heard.iter().filter(|(_, m)| !m.payload.is_empty());
    let below = told.filter_map(|(topic, _)| topic.strip_prefix(BASE)?.strip_prefix('/'));
    below
        .filter_map(|object| object.strip_suffix("/config"))
        .collect()
}

fn presence(heard: &BTreeMap<String, Message>) -> Option<String> {
    let status = heard.get(&format!("{NODE}/status"))?;
    let status: Value = serde_json::from_slice(&status.payload).ok()?;
    Some(status["presence"].as_str()?.to_owned())
}

/// Everything a server says to `request`.
async fn answer(request: &str) -> String {
    let mut stream = TcpStream::connect(ADDRESS).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[test]
fn a_box_and_its_containers_come_and_go_in_home_assistant() {
    on_a_box("readings", async |engine| {
        let Some(_broker) = Broker::start() else {
            return;
        };
        run(
            "ip",
            &[
                "link", "add", "eth0", "type", "veth", "peer", "name", "other",
            ],
        );
        fake_forwarder(engine.dir.path());
        let mut house = Listener::start("house", &["homeassistant/#", &format!("{NODE}/#")]).await;
        house.say(&format!("{NODE}/spec"), document(1, &["fw.1", "dpi"]), true);
        let readings = "[home-assistant]\n[prometheus]\nlisten = \"127.0.0.1:9273\"\n";
        let agent = Program::start(&engine, readings);
        let all = ["box", "container-dpi", "container-fw_2e1", "interface-eth0"];
        house
            .until("announced", |heard| objects(heard) == all)
            .await;
        house
            .until("running", |heard| {
                let state = heard.get(&format!("{NODE}/state"));
                state.is_some_and(|state| {
                    let text = String::from_utf8_lossy(&state.payload);
                    text.matches("\"phase\":\"running\"").count() == 2
                })
            })
            .await;
        let config = house.json(&format!("{BASE}/box/config"));
        assert_eq!(config["availability_topic"], format!("{NODE}/status"));
        assert_eq!(config["state_topic"], format!("{NODE}/load"));
        assert_eq!(presence(&house.heard).as_deref(), Some("online"));

        // Who comes later finds it kept.
        let mut late = Listener::start("late", &[&format!("{BASE}/+/config")]).await;
        late.until("kept", |heard| objects(heard) == all).await;
        assert!(late.heard.values().all(|message| message.retain));

        // Home Assistant is born: everything once more, to those who listen.
        house.heard.clear();
        house.say("homeassistant/status", "online", false);
        house
            .until("told again", |heard| objects(heard) == all)
            .await;

        // The same readings for Prometheus.
        let page = answer("GET /metrics HTTP/1.1\r\nHost: pi-1\r\n\r\n").await;
        assert!(page.starts_with("HTTP/1.1 200 OK\r\n"), "{page}");
        for line in [
            "kcluster_container_running{domain=\"lab\",node=\"pi-1\",container=\"fw.1\"} 1\n",
            "kcluster_forwarder_up{domain=\"lab\",node=\"pi-1\"} 1\n",
            "kcluster_box_network_receive_bytes_total{domain=\"lab\",node=\"pi-1\",interface=\"eth0\"} ",
        ] {
            assert!(page.contains(line), "{line}\n{page}");
        }

        // A container goes while the agent is here, another while it is not.
        house.say(&format!("{NODE}/spec"), document(2, &["dpi"]), true);
        let gone = format!("{BASE}/container-fw_2e1/config");
        late.until("removed", |heard| heard[&gone].payload.is_empty())
            .await;
        agent.crash().await;
        house
            .until("the last will", |heard| {
                presence(heard).as_deref() == Some("offline")
            })
            .await;
        house.say(&format!("{NODE}/spec"), document(3, &[]), true);
        let agent = Program::start(&engine, readings);
        late.until("removed on return", |heard| {
            objects(heard) == ["box", "interface-eth0"]
        })
        .await;
        agent.crash().await;

        // Switched off, everything goes, and so does the memory of it.
        let agent = Program::start(&engine, "");
        late.until("nothing is left", |heard| objects(heard).is_empty())
            .await;
        agent.stop().await;
        assert!(!engine.dir.path().join("state/discovery").exists());
        assert!(TcpStream::connect(ADDRESS).await.is_err());
    });
}

#[test]
fn prometheus_reads_a_box_whose_broker_is_away() {
    on_a_box("scraped", async |engine| {
        fake_forwarder(engine.dir.path());
        let mut agent = Program::start(&engine, "[prometheus]\nlisten = \"127.0.0.1:9273\"\n");
        agent.says("Prometheus may ask").await;
        let page = answer("GET /metrics HTTP/1.1\r\nHost: pi-1\r\n\r\n").await;
        assert!(page.contains("\nkcluster_box_memory_size_bytes{"), "{page}");
    });
}
