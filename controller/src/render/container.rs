//! Containers of a node and how its functions are attached.

use super::cluster;
use super::overlay;
use super::scene::Scene;
use super::seal::Sealer;
use super::wiring::{LegKind, mac_address, port_name};
use crate::plan::{Instance, NodeRecord};
use crate::resource::{
    DeviceSpec, FunctionSpec, HealthSpec, Period, Resource, ServiceNetwork, TmpfsSpec, VolumeSpec,
    Wiring, WorkloadSpec,
};
use kc_agent_api::{
    ContainerSpec, File, Leg, Limits, Mount, Network, NodeName, PullSecret, Role, SecretFile,
};
use kc_forwarder_api::{Attachment, Function, Liveness, PortName, SfName, Vid};
use std::net::IpAddr;

/// MTU of the legs of functions: what their clients think they have. Paths clamp further.
const LEG_MTU: u16 = 1500;

/// How often members of clusters are asked whether they live: another one waits for their flows.
const CLUSTER_INTERVAL_MS: u32 = 100;

/// What runs on `node`, and which of it are functions.
pub(super) fn containers(
    scene: &Scene<'_>,
    node: &NodeName,
    record: &NodeRecord,
) -> (Vec<ContainerSpec>, Vec<Function>) {
    let state = scene.state;
    let sealer = Sealer::new(state, record);
    let mut containers = Vec::new();
    let mut functions = Vec::new();
    for &(name, instance) in scene.instances(node) {
        match state.owner(&instance.owner) {
            Some(Resource::ServiceFunction(object)) if instance.hardware.is_some() => {
                let hardware = instance.hardware.as_ref().map(|hardware| &hardware.spec);
                let usual = Liveness::default().interval_ms;
                let wired = hardware.and_then(|one| {
                    let attachment = one.attachment(object.spec.is_aware())?;
                    let liveness = object
                        .spec
                        .liveness
                        .wire(one.address.map(IpAddr::V4), usual);
                    Some((attachment, liveness))
                });
                if let Some((attachment, liveness)) = wired {
                    functions.extend(entries(scene, name, &attachment, liveness.as_ref()));
                }
            }
            Some(Resource::ServiceFunction(object)) => {
                let Some((attachment, mut legs)) = attach(&object.spec, instance) else {
                    continue;
                };
                let role = Role::Function {
                    function: object.metadata.name.to_string(),
                };
                let is_told = state.is_told(name, &instance.owner);
                if is_told {
                    legs.extend(overlay::sync_leg(scene, instance));
                }
                let network = Network::Legs(legs);
                let Some(work) = state.workload(name, &instance.owner) else {
                    continue;
                };
                let own = sealer.of(name, instance, work);
                let mut made = container(name, role, work, network, own);
                let spec = object.spec.cluster.as_ref();
                let hook = spec.and_then(|cluster| cluster.hook.as_ref());
                let hook = hook.filter(|_| is_told);
                made.cluster = hook.map(|hook| cluster::membership(scene, node, name, hook));
                containers.push(made);
                let address = object.spec.address.map(|address| address.addr());
                let usual = match object.spec.cluster {
                    Some(_) => CLUSTER_INTERVAL_MS,
                    None => Liveness::default().interval_ms,
                };
                let address = address.filter(IpAddr::is_ipv4);
                let liveness = object.spec.liveness.wire(address, usual);
                functions.extend(entries(scene, name, &attachment, liveness.as_ref()));
            }
            Some(Resource::Service(object)) => {
                let role = Role::Service {
                    service: object.metadata.name.to_string(),
                };
                let network = match object.spec.network {
                    ServiceNetwork::Host => Network::Host,
                    ServiceNetwork::Overlay => {
                        Network::Legs(overlay::leg(scene, node, instance).into_iter().collect())
                    }
                };
                let Some(work) = state.workload(name, &instance.owner) else {
                    continue;
                };
                let own = sealer.of(name, instance, work);
                containers.push(container(name, role, work, network, own));
            }
            _ => {}
        }
    }
    (containers, functions)
}

