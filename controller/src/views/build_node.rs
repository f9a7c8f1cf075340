//! Boxes and what runs on them, out of a snapshot.

use super::{
    EndpointView, FunctionView, InstanceView, NodeCondition, NodeView, PacketIoView, ServiceView,
};
use crate::execute::Snapshot;
use crate::observation::NodeObservation;
use crate::plan::{Instance, InstanceHealth, ailment, hardware_load, maintenance};
use crate::resource::{Kind, LegSharing, Resource, ResourceId, ServiceNetwork, Wiring, rfc3339};
use kc_agent_api::{
    BoxLoad, ContainerPhase, ContainerState, Health, NodeName, NodeState, Presence,
};
use kc_forwarder_api::{HealthState, PortState};
use std::collections::BTreeSet;

fn is_dead(health: &HealthState) -> bool {
    *health == HealthState::Dead
}

fn packet_io(state: &NodeState) -> Vec<PacketIoView> {
    let underlay = state.underlay.iter().map(|underlay| PacketIoView {
        name: "underlay".to_owned(),
        backend: underlay.backend.to_string(),
        reason: underlay.reason.clone(),
    });
    let ports = state.ports.iter().map(|port| PacketIoView {
        name: port.name.to_string(),
        backend: if port.state != PortState::Absent {
            port.backend.to_string()
        } else {
            port.state.to_string()
        },
        reason: port.reason.clone(),
    });
    underlay.chain(ports).collect()
}

fn speeds(machine: &BoxLoad) -> Vec<String> {
    let told = machine.networks.iter();
    told.filter_map(|network| Some(format!("{}: {} Mbit/s", network.name, network.speed_mbit?)))
        .collect()
}

/// All boxes in name order: registered, heard of, or named by a manifest.
pub fn nodes(moment: &Snapshot) -> Vec<NodeView> {
    let named = moment
        .state
        .resources
        .keys()
        .filter(|id| id.kind == Kind::Node)
        .filter_map(|id| NodeName::new(id.name.as_str()).ok());
    let all: BTreeSet<NodeName> = named.chain(moment.state.nodes.keys().cloned()).collect();
    all.iter().map(|name| node(moment, name)).collect()
}

