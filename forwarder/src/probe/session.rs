//! One request from its first packet to its report.

use super::answer::{complaint, outgoing};
use super::ask::{Asker, News, OPEN};
use super::measure::Measure;
use super::plan::Plan;
use super::queues::Queues;
use crate::frame::Frame;
use kc_forwarder_api::{PortName, ProbeError, ProbeReport};
use smoltcp::iface::{Config, Interface, SocketSet};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};
use std::net::IpAddr;

/// A probe that waits for its answer.
#[derive(Debug, Clone, Copy)]
struct Open {
    number: u32,
    begun_us: u64,
    /// When its first packet left; it waits for a neighbour until then.
    left_us: Option<u64>,
}

/// The endpoint and its probes. Times are microseconds of any clock that does not run backwards.
pub struct Session {
    plan: Plan,
    mac: [u8; 6],
    interface: Interface,
    queues: Queues,
    sockets: SocketSet<'static>,
    asker: Asker,
    open: Vec<Open>,
    /// Number of the next probe.
    next: u32,
    /// When it is to begin; at once, for the first.
    next_us: u64,
    measure: Measure,
    news: Vec<(u32, News)>,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session")
            .field("plan", &self.plan)
            .field("next", &self.next)
            .field("open", &self.open)
            .finish_non_exhaustive()
    }
}

fn instant(now_us: u64) -> Instant {
    Instant::from_micros(i64::try_from(now_us).unwrap_or(i64::MAX))
}

impl Session {
    /// An endpoint that carries out `plan`. `seed` chooses its MAC address, ports and sequence
    /// numbers: another one for every session.
    pub fn new(plan: Plan, seed: u64) -> Self {
        let [_, _, b, c, d, e, f, _] = seed.to_be_bytes();
        // Locally administered and not a group's: the second lowest bit of the first octet set,
        // the lowest clear.
        let mac = [0x02, b, c, d, e, f];
        let mut queues = Queues::new(plan.mtu);
        let mut config = Config::new(EthernetAddress(mac).into());
        config.random_seed = seed;
        let mut interface = Interface::new(config, &mut queues, instant(0));
        let source = plan.probe.source;
        interface.update_ip_addrs(|addresses| {
            // The list is empty and has room for two.
            let _ = addresses.push(IpCidr::new(source.addr().into(), source.prefix_len()));
        });
        let routes = interface.routes_mut();
        let _full = match plan.probe.gateway {
            Some(IpAddr::V4(gateway)) => routes.add_default_ipv4_route(gateway).err(),
            Some(IpAddr::V6(gateway)) => routes.add_default_ipv6_route(gateway).err(),
            None => None,
        };
        let mut sockets = SocketSet::new(Vec::new());
        let low = u32::try_from(seed & 0xffff_ffff).unwrap_or_default();
        let asker = Asker::new(&plan, low, &mut sockets);
        Self {
            plan,
            mac,
            interface,
            queues,
            sockets,
            asker,
            open: Vec::with_capacity(OPEN),
            next: 0,
            next_us: 0,
            measure: Measure::default(),
            news: Vec::new(),
        }
    }

    /// The port it stands behind.
    pub const fn port(&self) -> &PortName {
        &self.plan.probe.port
    }

    /// Its MAC address.
    pub const fn mac(&self) -> [u8; 6] {
        self.mac
    }

    /// Takes a frame that was sent to it.
    pub fn accept(&mut self, now_us: u64, frame: &[u8]) {
        match complaint(frame) {
            Some(told) if told.destination == self.plan.probe.target.address() => {
                let oldest = self.open.first().map(|open| open.number);
                if let Some(number) = self.asker.number(told.mark, oldest) {
                    self.settle(number, News::Failed(told.error), now_us);
                }
            }
            _ => self.queues.feed(frame),
        }
    }

