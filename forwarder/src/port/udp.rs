//! UDP sockets that tunnels end in, for one local address. One bound socket for each encapsulation takes
//! what arrives (and keeps the kernel from answering "port unreachable"); others send.
//!
//! Datagrams of one sender that came one after the other may have been joined by the kernel on
//! their way here (UDP_GRO), and cost one look-up and one wake-up then.

use super::mmsg::{self, BATCH, Kind, UDP_GRO};
use super::senders::Senders;
use super::socket;
use super::underlay::Datagram;
use crate::frame::Pool;
use kc_forwarder_api::UnderlayBackend;
use socket2::{Domain, Protocol, SockAddr, Socket, Type};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;

/// The sockets of one local VTEP.
#[derive(Debug, Clone)]
pub(super) struct Vtep {
    address: IpAddr,
    ports: [u16; 2],
    /// VXLAN-GPE, plain VXLAN.
    receivers: [Arc<Socket>; 2],
    senders: Arc<Senders>,
}

/// Why the underlay could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum UnderlayError {
    /// Another program, or the kernel's own vxlan device, has the port.
    #[error("underlay: UDP port {port} of {address} is taken by another program or a vxlan device")]
    Taken {
        /// Local VTEP.
        address: IpAddr,
        /// The port.
        port: u16,
    },
    /// The kernel said no.
    #[error("underlay: UDP port {port} of {address} cannot be opened")]
    Io {
        /// Local VTEP.
        address: IpAddr,
        /// The port.
        port: u16,
        /// The kernel's answer.
        #[source]
        source: io::Error,
    },
}

impl Vtep {
    /// Binds both `ports`, VXLAN-GPE's and VXLAN's; sockets that `former` has already are shared with it, so that
    /// nothing in flight is lost. The address may come to this machine later.
    ///
    /// # Errors
    /// A port is taken, or the kernel refused.
    pub(super) fn open(
        address: IpAddr,
        ports: [u16; 2],
        backend: UnderlayBackend,
        former: Option<&Self>,
    ) -> Result<Self, UnderlayError> {
        let former = former.filter(|former| former.address == address);
        let receiver = |port| match former.and_then(|former| former.receiver_of(port)) {
            Some(socket) => Ok(socket),
            None => bind(address, port)
                .map(Arc::new)
                .map_err(|source| refusal(address, port, source)),
        };
        let receivers = [receiver(ports[0])?, receiver(ports[1])?];
        let senders = match former {
            Some(former) => Arc::clone(&former.senders),
            None => Arc::new(Senders::bind(address)?),
        };
        senders.choose(backend);
        let joins = i32::from(backend != UnderlayBackend::Udp);
        for receiver in &receivers {
            // Without it, which is so before Linux 5.0, they come one by one.
            let _ = socket::set_int(receiver.as_fd(), libc::SOL_UDP, UDP_GRO, joins);
        }
        Ok(Self {
            address,
            ports,
            receivers,
            senders,
        })
    }

    /// The socket that receives on `port`.
    fn receiver_of(&self, port: u16) -> Option<Arc<Socket>> {
        let place = self.ports.iter().position(|&bound| bound == port)?;
        self.receivers.get(place).map(Arc::clone)
    }

    fn receiver(&self, is_gpe: bool) -> &Arc<Socket> {
        let [gpe, vxlan] = &self.receivers;
        if is_gpe { gpe } else { vxlan }
    }

    /// What sends.
    pub(super) fn senders(&self) -> &Senders {
        &self.senders
    }

