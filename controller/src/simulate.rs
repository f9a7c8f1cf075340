//! `kc simulate`: schedulers on a topology given in a file, without a controller or a box.
//!
//! ```yaml
//! sffs: [SFF1, SFF2]
//! links: [{from: SFF1, to: SFF2, hops: 1}]        # hops: 1 when left out; latency: 2ms for length: latency
//! instances:
//!   - {name: FW1, type: fw, sff: SFF1, load: 70}  # load in percent; unknown when left out
//!   - {name: FW2, type: fw, sff: SFF2, barred: is down}
//!   - {name: FW3, type: fw, sff: SFF2, load: 20, stale: true}   # the scheduler's missingLoad decides
//! chain: [fw]
//! ingress: SFF1                                   # optional, like egress
//! schedulers: [{algorithm: load-path-aware, lTh: 4}]   # or scheduler: {...}; all when left out
//! ```

mod replay;
mod scaling;

pub use replay::{RecordedChain, Recording, Replay, ReplayRun, Sample, is_recording, replay};
pub use scaling::ScalingRun;

use crate::latency::Latency;
use crate::manifest::{ManifestError, Page, Tree, typed};
use crate::resource::{Algorithm, Length, Name, SchedulerSpec, Threshold};
use crate::scheduler::{Explanation, Position, Request, from_spec};
use crate::topology::{ServiceFunction, Topology};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fmt;

/// L_TH of load/path-aware when all schedulers are run.
const USUAL_L_TH: u32 = 4;

/// A link counts as this at least while nobody says what it takes: tenths of a millisecond.
const UNMEASURED: u32 = 100;

/// What came out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Simulation {
    /// One entry per scheduler asked for.
    pub runs: Vec<Run>,
}

/// One scheduler's answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The scheduler and its parameters.
    pub scheduler: String,
    /// Chosen instances in order; empty when there is no path.
    pub path: Vec<String>,
    /// Hops in all.
    pub hops: Option<u32>,
    /// Its latency, where that is the length.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
    /// Why there is no path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why these.
    pub explanation: Explanation,
}

impl fmt::Display for Simulation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, run) in self.runs.iter().enumerate() {
            if index > 0 {
                writeln!(f)?;
            }
            match &run.error {
                Some(error) => writeln!(f, "no path: {error}")?,
                None => writeln!(f, "path {}", run.path.join(" -> "))?,
            }
            write!(f, "{}", run.explanation)?;
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Written {
    sffs: Vec<String>,
    #[serde(default)]
    links: Vec<WrittenLink>,
    instances: Vec<WrittenInstance>,
    chain: Vec<Name>,
    #[serde(default)]
    ingress: Option<String>,
    #[serde(default)]
    egress: Option<String>,
    #[serde(default)]
    scheduler: Option<SchedulerSpec>,
    #[serde(default)]
    schedulers: Vec<SchedulerSpec>,
}

/// A link as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WrittenLink {
    /// One end.
    pub from: String,
    /// The other.
    pub to: String,
    /// What it counts for.
    #[serde(default = "one")]
    pub hops: u32,
    /// What it takes, for schedulers with `length: latency`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub latency: Option<Latency>,
}

fn one() -> u32 {
    1
}

/// An instance as it is written.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct WrittenInstance {
    /// Its name.
    pub name: String,
    /// Its type.
    #[serde(rename = "type")]
    pub function: Name,
    /// The SFF it is behind.
    pub sff: String,
    /// Load in percent; unknown when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<f32>,
    /// Whether that is too old to be believed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stale: bool,
    /// Why it may not be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barred: Option<String>,
}

