//! AF_XDP: frames go between the driver and memory of ours, past the kernel's network stack. One
//! socket for each receive queue, and one that frames leave by. Knows no protocol.
//!
//! The kernel says nothing about a frame but its octets. So this backend is for interfaces where
//! that is all there is to say: VLAN tags are inside frames or put back in, no frame is a
//! super-frame (a veth with XDP makes its peer cut them), and whether a checksum is complete is
//! left open. Memory is pinned: [`RECEIVE`] and [`SEND`] chunks of 2 KiB (3 MiB), of 4 KiB for an
//! MTU beyond 1770 bytes.

mod btf;
mod error;
mod mapping;
mod nic;
mod object;
mod program;
mod ring;
mod send;
mod socket;
mod umem;

pub(super) use self::error::XskError;

use self::error::Step;
use self::nic::Nic;
use self::program::{MAX_QUEUES, Mode, Program, Sockets, Tags};
use self::send::Outlet;
use self::socket::{SendSocket, XskSocket};
use self::umem::Umem;
use super::facts::Facts;
use super::{Loss, PacketPort, SendReport, offload, socket as packet};
use crate::frame::{Frame, Pool};
use crate::wire::{ethernet, vlan};
use kc_forwarder_api::{Backend, MacAddr};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Chunks for frames that come, shared out among the queues.
const RECEIVE: u32 = 1024;

/// The least a queue gets.
const RECEIVE_LEAST: u32 = 256;

/// Chunks for frames that leave, and entries of the ring they leave by.
const SEND: u32 = 512;

/// One interface.
pub(super) struct XskPort {
    /// Dropped first: no frame is handed to a socket that has gone.
    _attachment: OwnedFd,
    /// By receive queue.
    sockets: Vec<XskSocket>,
    /// Where the next call begins to receive.
    turn: usize,
    umem: Umem,
    outlet: Outlet,
    /// The socket, or something that holds all of them.
    readable: OwnedFd,
    /// Keeps the interface promiscuous.
    _promiscuous: OwnedFd,
    /// Frames dropped that were told already.
    told: u64,
    facts: Facts,
    reason: String,
}

impl XskPort {
    /// Attaches to the interface `facts` describes.
    pub(super) fn open(facts: Facts) -> Result<Self, XskError> {
        let nic = Nic::new(&facts).map_err(XskError::io(Step::Ask))?;
        let tags = tags(&nic, &facts)?;
        let around = ethernet::HEADER_LEN + 2 * vlan::HEADER_LEN;
        let chunk = Umem::chunk_for(usize::from(facts.mtu) + around).ok_or(XskError::Mtu {
            mtu: facts.mtu,
            longest: Umem::longest(4096) - around,
        })?;
        if nic.has_address().map_err(XskError::io(Step::Ask))? {
            return Err(XskError::Address);
        }
        let queues = nic.queues();
        if queues > MAX_QUEUES {
            return Err(XskError::Queues { queues });
        }
        let map = Sockets::new().map_err(XskError::io(Step::Map))?;
        let program = Program::load(&map, tags, facts.index)?;
        let (umem, sockets, outlet) =
            bind_all(&facts, queues, chunk).map_err(XskError::io(Step::Socket))?;
        for (queue, socket) in (0..).zip(&sockets) {
            map.set(queue, socket.as_fd())
                .map_err(XskError::io(Step::Map))?;
        }
        let promiscuous = packet::packet_socket().map_err(XskError::io(Step::Promiscuous))?;
        packet::be_promiscuous(promiscuous.as_fd(), facts.index)
            .map_err(XskError::io(Step::Promiscuous))?;
        let readable = together(&sockets).map_err(XskError::io(Step::Socket))?;
        let (attachment, mode) = attach(&program, facts.index, tags)?;
        let reason = format!(
            "xdp: {mode}, {}, queues: {queues}, {} KiB for frames",
            if outlet.copies() {
                "copied"
            } else {
                "zero-copy"
            },
            umem.registration().len / 1024,
        );
        Ok(Self {
            _attachment: attachment,
            sockets,
            turn: 0,
            umem,
            outlet,
            readable,
            _promiscuous: promiscuous,
            told: 0,
            facts,
            reason,
        })
    }
}

impl XskPort {
    /// Longest frame that the link takes: a tag does not count.
    fn longest(&self, frame: &Frame) -> usize {
        let tag = match frame.bytes() {
            [_, _, _, _, _, _, _, _, _, _, _, _, 0x81, 0x00, ..] => vlan::HEADER_LEN,
            _ => 0,
        };
        usize::from(self.facts.mtu) + ethernet::HEADER_LEN + tag
    }
}