    /// Readable when datagrams of VXLAN-GPE, or of plain VXLAN, wait.
    pub(super) fn as_fd(&self, is_gpe: bool) -> BorrowedFd<'_> {
        self.receiver(is_gpe).as_fd()
    }

    /// Whether both share the socket.
    pub(super) fn shares(&self, other: &Self, is_gpe: bool) -> bool {
        Arc::ptr_eq(self.receiver(is_gpe), other.receiver(is_gpe))
    }

    /// Datagrams that the kernel dropped because nobody had taken those before them, in all
    /// sockets that `heir` does not share.
    pub(super) fn dropped(&self, heir: Option<&Self>) -> u64 {
        let kept = |socket: &&Arc<Socket>| {
            heir.is_some_and(|heir| heir.receivers.iter().any(|held| Arc::ptr_eq(held, socket)))
        };
        let leaving = self.receivers.iter().filter(|socket| !kept(socket));
        leaving
            .map(|socket| socket::datagrams_dropped(socket.as_fd()).unwrap_or(0))
            .sum()
    }

    /// Appends at most `max` waiting UDP payloads with their senders to `batch`, and says how many.
    ///
    /// # Errors
    /// The socket is broken.
    pub(super) fn receive(
        &self,
        is_gpe: bool,
        pool: &mut Pool,
        batch: &mut Vec<Datagram>,
        max: usize,
    ) -> io::Result<usize> {
        let before = batch.len();
        // A message may be many datagrams: as many as in the last ones are expected of the next.
        let mut each = 1;
        while batch.len() - before < max {
            let wanted = (max - (batch.len() - before)).div_ceil(each).min(BATCH);
            let known = batch.len();
            let fd = self.as_fd(is_gpe);
            let received =
                mmsg::receive(
                    fd,
                    Kind::Udp,
                    wanted,
                    pool,
                    |received, pool| match received.from {
                        Some(from) => batch.push(Datagram {
                            from,
                            is_gpe,
                            frame: received.frame,
                        }),
                        None => pool.give(received.frame),
                    },
                );
            match received {
                Ok(count) if count < wanted => break,
                Ok(count) => each = ((batch.len() - known) / count.max(1)).max(1),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => break,
                    // ICMP errors about datagrams we sent are no error of what we receive.
                    Some(libc::EINTR | libc::ECONNREFUSED | libc::EHOSTUNREACH) => {}
                    _ if batch.len() > before => break,
                    _ => return Err(error),
                },
            }
        }
        Ok(batch.len() - before)
    }
}

pub(super) fn refusal(address: IpAddr, port: u16, source: io::Error) -> UnderlayError {
    match source.kind() {
        io::ErrorKind::AddrInUse => UnderlayError::Taken { address, port },
        _ => UnderlayError::Io {
            address,
            port,
            source,
        },
    }
}