/// Reads a topology file and runs what it asks for.
pub fn simulate(file: &str, text: &str) -> Result<Simulation, Vec<ManifestError>> {
    let page = Page::new(file, text);
    let tree: Tree = typed(&page, text, None).map_err(|error| vec![error])?;
    let written: Written = typed(&page, text, Some(&tree)).map_err(|error| vec![error])?;
    let mut errors = Vec::new();
    check(&written, &mut |path, message| {
        let (line, column) = tree.locate(path);
        errors.push(page.error(line, column, message));
    });
    if !errors.is_empty() {
        return Err(errors);
    }
    let links = written
        .links
        .iter()
        .map(|l| (l.from.as_str(), l.to.as_str(), l.hops));
    let functions = written.instances.iter().map(|instance| ServiceFunction {
        name: instance.name.as_str().into(),
        function: instance.function.clone(),
        sff: instance.sff.as_str().into(),
        load: instance.load,
        stale: instance.stale,
        barred: instance.barred.clone(),
    });
    let sffs = || written.sffs.iter().map(String::as_str);
    let hops = Topology::new(sffs(), links, functions.clone());
    let known = written.links.iter().filter_map(|link| link.latency);
    let unknown = known
        .max()
        .map_or(UNMEASURED, |most| most.tenths().max(UNMEASURED));
    let takes = written.links.iter().map(|link| {
        let unmeasured = || unknown.saturating_mul(link.hops);
        let takes = link.latency.map_or_else(unmeasured, Latency::tenths);
        (link.from.as_str(), link.to.as_str(), takes)
    });
    let latency = Topology::measured(Length::Latency, unknown, sffs(), takes, functions);
    let mut specs: Vec<_> = written
        .scheduler
        .iter()
        .chain(&written.schedulers)
        .cloned()
        .collect();
    if specs.is_empty() {
        specs = Algorithm::ALL.map(usual).to_vec();
    }
    let runs = specs.iter().map(|spec| match spec.length {
        Length::Hops => run(&written, &hops, spec),
        Length::Latency => run(&written, &latency, spec),
    });
    Ok(Simulation {
        runs: runs.collect(),
    })
}

fn usual(algorithm: Algorithm) -> SchedulerSpec {
    SchedulerSpec {
        algorithm,
        l_th: (algorithm == Algorithm::LoadPathAware).then_some(Threshold::Hops(USUAL_L_TH)),
        ..SchedulerSpec::default()
    }
}

fn run(written: &Written, topology: &Topology, spec: &SchedulerSpec) -> Run {
    let request = Request {
        ingress: written.ingress.as_deref(),
        egress: written.egress.as_deref(),
        missing: spec.missing_load,
        ..Request::new(topology, &written.chain)
    };
    let scheduler = from_spec(spec);
    match scheduler.schedule(&request) {
        Ok(choice) => Run {
            scheduler: scheduler.name(),
            path: choice.path,
            hops: choice.explanation.hops,
            latency: choice.explanation.latency,
            error: None,
            explanation: choice.explanation,
        },
        Err(error) => Run {
            scheduler: scheduler.name(),
            path: Vec::new(),
            hops: None,
            latency: None,
            error: Some(error.to_string()),
            explanation: Explanation {
                scheduler: scheduler.name(),
                positions: vec![Position {
                    function: error.function,
                    rule: "none can be used".to_owned(),
                    candidates: error.left,
                    more: error.more,
                }],
                hops: None,
                latency: None,
            },
        },
    }
}

