//! Where datagrams of tunnels come from: the sockets of the underlay, and a ring where they come
//! fast. Knows which of the two is to be read, and what the kernel dropped in either.

use super::waiting::{Source, Waiting};
use crate::frame::Pool;
use crate::pipeline::Compiled;
use crate::port::underlay::{Datagram, DatagramRing, Inlet, Underlay};
use kc_forwarder_api::{UnderlayBackend, UnderlayStatus};
use std::io;
use std::net::{IpAddr, Ipv4Addr};

/// Datagrams taken at once: those of one flow leave together, so more of them make longer runs.
const DATAGRAMS: usize = 256;

/// The underlay of the tables in force.
#[derive(Default)]
pub(super) struct Tunnels {
    underlay: Option<Underlay>,
    /// Where datagrams come from when they come fast.
    ring: Option<DatagramRing>,
    /// Datagrams that the kernel dropped in sockets and rings that are closed by now.
    dropped: u64,
    /// Datagrams that sockets refused because they came by the ring.
    refused: u64,
}

impl Tunnels {
    /// The sockets.
    pub(super) fn underlay(&self) -> Option<&Underlay> {
        self.underlay.as_ref()
    }

    /// Whether what comes in by `inlet` is to be left until the ring is empty.
    pub(super) fn waits_for_ring(&self, inlet: Inlet) -> bool {
        !inlet.is_ipv6() && self.ring.as_ref().is_some_and(DatagramRing::comes_first)
    }

    /// After a batch from `inlet`, which was as much as could be taken, or not: whether datagrams
    /// come by the ring from now on.
    pub(super) fn turns_to_ring(&mut self, inlet: Inlet, full: bool) -> bool {
        let (Some(ring), Some(underlay)) = (&mut self.ring, &self.underlay) else {
            return false;
        };
        !inlet.is_ipv6() && ring.note(full, underlay)
    }

    /// Takes a batch out of a socket, and says whether it was as much as could be taken.
    pub(super) fn receive(&self, inlet: Inlet, pool: &mut Pool, batch: &mut Vec<Datagram>) -> bool {
        let Some(underlay) = &self.underlay else {
            return false;
        };
        match underlay.receive(inlet, pool, batch, DATAGRAMS) {
            Ok(taken) => taken >= DATAGRAMS,
            Err(error) => {
                tracing::warn!(%error, ?inlet, "receiving from the underlay failed");
                false
            }
        }
    }

    /// Takes a batch out of the ring.
    pub(super) fn receive_from_ring(&mut self, pool: &mut Pool, batch: &mut Vec<Datagram>) {
        if let (Some(ring), Some(underlay)) = (&mut self.ring, &self.underlay) {
            ring.receive(underlay, pool, batch, DATAGRAMS);
        }
    }

    /// Turns to the sockets that new tables have.
    pub(super) fn arrange(
        &mut self,
        underlay: Option<Underlay>,
        compiled: &Compiled,
        waiting: &Waiting,
    ) {
        if let (Some(ring), Some(underlay)) = (&mut self.ring, &self.underlay) {
            self.refused += ring.refused(underlay);
        }
        if let Some(former) = std::mem::replace(&mut self.underlay, underlay) {
            self.dropped += former.dropped(self.underlay.as_ref());
            for inlet in Inlet::ALL {
                if let Some(fd) = former.as_fd(inlet) {
                    waiting.remove(fd);
                }
            }
        }
        if let Some(underlay) = &self.underlay {
            for inlet in Inlet::ALL {
                let Some(fd) = underlay.as_fd(inlet) else {
                    continue;
                };
                if let Err(error) = waiting.add(fd, Source::Underlay(inlet)) {
                    tracing::error!(%error, ?inlet, "the underlay cannot be waited for");
                }
            }
        }
        self.arrange_ring(wants_ring(compiled), waiting);
    }

    /// Has a ring for the address and UDP ports in `wanted`; one for the same ones is kept.
    fn arrange_ring(&mut self, wanted: Option<(Ipv4Addr, [u16; 2])>, waiting: &Waiting) {
        let keeps =
            |ring: &DatagramRing| wanted.is_some_and(|(own, ports)| ring.serves(own, ports));
        if self.ring.as_ref().is_some_and(keeps) {
            return;
        }
        if let Some(mut former) = self.ring.take() {
            self.dropped += former.dropped();
            waiting.remove(former.as_fd());
        }
        // Sockets may have been shared with an underlay that had a ring.
        if let Some(Err(error)) = self.underlay.as_ref().map(Underlay::accept_datagrams) {
            tracing::error!(%error, "sockets of the underlay keep their filters");
        }
        let opened = wanted.map(|(own, ports)| {
            let ring = DatagramRing::new(own, ports)?;
            waiting.add(ring.as_fd(), Source::Ring)?;
            Ok::<_, io::Error>(ring)
        });
        self.ring = match opened.transpose() {
            Ok(ring) => ring,
            Err(error) => {
                tracing::warn!(%error, "no ring for datagrams of tunnels");
                None
            }
        };
    }

    /// Datagrams that the kernel dropped so far.
    pub(super) fn dropped(&mut self) -> u64 {
        let open = self.underlay.as_ref();
        if let Some(ring) = &mut self.ring {
            self.dropped += ring.dropped();
            self.refused += open.map_or(0, |open| ring.refused(open));
        }
        let dropped = self.dropped + open.map_or(0, |open| open.dropped(None));
        dropped.saturating_sub(self.refused)
    }

    /// How datagrams are received and sent, and why so.
    pub(super) fn status(&self) -> Option<UnderlayStatus> {
        let mut status = self.underlay.as_ref()?.status()?;
        if self.ring.is_some() && status.backend == UnderlayBackend::UdpGso {
            status.backend = UnderlayBackend::Mmap.into();
            status.reason.push_str(", a ring where datagrams come fast");
        }
        Some(status)
    }
}

/// The address and UDP ports that a ring is to serve, where tables allow one.
fn wants_ring(compiled: &Compiled) -> Option<(Ipv4Addr, [u16; 2])> {
    let underlay = compiled.tables().underlay.as_ref()?;
    let may = matches!(
        underlay.backend,
        UnderlayBackend::Auto | UnderlayBackend::Mmap
    );
    let own = underlay.address.iter().find_map(|own| match own {
        IpAddr::V4(own) => Some(own),
        IpAddr::V6(_) => None,
    });
    own.filter(|_| may)
        .map(|own| (own, [underlay.gpe_port, underlay.vxlan_port]))
}
