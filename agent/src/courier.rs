//! Everything that goes over MQTT: documents and calls in, presence, state, events and load out,
//! and the load once more for those who read it in other words. Holds no policy; loses nothing
//! when the broker is away, and delays nothing on the box.

use crate::calls::Calls;
use crate::events::Events;
use crate::forwarder::Forwarder;
use crate::keeper::{Happened, View, explain};
use crate::load::{self, Sample, Sampler, Watched};
use crate::readings::entities::Shape;
use crate::readings::former::Former;
use crate::readings::{Discovery, Readings};
use crate::reconcile::{Part, Phase};
use crate::service::Questions;
use crate::status::Identity;
use kc_agent_api::{
    ControllerStatus, Network, NodeName, NodeState, Payload, Presence, Topic, decode,
};
use kc_forwarder_api::Counters;
use kc_mqtt::{Incoming, Link, Message};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until, timeout};

/// How long counters may take before a report goes without them.
const COUNTERS: Duration = Duration::from_millis(500);
/// How long the broker may take to acknowledge that we leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// What the courier carries between.
pub struct Courier {
    /// Who we are.
    pub identity: Arc<Identity>,
    /// To the broker.
    pub link: Link,
    /// From the broker.
    pub incoming: mpsc::Receiver<Incoming>,
    /// Events that wait for the controller.
    pub events: Events,
    /// What the controller said of itself last on this connection.
    pub controller: Option<ControllerStatus>,
    /// Answers to calls.
    pub calls: Calls,
    /// Takes load samples.
    pub sampler: Sampler,
    /// How full the engine's disk is, in percent.
    pub disk: watch::Sender<u8>,
    /// Asked for its counters.
    pub forwarder: Forwarder,
    /// Documents, newest only.
    pub specs: watch::Sender<Option<Arc<[u8]>>>,
    /// What the box is like.
    pub state: watch::Receiver<NodeState>,
    /// What happened.
    pub happened: mpsc::UnboundedReceiver<Happened>,
    /// What there is to measure.
    pub view: watch::Receiver<View>,
    /// What Home Assistant is told.
    pub discovery: Discovery,
    /// Where it was told anything before.
    pub former: Former,
    /// The newest readings for Prometheus, where that is wanted.
    pub readings: Option<watch::Sender<Option<Arc<Readings>>>>,
    /// Whether the loop turns.
    pub pulse: Questions,
    /// Turns true when it is time to leave.
    pub shutdown: watch::Receiver<bool>,
    /// Whether somebody takes our place at once: then we say nothing of leaving.
    pub relieved: Arc<AtomicBool>,
}

impl Courier {
    /// Carries until it is time to leave; then says so to the broker.
    pub async fn run(mut self) {
        let (counted, mut counters) = mpsc::channel(1);
        let mut engine = None;
        let mut before: Option<Sample> = None;
        let mut tick = Instant::now();
        let mut shutdown = self.shutdown.clone();
        loop {
            tokio::select! {
                () = crate::agent::ended(&mut shutdown) => break,
                Some(word) = self.incoming.recv() => self.on_incoming(word),
                Some(said) = self.happened.recv() => {
                    self.events.record(said.kind, said.object, said.message);
                    self.flush();
                }
                Ok(()) = self.state.changed() => {
                    self.publish_state();
                    self.show_state();
                }
                Ok(()) = self.view.changed() => {
                    let now = self.view.borrow().engine.clone();
                    if engine != now {
                        engine = now;
                        self.publish_status(Presence::Online);
                    }
                }
                () = sleep_until(tick) => {
                    let interval = Duration::from_secs(u64::from(self.interval_s()));
                    // A box that slept does not make up for it.
                    tick = (tick + interval).max(Instant::now());
                    self.flush();
                    if self.link.connected() || self.readings.is_some() {
                        self.count(&counted);
                    }
                }
                Some(counters) = counters.recv() => self.measure(&mut before, counters),
                Some(answer) = self.pulse.recv() => drop(answer.send(())),
            }
        }
        self.leave().await;
    }

