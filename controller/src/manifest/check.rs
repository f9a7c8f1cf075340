//! What can be judged about one resource by itself.

use super::alarm::{self, Subjects};
use super::{Document, ManifestError, container, physical, scaling, secret};
use crate::alarm::AlarmSpec;
use crate::plan::MAX_REPLICAS;
use crate::resource::{
    Algorithm, AutoscaleSpec, ChainSpec, FunctionSpec, Kind, LegSharing, Length, NodeResourceSpec,
    Resource, ServiceNetwork, ServiceSpec, Threshold, TrafficMatch, Wiring,
};
use ipnet::IpNet;
use kc_forwarder_api::{PortRange, Protocol};
use std::collections::BTreeSet;

/// Longest name of what has instances: `-1000` still has to fit behind it.
const MAX_OWNER_NAME: usize = 50;
/// Most members of a cluster.
const MAX_CLUSTER: u32 = 8;
/// Most functions in one chain; SI would allow 254.
const MAX_FUNCTIONS: usize = 32;

/// Collects mistakes of one document.
pub(super) struct Desk<'a> {
    document: &'a Document<'a>,
    errors: &'a mut Vec<ManifestError>,
}

impl Desk<'_> {
    pub(super) fn wrong(&mut self, path: &[&str], message: impl Into<String>) {
        self.errors.push(self.document.error(path, message));
    }

    /// Whether something was written at `path`.
    pub(super) fn has(&self, path: &[&str]) -> bool {
        let mut tree = Some(&self.document.tree);
        for key in path {
            tree = tree.and_then(|tree| tree.get(key));
        }
        tree.is_some()
    }

    pub(super) fn refuse_if(&mut self, wrong: bool, path: &[&str], message: impl Into<String>) {
        if wrong {
            self.wrong(path, message);
        }
    }
}

/// Checks one document.
pub(super) fn check(document: &Document<'_>, errors: &mut Vec<ManifestError>) {
    let mut desk = Desk { document, errors };
    let name = document.resource.name();
    if document.resource.kind() != Kind::Node && name.as_str().len() > MAX_OWNER_NAME {
        let message = format!("the name may have at most {MAX_OWNER_NAME} characters");
        desk.wrong(&["metadata", "name"], message);
    }
    for key in document.resource.metadata().labels.keys() {
        desk.refuse_if(
            key.is_empty(),
            &["metadata", "labels"],
            "a label needs a name",
        );
    }
    match &document.resource {
        Resource::ServiceFunction(object) => function(&mut desk, &object.spec),
        Resource::Chain(object) => chain(&mut desk, &object.spec),
        Resource::Service(object) => service(&mut desk, &object.spec),
        Resource::Secret(own) => secret::check(&mut desk, own),
        Resource::Node(object) => node(&mut desk, name.as_str(), &object.spec),
    }
}

fn function(desk: &mut Desk<'_>, spec: &FunctionSpec) {
    alarm::check(desk, &spec.alarms, Subjects::Functions);
    physical::liveness(desk, spec.liveness);
    if !spec.physical.is_empty() {
        return physical::check(desk, spec);
    }
    scaled(desk, spec.autoscale.as_ref(), &spec.alarms);
    cluster(desk, spec);
    container::check(desk, spec.workload());
    let replicas = spec.replicas;
    desk.refuse_if(
        replicas == 0 || replicas > MAX_REPLICAS,
        &["spec", "replicas"],
        format!("{replicas} replicas; a service function has 1 to {MAX_REPLICAS}"),
    );
    desk.refuse_if(
        spec.address.is_some() && spec.attachment != Wiring::OneLeg,
        &["spec", "address"],
        "only attachment one-leg has an address",
    );
    desk.refuse_if(
        spec.legs == LegSharing::PerPath && spec.attachment == Wiring::NshAware,
        &["spec", "legs"],
        "a function that knows NSH sees which path a frame is on; leave legs out",
    );
    desk.refuse_if(
        spec.legs == LegSharing::PerPath && spec.address.is_some(),
        &["spec", "legs"],
        "the address of eth0 is in no VLAN; take legs: shared, or leave the address out",
    );
    desk.refuse_if(
        spec.max_chains == Some(0),
        &["spec", "maxChains"],
        "no chain could ever use it; leave maxChains out for no limit",
    );
}

fn scaled(desk: &mut Desk<'_>, spec: Option<&AutoscaleSpec>, alarms: &[AlarmSpec]) {
    if let Some(spec) = spec {
        scaling::check(desk, spec, alarms);
    }
}

