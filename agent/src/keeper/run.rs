//! The loop itself.

use super::{Happened, View};
use crate::config::Settings;
use crate::docker::{self, DockerError};
use crate::forwarder::{self, Forwarder};
use crate::last_words::LastWords;
use crate::ledger::Ledger;
use crate::reconcile::{
    Action, Lane, Memory, Observed, Part, Phase, Plan, TablesProgress, World, reconcile,
};
use crate::service::Questions;
use crate::state::{Facts, node_state};
use crate::wiring;
use bollard::Docker;
use kc_agent_api::{EventKind, Network, NodeSpec, NodeState};
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, Id, JoinSet};
use tokio::time::{Instant, sleep_until};

/// How long after a change the forwarder is asked for its ports, and how often while one is absent.
const PORTS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// When a document that the disk refused is written down again.
pub(super) const WRITE_AGAIN: Duration = Duration::from_secs(5);
/// When the engine is asked again after it answered nonsense.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// When the engine is asked again about what it says it is about to restart, at first and at last. It
/// says nothing when it gives that up, as it does where the pause container was down at that moment.
const STILL_RESTARTING: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// Where things come from.
pub struct Inputs {
    /// The newest document as it arrived, undecoded. Closing it ends nothing: the ledger is enough.
    pub specs: watch::Receiver<Option<Arc<[u8]>>>,
    /// The engine.
    pub engine: mpsc::Receiver<docker::Word>,
    /// The forwarder.
    pub forwarder: mpsc::Receiver<forwarder::Word>,
    /// Interfaces that changed.
    pub links: wiring::LinkMonitor,
    /// How full the engine's disk is, in percent.
    pub disk: watch::Receiver<u8>,
    /// Whether the loop turns.
    pub pulse: Questions,
    /// Turns true when the loop shall end.
    pub shutdown: watch::Receiver<bool>,
}

/// Where things go.
pub struct Outputs {
    /// What the box is like.
    pub state: watch::Sender<NodeState>,
    /// What happened.
    pub events: mpsc::UnboundedSender<Happened>,
    /// What measuring and calls need.
    pub view: watch::Sender<View>,
}

/// Who has spoken since the start. Until both have, nothing is known of a box whose containers
/// and paths may be going on from before, and a report would call them gone.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Heard {
    pub(super) engine: bool,
    pub(super) forwarder: bool,
}

/// Everything the loop holds.
pub struct Keeper {
    pub(super) settings: Arc<Settings>,
    pub(super) ledger: Ledger,
    /// Whether the ledger's current file is worth keeping as the one before.
    pub(super) keep_previous: bool,
    /// Whether any document was ever taken up.
    pub(super) has_spec: bool,
    /// The document in force.
    pub(super) spec: Arc<NodeSpec>,
    /// The same with entries that were given up replaced by what ran before.
    pub(super) effective: Arc<NodeSpec>,
    pub(super) docker: Option<Docker>,
    pub(super) engine: Option<String>,
    pub(super) data_root: Option<PathBuf>,
    pub(super) seen: Observed,
    pub(super) memory: Memory,
    pub(super) facts: Facts,
    pub(super) forwarder: Forwarder,
    pub(super) last_words: LastWords,
    pub(super) steps: JoinSet<Result<super::steps::Touched, super::steps::StepError>>,
    pub(super) running: HashMap<Id, (Action, AbortHandle)>,
    pub(super) ports_at: Option<Instant>,
    pub(super) look_at: Option<Instant>,
    /// When that will be for what is about to be restarted.
    restarting: Duration,
    /// While the document in force is not on the disk.
    pub(super) write_at: Option<Instant>,
    /// Whether engine and forwarder have said anything yet.
    pub(super) heard: Heard,
    asked_ports: mpsc::Sender<Option<kc_forwarder_api::Status>>,
    answered_ports: mpsc::Receiver<Option<kc_forwarder_api::Status>>,
    outputs: Outputs,
    born: Instant,
    wake_at: Option<Instant>,
}

impl Keeper {
    /// A loop over the box of `settings`.
    pub fn new(
        settings: Arc<Settings>,
        ledger: Ledger,
        forwarder: Forwarder,
        outputs: Outputs,
    ) -> Self {
        let (asked_ports, answered_ports) = mpsc::channel(4);
        Self {
            settings,
            ledger,
            keep_previous: true,
            has_spec: false,
            spec: Arc::default(),
            effective: Arc::default(),
            docker: None,
            engine: None,
            data_root: None,
            seen: Observed::default(),
            memory: Memory::default(),
            facts: Facts::default(),
            forwarder,
            last_words: LastWords::default(),
            steps: JoinSet::new(),
            running: HashMap::new(),
            ports_at: None,
            look_at: None,
            restarting: STILL_RESTARTING.0,
            write_at: None,
            heard: Heard::default(),
            asked_ports,
            answered_ports,
            outputs,
            born: Instant::now(),
            wake_at: None,
        }
    }

