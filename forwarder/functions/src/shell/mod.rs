//! Moves frames between a function's core and its interfaces: one loop that sleeps in the kernel
//! while nothing happens. Holds no policy.

mod carry;
mod finish;
mod legs;
mod nsh;
mod oam;
mod options;
mod segment;
mod ways;

pub use options::Options;

use crate::function::{Emissions, Legs, ServiceFunction, Side};
use crate::signals::{ENDING, Signals};
use crate::stats::{Stats, Tally};
use carry::Carrier;
use kc_forwarder::frame::{Frame, Pool};
use kc_forwarder::port::{self, PacketPort, PortError};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use ways::Ways;

/// Frames taken from one leg before the other has its turn.
const BATCH: usize = 64;

/// Why a function ended.
#[derive(Debug, thiserror::Error)]
pub enum ShellError {
    /// A leg could not be opened, or did not come in time.
    #[error(transparent)]
    Leg(#[from] PortError),
    /// The kernel refused something else.
    #[error("the kernel refused: {0}")]
    Kernel(#[from] io::Error),
}

/// Runs `function` until SIGTERM or SIGINT. When a leg goes away it is waited for again.
///
/// # Errors
/// A leg did not come in time, or the kernel refused.
pub fn run(function: &mut dyn ServiceFunction, options: &Options) -> Result<(), ShellError> {
    let [term, int] = ENDING;
    let signals = Signals::listen_to(&[term, int, Signal::SIGUSR1])?;
    let mut carrier = Carrier {
        function,
        wiring: options.wiring(),
        legs: Legs::default(),
        mtu: u16::MAX,
        stats: Stats::default(),
        ways: Ways::new(),
    };
    let start = Instant::now();
    while let Some(ports) = legs::open(options, &signals)? {
        let mut shell = Shell {
            carrier: &mut carrier,
            ports,
            signals: &signals,
            pool: Pool::default(),
            out: Emissions::default(),
            start,
            interval: options.stats_interval,
            report_due: options
                .stats_interval
                .map(|interval| start.elapsed() + interval),
        };
        if shell.serve()? == End::Asked {
            break;
        }
        tracing::warn!("a leg went away");
    }
    report(&carrier, start)
}

/// Why the loop ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Asked,
    LegGone,
}

struct Shell<'a, 'b> {
    carrier: &'a mut Carrier<'b>,
    ports: Vec<Box<dyn PacketPort>>,
    signals: &'a Signals,
    pool: Pool,
    out: Emissions,
    start: Instant,
    interval: Option<Duration>,
    report_due: Option<Duration>,
}

impl Shell<'_, '_> {
    fn serve(&mut self) -> Result<End, ShellError> {
        let mac = |port: &dyn PacketPort| port.mac().0;
        if let (Some(first), Some(last)) = (self.ports.first(), self.ports.last()) {
            self.carrier.legs = Legs {
                inside: mac(first.as_ref()),
                outside: mac(last.as_ref()),
            };
        }
        self.carrier.mtu = self
            .ports
            .iter()
            .map(|port| port.mtu())
            .min()
            .unwrap_or(u16::MAX);
        self.carrier.function.attach(self.carrier.legs);
        tracing::info!(function = self.carrier.function.name(), "ready");
        let mut batch = Vec::new();
        loop {
            let now_ms = self.now_ms();
            self.carrier.function.tick(now_ms, &mut self.out);
            self.flush();
            self.wait()?;
            while let Some(signal) = self.signals.next() {
                if signal != Signal::SIGUSR1 {
                    return Ok(End::Asked);
                }
                report(self.carrier, self.start)?;
            }
            self.report_when_due()?;
            for at in 0..self.ports.len() {
                match self.take(at, &mut batch) {
                    Ok(()) => {}
                    Err(error) if port::is_gone(&error) => return Ok(End::LegGone),
                    Err(error) => return Err(error.into()),
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Sleeps until a frame, a signal or a time that something is due.
    fn wait(&mut self) -> Result<(), ShellError> {
        let mut waiting = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        for port in &self.ports {
            waiting.push(PollFd::new(port.as_fd(), PollFlags::POLLIN));
        }
        let now_ms = self.now_ms();
        let function = self.carrier.function.deadline(now_ms);
        let function = function.map(|due| Duration::from_millis(due.saturating_sub(now_ms)));
        let report = self
            .report_due
            .map(|due| due.saturating_sub(self.start.elapsed()));
        let timeout = match [function, report].into_iter().flatten().min() {
            // Rounded up: polling again too early is a busy loop.
            Some(left) => {
                PollTimeout::try_from(left + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        match poll(&mut waiting, timeout) {
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(ShellError::Kernel(error.into())),
        }
    }

    /// Takes a batch from one leg and sends what comes of it.
    fn take(&mut self, at: usize, batch: &mut Vec<Frame>) -> io::Result<()> {
        let side = match (self.ports.len(), at) {
            (1, _) => Side::Only,
            (_, 0) => Side::Inside,
            _ => Side::Outside,
        };
        let Some(port) = self.ports.get_mut(at) else {
            return Ok(());
        };
        port.receive(&mut self.pool, batch, BATCH)?;
        let now_ms = self.now_ms();
        for frame in batch.drain(..) {
            self.carrier
                .carry(now_ms, side, frame, &mut self.pool, &mut self.out);
        }
        self.flush();
        Ok(())
    }

    /// Sends everything that waits.
    fn flush(&mut self) {
        if self.out.frames.is_empty() {
            return;
        }
        let last = self.ports.len() - 1;
        let mut queues: [Vec<Frame>; 2] = [Vec::new(), Vec::new()];
        for (side, frame) in self.out.frames.drain(..) {
            let [inside, outside] = &mut queues;
            match side {
                Side::Inside => inside.push(frame),
                Side::Outside | Side::Only => outside.push(frame),
            }
        }
        for (at, queue) in [0, last].into_iter().zip(&mut queues) {
            let Some(port) = self.ports.get_mut(at).filter(|_| !queue.is_empty()) else {
                continue;
            };
            let report = port.send(queue, &mut self.pool);
            for (loss, tally) in report.losses() {
                let name = format!("{loss:?}").to_ascii_lowercase();
                let entry: &mut Tally = self.carrier.stats.lost.entry(name).or_default();
                entry.frames += tally.frames;
                entry.bytes += tally.bytes;
            }
        }
    }

    fn report_when_due(&mut self) -> Result<(), ShellError> {
        let now = self.start.elapsed();
        let (Some(due), Some(interval)) = (self.report_due, self.interval) else {
            return Ok(());
        };
        if now >= due {
            self.report_due = Some(now + interval);
            report(self.carrier, self.start)?;
        }
        Ok(())
    }
}

/// Prints the counters as one line of JSON.
fn report(carrier: &Carrier<'_>, start: Instant) -> Result<(), ShellError> {
    let mut line = serde_json::to_value(&carrier.stats).map_err(io::Error::other)?;
    if let Some(map) = line.as_object_mut() {
        map.insert("function".to_owned(), carrier.function.name().into());
        map.insert(
            "uptime-seconds".to_owned(),
            start.elapsed().as_secs().into(),
        );
        map.insert("details".to_owned(), carrier.function.details());
    }
    let mut stdout = io::stdout().lock();
    match writeln!(stdout, "{line}").and_then(|()| stdout.flush()) {
        // Whoever read our counters has gone; the function goes on.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => Ok(other?),
    }
}