fn node(moment: &Snapshot, name: &NodeName) -> NodeView {
    let record = moment.state.nodes.get(name);
    let none = NodeObservation::default().into();
    let seen = moment.observed.nodes.get(name).unwrap_or(&none);
    let status = seen.status.as_ref();
    let load = seen.load.as_ref().map(|load| &load.report);
    let machine = load.map(|load| &load.machine);
    let state = seen.state.as_ref().map(|state| &state.report);
    let offline = status.is_some_and(|s| s.report.presence == Presence::Offline);
    let condition = match record {
        None => NodeCondition::Unknown,
        // Said at once; the planner gives it a moment to come back.
        Some(_) if offline => NodeCondition::Offline,
        Some(record) if record.ready => NodeCondition::Ready,
        Some(_) => NodeCondition::Unreachable,
    };
    let since = match record {
        Some(record) if !record.ready => record.gone_since_ms,
        Some(_) if offline => status.map(|status| status.at_ms),
        // One that a controller before this one has registered.
        Some(record) => record.ready_since_ms.or(status.map(|status| status.at_ms)),
        None => None,
    };
    let spec = moment.state.node_resource(name).map(|object| &object.spec);
    let report = status.map(|status| &status.report);
    let mut errors: Vec<String> = state.map(|s| s.errors.clone()).unwrap_or_default();
    if let Some(reason) = record.and_then(|record| record.reason.clone()) {
        errors.insert(0, reason);
    }
    let drops = load.map(|load| {
        let named = load
            .drops
            .iter()
            .map(|(why, count)| (why.to_string(), *count));
        named.collect()
    });
    let dead = state.map(|state| {
        let tunnels = state.tunnels.iter().filter(|(_, health)| is_dead(health));
        let functions = state.functions.iter().filter(|(_, health)| is_dead(health));
        let tunnels = tunnels.map(|(name, _)| format!("tunnel {name}"));
        let functions = functions.map(|(name, _)| format!("function {name}"));
        tunnels.chain(functions).collect()
    });
    let capacity = record.map(|record| record.capacity);
    NodeView {
        name: name.to_string(),
        condition,
        since_ms: since.map(|ms| moment.clock.wall(ms)),
        cordoned: spec.is_some_and(|spec| spec.cordon || spec.drain),
        draining: spec.is_some_and(|spec| spec.drain),
        evacuation: super::evacuation(&moment.state, name),
        labels: moment.state.labels(name),
        arch: report.map(|status| status.arch.clone()),
        version: report.map(|status| status.version.clone()),
        update: report.and_then(|status| status.update.as_ref().map(super::UpdateView::from)),
        engine: report.and_then(|status| status.engine.clone()),
        vtep: record
            .and_then(|r| r.vtep)
            .map(|address| address.to_string()),
        underlay_mtu: record.map(|record| record.underlay_mtu),
        cpu_millis: capacity.map(|capacity| capacity.cpu_millis),
        cpu_percent: machine.map(|machine| machine.cpu_percent),
        memory_used_bytes: machine.map(|machine| machine.memory_used_bytes),
        memory_total_bytes: machine
            .map(|machine| machine.memory_total_bytes)
            .or(capacity.map(|capacity| capacity.memory_bytes)),
        disk_used_bytes: machine.map(|machine| machine.disk_used_bytes),
        disk_total_bytes: machine
            .map(|machine| machine.disk_total_bytes)
            .or(capacity.map(|capacity| capacity.disk_bytes)),
        temperature_c: machine.and_then(|machine| machine.temperature_c),
        throttled: machine.and_then(|machine| machine.throttled),
        uptime_s: machine.map(|machine| machine.uptime_s),
        containers_wanted: moment.documents.get(name).map_or(0, |d| d.containers.len()),
        containers_running: state.map_or(0, |state| {
            let running = |c: &&ContainerState| c.phase == ContainerPhase::Running;
            state.containers.iter().filter(running).count()
        }),
        generation: record.map_or(0, |record| record.generation),
        acknowledged: moment.observed.acknowledged(name),
        packet_io: state.map(packet_io).unwrap_or_default(),
        links: seen
            .latencies
            .iter()
            .map(|(to, link)| format!("{to}: {}", link.told()))
            .collect(),
        speeds: machine.map(speeds).unwrap_or_default(),
        dead: dead.unwrap_or_default(),
        drops: drops.unwrap_or_default(),
        secrets_held: record.and_then(|record| record.strange_key).map(|key| {
            format!("it tells another key than before, {key}; kc trust {name} takes it")
        }),
        errors,
    }
}

/// All placed containers in name order.
pub fn instances(moment: &Snapshot) -> Vec<InstanceView> {
    let all = moment.state.instances.iter();
    all.map(|(name, record)| instance(moment, name, record))
        .collect()
}

