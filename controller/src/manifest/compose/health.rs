//! `healthcheck`: the command is run in the container. Times that are not said are Docker's.

use super::quantity::{self, TIME};
use super::spot::Spot;
use crate::resource::{HealthSpec, Period, ServiceSpec};

/// Docker's interval and timeout.
const USUAL: &str = "30s";

pub(super) fn health(spot: &Spot<'_>, spec: &mut ServiceSpec) {
    let Some(spot) = spot.get("healthcheck") else {
        return;
    };
    let mut check = HealthSpec::default();
    let mut said = false;
    let time = |value: &Spot<'_>| -> Option<Period> { value.parsed(TIME, quantity::time) };
    for (key, value) in spot.fields(&[
        "test",
        "interval",
        "timeout",
        "retries",
        "start_period",
        "start_interval",
        "disable",
    ]) {
        match key {
            _ if value.is_null() => {}
            "disable" => check.disable |= value.flag(),
            "test" => {
                said = true;
                match test(&value) {
                    Some(command) if command.is_empty() => check.disable = true,
                    command => check.exec = command,
                }
            }
            "interval" => check.interval = time(&value),
            "timeout" => check.timeout = time(&value),
            "start_period" => check.start_period = time(&value),
            "retries" => check.failure_threshold = value.number(),
            _ => value.warn("left out: the interval counts from the start on"),
        }
    }
    if check.disable {
        check = HealthSpec {
            disable: true,
            ..HealthSpec::default()
        };
    } else if said {
        check.interval = check.interval.or_else(|| USUAL.parse().ok());
        check.timeout = check.timeout.or_else(|| USUAL.parse().ok());
    } else {
        spot.wrong(
            "the image's own check has its own times",
            "write test: too, or leave healthcheck out",
        );
    }
    spec.health = Some(check);
}

/// The command; empty for none.
fn test(spot: &Spot<'_>) -> Option<Vec<String>> {
    let shell = |text: &str| ["/bin/sh", "-c", text].map(str::to_owned).to_vec();
    if !spot.is_list() {
        return spot.text().map(|text| match text {
            "NONE" => Vec::new(),
            text => shell(text),
        });
    }
    let words: Vec<&str> = spot.texts().into_iter().map(|(word, _)| word).collect();
    match words.as_slice() {
        ["NONE"] => Some(Vec::new()),
        ["CMD", first, rest @ ..] => Some(
            std::iter::once(first)
                .chain(rest)
                .map(|word| (*word).to_owned())
                .collect(),
        ),
        ["CMD-SHELL", text] => Some(shell(text)),
        _ => {
            spot.wrong(
                "a list begins with CMD, CMD-SHELL or NONE",
                "write [CMD, PROGRAM, ARGUMENT], [CMD-SHELL, \"COMMAND\"], or just the command",
            );
            None
        }
    }
}
