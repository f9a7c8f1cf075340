//! `kc simulate` with `samples`: what was recorded, once more under other schedulers and margins.
//!
//! ```yaml
//! sffs: [box1, box2]
//! mesh: true                                # every SFF without links of its own is linked to all others
//! links: []
//! instances: [{name: fw-1, type: fw, sff: box1}, {name: fw-2, type: fw, sff: box2}]
//! chains: [{name: web, functions: [fw], ingress: box1, egress: box2}]
//! samples:                                  # at: seconds; loads in percent; unknown when left out
//!   - {at: 0, loads: {fw-1: 20, fw-2: 30}}
//!   - {at: 10, loads: {fw-1: 90, fw-2: 30}, barred: {fw-2: is down}}
//! schedulers: [{algorithm: load-balance}]   # all when left out
//! scaling: [{max: 4, target: {cpu: 60%}}]   # policies of autoscale: how many of each type there would have been
//! margins: [0, 10]                          # a path is left for another that costs more than that less; 0: always
//! flapWindow: 60                            # a path that is gone back to within so many seconds is a flap
//! ```
//!
//! Loads are as they were recorded: they do not follow the paths that are chosen here.

use super::scaling::{self, ScalingRun};
use super::{WrittenInstance, WrittenLink, usual};
use crate::alarm::Metric;
use crate::manifest::{ManifestError, Page, Tree, hint, typed};
use crate::resource::{Algorithm, AutoscaleSpec, Length, Name, SchedulerSpec};
use crate::scheduler::{DEFAULT_HOP_WEIGHT, Optimal, Request, Scheduler as _, from_spec, price};
use crate::topology::{Mesh, ServiceFunction, Sff, Topology};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// Most questions in one run: samples, chains, schedulers and margins multiply.
const MAX_ASKS: usize = 2_000_000;

/// Loads over time, as a user writes them and `kc record` does.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Recording {
    /// Boxes.
    pub sffs: Vec<String>,
    /// Whether SFFs without links of their own are linked to all others.
    #[serde(default)]
    pub mesh: bool,
    /// Links.
    #[serde(default)]
    pub links: Vec<WrittenLink>,
    /// Instances of functions.
    pub instances: Vec<WrittenInstance>,
    /// Chains.
    pub chains: Vec<RecordedChain>,
    /// What was seen, in the order of time.
    pub samples: Vec<Sample>,
    /// Schedulers to run; all when empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub schedulers: Vec<SchedulerSpec>,
    /// Margins to run, in points of cost.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub margins: Vec<f64>,
    /// Policies of `autoscale` to run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scaling: Vec<AutoscaleSpec>,
    /// Seconds within which going back is a flap; 60 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flap_window: Option<f64>,
}

/// A chain of a recording.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct RecordedChain {
    /// Its name.
    pub name: Name,
    /// Types of functions, in order.
    pub functions: Vec<Name>,
    /// Where traffic enters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ingress: Option<String>,
    /// Where it leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress: Option<String>,
}

/// One moment.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct Sample {
    /// Seconds since the first.
    pub at: f64,
    /// Load in percent by instance.
    #[serde(default)]
    pub loads: BTreeMap<String, f32>,
    /// Why an instance could not be taken then.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub barred: BTreeMap<String, String>,
}

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Replay {
    /// Moments that were replayed.
    pub samples: usize,
    /// One entry for each scheduler and margin.
    pub runs: Vec<ReplayRun>,
    /// One entry for each policy of `autoscale` and type.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scaling: Vec<ScalingRun>,
}

/// How one scheduler did. Means are over all chains and samples with a path.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplayRun {
    /// The scheduler and its parameters.
    pub scheduler: String,
    /// Points of cost that a change has to gain.
    pub margin: f64,
    /// How often a chain's path changed.
    pub moves: usize,
    /// Changes back to a path that was left within the window.
    pub flaps: usize,
    /// Samples of chains without a path.
    pub without_path: usize,
    /// Mean load of the most loaded instance of a path, percent.
    pub worst_load_mean: f64,
    /// Highest load there was on any path, percent.
    pub worst_load_max: f64,
    /// Mean length of a path, hops.
    pub hops_mean: f64,
    /// How much more than *optimal* a path cost in the mean, percent.
    pub gap_percent: f64,
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.runs.iter().map(|run| run.scheduler.len()).max();
        let width = width.unwrap_or(0).max("SCHEDULER".len());
        writeln!(
            f,
            "{:<width$}  MARGIN  MOVES  FLAPS  WORST(MEAN)  WORST(MAX)  HOPS(MEAN)  GAP TO OPTIMAL  NO PATH",
            "SCHEDULER"
        )?;
        for run in &self.runs {
            let worst = format!("{:.1}%", run.worst_load_mean);
            let most = format!("{:.1}%", run.worst_load_max);
            let gap = format!("{:.1}%", run.gap_percent);
            writeln!(
                f,
                "{:<width$}  {:>6}  {:>5}  {:>5}  {worst:>11}  {most:>10}  {:>10.2}  {gap:>14}  {:>7}",
                run.scheduler, run.margin, run.moves, run.flaps, run.hops_mean, run.without_path
            )?;
        }
        if !self.scaling.is_empty() {
            writeln!(f, "\n{}", ScalingRun::HEADING)?;
        }
        for run in &self.scaling {
            writeln!(f, "{run}")?;
        }
        Ok(())
    }
}

