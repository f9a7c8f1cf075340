//! A box that pretends: it registers, keeps every document it gets, says at once that all of it
//! is so, reports load, and answers when asked for logs. Its broker may come and go.

use super::inside::Inside;
use super::site::PATIENCE;
use kc_agent_api::{
    BootId, BoxKey, BoxLoad, Call, CallBody, Capacity, ContainerLoad, ContainerPhase,
    ContainerState, ControllerStatus, DomainName, Event, EventAck, EventKind, Finding, LoadReport,
    NodeName, NodeSpec, NodeState, NodeStatus, PathLoad, Payload, Presence, Reply, ReplyBody,
    Stamp, Topic, UpdateManifest, UpdateOutcome, UpdateRecord, decode, encode,
};
use kc_mqtt::{Config, Incoming, Link, Message, QoS};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::sync::mpsc;

/// What a test may have a box do.
#[derive(Debug)]
enum Order {
    /// Say that something happened.
    Event(u64),
    /// Publish bytes on one of its topics.
    Raw(Topic, Vec<u8>),
    /// Say nothing more, and stay connected.
    Hush,
    /// Say goodbye and end.
    Leave,
}

#[derive(Default)]
struct Kept {
    /// Every document as it came, in order; empty when it was cleared.
    documents: Mutex<Vec<Vec<u8>>>,
    came: Condvar,
    /// What the controller said of itself, and of events.
    controller: Mutex<Vec<ControllerStatus>>,
    acks: Mutex<Vec<EventAck>>,
}

/// What box `number` opens secrets with.
pub(crate) fn seal_key(number: u8) -> BoxKey {
    BoxKey::new([number; 32])
}

