//! What a contestant takes while it has little or nothing to do: memory, CPU, wake-ups.

use crate::contestant::{Contestant, Entrant, Hall};
use crate::interrupt;
use crate::journal::Journal;
use crate::trial;
use crate::work::{Task, Work};
use anyhow::Result;
use kc_tests::bench::frames::{Sizes, Traffic};
use kc_tests::bench::record::{Line, Rest};
use kc_tests::cost::{Clock, Memory, wake_ups};
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
