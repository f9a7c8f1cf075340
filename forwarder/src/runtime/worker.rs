//! The packet thread's loop. One batch at a time: receive, process, send; the time is read once
//! for each wake-up; nothing is done while nothing happens.

use super::asking::{self, Asking};
use super::clock::wall_clock_ns;
use super::egress::Departures;
use super::fast::{FastWay, Prepared};
use super::later::Bell;
use super::mailbox::{Command, Mailbox};
use super::ports::Ports;
use super::pressure::Pressure;
use super::probing::Probing;
use super::tunnels::Tunnels;
use super::waiting::{Source, Waiting};
use crate::frame::Frame;
use crate::pipeline::{Compiled, Ingress, Outputs, Pipeline, PortIndex};
use crate::port::link::LinkWatch;
use crate::port::underlay::{Datagram, Inlet, Underlay};
use kc_forwarder_api::{Counters, Status};
use nix::sys::epoll::EpollTimeout;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Frames taken from one port before the next source has its turn.
const BATCH: usize = 64;

/// How often state is looked through for what has aged.
const EXPIRY: Duration = Duration::from_secs(1);

/// After so long without a frame there is nothing left to age but addresses of segments.
const LINGER: Duration = Duration::from_secs(300);

/// Everything the packet thread owns.
pub(super) struct Worker {
    pub(super) pipeline: Pipeline,
    ports: Ports,
    tunnels: Tunnels,
    generation: u64,
    mailbox: Mailbox,
    links: LinkWatch,
    waiting: Waiting,
    pub(super) started: Instant,
    /// When the last frame came.
    busy: Instant,
    /// How long after the last frame something may be left to age.
    linger: Duration,
    pub(super) outputs: Outputs,
    departures: Departures,
    /// Whether there is more to do than this thread alone can.
    pressure: Pressure,
    pub(super) batch: Vec<Frame>,
    datagrams: Vec<Datagram>,
    /// Rung for readers of captures.
    bell: Option<Bell>,
    /// Who waits for echoes and news of health.
    pub(super) asking: Asking,
    /// Only while a probe runs.
    pub(super) probing: Option<Probing>,
    /// What is forwarded without coming here.
    fast: FastWay,
}

impl Worker {
    pub(super) fn new(
        compiled: Arc<Compiled>,
        mailbox: Mailbox,
        threads: usize,
    ) -> io::Result<Self> {
        let waiting = Waiting::new()?;
        let links = LinkWatch::open()?;
        waiting.add(mailbox.as_fd(), Source::Mailbox)?;
        waiting.add(links.as_fd(), Source::Links)?;
        let mut worker = Self {
            generation: compiled.generation(),
            pipeline: Pipeline::new(Arc::clone(&compiled)),
            ports: Ports::default(),
            tunnels: Tunnels::default(),
            mailbox,
            links,
            waiting,
            started: Instant::now(),
            busy: Instant::now(),
            linger: LINGER,
            outputs: Outputs::default(),
            departures: Departures::new(threads.saturating_sub(1)),
            pressure: Pressure::new(Instant::now()),
            batch: Vec::with_capacity(BATCH),
            datagrams: Vec::with_capacity(BATCH),
            bell: None,
            asking: Asking::default(),
            probing: None,
            fast: FastWay::default(),
        };
        worker.pipeline.set_secret(asking::secret());
        worker.install(compiled, None, Prepared::Off);
        Ok(worker)
    }

    /// Works until nobody is left to give commands.
    pub(super) fn run(mut self) {
        if let Err(error) = self.work() {
            tracing::error!(%error, "the packet thread cannot go on");
        }
    }

    fn work(&mut self) -> io::Result<()> {
        let mut ready = Vec::new();
        let mut expired = Instant::now();
        loop {
            let idle = Instant::now();
            let timeout = self.patience(idle, expired);
            self.waiting.wait(timeout, &mut ready)?;
            let now = Instant::now();
            self.pressure.helped(self.departures.take_helped());
            self.pressure.slept(idle, now);
            let now_ms = self.note_time(now);
            // Ports may be renumbered by a command: it comes after those who are ready.
            for &source in &ready {
                match source {
                    Source::Port(index) => self.take_frames(now_ms, index),
                    Source::Underlay(inlet) => self.take_datagrams(now_ms, inlet),
                    Source::Ring => self.take_from_ring(now_ms),
                    Source::Links | Source::Mailbox => continue,
                    Source::Routes => {
                        self.fast.note_change(now);
                        continue;
                    }
                }
                self.busy = now;
            }
            if ready.contains(&Source::Links) && self.links.changed()? {
                self.ports.look_again(&self.waiting);
                self.tell_ports();
                self.fast.note_change(now);
            }
            if ready.contains(&Source::Mailbox) && !self.obey(now) {
                return Ok(());
            }
            if let Some(due) = self.pipeline.next_deadline()
                && due <= now_ms
            {
                self.tell_time();
                self.pipeline.tick(now_ms, &mut self.outputs);
                self.depart();
            }
            if self.pipeline.has_news() {
                self.tell_news();
            }
            if self.probing.is_some() {
                self.go_on_probing();
            }
            if now.duration_since(expired) >= EXPIRY {
                self.pipeline.expire(now_ms);
                expired = now;
                if self
                    .fast
                    .every_second(now_ms, &mut self.pipeline, &mut self.outputs)
                {
                    self.busy = now;
                }
                self.depart();
            }
            let awake = now.duration_since(self.busy) < self.linger;
            self.fast.mind(now, awake, &mut self.pipeline);
        }
    }

