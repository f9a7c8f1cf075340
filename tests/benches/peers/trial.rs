//! One trial: the generator runs at full speed, and in the middle of it a contestant's packets and
//! CPU time are read twice.

use crate::contestant::Entrant;
use crate::instruments::Instruments;
use crate::interrupt;
use crate::paced::{Pace, Sender};
use crate::run::{last_line, pinned, start};
use anyhow::{Result, bail};
use kc_tests::bench::frames::Traffic;
use kc_tests::cost::Clock;
use kc_tests::lab::Process;
use std::fs;
use std::time::{Duration, Instant};

/// Before anything is read.
const WARM: Duration = Duration::from_millis(400);

/// What was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Reading {
    /// Million frames a second that arrived.
    pub(crate) offered: f64,
    /// Million frames a second that came out.
    pub(crate) forwarded: f64,
    /// Octets of a frame that came out.
    pub(crate) octets: f64,
    /// CPUs used.
    pub(crate) cpu: f64,
    /// Share of the time that it waited for a CPU.
    pub(crate) disturbed: f64,
    /// Million frames for each second of CPU time.
    pub(crate) norm: f64,
}

/// Runs one trial of `seconds`.
pub(crate) fn run(
    entrant: &mut Entrant,
    instruments: &Instruments,
    traffic: &Traffic,
    seconds: f64,
) -> Result<Reading> {
    entrant.wake();
    let reading = if entrant.collapses {
        climb(entrant, instruments, traffic, seconds)
    } else {
        measure(entrant, instruments, traffic, seconds, None)
    };
    entrant.rest();
    if entrant.ended() {
        bail!("ended: {}", last_line(&entrant.site.folder.join("log")));
    }
    reading
}

/// Packets a second at which climbing begins, and by how much it goes on.
const FOOT: f64 = 100e3;
const STEP: f64 = 1.25;

/// The most that comes out of one that collapses under more than it can do.
fn climb(
    entrant: &Entrant,
    instruments: &Instruments,
    traffic: &Traffic,
    seconds: f64,
) -> Result<Reading> {
    let mut rate = FOOT;
    let mut best = measure(entrant, instruments, traffic, seconds, Some(rate))?;
    loop {
        rate *= STEP;
        let reading = measure(entrant, instruments, traffic, seconds, Some(rate))?;
        if reading.forwarded > best.forwarded {
            best = reading;
        }
        if reading.forwarded < 0.9 * rate / 1e6 {
            return Ok(best);
        }
    }
}

/// One reading, at full speed or at a rate.
fn measure(
    entrant: &Entrant,
    instruments: &Instruments,
    traffic: &Traffic,
    seconds: f64,
    rate: Option<f64>,
) -> Result<Reading> {
    let site = &entrant.site;
    let longest = seconds + WARM.as_secs_f64() + 5.0;
    let mut generator = match rate {
        None => flood(entrant, instruments, traffic, longest)?,
        Some(rate) => {
            let pace = Pace {
                rate,
                seconds: longest,
                probes: 0,
            };
            Sender::start(entrant, instruments, (0, traffic), pace)?.process
        }
    };
    interrupt::sleep(WARM)?;

    let (before, began) = (site.counts()?, Instant::now());
    let clock = Clock::read(&entrant.counted);
    interrupt::sleep(Duration::from_secs_f64(seconds))?;
    let (after, took) = (site.counts()?, began.elapsed().as_secs_f64());
    let clock = Clock::read(&entrant.counted).since(clock);
    if generator.ended() {
        let log = site.folder.join("flood.log");
        bail!("the generator ended: {}", last_line(&log));
    }
    let forwarded = difference(after.forwarded, before.forwarded);
    if forwarded < 1.0 {
        bail!("nothing came out");
    }
    let cpu = clock.running / took;
    Ok(Reading {
        offered: difference(after.offered, before.offered) / took / 1e6,
        forwarded: forwarded / took / 1e6,
        octets: difference(after.octets, before.octets) / forwarded,
        cpu,
        disturbed: clock.waiting / took,
        norm: forwarded / took / 1e6 / cpu.max(1e-3),
    })
}

/// Starts to send `traffic` at full speed, for `longest` seconds at most.
pub(crate) fn flood(
    entrant: &Entrant,
    instruments: &Instruments,
    traffic: &Traffic,
    longest: f64,
) -> Result<Process> {
    let site = &entrant.site;
    let plan = site.folder.join("plan");
    fs::write(&plan, traffic.plan())?;
    let program = instruments.program("flood")?;
    let mut command = pinned(
        &site.generator,
        &[site.cores.traffic],
        &program.to_string_lossy(),
    );
    command.arg("gen0").arg(&plan).arg(longest.to_string());
    command.arg(instruments.program("flood_bpf")?);
    start(command, &site.folder.join("flood.log"))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "counts of a few seconds are exact"
)]
fn difference(after: u64, before: u64) -> f64 {
    after.saturating_sub(before) as f64
}
