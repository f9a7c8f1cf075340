//! Physical functions: what may be said of hardware, and where it is plugged in.

use super::ManifestError;
use super::check::Desk;
use super::cross::Union;
use crate::alarm::Metric;
use crate::plan::MAX_REPLICAS;
use crate::resource::{
    FunctionSpec, Kind, LegSharing, LivenessSpec, Name, PhysicalSpec, Resource, ResourceId,
};
use kc_agent_api::NodeName;
use kc_forwarder_api::{PortName, Vid};
use std::collections::BTreeMap;

/// Most pieces of hardware in one resource.
const MAX_HARDWARE: usize = 64;
/// Longest name: the VLAN of a chain has to fit behind it.
const MAX_NAME: usize = 50;
/// What may be said of a function that is hardware.
const FIELDS: [&str; 8] = [
    "type",
    "attachment",
    "legs",
    "replicas",
    "physical",
    "liveness",
    "maxChains",
    "alarms",
];

/// How a function is asked whether it lives.
pub(super) fn liveness(desk: &mut Desk<'_>, liveness: LivenessSpec) {
    let at = |key| ["spec", "liveness", key];
    let ms = liveness.interval.map(|interval| interval.millis());
    let odd = ms.is_some_and(|ms| !(10..=60_000).contains(&ms));
    desk.refuse_if(odd, &at("interval"), "write 10ms to 60s");
    let odd = liveness
        .misses
        .is_some_and(|misses| !(2..=100).contains(&misses));
    desk.refuse_if(odd, &at("misses"), "write 2 to 100");
    for (key, said) in [
        ("interval", liveness.interval.is_some()),
        ("misses", liveness.misses.is_some()),
    ] {
        let idle = said && !liveness.asks();
        desk.refuse_if(idle, &at(key), "with by: carrier nobody is asked");
    }
}

/// Checks a function that is hardware.
pub(super) fn check(desk: &mut Desk<'_>, spec: &FunctionSpec) {
    strange_fields(desk, spec);
    let replicas = spec.replicas;
    desk.refuse_if(
        replicas != 1,
        &["spec", "replicas"],
        "hardware cannot be scaled: there are as many instances as physical lists",
    );
    let count = spec.physical.len();
    let message = format!("{count} pieces of hardware; a function has at most {MAX_HARDWARE}");
    desk.refuse_if(count > MAX_HARDWARE, &["spec", "physical"], message);
    let per_path = spec.legs == LegSharing::PerPath;
    desk.refuse_if(
        per_path && spec.is_aware(),
        &["spec", "legs"],
        "a function that knows NSH sees which path a frame is on; leave legs out",
    );
    for (index, alarm) in spec.alarms.iter().enumerate() {
        let index = index.to_string();
        let metric = alarm.when.metric;
        let message = format!(
            "hardware tells no {}; cpu stands for its load",
            metric.as_str()
        );
        desk.refuse_if(
            metric != Metric::Cpu,
            &["spec", "alarms", &index, "when"],
            message,
        );
    }
    for (index, hardware) in spec.physical.iter().enumerate() {
        one(desk, &index.to_string(), spec, hardware);
    }
}

/// What only containers have.
fn strange_fields(desk: &mut Desk<'_>, spec: &FunctionSpec) {
    let usual = serde_json::from_value::<FunctionSpec>(serde_json::json!({}));
    let usual = usual.and_then(serde_json::to_value).unwrap_or_default();
    let said = serde_json::to_value(spec).unwrap_or_default();
    for (key, value) in said.as_object().into_iter().flatten() {
        let strange = !FIELDS.contains(&key.as_str()) && usual.get(key) != Some(value);
        let message = format!("hardware has no {key}: only what runs in containers has");
        desk.refuse_if(strange, &["spec", key], message);
    }
}

