//! Datagrams of tunnels out of a receive ring, while they come faster than they can be fetched
//! from their sockets. The ring sees a packet before the network stack does; while it is in use,
//! the sockets refuse what it takes. IPv4 only.
//!
//! The change over is made while the sockets' queues are full anyway: a few datagrams are lost
//! then. The change back is made in quiet times and loses none.

use super::gauge::{Gauge, LINGER, Moment};
use super::ring::Ring;
use super::socket;
use super::underlay::{Datagram, Underlay};
use crate::frame::{Checksum, Frame, GsoKind, Offload, Pool};
use crate::wire::{checksum, ipv4, udp};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc;
use std::time::Instant;

/// Where datagrams come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// From the sockets.
    Sockets,
    /// From the ring.
    Ring,
    /// From the ring what is still there, then from the sockets.
    Leaving,
}

/// A ring for the VTEP of an underlay, while it is wanted.
#[derive(Debug)]
pub struct DatagramRing {
    own: Ipv4Addr,
    ports: [u16; 2],
    mode: Mode,
    ring: Option<Ring>,
    /// A ring that is being opened, which waits for the kernel's grace periods.
    opening: Option<mpsc::Receiver<io::Result<Ring>>>,
    gauge: Gauge,
    /// When the ring was last wanted.
    wanted: Instant,
    /// When it could not be had.
    failed: Option<Instant>,
    /// Readable when the ring is.
    waiting: Epoll,
    packets: Vec<Frame>,
    dropped: u64,
    /// What the sockets had refused when that was last asked.
    known: u64,
    /// What they refused because it came by the ring, and nobody has asked for yet.
    refused: u64,
}

impl DatagramRing {
    /// A ring for VXLAN-GPE and VXLAN at these UDP ports of `own`, not opened yet.
    ///
    /// # Errors
    /// The system refused a descriptor.
    pub fn new(own: Ipv4Addr, ports: [u16; 2]) -> io::Result<Self> {
        Ok(Self {
            own,
            ports,
            mode: Mode::Sockets,
            ring: None,
            opening: None,
            gauge: Gauge::default(),
            wanted: Instant::now(),
            failed: None,
            waiting: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            packets: Vec::new(),
            dropped: 0,
            known: 0,
            refused: 0,
        })
    }

    /// Whether it is for these.
    pub fn serves(&self, own: Ipv4Addr, ports: [u16; 2]) -> bool {
        (self.own, self.ports) == (own, ports)
    }

