//! How many instances there shall be: target tracking and step policies between bounds. Pure:
//! what is measured and `now` in, a number and the reason out. Which instances come and go is
//! the planner's.
//!
//! Target tracking wants as many as would bring the mean to its target. What nobody measures is
//! read the careful way: it counts nothing when there might be too few, and as much as the target
//! when there might be too many. So a box that falls silent, or an instance that is starting,
//! never shrinks anything, and is not made up for twice.
//!
//! Growth is quick and shrinking is slow. Both have a cooldown, and a window for which the target
//! must have wanted it. However often load turns round, the number turns round no more often
//! than the flap budget allows; where that is used up it stays large.

mod history;
#[cfg(test)]
mod tests;

pub use history::History;

use crate::alarm::Metric;
use crate::resource::{AutoscaleSpec, Name};
use history::Direction;
use std::collections::{BTreeMap, BTreeSet};

/// How far the mean may be from its target, in parts of it, before anything follows.
const TOLERANCE: f32 = 0.1;

/// What is known of the instances of a resource.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Seen<'a> {
    /// How many there shall be at present.
    pub wanted: u32,
    /// What those that run measure.
    pub measured: BTreeMap<Metric, Vec<f32>>,
    /// Those that are wanted and do not run yet, or no more.
    pub coming: u32,
    /// Alarms of the resource that fire.
    pub firing: BTreeSet<&'a Name>,
    /// Why somebody waits for one more.
    pub need: Option<String>,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// Another number, and why.
    pub change: Option<(u32, String)>,
    /// Why there is none, though one is wanted.
    pub held: Option<String>,
    /// When to decide again though nothing new was measured.
    pub wake_at_ms: Option<u64>,
}

impl Decision {
    fn held(why: impl Into<String>, wake_at_ms: Option<u64>) -> Self {
        Self {
            change: None,
            held: Some(why.into()),
            wake_at_ms,
        }
    }
}

/// What targets want, and why.
struct Wish {
    replicas: u32,
    why: String,
}

/// Decides, and keeps in mind what it takes to decide well the next time.
pub fn decide(
    spec: &AutoscaleSpec,
    history: &mut History,
    seen: &Seen<'_>,
    now_ms: u64,
) -> Decision {
    history.set_back(now_ms);
    let (min, max) = (spec.min.min(spec.max), spec.max);
    let bounded = seen.wanted.clamp(min, max);
    if bounded != seen.wanted {
        let why = match bounded > seen.wanted {
            true => format!("at least {min}"),
            false => format!("at most {max}"),
        };
        history.changed(bounded > seen.wanted, now_ms);
        return changed(bounded, why);
    }
    let wish = tracked(spec, seen);
    if let Some(wish) = &wish {
        history.wished(wish.replicas, now_ms, spec);
    }
    match growth(spec, history, seen, wish.as_ref(), now_ms) {
        Some((wanted, _)) if wanted.min(max) == seen.wanted => {
            Decision::held(format!("{max} are the most there may be"), None)
        }
        Some((wanted, why)) => grow(spec, history, wanted.min(max), why, now_ms),
        None => match shrinkage(spec, history, seen, wish.as_ref(), now_ms) {
            Some((fewer, why)) if fewer.max(min) < seen.wanted => {
                shrink(spec, history, fewer.max(min), why, now_ms)
            }
            _ if waits(spec, seen) => Decision::held("more are on their way", None),
            _ => Decision::default(),
        },
    }
}

fn changed(replicas: u32, why: String) -> Decision {
    Decision {
        change: Some((replicas, why)),
        ..Decision::default()
    }
}

/// Whether somebody asks for more and those that are coming have to show first what they do.
fn waits(spec: &AutoscaleSpec, seen: &Seen<'_>) -> bool {
    seen.coming > 0 && (seen.need.is_some() || stepped(spec, seen, |step| step.add).is_some())
}

/// How many the targets want.
fn tracked(spec: &AutoscaleSpec, seen: &Seen<'_>) -> Option<Wish> {
    let wishes = spec.target.all().filter_map(|(metric, level)| {
        let level = level.ok()?.get();
        let values = seen.measured.get(&metric).filter(|v| !v.is_empty())?;
        let measured = u32::try_from(values.len()).unwrap_or(u32::MAX);
        let sum: f32 = values.iter().sum();
        let silent = seen.wanted.saturating_sub(measured);
        let replicas = wished(seen.wanted, sum, silent, level);
        let mean = sum / count(measured);
        let unit = metric.unit();
        let why = format!(
            "{} is {mean:.0}{unit} in the mean of {measured}, the target {level:.0}{unit}",
            metric.as_str()
        );
        Some(Wish { replicas, why })
    });
    wishes.reduce(|a, b| if b.replicas > a.replicas { b } else { a })
}

