//! A box that is only data: steps are carried out on it, and accidents happen to it.

use super::plan::HOST_LEG_ALIAS;
use super::*;
use kc_agent_api::{ContainerSpec, Leg, Network, NodeSpec, PullPolicy, Restart, Role};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// Image of pause containers in the model.
pub(crate) const PAUSE: &str = "pause:1";

/// The box and what the agent remembers about it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Model {
    pub(crate) seen: Observed,
    pub(crate) memory: Memory,
    pub(crate) spec: NodeSpec,
    pub(crate) now_ms: u64,
    /// Images that never get healthy.
    pub(crate) sick: std::collections::BTreeSet<String>,
    /// Actions carried out, newest last.
    pub(crate) log: Vec<Action>,
    serial: u64,
}

pub(crate) fn leg(interface: &str, port: &str) -> Leg {
    serde_json::from_value(serde_json::json!({
        "interface": interface, "port": port, "mac": "02:00:00:00:00:01",
        "addresses": ["10.0.0.1/24"], "gateway": "10.0.0.254",
    }))
    .unwrap()
}

pub(crate) fn container(name: &str, network: Network) -> ContainerSpec {
    ContainerSpec {
        name: name.into(),
        role: Role::Service {
            service: name.into(),
        },
        image: "app:1".into(),
        pull: PullPolicy::IfNotPresent,
        entrypoint: vec![],
        args: vec![],
        env: BTreeMap::new(),
        mounts: vec![],
        files: vec![],
        limits: Default::default(),
        restart: Restart::Always,
        capabilities: vec![],
        network,
        health: None,
        update: Default::default(),
        stop_timeout_s: None,
        working_dir: None,
        user: None,
        group_add: vec![],
        hostname: None,
        read_only_root: false,
        tmpfs: vec![],
        volumes: vec![],
        devices: vec![],
        labels: BTreeMap::new(),
        sysctls: BTreeMap::new(),
        secrets: vec![],
        pull_secret: None,
        depends_on: vec![],
        cluster: None,
    }
}

impl Model {
    pub(crate) fn new(containers: Vec<ContainerSpec>) -> Self {
        let mut model = Self::default();
        model.seen.engine = true;
        model.want(containers);
        model
    }

    /// Takes up a new document.
    pub(crate) fn want(&mut self, containers: Vec<ContainerSpec>) {
        self.spec.generation += 1;
        self.spec.containers = containers;
        self.memory.accepted_ms = self.now_ms;
        self.memory.tables = TablesProgress::Due;
        validate(&self.spec).unwrap();
    }