    /// Readable when packets wait in the ring.
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.waiting.0.as_fd()
    }

    /// Whether the sockets are not to be read, because what is older is still in the ring.
    pub fn comes_first(&self) -> bool {
        self.mode == Mode::Leaving
    }

    /// Tells of a batch out of a socket, and whether there was more than could be taken. Answers
    /// whether the sockets get nothing more from now on: what is in them is to be taken before
    /// anything comes out of the ring.
    pub fn note(&mut self, full: bool, underlay: &Underlay) -> bool {
        if self.mode != Mode::Sockets {
            return false;
        }
        let overtaxed = self.gauge.batch(full);
        if let Some(opening) = &self.opening {
            match opening.try_recv() {
                Ok(opened) => {
                    self.opening = None;
                    self.keep(opened);
                }
                Err(mpsc::TryRecvError::Empty) => return false,
                Err(mpsc::TryRecvError::Disconnected) => self.opening = None,
            }
        }
        if !overtaxed {
            if self.gauge.is_idle() && self.wanted.elapsed() > LINGER {
                self.close();
            }
            return false;
        }
        match &self.ring {
            Some(ring) => {
                let changed = underlay
                    .refuse_datagrams()
                    .and_then(|()| socket::accept_datagrams(ring.as_fd(), self.own, self.ports));
                match changed {
                    Ok(()) => {
                        self.mode = Mode::Ring;
                        self.known = underlay.refused();
                    }
                    Err(error) => {
                        self.give_up(&error);
                        // Whatever was reached: the sockets take everything.
                        let _ = underlay.accept_datagrams();
                    }
                }
            }
            None if self.failed.is_none_or(|at| at.elapsed() > LINGER) => self.open(),
            None => {}
        }
        self.mode == Mode::Ring
    }

    fn open(&mut self) {
        let (done, opening) = mpsc::sync_channel(1);
        // The underlay may be closed by then.
        let work = move || drop(done.send(Ring::of_packets()));
        match std::thread::Builder::new()
            .name("ring".to_owned())
            .spawn(work)
        {
            Ok(_) => self.opening = Some(opening),
            Err(error) => self.give_up(&error),
        }
    }

    fn keep(&mut self, opened: io::Result<Ring>) {
        let kept = opened.and_then(|ring| {
            let event = EpollEvent::new(EpollFlags::EPOLLIN, 0);
            self.waiting.add(ring.as_fd(), event)?;
            Ok(ring)
        });
        match kept {
            Ok(ring) => self.ring = Some(ring),
            Err(error) => self.give_up(&error),
        }
    }

    fn give_up(&mut self, error: &io::Error) {
        tracing::warn!(%error, "no ring for datagrams of tunnels");
        self.failed = Some(Instant::now());
    }

    fn close(&mut self) {
        if let Some(ring) = self.ring.take() {
            self.dropped += socket::packets_dropped(ring.as_fd()).unwrap_or(0);
            let _ = self.waiting.delete(ring.as_fd());
            // Closing waits for a grace period.
            let _ = std::thread::Builder::new().spawn(move || drop(ring));
        }
    }

    /// Datagrams that the kernel dropped since the last call because the ring was full.
    pub fn dropped(&mut self) -> u64 {
        let open = self.ring.as_ref();
        let open = open.map_or(0, |ring| socket::packets_dropped(ring.as_fd()).unwrap_or(0));
        std::mem::take(&mut self.dropped) + open
    }

    /// Datagrams that the sockets refused since the last call because they came by the ring; the
    /// kernel counts them as lost.
    pub fn refused(&mut self, underlay: &Underlay) -> u64 {
        if self.mode == Mode::Ring {
            let refused = underlay.refused();
            self.refused += refused.saturating_sub(self.known);
            self.known = refused;
        }
        std::mem::take(&mut self.refused)
    }

    /// Appends what waits, about `max` datagrams at most, to `batch`.
    pub fn receive(
        &mut self,
        underlay: &Underlay,
        pool: &mut Pool,
        batch: &mut Vec<Datagram>,
        max: usize,
    ) {
        let Some(ring) = &mut self.ring else {
            return;
        };
        let (taken, pace) = ring.receive(pool, &mut self.packets, max);
        let quiet = self.gauge.block(pace) | self.gauge.has_spare_time(pace, Moment::read);
        match self.mode {
            Mode::Ring if quiet => {
                let refused = underlay.refused();
                self.refused += refused.saturating_sub(self.known);
                self.known = refused;
                let changed = underlay
                    .accept_datagrams()
                    .and_then(|()| socket::refuse_all(ring.as_fd()));
                match changed {
                    Ok(()) => self.mode = Mode::Leaving,
                    Err(error) => self.give_up(&error),
                }
            }
            Mode::Leaving if taken == 0 && ring.is_empty() => {
                self.mode = Mode::Sockets;
                self.wanted = Instant::now();
            }
            _ => {}
        }
        let mut packets = std::mem::take(&mut self.packets);
        for packet in packets.drain(..) {
            unwrap(packet, self.ports[0], pool, batch);
        }
        self.packets = packets;
    }
}

/// Takes the outer headers off an IPv4 packet that the filter has let through. One that holds
/// several datagrams, joined by the kernel, is parted.
fn unwrap(mut packet: Frame, gpe_port: u16, pool: &mut Pool, batch: &mut Vec<Datagram>) {
    let Some(outer) = Outer::read(&packet) else {
        return pool.give(packet);
    };
    let joined = packet.offload.gso.filter(|gso| gso.kind == GsoKind::Udp);
    let joined = joined.map_or(0, |gso| usize::from(gso.size));
    packet.truncate(outer.end);
    packet.pull(outer.payload);
    packet.offload = Offload {
        outer_class: outer.class,
        ..Offload::default()
    };
    let datagram = |frame| Datagram {
        from: outer.from.into(),
        is_gpe: outer.port == gpe_port,
        frame,
    };
    if joined == 0 || joined >= packet.len() {
        return batch.push(datagram(packet));
    }
    for part in packet.bytes().chunks(joined) {
        let mut frame = pool.take();
        frame.fill(part);
        frame.offload = packet.offload;
        batch.push(datagram(frame));
    }
    pool.give(packet);
}

