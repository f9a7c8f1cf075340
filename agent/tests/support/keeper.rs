//! An agent's loop in the test's own process, documents in by a channel, reports out by others.

use super::{Engine, PATIENCE, fake_forwarder};
use kc_agent::config::{Overrides, Settings};
use kc_agent::docker;
use kc_agent::forwarder::{Forwarder, Supervision};
use kc_agent::keeper::{Happened, Inputs, Keeper, Outputs, View};
use kc_agent::last_words::LastWords;
use kc_agent::ledger::Ledger;
use kc_agent::service::Pulse;
use kc_agent::wiring;
use kc_agent_api::{
    ContainerPhase, ContainerSpec, ContainerState, EventKind, Leg, Network, NodeSpec, NodeState,
    encode,
};
use serde_json::json;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

/// A running loop.
pub(crate) struct Agent {
    pub(crate) state: watch::Receiver<NodeState>,
    pub(crate) view: watch::Receiver<View>,
    pub(crate) happened: mpsc::UnboundedReceiver<Happened>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) last_words: LastWords,
    specs: watch::Sender<Option<Arc<[u8]>>>,
    end: watch::Sender<bool>,
    task: tokio::task::JoinHandle<()>,
    supervised: Forwarder,
    /// How full the engine's disk is said to be, in percent.
    pub(crate) disk: watch::Sender<u8>,
}

impl Agent {
    /// An agent on `engine` with a forwarder that only pretends.
    pub(crate) fn start(engine: &Engine) -> Self {
        let program = fake_forwarder(engine.dir.path());
        Self::start_at(engine.dir.path(), &engine.socket(), &program)
    }

    pub(crate) fn start_at(dir: &Path, docker: &Path, forwarder: &Path) -> Self {
        let said = json!({
            "node": "box1", "docker": format!("unix://{}", docker.display()),
            "state-dir": dir.join("state"), "run-dir": dir.join("run"),
            "forwarder": forwarder, "pause-image": super::engine::IMAGE,
            // Any disk is fuller than this.
            "image-gc-percent": 6,
        });
        let said: Overrides = serde_json::from_value(said).unwrap();
        let settings = Arc::new(Settings::complete(said).unwrap());
        std::fs::create_dir_all(&settings.run_dir).unwrap();
        let ledger = Ledger::open(&settings.state_dir).unwrap();
        let (specs, spec_receiver) = watch::channel(None);
        let (state_sender, state) = watch::channel(NodeState::default());
        let (events, happened) = mpsc::unbounded_channel();
        let (view_sender, view) = watch::channel(View::default());
        let (end, shutdown) = watch::channel(false);
        let Supervision { forwarder, words } = Forwarder::supervise(&settings);
        let (disk, disk_receiver) = watch::channel(0);
        let inputs = Inputs {
            disk: disk_receiver,
            specs: spec_receiver,
            engine: docker::watch(settings.docker.clone(), settings.node.to_string()),
            forwarder: words,
            links: wiring::monitor().unwrap(),
            pulse: Pulse::new().1,
            shutdown,
        };
        let outputs = Outputs {
            state: state_sender,
            events,
            view: view_sender,
        };
        let keeper = Keeper::new(Arc::clone(&settings), ledger, forwarder.clone(), outputs);
        let last_words = keeper.last_words();
        let task = tokio::spawn(keeper.run(inputs));
        Self {
            state,
            view,
            happened,
            settings,
            last_words,
            specs,
            end,
            task,
            supervised: forwarder,
            disk,
        }
    }

    /// Ends the loop as SIGTERM would.
    pub(crate) async fn stop(self) {
        self.end.send_replace(true);
        self.task.await.unwrap();
        drop(self.supervised);
        // The supervisor ends when nobody holds its handle.
        tokio::task::yield_now().await;
    }

    pub(crate) fn want(&self, spec: &NodeSpec) {
        self.specs.send_replace(Some(encode(spec).unwrap().into()));
    }

    pub(crate) fn want_bytes(&self, bytes: &[u8]) {
        self.specs.send_replace(Some(bytes.into()));
    }

    /// Waits until the report is as `wanted` says.
    pub(crate) async fn until(
        &mut self,
        what: &str,
        wanted: impl FnMut(&NodeState) -> bool,
    ) -> NodeState {
        let waited = timeout(PATIENCE, self.state.wait_for(wanted))
            .await
            .map(|state| state.unwrap().clone());
        match waited {
            Ok(state) => state,
            Err(_) => panic!("never: {what}: {:#?}", self.state.borrow()),
        }
    }

    /// Waits until every container of generation `generation` runs and its tables are in force.
    pub(crate) async fn until_running(&mut self, generation: u64) -> NodeState {
        self.until("all running", |state| {
            state.spec_generation == generation
                && state.forwarder_generation == generation
                && state
                    .containers
                    .iter()
                    .all(|container| container.phase == ContainerPhase::Running)
        })
        .await
    }

    /// Waits for an event of `kind`.
    pub(crate) async fn event(&mut self, kind: EventKind) -> Happened {
        let wait = async {
            loop {
                match self.happened.recv().await {
                    Some(happened) if happened.kind == kind => return happened,
                    Some(_) => {}
                    None => panic!("the loop has ended"),
                }
            }
        };
        timeout(PATIENCE, wait)
            .await
            .unwrap_or_else(|_| panic!("no {kind}"))
    }

    /// First process of a container of ours.
    pub(crate) fn pid(&self, id: &str) -> u32 {
        let view = self.view.borrow();
        view.containers
            .iter()
            .find(|seen| seen.id == id)
            .and_then(|seen| seen.pid)
            .unwrap()
    }
}

/// The report of one container.
pub(crate) fn of<'a>(state: &'a NodeState, name: &str) -> &'a ContainerState {
    state
        .containers
        .iter()
        .find(|container| container.name == name)
        .unwrap()
}

pub(crate) fn leg(interface: &str, port: &str, addresses: &[&str]) -> Leg {
    let serial = port.bytes().fold(0u8, u8::wrapping_add);
    serde_json::from_value(json!({
        "interface": interface, "port": port, "addresses": addresses, "mtu": 1426,
        "mac": format!("02:00:00:00:01:{serial:02x}"),
    }))
    .unwrap()
}

/// A container that waits.
pub(crate) fn spec_of(name: &str, legs: Vec<Leg>) -> ContainerSpec {
    let mut spec: ContainerSpec = serde_json::from_value(json!({
        "name": name, "role": {"function": {"function": "fw"}},
        "image": super::engine::IMAGE, "pull": "never", "args": ["/kc-function"],
    }))
    .unwrap();
    spec.network = Network::Legs(legs);
    spec
}