    /// Begins, ends and judges what there is to; frames to send go into `out`.
    pub fn poll(&mut self, now_us: u64, out: &mut Vec<Frame>) {
        self.stir(now_us);
        let mut news = std::mem::take(&mut self.news);
        let size = self.plan.probe.size;
        self.asker.listen(size, &mut self.sockets, &mut news);
        for (number, word) in news.drain(..) {
            self.settle(number, word, now_us);
        }
        self.news = news;
        self.give_up(now_us);
        self.begin(now_us);
        self.stir(now_us);
        self.asker.tidy(now_us, &mut self.sockets);
        for frame in self.queues.outgoing.drain(..) {
            if let Some(sent) = outgoing(frame.bytes())
                && sent.asks
                && let Some(number) = self.asker.number(sent.mark, None)
                && let Some(open) = self.open.iter_mut().find(|open| open.number == number)
            {
                match open.left_us {
                    None => open.left_us = Some(now_us),
                    Some(_) => self.measure.retransmitted(),
                }
            }
            out.push(frame);
        }
    }

    /// When [`Session::poll`] is to be called at the latest.
    pub fn due_us(&mut self, now_us: u64) -> u64 {
        let patience = self.patience_us();
        let timeouts = self.open.iter().map(|open| open.begun_us + patience);
        let next =
            (self.next < self.plan.probe.count && self.open.len() < OPEN).then_some(self.next_us);
        let stack = self.interface.poll_at(instant(now_us), &self.sockets);
        let stack = stack.and_then(|at| u64::try_from(at.total_micros()).ok());
        let all = timeouts.chain(next).chain(stack);
        all.chain(self.asker.tidy_at()).min().unwrap_or(now_us)
    }

    /// The report, once all probes are decided and all connections closed.
    pub fn report(&self) -> Option<ProbeReport> {
        let over = self.next >= self.plan.probe.count
            && self.open.is_empty()
            && self.asker.tidy_at().is_none();
        over.then(|| self.measure.report())
    }

    /// The report as it stands, all that wait having failed with `error`.
    pub fn cut_short(mut self, error: ProbeError) -> ProbeReport {
        for _ in self.open.drain(..) {
            self.measure.failed(error);
        }
        if self.next < self.plan.probe.count {
            self.measure.begun();
            self.measure.failed(error);
        }
        self.measure.report()
    }

    fn patience_us(&self) -> u64 {
        u64::from(self.plan.probe.timeout_ms) * 1000
    }

    fn stir(&mut self, now_us: u64) {
        self.interface
            .poll(instant(now_us), &mut self.queues, &mut self.sockets);
    }

    fn settle(&mut self, number: u32, news: News, now_us: u64) {
        // Too late, or said before.
        let Some(place) = self.open.iter().position(|open| open.number == number) else {
            return;
        };
        match news {
            News::Connected => return self.measure.connected(),
            News::Answered => {
                let open = self.open.remove(place);
                let left_us = open.left_us.unwrap_or(open.begun_us);
                self.measure.answered(now_us.saturating_sub(left_us));
            }
            News::Failed(error) => {
                self.open.remove(place);
                self.measure.failed(error);
            }
        }
        self.asker.end(number, now_us, &mut self.sockets);
    }

    fn give_up(&mut self, now_us: u64) {
        let patience = self.patience_us();
        while let Some(late) = self
            .open
            .iter()
            .find(|open| now_us >= open.begun_us + patience)
        {
            let error = match late.left_us {
                Some(_) => ProbeError::Silence,
                None => ProbeError::NoNeighbour,
            };
            self.settle(late.number, News::Failed(error), now_us);
        }
    }

    fn begin(&mut self, now_us: u64) {
        let interval = u64::from(self.plan.probe.interval_ms) * 1000;
        while self.next < self.plan.probe.count && self.open.len() < OPEN && self.next_us <= now_us
        {
            let number = self.next;
            self.next += 1;
            // Steady, unless the last one had to wait for room.
            self.next_us = if self.next_us + interval < now_us {
                now_us + interval
            } else {
                self.next_us + interval
            };
            self.measure.begun();
            self.open.push(Open {
                number,
                begun_us: now_us,
                left_us: None,
            });
            let begun =
                self.asker
                    .begin(number, &self.plan, &mut self.interface, &mut self.sockets);
            if let Err(error) = begun {
                self.settle(number, News::Failed(error), now_us);
            }
        }
    }
}