    /// What removed containers said last, as it is kept from now on.
    pub fn last_words(&self) -> LastWords {
        self.last_words.clone()
    }

    /// Runs until told to end.
    pub async fn run(mut self, mut inputs: Inputs) {
        self.load_ledger();
        self.look_at_links().await;
        loop {
            self.act().await;
            self.publish();
            self.mind_restarts();
            let timer = [self.wake_at, self.ports_at, self.look_at, self.write_at]
                .into_iter()
                .flatten()
                .min();
            tokio::select! {
                () = crate::agent::ended(&mut inputs.shutdown) => return,
                Some(word) = inputs.forwarder.recv() => self.on_forwarder(word),
                Some(word) = inputs.engine.recv() => self.on_engine(word, &mut inputs.engine).await,
                Some(name) = inputs.links.recv() => self.on_link(name, &mut inputs.links).await,
                Ok(()) = inputs.specs.changed() => {
                    let newest = inputs.specs.borrow_and_update().clone();
                    if let Some(bytes) = newest {
                        self.take_up(&bytes).await;
                    }
                }
                Ok(()) = inputs.disk.changed() => {
                    let percent = *inputs.disk.borrow_and_update();
                    self.on_disk(percent);
                }
                Some(done) = self.steps.join_next_with_id() => self.on_step(done).await,
                Some(status) = self.answered_ports.recv() => self.on_ports(status),
                Some(answer) = inputs.pulse.recv() => drop(answer.send(())),
                () = at(timer) => self.on_timer().await,
            }
        }
    }

    /// Milliseconds of a clock that never goes back.
    pub(super) fn now_ms(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(super) fn event(&self, kind: EventKind, object: &str, message: impl Into<String>) {
        let happened = Happened {
            kind,
            object: object.to_owned(),
            message: message.into(),
        };
        let _ = self.outputs.events.send(happened);
    }

    pub(super) fn world(&self) -> World<'_> {
        World {
            spec: &self.effective,
            seen: &self.seen,
            memory: &self.memory,
            pause_image: &self.settings.pause_image,
            now_ms: self.now_ms(),
        }
    }

    /// Asks what to do, and does it.
    async fn act(&mut self) {
        if !self.has_spec {
            // Without any document nothing is known about what may go.
            return;
        }
        let trial_ms = self.examine().await;
        let Plan {
            actions,
            apply_tables,
            wake_at_ms,
        } = reconcile(&self.world());
        if apply_tables {
            let mut tables = self.spec.forwarder.clone();
            tables.generation = self.spec.generation;
            self.memory.tables = TablesProgress::Waiting;
            self.forwarder.apply(tables).await;
        }
        for action in actions {
            self.launch(action);
        }
        let wake_at_ms = wake_at_ms.into_iter().chain(trial_ms).min();
        self.wake_at = wake_at_ms.map(|at| self.born + Duration::from_millis(at));
    }

    fn publish(&self) {
        if self.heard.engine && self.heard.forwarder {
            let state = node_state(&self.world(), &self.facts);
            self.outputs.state.send_if_modified(|old| {
                let changed = *old != state;
                if changed {
                    *old = state;
                }
                changed
            });
        }
        self.outputs.view.send_if_modified(|view| {
            let changed = *view.containers != self.seen.containers
                || !Arc::ptr_eq(&view.spec, &self.effective)
                || view.engine != self.engine
                || view.docker.is_some() != self.docker.is_some();
            if changed {
                *view = View {
                    spec: Arc::clone(&self.effective),
                    containers: Arc::new(self.seen.containers.clone()),
                    docker: self.docker.clone(),
                    engine: self.engine.clone(),
                    data_root: self.data_root.clone(),
                };
            }
            changed
        });
    }

