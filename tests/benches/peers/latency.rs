//! How long packets take through a contestant, at a small and at a large part of what it can do.

use crate::contestant::{Contestant, Entrant, Hall};
use crate::journal::Journal;
use crate::paced::{Pace, Paced, Sender};
use crate::trial;
use crate::work::{Task, Work};
use anyhow::{Result, bail};
use kc_tests::bench::frames::{Sizes, Traffic};
use kc_tests::bench::record::{Latency, Line};
use kc_tests::bench::statistics::{Spread, percentile};

/// Shares of a contestant's own capacity.
const LOADS: [f64; 2] = [0.1, 0.8];

/// Packets whose time is taken at each load.
const PROBES: u32 = 10_000;

/// Octets of inner frames.
const SIZE: u16 = 594;

/// Measures one contestant in one work.
pub(crate) fn run(
    hall: &Hall,
    contestant: &Contestant,
    work: Work,
    seconds: f64,
    journal: &mut Journal,
) -> Result<()> {
    let Some(mut entrant) = journal.enter(hall, contestant, &hall.forwarder, Task::small(work))?
    else {
        return Ok(());
    };
    let outcome = measure(hall, contestant, (&mut entrant, work), seconds, journal);
    match outcome {
        Err(error) => journal.skip(contestant.name, work, &format!("{error:#}")),
        Ok(()) => Ok(()),
    }
}

fn measure(
    hall: &Hall,
    contestant: &Contestant,
    (entrant, work): (&mut Entrant, Work),
    seconds: f64,
    journal: &mut Journal,
) -> Result<()> {
    let instruments = &hall.instruments;
    let traffic = Traffic {
        wrap: work.arrives(),
        sizes: Sizes::One(SIZE),
        flows: 16,
        paths: 1,
        checksum: false,
    };
    let capacity = {
        journal.progress(&format!(
            "latency, {work}: {} at full speed",
            contestant.name
        ));
        let _drop = entrant.drop_by_xdp(instruments)?;
        let mut readings = Vec::new();
        for _ in 0..3 {
            readings.push(trial::run(entrant, instruments, &traffic, 0.5)?.forwarded * 1e6);
        }
        Spread::of(readings).map_or(0.0, |spread| spread.median)
    };
    for load in LOADS {
        journal.progress(&format!(
            "latency, {work}: {} at {:.0} %",
            contestant.name,
            100.0 * load
        ));
        let pace = Pace {
            rate: capacity * load,
            seconds,
            probes: PROBES,
        };
        entrant.wake();
        let before = entrant.site.counts()?.forwarded;
        let sender = Sender::start(
            entrant,
            instruments,
            (work.leaves().payload(), &traffic),
            pace,
        );
        let paced = sender.and_then(Sender::report);
        entrant.rest();
        let arrived = entrant.site.counts()?.forwarded - before;
        journal.write(&Line::Latency(of(
            contestant,
            (work, load),
            &paced?,
            arrived,
        )?))?;
    }
    Ok(())
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a few seconds are exact"
)]
fn of(
    contestant: &Contestant,
    (work, load): (Work, f64),
    paced: &Paced,
    arrived: u64,
) -> Result<Latency> {
    let took = &paced.took;
    let at = |share| percentile(took, share).map(|ns| f64::from(ns) / 1e3);
    let (Some(p50), Some(p99), Some(p999), Some(longest)) = (at(0.5), at(0.99), at(0.999), at(1.0))
    else {
        bail!("no probe came out");
    };
    Ok(Latency {
        work: work.name().to_owned(),
        contestant: contestant.name.to_owned(),
        size: SIZE,
        load,
        sent: paced.sent as f64 / paced.seconds / 1e6,
        probes: paced.probes,
        lost: (1.0 - arrived as f64 / paced.sent as f64).max(0.0),
        p50,
        p99,
        p999,
        longest,
    })
}
