//! The owner: one task that holds state and observations and does one thing at a time.

use super::alarms::Alarms;
use super::documents::{self, Published};
use super::events;
use super::input::{Input, Mutation, MutationError, Outcome};
use super::mutate::mutate;
use super::snapshot::Snapshot;
use crate::mqtt::{self, Calls, Inbound, OurPresence, Refusal};
use crate::notify::Notifier;
use crate::observation::Observations;
use crate::plan::{self, Before, Documents, Plan, State};
use crate::resource::Kind;
use crate::store::{Commit, NewEvent, Store};
use kc_agent_api::{DomainName, NodeName, Payload, Presence, Topic};
use kc_mqtt::{Incoming, Link, Message, PublishError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// How long news wait for more before they are planned with.
const GATHER: Duration = Duration::from_millis(4);
/// How long mere samples wait.
const SAMPLES: Duration = Duration::from_millis(500);
/// How long until a failed write or a full queue is tried again.
const AGAIN: Duration = Duration::from_millis(500);
/// The same complaint about the same topic is told once in this time.
const COMPLAINT_MS: u64 = 60_000;
/// Complaints remembered.
const COMPLAINTS: usize = 1_000;
/// Events that may wait for a disk that refuses; boxes keep theirs and send them again.
const EVENTS: usize = 10_000;

/// The run loop's task.
pub(super) struct Owner {
    domain: DomainName,
    store: Store,
    link: Link,
    calls: Calls,
    presence: OurPresence,
    moment: Snapshot,
    moments: watch::Sender<Arc<Snapshot>>,
    published: Published,
    /// Nodes whose documents the link could not take yet.
    unsent: BTreeSet<NodeName>,
    /// Nodes whose status has changed and is to be kept.
    restated: BTreeSet<NodeName>,
    alarms: Alarms,
    notifier: Notifier,
    events: Vec<NewEvent>,
    complaints: BTreeMap<String, u64>,
    /// When to plan next.
    due: Option<Instant>,
}

/// What the world is reached by.
pub(super) struct Ways {
    pub(super) link: Link,
    pub(super) calls: Calls,
    pub(super) presence: OurPresence,
    pub(super) notifier: Notifier,
}

impl Owner {
    pub(super) fn new(
        domain: DomainName,
        store: Store,
        ways: Ways,
        published: Published,
        moments: watch::Sender<Arc<Snapshot>>,
    ) -> Self {
        let moment = Snapshot::clone(&moments.borrow());
        Self {
            domain,
            store,
            link: ways.link,
            calls: ways.calls,
            presence: ways.presence,
            moment,
            moments,
            published,
            unsent: BTreeSet::new(),
            restated: BTreeSet::new(),
            alarms: Alarms::default(),
            notifier: ways.notifier,
            events: Vec::new(),
            complaints: BTreeMap::new(),
            due: None,
        }
    }

    /// Runs until every handle is gone.
    pub(super) async fn run(
        mut self,
        mut inputs: mpsc::Receiver<Input>,
        mut incoming: mpsc::Receiver<Incoming>,
    ) {
        self.replan().await;
        loop {
            let due = self.due;
            let sleep = async move {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                input = inputs.recv() => match input {
                    Some(Input::Mutate { mutation, dry_run, reply }) => {
                        let outcome = self.mutate(&mutation, dry_run).await;
                        let _ = reply.send(outcome);
                    }
                    None => return,
                },
                () = sleep => self.replan().await,
                message = incoming.recv() => match message {
                    Some(message) => self.take(message),
                    None => return,
                },
            }
        }
    }

    /// Plans no later than in `wait`.
    fn within(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.due = Some(self.due.map_or(at, |due| due.min(at)));
    }

    fn observed(&mut self) -> &mut Observations {
        &mut self.moment.observed
    }

    fn take(&mut self, incoming: Incoming) {
        let now = self.moment.clock.now_ms();
        match incoming {
            Incoming::Connected => {
                tracing::info!("connected to the broker");
                self.observed().link_up(now);
                self.say(&Topic::Controller, &self.presence.online(&self.link));
                self.unsent = self.published.keys().cloned().collect();
                self.alarms.again();
                self.publish();
                self.within(GATHER);
            }
            Incoming::Disconnected { reason } => {
                tracing::warn!(%reason, "no connection to the broker");
                self.observed().link_down();
                self.calls.disconnected();
                self.within(GATHER);
            }
            Incoming::Message(message) => match mqtt::read(&self.domain, &message) {
                Ok(inbound) => self.fold(inbound, now),
                Err(refusal) => self.complain(&refusal, now),
            },
        }
    }

    fn fold(&mut self, inbound: Inbound, now: u64) {
        match inbound {
            Inbound::Status(status) => {
                let node = status.node.clone();
                self.restated.insert(node.clone());
                self.observed().status(*status, now);
                if self.moment.observed.is_offline(&node) {
                    self.calls.offline(&node);
                }
                self.within(GATHER);
            }
            Inbound::State {
                node,
                state,
                retained,
            } => {
                self.observed().state(&node, *state, retained, now);
                self.within(GATHER);
            }
            Inbound::Load(node, load) => {
                self.observed().load(&node, *load, now);
                self.within(SAMPLES);
            }
            Inbound::Tunnel(node, _) => {
                self.observed().heard(&node, now);
                self.within(SAMPLES);
            }
            Inbound::Event(node, event) => {
                self.observed().heard(&node, now);
                if self.events.len() < EVENTS {
                    self.events.push(events::reported(node, *event));
                }
                self.within(GATHER);
            }
            Inbound::Reply(node, id, reply) => self.calls.answer(node, id, *reply),
            Inbound::Alarm(name) => {
                self.alarms.kept(&name);
                self.publish();
            }
            Inbound::Cleared => {}
        }
    }

    fn complain(&mut self, refusal: &Refusal, now: u64) {
        let about = refusal.about();
        let told = self.complaints.get(&about).copied();
        if told.is_some_and(|at| now.saturating_sub(at) < COMPLAINT_MS) {
            return;
        }
        if self.complaints.len() >= COMPLAINTS {
            self.complaints.clear();
        }
        self.complaints.insert(about.clone(), now);
        tracing::warn!(%refusal, "a message was refused");
        let node = refusal.node().cloned();
        let text = refusal.to_string();
        self.events
            .push(events::own(node, "message-refused", &about, text));
        self.within(GATHER);
    }

    async fn mutate(
        &mut self,
        mutation: &Mutation,
        dry_run: bool,
    ) -> Result<Outcome, MutationError> {
        let state = self.without_grace(mutation);
        let mutated = mutate(state.as_ref().unwrap_or(&self.moment.state), mutation)?;
        let now = self.moment.clock.now_ms();
        let mut observed = None;
        if !mutated.forgotten.is_empty() {
            let mut without = self.moment.observed.clone();
            without
                .nodes
                .retain(|node, _| !mutated.forgotten.contains(node));
            observed = Some(without);
        }
        let plan = plan::plan_after(
            self.before(),
            &mutated.state,
            observed.as_ref().unwrap_or(&self.moment.observed),
            now,
        );
        let steps = plan.steps.clone();
        let evacuation = match mutation {
            Mutation::Cordon {
                node, drain: true, ..
            } => crate::views::evacuation(&plan.state, node),
            _ => None,
        };
        if !dry_run {
            self.keep(plan, &mutated.forgotten, now).await?;
            if let Some(observed) = observed {
                self.moment.observed = observed;
            }
            self.forget(&mutated.forgotten);
            self.show(now);
        }
        Ok(Outcome {
            revision: self.moment.revision,
            changed: mutated.changed,
            warnings: mutated.warnings,
            steps,
            evacuation,
        })
    }

    /// The state with a node that is to be deleted gone at once, when it has said that it is.
    fn without_grace(&self, mutation: &Mutation) -> Option<State> {
        let Mutation::Delete(id) = mutation else {
            return None;
        };
        let node = NodeName::new(id.name.as_str()).ok();
        let node = node.filter(|_| id.kind == Kind::Node)?;
        let status = self.moment.observed.nodes.get(&node)?.status.as_ref()?;
        if status.report.presence != Presence::Offline {
            return None;
        }
        let mut state = self.moment.state.clone();
        state.nodes.get_mut(&node)?.ready = false;
        Some(state)
    }

    /// Plans with what is known, keeps what changed, publishes it.
    async fn replan(&mut self) {
        self.due = None;
        let now = self.moment.clock.now_ms();
        self.moment.observed.wall_ahead_ms = self.moment.clock.wall_ahead_ms();
        let plan = plan::plan_after(
            self.before(),
            &self.moment.state,
            &self.moment.observed,
            now,
        );
        for step in &plan.steps {
            tracing::info!("{step}");
        }
        if let Err(error) = self.keep(plan, &[], now).await {
            tracing::error!(error = &error as &dyn std::error::Error, "planning anew");
            self.within(AGAIN);
        }
        if !self.unsent.is_empty() {
            self.publish();
        }
        self.show(now);
    }

    /// The plan in force.
    const fn before(&self) -> Before<'_> {
        Before {
            state: &self.moment.state,
            documents: &self.moment.documents,
        }
    }

    /// Stores a plan in one transaction; only then it is in force and published.
    async fn keep(
        &mut self,
        plan: Plan,
        forgotten: &[NodeName],
        now: u64,
    ) -> Result<(), MutationError> {
        let wake = plan.wake_at_ms;
        let before = &self.moment.documents;
        let mut whole = true;
        let documents = match documents::difference(&self.published, before, &plan.documents) {
            Ok(documents) => documents,
            Err(error) => {
                // A document that cannot be written down is a defect; nothing half goes out.
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "unwritable document"
                );
                whole = false;
                Vec::new()
            }
        };
        let state = if plan.state == self.moment.state && self.moment.revision != 0 {
            None
        } else {
            Some(encode(&plan.state)?)
        };
        let mut nodes = Vec::new();
        for name in &self.restated {
            let status = self.moment.observed.nodes.get(name);
            if let Some(status) = status.and_then(|node| node.status.as_ref()) {
                let body = serde_json::to_string(&status.report)
                    .map_err(|error| MutationError::Encode(Arc::new(error)))?;
                nodes.push((name.clone(), Some(body)));
            }
        }
        nodes.extend(forgotten.iter().map(|name| (name.clone(), None)));
        let mut events = self.events.clone();
        events.extend(plan.events.into_iter().map(events::planned));
        let commit = Commit {
            state,
            clock_ms: now,
            documents: documents.clone(),
            nodes,
            events,
        };
        if !commit.is_empty() {
            let kept = self.store.commit(commit).await;
            let kept = kept.map_err(|error| MutationError::Store(Arc::new(error)))?;
            self.moment.revision = kept.revision;
            self.moment.last_event = kept.last_event;
        }
        // Only now: what an agent is told is stored, it forgets.
        for (node, ack) in events::acknowledgements(&self.events) {
            self.say(&Topic::Ack(node), &ack);
        }
        self.events.clear();
        self.restated.clear();
        self.moment.state = plan.state;
        if let Err(error) = self.alarms.update(self.moment.state.alarm_reports()) {
            tracing::error!(error = &error as &dyn std::error::Error, "unwritable alarm");
        }
        self.notifier.update(self.moment.state.alarm_notices());
        self.phases(now);
        // What was not told is found anew by the next plan.
        self.moment.documents = match whole {
            true => plan.documents,
            false => Documents::new(),
        };
        for (node, bytes) in documents {
            self.published.insert(node.clone(), bytes);
            self.unsent.insert(node);
        }
        self.publish();
        if let Some(at) = wake {
            self.within(Duration::from_millis(at.saturating_sub(now).max(1)));
        }
        Ok(())
    }

    /// Hands over to the link what it has not taken yet. Without a connection nothing is handed
    /// over: everything goes out anew on the next one.
    fn publish(&mut self) {
        if !self.link.connected() {
            return;
        }
        while let Some(node) = self.unsent.pop_first() {
            let Some(bytes) = self.published.get(&node) else {
                continue;
            };
            let payload = bytes.clone().unwrap_or_default();
            let topic = Topic::Spec(node.clone());
            match self
                .link
                .publish(mqtt::message(&self.domain, &topic, payload))
            {
                Ok(()) => {}
                Err(PublishError::Full { .. } | PublishError::Closed) => {
                    self.unsent.insert(node);
                    self.within(AGAIN);
                    return;
                }
                Err(error @ (PublishError::TooLarge { .. } | PublishError::Topic(_))) => {
                    tracing::error!(%node, %error, "the document cannot be sent");
                    let object = format!("node/{node}");
                    let text = format!("its document cannot be sent: {error}");
                    let event = events::own(Some(node), "document-refused", &object, text);
                    self.events.push(event);
                    self.within(AGAIN);
                }
            }
        }
        while let Some((name, payload)) = self.alarms.next() {
            let topic = Topic::Alarm(name.clone());
            let message = mqtt::message(&self.domain, &topic, payload);
            match self.link.publish(message) {
                Ok(()) => {}
                Err(PublishError::Full { .. } | PublishError::Closed) => {
                    self.alarms.put_back(name);
                    return self.within(AGAIN);
                }
                Err(error) => tracing::error!(%name, %error, "the alarm cannot be told"),
            }
        }
    }

    /// Says what will be said again if it does not get through.
    fn say<P: Payload>(&self, topic: &Topic, payload: &P) {
        let bytes = match kc_agent_api::encode(payload) {
            Ok(bytes) => bytes,
            Err(error) => return tracing::error!(%error, %topic, "cannot be written"),
        };
        let message = mqtt::message(&self.domain, topic, bytes);
        if let Err(error) = self.link.publish(message) {
            tracing::warn!(%error, %topic, "cannot be said");
        }
    }

    /// Clears what the broker keeps of nodes that are gone for good.
    fn forget(&mut self, nodes: &[NodeName]) {
        for node in nodes {
            for topic in [Topic::Status(node.clone()), Topic::State(node.clone())] {
                let message: Message = mqtt::message(&self.domain, &topic, Vec::new());
                if let Err(error) = self.link.publish(message) {
                    tracing::warn!(%node, %error, "the broker keeps what it knows of the node");
                }
            }
        }
    }

    /// Notes since when each path is in its phase.
    fn phases(&mut self, now: u64) {
        let known = std::mem::take(&mut self.moment.phases);
        let paths = self.moment.state.chains.values().flat_map(|c| &c.paths);
        self.moment.phases = paths
            .map(|path| {
                let (spi, word) = (path.forward.get(), path.phase.word());
                let same = known.get(&spi).filter(|(known, _)| *known == word);
                (spi, same.copied().unwrap_or((word, now)))
            })
            .collect();
    }

    fn show(&mut self, now: u64) {
        self.moment.now_ms = now;
        self.moments.send_replace(Arc::new(self.moment.clone()));
    }
}

fn encode(state: &State) -> Result<String, MutationError> {
    serde_json::to_string(state).map_err(|error| MutationError::Encode(Arc::new(error)))
}