fn instance(moment: &Snapshot, name: &str, record: &Instance) -> InstanceView {
    let place = record.node.as_ref();
    let seen = place.and_then(|node| moment.observed.nodes.get(node));
    let container = seen
        .and_then(|node| node.state.as_ref())
        .and_then(|state| state.report.containers.iter().find(|c| c.name == name));
    let load = seen
        .and_then(|node| node.load.as_ref())
        .and_then(|load| load.report.containers.iter().find(|c| c.name == name));
    let (phase, reason) = match record.hardware {
        Some(_) => hardware_phase(moment, name, record),
        None => phase(moment, record, container),
    };
    let hardware = hardware_load(&moment.state, &moment.observed, moment.now_ms, name, record);
    let resource = moment.state.resources.get(&record.owner);
    let (image, address) = match resource {
        Some(Resource::ServiceFunction(object)) => (
            object.spec.image.clone(),
            object.spec.address.map(|address| address.to_string()),
        ),
        Some(Resource::Service(object)) => (object.spec.image.clone(), None),
        _ => (String::new(), None),
    };
    let carries = |path: &crate::plan::PathRecord| {
        let here = |on: &crate::plan::PathInstance| on.name == name && Some(&on.node) == place;
        path.members().any(here)
    };
    InstanceView {
        name: name.to_owned(),
        role: crate::execute::word(record.owner.kind).to_owned(),
        owner: record.owner.name.to_string(),
        physical: record.hardware.is_some(),
        node: place.map(NodeName::to_string),
        phase,
        reason,
        image,
        health: container
            .and_then(|c| c.health)
            .map(|health| health.as_str().to_owned()),
        digest: container.and_then(|c| c.digest.clone()),
        container: container.map(|c| c.id.clone()).filter(|id| !id.is_empty()),
        address: address.or_else(|| record.address.map(|address| address.to_string())),
        restarts: container.map_or(0, |container| container.restarts),
        cpu_percent: load
            .map(|load| load.cpu_percent)
            .or(hardware.map(|(load, _)| load)),
        memory_bytes: load.map(|load| load.memory_bytes),
        memory_limit_bytes: load.and_then(|load| load.memory_limit_bytes),
        rx_packets: load.map(|load| load.rx_packets),
        tx_packets: load.map(|load| load.tx_packets),
        chains: moment
            .state
            .chains
            .iter()
            .filter(|(_, chain)| chain.carrying().is_some_and(carries))
            .map(|(name, _)| name.to_string())
            .collect(),
    }
}

/// How a piece of hardware is in one word, and why.
fn hardware_phase(moment: &Snapshot, name: &str, record: &Instance) -> (String, Option<String>) {
    let word = |word: &str| word.to_owned();
    let (Some(node), Some(hardware)) = (&record.node, &record.hardware) else {
        return (word("Waiting"), None);
    };
    match moment.state.nodes.get(node) {
        None => return (word("Waiting"), Some(format!("{node} has not registered"))),
        Some(gone) if !gone.ready => {
            let why = gone.reason.as_deref().unwrap_or("is gone");
            return (word("Lost"), Some(format!("{node} {why}")));
        }
        Some(_) if record.retiring => return (word("Leaving"), None),
        Some(_) => {}
    }
    let ails = || Some(ailment(&moment.observed, node, name, &hardware.spec));
    let wall_ms = moment.observed.wall(moment.now_ms);
    match (record.health, maintenance(&hardware.spec, wall_ms).0) {
        (InstanceHealth::Running, Some(end_ms)) => {
            let until = format!("until {}", rfc3339(end_ms));
            (word("Maintenance"), Some(until))
        }
        (InstanceHealth::Running, None) => (word("Running"), None),
        (InstanceHealth::Starting, _) => (word("Pending"), ails()),
        (InstanceHealth::Down, _) => (word("Down"), ails()),
    }
}

/// How an instance is in one word, and why.
fn phase(
    moment: &Snapshot,
    record: &Instance,
    container: Option<&ContainerState>,
) -> (String, Option<String>) {
    let word = |word: &str| word.to_owned();
    let Some(node) = &record.node else {
        return (word("Waiting"), record.waiting.clone());
    };
    let gone = moment.state.nodes.get(node).filter(|node| !node.ready);
    if let Some(gone) = gone {
        let why = gone.reason.clone().unwrap_or_else(|| word("is gone"));
        return (word("Lost"), Some(format!("{node} {why}")));
    }
    if record.draining_ms.is_some() {
        return (word("Draining"), None);
    }
    if record.retiring {
        return (word("Leaving"), None);
    }
    let Some(container) = container else {
        return (word("Pending"), None);
    };
    let name = match container.phase {
        ContainerPhase::Pending => "Pending",
        ContainerPhase::Pulling => "Pulling",
        ContainerPhase::Running => "Running",
        ContainerPhase::Exited => "Exited",
        ContainerPhase::Failed => "Failed",
        ContainerPhase::Unknown => "Unknown",
    };
    let exit = || match (container.phase, container.exit_code) {
        (ContainerPhase::Exited, Some(code)) => Some(format!("ended with {code}")),
        _ => None,
    };
    let back = || {
        let why = container.rolled_back.as_ref()?;
        Some(format!("went back to what ran before: {why}"))
    };
    let silent =
        container.phase == ContainerPhase::Running && record.health == InstanceHealth::Down;
    let name = match (container.phase, container.health) {
        _ if silent
            && container
                .health
                .is_none_or(|health| health == Health::Healthy) =>
        {
            "Silent"
        }
        (ContainerPhase::Running, Some(Health::Starting)) => "Starting",
        (ContainerPhase::Running, Some(Health::Unhealthy)) => "Unhealthy",
        _ => name,
    };
    let error = container.error.clone();
    (word(name), error.or_else(back).or_else(exit))
}