/// What the outer headers say.
struct Outer {
    from: Ipv4Addr,
    class: u8,
    port: u16,
    /// Where the payload begins and the packet ends.
    payload: usize,
    end: usize,
}

impl Outer {
    /// `None` for what the network stack would not have delivered either.
    fn read(packet: &Frame) -> Option<Self> {
        let bytes = packet.bytes();
        let ip = ipv4::Packet::new_checked(bytes).ok()?;
        if !ip.verify_checksum() {
            return None;
        }
        let datagram = udp::Packet::new_checked(ip.payload()).ok()?;
        // RFC 7348 section 5: "If it chooses to perform such verification, and the verification
        // fails, the packet MUST be dropped".
        let unknown = packet.offload.checksum == Checksum::Unknown && datagram.checksum() != 0;
        if unknown && checksum::state(bytes) == checksum::State::Wrong {
            return None;
        }
        Some(Self {
            from: ip.source(),
            class: ip.tos(),
            port: datagram.destination(),
            payload: ip.header_len() + udp::HEADER_LEN,
            end: ip.header_len() + datagram.length(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Gso;

    /// An IPv4 packet with a datagram for VXLAN-GPE and `trailing` octets behind it.
    fn packet(payload: &[u8], checksummed: bool, trailing: usize) -> Vec<u8> {
        let length = u16::try_from(payload.len()).unwrap();
        let mut octets = vec![0; 28];
        ipv4::Repr {
            source: [192, 0, 2, 7].into(),
            destination: [192, 0, 2, 1].into(),
            protocol: 17,
            payload_len: length + 8,
            ttl: 64,
            tos: 3,
            ident: 0,
            dont_fragment: true,
        }
        .emit(&mut octets);
        udp::Repr {
            source: 50_000,
            destination: 4790,
            payload_len: length,
        }
        .emit(&mut octets[20..]);
        octets.extend(payload);
        if checksummed {
            checksum::fill(&mut octets);
        }
        octets.resize(octets.len() + trailing, 0xee);
        octets
    }

    fn unwrapped(octets: &[u8], offload: Offload) -> Vec<Datagram> {
        let mut frame = Frame::copy_of(octets);
        frame.offload = offload;
        let mut batch = Vec::new();
        unwrap(frame, 4790, &mut Pool::default(), &mut batch);
        batch
    }

    #[test]
    fn a_datagram_comes_without_its_outer_headers_and_with_what_they_said() {
        for checksummed in [false, true] {
            let batch = unwrapped(&packet(b"payload", checksummed, 4), Offload::default());
            let [datagram] = &batch[..] else {
                panic!("{batch:?}")
            };
            assert_eq!(datagram.frame.bytes(), b"payload");
            assert_eq!(datagram.frame.offload.outer_class, 3);
            assert!(datagram.is_gpe && datagram.from == Ipv4Addr::new(192, 0, 2, 7));
        }
    }

    #[test]
    fn a_wrong_checksum_ends_a_packet_unless_the_kernel_has_found_it_right() {
        let mut octets = packet(b"payload", true, 0);
        octets[30] ^= 1;
        assert!(unwrapped(&octets, Offload::default()).is_empty());
        let checksum = Checksum::Complete;
        let right = Offload {
            checksum,
            ..Offload::default()
        };
        assert_eq!(unwrapped(&octets, right).len(), 1);
        octets[10] ^= 1;
        assert!(unwrapped(&octets, right).is_empty(), "the header's own");
    }

    #[test]
    fn joined_datagrams_are_parted() {
        let gso = Some(Gso {
            size: 3,
            kind: GsoKind::Udp,
        });
        let joined = Offload {
            gso,
            checksum: Checksum::Complete,
            ..Offload::default()
        };
        let batch = unwrapped(&packet(b"onetwofo", false, 0), joined);
        let parts: Vec<&[u8]> = batch.iter().map(|one| one.frame.bytes()).collect();
        assert_eq!(parts, [&b"one"[..], b"two", b"fo"]);
        assert!(batch.iter().all(|one| one.frame.offload.outer_class == 3));
    }
}
