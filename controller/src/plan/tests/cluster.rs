//! A cluster in memory: boxes that take up the documents they are sent, start containers and
//! acknowledge generations; a controller that stores its state before it publishes.

use crate::manifest::{Context, Source, load};
use crate::observation::Observations;
use crate::plan::{Before, Documents, Phase, Plan, State, plan, plan_after};
use crate::resource::Name;
use kc_agent_api::*;
use kc_forwarder_api::{
    Action, Backend, Group, HealthState, MemberTarget, NextHop, PortState, PortStatus, RoundTrip,
    SfName, Spi, Tables, TunnelName,
};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// One box.
#[derive(Debug, Clone, Default)]
pub(super) struct FakeBox {
    pub(super) up: bool,
    /// What the broker holds for it.
    pub(super) retained: Option<NodeSpec>,
    /// What it has in force.
    pub(super) tables: Tables,
    pub(super) spec_generation: u64,
    /// Containers that do not come up.
    pub(super) sick: BTreeSet<String>,
    pub(super) running: BTreeSet<String>,
    /// Containers whose health check does not answer yet.
    pub(super) unready: BTreeSet<String>,
    /// Containers whose health nobody checks.
    pub(super) unchecked: BTreeSet<String>,
    /// Images that never get healthy: what ran before comes back.
    pub(super) bad_images: BTreeSet<String>,
    /// Changed containers that have yet to prove themselves.
    pub(super) on_trial: BTreeSet<String>,
    /// Images that run, by container.
    pub(super) images: BTreeMap<String, String>,
    pub(super) loads: BTreeMap<String, f32>,
    /// What its forwarder has looked up.
    pub(super) paths: Vec<PathLoad>,
    /// What functions answer their forwarder; of those that are not here, containers do if they run.
    pub(super) answers: BTreeMap<String, HealthState>,
    /// Interfaces without a carrier.
    pub(super) unplugged: BTreeSet<String>,
    /// Octets that interfaces have sent.
    pub(super) sent: BTreeMap<String, u64>,
    /// Flows of its clients with whoever drains.
    pub(super) flows: u64,
    /// What its forwarder measures.
    pub(super) round_trips: Vec<RoundTrip>,
}

#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// As stored.
    pub(super) state: State,
    pub(super) observed: Observations,
    pub(super) now_ms: u64,
    pub(super) boxes: BTreeMap<NodeName, FakeBox>,
    /// What boxes open secrets with; those that are not here have no key.
    pub(super) keys: BTreeMap<NodeName, BoxKey>,
    /// Steps and events as they came, for golden files.
    pub(super) story: Vec<String>,
    pub(super) wake_at_ms: Option<u64>,
    /// What was planned before, which a plan takes over as far as it holds.
    pub(super) before: (State, Documents),
}

/// The instance that a way into it belongs to.
fn instance(way: &str) -> &str {
    way.split_once('.').map_or(way, |(instance, _)| instance)
}

pub(super) fn node(name: &str) -> NodeName {
    NodeName::new(name).unwrap()
}

impl Cluster {
    pub(super) fn new(boxes: usize) -> Self {
        let mut observed = Observations::default();
        observed.link_up(1_000_000);
        let mut cluster = Self {
            state: State::default(),
            observed,
            now_ms: 1_000_000,
            boxes: BTreeMap::new(),
            keys: BTreeMap::new(),
            story: Vec::new(),
            wake_at_ms: None,
            before: Default::default(),
        };
        for number in 1..=boxes {
            let name = node(&format!("box{number}"));
            let up = FakeBox {
                up: true,
                ..FakeBox::default()
            };
            cluster.boxes.insert(name.clone(), up);
            cluster.presence(&name, Presence::Online);
        }
        cluster.settle();
        cluster.story.clear();
        cluster
    }

    pub(super) fn presence(&mut self, name: &NodeName, presence: Presence) {
        let status = self.status_of(name, presence);
        self.observed.status(status, self.now_ms);
    }

    /// The box has another address on the underlay.
    pub(super) fn moves(&mut self, name: &str, vtep: IpAddr) {
        let vtep = Some(vtep);
        let status = self.status_of(&node(name), Presence::Online);
        self.observed
            .status(NodeStatus { vtep, ..status }, self.now_ms);
    }