/// How many of `owner`'s instances run.
fn ready(moment: &Snapshot, kind: Kind, owner: &str) -> u32 {
    let runs = |instance: &Instance| {
        instance.owner.kind == kind
            && instance.owner.name.as_str() == owner
            && instance.health == InstanceHealth::Running
            && !instance.retiring
    };
    let count = moment.state.instances.values().filter(|i| runs(i)).count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// All service functions in name order.
pub fn functions(moment: &Snapshot) -> Vec<FunctionView> {
    let all = moment.state.functions();
    all.map(|object| {
        let name = &object.metadata.name;
        let id = ResourceId::new(Kind::ServiceFunction, name.clone());
        let kind = object.spec.type_name(name);
        FunctionView {
            name: name.to_string(),
            kind: kind.to_string(),
            image: object.spec.image.clone(),
            attachment: match (object.spec.attachment, object.spec.legs) {
                _ if !object.spec.physical.is_empty() => "physical",
                (Wiring::TwoLeg, LegSharing::Shared) => "two-leg",
                (Wiring::TwoLeg, LegSharing::PerPath) => "two-leg, legs per path",
                (Wiring::OneLeg, LegSharing::Shared) => "one-leg",
                (Wiring::OneLeg, LegSharing::PerPath) => "one-leg, legs per path",
                (Wiring::NshAware, _) => "nsh-aware",
            }
            .to_owned(),
            replicas: match object.spec.physical.is_empty() {
                true => moment.state.replicas(&id),
                false => object.spec.count(),
            },
            scaling: moment.state.scaling(&id),
            ready: ready(moment, Kind::ServiceFunction, name.as_str()),
            chains: moment
                .state
                .chains_wanted()
                .filter(|chain| chain.spec.functions.contains(kind))
                .map(|chain| chain.metadata.name.to_string())
                .collect(),
            update: moment.state.rollout(&id),
        }
    })
    .collect()
}

/// All services in name order.
pub fn services(moment: &Snapshot) -> Vec<ServiceView> {
    let placed = instances(moment);
    let all = moment.state.services();
    all.map(|object| {
        let name = object.metadata.name.as_str();
        let id = ResourceId::new(Kind::Service, object.metadata.name.clone());
        let host = object.spec.network == ServiceNetwork::Host;
        let vtep = |node: &Option<String>| {
            let node = NodeName::new(node.as_ref()?.as_str()).ok()?;
            moment.state.nodes.get(&node)?.vtep
        };
        let endpoints = placed
            .iter()
            .filter(|i| i.role == "service" && i.owner == name)
            .map(|i| EndpointView {
                instance: i.name.clone(),
                node: i.node.clone(),
                address: if host {
                    vtep(&i.node).map(|address| address.to_string())
                } else {
                    i.address.clone()
                },
                phase: i.phase.clone(),
            });
        ServiceView {
            name: name.to_owned(),
            image: object.spec.image.clone(),
            network: if host { "host" } else { "overlay" }.to_owned(),
            address: (moment.state)
                .virtual_address(&ResourceId::new(
                    Kind::Service,
                    object.metadata.name.clone(),
                ))
                .filter(|_| !host)
                .map(|address| address.to_string()),
            ports: object.spec.ports.iter().map(|port| port.port).collect(),
            replicas: moment.state.replicas(&id),
            scaling: moment.state.scaling(&id),
            ready: ready(moment, Kind::Service, name),
            endpoints: endpoints.collect(),
            update: moment.state.rollout(&id),
        }
    })
    .collect()
}
