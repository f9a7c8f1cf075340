//! What a container runs, and when the engine starts it again.

use super::quantity::{self, TIME};
use super::shell;
use super::spot::Spot;
use crate::resource::{Period, ServiceSpec};
use kc_agent_api::{PullPolicy, Restart};
use std::collections::BTreeMap;

/// What Docker gives a container to end by itself; ours would be 3 s.
const GRACE: &str = "10s";

pub(super) fn process(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    program(spot, spec);
    identity(spot, spec);
    if let Some(capabilities) = spot.get("cap_add") {
        spec.capabilities = capabilities
            .texts()
            .into_iter()
            .map(|(name, _)| name.trim_start_matches("CAP_").to_owned())
            .collect();
    }
    if let Some(policy) = spot.get("pull_policy") {
        pull(&policy, spec);
    }
    if let Some(policy) = spot.get("restart") {
        restart(&policy, spec);
    }
    spec.stop_timeout = match spot.get("stop_grace_period") {
        Some(period) => period.parsed(TIME, quantity::time).map(whole_seconds),
        None => GRACE.parse().ok(),
    };
}

/// Compose's `entrypoint` is our `command`, and its `command` our `args`.
fn program(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    if let Some(command) = spot.get("command") {
        spec.args = words(&command);
        if spec.args.is_empty() {
            command.wrong(
                "the image's command cannot be taken away",
                "write what shall run, or leave it out",
            );
        }
    }
    let Some(entrypoint) = spot.get("entrypoint") else {
        return;
    };
    spec.command = words(&entrypoint);
    if spec.command.is_empty() {
        // Without an entry point the command is the program.
        spec.command = std::mem::take(&mut spec.args);
        if spec.command.is_empty() {
            entrypoint.wrong(
                "without an entry point there is nothing to run",
                "write command, or leave it out",
            );
        }
    }
}

/// Who and where the process is.
fn identity(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let text = |key| {
        spot.get(key)
            .and_then(|spot: Spot<'_>| spot.text().map(str::to_owned))
    };
    spec.user = text("user");
    spec.working_dir = text("working_dir");
    spec.hostname = text("hostname");
    spec.read_only_root_filesystem = spot.get("read_only").is_some_and(|spot| spot.flag());
    let groups = spot
        .get("group_add")
        .map_or_else(Vec::new, |all| all.texts());
    spec.group_add = groups
        .into_iter()
        .map(|(group, _)| group.to_owned())
        .collect();
    if let Some(labels) = spot.get("labels") {
        spec.labels = pairs(&labels);
    }
    if let Some(sysctls) = spot.get("sysctls") {
        spec.sysctls = pairs(&sysctls);
    }
}

/// `KEY: VALUE`, or `- KEY=VALUE`.
fn pairs(spot: &Spot<'_>) -> BTreeMap<String, String> {
    let own = |text: &str| text.to_owned();
    if spot.is_list() {
        let entries = spot.texts().into_iter();
        return entries
            .map(|(text, _)| {
                text.split_once('=')
                    .map_or((own(text), String::new()), |(k, v)| (own(k), own(v)))
            })
            .collect();
    }
    let entries = spot.map().into_iter();
    entries
        .filter_map(|(key, spot)| Some((own(key), own(spot.text()?))))
        .collect()
}

/// A container is stopped after whole seconds.
fn whole_seconds(period: Period) -> Period {
    let rounded = format!("{}s", period.millis().div_ceil(1_000));
    rounded.parse().unwrap_or(period)
}

/// A command: a list, or a string that is cut into words.
pub(super) fn words(spot: &Spot<'_>) -> Vec<String> {
    if spot.is_list() {
        return spot
            .texts()
            .into_iter()
            .map(|(word, _)| word.to_owned())
            .collect();
    }
    let Some(text) = spot.text() else {
        return Vec::new();
    };
    match shell::split(text) {
        Ok(split) => {
            if let Some(operator) = split.operator {
                spot.warn(format!(
                    "no shell runs this, so `{operator}` is handed on as it is; for a shell write [sh, -c, …]"
                ));
            }
            split.words
        }
        Err(error) => {
            spot.wrong(
                error.to_string(),
                "close it, or write the command as a list",
            );
            Vec::new()
        }
    }
}

fn pull(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    match spot.text() {
        Some("always") => spec.pull = PullPolicy::Always,
        Some("never") => spec.pull = PullPolicy::Never,
        Some("missing" | "if_not_present") | None => spec.pull = PullPolicy::IfNotPresent,
        Some(other) => spot.wrong(
            format!("{other:?} is not done here"),
            "write always, missing or never",
        ),
    }
}

fn restart(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let Some(text) = spot.text() else { return };
    let (policy, most) = text
        .split_once(':')
        .map_or((text, None), |(policy, most)| (policy, Some(most)));
    spec.restart = match policy {
        "no" | "false" => Restart::Never,
        "always" | "unless-stopped" => Restart::Always,
        "on-failure" => Restart::OnFailure,
        _ => {
            spot.wrong(
                format!("{text:?} is no restart policy"),
                "write no, on-failure, always or unless-stopped",
            );
            return;
        }
    };
    if let Some(most) = most {
        spot.warn(format!(
            "it is started again as often as it fails, not {most} times: later and later"
        ));
    }
}