fn check(written: &Written, wrong: &mut impl FnMut(&[&str], String)) {
    let sffs: BTreeSet<&str> = written.sffs.iter().map(String::as_str).collect();
    let on_sff = |path: &[&str], sff: &str, wrong: &mut dyn FnMut(&[&str], String)| {
        if !sffs.contains(sff) {
            wrong(path, format!("there is no SFF {sff}"));
        }
    };
    for (index, link) in written.links.iter().enumerate() {
        let index = index.to_string();
        on_sff(&["links", &index, "from"], &link.from, wrong);
        on_sff(&["links", &index, "to"], &link.to, wrong);
        if let Some(latency) = link.latency.filter(|latency| !latency.is_of_a_link()) {
            let message = format!("{latency}; a link takes 0.1ms to 10000ms");
            wrong(&["links", &index, "latency"], message);
        }
        if link.hops == 0 || link.hops > 1000 {
            let message = format!("{} hops; a link counts for 1 to 1000", link.hops);
            wrong(&["links", &index, "hops"], message);
        }
    }
    let mut names: BTreeSet<&str> = sffs.clone();
    for (index, instance) in written.instances.iter().enumerate() {
        let index = index.to_string();
        on_sff(&["instances", &index, "sff"], &instance.sff, wrong);
        if !names.insert(&instance.name) {
            let message = format!("{} is here twice", instance.name);
            wrong(&["instances", &index, "name"], message);
        }
        if instance
            .load
            .is_some_and(|load| !load.is_finite() || load < 0.0)
        {
            let message = "a load is a percentage from 0 up".to_owned();
            wrong(&["instances", &index, "load"], message);
        }
    }
    for (key, end) in [("ingress", &written.ingress), ("egress", &written.egress)] {
        if let Some(end) = end {
            on_sff(&[key], end, wrong);
        }
    }
    if written.chain.is_empty() {
        wrong(&["chain"], "a chain needs at least one function".to_owned());
    }
    for (index, function) in written.chain.iter().enumerate() {
        let path = ["chain", &index.to_string()].map(str::to_owned);
        let path = path.each_ref().map(String::as_str);
        if !written
            .instances
            .iter()
            .any(|instance| instance.function == *function)
        {
            wrong(&path, format!("no instance has the type {function}"));
        }
        if written.chain.iter().position(|other| other == function) < Some(index) {
            wrong(&path, format!("{function} is here twice"));
        }
    }
    let all = written.scheduler.iter().chain(&written.schedulers);
    for spec in all.filter(|spec| spec.algorithm == Algorithm::LoadPathAware) {
        let l_th = spec.l_th.and_then(|l_th| l_th.of(spec.length));
        if l_th.is_none_or(|l_th| l_th == 0) {
            let key = if written.scheduler.is_some() {
                "scheduler"
            } else {
                "schedulers"
            };
            wrong(
                &[key],
                match spec.length {
                    Length::Hops => "load-path-aware needs lTh, its threshold in hops".to_owned(),
                    Length::Latency => "load-path-aware needs lTh, such as 5ms".to_owned(),
                },
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    macro_rules! example {
        ($name:literal) => {
            simulate($name, include_str!(concat!("../examples/simulate/", $name))).unwrap()
        };
    }

    #[test]
    fn the_published_examples_give_the_published_paths() {
        assert_eq!(
            example!("published-lth4.yaml").runs[0].path,
            ["FW1", "DPI3", "NAT2"]
        );
        assert_eq!(
            example!("published-lth3.yaml").runs[0].path,
            ["FW1", "DPI2", "NAT2"]
        );
        // The slide prints FW1, DPI2, NAT3; the example says why no threshold gives that.
        assert_eq!(
            example!("published-lth2.yaml").runs[0].path,
            ["FW1", "DPI1", "NAT1"]
        );
    }

    #[test]
    fn a_quick_way_may_be_longer_in_hops() {
        let simulation = example!("latency.yaml");
        let paths: Vec<_> = simulation
            .runs
            .iter()
            .map(|run| run.path.join(" "))
            .collect();
        // The published rule takes the first function without asking how far it is.
        assert_eq!((&*paths[0], &*paths[4]), ("FW2 DPI2", "FW2 DPI2"));
        assert!(
            paths[1..4].iter().all(|path| path == "FW3 DPI3"),
            "{paths:?}"
        );
        insta::assert_snapshot!(simulation);
        let odd = include_str!("../examples/simulate/latency.yaml");
        for (from, to, told) in [
            ("latency: 8ms", "latency: 8", "latency"),
            ("latency: 8ms", "latency: 8s", "write 5ms or 0.3ms"),
            ("latency: 8ms", "latency: 0ms", "a link takes 0.1ms"),
            (
                "lTh: 5ms",
                "lTh: 5",
                "load-path-aware needs lTh, such as 5ms",
            ),
            ("lTh: 5ms", "lTh: soon", "write 5ms or 0.3ms"),
        ] {
            let errors = simulate("x.yaml", &odd.replace(from, to)).unwrap_err();
            assert!(errors[0].message.contains(told), "{:?}", errors[0]);
        }
    }

    #[test]
    fn all_schedulers_explain_themselves() {
        let simulation = example!("all-schedulers.yaml");
        assert_eq!(simulation.runs.len(), Algorithm::ALL.len());
        insta::assert_snapshot!(simulation);
    }

    #[test]
    fn a_wrong_topology_is_told_with_its_place() {
        let text = "sffs: [A]\ninstances:\n  - {name: F1, type: fw, sff: B}\n  - {name: F1, type: fw, sff: A, load: -1}\nchain: [fw, fw, dpi]\nscheduler: {algorithm: load-path-aware}\n";
        let errors = simulate("t.yaml", text).unwrap_err();
        let told: Vec<_> = errors
            .iter()
            .map(|e| format!("{}:{} {}", e.line, e.column, e.message))
            .collect();
        assert_eq!(
            told,
            [
                "3:31 there is no SFF B",
                "4:12 F1 is here twice",
                "4:40 a load is a percentage from 0 up",
                "5:13 fw is here twice",
                "5:17 no instance has the type dpi",
                "6:12 load-path-aware needs lTh, its threshold in hops",
            ]
        );
        assert!(simulate("t.yaml", "sffs: [A]\nchian: [x]\n").is_err());
    }
}