    fn status_of(&self, name: &NodeName, presence: Presence) -> NodeStatus {
        let number: u8 = name.as_str()[3..].parse().unwrap();
        NodeStatus {
            node: name.clone(),
            presence,
            version: "0.1.0".into(),
            arch: "x86_64".into(),
            boot: BootId("boot".into()),
            session: 1,
            labels: BTreeMap::from([("box".into(), name.to_string())]),
            capacity: Capacity {
                cpu_millis: 2000,
                memory_bytes: 1 << 30,
                disk_bytes: 1 << 30,
            },
            vtep: Some([192, 168, 50, number].into()),
            underlay_mtu: 1500,
            engine: Some("20.10".into()),
            update: None,
            seal_key: self.keys.get(name).map(BoxKey::public),
        }
    }

    pub(super) fn apply(&mut self, text: &str) {
        let nodes = self.boxes.keys().cloned().collect();
        let context = Context {
            resources: &self.state.resources,
            nodes: &nodes,
        };
        let loaded = load(&[Source { name: "test", text }], context).unwrap();
        self.state.apply(loaded.resources);
    }

    pub(super) fn delete(&mut self, id: &str) {
        self.state.delete(&id.parse().unwrap()).unwrap();
    }

    /// Plans and stores, but does not publish: what a controller that dies here has done.
    pub(super) fn think(&mut self) -> Plan {
        let plan = plan(&self.state, &self.observed, self.now_ms);
        let (state, documents) = &self.before;
        let before = Before { state, documents };
        let after = plan_after(before, &self.state, &self.observed, self.now_ms);
        assert_eq!(
            after.documents, plan.documents,
            "what is not touched is as it was"
        );
        assert!(after == plan, "{}", self.told());
        self.before = (plan.state.clone(), plan.documents.clone());
        self.state = through_the_store(&plan.state);
        self.wake_at_ms = plan.wake_at_ms;
        self.story
            .extend(plan.steps.iter().map(|step| format!("  {step}")));
        self.story
            .extend(plan.events.iter().map(|event| format!("! {event}")));
        plan
    }

    /// Publishes every document whose generation the broker does not hold.
    pub(super) fn publish(&mut self, plan: &Plan) {
        for (name, document) in &plan.documents {
            if let Some(target) = self.boxes.get_mut(name) {
                if let Some(known) = &target.retained {
                    assert!(known.generation <= document.generation, "{name} went back");
                    if known.generation == document.generation {
                        assert_eq!(*known, **document, "{name} changed under one generation");
                    }
                }
                target.retained = Some(document.clone().into_inner());
            }
        }
    }

