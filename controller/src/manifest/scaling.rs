//! What can be judged about `autoscale` by itself.

use super::check::Desk;
use super::words::hint;
use crate::alarm::{AlarmSpec, Of};
use crate::plan::MAX_REPLICAS;
use crate::resource::{AutoscaleSpec, Period, StepPolicy};

/// Shortest cooldown: what a change does has to be seen before the next.
const SHORTEST_MS: u32 = 1_000;

pub(super) fn check(desk: &mut Desk<'_>, spec: &AutoscaleSpec, alarms: &[AlarmSpec]) {
    let (min, max) = (spec.min, spec.max);
    desk.refuse_if(
        min == 0,
        &["spec", "autoscale", "min"],
        "min 0: with nobody there nothing could be measured; take 1 or more",
    );
    desk.refuse_if(
        max > MAX_REPLICAS,
        &["spec", "autoscale", "max"],
        format!("max {max}; there may be at most {MAX_REPLICAS}"),
    );
    desk.refuse_if(
        max < min,
        &["spec", "autoscale", "max"],
        format!("max {max} is less than min {min}"),
    );
    let replaces = alarms.iter().any(|alarm| alarm.replace);
    desk.refuse_if(
        spec.target.is_empty() && spec.steps.is_empty() && !replaces,
        &["spec", "autoscale"],
        "nothing ever changes the number; add a target such as {cpu: 60%}, steps, or an alarm with replace: true",
    );
    for (metric, level) in spec.target.all() {
        let at = ["spec", "autoscale", "target", metric.as_str()];
        match level {
            Err(error) => desk.wrong(&at, error.to_string()),
            Ok(level) => desk.refuse_if(level.get() < 1.0, &at, "a target is 1% or more"),
        }
    }
    for (index, step) in spec.steps.iter().enumerate() {
        one(desk, &index.to_string(), step, alarms);
    }
    for (key, pace) in [("scaleOut", spec.scale_out), ("scaleIn", spec.scale_in)] {
        let short = pace.cooldown.filter(|c: &Period| c.millis() < SHORTEST_MS);
        if let Some(short) = short {
            let at = ["spec", "autoscale", key, "cooldown"];
            desk.wrong(
                &at,
                format!("cooldown {short} is too short; take 1s or more"),
            );
        }
    }
    desk.refuse_if(
        spec.flap_budget.turns == 0,
        &["spec", "autoscale", "flapBudget", "turns"],
        "with 0 turns it would never shrink; take 1 or more",
    );
}

fn one(desk: &mut Desk<'_>, index: &str, step: &StepPolicy, alarms: &[AlarmSpec]) {
    let at = |key| ["spec", "autoscale", "steps", index, key];
    let alarm = alarms.iter().find(|alarm| alarm.name == step.alarm);
    if alarm.is_none() {
        let names = alarms.iter().map(|alarm| alarm.name.as_str());
        let mut message = format!("it has no alarm {}", step.alarm);
        if let Some(hint) = hint(step.alarm.as_str(), "alarms", names) {
            message.push_str("; ");
            message.push_str(&hint);
        }
        desk.wrong(&at("alarm"), message);
    }
    let both = ["spec", "autoscale", "steps", index];
    match (step.add, step.remove) {
        (Some(0), None) => desk.wrong(&at("add"), "a step of 0 changes nothing"),
        (None, Some(0)) => desk.wrong(&at("remove"), "a step of 0 changes nothing"),
        (None, None) => desk.wrong(&both, "a step has add or remove; this has neither"),
        (Some(_), Some(_)) => desk.wrong(&both, "a step has add or remove; this has both"),
        (Some(_), None) | (None, Some(_)) => {}
    }
    let hasty = step.remove.is_some() && alarm.is_some_and(|alarm| alarm.of == Of::Any);
    desk.refuse_if(
        hasty,
        &at("alarm"),
        format!(
            "alarm {} fires when any one is idle, and the others may be busy; give it of: average",
            step.alarm
        ),
    );
}
