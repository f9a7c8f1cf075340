//! The benchmark against peers: the real `kc-forwarder` by backend, Open vSwitch, the kernel and
//! bare loops, each alone on one CPU of this machine with the same traffic. See `../README.md`.

mod args;
mod capacity;
mod contestant;
mod instruments;
mod interrupt;
mod journal;
mod latency;
mod machine;
mod measures;
mod paced;
mod render;
mod rest;
mod run;
mod site;
mod swap;
mod trial;
mod verify;
mod work;

use anyhow::{Context, Result, bail, ensure};
use args::Args;
use clap::Parser;
use contestant::Hall;
use journal::Journal;
use kc_tests::bench::record::Line;
use kc_tests::bench::report::Report;
use kc_tests::lab::Lab;
use measures::{Extent, Measure};
use site::Cores;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;
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
    if args.list {
        list();
        return Ok(());
    }
    if !args.render.is_empty() {
        return render::run(&args.render);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("needs root: it makes namespaces, loads BPF programs and pins the kernel's threads");
    }
    args.check()?;
    interrupt::catch()?;
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
    // Beside the priorities of programs: where the scheduler groups processes by terminal, priorities hold within a group only.
    let _ = std::fs::write("/proc/self/autogroup", "-15");
    Ok(Hall {
        instruments: instruments::Instruments::compile(
            &machine::target()?.join("bench/instruments"),
        )?,
        forwarder: match &args.forwarder {
            Some(path) => existing(path)?,
            None => machine::forwarder()?,
        },
        before: args.before.as_deref().map(existing).transpose()?,
        lab: Lab::open().context("no namespaces")?,
        cores: Cores {
            traffic: *traffic,
            contestant: *contestant,
        },
    })
}

fn existing(path: &Path) -> Result<PathBuf> {
    path.canonicalize()
        .with_context(|| path.display().to_string())
}

fn measure(args: &Args, hall: &Hall, journal: &mut Journal) -> Result<()> {
    let extent = Extent {
        rounds: args.rounds(),
        seconds: args.seconds(),
        is_quick: args.quick,
    };
    if !args.is_particular() {
        for measure in args.measures() {
            measures::run(measure, hall, extent, journal)?;
            journal.clear();
            measures::show(measure, &Report::of(&journal.lines));
        }
        return Ok(());
    }
    for measure in args.measures() {
        particular(args, measure, hall, extent, journal)?;
        journal.clear();
        measures::show(measure, &Report::of(&journal.lines));
    }
    Ok(())
}

/// A measure of what the command line asks for.
fn particular(
    args: &Args,
    measure: Measure,
    hall: &Hall,
    extent: Extent,
    journal: &mut Journal,
) -> Result<()> {
    let contestants = args.contestants()?;
    for work in args.works()? {
        let doing = contestants
            .iter()
            .filter(|contestant| contestant.does(work));
        match measure {
            Measure::Capacity | Measure::Scaling => {
                for (&paths, &rules) in args.tables() {
                    let task = Task {
                        work,
                        paths,
                        rules,
                        one_core: args.one_core,
                    };
                    capacity::run(hall, &args.plan(extent)?, task, journal)?;
                }
                journal.show_capacity(work);
            }
            Measure::Latency => {
                for contestant in doing {
                    latency::run(hall, contestant, work, 2.0, journal)?;
                }
            }
            // Of one work each.
            Measure::Rest | Measure::Swap => {}
        }
    }
    for contestant in contestants {
        match measure {
            Measure::Rest => rest::run(hall, contestant, Duration::from_secs(20), journal)?,
            Measure::Swap => swap::run(hall, contestant, journal)?,
            _ => {}
        }
    }
    Ok(())
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