    /// How long nothing but an event needs attention.
    fn patience(&mut self, now: Instant, expired: Instant) -> EpollTimeout {
        let expiry = (now.duration_since(self.busy) < self.linger)
            .then(|| EXPIRY.saturating_sub(now.duration_since(expired)) + Duration::from_millis(1));
        let tick = self.pipeline.next_deadline().map(|due| {
            let now_ms = self.milliseconds(now);
            Duration::from_millis(due.saturating_sub(now_ms))
        });
        // The kernel counts milliseconds, and a part of one is none.
        let probe = self.probe_due().map(|due| due + Duration::from_millis(1));
        let fast = self.fast.due(now).map(|due| due + Duration::from_millis(1));
        match [expiry, tick, probe, fast].into_iter().flatten().min() {
            Some(due) => EpollTimeout::try_from(due).unwrap_or(EpollTimeout::MAX),
            None => EpollTimeout::NONE,
        }
    }

    /// Tells the pipeline the time on its finer clock.
    pub(super) fn note_time(&mut self, now: Instant) -> u64 {
        let passed = now.duration_since(self.started).as_micros();
        self.pipeline
            .set_time_us(u64::try_from(passed).unwrap_or(u64::MAX));
        self.milliseconds(now)
    }

    fn milliseconds(&self, now: Instant) -> u64 {
        u64::try_from(now.duration_since(self.started).as_millis()).unwrap_or(u64::MAX)
    }

    fn take_frames(&mut self, now_ms: u64, index: PortIndex) {
        let pool = &mut self.outputs.pool;
        if let Err(error) = self.ports.receive(index, pool, &mut self.batch, BATCH) {
            self.ports.failed(index, &error, &self.waiting);
            self.tell_ports();
        }
        self.process(now_ms, Ingress::Port(index));
    }

    fn take_datagrams(&mut self, now_ms: u64, inlet: Inlet) {
        if self.tunnels.waits_for_ring(inlet) {
            // Nothing tells that an empty ring is empty.
            self.take_from_ring(now_ms);
            if self.tunnels.waits_for_ring(inlet) {
                return;
            }
        }
        let full = self.take_from_socket(now_ms, inlet);
        if self.tunnels.turns_to_ring(inlet, full) {
            // What is in the ring by now is younger than what is still here.
            for inlet in [Inlet::GpeV4, Inlet::VxlanV4] {
                while self.take_from_socket(now_ms, inlet) {}
            }
        }
    }

    /// Takes a batch out of a socket, and says whether it was as much as could be taken.
    fn take_from_socket(&mut self, now_ms: u64, inlet: Inlet) -> bool {
        let pool = &mut self.outputs.pool;
        let full = self.tunnels.receive(inlet, pool, &mut self.datagrams);
        self.process_datagrams(now_ms);
        full
    }

    fn take_from_ring(&mut self, now_ms: u64) {
        let pool = &mut self.outputs.pool;
        self.tunnels.receive_from_ring(pool, &mut self.datagrams);
        self.process_datagrams(now_ms);
    }

    /// Runs datagrams through the pipeline, those of one sender together.
    fn process_datagrams(&mut self, now_ms: u64) {
        let mut datagrams = std::mem::take(&mut self.datagrams);
        let mut last = None;
        for datagram in datagrams.drain(..) {
            let ingress = tunnel(datagram.is_gpe, datagram.from);
            if let Some(former) = last.replace(ingress)
                && former != ingress
            {
                self.process(now_ms, former);
            }
            self.batch.push(datagram.frame);
        }
        if let Some(ingress) = last {
            self.process(now_ms, ingress);
        }
        self.datagrams = datagrams;
    }

    /// Runs the batch through the pipeline and sends what comes out.
    pub(super) fn process(&mut self, now_ms: u64, ingress: Ingress) {
        if self.batch.is_empty() {
            return;
        }
        self.tell_time();
        self.pipeline
            .process(now_ms, ingress, &mut self.batch, &mut self.outputs);
        self.depart();
    }