/// A box.
pub(crate) struct Agent {
    name: NodeName,
    kept: Arc<Kept>,
    /// What goes on in its containers.
    pub(crate) inside: Arc<Mutex<Inside>>,
    orders: mpsc::UnboundedSender<Order>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Agent {
    /// Starts box `number`, with the VTEP 192.168.50.`number`.
    pub(crate) fn start(broker: u16, number: u8) -> Self {
        let name = NodeName::new(format!("box{number}")).unwrap();
        let kept = Arc::new(Kept::default());
        let inside = Arc::<Mutex<Inside>>::default();
        let (orders, queue) = mpsc::unbounded_channel();
        let part = Part {
            name: name.clone(),
            number,
            kept: Arc::clone(&kept),
            inside: Arc::clone(&inside),
            spec: NodeSpec::default(),
            clock: Instant::now(),
            version: "0.1.0".into(),
            update: None,
        };
        let thread = std::thread::spawn(move || {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(part.play(broker, queue));
        });
        Self {
            name,
            kept,
            inside,
            orders,
            thread: Some(thread),
        }
    }

    /// Every document so far.
    pub(crate) fn documents(&self) -> Vec<Vec<u8>> {
        self.kept.documents.lock().unwrap().clone()
    }

    /// Waits for a document for which `wanted` holds.
    pub(crate) fn until(&self, what: &str, wanted: impl Fn(&NodeSpec) -> bool) -> NodeSpec {
        self.until_bytes(what, |bytes| {
            decode::<NodeSpec>(bytes).is_ok_and(|spec| wanted(&spec))
        })
        .map(|bytes| decode(&bytes).unwrap())
        .unwrap()
    }

    /// Waits until the newest document's bytes are as wanted.
    pub(crate) fn until_bytes(
        &self,
        what: &str,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Option<Vec<u8>> {
        let (mut documents, began) = (self.kept.documents.lock().unwrap(), Instant::now());
        loop {
            if let Some(last) = documents.last().filter(|last| wanted(last)) {
                return Some(last.clone());
            }
            let left = PATIENCE.checked_sub(began.elapsed());
            let left = left.unwrap_or_else(|| panic!("{}: no document: {what}", self.name));
            documents = self.kept.came.wait_timeout(documents, left).unwrap().0;
        }
    }

    /// Waits until it has been given `count` documents.
    pub(crate) fn until_count(&self, count: usize) {
        let (mut documents, began) = (self.kept.documents.lock().unwrap(), Instant::now());
        while documents.len() < count {
            let left = PATIENCE
                .checked_sub(began.elapsed())
                .expect("too few documents");
            documents = self.kept.came.wait_timeout(documents, left).unwrap().0;
        }
    }

    /// Says that something happened, under that number.
    pub(crate) fn event(&self, sequence: u64) {
        self.orders.send(Order::Event(sequence)).unwrap();
    }

    /// Says nothing more, but does not hang up: what a broker makes of a partition before it gives up.
    pub(crate) fn hush(&self) {
        self.orders.send(Order::Hush).unwrap();
    }

    /// What the controller said of itself last.
    pub(crate) fn controller(&self) -> Option<ControllerStatus> {
        self.kept.controller.lock().unwrap().last().cloned()
    }

    /// What the controller said of events.
    pub(crate) fn acks(&self) -> Vec<EventAck> {
        self.kept.acks.lock().unwrap().clone()
    }

    /// Has the broker publish a last will of an earlier connection.
    pub(crate) fn late_will(&self) {
        let part = Part {
            name: self.name.clone(),
            number: 1,
            kept: Arc::default(),
            inside: Arc::default(),
            spec: NodeSpec::default(),
            clock: Instant::now(),
            version: "0.1.0".into(),
            update: None,
        };
        let bytes = encode(&part.status(Presence::Offline, 0)).unwrap();
        self.raw(Topic::Status(self.name.clone()), bytes);
    }

    /// Publishes bytes on one of its topics.
    pub(crate) fn raw(&self, topic: Topic, bytes: Vec<u8>) {
        self.orders.send(Order::Raw(topic, bytes)).unwrap();
    }

    /// Its name.
    pub(crate) fn name(&self) -> NodeName {
        self.name.clone()
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.orders.send(Order::Leave);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The thread's side.
struct Part {
    name: NodeName,
    number: u8,
    kept: Arc<Kept>,
    inside: Arc<Mutex<Inside>>,
    spec: NodeSpec,
    clock: Instant,
    version: String,
    update: Option<UpdateRecord>,
}

fn lab() -> DomainName {
    DomainName::new("lab").unwrap()
}

fn message<T: Payload>(topic: &Topic, body: &T) -> Message {
    Message {
        topic: topic.name(&lab()),
        payload: encode(body).unwrap(),
        qos: if topic.qos() == 0 {
            QoS::AtMostOnce
        } else {
            QoS::AtLeastOnce
        },
        retain: topic.retained(),
    }
}

impl Part {
    async fn play(mut self, broker: u16, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut config = Config::new("127.0.0.1", broker, format!("kc-agent-{}", self.name));
        config.subscriptions = Topic::agent_filters(&lab(), &self.name)
            .into_iter()
            .map(|filter| (filter, QoS::AtLeastOnce))
            .collect();
        let will = message(
            &Topic::Status(self.name.clone()),
            &self.status(Presence::Offline, 0),
        );
        config.last_will = Some(will.into());
        let (link, mut incoming) = Link::start(config);
        let mut sample = tokio::time::interval(Duration::from_millis(200));
        let mut quiet = false;
        loop {
            tokio::select! {
                order = orders.recv() => match order {
                    Some(Order::Event(sequence)) => {
                        link.publish(message(&Topic::Event(self.name.clone()), &self.event(sequence))).unwrap();
                    }
                    Some(Order::Raw(topic, payload)) => {
                        let (qos, retain) = (QoS::AtLeastOnce, topic.retained());
                        link.publish(Message { topic: topic.name(&lab()), payload, qos, retain }).unwrap();
                    }
                    Some(Order::Hush) => quiet = true,
                    Some(Order::Leave) | None => break,
                },
                _ = sample.tick() => {
                    if link.connected() && !quiet {
                        link.publish(message(&Topic::Load(self.name.clone()), &self.load())).unwrap();
                    }
                }
                news = incoming.recv() => match news {
                    Some(Incoming::Connected) => {
                        let status = self.status(Presence::Online, link.session());
                        link.publish(message(&Topic::Status(self.name.clone()), &status)).unwrap();
                        link.publish(message(&Topic::State(self.name.clone()), &self.state())).unwrap();
                    }
                    Some(Incoming::Disconnected { .. }) => {}
                    Some(Incoming::Message(message)) => self.take(&link, message),
                    None => break,
                }
            }
        }
        let status = self.status(Presence::Offline, link.session());
        let _ = link.publish(message(&Topic::Status(self.name.clone()), &status));
        if link.connected() {
            link.drained(Duration::from_secs(2)).await;
        }
        link.close().await;
    }

    fn take(&mut self, link: &Link, incoming: Message) {
        let (_, topic) = Topic::parse(&incoming.topic).unwrap();
        match topic {
            Topic::Spec(_) => {
                if let Ok(spec) = decode::<NodeSpec>(&incoming.payload) {
                    self.spec = spec;
                    link.publish(message(&Topic::State(self.name.clone()), &self.state()))
                        .unwrap();
                }
                self.kept.documents.lock().unwrap().push(incoming.payload);
                self.kept.came.notify_all();
            }
            Topic::Call(_, id) => {
                let call: Call = decode(&incoming.payload).unwrap();
                if call.body == CallBody::Doctor {
                    let reply = self.look();
                    let topic = Topic::Reply(self.name.clone(), id);
                    return link.publish(message(&topic, &reply)).unwrap();
                }
                for (id, reply) in self.inside.lock().unwrap().hear(id, call.body) {
                    let topic = Topic::Reply(self.name.clone(), id);
                    // A part may come twice.
                    link.publish(message(&topic, &reply)).unwrap();
                    link.publish(message(&topic, &reply)).unwrap();
                }
                self.try_update(link);
            }
            Topic::Controller => {
                let said = decode(&incoming.payload).unwrap();
                self.kept.controller.lock().unwrap().push(said);
            }
            Topic::Ack(_) => {
                let said = decode(&incoming.payload).unwrap();
                self.kept.acks.lock().unwrap().push(said);
            }
            _ => {}
        }
    }

    /// Tries what has come, and says what became of it.
    fn try_update(&mut self, link: &Link) {
        let (attempt, archive, ails) = {
            let mut inside = self.inside.lock().unwrap();
            let Some(attempt) = inside.came.take() else {
                return;
            };
            (attempt, inside.uploaded.clone(), inside.ails.clone())
        };
        let mut archive = tar::Archive::new(&*archive);
        let first = archive.entries().unwrap().next().unwrap().unwrap();
        let manifest: UpdateManifest = serde_json::from_reader(first).unwrap();
        let from = self.version.clone();
        for outcome in [UpdateOutcome::Trying, UpdateOutcome::Updated] {
            let failed = ails.clone().filter(|_| outcome == UpdateOutcome::Updated);
            self.version = match (outcome, &failed) {
                (UpdateOutcome::Updated, None) => manifest.version.clone(),
                _ => from.clone(),
            };
            self.update = Some(UpdateRecord {
                attempt,
                version: manifest.version.clone(),
                from: from.clone(),
                outcome: failed.as_ref().map_or(outcome, |_| UpdateOutcome::Failed),
                reason: failed,
            });
            let status = self.status(Presence::Online, link.session());
            link.publish(message(&Topic::Status(self.name.clone()), &status))
                .unwrap();
        }
    }

    /// Nothing is wrong with it but, on the second box, the clock.
    fn look(&self) -> Reply {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let wall_ms = match self.number {
            2 => 0,
            _ => u64::try_from(now.as_millis()).unwrap(),
        };
        let findings = vec![Finding::ok("power", "no under-voltage since boot")];
        Reply {
            part: 0,
            last: true,
            body: ReplyBody::Doctor { findings, wall_ms },
        }
    }

    fn stamp(&self) -> Stamp {
        Stamp {
            boot: BootId("boot".into()),
            mono_ms: u64::try_from(self.clock.elapsed().as_millis()).unwrap(),
            wall_ms: 0,
        }
    }

    fn status(&self, presence: Presence, session: u64) -> NodeStatus {
        NodeStatus {
            node: self.name.clone(),
            presence,
            version: self.version.clone(),
            arch: "aarch64".into(),
            boot: BootId("boot".into()),
            session,
            labels: BTreeMap::new(),
            capacity: Capacity {
                cpu_millis: 4_000,
                memory_bytes: 1 << 30,
                disk_bytes: 32 << 30,
            },
            vtep: Some([192, 168, 50, self.number].into()),
            underlay_mtu: 1_500,
            engine: Some("20.10.24".into()),
            update: self.update.clone(),
            seal_key: Some(seal_key(self.number).public()),
        }
    }

    fn state(&self) -> NodeState {
        let running = |container: &kc_agent_api::ContainerSpec| ContainerState {
            name: container.name.clone(),
            id: format!("{:0<64}", self.number),
            image: container.image.clone(),
            phase: ContainerPhase::Running,
            exit_code: None,
            restarts: 0,
            started_at: None,
            error: None,
            health: None,
            digest: None,
            former: false,
            rolled_back: None,
            on_trial: false,
        };
        NodeState {
            spec_generation: self.spec.generation,
            forwarder_generation: self.spec.generation,
            containers: self.spec.containers.iter().map(running).collect(),
            ports: Vec::new(),
            underlay: None,
            tunnels: Default::default(),
            functions: Default::default(),
            errors: Vec::new(),
        }
    }

    fn load(&self) -> LoadReport {
        let paths = self.spec.forwarder.paths.iter().flat_map(|path| {
            path.hops.iter().map(|hop| PathLoad {
                spi: path.spi,
                si: hop.si,
                packets: 1_234,
                bytes: 1_234 * 100,
            })
        });
        LoadReport {
            at: self.stamp(),
            machine: BoxLoad {
                cpu_percent: 10.0 * f32::from(self.number),
                memory_used_bytes: 512 << 20,
                memory_total_bytes: 1 << 30,
                temperature_c: Some(48.5),
                ..BoxLoad::default()
            },
            containers: self
                .spec
                .containers
                .iter()
                .map(|container| ContainerLoad {
                    name: container.name.clone(),
                    cpu_percent: 5.0,
                    memory_bytes: 3 << 20,
                    ..ContainerLoad::default()
                })
                .collect(),
            paths: paths.collect(),
            drops: BTreeMap::new(),
            draining: Vec::new(),
            round_trips: Vec::new(),
        }
    }

    fn event(&self, sequence: u64) -> Event {
        Event {
            // The same number is the same event, sent again.
            at: Stamp {
                mono_ms: sequence,
                ..self.stamp()
            },
            sequence,
            kind: EventKind::ContainerDied,
            object: "firewall-1".into(),
            message: "ended with 137".into(),
        }
    }
}
