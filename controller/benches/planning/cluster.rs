//! A cluster in memory, whose boxes do at once what their documents say.

use kc_agent_api::{
    BootId, BoxLoad, Capacity, ContainerLoad, ContainerPhase, ContainerState, LoadReport, NodeName,
    NodeState, NodeStatus, Presence, Stamp,
};
use kc_controller::manifest::{Context, Source, load};
use kc_controller::observation::Observations;
use kc_controller::plan::{Before, Phase, Plan, State, plan_after};
use kc_controller::resource::{Algorithm, Name, Resource};
use kc_controller::topology::{Mesh, ServiceFunction, Sff, Topology};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

const FUNCTION: &str = "\
apiVersion: kcluster/v1
kind: ServiceFunction
metadata: {name: function}
spec:
  image: registry.example.org/functions/firewall:1.4.2
  args: [--inside, inside, --outside, outside]
  env: {LOG: info, MODE: inline}
  resources: {cpu: 100m, memory: 32Mi}
  alarms: [{name: hot, when: cpu > 90% for 60s}]
";

const CHAIN: &str = "\
apiVersion: kcluster/v1
kind: Chain
metadata: {name: chain}
spec:
  functions: [function]
  scheduler: {algorithm: load-path-aware, lTh: 4}
  from: {node: box, interface: client0}
  to: {node: box, interface: server0}
";

/// Functions of a chain.
const LENGTH: usize = 5;

/// How many of what.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) boxes: usize,
    pub(crate) instances: usize,
    pub(crate) chains: usize,
}

impl std::str::FromStr for Size {
    type Err = std::num::ParseIntError;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut parts = text.split(':').map(str::parse);
        let mut next = || parts.next().unwrap_or(Ok(1));
        Ok(Self {
            boxes: next()?,
            instances: next()?,
            chains: next()?,
        })
    }
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}, {}, {}", self.boxes, self.instances, self.chains)
    }
}

pub(crate) struct Cluster {
    pub(crate) state: State,
    pub(crate) observed: Observations,
    pub(crate) now_ms: u64,
    pub(crate) last: Plan,
    /// How long the plan took that chose a path for every chain.
    pub(crate) first_paths: Duration,
    random: fastrand::Rng,
}

fn node(number: usize) -> NodeName {
    NodeName::new(format!("box{number:05}")).unwrap()
}

fn resource(text: &str) -> Resource {
    let (resources, nodes) = (BTreeMap::new(), BTreeSet::new());
    let context = Context {
        resources: &resources,
        nodes: &nodes,
    };
    // What it names is put in afterwards.
    let name = "cluster";
    match load(&[Source { name, text }], context) {
        Ok(loaded) => loaded.resources.into_iter().next().unwrap(),
        Err(errors) => panic!("{errors:?}"),
    }
}

impl Cluster {
    /// Applies everything and plans until every chain is carried.
    pub(crate) fn build(size: Size) -> Self {
        let mut random = fastrand::Rng::with_seed(5);
        let mut observed = Observations::default();
        let now_ms = 1_000_000;
        observed.link_up(now_ms);
        for number in 0..size.boxes {
            observed.status(status(number), now_ms);
        }
        let mut state = State::default();
        // As many types as keep their instances at a thousand, and five at least.
        let types = (size.instances / 1000).max(LENGTH).min(size.instances);
        let mut resources = Vec::new();
        let Resource::ServiceFunction(function) = resource(FUNCTION) else {
            unreachable!()
        };
        for number in 0..types {
            let mut function = function.clone();
            function.metadata.name = Name::new(format!("function{number}")).unwrap();
            let replicas = size.instances / types + usize::from(number < size.instances % types);
            function.spec.replicas = u32::try_from(replicas).unwrap();
            resources.push(Resource::ServiceFunction(function));
        }
        let with_function = format!("{FUNCTION}---\n{CHAIN}");
        let chain = chain(&with_function);
        for number in 0..size.chains {
            let mut chain = chain.clone();
            chain.metadata.name = Name::new(format!("chain{number:05}")).unwrap();
            let spec = &mut chain.spec;
            let mut all: Vec<_> = (0..types).collect();
            random.shuffle(&mut all);
            let functions = all.iter().take(LENGTH);
            spec.functions = functions
                .map(|number| Name::new(format!("function{number}")).unwrap())
                .collect();
            spec.from.node = node(random.usize(..size.boxes));
            spec.to.node = node(random.usize(..size.boxes));
            // Ends of their own, as classifiers want it.
            spec.from.interface = format!("c{number}").parse().unwrap();
            spec.to.interface = format!("s{number}").parse().unwrap();
            // Half of them go where there is least load, all to the same few; the others everywhere.
            if number % 2 == 1 {
                spec.scheduler.algorithm = Algorithm::Random;
                spec.scheduler.l_th = None;
                spec.scheduler.seed = Some(number as u64);
            }
            resources.push(Resource::Chain(chain));
        }
        state.apply(resources);
        let mut cluster = Self {
            state,
            observed,
            now_ms,
            last: Plan::default(),
            first_paths: Duration::ZERO,
            random,
        };
        cluster.settle();
        cluster
    }