    fn on_incoming(&mut self, word: Incoming) {
        match word {
            Incoming::Connected => {
                tracing::info!(session = self.link.session(), "connected to the broker");
                // A broker may have forgotten everything since.
                self.publish_status(Presence::Online);
                self.publish_state();
                let messages = self.discovery.connected();
                self.send(messages);
                self.events.again();
                self.flush();
            }
            Incoming::Disconnected { reason } => {
                tracing::warn!(%reason, "no broker; the box goes on without");
                // What is retained comes again.
                self.controller = None;
            }
            Incoming::Message(message) => {
                if let Some(messages) = self.discovery.heard(&message) {
                    return self.send(messages);
                }
                let ours = |node: &NodeName| *node == self.identity.node;
                match Topic::parse(&message.topic) {
                    // An empty payload only says that the broker keeps none any more.
                    Ok((_, Topic::Spec(node))) if ours(&node) && !message.payload.is_empty() => {
                        self.specs.send_replace(Some(message.payload.into()));
                    }
                    Ok((_, Topic::Call(node, id))) if ours(&node) => {
                        let docker = self.view.borrow().docker.clone();
                        self.calls.handle(id, &message.payload, docker);
                    }
                    Ok((_, Topic::Ack(node))) if ours(&node) => match decode(&message.payload) {
                        Ok(ack) => self.events.acknowledged(&ack),
                        Err(error) => tracing::warn!("{}", explain(&error)),
                    },
                    Ok((domain, Topic::Controller))
                        if domain == self.identity.domain && !message.payload.is_empty() =>
                    {
                        match decode(&message.payload) {
                            Ok(status) => self.on_controller(status),
                            Err(error) => tracing::warn!("{}", explain(&error)),
                        }
                    }
                    _ => tracing::debug!(topic = message.topic, "not for us"),
                }
            }
        }
    }

    /// The box needs no controller; events wait for one.
    fn on_controller(&mut self, status: ControllerStatus) {
        if !status.replaces(self.controller.as_ref()) {
            return;
        }
        match status.presence {
            Presence::Online => {
                tracing::info!(version = status.version, "there is a controller");
                // It may have died over what it was sent.
                self.events.again();
            }
            Presence::Offline => tracing::warn!("no controller; the box goes on without"),
        }
        self.controller = Some(status);
        self.flush();
    }

    fn flush(&mut self) {
        let away = |status: &ControllerStatus| status.presence == Presence::Offline;
        let heard = !self.controller.as_ref().is_some_and(away);
        self.events.flush(&self.identity, &self.link, heard);
    }

    fn publish_status(&self, presence: Presence) {
        let engine = self.view.borrow().engine.clone();
        let session = self.link.session();
        let status = self.identity.status(presence, session, engine.as_deref());
        self.publish(&Topic::Status(self.identity.node.clone()), &status);
    }

    fn publish_state(&mut self) {
        let state = self.state.borrow_and_update().clone();
        if state == NodeState::default() {
            // The box was not looked at yet; what we said before we were restarted still holds.
            return;
        }
        self.publish(&Topic::State(self.identity.node.clone()), &state);
    }

    /// Others do not wait for the next report either.
    fn show_state(&mut self) {
        let state = self.state.borrow().clone();
        let messages = self.discovery.observed(&state);
        self.send(messages);
        if let Some(readings) = &self.readings {
            readings.send_if_modified(|newest| {
                let known = newest.as_mut().map(Arc::make_mut);
                known.map(|readings| readings.state = state).is_some()
            });
        }
    }

    fn publish<P: Payload>(&self, topic: &Topic, payload: &P) {
        match self.identity.message(topic, payload) {
            Ok(message) => {
                if let Err(error) = self.link.publish(message) {
                    tracing::warn!(%error, %topic, "cannot publish");
                }
            }
            Err(error) => tracing::error!(%error, %topic, "cannot publish"),
        }
    }

