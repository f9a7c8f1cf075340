//! Medians of trials, and ratios of those that were made in pairs.

use super::record::{Case, Trial};
use super::statistics::Spread;
use std::collections::BTreeMap;

/// What came of a contestant in one case.
#[derive(Debug, Clone, PartialEq)]
pub struct Result {
    /// Million frames for each second of CPU time.
    pub norm: Spread,
    /// Million frames a second.
    pub forwarded: Spread,
    /// Share of the offered frames that were lost, median.
    pub lost: f64,
    /// Whether the generator was what limited it, in the median.
    pub is_saturated: bool,
    /// By reference: `norm` divided by the reference's of the same round.
    pub ratios: BTreeMap<String, Spread>,
}

/// All cases with their contestants, each in order of first appearance.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Summary {
    /// Cases.
    pub cases: Vec<(Case, Vec<(String, Result)>)>,
}

impl Summary {
    /// Of these trials.
    pub fn of(trials: &[Trial]) -> Self {
        let mut cases: Vec<(Case, Vec<String>)> = Vec::new();
        for trial in trials {
            let place = match cases.iter().position(|(case, _)| *case == trial.case) {
                Some(place) => place,
                None => {
                    cases.push((trial.case.clone(), Vec::new()));
                    cases.len() - 1
                }
            };
            let names = &mut cases[place].1;
            if !names.contains(&trial.contestant) {
                names.push(trial.contestant.clone());
            }
        }
        let cases = cases.into_iter().map(|(case, names)| {
            let of_case: Vec<&Trial> = trials.iter().filter(|t| t.case == case).collect();
            let results = names.into_iter().filter_map(|name| {
                let result = result(&name, &of_case)?;
                Some((name, result))
            });
            let results = results.collect();
            (case, results)
        });
        Self {
            cases: cases.collect(),
        }
    }
}

fn result(name: &str, trials: &[&Trial]) -> Option<Result> {
    let own: Vec<&&Trial> = trials.iter().filter(|t| t.contestant == name).collect();
    let challenges = own.iter().filter(|trial| trial.beside == name);
    let mut ratios: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for mine in challenges {
        for other in trials {
            if other.beside == name && other.round == mine.round && other.contestant != name {
                let ratio = mine.norm / other.norm;
                ratios
                    .entry(other.contestant.clone())
                    .or_default()
                    .push(ratio);
            }
        }
    }
    let saturated = own.iter().filter(|trial| trial.is_saturated()).count();
    Some(Result {
        norm: Spread::of(own.iter().map(|trial| trial.norm))?,
        forwarded: Spread::of(own.iter().map(|trial| trial.forwarded))?,
        lost: Spread::of(own.iter().map(|t| (1.0 - t.forwarded / t.offered).max(0.0)))?.median,
        is_saturated: 2 * saturated > own.len(),
        ratios: ratios
            .into_iter()
            .filter_map(|(name, ratios)| Some((name, Spread::of(ratios)?)))
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trial(contestant: &str, beside: &str, round: u32, norm: f64) -> Trial {
        Trial {
            case: Case {
                measure: "capacity".into(),
                work: "gpe-hop".into(),
                size: 64,
                flows: 1,
                paths: 1,
                rules: 1,
                checksum: false,
                one_core: false,
            },
            contestant: contestant.into(),
            beside: beside.into(),
            round,
            offered: 2.0,
            forwarded: norm / 2.0,
            cpu: 1.0,
            disturbed: 0.0,
            norm,
            octets: 100.0,
        }
    }

    #[test]
    fn ratios_are_of_trials_of_one_round_and_not_of_medians() {
        // The machine was twice as fast in the second round: no ratio shows it.
        let trials = [
            trial("ovs", "kc", 1, 0.2),
            trial("kc", "kc", 1, 0.8),
            trial("ovs", "kc", 2, 0.4),
            trial("kc", "kc", 2, 1.6),
            trial("ovs", "other", 1, 9.0),
        ];
        let summary = Summary::of(&trials);
        let [(_, results)] = summary.cases.as_slice() else {
            panic!("one case")
        };
        let (_, kc) = results.iter().find(|(name, _)| name == "kc").unwrap();
        let ratio = kc.ratios["ovs"];
        assert_eq!((ratio.median, ratio.least, ratio.most), (4.0, 4.0, 4.0));
        let (_, ovs) = results.iter().find(|(name, _)| name == "ovs").unwrap();
        assert!(ovs.ratios.is_empty());
    }
}
