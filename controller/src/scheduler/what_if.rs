//! What would change a choice: found by asking the scheduler again, with one thing different each time. Loads are
//! bisected, in whole percent; how often is asked is bounded.

use super::{Request, from_spec};
use crate::resource::{Algorithm, Length, Name, SchedulerSpec, Threshold};
use crate::topology::Topology;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// Most questions for one chain.
const MAX_ASKS: usize = 1_000;

/// Thresholds of load/path-aware that are tried.
const THRESHOLDS: std::ops::RangeInclusive<u32> = 1..=12;

/// Highest load that is tried, in percent.
const FULL: u32 = 100;

/// What would change the choice of each position.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WhatIf {
    /// What would be chosen now, if nothing were kept; empty when nothing can be.
    pub path: Vec<String>,
    /// One entry for each function type, in order.
    pub positions: Vec<PositionWhatIf>,
    /// How often the scheduler was asked.
    pub asked: usize,
    /// Whether more could have been asked than is.
    pub cut: bool,
}

/// The candidates of one position.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PositionWhatIf {
    /// Function type.
    pub function: Name,
    /// Instances that were considered.
    pub candidates: Vec<CandidateWhatIf>,
}

/// What would change the choice for or against one instance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CandidateWhatIf {
    /// The instance.
    pub instance: String,
    /// Whether it would be chosen now.
    pub taken: bool,
    /// Not taken: the highest load in percent with which it would be. Taken: the lowest with which it would
    /// not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub load: Option<u32>,
    /// Who would be taken instead, at that load.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// The nearest threshold with which it would be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub l_th: Option<u32>,
    /// Why it may not be taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub barred: Option<String>,
    /// Whether it would be taken but for that.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub but_for_that: bool,
}

impl fmt::Display for CandidateWhatIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = &self.instance;
        let mut said = Vec::new();
        match (&self.barred, self.but_for_that) {
            (Some(why), true) => said.push(format!("it would be taken but for this: it {why}")),
            (Some(why), false) => said.push(format!("it {why}, and would not be taken otherwise")),
            (None, _) => {}
        }
        match (self.taken, self.load, &self.instead) {
            (true, Some(load), Some(other)) => {
                said.push(format!(
                    "{other} would be taken if its load rose to {load}%"
                ));
            }
            (true, Some(load), None) => {
                said.push(format!(
                    "there would be no path if its load rose to {load}%"
                ));
            }
            (false, Some(load), _) => {
                said.push(format!("it would be taken if its load fell to {load}%"));
            }
            (_, None, _) => {}
        }
        if let Some(l_th) = self.l_th {
            said.push(format!("it would be taken if lTh were {l_th}"));
        }
        if said.is_empty() {
            said.push(match self.taken {
                true => "no load of its own would change that".to_owned(),
                false => "no load of its own would have it taken".to_owned(),
            });
        }
        let mark = if self.taken { '*' } else { ' ' };
        write!(f, "{mark} {name}: {}", said.join("; "))
    }
}

impl fmt::Display for WhatIf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for position in &self.positions {
            writeln!(f, "{}:", position.function)?;
            for candidate in &position.candidates {
                writeln!(f, "  {candidate}")?;
            }
        }
        if self.cut {
            writeln!(f, "asked {} times; more was not asked", self.asked)?;
        }
        Ok(())
    }
}

/// Asks with one thing different.
struct Desk<'a> {
    request: Request<'a>,
    spec: &'a SchedulerSpec,
    topology: Topology,
    asked: usize,
}

impl Desk<'_> {
    fn is_tired(&self) -> bool {
        self.asked >= MAX_ASKS
    }

    fn ask(&mut self, spec: &SchedulerSpec, without: &BTreeMap<String, String>) -> Vec<String> {
        self.asked += 1;
        let kept = BTreeMap::new();
        let request = Request {
            topology: &self.topology,
            kept: &kept,
            without,
            ..self.request
        };
        let choice = from_spec(spec).schedule(&request);
        choice.map(|choice| choice.path).unwrap_or_default()
    }

    fn again(&mut self) -> Vec<String> {
        self.ask(self.spec, self.request.without)
    }

    /// The choice if an instance had another load.
    fn with_load(&mut self, name: &str, load: u32) -> Vec<String> {
        let before = self.topology.function(name).cloned();
        self.topology.alter(name, |function| {
            #[expect(clippy::cast_precision_loss, reason = "small whole numbers")]
            let load = load as f32;
            function.load = Some(load);
            function.stale = false;
        });
        let path = self.again();
        if let Some(before) = before {
            self.topology.alter(name, |function| *function = before);
        }
        path
    }

    /// The choice if nothing stood against an instance.
    fn freed(&mut self, name: &str) -> Vec<String> {
        let before = self.topology.function(name).cloned();
        self.topology.alter(name, |function| function.barred = None);
        let mut without = self.request.without.clone();
        without.remove(name);
        let path = self.ask(self.spec, &without);
        if let Some(before) = before {
            self.topology.alter(name, |function| *function = before);
        }
        path
    }

    /// The first load on the way from `from` to `to` at which `holds` changes, and the one before.
    fn bisect(
        &mut self,
        name: &str,
        (mut from, mut to): (u32, u32),
        holds: impl Fn(&[String]) -> bool,
    ) -> (u32, u32) {
        while from.abs_diff(to) > 1 {
            let middle = u32::midpoint(from, to);
            if holds(&self.with_load(name, middle)) {
                to = middle;
            } else {
                from = middle;
            }
        }
        (from, to)
    }
}