    fn send(&self, messages: Vec<Message>) {
        for message in messages {
            let topic = message.topic.clone();
            if let Err(error) = self.link.publish(message) {
                tracing::warn!(%error, topic, "cannot publish");
            }
        }
    }

    fn interval_s(&self) -> u32 {
        self.view.borrow().spec.load_interval_s.clamp(1, 3600)
    }

    /// Asks the forwarder beside the loop; at most one question is open.
    fn count(&self, counted: &mpsc::Sender<Option<Counters>>) {
        let Ok(slot) = counted.clone().try_reserve_owned() else {
            return;
        };
        let forwarder = self.forwarder.clone();
        tokio::spawn(async move {
            let counters = timeout(COUNTERS, forwarder.counters()).await;
            slot.send(counters.ok().and_then(Result::ok));
        });
    }

    fn measure(&mut self, before: &mut Option<Sample>, counters: Option<Counters>) {
        let watched = watched(&self.view.borrow());
        if let Some(root) = &self.view.borrow().data_root {
            self.sampler.look_at_disk(root);
        }
        let sample = self.sampler.sample(self.identity.boot.elapsed(), &watched);
        let full = load::percent(sample.machine.disk);
        self.disk.send_if_modified(|known| {
            let changed = *known != full;
            *known = full;
            changed
        });
        let stamp = self.identity.boot.stamp();
        let node = self.identity.node.clone();
        let report = load::report(stamp.clone(), before.as_ref(), &sample, counters.as_ref());
        *before = Some(sample);
        // A sample that waits for a broker would be old when it comes.
        if self.link.connected() {
            self.publish(&Topic::Load(node.clone()), &report);
            if let Some(counters) = &counters {
                self.publish(
                    &Topic::Tunnel(node.clone()),
                    &load::tunnels(stamp, counters),
                );
            }
            let shape = Shape::of(&report, &self.state.borrow(), self.interval_s());
            let messages = self.discovery.reported(shape);
            self.send(messages);
        }
        if let Some(readings) = &self.readings {
            readings.send_replace(Some(Arc::new(Readings {
                domain: self.identity.domain.clone(),
                node,
                load: report,
                state: self.state.borrow().clone(),
                counters,
            })));
        }
    }

    /// Nobody shall take us for dead: we say that we go.
    async fn leave(mut self) {
        while let Ok(said) = self.happened.try_recv() {
            self.events.record(said.kind, said.object, said.message);
        }
        self.flush();
        let relieved = self.relieved.load(Ordering::Relaxed);
        if !relieved {
            self.publish_status(Presence::Offline);
        }
        let settled = self.discovery.settled();
        if self.link.connected() && self.link.drained(FAREWELL).await && settled && !relieved {
            // What lay below other bases came with the connection, and was removed.
            let now = self.discovery.base();
            if let Err(error) = self.former.keep_only(now.as_deref()) {
                tracing::warn!("{}", explain(&error));
            }
        }
        self.link.close().await;
    }
}

/// Containers worth measuring: those that run and are in the document.
fn watched(view: &View) -> Vec<Watched> {
    let running = view.containers.iter();
    let running = running.filter(|seen| seen.part == Part::Main && seen.phase == Phase::Running);
    running
        .filter_map(|seen| {
            let want = view
                .spec
                .containers
                .iter()
                .find(|want| want.name == seen.name)?;
            let ports = match &want.network {
                Network::Legs(legs) => legs.iter().map(|leg| leg.port.clone()).collect(),
                Network::Host => Vec::new(),
            };
            Some(Watched {
                name: seen.name.clone(),
                id: seen.id.clone(),
                pid: seen.pid?,
                limits: want.limits,
                ports,
            })
        })
        .collect()
}
