//! What is measured when nobody says more than that: each measure with the works, contestants and
//! amounts that show it, in an order that has the most telling first.

use crate::capacity::{self, Plan};
use crate::contestant::{self, Contestant, Hall};
use crate::interrupt;
use crate::journal::Journal;
use crate::work::{Task, Work};
use crate::{latency, rest, swap};
use anyhow::Result;
use kc_tests::bench::frames::Sizes;
use kc_tests::bench::report::Report;
use std::time::Duration;

/// A kind of measurement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Measure {
    /// Packets for a second of CPU time, in pairs.
    Capacity,
    /// Time through a contestant.
    Latency,
    /// Capacity over the sizes of tables and the number of flows.
    Scaling,
    /// Memory, CPU and wake-ups with little or nothing to do.
    Rest,
    /// Tables replaced while packets flow.
    Swap,
}

/// The works whose figures are looked at first.
const MAIN: [Work; 3] = [Work::GpeHop, Work::EthHop, Work::PortHop];

/// Amounts over which capacity is shown.
const AMOUNTS: [(&str, Work, [u32; 3]); 4] = [
    ("paths", Work::GpeHop, [10, 1000, 100_000]),
    ("rules", Work::GpeEncap, [10, 1000, 10_000]),
    ("flows", Work::GpeHop, [1, 1000, 100_000]),
    ("flows", Work::GpeEncap, [1, 1000, 100_000]),
];

/// How much of each.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Extent {
    /// Rounds of pairs.
    pub(crate) rounds: u32,
    /// Seconds of a trial.
    pub(crate) seconds: f64,
    /// Only the main works, in one kind of traffic each.
    pub(crate) is_quick: bool,
}

/// Contestants of these names.
fn named(names: &[&str]) -> Vec<&'static Contestant> {
    names
        .iter()
        .filter_map(|name| contestant::find(name))
        .collect()
}

const OURS: [&str; 6] = [
    "kc-pnet",
    "kc-packet",
    "kc-gso",
    "kc-mmap",
    "kc-xdp",
    "kc-fast",
];

/// One measure in full.
pub(crate) fn run(
    measure: Measure,
    hall: &Hall,
    extent: Extent,
    journal: &mut Journal,
) -> Result<()> {
    match measure {
        Measure::Capacity => capacity(hall, extent, journal)?,
        Measure::Latency => latency(hall, journal)?,
        Measure::Scaling => scaling(hall, extent, journal)?,
        Measure::Rest => {
            for contestant in named(&["kc-packet", "kc-mmap", "kc-fast", "ovs", "ovs-afxdp"]) {
                rest::run(hall, contestant, Duration::from_secs(20), journal)?;
            }
        }
        Measure::Swap => {
            for contestant in named(&["kc-packet", "kc-mmap"]) {
                swap::run(hall, contestant, journal)?;
            }
        }
    }
    interrupt::sleep(Duration::ZERO)
}

fn plan(extent: Extent, contestants: &[&str], sizes: &[Sizes]) -> Plan {
    Plan {
        measure: "capacity",
        contestants: named(contestants),
        against: vec!["rivals".to_owned(), "twin".to_owned()],
        rounds: extent.rounds,
        seconds: extent.seconds,
        sizes: sizes.to_vec(),
        flows: vec![1],
        checksum: false,
    }
}

fn capacity(hall: &Hall, extent: Extent, journal: &mut Journal) -> Result<()> {
    let lengths = [Sizes::One(64), Sizes::One(1400)];
    if extent.is_quick {
        let mut plan = plan(extent, &OURS, &lengths);
        plan.against = vec!["ovs".to_owned(), "twin".to_owned()];
        for work in [Work::GpeHop, Work::EthHop] {
            capacity::run(hall, &plan, Task::small(work), journal)?;
            journal.show_capacity(work);
        }
        return Ok(());
    }
    for work in MAIN {
        let mut of_all = lengths.to_vec();
        of_all.push(Sizes::Mix);
        capacity::run(
            hall,
            &plan(extent, &OURS, &of_all),
            Task::small(work),
            journal,
        )?;
        // Tunnel packets of ours arrive elsewhere with complete checksums, which is dearer to
        // check for some and lets the kernel join them for others.
        if work == Work::GpeHop {
            let mut plan = plan(extent, &["kc-gso", "kc-mmap"], &lengths);
            plan.checksum = true;
            plan.rounds = plan.rounds.min(3);
            capacity::run(hall, &plan, Task::small(work), journal)?;
        }
        let mut others = plan(
            extent,
            &[
                "kernel",
                "bare-each",
                "bare-udpgso",
                "bare-gso1",
                "bare-gso16",
            ],
            &lengths,
        );
        others.rounds = others.rounds.min(3);
        capacity::run(hall, &others, Task::small(work), journal)?;
        let one_core = Task {
            one_core: true,
            ..Task::small(work)
        };
        let mut alone = plan(extent, &OURS, &lengths);
        alone.rounds = alone.rounds.min(3);
        alone.against = vec!["ovs".to_owned()];
        capacity::run(hall, &alone, one_core, journal)?;
        journal.show_capacity(work);
    }
    for work in Work::ALL.into_iter().filter(|work| !MAIN.contains(work)) {
        let mut plan = plan(
            extent,
            &["kc-packet", "kc-mmap", "kc-xdp", "kc-fast", "kernel"],
            &lengths,
        );
        plan.rounds = plan.rounds.min(3);
        plan.against = vec!["ovs".to_owned(), "ovs-afxdp".to_owned()];
        capacity::run(hall, &plan, Task::small(work), journal)?;
        journal.show_capacity(work);
    }
    Ok(())
}

fn scaling(hall: &Hall, extent: Extent, journal: &mut Journal) -> Result<()> {
    for (measure, work, amounts) in AMOUNTS {
        let contestants = ["kc-packet", "kc-mmap", "kc-fast", "ovs", "ovs-afxdp"];
        let mut plan = plan(extent, &contestants, &[Sizes::One(64)]);
        plan.measure = measure;
        plan.against = Vec::new();
        plan.rounds = plan.rounds.min(3);
        for amount in amounts {
            let mut task = Task::small(work);
            match measure {
                "paths" => task.paths = amount,
                "rules" => {
                    task.rules = amount;
                    plan.flows = vec![1000];
                }
                _ => plan.flows = vec![amount],
            }
            capacity::run(hall, &plan, task, journal)?;
        }
    }
    Ok(())
}

fn latency(hall: &Hall, journal: &mut Journal) -> Result<()> {
    for work in [Work::GpeHop, Work::EthHop, Work::VxlanEncap] {
        let all = [
            "kc-pnet",
            "kc-packet",
            "kc-gso",
            "kc-mmap",
            "kc-xdp",
            "kc-fast",
            "ovs",
            "ovs-afxdp",
            "kernel",
            "bare-xdp",
        ];
        for contestant in named(&all).into_iter().filter(|one| one.does(work)) {
            latency::run(hall, contestant, work, 2.0, journal)?;
        }
    }
    Ok(())
}

/// Prints the tables of a measure.
pub(crate) fn show(measure: Measure, report: &Report) {
    let tables = match measure {
        // Shown work by work.
        Measure::Capacity => Vec::new(),
        Measure::Latency => vec![report.latency()],
        Measure::Scaling => ["paths", "rules", "flows"]
            .map(|one| report.scaling(one))
            .into(),
        Measure::Rest => vec![report.rest()],
        Measure::Swap => vec![report.swap()],
    };
    for table in tables.into_iter().filter(|table| !table.is_empty()) {
        println!("{}", table.text());
    }
}
