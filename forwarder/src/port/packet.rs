//! AF_PACKET with batches: `recvmmsg`, `sendmmsg`, PACKET_VNET_HDR (open checksums, GSO),
//! PACKET_AUXDATA (VLAN tags), PACKET_QDISC_BYPASS.
//!
//! Frames sent past the queueing discipline are not seen by packet taps on this end of a veth.

use super::facts::Facts;
use super::mmsg::{self, BATCH, Joining, Kind};
use super::{PacketPort, PortError, SendReport, offload, socket};
use crate::frame::{Frame, Pool};
use kc_forwarder_api::{Backend, MacAddr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// One bound packet socket.
pub(super) struct PacketSocket {
    facts: Facts,
    outlet: Outlet,
    reason: String,
}

/// The way out of a packet socket, for whichever thread sends. Whoever sends by several at once
/// minds the order of frames.
#[derive(Debug, Clone)]
pub struct Outlet(Arc<OwnedFd>);

impl Outlet {
    /// Sends all `frames` in order, as [`PacketPort::send`] does, but leaves them where they are.
    pub fn send(&self, frames: &mut [Frame]) -> SendReport {
        frames.iter_mut().for_each(offload::write_tag);
        let prefix = Some(&offload::FINISHED);
        let mut report = SendReport::default();
        mmsg::send(
            self.0.as_fd(),
            prefix,
            Joining::Never,
            frames,
            |frame| (frame, None),
            |frame, loss| match loss {
                None => report.sent.add(frame.len()),
                Some(loss) => report.lose(loss, frame.len()),
            },
        );
        report
    }
}

impl PacketSocket {
    /// Opens a socket on the interface `facts` describes; `reason` is why it is this backend.
    pub(super) fn open(facts: Facts, reason: &str) -> Result<Self, PortError> {
        let name = facts.name.as_str();
        let socket = socket::packet_socket().map_err(PortError::io(name, "packet socket"))?;
        let fd = socket.as_fd();
        for (option, step) in [
            (libc::PACKET_VNET_HDR, "PACKET_VNET_HDR"),
            (libc::PACKET_AUXDATA, "PACKET_AUXDATA"),
            (libc::PACKET_QDISC_BYPASS, "PACKET_QDISC_BYPASS"),
        ] {
            socket::set_int(fd, libc::SOL_PACKET, option, 1).map_err(PortError::io(name, step))?;
        }
        socket::be_promiscuous(fd, facts.index).map_err(PortError::io(name, "promiscuous mode"))?;
        socket::bind_packet(fd, facts.index, libc::ETH_P_ALL)
            .map_err(PortError::io(name, "bind"))?;
        Ok(Self {
            facts,
            outlet: Outlet(Arc::new(socket)),
            reason: reason.to_owned(),
        })
    }
}

impl PacketPort for PacketSocket {
    fn receive(
        &mut self,
        pool: &mut Pool,
        batch: &mut Vec<Frame>,
        max: usize,
    ) -> io::Result<usize> {
        let mut total = 0;
        while total < max {
            let wanted = (max - total).min(BATCH);
            let fd = self.as_fd();
            let received = mmsg::receive(fd, Kind::Packet, wanted, pool, |received, _| {
                let mut frame = received.frame;
                if let Some((tpid, tci)) = received.tag {
                    offload::note_tag(&mut frame, tpid, tci);
                }
                batch.push(if received.cut {
                    offload::refused(frame)
                } else {
                    frame
                });
            });
            match received {
                Ok(count) => {
                    total += count;
                    if count < wanted {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // A super-frame of a kind that virtio_net_hdr has no number for: it is gone.
                Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
                    batch.push(offload::refused(pool.take()));
                    total += 1;
                }
                Err(_) if total > 0 => break,
                Err(error) => return Err(error),
            }
        }
        Ok(total)
    }

    fn send(&mut self, frames: &mut Vec<Frame>, pool: &mut Pool) -> SendReport {
        let report = self.outlet.send(frames);
        for frame in frames.drain(..) {
            pool.give(frame);
        }
        report
    }

    fn outlet(&self) -> Option<Outlet> {
        Some(self.outlet.clone())
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outlet.0.as_fd()
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
        Backend::Packet
    }

    fn reason(&self) -> &str {
        &self.reason
    }
}
