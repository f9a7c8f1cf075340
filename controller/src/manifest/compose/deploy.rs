//! `deploy` and the older keys for the same: how many, where, with how much of a box, and how a
//! change comes to them.

use super::quantity::{self, CPUS, SIZE};
use super::spot::Spot;
use crate::plan::MAX_REPLICAS;
use crate::resource::ServiceSpec;
use kc_agent_api::{NodeName, Restart};

pub(super) fn deploy(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    if let Some(scale) = spot.get("scale") {
        spec.replicas = scale.number().unwrap_or(spec.replicas);
    }
    if let Some(cpus) = spot.get("cpus") {
        spec.resources.cpu = cpus.parsed(CPUS, quantity::cpus).flatten();
    }
    if let Some(memory) = spot.get("mem_limit") {
        spec.resources.memory = memory.parsed(SIZE, quantity::size).flatten();
    }
    if let Some(platform) = spot.get("platform") {
        platform
            .warn("left out: the engine takes the image for its box; keep boxes apart by labels");
    }
    let Some(deploy) = spot.get("deploy") else {
        return;
    };
    for (key, value) in deploy.fields(&[
        "mode",
        "replicas",
        "placement",
        "resources",
        "restart_policy",
        "update_config",
        "rollback_config",
        "labels",
        "endpoint_mode",
    ]) {
        match key {
            _ if value.is_idle() => {}
            "replicas" => spec.replicas = value.number().unwrap_or(spec.replicas),
            "mode" if value.tree().scalar() != Some("replicated") => value.wrong(
                "services have a number of replicas",
                "write mode: replicated, and replicas: as many as there are boxes",
            ),
            "placement" => placement(&value, spec),
            "resources" => resources(&value, spec),
            "restart_policy" => restart(&value, spec),
            "update_config" => update(&value, spec),
            "rollback_config" => value.warn("left out: a rollback is as an update"),
            "labels" => {
                value.warn("left out: nobody reads labels of services; write labels beside deploy")
            }
            "endpoint_mode" => value.warn("left out: every replica has an address of its own"),
            _ => {}
        }
    }
}

fn placement(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    for (key, value) in spot.fields(&["constraints", "preferences", "max_replicas_per_node"]) {
        match key {
            _ if value.is_idle() => {}
            "constraints" => {
                for (text, at) in value.texts() {
                    constraint(text, &at, spec);
                }
            }
            "preferences" => value.warn("left out: replicas keep apart as far as there are boxes"),
            _ => value.warn("left out: replicas keep apart as far as there are boxes, but none is left out for it"),
        }
    }
}

/// `node.labels.KEY == VALUE` and the like.
fn constraint(text: &str, at: &Spot<'_>, spec: &mut ServiceSpec) {
    const CONSTRAINTS: &str = "write node.labels.KEY == VALUE, or node.hostname == BOX";
    if text.contains("!=") {
        at.wrong(
            format!("{text:?}: boxes are chosen, not ruled out"),
            CONSTRAINTS,
        );
        return;
    }
    let Some((what, value)) = text.split_once("==") else {
        at.wrong(format!("{text:?} is no constraint"), CONSTRAINTS);
        return;
    };
    let (what, value) = (what.trim(), value.trim());
    match what.strip_prefix("node.labels.") {
        Some(label) => {
            spec.placement.node_selector.insert(label.to_owned(), value.to_owned());
        }
        None if what == "node.hostname" => match NodeName::new(value) {
            Ok(node) => spec.placement.nodes = vec![node],
            Err(_) => at.wrong(format!("{value:?} is no box's name"), "kc get nodes lists them"),
        },
        None if (what, value) == ("node.platform.os", "linux") || (what, value) == ("node.role", "worker") => {}
        None if what == "node.platform.arch" => at.wrong(
            "boxes have no label for what they are",
            "give them one, such as arch, in agent.toml or a Node manifest, and write node.labels.arch == arm64",
        ),
        None => at.wrong(format!("{what:?} tells no boxes apart here"), CONSTRAINTS),
    }
}

fn resources(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let limited = spot.get("limits").is_some();
    for (key, value) in spot.fields(&["limits", "reservations"]) {
        for (name, amount) in
            value.fields(&["cpus", "memory", "pids", "devices", "generic_resources"])
        {
            match (key, name) {
                _ if amount.is_idle() => {}
                ("limits", "cpus") => {
                    spec.resources.cpu = amount.parsed(CPUS, quantity::cpus).flatten()
                }
                ("limits", "memory") => {
                    spec.resources.memory = amount.parsed(SIZE, quantity::size).flatten()
                }
                (_, "cpus" | "memory") if limited => {
                    amount.warn("left out: as much is reserved as the limit says");
                }
                (_, "cpus" | "memory") => {
                    amount.warn("left out: what is reserved is a limit too; write it below limits if it shall be");
                }
                (_, "pids") => amount.wrong(
                    "processes are not counted",
                    "leave it out if you can do without",
                ),
                _ => amount.wrong(
                    "devices are named one by one",
                    "write devices: beside deploy, such as /dev/dri",
                ),
            }
        }
    }
}

fn restart(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    for (key, value) in spot.fields(&["condition", "delay", "max_attempts", "window"]) {
        match (key, value.tree().scalar()) {
            ("condition", Some("any")) => spec.restart = Restart::Always,
            ("condition", Some("on-failure")) => spec.restart = Restart::OnFailure,
            ("condition", Some("none")) => spec.restart = Restart::Never,
            ("condition", _) => {
                value.wrong("this is no condition", "write none, on-failure or any")
            }
            _ if value.is_idle() => {}
            _ => value.warn("left out: it is started again as often as it ends, later and later"),
        }
    }
}

fn update(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    for (key, value) in spot.fields(&[
        "parallelism",
        "delay",
        "failure_action",
        "monitor",
        "max_failure_ratio",
        "order",
    ]) {
        match (key, value.tree().scalar()) {
            ("parallelism", Some("0")) => spec.update.max_unavailable = Some(MAX_REPLICAS),
            ("parallelism", _) => spec.update.max_unavailable = value.number(),
            ("failure_action", Some("rollback")) => spec.update.rollback = Some(true),
            ("failure_action", Some("pause" | "continue")) => spec.update.rollback = Some(false),
            ("order", Some("start-first")) => spec.update.max_surge = Some(1),
            ("order", Some("stop-first")) => spec.update.max_surge = Some(0),
            ("order", _) => value.wrong("this is no order", "write start-first or stop-first"),
            ("failure_action", _) => value.wrong("this is no action", "write rollback or pause"),
            _ if value.is_idle() => {}
            _ => value.warn("left out: the next one is begun when the one before is healthy"),
        }
    }
}
