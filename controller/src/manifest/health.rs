//! Health checks, updates and stop times of one resource.

use super::check::Desk;
use crate::resource::{HealthSpec, Period, UpdateSpec};
use kc_agent_api::Probe;

/// Longest that a container may take to end: a box that shuts down does not wait for ever.
const LONGEST_STOP_MS: u32 = 600_000;
/// Shortest interval of a check: each is a connection, or a process.
const SHORTEST_MS: u32 = 100;
/// Most failures or successes in a row that are asked for.
const MOST_IN_A_ROW: u32 = 1_000;

pub(super) fn health(desk: &mut Desk<'_>, spec: &HealthSpec) {
    let at = ["spec", "health"];
    let probes = spec.probes();
    match probes.as_slice() {
        [_] => {}
        [] => desk.wrong(
            &at,
            "a health check is one of http, tcp, exec, image: true and disable: true; this is none",
        ),
        _ => desk.wrong(
            &at,
            "a health check is one of http, tcp, exec, image and disable; this is several",
        ),
    }
    for probe in &probes {
        one(desk, probe);
    }
    let engines = spec.image || spec.disable;
    let times = [
        ("interval", spec.interval.is_some()),
        ("timeout", spec.timeout.is_some()),
        ("startPeriod", spec.start_period.is_some()),
        ("failureThreshold", spec.failure_threshold.is_some()),
        ("successThreshold", spec.success_threshold.is_some()),
    ];
    for (key, said) in times {
        let message = format!("the image's HEALTHCHECK brings its own times; leave {key} out");
        desk.refuse_if(said && engines, &["spec", "health", key], message);
    }
    for (key, period) in [("interval", spec.interval), ("timeout", spec.timeout)] {
        let short = period.filter(|period| period.millis() < SHORTEST_MS);
        if let Some(short) = short {
            let message = format!("{key} {short} is too short; take {SHORTEST_MS}ms or more");
            desk.wrong(&["spec", "health", key], message);
        }
    }
    for (key, count) in [
        ("failureThreshold", spec.failure_threshold),
        ("successThreshold", spec.success_threshold),
    ] {
        if let Some(count) = count.filter(|count| *count == 0 || *count > MOST_IN_A_ROW) {
            let message = format!("{key} {count}; take 1 to {MOST_IN_A_ROW}");
            desk.wrong(&["spec", "health", key], message);
        }
    }
}

fn one(desk: &mut Desk<'_>, probe: &Probe) {
    match probe {
        Probe::Http { port, path } => {
            let at = ["spec", "health", "http", "port"];
            desk.refuse_if(*port == 0, &at, "port 0 is served by nobody");
            let plain = path.starts_with('/') && path.bytes().all(|b| b.is_ascii_graphic());
            let message = format!("{path:?} is no path: it begins with / and has no blanks");
            desk.refuse_if(!plain, &["spec", "health", "http", "path"], message);
        }
        Probe::Tcp { port } => {
            let at = ["spec", "health", "tcp", "port"];
            desk.refuse_if(*port == 0, &at, "port 0 is served by nobody");
        }
        Probe::Exec { command } => {
            let odd = command.first().is_none_or(String::is_empty);
            let message = "exec is a list: the program, then its arguments";
            desk.refuse_if(odd, &["spec", "health", "exec"], message);
        }
        Probe::Image | Probe::None => {}
    }
}

pub(super) fn update(desk: &mut Desk<'_>, spec: &UpdateSpec, stop: Option<Period>) {
    let zero = spec.max_unavailable == Some(0);
    let message = "nothing could ever be changed; leave maxUnavailable out for one at a time";
    desk.refuse_if(zero, &["spec", "update", "maxUnavailable"], message);
    let many = spec.max_surge.is_some_and(|surge| surge > 1);
    let message = "one more at a time is all there ever is; take 1, or 0 for changes in place";
    desk.refuse_if(many, &["spec", "update", "maxSurge"], message);
    if let Some(short) = spec.deadline.filter(|period| period.millis() < 1_000) {
        let message = format!("deadline {short} is too short; take 1s or more");
        desk.wrong(&["spec", "update", "deadline"], message);
    }
    let odd =
        |stop: &Period| stop.millis() > LONGEST_STOP_MS || !stop.millis().is_multiple_of(1_000);
    if let Some(odd) = stop.filter(odd) {
        let message = format!("stopTimeout {odd}; take whole seconds, 10m at most");
        desk.wrong(&["spec", "stopTimeout"], message);
    }
}