/// Finds out what would change the choice. What is kept of a path in use is left out of the question.
pub fn what_if(request: &Request<'_>, spec: &SchedulerSpec) -> WhatIf {
    let mut desk = Desk {
        request: *request,
        spec,
        topology: request.topology.clone(),
        asked: 0,
    };
    let path = desk.again();
    let thresholds = thresholds(&mut desk, spec);
    let mut cut = false;
    let mut positions = Vec::new();
    for (index, function) in request.functions.iter().enumerate() {
        let taken = path.get(index);
        let mut candidates = Vec::new();
        for name in considered(&desk, function, taken) {
            if desk.is_tired() {
                cut = true;
                break;
            }
            let mut about = one(&mut desk, index, &name, taken);
            let nearest = thresholds
                .iter()
                .find(|(_, path)| path.get(index) == Some(&name));
            about.l_th = nearest.map(|(l_th, _)| *l_th).filter(|_| !about.taken);
            candidates.push(about);
        }
        positions.push(PositionWhatIf {
            function: function.clone(),
            candidates,
        });
    }
    WhatIf {
        path,
        positions,
        asked: desk.asked,
        cut,
    }
}

/// Instances that are asked about: of very many, the one that is taken and the least loaded.
fn considered(desk: &Desk<'_>, function: &Name, taken: Option<&String>) -> Vec<String> {
    const MOST: usize = 16;
    let numbers = desk.topology.numbers_of(function).iter();
    let mut all: Vec<_> = numbers
        .filter_map(|number| desk.topology.instance(*number))
        .collect();
    let missing = desk.request.missing;
    if all.len() > MOST {
        all.sort_by(|a, b| {
            let key =
                |f: &crate::topology::ServiceFunction| taken.is_none_or(|taken| **taken != *f.name);
            let loads = a
                .effective_load(missing)
                .total_cmp(&b.effective_load(missing));
            key(a).cmp(&key(b)).then(loads)
        });
        all.truncate(MOST);
        all.sort_by(|a, b| crate::topology::by_name(&a.name, &b.name));
    }
    all.into_iter().map(|f| f.name.to_string()).collect()
}

/// Other thresholds and the paths they give, the nearest first.
fn thresholds(desk: &mut Desk<'_>, spec: &SchedulerSpec) -> Vec<(u32, Vec<String>)> {
    // Those in milliseconds are too many to try.
    if spec.algorithm != Algorithm::LoadPathAware || spec.length != Length::Hops {
        return Vec::new();
    }
    let now = spec.l_th.and_then(|l_th| l_th.of(spec.length));
    let now = now.unwrap_or(super::DEFAULT_L_TH);
    let mut others: Vec<u32> = THRESHOLDS.filter(|l_th| *l_th != now).collect();
    others.sort_by_key(|l_th| (l_th.abs_diff(now), *l_th));
    let without = desk.request.without;
    let paths = others.into_iter().map(|l_th| {
        let other = SchedulerSpec {
            l_th: Some(Threshold::Hops(l_th)),
            ..spec.clone()
        };
        (l_th, desk.ask(&other, without))
    });
    paths.collect()
}