    /// Sends what came out of the pipeline.
    pub(super) fn depart(&mut self) {
        let underlay = self.tunnels.underlay();
        self.departures.send(
            &mut self.outputs,
            &mut self.ports,
            underlay,
            &mut self.pipeline,
            self.pressure.is_high(),
        );
        if self.pipeline.is_captured()
            && self.pipeline.wakes_reader()
            && let Some(bell) = &self.bell
        {
            bell.ring();
        }
    }

    /// Waits until everything that came out of the pipeline is sent or lost.
    fn settle(&mut self) {
        let pool = &mut self.outputs.pool;
        self.departures.settle(pool, &mut self.pipeline);
    }

    /// Tells the pipeline the time of day, where captures want to know it.
    fn tell_time(&mut self) {
        if self.pipeline.is_captured() {
            self.pipeline.set_capture_time(wall_clock_ns());
        }
    }

    /// Tells the pipeline which UDP ports datagrams leave by, which only captures want to know.
    fn tell_sources(&mut self) {
        let sources = self.tunnels.underlay().map(Underlay::sources);
        self.pipeline.set_sources(sources.unwrap_or_default());
    }

    /// Tells the pipeline what has become of the ports.
    fn tell_ports(&mut self) {
        for (index, info) in self.ports.infos() {
            self.pipeline.set_port(index, info);
        }
    }

    /// Does what was asked; says whether anybody is left to ask.
    fn obey(&mut self, now: Instant) -> bool {
        loop {
            let command = match self.mailbox.take() {
                Ok(Some(command)) => command,
                Ok(None) => return true,
                Err(_) => return false,
            };
            // Whoever asked may have gone; what was asked for is done all the same.
            let _ = match command {
                Command::Install {
                    compiled,
                    underlay,
                    fast,
                    done,
                } => {
                    self.install(compiled, underlay, *fast);
                    done.send(()).is_ok()
                }
                Command::ShutFastPath(done) => {
                    self.fast.shut();
                    done.send(()).is_ok()
                }
                Command::Counters(answer) => answer.send(self.counters()).is_ok(),
                Command::Status(answer) => answer.send(self.status(now)).is_ok(),
                Command::Capture { tap, bell } => {
                    self.bell = Some(bell);
                    self.tell_sources();
                    self.pipeline.tap(*tap);
                    true
                }
                Command::Echo { echo, promise } => {
                    self.begin_echo(&echo, promise);
                    true
                }
                Command::Watch(promise) => {
                    self.begin_watch(promise);
                    true
                }
                Command::Probe { session, promise } => {
                    self.begin_probe(*session, promise);
                    true
                }
            };
        }
    }

    /// Puts tables and their underlay in force between two batches.
    fn install(&mut self, compiled: Arc<Compiled>, underlay: Option<Underlay>, fast: Prepared) {
        // What was not sent is told by the former numbers of ports.
        self.settle();
        self.fast.credit(&mut self.pipeline);
        self.ports.arrange(&compiled, &self.waiting);
        self.tunnels.arrange(underlay, &compiled, &self.waiting);
        self.generation = compiled.generation();
        let ageing = compiled
            .tables()
            .segments
            .iter()
            .map(|segment| segment.ageing_seconds)
            .max();
        self.linger = LINGER + 2 * Duration::from_secs(ageing.unwrap_or(0).into());
        self.busy = Instant::now();
        self.note_time(self.busy);
        self.pipeline.install(compiled);
        if self.pipeline.is_captured() {
            self.tell_sources();
        }
        self.tell_ports();
        self.fast.install(fast, &mut self.pipeline, &self.waiting);
    }

    /// All counters, those that the kernel keeps among them.
    fn counters(&mut self) -> Counters {
        self.settle();
        self.fast.credit(&mut self.pipeline);
        let mut counters = self.pipeline.counters();
        for (port, dropped) in counters.ports.iter_mut().zip(self.ports.dropped()) {
            port.rx_dropped = dropped;
        }
        counters.underlay.rx_dropped = self.tunnels.dropped();
        counters
    }

    fn status(&self, now: Instant) -> Status {
        let (tunnels, functions) = self.pipeline.health(self.milliseconds(now));
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            generation: self.generation,
            uptime_ms: self.milliseconds(now),
            threads: u16::try_from(1 + self.departures.helpers()).unwrap_or(u16::MAX),
            ports: self.ports.status(),
            underlay: self.tunnels.status(),
            tunnels,
            functions,
            neighbours: self.pipeline.neighbours(self.milliseconds(now)),
            fast_path: self.fast.status(&self.pipeline),
        }
    }
}

fn tunnel(is_gpe: bool, remote: IpAddr) -> Ingress {
    if is_gpe {
        Ingress::Gpe { remote }
    } else {
        Ingress::Vxlan { remote }
    }
}
