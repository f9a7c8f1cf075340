//! AF_PACKET through `pnet_datalink`: the portable default. We make the socket, so that it
//! ignores what leaves, has room for bursts and tells offload state; pnet reads and writes it.
//!
//! pnet polls before every frame, and cannot see a VLAN tag that the kernel took out: tagged
//! frames are refused by a socket filter rather than leaked into the untagged network.

use super::facts::Facts;
use super::offload::{self, FINISHED, VNET_HEADER};
use super::{Loss, PacketPort, PortError, SendReport, socket};
use crate::frame::{Frame, MAX_FRAME, Pool};
use kc_forwarder_api::{Backend, MacAddr};
use pnet_datalink::{Channel, Config, DataLinkReceiver, DataLinkSender, NetworkInterface};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::time::Duration;

/// One pnet channel.
pub(super) struct PnetChannel {
    facts: Facts,
    /// Shares the open socket with the channel; for waiting only.
    socket: OwnedFd,
    sender: Box<dyn DataLinkSender>,
    receiver: Box<dyn DataLinkReceiver>,
    /// Whether frames come and go with a `virtio_net_hdr` in front.
    vnet: bool,
    reason: String,
}

impl PnetChannel {
    /// Opens a channel on the interface `facts` describes; `why` says why it is this backend.
    pub(super) fn open(facts: Facts, why: &str) -> Result<Self, PortError> {
        let name = facts.name.as_str();
        let socket = socket::packet_socket().map_err(PortError::io(name, "packet socket"))?;
        let fd = socket.as_fd();
        let vnet = socket::set_int(fd, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1).is_ok();
        socket::refuse_tagged(fd).map_err(PortError::io(name, "socket filter"))?;
        let shared = socket.try_clone().map_err(PortError::io(name, "dup"))?;
        let config = Config {
            read_buffer_size: MAX_FRAME + VNET_HEADER,
            write_buffer_size: 0,
            read_timeout: Some(Duration::ZERO),
            write_timeout: Some(Duration::ZERO),
            promiscuous: true,
            // pnet closes it, also when it cannot open the channel.
            socket_fd: Some(shared.into_raw_fd()),
            ..Config::default()
        };
        let MacAddr([a, b, c, d, e, f]) = facts.mac;
        let interface = NetworkInterface {
            name: facts.name.clone(),
            description: String::new(),
            index: facts.index,
            mac: Some(pnet_datalink::MacAddr(a, b, c, d, e, f)),
            ips: Vec::new(),
            flags: facts.flags,
        };
        let channel = pnet_datalink::channel(&interface, config)
            .map_err(PortError::io(name, "pnet channel"))?;
        let Channel::Ethernet(sender, receiver) = channel else {
            let source = io::Error::from(io::ErrorKind::Unsupported);
            return Err(PortError::io(name, "pnet channel of an unknown kind")(
                source,
            ));
        };
        let known = if vnet {
            "checksum and GSO state known"
        } else {
            "checksum state unknown"
        };
        let reason = format!("pnet: {why}; {known}; VLAN-tagged frames are refused");
        Ok(Self {
            facts,
            socket,
            sender,
            receiver,
            vnet,
            reason,
        })
    }

    /// Sends one frame.
    fn send_one(&mut self, frame: &mut Frame) -> io::Result<()> {
        offload::write_tag(frame);
        if self.vnet {
            frame.push(VNET_HEADER).copy_from_slice(&FINISHED);
        }
        let sent = self.sender.send_to(frame.bytes(), None);
        if self.vnet {
            frame.pull(VNET_HEADER);
        }
        match sent {
            Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
                Err(io::Error::from_raw_os_error(libc::EAGAIN))
            }
            Some(result) => result,
            None => Err(io::Error::from_raw_os_error(libc::EMSGSIZE)),
        }
    }
}

impl PacketPort for PnetChannel {
    fn receive(
        &mut self,
        pool: &mut Pool,
        batch: &mut Vec<Frame>,
        max: usize,
    ) -> io::Result<usize> {
        let mut total = 0;
        while total < max {
            match self.receiver.next() {
                Ok(bytes) => {
                    let mut frame = pool.take();
                    match bytes.split_first_chunk::<VNET_HEADER>() {
                        Some((header, bytes)) if self.vnet => {
                            frame.fill(bytes);
                            frame.offload = offload::parse(header);
                        }
                        _ => frame.fill(bytes),
                    }
                    batch.push(frame);
                    total += 1;
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => break,
                    io::ErrorKind::Interrupted => {}
                    // A super-frame of a kind that virtio_net_hdr has no number for: it is gone.
                    io::ErrorKind::InvalidInput => {
                        batch.push(offload::refused(pool.take()));
                        total += 1;
                    }
                    _ if total > 0 => break,
                    // pnet answers so when poll reports an error and no data: ask for the error.
                    _ => return Err(self.socket_error().unwrap_or(error)),
                },
            }
        }
        Ok(total)
    }

    fn send(&mut self, frames: &mut Vec<Frame>, pool: &mut Pool) -> SendReport {
        let mut report = SendReport::default();
        for mut frame in frames.drain(..) {
            match self.send_one(&mut frame) {
                Ok(()) => report.sent.add(frame.len()),
                Err(error) => report.lose(Loss::of(&error), frame.len()),
            }
            pool.give(frame);
        }
        report
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn interface(&self) -> &str {
        &self.facts.name
    }

    fn index(&self) -> u32 {
        self.facts.index
    }

    fn mtu(&self) -> u16 {
        self.facts.mtu
    }

    fn mac(&self) -> MacAddr {
        self.facts.mac
    }

    fn backend(&self) -> Backend {
        Backend::Pnet
    }

    fn reason(&self) -> &str {
        &self.reason
    }
}

impl PnetChannel {
    /// The error pending on the socket, if any.
    fn socket_error(&self) -> Option<io::Error> {
        socket2::SockRef::from(&self.socket)
            .take_error()
            .ok()
            .flatten()
    }
}