    /// One box takes up what it was sent and reports. False when it had nothing new to say.
    pub(super) fn work(&mut self, name: &NodeName) -> bool {
        let now_ms = self.now_ms;
        let Some(target) = self.boxes.get_mut(name).filter(|target| target.up) else {
            return false;
        };
        if let Some(document) = &target.retained {
            target.tables = document.forwarder.clone();
            target.spec_generation = document.generation;
            let wanted = document.containers.iter().map(|c| c.name.clone());
            target.running = wanted.filter(|name| !target.sick.contains(name)).collect();
            let named = |name: &String| document.containers.iter().any(|c| c.name == *name);
            target.images.retain(|name, _| named(name));
            for container in &document.containers {
                let bad = target.bad_images.contains(&container.image);
                if !bad || !target.images.contains_key(&container.name) {
                    let (name, image) = (container.name.clone(), container.image.clone());
                    target.images.insert(name, image);
                }
            }
        }
        let document = target.retained.clone().unwrap_or_default();
        let state = NodeState {
            spec_generation: target.spec_generation,
            forwarder_generation: target.tables.generation,
            containers: document
                .containers
                .iter()
                .map(|container| ContainerState {
                    name: container.name.clone(),
                    id: format!("id of {}", container.name),
                    image: target.images[&container.name].clone(),
                    phase: if target.running.contains(&container.name) {
                        ContainerPhase::Running
                    } else {
                        ContainerPhase::Exited
                    },
                    exit_code: Some(137),
                    restarts: 0,
                    started_at: None,
                    error: None,
                    health: if target.unchecked.contains(&container.name) {
                        None
                    } else if target.unready.contains(&container.name) {
                        Some(Health::Starting)
                    } else if target.bad_images.contains(&target.images[&container.name]) {
                        Some(Health::Unhealthy)
                    } else {
                        Some(Health::Healthy)
                    },
                    digest: None,
                    former: target.images[&container.name] != container.image,
                    rolled_back: (target.images[&container.name] != container.image)
                        .then(|| "it is unhealthy".to_owned()),
                    on_trial: target.on_trial.contains(&container.name),
                })
                .collect(),
            ports: target
                .tables
                .ports
                .iter()
                .map(|port| PortStatus {
                    name: port.name.clone(),
                    interface: port.name.clone(),
                    backend: Backend::Packet.into(),
                    state: if target.unplugged.contains(port.name.as_str()) {
                        PortState::NoCarrier.into()
                    } else {
                        PortState::Up.into()
                    },
                    mtu: 1500,
                    reason: String::new(),
                })
                .collect(),
            underlay: None,
            tunnels: target
                .round_trips
                .iter()
                .map(|told| (told.tunnel.clone(), HealthState::Alive))
                .collect(),
            functions: target
                .tables
                .functions
                .iter()
                .filter_map(|f| {
                    let runs = target.running.contains(instance(f.name.as_str()));
                    let usual = runs.then_some(HealthState::Alive);
                    let answer = target.answers.get(f.name.as_str()).copied();
                    Some((f.name.clone(), answer.or(usual)?))
                })
                .collect(),
            errors: Vec::new(),
        };
        let stamp = Stamp {
            boot: BootId("boot".into()),
            mono_ms: now_ms,
            wall_ms: now_ms,
        };
        let load = LoadReport {
            at: stamp,
            machine: BoxLoad {
                networks: target
                    .sent
                    .iter()
                    .map(|(name, sent)| NetworkLoad {
                        name: name.clone(),
                        tx_bytes: *sent,
                        ..NetworkLoad::default()
                    })
                    .collect(),
                ..BoxLoad::default()
            },
            containers: target
                .loads
                .iter()
                .map(|(name, load)| ContainerLoad {
                    name: name.clone(),
                    cpu_percent: *load,
                    ..ContainerLoad::default()
                })
                .collect(),
            paths: target.paths.clone(),
            drops: BTreeMap::new(),
            round_trips: target.round_trips.clone(),
            draining: {
                let segments = target.tables.segments.iter();
                let virtuals = segments.flat_map(|segment| &segment.virtuals);
                let members = virtuals.flat_map(|known| &known.members);
                let draining = members.filter(|member| member.draining);
                let told = draining.map(|member| DrainingLoad {
                    mac: member.mac,
                    flows: target.flows,
                });
                told.collect()
            },
        };
        let before = self.observed.nodes.get(name).and_then(|n| n.state.clone());
        let news = before.is_none_or(|before| before.report != state);
        self.observed.state(name, state, false, now_ms);
        self.observed.load(name, load, now_ms);
        news
    }

    /// Everything in turn until nothing happens any more, drains included.
    pub(super) fn settle(&mut self) {
        for round in 0..200 {
            let plan = self.think();
            self.publish(&plan);
            let names: Vec<_> = self.boxes.keys().cloned().collect();
            // Whoever asks for another plan at once gets it.
            let mut news = plan.wake_at_ms.is_some_and(|at| at <= self.now_ms);
            for name in &names {
                news |= self.work(name);
            }
            self.check();
            let draining = |phase: &Phase| !matches!(phase, Phase::Active);
            let moving = self.state.chains.values().flat_map(|c| &c.paths);
            let moving = moving.into_iter().any(|path| draining(&path.phase));
            if plan.steps.is_empty() && !news {
                if !moving {
                    return;
                }
                // Only time can move this on.
                self.now_ms += 1_000;
            }
            assert!(round < 199, "never settles: {:#?}", self.story);
        }
    }