    fn settle(&mut self) {
        for _ in 0..20 {
            let (time, plan) = self.plan();
            let quiet = plan.steps.is_empty();
            let chosen = |plan: &Plan| plan.state.chains.values().any(|c| !c.paths.is_empty());
            if self.first_paths.is_zero() && chosen(&plan) {
                self.first_paths = time;
            }
            self.state = plan.state.clone();
            self.last = plan;
            self.work();
            self.tell_loads();
            let waiting = |phase: &Phase| !matches!(phase, Phase::Active);
            let mut paths = self.state.chains.values().flat_map(|c| &c.paths);
            let carried = !paths.any(|path| waiting(&path.phase)) && !self.first_paths.is_zero();
            if quiet && carried {
                return;
            }
            self.now_ms += 100;
        }
        panic!("the cluster never settles");
    }

    fn before(&self) -> Before<'_> {
        Before {
            state: &self.last.state,
            documents: &self.last.documents,
        }
    }

    /// One plan with what is known.
    pub(crate) fn plan(&mut self) -> (Duration, Plan) {
        let (observed, now_ms) = (&self.observed, self.now_ms);
        let start = Instant::now();
        let plan = plan_after(self.before(), &self.state, observed, now_ms);
        (start.elapsed(), plan)
    }

    /// Every box that has a new document does what it says.
    fn work(&mut self) {
        for (name, document) in &self.last.documents {
            if self.observed.taken_up(name) == document.generation {
                continue;
            }
            let containers = document.containers.iter().map(|container| ContainerState {
                name: container.name.clone(),
                id: format!("{:016x}", self.random.u64(..)),
                image: container.image.clone(),
                phase: ContainerPhase::Running,
                exit_code: None,
                restarts: 0,
                started_at: Some("2026-01-01T00:00:00Z".to_owned()),
                error: None,
                health: None,
                digest: None,
                former: false,
                rolled_back: None,
                on_trial: false,
            });
            let state = NodeState {
                spec_generation: document.generation,
                forwarder_generation: document.generation,
                containers: containers.collect(),
                ports: Vec::new(),
                underlay: None,
                tunnels: Default::default(),
                functions: Default::default(),
                errors: Vec::new(),
            };
            self.observed.state(name, state, false, self.now_ms);
        }
    }

    /// Every box tells how loaded it is.
    pub(crate) fn tell_loads(&mut self) {
        for (name, document) in &self.last.documents {
            let containers = document.containers.iter().map(|container| ContainerLoad {
                name: container.name.clone(),
                cpu_percent: 80.0 * self.random.f32(),
                ..ContainerLoad::default()
            });
            let load = LoadReport {
                at: Stamp {
                    boot: BootId("boot".into()),
                    mono_ms: self.now_ms,
                    wall_ms: self.now_ms,
                },
                machine: BoxLoad::default(),
                containers: containers.collect(),
                paths: Vec::new(),
                drops: BTreeMap::new(),
                draining: Vec::new(),
                round_trips: Vec::new(),
            };
            self.observed.load(name, load, self.now_ms);
        }
    }

    /// How many paths pass each box.
    fn passed(&self) -> Vec<(usize, NodeName)> {
        let mut passed: BTreeMap<&NodeName, usize> = BTreeMap::new();
        for path in self.state.chains.values().flat_map(|c| &c.paths) {
            // A chain that ends on a box dies with it.
            let ends = [&path.spec.from.node, &path.spec.to.node];
            for on_path in path.instances.iter().filter(|i| !ends.contains(&&i.node)) {
                *passed.entry(&on_path.node).or_default() += 1;
            }
        }
        let mut passed: Vec<_> = passed
            .into_iter()
            .map(|(node, count)| (count, node.clone()))
            .collect();
        passed.sort();
        passed
    }

    pub(crate) fn busiest_box(&self) -> NodeName {
        self.passed().pop().unwrap().1
    }

    pub(crate) fn middling_box(&self) -> NodeName {
        let passed = self.passed();
        passed[passed.len() / 2].1.clone()
    }

    /// A box says offline and does not come back: the plan that moves everybody off it, measured
    /// several times; how many chains it moved, and how many documents it changed.
    pub(crate) fn death(&mut self, name: &NodeName, times: usize) -> (Duration, usize, usize) {
        let mut observed = self.observed.clone();
        let number: usize = name.as_str()[3..].parse().unwrap();
        let status = NodeStatus {
            presence: Presence::Offline,
            ..status(number)
        };
        observed.status(status, self.now_ms);
        let now_ms = self.now_ms + self.state.settings.offline_grace_ms;
        let mut taken = Vec::new();
        let mut what = (0, 0);
        for _ in 0..times {
            let start = Instant::now();
            let plan = plan_after(self.before(), &self.state, &observed, now_ms);
            taken.push(start.elapsed());
            let count = |step: &str| {
                let steps = plan.steps.iter().map(ToString::to_string);
                steps.filter(|told| told.starts_with(step)).count()
            };
            what = (count("install"), count("publish"));
        }
        taken.sort_unstable();
        (taken[times / 2], what.0, what.1)
    }

    /// The topology as the planner has it: a mesh.
    pub(crate) fn topology(&self) -> Topology {
        let mesh = Some(Mesh {
            class: 4,
            spoken: false,
        });
        let sffs = self.state.nodes.keys().map(|name| Sff {
            name: name.as_str(),
            mesh,
        });
        let functions = self.state.instances.iter().map(|(name, instance)| {
            let node = instance.node.as_ref().unwrap();
            let seen = &self.observed.nodes[node];
            let load = seen.container_load(name, 10_000, self.now_ms);
            ServiceFunction {
                name: name.as_str().into(),
                function: self.state.function_type(&instance.owner).unwrap().clone(),
                sff: node.clone().into(),
                load: load.map(|(percent, _)| percent),
                stale: false,
                barred: None,
            }
        });
        Topology::new(sffs, [], functions)
    }
}