fn one(desk: &mut Desk<'_>, index: usize, name: &str, taken: Option<&String>) -> CandidateWhatIf {
    let is_taken = taken.is_some_and(|taken| taken == name);
    let function = desk.topology.function(name);
    let barred = function.and_then(|function| function.barred.clone());
    let barred = barred.or_else(|| desk.request.without.get(name).cloned());
    let missing = desk.request.missing;
    let load = function.map_or(0.0, |function| function.effective_load(missing));
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "held between 0 and 10000"
    )]
    let load = load.clamp(0.0, 10_000.0).ceil() as u32;
    let mut about = CandidateWhatIf {
        instance: name.to_owned(),
        taken: is_taken,
        load: None,
        instead: None,
        l_th: None,
        barred: None,
        but_for_that: false,
    };
    let here = |path: &[String]| path.get(index).is_some_and(|chosen| chosen == name);
    if let Some(why) = barred {
        about.but_for_that = here(&desk.freed(name));
        about.barred = Some(why);
    } else if is_taken && load < FULL {
        if !here(&desk.with_load(name, FULL)) {
            let (_, changed) = desk.bisect(name, (load, FULL), |path| !here(path));
            about.load = Some(changed);
            about.instead = desk.with_load(name, changed).get(index).cloned();
        }
    } else if !is_taken && load > 0 && here(&desk.with_load(name, 0)) {
        let (_, changed) = desk.bisect(name, (load, 0), here);
        about.load = Some(changed);
    }
    about
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::topology::ServiceFunction;
    use proptest::prelude::*;

    fn instance(name: &str, sff: &str, load: f32) -> ServiceFunction {
        let function = name.split('-').next().unwrap();
        ServiceFunction {
            name: name.into(),
            function: Name::new(function).unwrap(),
            sff: sff.into(),
            load: Some(load),
            stale: false,
            barred: None,
        }
    }

    fn line(instances: Vec<ServiceFunction>) -> Topology {
        Topology::new(["a", "b", "c"], [("a", "b", 1), ("b", "c", 1)], instances)
    }

    fn types() -> Vec<Name> {
        ["fw", "dpi"].map(|name| Name::new(name).unwrap()).to_vec()
    }

    fn spec(algorithm: Algorithm, l_th: Option<u32>) -> SchedulerSpec {
        SchedulerSpec {
            algorithm,
            l_th: l_th.map(Threshold::Hops),
            ..SchedulerSpec::default()
        }
    }

    #[test]
    fn loads_thresholds_and_bars_are_told_as_the_scheduler_answers() {
        let mut down = instance("dpi-3", "a", 1.0);
        down.barred = Some("is on c, which is cordoned".to_owned());
        let topology = line(vec![
            instance("fw-1", "a", 10.0),
            instance("fw-2", "b", 30.0),
            instance("dpi-1", "a", 60.0),
            instance("dpi-2", "c", 20.0),
            down,
        ]);
        let types = types();
        let request = Request::new(&topology, &types);
        let balance = what_if(&request, &spec(Algorithm::LoadBalance, None));
        assert_eq!(balance.path, ["fw-1", "dpi-2"]);
        insta::assert_snapshot!("what_if_load_balance", balance);
        let aware = what_if(&request, &spec(Algorithm::LoadPathAware, Some(3)));
        assert_eq!(aware.path, ["fw-1", "dpi-1"]);
        insta::assert_snapshot!("what_if_load_path_aware", aware);
        assert!(balance.asked < 60 && !balance.cut);
    }

    proptest! {
        #[test]
        fn what_is_told_of_a_load_is_true_on_both_sides(
            loads in prop::collection::vec(0u32..100, 6),
            algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
        ) {
            let sffs = ["a", "b", "c"];
            let named = |(n, load): (usize, &u32)| {
                let kind = if n < 3 { "fw" } else { "dpi" };
                #[expect(clippy::cast_precision_loss, reason = "small")]
                instance(&format!("{kind}-{n}"), sffs[n % 3], *load as f32)
            };
            let topology = line(loads.iter().enumerate().map(named).collect());
            let types = types();
            let request = Request::new(&topology, &types);
            let l_th = (algorithm == Algorithm::LoadPathAware).then_some(3);
            let spec = spec(algorithm, l_th);
            let told = what_if(&request, &spec);
            prop_assert!(told.asked <= MAX_ASKS + 10);
            let mut desk = Desk { request, spec: &spec, topology: topology.clone(), asked: 0 };
            for (index, position) in told.positions.iter().enumerate() {
                for about in &position.candidates {
                    let Some(load) = about.load else { continue };
                    let here = |path: &[String]| path.get(index) == Some(&about.instance);
                    let beyond = if about.taken { load - 1 } else { load + 1 };
                    prop_assert_eq!(here(&desk.with_load(&about.instance, load)), !about.taken);
                    prop_assert_eq!(here(&desk.with_load(&about.instance, beyond)), about.taken);
                }
            }
        }
    }
}
