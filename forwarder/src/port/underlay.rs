//! The underlay: our VTEPs of both address families as one. Sorts what is to be received and sent
//! by family and knows nothing else; the sockets are a `Vtep`'s.

use super::udp::Vtep;
use super::{Loss, socket};
use crate::frame::{Frame, Pool};
use kc_forwarder_api as api;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;

pub use super::datagram_ring::DatagramRing;
pub use super::senders::SOURCES;
pub use super::udp::UnderlayError;

/// A socket that datagrams from other VTEPs come in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Inlet {
    /// VXLAN-GPE over IPv4.
    GpeV4,
    /// VXLAN-GPE over IPv6.
    GpeV6,
    /// Plain VXLAN over IPv4.
    VxlanV4,
    /// Plain VXLAN over IPv6.
    VxlanV6,
}

impl Inlet {
    /// All of them: `ALL[inlet as usize] == inlet`.
    pub const ALL: [Self; 4] = [Self::GpeV4, Self::GpeV6, Self::VxlanV4, Self::VxlanV6];

    /// Whether VXLAN-GPE comes in by it, and plain VXLAN otherwise.
    pub const fn is_gpe(self) -> bool {
        matches!(self, Self::GpeV4 | Self::GpeV6)
    }

    /// Whether it is an IPv6 socket.
    pub const fn is_ipv6(self) -> bool {
        matches!(self, Self::GpeV6 | Self::VxlanV6)
    }
}

/// A datagram from another VTEP.
#[derive(Debug)]
pub struct Datagram {
    /// Who sent it.
    pub from: IpAddr,
    /// Whether it came as VXLAN-GPE, and as plain VXLAN otherwise.
    pub is_gpe: bool,
    /// Its payload.
    pub frame: Frame,
}

/// The sockets of our VTEPs, at most one of each family.
#[derive(Debug, Clone, Default)]
pub struct Underlay {
    /// IPv4, IPv6.
    vteps: [Option<Vtep>; 2],
}

impl Underlay {
    /// Binds what `wanted` asks for; sockets that `former` has already are shared with it, so that
    /// nothing in flight is lost. The addresses may come to this machine later.
    ///
    /// # Errors
    /// A port is taken, or the kernel refused.
    pub fn open(wanted: &api::Underlay, former: Option<&Self>) -> Result<Self, UnderlayError> {
        let mut underlay = Self::default();
        let places = underlay.vteps.iter_mut().zip([false, true]);
        for (place, v6) in places {
            let address = wanted.address.iter().find(|own| own.is_ipv6() == v6);
            if let Some(address) = address {
                let former = former.and_then(|former| former.vtep(v6));
                let ports = [wanted.gpe_port, wanted.vxlan_port];
                *place = Some(Vtep::open(address, ports, wanted.backend, former)?);
            }
        }
        Ok(underlay)
    }

    fn vtep(&self, v6: bool) -> Option<&Vtep> {
        let [v4_end, v6_end] = &self.vteps;
        if v6 { v6_end } else { v4_end }.as_ref()
    }

    /// The UDP ports that datagrams are sent from, over IPv4 and over IPv6, by entropy.
    pub fn sources(&self) -> [Vec<u16>; 2] {
        [false, true].map(|v6| {
            let vtep = self.vtep(v6);
            vtep.map(|vtep| vtep.senders().sources())
                .unwrap_or_default()
        })
    }

    /// How datagrams are sent, and why so.
    pub fn status(&self) -> Option<api::UnderlayStatus> {
        let vtep = self.vteps.iter().flatten().next()?;
        let (backend, reason) = vtep.senders().backend();
        Some(api::UnderlayStatus {
            backend: backend.into(),
            reason: reason.to_owned(),
        })
    }

    /// Readable when datagrams wait at `inlet`; `None` when we have no such socket.
    pub fn as_fd(&self, inlet: Inlet) -> Option<BorrowedFd<'_>> {
        Some(self.vtep(inlet.is_ipv6())?.as_fd(inlet.is_gpe()))
    }

    /// Makes the sockets over IPv4 refuse what a [`DatagramRing`] takes.
    ///
    /// # Errors
    /// The kernel said no; some may refuse already.
    pub(super) fn refuse_datagrams(&self) -> io::Result<()> {
        self.receivers().try_for_each(socket::refuse_datagrams)
    }

    /// Makes the sockets over IPv4 take everything.
    ///
    /// # Errors
    /// The kernel said no.
    pub fn accept_datagrams(&self) -> io::Result<()> {
        self.receivers()
            .try_for_each(|fd| match socket::accept_all(fd) {
                // It had no filter.
                Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                other => other,
            })
    }

    /// Datagrams that the sockets over IPv4 refused or had no room for since they were made.
    pub(super) fn refused(&self) -> u64 {
        let refused = |fd| socket::datagrams_dropped(fd).unwrap_or(0);
        self.receivers().map(refused).sum()
    }

    /// What receives over IPv4.
    fn receivers(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let vtep = self.vtep(false).into_iter();
        vtep.flat_map(|vtep| [true, false].map(|is_gpe| vtep.as_fd(is_gpe)))
    }

    /// Whether both share the socket for `inlet`.
    pub fn shares(&self, other: &Self, inlet: Inlet) -> bool {
        let v6 = inlet.is_ipv6();
        match (self.vtep(v6), other.vtep(v6)) {
            (Some(own), Some(other)) => own.shares(other, inlet.is_gpe()),
            _ => false,
        }
    }

    /// Datagrams that the kernel dropped because nobody had taken those before them, in all
    /// sockets that `heir` does not share.
    pub fn dropped(&self, heir: Option<&Self>) -> u64 {
        let count = |v6: bool| {
            let heir = heir.and_then(|heir| heir.vtep(v6));
            self.vtep(v6).map_or(0, |vtep| vtep.dropped(heir))
        };
        count(false) + count(true)
    }

    /// Appends about `max` waiting datagrams at most to `batch`, and says how many.
    ///
    /// # Errors
    /// The socket is broken.
    pub fn receive(
        &self,
        inlet: Inlet,
        pool: &mut Pool,
        batch: &mut Vec<Datagram>,
        max: usize,
    ) -> io::Result<usize> {
        match self.vtep(inlet.is_ipv6()) {
            Some(vtep) => vtep.receive(inlet.is_gpe(), pool, batch, max),
            None => Ok(0),
        }
    }

    /// Sends `datagrams`, all of the family that `v6` says, in order from the source port that
    /// `entropy` selects. `view` shows a datagram's payload and destination; `lost` is told each
    /// one the kernel did not take.
    pub fn send<T>(
        &self,
        v6: bool,
        entropy: u16,
        datagrams: &[T],
        view: impl Fn(&T) -> (&Frame, Option<SocketAddr>),
        mut lost: impl FnMut(&T, Loss),
    ) {
        match self.vtep(v6) {
            Some(vtep) => vtep.senders().send(entropy, datagrams, view, lost),
            None => datagrams
                .iter()
                .for_each(|datagram| lost(datagram, Loss::Gone)),
        }
    }
}
