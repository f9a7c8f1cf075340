//! How a probe of each kind is asked with smoltcp's sockets, and what they tell.

use super::answer::{Mark, fill, sequence};
use super::plan::Plan;
use crate::wire::icmp;
use kc_forwarder_api::{ProbeError, ProbeTarget};
use smoltcp::iface::{Interface, SocketHandle, SocketSet};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::{icmp as echo, tcp, udp};
use smoltcp::wire::{Icmpv4Packet, Icmpv4Repr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpEndpoint};
use std::net::IpAddr;

/// Probes that may wait for their answers at the same time.
pub(super) const OPEN: usize = 64;

/// Dynamic ports (RFC 6335): more than a request has probes.
const FIRST_PORT: u16 = 49_152;
const PORTS: u32 = 16_384;

/// Time for a connection to be closed in good order.
const FAREWELL_US: u64 = 200_000;

/// Octets of a connection's buffers.
const BUFFER: usize = 4_096;

/// What became of a probe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum News {
    /// Its connection stands.
    Connected,
    /// Answered as wanted.
    Answered,
    /// Not answered as wanted.
    Failed(ProbeError),
}

/// The sockets of one kind of probe.
#[derive(Debug)]
pub(super) enum Asker {
    Echo {
        socket: SocketHandle,
        ident: u16,
    },
    Datagrams {
        socket: SocketHandle,
        port: u16,
    },
    Connections {
        first: u32,
        open: Vec<Connection>,
        /// Answered, and being closed until then.
        leaving: Vec<(SocketHandle, u64)>,
    },
}

/// One connection under way.
#[derive(Debug)]
pub(super) struct Connection {
    sequence: u32,
    socket: SocketHandle,
    stands: bool,
    /// Octets written, and octets come back.
    written: usize,
    echoed: usize,
}

impl Asker {
    /// Sockets for `plan`; `seed` chooses ports and identifiers.
    pub(super) fn new(plan: &Plan, seed: u32, sockets: &mut SocketSet<'static>) -> Self {
        let room = OPEN * 2;
        let octets = room * (usize::from(plan.probe.size) + icmp::HEADER_LEN);
        let first = seed % PORTS;
        match plan.probe.target {
            ProbeTarget::Icmp { .. } => {
                let buffer = || {
                    let slots = vec![echo::PacketMetadata::EMPTY; room];
                    echo::PacketBuffer::new(slots, vec![0; octets])
                };
                let ident = port(seed, 0);
                let mut socket = echo::Socket::new(buffer(), buffer());
                // A fresh socket, and an identifier that is not zero.
                let _ = socket.bind(echo::Endpoint::Ident(ident));
                let socket = sockets.add(socket);
                Self::Echo { socket, ident }
            }
            ProbeTarget::Udp { .. } => {
                let buffer = || {
                    let slots = vec![udp::PacketMetadata::EMPTY; room];
                    udp::PacketBuffer::new(slots, vec![0; octets])
                };
                let port = port(first, 0);
                let mut socket = udp::Socket::new(buffer(), buffer());
                // As above.
                let _ = socket.bind(port);
                let socket = sockets.add(socket);
                Self::Datagrams { socket, port }
            }
            ProbeTarget::Tcp { .. } => Self::Connections {
                first,
                open: Vec::new(),
                leaving: Vec::new(),
            },
        }
    }

