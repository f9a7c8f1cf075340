//! The benchmark against peers: the real `kc-forwarder` by backend, Open vSwitch, the kernel and
//! bare loops, each alone on one CPU of this machine with the same traffic. See `../README.md`.

mod args;
mod capacity;
mod contestant;
mod instruments;
mod interrupt;
mod journal;
mod machine;
mod run;
mod site;
mod trial;
mod verify;
mod work;

use anyhow::{Context, Result, bail, ensure};
use args::Args;
use capacity::Plan;
use clap::Parser;
use contestant::Hall;
use journal::Journal;
use kc_tests::bench::record::{Case, Line};
use kc_tests::bench::summary::Summary;
use kc_tests::lab::Lab;
use site::Cores;
use std::process::ExitCode;
use work::Task;

fn main() -> ExitCode {
    match start(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("peers: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: &Args) -> Result<()> {
    if let [from, to] = args.loop_pnet.as_slice() {
        return contestant::pnet(from, to);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("needs root: it makes namespaces, loads BPF programs and pins the kernel's threads");
    }
    interrupt::catch()?;
    if args.list {
        list();
        return Ok(());
    }
    let hall = hall(args)?;
    let folder = machine::target()?.join("bench");
    let name = format!("peers-{}.jsonl", std::process::id());
    let file = args.output.clone().unwrap_or_else(|| folder.join(name));
    let mut journal = Journal::create(&file)?;
    journal.write(&Line::Run(machine::describe(&hall.forwarder)))?;
    let outcome = measure(args, &hall, &mut journal);
    journal.clear();
    machine::give_back(&folder);
    println!("results: {}", journal.path.display());
    outcome
}

fn hall(args: &Args) -> Result<Hall> {
    let [traffic, contestant] = args.cores.as_slice() else {
        bail!("--cores takes two CPUs");
    };
    ensure!(
        traffic != contestant,
        "--cores: traffic and contestant need a CPU each"
    );
    // Where the scheduler groups processes by terminal, priorities hold within a group only.
    let _ = std::fs::write("/proc/self/autogroup", "-15");
    Ok(Hall {
        instruments: instruments::Instruments::compile(
            &machine::target()?.join("bench/instruments"),
        )?,
        forwarder: match &args.forwarder {
            Some(path) => path
                .canonicalize()
                .with_context(|| path.display().to_string())?,
            None => machine::forwarder()?,
        },
        lab: Lab::open().context("no namespaces")?,
        cores: Cores {
            traffic: *traffic,
            contestant: *contestant,
        },
        one_core: args.one_core,
    })
}

fn measure(args: &Args, hall: &Hall, journal: &mut Journal) -> Result<()> {
    let plan = Plan {
        contestants: args.contestants()?,
        against: args.against.clone(),
        rounds: args.rounds(),
        seconds: args.seconds(),
        sizes: args.sizes.clone(),
        flows: args.flows.clone(),
        checksum: args.checksum,
    };
    for work in args.works()? {
        for &paths in &args.paths {
            for &rules in &args.rules {
                capacity::run(hall, &plan, Task { work, paths, rules }, journal)?;
            }
        }
        let summary = Summary::of(&journal.trials);
        let table = summary.table(|case| case.work == work.name(), label);
        journal.clear();
        if !table.is_empty() {
            println!("{work}: {}\n{}", work.title(), table.text());
        }
    }
    Ok(())
}

/// What tells one case of a work from the others.
fn label(case: &Case) -> String {
    let mut label = match case.size {
        0 => "mix".to_owned(),
        size => format!("{size} B"),
    };
    for (count, what) in [
        (case.flows, "flows"),
        (case.paths, "paths"),
        (case.rules, "rules"),
    ] {
        if count > 1 {
            label.push_str(&format!(", {count} {what}"));
        }
    }
    label
}

fn list() {
    println!("works:");
    for work in work::Work::ALL {
        println!("  {:<12} {}", work.name(), work.title());
    }
    println!("contestants:");
    for contestant in contestant::ALL {
        println!("  {:<14} {}", contestant.name, contestant.title);
    }
}
