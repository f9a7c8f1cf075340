//! How many packets a contestant forwards for a second of its CPU's time, in pairs with its
//! references: A B A B, so that a noisy machine is noisy for both.

use crate::contestant::{self, Contestant, Entrant, Hall};
use crate::journal::Journal;
use crate::trial::{self, Reading};
use crate::work::{Task, Work};
use anyhow::Result;
use kc_tests::bench::frames::{Sizes, Traffic};
use kc_tests::bench::record::{Case, Line, Trial};
use kc_tests::lab::Process;
use std::collections::BTreeMap;

/// What is to be measured.
#[derive(Clone)]
pub(crate) struct Plan {
    /// What results are called.
    pub(crate) measure: &'static str,
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
    fn references(
        &self,
        hall: &Hall,
        contestant: &'static Contestant,
        work: Work,
    ) -> Vec<Reference> {
        let mut found: Vec<Reference> = Vec::new();
        if hall.before.is_some() && contestant.is_ours() {
            found.push(Reference {
                name: BEFORE,
                contestant,
            });
        }
        let named = self.against.iter().flat_map(|name| match name.as_str() {
            "rivals" => contestant.rivals().to_vec(),
            "twin" => contestant.twin(work).into_iter().collect(),
            name => vec![name],
        });
        for name in named {
            let reference = contestant::find(name).filter(|reference| reference.does(work));
            if let Some(reference) = reference
                && reference.name != contestant.name
                && !found.iter().any(|known| known.name == reference.name)
            {
                found.push(Reference {
                    name: reference.name,
                    contestant: reference,
                });
            }
        }
        found
    }
}

/// What the contestant itself is called with another program than the one to be measured.
const BEFORE: &str = "before";

/// Whom a contestant is measured beside.
#[derive(Clone, Copy)]
struct Reference {
    name: &'static str,
    contestant: &'static Contestant,
}

/// A contestant that is set up.
struct Stand {
    entrant: Entrant,
    /// Drops at the sink what comes by XDP.
    _drop: Option<Process>,
}

impl Stand {
    fn new(
        hall: &Hall,
        reference: Reference,
        task: Task,
        journal: &mut Journal,
    ) -> Result<Option<Self>> {
        let Reference { name, contestant } = reference;
        let before = hall.before.as_ref().filter(|_| name == BEFORE);
        let program = before.unwrap_or(&hall.forwarder);
        let Some(entrant) = journal.enter(hall, contestant, program, task)? else {
            return Ok(None);
        };
        let _drop = entrant.drop_by_xdp(&hall.instruments)?;
        Ok(Some(Self { entrant, _drop }))
    }
}

/// References that stay set up while one contestant after the other is measured beside them.
type Stands = BTreeMap<&'static str, Option<Stand>>;

/// Measures one task of all contestants.
pub(crate) fn run(hall: &Hall, plan: &Plan, task: Task, journal: &mut Journal) -> Result<()> {
    let mut stands = Stands::new();
    for contestant in &plan.contestants {
        if !contestant.does(task.work) {
            continue;
        }
        let itself = Reference {
            name: contestant.name,
            contestant,
        };
        let Some(mut own) = Stand::new(hall, itself, task, journal)? else {
            continue;
        };
        let references = plan.references(hall, contestant, task.work);
        // That of the contestant before.
        stands.remove(BEFORE);
        for reference in &references {
            if !stands.contains_key(reference.name) {
                let stand = Stand::new(hall, *reference, task, journal)?;
                stands.insert(reference.name, stand);
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
        own: &mut Stand,
        references: &[Reference],
        stands: &mut Stands,
    ) -> Result<()> {
        for round in 1..=self.plan.rounds {
            for reference in references {
                let Some(Some(stand)) = stands.get_mut(reference.name) else {
                    continue;
                };
                if !self.trial(reference.name, &mut stand.entrant, round)? {
                    stands.insert(reference.name, None);
                }
            }
            if !self.trial(self.beside, &mut own.entrant, round)? {
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
                    self.journal
                        .skip(name, self.task.work, &format!("{error:#}"))?;
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
            measure: self.plan.measure.to_owned(),
            work: self.task.work.name().to_owned(),
            size: match self.traffic.sizes {
                Sizes::One(size) => size,
                Sizes::Mix => 0,
            },
            flows: self.traffic.flows,
            paths: self.task.paths,
            rules: self.task.rules,
            checksum: self.traffic.checksum,
            one_core: self.task.one_core,
        }
    }
}

/// A trial in which others had the CPU for so much of the time is repeated,
const DISTURBED: f64 = 0.2;

/// so many times in all, as is one that failed; the least disturbed one counts.
const ATTEMPTS: u32 = 3;