fn one(desk: &mut Desk<'_>, index: &str, spec: &FunctionSpec, hardware: &PhysicalSpec) {
    let at = |key| ["spec", "physical", index, key];
    let length = hardware.name.as_str().len();
    let message = format!("the name may have at most {MAX_NAME} characters");
    desk.refuse_if(length > MAX_NAME, &at("name"), message);
    if hardware.attachment(spec.is_aware()).is_none() {
        let message = match spec.is_aware() {
            true => "say where it is plugged in: port and mac",
            false => {
                "say where it is plugged in: inside and outside, or port and mac, or port and vlans"
            }
        };
        desk.wrong(&at("name"), message);
    }
    let same = hardware.inside.is_some() && hardware.inside == hardware.outside;
    desk.refuse_if(same, &at("outside"), "this is its inside already");
    let same = hardware
        .vlans
        .is_some_and(|vlans| vlans.inside == vlans.outside);
    desk.refuse_if(same, &at("vlans"), "its two legs are the same VLAN");
    let one_leg = hardware.mac.is_some() && !spec.is_aware();
    desk.refuse_if(
        hardware.address.is_some() && !one_leg,
        &at("address"),
        "only what has one leg is asked for its address",
    );
    let pair = hardware.vlans.is_some() && spec.legs == LegSharing::PerPath;
    desk.refuse_if(
        pair,
        &at("vlans"),
        "with legs: per-path VLANs are given by us",
    );
    desk.refuse_if(
        hardware.mac.is_some_and(|mac| mac.is_group()),
        &at("mac"),
        "this is the address of a group",
    );
    for (key, port) in [
        ("inside", &hardware.inside),
        ("outside", &hardware.outside),
        ("port", &hardware.port),
    ] {
        let ours = port
            .as_ref()
            .is_some_and(|port| port.as_str().starts_with("kc"));
        let message = "interfaces that begin with kc are made by K-Cluster itself";
        desk.refuse_if(ours, &at(key), message);
    }
    let none = hardware.capacity.chains == Some(0);
    let message = "no chain could ever use it; leave chains out for no limit";
    desk.refuse_if(
        none,
        &["spec", "physical", index, "capacity", "chains"],
        message,
    );
}

/// All hardware there will be.
fn all<'a>(
    union: &'a Union<'_>,
) -> impl Iterator<Item = (&'a ResourceId, usize, &'a PhysicalSpec)> {
    let functions = union.resources.iter();
    let functions = functions.filter_map(|(id, resource)| match resource {
        Resource::ServiceFunction(object) => Some((id, &object.spec.physical)),
        _ => None,
    });
    functions.flat_map(|(id, hardware)| {
        let numbered = hardware.iter().enumerate();
        numbered.map(move |(index, one)| (id, index, one))
    })
}

/// Names and places are nobody else's.
pub(super) fn cross(union: &Union<'_>, errors: &mut Vec<ManifestError>) {
    let mut names: BTreeMap<&Name, &ResourceId> = BTreeMap::new();
    let mut places: BTreeMap<(&NodeName, &PortName, Option<Vid>), &Name> = BTreeMap::new();
    for (id, index, hardware) in all(union) {
        let (index, name) = (index.to_string(), &hardware.name);
        let mut wrong = |key: &str, message: String| {
            // Where only the other one is in these files, it is told there.
            let document = union.documents.get(id);
            let path = ["spec", "physical", index.as_str(), key];
            errors.extend(document.map(|document| document.error(&path, message)));
        };
        if let Some(other) = names.insert(name, id) {
            wrong("name", format!("{other} has hardware of this name already"));
        }
        if let Some(owner) = container_owner(union, name) {
            wrong("name", format!("{owner} may have a container of this name"));
        }
        let vlans = hardware.vlans.map(|vlans| [vlans.inside, vlans.outside]);
        let tags: Vec<_> = match vlans {
            Some(vlans) => vlans.into_iter().map(Some).collect(),
            None => vec![None],
        };
        for port in hardware.ports() {
            let key = match () {
                () if hardware.inside.as_ref() == Some(port) => "inside",
                () if hardware.outside.as_ref() == Some(port) => "outside",
                () => "port",
            };
            let here = (&hardware.node, port, None);
            let shared = places.range(here..).next();
            let shared = shared.filter(|((node, other, tag), _)| {
                *node == here.0 && *other == port && (tag.is_none() || vlans.is_none())
            });
            let taken = tags
                .iter()
                .find_map(|tag| places.get(&(here.0, port, *tag)));
            if let Some(other) = taken.or(shared.map(|(_, other)| other)) {
                let node = &hardware.node;
                wrong(key, format!("{port} of {node} leads to {other} already"));
            }
            for tag in &tags {
                places.insert((&hardware.node, port, *tag), name);
            }
            let at_end = union.chains().find(|(_, spec)| {
                let ends = [&spec.from, &spec.to];
                ends.iter()
                    .any(|end| end.node == hardware.node && end.interface == *port)
            });
            if let Some((chain, _)) = at_end {
                wrong(key, format!("{port} is an end of chain {chain}"));
            }
        }
    }
}

/// The resource whose containers might be called so.
fn container_owner(union: &Union<'_>, name: &Name) -> Option<ResourceId> {
    let (owner, number) = name.as_str().rsplit_once('-')?;
    let number: u32 = number.parse().ok()?;
    let owner = Name::new(owner).ok().filter(|_| number <= MAX_REPLICAS)?;
    [Kind::ServiceFunction, Kind::Service]
        .into_iter()
        .map(|kind| ResourceId::new(kind, owner.clone()))
        .find(|id| match union.resources.get(id) {
            Some(Resource::ServiceFunction(object)) => object.spec.physical.is_empty(),
            other => other.is_some(),
        })
}
