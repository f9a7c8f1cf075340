//! Sockets that tunnels of one local address are sent from: several, so that the outer source
//! port tells flows apart on the way (RFC 7348 section 5). Datagrams of one length to one
//! receiver, which are many where it matters, leave as one message and are cut by the interface
//! or at the last moment (UDP_SEGMENT): they cost the way through the stack once.

use super::mmsg::{self, Joining, UDP_SEGMENT};
use super::udp::{UnderlayError, bind, refusal};
use super::{Loss, socket};
use crate::frame::Frame;
use kc_forwarder_api::UnderlayBackend;
use socket2::Socket;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicU8, Ordering};

/// Source ports that outgoing datagrams are spread over.
pub const SOURCES: u16 = 8;

/// "It is RECOMMENDED that the value be in the dynamic/private port range 49152-65535"
/// (RFC 7348 section 5, of the outer source port).
pub(super) const FIRST_SOURCE: u16 = 49_152;

/// How datagrams leave, and why so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Mode {
    /// In runs.
    Runs,
    /// One by one, as asked for.
    Asked,
    /// One by one: the kernel is too old.
    NoOption,
    /// One by one: a run was refused.
    Refused,
}

impl Mode {
    const ALL: [Self; 4] = [Self::Runs, Self::Asked, Self::NoOption, Self::Refused];
}

/// The sending sockets of one local VTEP.
#[derive(Debug)]
pub(super) struct Senders {
    address: IpAddr,
    sockets: Vec<Socket>,
    mode: AtomicU8,
}

impl Senders {
    /// Binds source ports of `address`, which may come to this machine later.
    ///
    /// # Errors
    /// The kernel refused.
    pub(super) fn bind(address: IpAddr) -> Result<Self, UnderlayError> {
        let mut sockets = Vec::with_capacity(usize::from(SOURCES));
        for port in FIRST_SOURCE..=u16::MAX {
            match bind(address, port).and_then(|socket| ready_to_send(socket, address)) {
                Ok(socket) => sockets.push(socket),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(refusal(address, port, error)),
            }
            if sockets.len() == usize::from(SOURCES) {
                return Ok(Self {
                    address,
                    sockets,
                    mode: AtomicU8::new(Mode::Asked as u8),
                });
            }
        }
        Err(UnderlayError::Taken {
            address,
            port: FIRST_SOURCE,
        })
    }

    /// Sends as `backend` says from now on, as far as this kernel can.
    pub(super) fn choose(&self, backend: UnderlayBackend) {
        let knows =
            |socket: &Socket| socket::set_int(socket.as_fd(), libc::SOL_UDP, UDP_SEGMENT, 0);
        self.set(match backend {
            UnderlayBackend::Udp => Mode::Asked,
            UnderlayBackend::Auto | UnderlayBackend::UdpGso | UnderlayBackend::Mmap => {
                match self.sockets.iter().try_for_each(knows) {
                    Ok(()) => Mode::Runs,
                    Err(_) => Mode::NoOption,
                }
            }
        });
    }

    fn set(&self, mode: Mode) {
        self.mode.store(mode as u8, Ordering::Relaxed);
        if self.address.is_ipv4() {
            // RFC 7348 section 5: "UDP Checksum: It SHOULD be transmitted as zero." A run cannot
            // be, and who receives it can join again only what has one.
            let leave_out = i32::from(mode != Mode::Runs);
            for socket in &self.sockets {
                let _ = socket::set_int(
                    socket.as_fd(),
                    libc::SOL_SOCKET,
                    libc::SO_NO_CHECK,
                    leave_out,
                );
            }
        }
    }

    fn mode(&self) -> Mode {
        let mode = usize::from(self.mode.load(Ordering::Relaxed));
        Mode::ALL.get(mode).copied().unwrap_or(Mode::Asked)
    }

    /// How datagrams leave, and why so.
    pub(super) fn backend(&self) -> (UnderlayBackend, &'static str) {
        match self.mode() {
            Mode::Runs => (UnderlayBackend::UdpGso, "UDP_SEGMENT available"),
            Mode::Asked => (UnderlayBackend::Udp, "asked for"),
            Mode::NoOption => (UnderlayBackend::Udp, "this kernel has no UDP_SEGMENT"),
            Mode::Refused => (UnderlayBackend::Udp, "the interface takes no UDP_SEGMENT"),
        }
    }

    /// The ports it sends from, by entropy; 0 for one that the system does not tell.
    pub(super) fn sources(&self) -> Vec<u16> {
        let port = |sender: &Socket| sender.local_addr().ok()?.as_socket().map(|own| own.port());
        let senders = self.sockets.iter();
        senders.map(|sender| port(sender).unwrap_or(0)).collect()
    }

    /// Sends `datagrams` in order from the source port that `entropy` selects. `view` shows a
    /// datagram's payload and destination; `lost` is told each one the kernel did not take.
    pub(super) fn send<T>(
        &self,
        entropy: u16,
        datagrams: &[T],
        view: impl Fn(&T) -> (&Frame, Option<SocketAddr>),
        mut lost: impl FnMut(&T, Loss),
    ) {
        let Some(socket) = self.sockets.get(usize::from(entropy % SOURCES)) else {
            return;
        };
        let joining = match self.mode() {
            Mode::Runs => Joining::Runs,
            Mode::Asked | Mode::NoOption | Mode::Refused => Joining::Never,
        };
        let ended = |datagram: &T, loss| {
            if let Some(loss) = loss {
                lost(datagram, loss);
            }
        };
        if mmsg::send(socket.as_fd(), None, joining, datagrams, view, ended) {
            self.set(Mode::Refused);
        }
    }
}

fn ready_to_send(socket: Socket, address: IpAddr) -> io::Result<Socket> {
    let fd = socket.as_fd();
    // RFC 7348 section 4.3: "VTEPs MUST NOT fragment VXLAN packets."
    if address.is_ipv4() {
        let discover = libc::IP_PMTUDISC_DO;
        socket::set_int(fd, libc::IPPROTO_IP, libc::IP_MTU_DISCOVER, discover)?;
    } else {
        let discover = libc::IPV6_PMTUDISC_DO;
        socket::set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_MTU_DISCOVER, discover)?;
        socket::set_int(fd, libc::IPPROTO_IPV6, libc::IPV6_DONTFRAG, 1)?;
    }
    // Nothing is ever read from it: let stray datagrams be lost early.
    socket.set_recv_buffer_size(1)?;
    Ok(socket)
}