fn cluster(desk: &mut Desk<'_>, spec: &FunctionSpec) {
    let Some(cluster) = &spec.cluster else {
        return;
    };
    let command = cluster.hook.as_ref().map(|hook| hook.command.first());
    desk.refuse_if(
        command.is_some_and(|program| program.is_none_or(String::is_empty)),
        &["spec", "cluster", "hook", "command"],
        "command is a list: the program, then its arguments",
    );
    let size = cluster.size;
    let at = ["spec", "cluster", "size"];
    let odd = !(2..=MAX_CLUSTER).contains(&size);
    let message = format!("{size} members; a cluster has 2 to {MAX_CLUSTER}");
    desk.refuse_if(odd, &at, message);
    let most = spec
        .autoscale
        .as_ref()
        .map_or(spec.replicas, |scale| scale.max);
    let message = format!("{size} members, and there are {most} replicas at most");
    desk.refuse_if(!odd && size > most, &at, message);
    desk.refuse_if(
        !spec.placement.spread,
        &["spec", "placement", "spread"],
        "members of a cluster are on different boxes; leave spread out",
    );
}

fn service(desk: &mut Desk<'_>, spec: &ServiceSpec) {
    alarm::check(desk, &spec.alarms, Subjects::Services);
    scaled(desk, spec.autoscale.as_ref(), &spec.alarms);
    container::check(desk, spec.workload());
    let replicas = spec.replicas;
    desk.refuse_if(
        replicas > MAX_REPLICAS,
        &["spec", "replicas"],
        format!("{replicas} replicas; a service has at most {MAX_REPLICAS}"),
    );
    let shared = spec.network == ServiceNetwork::Host;
    let message =
        "only a service with network: overlay has an address whose flows could be drained";
    desk.refuse_if(shared && spec.drain.is_some(), &["spec", "drain"], message);
    for key in spec.sysctls.keys().filter(|key| key.starts_with("net.")) {
        let message = format!("{key} would be the whole box's; only network: overlay has its own");
        desk.refuse_if(shared, &["spec", "sysctls", key], message);
    }
    let mut seen = BTreeSet::new();
    for (index, port) in spec.ports.iter().enumerate() {
        let index = index.to_string();
        let path = ["spec", "ports", &index, "port"];
        desk.refuse_if(port.port == 0, &path, "port 0 cannot be served");
        let protocol = port.protocol.unwrap_or(Protocol::TCP);
        let twice = !seen.insert((port.port, protocol));
        desk.refuse_if(twice, &path, format!("port {} is here twice", port.port));
    }
}

fn node(desk: &mut Desk<'_>, name: &str, spec: &NodeResourceSpec) {
    alarm::check(desk, &spec.alarms, Subjects::Boxes);
    let mut seen = BTreeSet::new();
    for (index, link) in spec.links.iter().enumerate() {
        let index = index.to_string();
        let to = ["spec", "links", &index, "to"];
        desk.refuse_if(
            link.to.as_str() == name,
            &to,
            "a node needs no link to itself",
        );
        let twice = !seen.insert(&link.to);
        desk.refuse_if(twice, &to, format!("the link to {} is here twice", link.to));
        let hops = ["spec", "links", &index, "hops"];
        let odd = link.hops == 0 || link.hops > 1000;
        desk.refuse_if(
            odd,
            &hops,
            format!("{} hops; a link counts for 1 to 1000", link.hops),
        );
    }
}

fn chain(desk: &mut Desk<'_>, spec: &ChainSpec) {
    let at = ["spec", "functions"];
    let count = spec.functions.len();
    desk.refuse_if(count == 0, &at, "a chain needs at least one function");
    let message = format!("{count} functions; a chain has at most {MAX_FUNCTIONS}");
    desk.refuse_if(count > MAX_FUNCTIONS, &at, message);
    for (index, function) in spec.functions.iter().enumerate() {
        let first = spec.functions.iter().position(|other| other == function);
        if let Some(first) = first.filter(|first| *first < index) {
            let message = format!(
                "{function} is already function {}: a chain that came back to it would go in a \
                 circle; for two firewalls make two types",
                first + 1
            );
            desk.wrong(&["spec", "functions", &index.to_string()], message);
        }
    }
    let (from, to) = (&spec.from, &spec.to);
    desk.refuse_if(
        from == to,
        &["spec", "to"],
        format!("from and to are both {from}"),
    );
    for (key, end) in [("from", from), ("to", to)] {
        let ours = end.interface.as_str().starts_with("kc");
        let message = "interfaces that begin with kc are made by K-Cluster itself";
        desk.refuse_if(ours, &["spec", key, "interface"], message);
    }
    alarm::check(desk, &spec.alarms, Subjects::Chains);
    scheduler(desk, spec);
    for (index, traffic) in spec.matches.iter().enumerate() {
        matches(desk, &index.to_string(), traffic);
    }
}

