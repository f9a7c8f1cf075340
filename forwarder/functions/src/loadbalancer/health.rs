//! Health checks: real TCP connections to the backends by the function's own leg, made by
//! smoltcp, since the leg's address is not the kernel's.

use super::backend::{Backend, Policy};
use ipnet::IpNet;
use kc_forwarder::frame::Frame;
use kc_forwarder::probe::Queues;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, IpCidr};
use std::net::{IpAddr, SocketAddr};

/// Only connections without data are made: any link carries them.
const MTU: u16 = 1280;

/// Ports that checks are made from: the dynamic ones.
const FIRST_PORT: u16 = 49_152;

/// The function's own end of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) address: IpNet,
    pub(super) gateway: Option<IpAddr>,
}

/// One backend's check.
#[derive(Debug, Clone, Copy)]
struct Check {
    socket: SocketHandle,
    /// When the running check began.
    running: Option<u64>,
    /// When the next one begins.
    due_ms: u64,
}

/// All checks and the endpoint that makes them.
pub(super) struct Health {
    policy: Policy,
    endpoint: Endpoint,
    interface: Interface,
    queues: Queues,
    sockets: SocketSet<'static>,
    /// In the order of the backends.
    checks: Vec<Check>,
    next_port: u16,
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Health")
            .field("checks", &self.checks)
            .finish_non_exhaustive()
    }
}

fn instant(now_ms: u64) -> Instant {
    Instant::from_millis(i64::try_from(now_ms).unwrap_or(i64::MAX))
}

impl Health {
    /// An endpoint with address `mac` that checks `count` backends, all at once at first.
    pub(super) fn new(mac: [u8; 6], endpoint: Endpoint, policy: Policy, count: usize) -> Self {
        let mut queues = Queues::new(MTU);
        let [.., a, b, c, d] = mac;
        let mut config = Config::new(EthernetAddress(mac).into());
        config.random_seed = u64::from(u32::from_be_bytes([a, b, c, d]));
        let mut interface = Interface::new(config, &mut queues, instant(0));
        interface.update_ip_addrs(|addresses| {
            let own = IpCidr::new(
                endpoint.address.addr().into(),
                endpoint.address.prefix_len(),
            );
            // The list is empty and has room for two.
            let _ = addresses.push(own);
        });
        let routes = interface.routes_mut();
        let _full = match endpoint.gateway {
            Some(IpAddr::V4(gateway)) => routes.add_default_ipv4_route(gateway).err(),
            Some(IpAddr::V6(gateway)) => routes.add_default_ipv6_route(gateway).err(),
            None => None,
        };
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || SocketBuffer::new(vec![0; 64]);
        let mut check = || Check {
            socket: sockets.add(Socket::new(buffer(), buffer())),
            running: None,
            due_ms: 0,
        };
        let checks = (0..count).map(|_| check()).collect();
        Self {
            policy,
            endpoint,
            interface,
            queues,
            sockets,
            checks,
            next_port: FIRST_PORT,
        }
    }

    /// Hands over a frame for the endpoint.
    pub(super) fn feed(&mut self, frame: &[u8]) {
        self.queues.feed(frame);
    }

    /// Begins and ends what is due, writes outcomes into `backends`, and returns frames to send.
    pub(super) fn poll(&mut self, now_ms: u64, backends: &mut [Backend]) -> Vec<Frame> {
        let now = instant(now_ms);
        self.interface
            .poll(now, &mut self.queues, &mut self.sockets);
        for (check, backend) in self.checks.iter_mut().zip(backends) {
            let socket = self.sockets.get_mut::<Socket<'_>>(check.socket);
            if let Some(since) = check.running {
                let outcome = match socket.state() {
                    State::SynSent if now_ms.saturating_sub(since) < self.policy.timeout_ms => None,
                    State::Established | State::CloseWait => Some(true),
                    // Refused, or too late.
                    _ => Some(false),
                };
                if let Some(good) = outcome {
                    socket.abort();
                    backend.standing.note(good, &self.policy);
                    check.running = None;
                    check.due_ms = now_ms + self.policy.interval_ms;
                }
            } else if check.due_ms <= now_ms {
                let local = (self.endpoint.address.addr(), self.next_port);
                self.next_port = self.next_port.checked_add(1).unwrap_or(FIRST_PORT);
                let context = self.interface.context();
                match socket.connect(context, backend.address, local) {
                    Ok(()) => check.running = Some(now_ms),
                    Err(_) => {
                        socket.abort();
                        backend.standing.note(false, &self.policy);
                        check.due_ms = now_ms + self.policy.interval_ms;
                    }
                }
            }
        }
        self.interface
            .poll(now, &mut self.queues, &mut self.sockets);
        std::mem::take(&mut self.queues.outgoing)
    }

    /// When `poll` has to be called at the latest.
    pub(super) fn deadline(&mut self, now_ms: u64) -> Option<u64> {
        let checks = self.checks.iter().map(|check| match check.running {
            Some(since) => since + self.policy.timeout_ms,
            None => check.due_ms,
        });
        let stack = self.interface.poll_at(instant(now_ms), &self.sockets);
        let stack = stack.and_then(|at| u64::try_from(at.total_millis()).ok());
        checks.chain(stack).min()
    }
}

/// Whether a packet from `source` to `destination` answers a check.
pub(super) fn is_answer(
    endpoint: &Endpoint,
    backends: &[Backend],
    source: SocketAddr,
    destination: SocketAddr,
) -> bool {
    destination.ip() == endpoint.address.addr()
        && destination.port() >= FIRST_PORT
        && backends.iter().any(|backend| backend.address == source)
}