/// As many as bring `sum` to `level` each, where `silent` ones of `wanted` say nothing.
fn wished(wanted: u32, sum: f32, silent: u32, level: f32) -> u32 {
    let all = count(wanted) * level;
    let most = sum + count(silent) * level;
    if all <= 0.0 {
        wanted
    } else if sum / all > 1.0 + TOLERANCE {
        whole(sum / level).max(wanted)
    } else if most / all < 1.0 - TOLERANCE {
        whole(most / level).clamp(1, wanted)
    } else {
        wanted
    }
}

#[expect(clippy::cast_precision_loss, reason = "a thousand instances at most")]
fn count(number: u32) -> f32 {
    number as f32
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "it saturates, and loads are not negative"
)]
fn whole(number: f32) -> u32 {
    number.ceil() as u32
}

/// The largest change of a step whose alarm fires, and the alarm.
fn stepped<'s>(
    spec: &'s AutoscaleSpec,
    seen: &Seen<'_>,
    change: impl Fn(&crate::resource::StepPolicy) -> Option<u32>,
) -> Option<(u32, &'s Name)> {
    let steps = spec.steps.iter();
    let steps = steps.filter(|step| seen.firing.contains(&step.alarm));
    steps
        .filter_map(|step| Some((change(step)?, &step.alarm)))
        .reduce(|a, b| if b.0 > a.0 { b } else { a })
}

/// More than there are, if anybody wants more.
fn growth(
    spec: &AutoscaleSpec,
    history: &History,
    seen: &Seen<'_>,
    wish: Option<&Wish>,
    now_ms: u64,
) -> Option<(u32, String)> {
    let tracked = wish.and_then(|wish| {
        let least = history.least_wished(spec.out_window_ms(), now_ms)?;
        Some((least.min(wish.replicas), wish.why.clone()))
    });
    // Alarms and chains cannot tell how many are enough: what is coming has to show first.
    let settled = seen.coming == 0;
    let stepped = stepped(spec, seen, |step| step.add).filter(|_| settled);
    let stepped = stepped.map(|(add, alarm)| {
        let wanted = seen.wanted.saturating_add(add);
        (wanted, format!("alarm {alarm} fires"))
    });
    let needed = seen.need.as_ref().filter(|_| settled);
    let needed = needed.map(|why| (seen.wanted.saturating_add(1), why.clone()));
    let all = [tracked, stepped, needed].into_iter().flatten();
    all.filter(|(wanted, _)| *wanted > seen.wanted)
        .reduce(|a, b| if b.0 > a.0 { b } else { a })
}

/// Fewer than there are, if all who have a say agree.
fn shrinkage(
    spec: &AutoscaleSpec,
    history: &History,
    seen: &Seen<'_>,
    wish: Option<&Wish>,
    now_ms: u64,
) -> Option<(u32, String)> {
    let adds = stepped(spec, seen, |step| step.add).is_some();
    if seen.need.is_some() || adds {
        return None;
    }
    let stepped = stepped(spec, seen, |step| step.remove).map(|(remove, alarm)| {
        let fewer = seen.wanted.saturating_sub(remove);
        (fewer, format!("alarm {alarm} fires"))
    });
    if spec.target.is_empty() {
        return stepped;
    }
    let most = history.most_wished(spec.in_window_ms(), now_ms)?;
    let tracked = (most, wish?.why.clone());
    Some(match stepped {
        Some(step) if step.0 > tracked.0 => step,
        _ => tracked,
    })
}

fn grow(
    spec: &AutoscaleSpec,
    history: &mut History,
    replicas: u32,
    why: String,
    now_ms: u64,
) -> Decision {
    match history.grows_at(spec) {
        Some(at_ms) if at_ms > now_ms => {
            let after = spec.out_cooldown_ms().div_ceil(1_000);
            Decision::held(
                format!("shall grow to {replicas}, {after} s after it grew last: {why}"),
                Some(at_ms),
            )
        }
        _ => {
            history.changed(true, now_ms);
            changed(replicas, why)
        }
    }
}

fn shrink(
    spec: &AutoscaleSpec,
    history: &mut History,
    replicas: u32,
    why: String,
    now_ms: u64,
) -> Decision {
    if let Some(at_ms) = history.shrinks_at(spec).filter(|at_ms| *at_ms > now_ms) {
        let after = spec.in_cooldown_ms().div_ceil(1_000);
        return Decision::held(
            format!("shall shrink to {replicas}, {after} s after its last change: {why}"),
            Some(at_ms),
        );
    }
    let budget = spec.flap_budget;
    if let Some(at_ms) = history.may_turn_at(Direction::In, budget, now_ms) {
        return Decision::held(
            format!(
                "would shrink to {replicas}, but has turned round {} times within {}",
                budget.turns, budget.within
            ),
            Some(at_ms),
        );
    }
    history.changed(false, now_ms);
    changed(replicas, why)
}