/// Memory in chunks of `chunk` octets, and a socket bound to each queue.
fn bind_all(facts: &Facts, queues: u32, chunk: u32) -> io::Result<(Umem, Vec<XskSocket>, Outlet)> {
    let share = (RECEIVE / queues).max(RECEIVE_LEAST).next_power_of_two();
    let (lent, all) = (share * queues, share * queues + SEND);
    let umem = Umem::new(all, chunk)?;
    let chunks = |numbers: std::ops::Range<u32>| numbers.map(|number| umem.address(number));
    let (mut first, completion) = XskSocket::first(&umem, share, SEND)?;
    first.lend(chunks(0..share));
    first.bind(facts.index, 0, None)?;
    let sender = SendSocket::new(SEND, facts.index, &first)?;
    let free = chunks(lent..all).collect();
    let outlet = Outlet::new(sender, completion, free, first.is_zero_copy());
    let mut sockets = vec![first];
    for queue in 1..queues {
        let mut socket = XskSocket::further(share)?;
        socket.lend(chunks(queue * share..(queue + 1) * share));
        socket.bind(facts.index, queue, sockets.first())?;
        sockets.push(socket);
    }
    Ok((umem, sockets, outlet))
}

/// Where the tags of frames are on this interface; an error where that cannot be said.
fn tags(nic: &Nic<'_>, facts: &Facts) -> Result<Tags, XskError> {
    let driver = nic.driver().map_err(XskError::io(Step::Ask))?;
    if driver == "veth" {
        return Ok(Tags::Beside);
    }
    if !nic.is_hardware() {
        return Err(XskError::Driver { driver });
    }
    if nic.takes_tags_out().map_err(XskError::io(Step::Ask))? {
        let interface = facts.name.clone();
        return Err(XskError::TagsTakenOut { interface });
    }
    Ok(Tags::Inside)
}

/// Attaches `program`, in the driver if that can. A program that asks for tags must be there.
fn attach(program: &Program, index: u32, tags: Tags) -> Result<(OwnedFd, Mode), XskError> {
    let failed = XskError::io(Step::Attach);
    match program.attach(index, Mode::Native) {
        Ok(attachment) => Ok((attachment, Mode::Native)),
        Err(error) if error.raw_os_error() == Some(libc::ERANGE) => Err(XskError::PeerMtu),
        Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) && tags == Tags::Inside => {
            let attachment = program.attach(index, Mode::Generic).map_err(failed)?;
            Ok((attachment, Mode::Generic))
        }
        Err(error) => Err(failed(error)),
    }
}

/// One descriptor that is readable when any of `sockets` is.
fn together(sockets: &[XskSocket]) -> io::Result<OwnedFd> {
    if let [only] = sockets {
        return only.as_fd().try_clone_to_owned();
    }
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for socket in sockets {
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, 0))?;
    }
    Ok(epoll.0)
}

impl PacketPort for XskPort {
    fn receive(
        &mut self,
        pool: &mut Pool,
        batch: &mut Vec<Frame>,
        max: usize,
    ) -> io::Result<usize> {
        let mut total = 0;
        let count = self.sockets.len();
        for _ in 0..count {
            let turn = self.turn;
            self.turn = (turn + 1) % count;
            if let Some(socket) = self.sockets.get_mut(turn) {
                total += socket.receive(&self.umem, max - total, |bytes| {
                    let mut frame = pool.take();
                    frame.fill(bytes);
                    batch.push(frame);
                });
            }
        }
        // Woken up for nothing: perhaps because the interface went away.
        let error = || self.sockets.iter().find_map(XskSocket::error);
        match (total == 0).then(error).flatten() {
            Some(error) => Err(error),
            None => Ok(total),
        }
    }

    fn send(&mut self, frames: &mut Vec<Frame>, pool: &mut Pool) -> SendReport {
        let mut report = SendReport::default();
        self.outlet.reap(&self.umem);
        for mut frame in frames.drain(..) {
            offload::write_tag(&mut frame);
            if frame.len() > self.longest(&frame) {
                report.lose(Loss::Oversize, frame.len());
            } else {
                self.outlet.put(&mut self.umem, frame.bytes(), &mut report);
            }
            pool.give(frame);
        }
        self.outlet.flush(&mut report);
        report
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }

    fn dropped(&mut self) -> u64 {
        let dropped = self.sockets.iter().map(XskSocket::dropped).sum();
        let before = std::mem::replace(&mut self.told, dropped);
        dropped.saturating_sub(before)
    }

    fn is_outgrown(&self, mtu: u16) -> bool {
        mtu > self.facts.mtu
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
        Backend::Xdp
    }

    fn reason(&self) -> &str {
        &self.reason
    }
}