/// What the forwarder knows an instance as: by itself, and for each chain that has legs of its
/// own in it.
fn entries(
    scene: &Scene<'_>,
    name: &str,
    attachment: &Attachment,
    liveness: Option<&Liveness>,
) -> Vec<Function> {
    let entry = |name, vlan| Function {
        name,
        attachment: in_vlan(attachment.clone(), vlan),
        liveness: liveness.cloned(),
    };
    let itself = SfName::new(name).ok().map(|name| entry(name, None));
    let ways = scene.entries(name);
    let ways = ways.map(|(name, vlan)| entry(name.clone(), Some(vlan)));
    itself.into_iter().chain(ways).collect()
}

fn in_vlan(mut attachment: Attachment, tag: Option<Vid>) -> Attachment {
    match &mut attachment {
        Attachment::TwoLeg { vlan, .. }
        | Attachment::OneLeg { vlan, .. }
        | Attachment::NshAware { vlan, .. } => *vlan = tag,
        Attachment::VlanPair { .. } => {}
    }
    attachment
}

/// Attachment of a function and its legs.
fn attach(spec: &FunctionSpec, instance: &Instance) -> Option<(Attachment, Vec<Leg>)> {
    let leg = |interface: &str, kind: LegKind| {
        Some(Leg {
            interface: PortName::new(interface).ok()?,
            port: port_name(instance.id, kind)?,
            mac: mac_address(instance.id, kind),
            addresses: spec.address.into_iter().collect(),
            virtual_addresses: Vec::new(),
            gateway: None,
            mtu: LEG_MTU,
        })
    };
    match spec.attachment {
        Wiring::TwoLeg => {
            let inside = leg("inside", LegKind::Inside)?;
            let outside = leg("outside", LegKind::Outside)?;
            let attachment = Attachment::TwoLeg {
                inside: inside.port.clone(),
                outside: outside.port.clone(),
                vlan: None,
            };
            Some((attachment, vec![inside, outside]))
        }
        Wiring::OneLeg => {
            let only = leg("eth0", LegKind::Only)?;
            let (port, mac) = (only.port.clone(), only.mac);
            let vlan = None;
            Some((Attachment::OneLeg { port, mac, vlan }, vec![only]))
        }
        Wiring::NshAware => {
            let only = leg("eth0", LegKind::Only)?;
            let (port, mac) = (only.port.clone(), only.mac);
            let vlan = None;
            Some((Attachment::NshAware { port, mac, vlan }, vec![only]))
        }
    }
}

fn container(
    name: &str,
    role: Role,
    work: WorkloadSpec<'_>,
    network: Network,
    (secrets, pull_secret): (Vec<SecretFile>, Option<PullSecret>),
) -> ContainerSpec {
    let seconds = |period: Period| u16::try_from(period.millis() / 1_000).unwrap_or(u16::MAX);
    let files = work.files.iter().map(|file| File {
        path: file.path.clone(),
        content: file.content.clone(),
    });
    let mounts = work.mounts.iter().map(|mount| Mount {
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
    });
    ContainerSpec {
        name: name.to_owned(),
        role,
        image: work.image.clone(),
        pull: *work.pull,
        entrypoint: work.command.clone(),
        args: work.args.clone(),
        env: work.env.clone(),
        mounts: mounts.collect(),
        files: files.collect(),
        limits: Limits {
            cpu_millis: work.resources.cpu.map(|cpu| cpu.millis()),
            memory_bytes: work.resources.memory.map(|memory| memory.bytes()),
        },
        restart: *work.restart,
        capabilities: work.capabilities.clone(),
        network,
        health: work.health.as_ref().and_then(HealthSpec::check),
        update: work.update.policy(),
        stop_timeout_s: work.stop_timeout.map(seconds),
        working_dir: work.working_dir.clone(),
        user: work.user.clone(),
        group_add: work.group_add.clone(),
        hostname: work.hostname.clone(),
        read_only_root: *work.read_only_root_filesystem,
        tmpfs: work.tmpfs.iter().map(TmpfsSpec::wire).collect(),
        volumes: work.volumes.iter().map(VolumeSpec::wire).collect(),
        devices: work.devices.iter().map(DeviceSpec::wire).collect(),
        labels: work.labels.clone(),
        sysctls: work.sysctls.clone(),
        secrets,
        pull_secret,
        cluster: None,
        depends_on: work.depends_on.iter().map(ToString::to_string).collect(),
    }
}