    /// Begins probe `number`.
    pub(super) fn begin(
        &mut self,
        number: u32,
        plan: &Plan,
        interface: &mut Interface,
        sockets: &mut SocketSet<'static>,
    ) -> Result<(), ProbeError> {
        let size = usize::from(plan.probe.size);
        // A queue that is full holds what nobody's neighbour has taken.
        let stuck = ProbeError::NoNeighbour;
        match (self, plan.probe.target) {
            (Self::Echo { socket, ident }, ProbeTarget::Icmp { address }) => {
                let socket = sockets.get_mut::<echo::Socket<'_>>(*socket);
                let buffer = socket.send(icmp::HEADER_LEN + size, address.into());
                let buffer = buffer.map_err(|_| stuck)?;
                let mut data = vec![0; size];
                fill(&mut data, number);
                let source = plan.probe.source.addr();
                emit(buffer, (source, address), *ident, low(number), &data);
            }
            (Self::Datagrams { socket, .. }, ProbeTarget::Udp { address, port }) => {
                let socket = sockets.get_mut::<udp::Socket<'_>>(*socket);
                let to = IpEndpoint::new(IpAddress::from(address), port);
                fill(socket.send(size, to).map_err(|_| stuck)?, number);
            }
            (Self::Connections { first, open, .. }, ProbeTarget::Tcp { address, port: to }) => {
                let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
                let mut socket = tcp::Socket::new(buffer(), buffer());
                socket.set_nagle_enabled(false);
                let local = (plan.probe.source.addr(), port(*first, number));
                let asked = socket.connect(interface.context(), (address, to), local);
                asked.map_err(|_| ProbeError::Unreachable)?;
                open.push(Connection {
                    sequence: number,
                    socket: sockets.add(socket),
                    stands: false,
                    written: 0,
                    echoed: 0,
                });
            }
            _ => return Err(ProbeError::Unknown),
        }
        Ok(())
    }

    /// What the sockets have to tell, into `news`.
    pub(super) fn listen(
        &mut self,
        size: u16,
        sockets: &mut SocketSet<'static>,
        news: &mut Vec<(u32, News)>,
    ) {
        let size = usize::from(size);
        match self {
            Self::Echo { socket, ident } => {
                let socket = sockets.get_mut::<echo::Socket<'_>>(*socket);
                while let Ok((octets, _)) = socket.recv() {
                    let Ok(reply) = icmp::Packet::new_checked(octets) else {
                        continue;
                    };
                    let is_reply = matches!(
                        reply.kind(),
                        icmp::kind::ECHO_REPLY_V4 | icmp::kind::ECHO_REPLY_V6
                    );
                    if is_reply && reply.ident() == *ident {
                        let number = u32::from(reply.sequence());
                        news.push((number, judge(reply.payload(), number, size)));
                    }
                }
            }
            Self::Datagrams { socket, .. } => {
                let socket = sockets.get_mut::<udp::Socket<'_>>(*socket);
                while let Ok((octets, _)) = socket.recv() {
                    // What carries no number of ours is nobody's answer.
                    if let Some(number) = sequence(octets) {
                        news.push((number, judge(octets, number, size)));
                    }
                }
            }
            Self::Connections { open, .. } => {
                for connection in open {
                    connection.listen(size, sockets, news);
                }
            }
        }
    }

    /// Probe `number` is decided: nothing more is to be sent for it.
    pub(super) fn end(&mut self, number: u32, now_us: u64, sockets: &mut SocketSet<'static>) {
        let Self::Connections { open, leaving, .. } = self else {
            return;
        };
        let place = open.iter().position(|held| held.sequence == number);
        let Some(place) = place else {
            return;
        };
        let connection = open.swap_remove(place);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(connection.socket);
        if connection.stands {
            socket.close();
        } else {
            socket.abort();
        }
        leaving.push((connection.socket, now_us + FAREWELL_US));
    }

    /// Forgets connections that are closed, and breaks off those that do not close.
    pub(super) fn tidy(&mut self, now_us: u64, sockets: &mut SocketSet<'static>) {
        let Self::Connections { leaving, .. } = self else {
            return;
        };
        leaving.retain_mut(|(handle, until)| {
            let socket = sockets.get_mut::<tcp::Socket<'_>>(*handle);
            let closed = matches!(socket.state(), tcp::State::Closed | tcp::State::TimeWait);
            if closed {
                sockets.remove(*handle);
            } else if now_us >= *until {
                // The reset leaves with the next poll, and the socket with the one after.
                socket.abort();
            }
            !closed
        });
    }

    /// When [`Asker::tidy`] has something to do; `None` when nothing is left.
    pub(super) fn tidy_at(&self) -> Option<u64> {
        match self {
            Self::Connections { leaving, .. } => leaving.iter().map(|(_, until)| *until).min(),
            Self::Echo { .. } | Self::Datagrams { .. } => None,
        }
    }