fn chain(text: &str) -> kc_controller::resource::Object<kc_controller::resource::ChainSpec> {
    let (resources, nodes) = (BTreeMap::new(), BTreeSet::new());
    let context = Context {
        resources: &resources,
        nodes: &nodes,
    };
    let name = "cluster";
    let loaded = match load(&[Source { name, text }], context) {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{errors:?}"),
    };
    let chain = loaded
        .resources
        .into_iter()
        .find_map(|resource| match resource {
            Resource::Chain(object) => Some(object),
            _ => None,
        });
    chain.unwrap()
}

fn status(number: usize) -> NodeStatus {
    let [_, a, b, c] = u32::try_from(number + 1).unwrap().to_be_bytes();
    NodeStatus {
        node: node(number),
        presence: Presence::Online,
        version: "0.1.0".into(),
        arch: "aarch64".into(),
        boot: BootId("boot".into()),
        session: 1,
        labels: BTreeMap::from([("zone".into(), format!("zone{}", number % 10))]),
        capacity: Capacity {
            cpu_millis: 4000,
            memory_bytes: 8 << 30,
            disk_bytes: 32 << 30,
        },
        vtep: Some([10, a, b, c].into()),
        underlay_mtu: 1500,
        engine: Some("20.10".into()),
        update: None,
        seal_key: None,
    }
}
