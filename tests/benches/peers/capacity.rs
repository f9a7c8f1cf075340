//! How many packets a contestant forwards for a second of its CPU's time, in pairs with its
//! references: A B A B, so that a noisy machine is noisy for both.

use crate::contestant::{self, Contestant, Entrant, Hall};
use crate::journal::Journal;
use crate::trial::{self, Reading};
use crate::work::{Task, Work};
use anyhow::Result;
use kc_tests::bench::frames::{Sizes, Traffic};
use kc_tests::bench::record::{Case, Line, Skipped, Trial};
use std::collections::BTreeMap;

/// What is to be measured.
pub(crate) struct Plan {
    /// Contestants, each beside all references.
    pub(crate) contestants: Vec<&'static Contestant>,
    /// Names of references; `twin` for the bare loop with the same I/O.
    pub(crate) against: Vec<String>,
    /// Rounds.
    pub(crate) rounds: u32,
    /// Seconds of a trial.
    pub(crate) seconds: f64,
    /// Sizes of inner frames.
    pub(crate) sizes: Vec<Sizes>,
    /// Inner flows.
    pub(crate) flows: Vec<u32>,
    /// Outer UDP checksums are complete.
    pub(crate) checksum: bool,
}

impl Plan {
    /// References of `contestant` in `work`, without itself.
    fn references(&self, contestant: &Contestant, work: Work) -> Vec<&'static Contestant> {
        let mut found: Vec<&'static Contestant> = Vec::new();
        for name in &self.against {
            let reference = if name == "twin" {
                let mut twins = contestant
                    .twins
                    .iter()
                    .filter_map(|name| contestant::find(name));
                twins.find(|twin| twin.does(work))
            } else {
                contestant::find(name).filter(|reference| reference.does(work))
            };
            if let Some(reference) = reference
                && reference.name != contestant.name
                && !found.iter().any(|known| known.name == reference.name)
            {
                found.push(reference);
            }
        }
        found
    }
}

/// References that stay set up while one contestant after the other is measured beside them.
#[derive(Default)]
struct Stands {
    entrants: BTreeMap<&'static str, Option<Entrant>>,
}

/// Measures one task of all contestants.
pub(crate) fn run(hall: &Hall, plan: &Plan, task: Task, journal: &mut Journal) -> Result<()> {
    let mut stands = Stands::default();
    for contestant in &plan.contestants {
        if !contestant.does(task.work) {
            continue;
        }
        let Some(mut own) = enter(hall, contestant, task, journal)? else {
            continue;
        };
        let references = plan.references(contestant, task.work);
        for reference in &references {
            if !stands.entrants.contains_key(reference.name) {
                let entrant = enter(hall, reference, task, journal)?;
                stands.entrants.insert(reference.name, entrant);
            }
        }
        for &sizes in &plan.sizes {
            for &flows in &plan.flows {
                let traffic = Traffic {
                    wrap: task.work.arrives(),
                    sizes,
                    flows,
                    paths: task.paths,
                    checksum: plan.checksum,
                };
                let mut pairs = Pairs {
                    hall,
                    plan,
                    task,
                    traffic,
                    beside: contestant.name,
                    journal,
                };
                pairs.run(&mut own, &references, &mut stands)?;
            }
        }
    }
    Ok(())
}

/// Sets a contestant up; `None`, and a line in the journal, when it cannot take part.
fn enter(
    hall: &Hall,
    contestant: &Contestant,
    task: Task,
    journal: &mut Journal,
) -> Result<Option<Entrant>> {
    journal.progress(&format!("{}: {} enters", task.work, contestant.name));
    match contestant.enter(hall, task) {
        Ok(entrant) => Ok(Some(entrant)),
        Err(error) => {
            skip(contestant.name, task.work, &format!("{error:#}"), journal)?;
            Ok(None)
        }
    }
}

/// Notes that somebody cannot take part, unless it was told to stop.
fn skip(name: &str, work: Work, reason: &str, journal: &mut Journal) -> Result<()> {
    crate::interrupt::sleep(std::time::Duration::ZERO)?;
    journal.write(&Line::Skipped(Skipped {
        contestant: name.to_owned(),
        work: work.name().to_owned(),
        reason: reason.to_owned(),
    }))
}

/// The rounds of one contestant with one kind of traffic.
struct Pairs<'a> {
    hall: &'a Hall,
    plan: &'a Plan,
    task: Task,
    traffic: Traffic,
    beside: &'static str,
    journal: &'a mut Journal,
}

impl Pairs<'_> {
    fn run(
        &mut self,
        own: &mut Entrant,
        references: &[&'static Contestant],
        stands: &mut Stands,
    ) -> Result<()> {
        for round in 1..=self.plan.rounds {
            for reference in references {
                let Some(Some(entrant)) = stands.entrants.get_mut(reference.name) else {
                    continue;
                };
                if !self.trial(reference.name, entrant, round)? {
                    stands.entrants.insert(reference.name, None);
                }
            }
            if !self.trial(self.beside, own, round)? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// One trial; says whether there is any point in another one.
    fn trial(&mut self, name: &str, entrant: &mut Entrant, round: u32) -> Result<bool> {
        let case = self.case();
        let size = if case.size == 0 {
            "mix".to_owned()
        } else {
            format!("{} B", case.size)
        };
        self.journal.progress(&format!(
            "{} {size} {} flows, {}, round {round}/{}: {name}",
            case.work, case.flows, self.beside, self.plan.rounds
        ));
        let instruments = &self.hall.instruments;
        let mut once = || trial::run(entrant, instruments, &self.traffic, self.plan.seconds);
        let mut best: Option<Reading> = None;
        for attempt in 1..=ATTEMPTS {
            let reading = match once() {
                Ok(reading) => reading,
                Err(_) if attempt < ATTEMPTS => continue,
                Err(error) => {
                    skip(name, self.task.work, &format!("{error:#}"), self.journal)?;
                    return Ok(false);
                }
            };
            if best.is_none_or(|best| reading.disturbed < best.disturbed) {
                best = Some(reading);
            }
            if reading.disturbed < DISTURBED {
                break;
            }
        }
        if let Some(reading) = best {
            self.journal.write(&Line::Trial(Trial {
                case,
                contestant: name.to_owned(),
                beside: self.beside.to_owned(),
                round,
                offered: reading.offered,
                forwarded: reading.forwarded,
                cpu: reading.cpu,
                disturbed: reading.disturbed,
                norm: reading.norm,
                octets: reading.octets,
            }))?;
        }
        Ok(true)
    }

    fn case(&self) -> Case {
        Case {
            work: self.task.work.name().to_owned(),
            size: match self.traffic.sizes {
                Sizes::One(size) => size,
                Sizes::Mix => 0,
            },
            flows: self.traffic.flows,
            paths: self.task.paths,
            rules: self.task.rules,
            checksum: self.traffic.checksum,
            one_core: self.hall.one_core,
        }
    }
}

/// A trial in which others had the CPU for so much of the time is repeated,
const DISTURBED: f64 = 0.2;

/// so many times in all, as is one that failed; the least disturbed one counts.
const ATTEMPTS: u32 = 3;