    /// Lets time pass in steps, with everybody at work.
    pub(super) fn pass(&mut self, milliseconds: u64) {
        let until = self.now_ms + milliseconds;
        while self.now_ms < until {
            self.now_ms = (self.now_ms + 500).min(until);
            self.settle();
        }
    }

    pub(super) fn kill_container(&mut self, on: &str, container: &str) {
        let target = self.boxes.get_mut(&node(on)).unwrap();
        target.sick.insert(container.to_owned());
        self.work(&node(on));
    }

    pub(super) fn heal_container(&mut self, on: &str, container: &str) {
        self.boxes
            .get_mut(&node(on))
            .unwrap()
            .sick
            .remove(container);
        self.work(&node(on));
    }

    /// A function answers its forwarder, or does not.
    pub(super) fn answer(&mut self, on: &str, function: &str, health: HealthState) {
        let target = self.boxes.get_mut(&node(on)).unwrap();
        target.answers.insert(function.to_owned(), health);
        self.work(&node(on));
    }

    pub(super) fn plug(&mut self, on: &str, interface: &str, carrier: bool) {
        let target = self.boxes.get_mut(&node(on)).unwrap();
        if carrier {
            target.unplugged.remove(interface);
        } else {
            target.unplugged.insert(interface.to_owned());
        }
        self.work(&node(on));
    }

    pub(super) fn cut(&mut self, name: &str) {
        self.boxes.get_mut(&node(name)).unwrap().up = false;
    }

    pub(super) fn mend(&mut self, name: &str) {
        self.boxes.get_mut(&node(name)).unwrap().up = true;
        self.presence(&node(name), Presence::Online);
        self.work(&node(name));
    }

    pub(super) fn load(&mut self, on: &str, container: &str, load: f32) {
        let target = self.boxes.get_mut(&node(on)).unwrap();
        target.loads.insert(container.to_owned(), load);
    }

    /// The instances that carry a chain.
    pub(super) fn path(&self, chain: &str) -> Vec<String> {
        let chain = &self.state.chains[&Name::new(chain).unwrap()];
        let carrying = chain
            .carrying()
            .into_iter()
            .flat_map(|path| &path.instances);
        carrying.map(|instance| instance.name.clone()).collect()
    }

    pub(super) fn status(&self, chain: &str) -> String {
        let status = &self.state.chains[&Name::new(chain).unwrap()].status;
        match status.reason() {
            Some(reason) => format!("{}: {reason}", status.word()),
            None => status.word().to_owned(),
        }
    }

    pub(super) fn told(&self) -> String {
        self.story.join("\n")
    }

    /// What must hold of the boxes' tables at every moment: a frame that a live classifier sends
    /// down a path finds its way to the end through live boxes, each function met in order.
    /// Boxes or functions that died are the one excuse.
    pub(super) fn check(&self) {
        let chains = self.state.chains.values();
        let paths = chains.flat_map(|chain| &chain.paths);
        for set in paths.flat_map(|path| &path.instances) {
            let boxes: BTreeSet<_> = set.members().map(|one| &one.node).collect();
            assert_eq!(boxes.len(), set.members().count(), "each has its own box");
        }
        for (name, entry) in self.boxes.iter().filter(|(_, b)| b.up) {
            whole(&entry.tables);
            for rule in &entry.tables.rules {
                match rule.action {
                    Action::Path { spi, .. } if self.is_dead(spi) => {}
                    Action::Path { spi, si, .. } => self.follow(name, spi, si.get()),
                    Action::Drop => {
                        let chain = rule.name.split('/').next().unwrap();
                        let status = self.status(chain);
                        assert!(status != "Ready", "{rule:?}: {}", self.told());
                    }
                    _ => panic!("{rule:?}"),
                }
            }
        }
    }

    fn is_dead(&self, spi: Spi) -> bool {
        let paths = self.state.chains.values().flat_map(|chain| &chain.paths);
        let mut own = paths.filter(|path| path.forward == spi || path.reverse == Some(spi));
        own.any(|path| path.dead)
    }