/// Whether a file holds loads over time, or is meant to.
pub fn is_recording(text: &str) -> bool {
    let page = Page::new("", text);
    let tree: Option<Tree> = typed(&page, text, None).ok();
    tree.is_some_and(|tree| tree.get("samples").is_some() || tree.get("chains").is_some())
}

/// Reads a recording and replays it.
pub fn replay(file: &str, text: &str) -> Result<Replay, Vec<ManifestError>> {
    let page = Page::new(file, text);
    let tree: Tree = typed(&page, text, None).map_err(|error| vec![error])?;
    let recording: Recording = typed(&page, text, Some(&tree)).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    check(&recording, &mut |path: &[&str], message, hint| {
        let (line, column) = tree.locate(path);
        errors.push(ManifestError {
            hint,
            ..page.error(line, column, message)
        });
    });
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut specs = recording.schedulers.clone();
    if specs.is_empty() {
        specs = Algorithm::ALL.map(usual).to_vec();
    }
    let margins = match recording.margins.is_empty() {
        true => vec![0.0],
        false => recording.margins.clone(),
    };
    let asks = specs.len() * margins.len() * recording.samples.len() * recording.chains.len();
    if asks > MAX_ASKS {
        let (line, column) = tree.locate(&["samples"]);
        let message = format!("{asks} paths would have to be found; at most {MAX_ASKS} are");
        return Err(vec![page.error(line, column, message)]);
    }
    let mut runs = Vec::new();
    for spec in &specs {
        for margin in &margins {
            runs.push(run(&recording, spec, *margin));
        }
    }
    Ok(Replay {
        samples: recording.samples.len(),
        runs,
        scaling: scaling::runs(&recording),
    })
}

fn topology(recording: &Recording) -> Topology {
    let ends = recording
        .links
        .iter()
        .flat_map(|l| [l.from.as_str(), l.to.as_str()]);
    let spoken: BTreeSet<&str> = ends.collect();
    let sffs = recording.sffs.iter().map(|name| Sff {
        name,
        mesh: recording.mesh.then(|| Mesh {
            class: 0,
            spoken: spoken.contains(name.as_str()),
        }),
    });
    let links = recording.links.iter();
    let links = links.map(|l| (l.from.as_str(), l.to.as_str(), l.hops));
    let functions = recording.instances.iter().map(|instance| ServiceFunction {
        name: instance.name.as_str().into(),
        function: instance.function.clone(),
        sff: instance.sff.as_str().into(),
        load: instance.load,
        stale: instance.stale,
        barred: instance.barred.clone(),
    });
    Topology::new(sffs, links, functions)
}

/// A chain as it stands in one run.
#[derive(Default)]
struct Standing {
    path: Vec<String>,
    draws: u64,
    rotation: BTreeMap<Name, String>,
    /// When each path was last left.
    left: BTreeMap<Vec<String>, f64>,
}