/// A UDP socket bound to `port` of `address`, which need not be on this machine yet.
pub(super) fn bind(address: IpAddr, port: u16) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(address, port));
    let socket = Socket::new(
        domain,
        Type::DGRAM.nonblocking().cloexec(),
        Some(Protocol::UDP),
    )?;
    let fd = socket.as_fd();
    // RFC 6040: what the underlay marked is not to be lost with the outer header.
    if address.is_ipv4() {
        socket.set_freebind_v4(true)?;
        socket::set_int(fd, libc::IPPROTO_IP, libc::IP_RECVTOS, 1)?;
    } else {
        socket.set_freebind_v6(true)?;
        socket.set_only_v6(true)?;
        socket::set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_RECVTCLASS, 1)?;
        // A peer may leave the outer checksum out (RFC 6935); NSH and VXLAN are checked anyway.
        socket::set_int(fd, libc::SOL_UDP, libc::UDP_NO_CHECK6_RX, 1)?;
    }
    socket::grow_buffers(fd)?;
    socket.bind(&SockAddr::from(SocketAddr::new(address, port)))?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Frame;
    use crate::port::Loss;
    use crate::port::senders::{FIRST_SOURCE, SOURCES};
    use crate::port::underlay::{Inlet, Underlay};
    use kc_forwarder_api as api;
    use std::net::UdpSocket;
    use std::net::{Ipv4Addr, Ipv6Addr};

    fn loopback(gpe_port: u16, vxlan_port: u16) -> api::Underlay {
        api::Underlay {
            gpe_port,
            vxlan_port,
            ..api::Underlay::at(IpAddr::from(Ipv4Addr::LOCALHOST))
        }
    }

    fn free_port() -> u16 {
        let probe = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        probe.local_addr().unwrap().port()
    }

    fn show(datagram: &(Frame, SocketAddr)) -> (&Frame, Option<SocketAddr>) {
        (&datagram.0, Some(datagram.1))
    }

    fn receive_one(underlay: &Underlay, inlet: Inlet) -> Vec<u8> {
        let fd = underlay.as_fd(inlet).unwrap();
        let fd = nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN);
        nix::poll::poll(&mut [fd], nix::poll::PollTimeout::from(2000_u16)).unwrap();
        let mut batch = Vec::new();
        underlay
            .receive(inlet, &mut Pool::default(), &mut batch, 64)
            .unwrap();
        batch.pop().unwrap().frame.bytes().to_vec()
    }

    #[test]
    fn the_source_port_tells_flows_apart() {
        let underlay = Underlay::open(&loopback(free_port(), free_port()), None).unwrap();
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let to = peer.local_addr().unwrap();
        let mut sources = std::collections::BTreeSet::new();
        for entropy in 0..SOURCES {
            let frame = Frame::copy_of(b"payload");
            underlay.send(false, entropy, &[(frame, to)], show, |_, loss| {
                panic!("{loss:?}")
            });
            let mut buffer = [0; 64];
            let (length, from) = peer.recv_from(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"payload");
            sources.insert(from.port());
        }
        assert_eq!(sources.len(), usize::from(SOURCES));
        assert!(
            sources.iter().all(|&port| port >= FIRST_SOURCE),
            "{sources:?}"
        );
    }

    #[test]
    fn a_taken_port_is_named() {
        let taken = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        let error = Underlay::open(&loopback(port, free_port()), None).unwrap_err();
        assert!(
            error
                .to_string()
                .contains(&format!("UDP port {port} of 127.0.0.1 is taken")),
            "{error}"
        );
    }

    #[test]
    fn unchanged_ports_keep_their_sockets_and_what_waits_in_them() {
        let (gpe, vxlan) = (free_port(), free_port());
        let former = Underlay::open(&loopback(gpe, vxlan), None).unwrap();
        let peer = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        peer.send_to(b"in flight", (Ipv4Addr::LOCALHOST, gpe))
            .unwrap();
        let next = Underlay::open(&loopback(gpe, free_port()), Some(&former)).unwrap();
        assert!(next.shares(&former, Inlet::GpeV4));
        assert!(!next.shares(&former, Inlet::VxlanV4));
        drop(former);
        assert_eq!(receive_one(&next, Inlet::GpeV4), b"in flight");
    }

    #[test]
    fn both_families_have_sockets_of_their_own() {
        let own = [
            Ipv4Addr::LOCALHOST.into(),
            IpAddr::from(Ipv6Addr::LOCALHOST),
        ];
        let wanted = api::Underlay {
            address: api::VtepAddresses::new(own).unwrap(),
            ..loopback(free_port(), free_port())
        };
        let underlay = Underlay::open(&wanted, None).unwrap();
        for (inlet, own) in [(Inlet::GpeV4, own[0]), (Inlet::GpeV6, own[1])] {
            let frame = Frame::copy_of(b"to ourselves");
            let to = SocketAddr::new(own, wanted.gpe_port);
            let v6 = inlet.is_ipv6();
            underlay.send(v6, 3, &[(frame, to)], show, |_, loss| panic!("{loss:?}"));
            assert_eq!(receive_one(&underlay, inlet), b"to ourselves");
        }
        let v4_only = Underlay::open(
            &loopback(wanted.gpe_port, wanted.vxlan_port),
            Some(&underlay),
        );
        let v4_only = v4_only.unwrap();
        assert!(v4_only.shares(&underlay, Inlet::VxlanV4) && v4_only.as_fd(Inlet::GpeV6).is_none());
    }

    #[test]
    fn a_traffic_class_goes_out_and_comes_in_over_both_families() {
        for v6 in [false, true] {
            let mut wanted = loopback(free_port(), free_port());
            let mut here = IpAddr::from(Ipv4Addr::LOCALHOST);
            if v6 {
                here = Ipv6Addr::LOCALHOST.into();
                wanted.address = here.into();
            }
            let underlay = Underlay::open(&wanted, None).unwrap();
            let to = SocketAddr::new(here, wanted.gpe_port);
            let classes = [0_u8, 1, 2, 3, 0xb8, 0xff];
            let datagrams = classes.map(|class| {
                let mut frame = Frame::copy_of(b"payload");
                frame.offload.outer_class = class;
                (frame, to)
            });
            underlay.send(v6, 0, &datagrams, show, |_, loss| panic!("{loss:?}"));
            let inlet = if v6 { Inlet::GpeV6 } else { Inlet::GpeV4 };
            let mut batch = Vec::new();
            while batch.len() < classes.len() {
                let fd = underlay.as_fd(inlet).unwrap();
                let fd = nix::poll::PollFd::new(fd, nix::poll::PollFlags::POLLIN);
                let timeout = nix::poll::PollTimeout::from(2000_u16);
                assert_eq!(nix::poll::poll(&mut [fd], timeout).unwrap(), 1);
                underlay
                    .receive(inlet, &mut Pool::default(), &mut batch, 64)
                    .unwrap();
            }
            let received = batch
                .iter()
                .map(|datagram| datagram.frame.offload.outer_class);
            assert_eq!(received.collect::<Vec<_>>(), classes);
        }
    }

    /// Sends datagrams of these lengths over loopback and takes what arrives.
    fn exchange(
        backend: UnderlayBackend,
        v6: bool,
        lengths: &[usize],
    ) -> (Vec<Vec<u8>>, Vec<Vec<u8>>) {
        let here = if v6 {
            IpAddr::from(Ipv6Addr::LOCALHOST)
        } else {
            Ipv4Addr::LOCALHOST.into()
        };
        let wanted = api::Underlay {
            address: here.into(),
            backend,
            ..loopback(free_port(), free_port())
        };
        let underlay = Underlay::open(&wanted, None).unwrap();
        let to = SocketAddr::new(here, wanted.gpe_port);
        let datagrams: Vec<_> = (0..)
            .zip(lengths)
            .map(|(number, &length)| {
                let octets: Vec<u8> = (number..=u8::MAX).cycle().take(length).collect();
                (Frame::copy_of(&octets), to)
            })
            .collect();
        underlay.send(v6, 0, &datagrams, show, |_, loss| panic!("{loss:?}"));
        let inlet = if v6 { Inlet::GpeV6 } else { Inlet::GpeV4 };
        let (mut batch, mut pool) = (Vec::new(), Pool::default());
        while batch.len() < lengths.len() {
            let fd = nix::poll::PollFd::new(
                underlay.as_fd(inlet).unwrap(),
                nix::poll::PollFlags::POLLIN,
            );
            let timeout = nix::poll::PollTimeout::from(2000_u16);
            let ready = nix::poll::poll(&mut [fd], timeout).unwrap();
            assert_eq!(ready, 1, "only {} datagrams came", batch.len());
            underlay.receive(inlet, &mut pool, &mut batch, 64).unwrap();
        }
        let octets = |frame: &Frame| frame.bytes().to_vec();
        let sent = datagrams.iter().map(|(frame, _)| octets(frame)).collect();
        (
            sent,
            batch
                .iter()
                .map(|datagram| octets(&datagram.frame))
                .collect(),
        )
    }

    #[test]
    fn runs_arrive_as_the_datagrams_they_were_made_of() {
        let mut lengths = vec![100; 150];
        lengths.extend([1400; 70]);
        lengths.extend([1400, 9, 1400, 3000, 3000, 2999, 1, 1, 2]);
        for backend in [UnderlayBackend::Auto, UnderlayBackend::Udp] {
            for v6 in [false, true] {
                let (sent, received) = exchange(backend, v6, &lengths);
                assert!(sent == received, "{backend}, IPv6 {v6}");
            }
        }
    }

    #[test]
    fn how_datagrams_leave_is_told_and_follows_what_is_asked_for() {
        let mut wanted = loopback(free_port(), free_port());
        let first = Underlay::open(&wanted, None).unwrap();
        assert!(first.status().unwrap().backend == UnderlayBackend::UdpGso);
        wanted.backend = UnderlayBackend::Udp;
        let then = Underlay::open(&wanted, Some(&first)).unwrap();
        let status = then.status().unwrap();
        assert!(status.backend == UnderlayBackend::Udp && status.reason == "asked for");
    }

    #[test]
    fn a_datagram_longer_than_the_path_takes_is_counted_not_fragmented() {
        let underlay = Underlay::open(&loopback(free_port(), free_port()), None).unwrap();
        let to = SocketAddr::from((Ipv4Addr::LOCALHOST, 9));
        let datagrams = [
            (Frame::copy_of(&[0; 65_530]), to),
            (Frame::copy_of(b"short"), to),
        ];
        let mut lost = Vec::new();
        underlay.send(false, 0, &datagrams, show, |datagram, loss| {
            lost.push((datagram.0.len(), loss))
        });
        assert_eq!(lost, [(65_530, Loss::Oversize)]);
    }
}