    /// Whichever member a flow takes, it finds its way: a tunnel leads to where the member is, as
    /// what arrives there is for it.
    fn follow_each(&self, here: &NodeName, spi: Spi, si: u8, group: &Group) {
        let Group { name, members, .. } = group;
        let functions = |at: &NodeName| -> Vec<String> {
            let functions = self.boxes[at].tables.functions.iter();
            functions.map(|f| f.name.to_string()).collect()
        };
        let mut keys = BTreeSet::new();
        for member in members {
            assert!(keys.insert(member.key().to_owned()), "{members:?}");
            let there = match &member.to {
                MemberTarget::Function { .. } => here.clone(),
                MemberTarget::Tunnel { name } => node(name.as_str()),
            };
            if !self.boxes[&there].up {
                continue;
            }
            let tunnels = |at: &NodeName, to: &NodeName| {
                let mut tunnels = self.boxes[at].tables.tunnels.iter();
                tunnels.any(|tunnel| tunnel.name.as_str() == to.as_str())
            };
            assert!(
                there == *here || tunnels(here, &there) && tunnels(&there, here),
                "no tunnel between {here} and {there}"
            );
            let entry = |name: &String| name.split('.').next() == Some(member.key());
            let known = functions(&there).iter().any(entry);
            let group = |at: &NodeName| {
                let mut groups = self.boxes[at].tables.groups.iter();
                groups.find(|one| one.name == *name)
            };
            // Whoever returns without its member hands on to the others.
            let handed = group(&there).is_some_and(|group| !group.members.is_empty());
            assert!(known || handed, "{there} does not know {}", member.key());
            self.follow(&there, spi, si - 1);
        }
    }

    fn follow(&self, from: &NodeName, spi: Spi, mut si: u8) {
        let mut here = from.clone();
        for _ in 0..64 {
            let tables = &self.boxes[&here].tables;
            let part = tables.paths.iter().find(|path| path.spi == spi);
            let hop = part.and_then(|p| p.hops.iter().find(|hop| hop.si.get() == si));
            let Some(hop) = hop else {
                panic!(
                    "{here} has no hop for ({spi}, {si}) that {from} sends:\n{}",
                    self.told()
                );
            };
            match &hop.to {
                NextHop::Function { name, .. } => {
                    let known = tables.functions.iter().any(|f| f.name == *name);
                    assert!(known, "{here} does not know {name}");
                    si -= 1;
                }
                NextHop::Tunnel { name } => {
                    assert!(tables.tunnels.iter().any(|t| t.name == *name));
                    here = node(name.as_str());
                    if !self.boxes[&here].up {
                        return;
                    }
                }
                NextHop::Egress { port } => {
                    assert!(tables.ports.iter().any(|p| p.name == *port));
                    return;
                }
                NextHop::Segment { .. } => panic!("chains do not end in segments"),
                NextHop::Group { name, .. } => {
                    let group = tables.groups.iter().find(|group| group.name == *name);
                    self.follow_each(&here, spi, si, group.unwrap());
                    return;
                }
            }
        }
        panic!("({spi}, {si}) goes round for ever");
    }
}

/// Every state goes through JSON, as it does in the store.
fn through_the_store(state: &State) -> State {
    let text = serde_json::to_string(state).unwrap();
    let back: State = serde_json::from_str(&text).unwrap();
    assert_eq!(back, *state);
    back
}

/// Tables that name what they do not define would be refused.
fn whole(tables: &Tables) {
    let function = |name: &SfName| assert!(tables.functions.iter().any(|f| f.name == *name));
    let tunnel = |name: &TunnelName| assert!(tables.tunnels.iter().any(|t| t.name == *name));
    for member in tables.groups.iter().flat_map(|group| &group.members) {
        match &member.to {
            MemberTarget::Function { name } => function(name),
            MemberTarget::Tunnel { name } => tunnel(name),
        }
    }
    for hop in tables.paths.iter().flat_map(|path| &path.hops) {
        match &hop.to {
            NextHop::Function { name, .. } => function(name),
            NextHop::Tunnel { name } => tunnel(name),
            NextHop::Egress { port } => assert!(tables.ports.iter().any(|p| p.name == *port)),
            NextHop::Group { name, .. } => assert!(tables.groups.iter().any(|g| g.name == *name)),
            NextHop::Segment { .. } => panic!("chains do not end in segments"),
        }
    }
}