    /// The number of the probe that `mark` belongs to. A datagram whose payload is not to be seen
    /// is that of `oldest`.
    pub(super) fn number(&self, mark: Mark, oldest: Option<u32>) -> Option<u32> {
        match (self, mark) {
            (Self::Echo { ident, .. }, Mark::Echo(of, number)) if of == *ident => {
                Some(number.into())
            }
            (Self::Datagrams { port, .. }, Mark::Datagram(of, number)) if of == *port => {
                number.or(oldest)
            }
            (Self::Connections { first, .. }, Mark::Connection(of)) => {
                let offset = u32::from(of.checked_sub(FIRST_PORT)?);
                Some((offset + PORTS - first) % PORTS)
            }
            _ => None,
        }
    }
}

impl Connection {
    fn listen(
        &mut self,
        size: usize,
        sockets: &mut SocketSet<'static>,
        news: &mut Vec<(u32, News)>,
    ) {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.socket);
        let mut tell = |word| news.push((self.sequence, word));
        match socket.state() {
            tcp::State::SynSent | tcp::State::SynReceived => return,
            tcp::State::Established | tcp::State::CloseWait if !self.stands => {
                self.stands = true;
                tell(News::Connected);
            }
            tcp::State::Established | tcp::State::CloseWait => {}
            _ if self.stands => return tell(News::Failed(ProbeError::Reset)),
            _ => return tell(News::Failed(ProbeError::Refused)),
        }
        while self.written < size && socket.can_send() {
            let rest = (self.written..size).map(pattern).take(BUFFER);
            let chunk: Vec<u8> = rest.collect();
            match socket.send_slice(&chunk) {
                Ok(count @ 1..) => self.written += count,
                _ => break,
            }
        }
        let mut chunk = [0; BUFFER];
        while self.echoed < size
            && socket.can_recv()
            && let Ok(count @ 1..) = socket.recv_slice(&mut chunk)
        {
            let wanted = (self.echoed..).map(pattern);
            let got = chunk.get(..count).unwrap_or_default();
            if !got.iter().copied().eq(wanted.take(count)) {
                return tell(News::Failed(ProbeError::Corrupt));
            }
            self.echoed += count;
        }
        if self.echoed >= size {
            tell(News::Answered);
        } else if socket.state() == tcp::State::CloseWait && !socket.can_recv() {
            tell(News::Failed(ProbeError::Reset));
        }
    }
}

/// Octet `at` of what a connection is to echo.
fn pattern(at: usize) -> u8 {
    u8::try_from(at % 251).unwrap_or_default()
}

fn judge(payload: &[u8], number: u32, size: usize) -> News {
    let mut wanted = vec![0; size];
    fill(&mut wanted, number);
    if payload == wanted {
        News::Answered
    } else {
        News::Failed(ProbeError::Corrupt)
    }
}

/// A dynamic port, `number` further than the first.
fn port(first: u32, number: u32) -> u16 {
    let offset = (first % PORTS + number % PORTS) % PORTS;
    FIRST_PORT + u16::try_from(offset).unwrap_or_default()
}

/// A sequence number as ICMP has room for it; a request has no more probes than that.
fn low(number: u32) -> u16 {
    u16::try_from(number & 0xffff).unwrap_or_default()
}

fn emit(buffer: &mut [u8], ends: (IpAddr, IpAddr), ident: u16, seq_no: u16, data: &[u8]) {
    let checksums = ChecksumCapabilities::default();
    match ends {
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let echo = Icmpv6Repr::EchoRequest {
                ident,
                seq_no,
                data,
            };
            let mut packet = Icmpv6Packet::new_unchecked(buffer);
            echo.emit(&source, &destination, &mut packet, &checksums);
        }
        _ => {
            let echo = Icmpv4Repr::EchoRequest {
                ident,
                seq_no,
                data,
            };
            echo.emit(&mut Icmpv4Packet::new_unchecked(buffer), &checksums);
        }
    }
}