    async fn on_timer(&mut self) {
        let now = Instant::now();
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
        }
        if self.ports_at.is_some_and(|at| at <= now) {
            self.ports_at = None;
            let forwarder = self.forwarder.clone();
            let answer = self.asked_ports.clone();
            tokio::spawn(async move {
                let _ = answer.send(forwarder.status().await.ok()).await;
            });
        }
        if self.look_at.is_some_and(|at| at <= now) {
            self.look_at = None;
            self.look_at_everything().await;
        }
        if self.write_at.is_some_and(|at| at <= now) {
            self.write_down(Arc::clone(&self.spec)).await;
        }
    }

    fn on_ports(&mut self, status: Option<kc_forwarder_api::Status>) {
        let Some(status) = status else { return };
        self.facts.ports = status.ports;
        self.facts.underlay = status.underlay;
        let absent =
            |port: &kc_forwarder_api::PortStatus| port.state == kc_forwarder_api::PortState::Absent;
        if self.facts.ports.iter().any(absent) && self.ports_at.is_none() {
            self.ports_at = Some(Instant::now() + PORTS.1);
        }
    }

    /// The forwarder's ports may have changed.
    pub(super) fn ask_ports_soon(&mut self) {
        let soon = Instant::now() + PORTS.0;
        self.ports_at = Some(self.ports_at.map_or(soon, |at| at.min(soon)));
    }

    /// Looks again, less and less often, while something is about to be restarted.
    fn mind_restarts(&mut self) {
        let mut seen = self.seen.containers.iter();
        if !seen.any(|seen| seen.phase == Phase::Restarting) {
            self.restarting = STILL_RESTARTING.0;
        } else if self.look_at.is_none() {
            self.look_at = Some(Instant::now() + self.restarting);
            self.restarting = (self.restarting * 2).min(STILL_RESTARTING.1);
        }
    }

    /// Lists everything anew.
    pub(super) async fn look_at_everything(&mut self) {
        let Some(docker) = self.docker.clone() else {
            return;
        };
        match docker::list(&docker, self.settings.node.as_str()).await {
            Ok(containers) => {
                self.seen.engine = true;
                self.seen.containers = containers;
                self.facts.troubles.remove("engine");
            }
            Err(error) => self.engine_trouble(&error),
        }
        self.learn_digests().await;
        self.look_at_links().await;
    }

    /// Looks at one container again.
    pub(super) async fn look_at(&mut self, id: &str) {
        let Some(docker) = self.docker.clone() else {
            return;
        };
        match docker::inspect(&docker, self.settings.node.as_str(), id).await {
            Ok(seen) => {
                let at = self.seen.containers.iter().position(|old| old.id == id);
                match (at, seen) {
                    (Some(at), Some(seen)) => {
                        if let Some(slot) = self.seen.containers.get_mut(at) {
                            *slot = seen;
                        }
                    }
                    (Some(at), None) => drop(self.seen.containers.remove(at)),
                    (None, Some(seen)) => self.seen.containers.push(seen),
                    (None, None) => {}
                }
            }
            Err(error) => self.engine_trouble(&error),
        }
        self.learn_digests().await;
    }

    fn engine_trouble(&mut self, error: &DockerError) {
        let told = super::explain(error);
        tracing::warn!("{told}");
        self.facts.troubles.insert("engine", told);
        self.look_at = Some(Instant::now() + LOOK_AGAIN);
    }

    /// Looks at interfaces: the box's own, and inside every running pause container.
    pub(super) async fn look_at_links(&mut self) {
        let pauses = self.seen.containers.iter();
        let pauses = pauses.filter(|seen| seen.part == Part::Pause && seen.phase == Phase::Running);
        let inside = pauses
            .filter_map(|seen| Some((seen.id.clone(), seen.pid?)))
            .collect();
        let looked = match wiring::inside(inside).await {
            Ok(inner) => {
                self.seen.inner = inner;
                wiring::host().await
            }
            Err(error) => Err(error),
        };
        match looked {
            Ok(host) => {
                self.seen.host = host;
                self.facts.troubles.remove("interfaces");
            }
            Err(error) => {
                let told = super::explain(&error);
                self.facts.troubles.insert("interfaces", told);
                self.look_at = Some(Instant::now() + LOOK_AGAIN);
            }
        }
    }

    /// Whether the document speaks of this interface of the box, or may: see [`wiring::LinkMonitor`].
    pub(super) fn knows_interface(&self, name: &str) -> bool {
        if name.is_empty() {
            return true;
        }
        let host = self.spec.host_legs.iter();
        let mut host = host.flat_map(|leg| [leg.port.as_str(), leg.interface.as_str()]);
        let mut containers = self
            .spec
            .containers
            .iter()
            .flat_map(|want| match &want.network {
                Network::Legs(legs) => legs.as_slice(),
                Network::Host => &[],
            });
        host.any(|known| known == name)
            || containers.any(|leg| leg.port.as_str() == name)
            || self.is_port(name)
    }

    /// Whether the forwarder has it as a port; it may be an interface that nobody made for us.
    fn is_port(&self, name: &str) -> bool {
        let ports = &self.spec.forwarder.ports;
        ports.iter().any(|port| port.name.as_str() == name)
    }

    /// Records a failure of a lane; says whether it is news.
    pub(super) fn failed(&mut self, lane: Lane, told: String) -> bool {
        let jitter = fastrand::f64();
        let now = self.now_ms();
        self.memory.backoffs.failed(lane.clone(), now, jitter);
        let news = self.facts.failures.get(&lane) != Some(&told);
        self.facts.failures.insert(lane, told);
        news
    }

    /// Failures by what they concern, for those who add their own.
    pub(super) fn troubles(&mut self) -> &mut BTreeMap<&'static str, String> {
        &mut self.facts.troubles
    }
}

async fn at(moment: Option<Instant>) {
    match moment {
        Some(moment) => sleep_until(moment).await,
        None => std::future::pending().await,
    }
}