    pub(crate) fn world(&self) -> World<'_> {
        World {
            spec: &self.spec,
            seen: &self.seen,
            memory: &self.memory,
            pause_image: PAUSE,
            now_ms: self.now_ms,
        }
    }

    pub(crate) fn plan(&self) -> Plan {
        reconcile(&self.world())
    }

    /// Plans and carries out until nothing is left; returns what was done.
    pub(crate) fn settle(&mut self) -> Vec<Action> {
        let from = self.log.len();
        for _ in 0..200 {
            let plan = self.plan();
            if plan.apply_tables {
                self.memory.tables = TablesProgress::Applied;
            } else if plan.actions.is_empty() {
                match plan.wake_at_ms {
                    Some(at) => self.now_ms = at,
                    None => return self.log[from..].to_vec(),
                }
            }
            for action in plan.actions {
                self.carry_out(action);
            }
        }
        panic!("no end: {:#?}", self.log);
    }

    /// Carries out what was planned.
    pub(crate) fn act(&mut self, plan: &Plan) {
        if plan.apply_tables {
            self.memory.tables = TablesProgress::Applied;
        }
        for action in plan.actions.clone() {
            self.carry_out(action);
        }
    }

    fn next(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn carry_out(&mut self, action: Action) {
        self.log.push(action.clone());
        match action {
            Action::Image {
                name, part, hash, ..
            } => {
                self.memory.images.insert((name, part, hash));
            }
            Action::Collect { images } => {
                for image in images {
                    self.memory.pulled.forget(&image);
                }
            }
            Action::Create { name, part, join } => self.create(&name, part, join),
            Action::Start {
                id, again, name, ..
            } => {
                if again {
                    let lane = Lane::Restart(name);
                    self.memory.backoffs.restarted(lane, self.now_ms, 1.0);
                }
                self.run(&id);
            }
            Action::Stop { id, .. } => self.end(&id, Phase::Exited),
            Action::Restart { id, name } => {
                let lane = Lane::Unhealthy(name);
                self.memory.backoffs.failed(lane, self.now_ms, 1.0);
                self.end(&id, Phase::Exited);
                self.run(&id);
            }
            Action::Probe { name, id, pid, .. } => {
                let sick = self
                    .sick
                    .contains(&self.seen.find(&name, Part::Main).unwrap().image);
                let outcome = if sick {
                    Err("refused".to_owned())
                } else {
                    Ok(())
                };
                let vitals = &mut self.memory.vitals;
                vitals.tried(&name, (&id, pid), outcome, self.now_ms);
            }
            Action::Remove { id, .. } => {
                self.end(&id, Phase::Exited);
                self.seen.containers.retain(|seen| seen.id != id);
            }
            Action::Wire { pid, legs, name } => {
                let pause = self.seen.find(&name, Part::Pause).unwrap().clone();
                assert_eq!(pause.pid, Some(pid));
                for leg in legs {
                    self.cut(leg.port.as_str());
                    let [inner, outer] = self.pair(&leg, None);
                    let links = self.seen.inner.entry(pause.id.clone()).or_default();
                    links.insert(leg.interface.to_string(), inner);
                    let lo = links.entry(LOOPBACK.to_owned()).or_default();
                    let shared = leg
                        .virtual_addresses
                        .iter()
                        .map(|it| ipnet::IpNet::from(IpAddr::V4(*it)));
                    lo.addresses.extend(shared);
                    self.seen.host.insert(leg.port.to_string(), outer);
                }
            }
            Action::WireHost { leg } => {
                let [inner, outer] = self.pair(&leg, Some(HOST_LEG_ALIAS));
                self.seen.host.insert(leg.interface.to_string(), inner);
                self.seen.host.insert(leg.port.to_string(), outer);
            }
            Action::UnwireHost { port } => self.cut(&port),
        }
    }

    fn pair(&mut self, leg: &Leg, alias: Option<&str>) -> [SeenLink; 2] {
        let index = u32::try_from(self.next() * 2).unwrap();
        let inner = SeenLink {
            index,
            peer: Some(index + 1),
            mac: Some(leg.mac),
            mtu: leg.mtu.into(),
            up: true,
            alias: None,
            addresses: leg.addresses.clone(),
            gateway: leg.gateway,
        };
        let outer = SeenLink {
            index: index + 1,
            peer: Some(index),
            mac: None,
            alias: alias.map(str::to_owned),
            addresses: vec![],
            gateway: None,
            ..inner.clone()
        };
        [inner, outer]
    }

    /// Deletes a veth pair by its outer end.
    pub(crate) fn cut(&mut self, port: &str) {
        let Some(outer) = self.seen.host.remove(port) else {
            return;
        };
        let other = |link: &SeenLink| link.peer == Some(outer.index);
        self.seen.host.retain(|_, link| !other(link));
        for links in self.seen.inner.values_mut() {
            links.retain(|_, link| !other(link));
        }
    }

    fn create(&mut self, name: &str, part: Part, join: Option<String>) {
        let want = self
            .spec
            .containers
            .iter()
            .find(|want| want.name == name)
            .unwrap()
            .clone();
        assert!(self.seen.find(name, part).is_none(), "the name is taken");
        let hash = match part {
            Part::Pause => pause_hash(&want),
            Part::Main => container_hash(&want),
        };
        let mark = (name.to_owned(), part, hash.clone());
        assert!(
            self.memory.images.remove(&mark),
            "created without its image"
        );
        let id = format!("id{}", self.next());
        self.seen.containers.push(Seen {
            id: id.clone(),
            name: name.to_owned(),
            part,
            hash,
            image: want.image.clone(),
            phase: Phase::Created,
            exit_code: None,
            error: None,
            restarts: 0,
            started_at: None,
            pid: None,
            netns: None,
            joined: join,
            health: None,
            image_id: Some(format!("image of {}", want.image)),
        });
        self.run(&id);
    }

    /// Starts a container: a pause gets a new namespace, a main joins its pause's.
    pub(crate) fn run(&mut self, id: &str) {
        let pid = u32::try_from(self.next()).unwrap();
        let seen = self
            .seen
            .containers
            .iter()
            .find(|seen| seen.id == id)
            .unwrap()
            .clone();
        let netns = match &seen.joined {
            Some(pause) => {
                let pause = self.seen.containers.iter().find(|seen| &seen.id == pause);
                pause
                    .and_then(|pause| pause.netns)
                    .expect("joined a running pause")
            }
            None => u64::from(pid),
        };
        if seen.part == Part::Pause {
            self.seen.inner.insert(id.to_owned(), BTreeMap::new());
        }
        let seen = self
            .seen
            .containers
            .iter_mut()
            .find(|seen| seen.id == id)
            .unwrap();
        (seen.phase, seen.pid, seen.netns) = (Phase::Running, Some(pid), Some(netns));
    }

    /// Ends a container; its namespace goes with its last process.
    pub(crate) fn end(&mut self, id: &str, phase: Phase) {
        let Some(seen) = self.seen.containers.iter_mut().find(|seen| seen.id == id) else {
            return;
        };
        (seen.phase, seen.pid, seen.exit_code) = (phase, None, Some(137));
        let (netns, part) = (seen.netns.take(), seen.part);
        let kept = self.seen.containers.iter().any(|seen| seen.netns == netns);
        let inner = if part == Part::Pause {
            self.seen.inner.remove(id)
        } else {
            None
        };
        if kept {
            return;
        }
        for link in inner.into_iter().flatten().map(|(_, link)| link) {
            self.seen
                .host
                .retain(|_, outer| outer.peer != Some(link.index));
        }
        // A stray main held a namespace its pause had left: those outer ends have no inner any more.
        let inside: Vec<u32> = self
            .seen
            .inner
            .values()
            .flatten()
            .map(|(_, link)| link.index)
            .collect();
        let boxed: Vec<u32> = self.seen.host.values().map(|link| link.index).collect();
        self.seen.host.retain(|_, outer| {
            outer
                .peer
                .is_none_or(|peer| inside.contains(&peer) || boxed.contains(&peer))
        });
    }

    pub(crate) fn id(&self, name: &str, part: Part) -> String {
        self.seen.find(name, part).unwrap().id.clone()
    }

    /// Panics unless the box is what the document says.
    pub(crate) fn assert_matches(&self) {
        assert_eq!(self.differs(), None);
    }

    /// The first entry that is not what the document says.
    pub(crate) fn differs(&self) -> Option<String> {
        let wrong = |want: &&ContainerSpec| self.entry_matches(want) != Some(true);
        if let Some(want) = self.spec.containers.iter().find(wrong) {
            return Some(want.name.clone());
        }
        let count = |want: &ContainerSpec| if want.network == Network::Host { 1 } else { 2 };
        let wanted: usize = self.spec.containers.iter().map(count).sum();
        (self.seen.containers.len() != wanted).then(|| "one too many".to_owned())
    }

    fn entry_matches(&self, want: &ContainerSpec) -> Option<bool> {
        let main = self.seen.find(&want.name, Part::Main)?;
        let mut right = main.phase == Phase::Running && main.hash == container_hash(want);
        if let Network::Legs(legs) = &want.network {
            let pause = self.seen.find(&want.name, Part::Pause)?;
            right &= pause.phase == Phase::Running && pause.netns == main.netns;
            for leg in legs {
                let inner = self.seen.inner.get(&pause.id);
                right &= leg_state(leg, inner, &self.seen.host) == LegState::Wired;
            }
        }
        Some(right)
    }
}