fn run(recording: &Recording, spec: &SchedulerSpec, margin: f64) -> ReplayRun {
    let scheduler = from_spec(spec);
    let best = Optimal {
        hop_weight: DEFAULT_HOP_WEIGHT,
    };
    let window = recording.flap_window.unwrap_or(60.0);
    let mut topology = topology(recording);
    let mut standings: Vec<Standing> = Vec::new();
    standings.resize_with(recording.chains.len(), Standing::default);
    let mut told = ReplayRun {
        scheduler: scheduler.name(),
        margin,
        ..ReplayRun::default()
    };
    let mut paths = 0.0;
    for sample in &recording.samples {
        for instance in &recording.instances {
            topology.alter(&instance.name, |function| {
                function.load = sample.loads.get(&instance.name).copied();
                function.stale = false;
                let barred = sample.barred.get(&instance.name);
                function.barred = barred.cloned().or_else(|| instance.barred.clone());
            });
        }
        for (chain, standing) in recording.chains.iter().zip(&mut standings) {
            let request = Request {
                ingress: chain.ingress.as_deref(),
                egress: chain.egress.as_deref(),
                missing: spec.missing_load,
                draws: standing.draws,
                rotation: &standing.rotation,
                ..Request::new(&topology, &chain.functions)
            };
            let cost = |path: &[String]| {
                let usable =
                    |name: &String| topology.function(name).is_some_and(|f| f.barred.is_none());
                let whole = !path.is_empty() && path.iter().all(usable);
                price(&request, path, DEFAULT_HOP_WEIGHT).filter(|_| whole)
            };
            let chosen = scheduler.schedule(&request).map(|choice| choice.path);
            let chosen = chosen.unwrap_or_default();
            let optimal = best.schedule(&request).map(|choice| choice.path);
            let optimal = cost(&optimal.unwrap_or_default());
            let moves = match (cost(&standing.path), cost(&chosen)) {
                (Some(now), Some(then)) => {
                    chosen != standing.path && (margin <= 0.0 || now - then > margin)
                }
                (None, then) => then.is_some(),
                (Some(_), None) => false,
            };
            let now = if moves { &chosen } else { &standing.path };
            match (cost(now), optimal) {
                (Some(cost), Some(optimal)) => {
                    let loads = now.iter().filter_map(|name| topology.function(name));
                    let loads = loads.map(|f| f.effective_load(spec.missing_load));
                    let worst = f64::from(loads.fold(0.0, f32::max));
                    paths += 1.0;
                    told.worst_load_mean += worst;
                    told.worst_load_max = told.worst_load_max.max(worst);
                    told.hops_mean += (cost - worst) / f64::from(DEFAULT_HOP_WEIGHT);
                    told.gap_percent += match optimal > 0.0 {
                        true => (cost / optimal - 1.0) * 100.0,
                        false => 0.0,
                    };
                }
                _ => told.without_path += 1,
            }
            if !moves {
                continue;
            }
            standing.draws += 1;
            for (function, name) in chain.functions.iter().zip(&chosen) {
                standing.rotation.insert(function.clone(), name.clone());
            }
            if !standing.path.is_empty() {
                told.moves += 1;
                let back = standing.left.get(&chosen);
                told.flaps += usize::from(back.is_some_and(|left| sample.at - left <= window));
                let left = std::mem::take(&mut standing.path);
                standing.left.insert(left, sample.at);
            }
            standing.path = chosen;
        }
    }
    if paths > 0.0 {
        told.worst_load_mean /= paths;
        told.hops_mean /= paths;
        told.gap_percent /= paths;
    }
    told
}

type Wrong<'w> = dyn FnMut(&[&str], String, Option<String>) + 'w;

