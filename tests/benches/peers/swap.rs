//! Tables replaced while packets flow: how long that takes, and what it costs them.

use crate::contestant::{Contestant, Entrant, Hall};
use crate::interrupt;
use crate::journal::Journal;
use crate::paced::{Pace, Sender};
use crate::trial;
use crate::work::{Task, Work};
use anyhow::{Context, Result, ensure};
use kc_tests::bench::frames::{Sizes, Traffic};
use kc_tests::bench::record::{Line, Swap};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Rules of the tables: many, and more than a site will have.
const RULES: [u32; 2] = [10_000, 100_000];

/// Loads of each.
const ROUNDS: u32 = 3;

/// Seconds that packets are sent for at most.
const LONGEST: f64 = 60.0;

/// Share of what the contestant forwards at most.
const LOAD: f64 = 0.2;

/// Measures one of our contestants, which classifies.
pub(crate) fn run(hall: &Hall, contestant: &Contestant, journal: &mut Journal) -> Result<()> {
    let work = Work::GpeEncap;
    if !contestant.is_ours() {
        return Ok(());
    }
    let Some(mut entrant) = journal.enter(hall, contestant, &hall.forwarder, Task::small(work))?
    else {
        return Ok(());
    };
    match measure(hall, contestant, &mut entrant, work, journal) {
        Err(error) => journal.skip(contestant.name, work, &format!("{error:#}")),
        Ok(()) => Ok(()),
    }
}

fn measure(
    hall: &Hall,
    contestant: &Contestant,
    entrant: &mut Entrant,
    work: Work,
    journal: &mut Journal,
) -> Result<()> {
    let traffic = Traffic {
        wrap: work.arrives(),
        sizes: Sizes::One(64),
        flows: 1000,
        paths: 1,
        checksum: false,
    };
    let socket = entrant.socket.clone().context("it has no control socket")?;
    let rate = {
        let _drop = entrant.drop_by_xdp(&hall.instruments)?;
        trial::run(entrant, &hall.instruments, &traffic, 0.5)?.forwarded * 1e6 * LOAD
    };
    let mut generation = 1;
    for rules in RULES {
        for round in 1..=ROUNDS {
            journal.progress(&format!(
                "{} takes {rules} rules, {round}/{ROUNDS}",
                contestant.name
            ));
            generation += 1;
            let task = Task {
                rules,
                ..Task::small(work)
            };
            let file = entrant.site.folder.join("next.toml");
            std::fs::write(
                &file,
                contestant.tables(task, generation).context("no tables")?,
            )?;
            let pace = Pace {
                rate,
                seconds: LONGEST,
                // One in four has its time taken.
                probes: whole(rate * LONGEST / 4.0),
            };
            let before = entrant.site.counts()?.forwarded;
            let mut sender = Sender::start(
                entrant,
                &hall.instruments,
                (work.leaves().payload(), &traffic),
                pace,
            )?;
            interrupt::sleep(Duration::from_millis(500))?;
            let mut command = Command::new(&hall.forwarder);
            command.arg("apply").arg(&file).arg("--socket").arg(&socket);
            let began = Instant::now();
            let output = command.stdin(Stdio::null()).output()?;
            let seconds = began.elapsed().as_secs_f64();
            let told = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.success(), "{}", told.trim());
            ensure!(
                !sender.is_done(),
                "loading took longer than packets were sent"
            );
            interrupt::sleep(Duration::from_millis(500))?;
            sender.end()?;
            let paced = sender.report()?;
            let arrived = entrant.site.counts()?.forwarded - before;
            journal.write(&Line::Swap(Swap {
                contestant: contestant.name.to_owned(),
                rules,
                round,
                seconds,
                sent: paced.sent,
                lost: paced.sent.saturating_sub(arrived),
                longest: paced.took.last().map_or(0.0, |ns| f64::from(*ns) / 1e3),
            }))?;
        }
    }
    Ok(())
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are positive and far below the bound"
)]
fn whole(rate: f64) -> u32 {
    rate as u32
}