fn scheduler(desk: &mut Desk<'_>, spec: &ChainSpec) {
    let scheduler = &spec.scheduler;
    let algorithm = scheduler.algorithm;
    let l_th = ["spec", "scheduler", "lTh"];
    match (algorithm, scheduler.l_th) {
        (Algorithm::LoadPathAware, None) => {
            desk.wrong(
                &["spec", "scheduler"],
                match scheduler.length {
                    Length::Hops => "load-path-aware needs lTh, its threshold in hops",
                    Length::Latency => "load-path-aware needs lTh, its threshold, such as 5ms",
                },
            );
        }
        (Algorithm::LoadPathAware, Some(other)) if other.of(scheduler.length).is_none() => {
            let message = match scheduler.length {
                Length::Hops => format!("lTh {other} is a latency; that needs length: latency"),
                Length::Latency => format!("lTh {other} is a number of hops; write one like 5ms"),
            };
            desk.wrong(&l_th, message);
        }
        (Algorithm::LoadPathAware, Some(other)) if other.of(Length::Latency) == Some(0) => {
            desk.wrong(&l_th, "lTh 0ms reaches nothing");
        }
        (Algorithm::LoadPathAware, Some(Threshold::Hops(0))) => {
            desk.wrong(
                &l_th,
                "lTh 0 reaches nothing; two functions are at least 2 hops apart",
            );
        }
        (Algorithm::LoadPathAware, Some(_)) | (_, None) => {}
        (_, Some(_)) => desk.wrong(&l_th, format!("{algorithm} has no lTh")),
    }
    let weighted = scheduler.hop_weight.is_some() && algorithm != Algorithm::Optimal;
    desk.refuse_if(
        weighted,
        &["spec", "scheduler", "hopWeight"],
        format!("{algorithm} has no hopWeight"),
    );
    let margin = scheduler.rebalance.map(|rebalance| rebalance.margin);
    desk.refuse_if(
        margin == Some(0),
        &["spec", "scheduler", "rebalance", "margin"],
        "margin 0 moves the path for any gain, and it would never rest; take 10 or more",
    );
    let seeded = scheduler.seed.is_some() && algorithm != Algorithm::Random;
    desk.refuse_if(
        seeded,
        &["spec", "scheduler", "seed"],
        format!("{algorithm} has no seed"),
    );
}

fn matches(desk: &mut Desk<'_>, index: &str, traffic: &TrafficMatch) {
    let at = ["spec", "match", index];
    if *traffic == TrafficMatch::default() {
        desk.wrong(&at, "this takes everything; leave match out for that");
    }
    if let Some(vlan) = traffic.vlan.filter(|vlan| *vlan > 4094) {
        let message = format!("VLAN {vlan}; VLANs are 1 to 4094, and 0 stands for untagged");
        desk.wrong(&["spec", "match", index, "vlan"], message);
    }
    let ranges = [
        ("sourcePorts", traffic.source_ports),
        ("destinationPorts", traffic.destination_ports),
    ];
    for (key, range) in ranges {
        let zero = range.is_some_and(|range: PortRange| range.first() == 0);
        desk.refuse_if(
            zero,
            &["spec", "match", index, key],
            "port 0 is used by nobody",
        );
        let ported = [Protocol::TCP, Protocol::UDP, Protocol::SCTP];
        let portless = traffic
            .protocol
            .filter(|p| range.is_some() && !ported.contains(p));
        if let Some(protocol) = portless {
            let message = format!("{protocol} has no ports; only tcp, udp and sctp have");
            desk.wrong(&["spec", "match", index, key], message);
        }
    }
    if let (Some(source), Some(destination)) = (traffic.source, traffic.destination) {
        let v4 = |net: IpNet| matches!(net, IpNet::V4(_));
        let mixed = v4(source) != v4(destination);
        desk.refuse_if(
            mixed,
            &at,
            "source and destination are of different address families",
        );
    }
}