fn check(recording: &Recording, wrong: &mut Wrong<'_>) {
    let sffs: BTreeSet<&str> = recording.sffs.iter().map(String::as_str).collect();
    let names: BTreeSet<&str> = recording
        .instances
        .iter()
        .map(|i| i.name.as_str())
        .collect();
    let types: BTreeSet<&str> = recording
        .instances
        .iter()
        .map(|i| i.function.as_str())
        .collect();
    let known =
        |path: &[&str], what: &str, word: &str, all: &BTreeSet<&str>, wrong: &mut Wrong<'_>| {
            if !all.contains(word) {
                let message = format!("there is no {what} {word}");
                wrong(path, message, hint(word, "there are", all.iter().copied()));
            }
        };
    for (index, link) in recording.links.iter().enumerate() {
        let index = index.to_string();
        known(&["links", &index, "from"], "SFF", &link.from, &sffs, wrong);
        known(&["links", &index, "to"], "SFF", &link.to, &sffs, wrong);
        if link.hops == 0 || link.hops > 1000 {
            let message = format!("{} hops; a link counts for 1 to 1000", link.hops);
            wrong(&["links", &index, "hops"], message, None);
        }
    }
    for (index, instance) in recording.instances.iter().enumerate() {
        let index = index.to_string();
        known(
            &["instances", &index, "sff"],
            "SFF",
            &instance.sff,
            &sffs,
            wrong,
        );
    }
    for (index, chain) in recording.chains.iter().enumerate() {
        let index = index.to_string();
        for (at, function) in chain.functions.iter().enumerate() {
            let path = ["chains", &index, "functions", &at.to_string()].map(str::to_owned);
            let path = path.each_ref().map(String::as_str);
            known(&path, "instance of type", function.as_str(), &types, wrong);
        }
        for (key, end) in [("ingress", &chain.ingress), ("egress", &chain.egress)] {
            if let Some(end) = end {
                known(&["chains", &index, key], "SFF", end, &sffs, wrong);
            }
        }
    }
    let mut before = f64::NEG_INFINITY;
    for (index, sample) in recording.samples.iter().enumerate() {
        let index = index.to_string();
        if !sample.at.is_finite() || sample.at < before {
            let message = "samples stand in the order of time, in seconds".to_owned();
            wrong(&["samples", &index, "at"], message, None);
        }
        before = sample.at;
        for (name, load) in &sample.loads {
            known(
                &["samples", &index, "loads", name],
                "instance",
                name,
                &names,
                wrong,
            );
            if !load.is_finite() || *load < 0.0 {
                let message = "a load is a percentage from 0 up".to_owned();
                wrong(&["samples", &index, "loads", name], message, None);
            }
        }
        for name in sample.barred.keys() {
            known(
                &["samples", &index, "barred", name],
                "instance",
                name,
                &names,
                wrong,
            );
        }
    }
    if recording.samples.is_empty() || recording.chains.is_empty() {
        let message = "a recording needs chains and samples".to_owned();
        wrong(&["samples"], message, None);
    }
    for (index, margin) in recording.margins.iter().enumerate() {
        if !margin.is_finite() || *margin < 0.0 {
            let message = "a margin is 0 or more points of cost".to_owned();
            wrong(&["margins", &index.to_string()], message, None);
        }
    }
    for (index, spec) in recording.scaling.iter().enumerate() {
        let at = ["scaling", &index.to_string()].map(str::to_owned);
        let at = at.each_ref().map(String::as_str);
        let odd = match spec.target.all().next() {
            _ if spec.min == 0 || spec.max < spec.min || spec.max > 1_000 => {
                Some("min is 1 or more, and max no less, 1000 at most".to_owned())
            }
            Some((Metric::Cpu, level)) => level.err().map(|error| error.to_string()),
            _ => Some(
                "a recording has CPU only; a policy needs a target such as {cpu: 60%}".to_owned(),
            ),
        };
        if let Some(message) = odd {
            wrong(&at, message, None);
        }
    }
    let first = recording.samples.first().map_or(0.0, |sample| sample.at);
    if !recording.scaling.is_empty() && before - first > scaling::MAX_SECONDS {
        let message = "policies are run over a week at most".to_owned();
        wrong(&["scaling"], message, None);
    }
    for (index, spec) in recording.schedulers.iter().enumerate() {
        let aware = spec.algorithm == Algorithm::LoadPathAware;
        if spec.length != Length::Hops {
            let message = "a recording knows hops, and no latency".to_owned();
            wrong(&["schedulers", &index.to_string(), "length"], message, None);
            continue;
        }
        let l_th = spec.l_th.and_then(|l_th| l_th.of(spec.length));
        if aware && l_th.is_none_or(|l_th| l_th == 0) {
            let message = "load-path-aware needs lTh, its threshold in hops".to_owned();
            wrong(&["schedulers", &index.to_string()], message, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECORDED: &str = include_str!("../../examples/simulate/recorded.yaml");

    #[test]
    fn the_recorded_example_is_replayed_under_all_that_it_names() {
        let replay = replay("recorded.yaml", RECORDED).unwrap();
        insta::assert_snapshot!(replay);
        for run in &replay.runs {
            assert!(run.gap_percent >= -1e-9, "{run:?}");
            assert!(run.flaps <= run.moves);
        }
        let of = |scheduler: &str, margin: f64| {
            let runs = replay.runs.iter();
            let mut runs = runs.filter(|r| r.scheduler.starts_with(scheduler));
            runs.find(|run| (run.margin - margin).abs() < 0.1).unwrap()
        };
        assert!(of("optimal", 0.0).gap_percent.abs() < 1e-9);
        assert!(of("load-balance", 10.0).moves < of("load-balance", 0.0).moves);
        assert!(of("load-balance", 0.0).flaps > 0);
        assert!(of("shortest-path", 0.0).moves < of("load-balance", 0.0).moves);
    }

    #[test]
    fn a_wrong_recording_is_told_with_its_place() {
        for (from, to, word) in [
            ("ingress: box1", "ingress: bx1", "did you mean box1?"),
            ("fw-1: 20", "fw1: 20", "did you mean fw-1?"),
            ("at: 10,", "at: -1,", "order of time"),
            ("margins: [0, 10]", "margins: [-1]", "0 or more"),
            (
                "functions: [fw, dpi]",
                "functions: [fw, dip]",
                "did you mean dpi?",
            ),
            ("samples:", "sampels:", "did you mean samples?"),
            ("{cpu: 40%}}", "{memory: 40%}}", "needs a target"),
            ("max: 4, target", "min: 5, max: 4, target", "max no less"),
            ("cpu: 40%", "cpu: forty", "is no level"),
        ] {
            assert!(RECORDED.contains(from), "{from}");
            let text = RECORDED.replacen(from, to, 1);
            let errors = replay("r.yaml", &text).unwrap_err();
            let told: Vec<_> = errors.iter().map(ToString::to_string).collect();
            assert!(told.join("\n").contains(word), "{to}: {told:?}");
            assert!(errors.iter().all(|error| error.line > 1), "{to}: {told:?}");
        }
    }
}
