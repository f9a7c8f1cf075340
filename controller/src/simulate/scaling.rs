//! What policies of `autoscale` would have made of recorded load: how many instances of each type there would
//! have been. All load of a type is spread evenly over those; what is new takes its share at once.

use super::replay::{Recording, Sample};
use crate::alarm::Metric;
use crate::resource::{AutoscaleSpec, Name};
use crate::scaling::{History, Seen, decide};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Most seconds of a recording, a week: each is decided about.
pub(super) const MAX_SECONDS: f64 = 604_800.0;

/// How one policy did for one type.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ScalingRun {
    /// The type.
    #[serde(rename = "type")]
    pub function: String,
    /// The policy.
    pub policy: String,
    /// Changes of the number.
    pub changes: usize,
    /// Changes in the other direction than the one before.
    pub turns: usize,
    /// Most instances there were.
    pub most: u32,
    /// Instances in the mean of the time: what it costs.
    pub mean: f64,
    /// Share of the time in which the mean load was more than a tenth above the target, percent: what it
    /// costs to be too small.
    pub over_percent: f64,
}

impl ScalingRun {
    /// The heading of [`fmt::Display`]'s columns.
    pub(super) const HEADING: &str =
        "TYPE          CHANGES  TURNS  MOST  MEAN  OVER TARGET  POLICY";
}

impl fmt::Display for ScalingRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let over = format!("{:.1}%", self.over_percent);
        let Self {
            function,
            changes,
            turns,
            most,
            mean,
            policy,
            ..
        } = self;
        write!(
            f,
            "{function:<12}  {changes:>7}  {turns:>5}  {most:>4}  {mean:>4.1}  {over:>11}  {policy}"
        )
    }
}

/// Runs every policy over every type.
pub(super) fn runs(recording: &Recording) -> Vec<ScalingRun> {
    let types: BTreeSet<&Name> = recording.instances.iter().map(|i| &i.function).collect();
    let each = recording.scaling.iter();
    each.flat_map(|spec| types.iter().map(|function| run(recording, spec, function)))
        .collect()
}

fn run(recording: &Recording, spec: &AutoscaleSpec, function: &Name) -> ScalingRun {
    let of_type = recording
        .instances
        .iter()
        .filter(|i| i.function == *function);
    let names: Vec<&str> = of_type.map(|i| i.name.as_str()).collect();
    let level = spec.target.all().find_map(|(metric, level)| {
        (metric == Metric::Cpu).then(|| level.ok().map(crate::alarm::Level::get))?
    });
    let mut told = ScalingRun {
        function: function.to_string(),
        policy: policy(spec),
        ..ScalingRun::default()
    };
    let begins = u32::try_from(names.len()).unwrap_or(u32::MAX);
    let mut wanted = begins.clamp(spec.min.min(spec.max), spec.max);
    let (mut history, mut last, mut seconds, mut over) = (History::default(), None, 0_u32, 0_u32);
    // Far enough from zero for any window to lie before it.
    let start_ms = 1 << 40;
    for (at, sample) in by_second(&recording.samples) {
        let loads = names.iter().filter_map(|name| sample.loads.get(*name));
        let sum: f32 = loads.sum();
        let count = usize::try_from(wanted).unwrap_or(usize::MAX);
        let share = sum / f32::from(u16::try_from(wanted).unwrap_or(u16::MAX));
        let seen = Seen {
            wanted,
            measured: BTreeMap::from([(Metric::Cpu, vec![share; count])]),
            ..Seen::default()
        };
        let decision = decide(spec, &mut history, &seen, start_ms + at * 1_000);
        if let Some((next, _)) = decision.change {
            let grew = next > wanted;
            told.changes += 1;
            told.turns += usize::from(last.is_some_and(|last| last != grew));
            last = Some(grew);
            wanted = next;
        }
        told.most = told.most.max(wanted);
        told.mean += f64::from(wanted);
        over += u32::from(level.is_some_and(|level| share > level * 1.1));
        seconds += 1;
    }
    let all = f64::from(seconds.max(1));
    told.mean /= all;
    told.over_percent = f64::from(over) * 100.0 / all;
    told
}

/// Every second of a recording with the sample that held then.
fn by_second(samples: &[Sample]) -> impl Iterator<Item = (u64, &Sample)> {
    let begin = samples.first().map_or(0.0, |sample| sample.at);
    let next = samples.iter().skip(1).map(|sample| sample.at);
    let ends = next.chain(samples.last().map(|sample| sample.at + 1.0));
    let mut second = 0_u64;
    samples.iter().zip(ends).flat_map(move |(sample, end)| {
        let first = second;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a week of seconds at most, and not negative"
        )]
        let until = (end - begin).clamp(0.0, MAX_SECONDS).ceil() as u64;
        second = until.max(first);
        (first..second).map(move |second| (second, sample))
    })
}

/// The policy in a few words.
fn policy(spec: &AutoscaleSpec) -> String {
    let target = spec.target.cpu.as_deref().unwrap_or("none");
    let seconds = |ms: u64| ms / 1_000;
    format!(
        "{}-{} at {target}, out {}+{} s, in {}+{} s",
        spec.min,
        spec.max,
        seconds(spec.out_cooldown_ms()),
        seconds(spec.out_window_ms()),
        seconds(spec.in_cooldown_ms()),
        seconds(spec.in_window_ms()),
    )
}
