//! Packets sent evenly, at a rate, and how long some of them took.

use crate::contestant::Entrant;
use crate::instruments::Instruments;
use crate::interrupt;
use crate::run::{last_line, pinned, start};
use anyhow::{Context, Result, bail};
use kc_tests::bench::frames::Traffic;
use kc_tests::lab::Process;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

/// What to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    /// Packets a second.
    pub(crate) rate: f64,
    /// For so long.
    pub(crate) seconds: f64,
    /// Packets whose time is taken.
    pub(crate) probes: u32,
}

/// What came of it.
#[derive(Debug, Clone)]
pub(crate) struct Paced {
    /// Packets sent.
    pub(crate) sent: u64,
    /// In so many seconds.
    pub(crate) seconds: f64,
    /// Packets whose time was to be taken.
    pub(crate) probes: u32,
    /// Nanoseconds that they took, sorted.
    pub(crate) took: Vec<u32>,
}

/// A sender at work.
pub(crate) struct Sender {
    /// The program.
    pub(crate) process: Process,
    log: PathBuf,
}

impl Sender {
    /// Starts it. Probes are known by what is `payload` octets behind the beginning of a frame
    /// that comes out.
    pub(crate) fn start(
        entrant: &Entrant,
        instruments: &Instruments,
        (payload, traffic): (u16, &Traffic),
        pace: Pace,
    ) -> Result<Self> {
        let site = &entrant.site;
        let plan = site.folder.join("plan");
        fs::write(&plan, traffic.plan())?;
        let program = instruments.program("paced")?;
        let mut command = pinned(
            &site.generator,
            &[site.cores.traffic],
            &program.to_string_lossy(),
        );
        for namespace in [&site.generator, &site.sink] {
            command.arg(format!("/proc/{}/ns/net", namespace.pid()));
        }
        command.arg(&plan).arg(pace.rate.to_string());
        command.arg(pace.seconds.to_string());
        command.arg(pace.probes.to_string());
        command.arg(payload.to_string());
        let log = site.folder.join("paced.log");
        let process = start(command, &log)?;
        Ok(Self { process, log })
    }

    /// Whether it has sent everything.
    pub(crate) fn is_done(&mut self) -> bool {
        self.process.ended()
    }

    /// Ends it before its time.
    pub(crate) fn end(&self) -> Result<()> {
        let pid = i32::try_from(self.process.child.id())?;
        Ok(kill(Pid::from_raw(pid), Signal::SIGUSR1)?)
    }

    /// Waits for its end.
    pub(crate) fn report(mut self) -> Result<Paced> {
        while !self.is_done() {
            interrupt::sleep(Duration::from_millis(20))?;
        }
        let text = fs::read_to_string(&self.log)?;
        let mut lines = text.lines();
        let head: Vec<&str> = lines.next().unwrap_or_default().split(' ').collect();
        let ["sent", sent, "nanoseconds", took, "probes", probes, ..] = head[..] else {
            bail!("the paced sender: {}", last_line(&self.log));
        };
        let nanoseconds: f64 = took.parse()?;
        let times = lines.map(|line| line.parse::<u64>().map(u32::try_from));
        let mut took = Vec::new();
        for time in times {
            took.push(
                time.context("a time of the paced sender")?
                    .unwrap_or(u32::MAX),
            );
        }
        took.sort_unstable();
        Ok(Paced {
            sent: sent.parse()?,
            seconds: nanoseconds / 1e9,
            probes: probes.parse()?,
            took,
        })
    }
}
