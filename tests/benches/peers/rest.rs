//! What a contestant takes while it has little or nothing to do: memory, CPU, wake-ups.

use crate::contestant::{Contestant, Entrant, Hall};
use crate::interrupt;
use crate::journal::Journal;
use crate::trial::{self, Clock};
use crate::work::{Task, Work};
use anyhow::{Context, Result};
use kc_tests::bench::frames::{Sizes, Traffic};
use kc_tests::bench::record::{Line, Rest};
use std::fs;
use std::time::{Duration, Instant};

/// Tables of a small and of a large site.
const PATHS: [u32; 2] = [1, 10_000];

/// Packets come before memory is looked at again.
const FLOWS: u32 = 10_000;

/// Measures one contestant, as an SFF between VXLAN-GPE tunnels.
pub(crate) fn run(
    hall: &Hall,
    contestant: &Contestant,
    idle: Duration,
    journal: &mut Journal,
) -> Result<()> {
    let work = Work::GpeHop;
    for paths in PATHS {
        let task = Task {
            paths,
            ..Task::small(work)
        };
        let Some(mut entrant) = journal.enter(hall, contestant, &hall.forwarder, task)? else {
            return Ok(());
        };
        journal.progress(&format!("at rest: {} with {paths} paths", contestant.name));
        match measure(hall, contestant, &mut entrant, task, idle) {
            Ok(rest) => journal.write(&Line::Rest(rest))?,
            Err(error) => journal.skip(contestant.name, work, &format!("{error:#}"))?,
        }
    }
    Ok(())
}

fn measure(
    hall: &Hall,
    contestant: &Contestant,
    entrant: &mut Entrant,
    task: Task,
    idle: Duration,
) -> Result<Rest> {
    let processes = entrant.processes();
    entrant.wake();
    let before = Memory::of(&processes)?;
    let (mut idle_cpu, mut wakeups) = (None, None);
    if task.paths == PATHS[0] {
        // What was begun when it started is over by then.
        interrupt::sleep(Duration::from_secs(2))?;
        let (clock, woken, began) = (
            Clock::read(&processes),
            wake_ups(&processes),
            Instant::now(),
        );
        interrupt::sleep(idle)?;
        let took = began.elapsed().as_secs_f64();
        idle_cpu = Some(Clock::read(&processes).since(clock).running / took);
        wakeups = Some((wake_ups(&processes) - woken) / took);
    }
    let traffic = Traffic {
        wrap: task.work.arrives(),
        sizes: Sizes::One(64),
        flows: FLOWS,
        paths: task.paths,
        checksum: false,
    };
    trial::run(entrant, &hall.instruments, &traffic, 1.0)?;
    let after = Memory::of(&processes)?;
    Ok(Rest {
        contestant: contestant.name.to_owned(),
        paths: task.paths,
        pss: before.pss,
        rss: before.rss,
        pss_after: after.pss,
        idle_cpu,
        wakeups,
    })
}

/// In MiB.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    rss: f64,
    pss: f64,
}

impl Memory {
    fn of(processes: &[u32]) -> Result<Self> {
        let mut sum = Self::default();
        for process in processes {
            let file = format!("/proc/{process}/smaps_rollup");
            let text = fs::read_to_string(&file).context(file)?;
            let kilobytes = |name: &str| {
                let line = text.lines().find_map(|line| line.strip_prefix(name));
                let number = line.and_then(|line| line.split_whitespace().next()?.parse().ok());
                number.unwrap_or(0.0) / 1024.0
            };
            sum.rss += kilobytes("Rss:");
            sum.pss += kilobytes("Pss:");
        }
        Ok(sum)
    }
}

/// How often threads have begun to wait, ever: each time is followed by a wake-up.
fn wake_ups(processes: &[u32]) -> f64 {
    let mut sum = 0.0;
    for process in processes {
        let threads = fs::read_dir(format!("/proc/{process}/task"));
        for thread in threads.into_iter().flatten().flatten() {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let count = status.lines().find_map(|line| {
                let count = line.strip_prefix("voluntary_ctxt_switches:")?;
                count.trim().parse::<f64>().ok()
            });
            sum += count.unwrap_or(0.0);
        }
    }
    sum
}
