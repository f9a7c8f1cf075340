//! Frames that are too long for where they go: cut, answered or dropped.

use super::packet::{Ip, Packet};
use super::run::{Origin, Run};
use crate::frame::{Frame, Gso, GsoKind};
use crate::limits::{fragment, segment};
use crate::tables::Circuit;
use kc_forwarder_api::DropReason;

/// How a frame that is too long can be made to fit.
enum Cut {
    Tcp(Option<u16>),
    Udp(u16),
    Fragments,
    Refuse(DropReason),
}

impl Run<'_> {
    /// Whether a frame can go on as it is where IP packets of `mtu` octets fit.
    pub(super) fn fits(frame: &Frame, packet: &Packet, mtu: u16) -> bool {
        // What the sender's kernel left to be cut is never one packet, however short: a later
        // link may take its pieces and not the whole, and nobody there knows how to cut it.
        let joined = frame.offload.gso.is_some();
        frame.len() - packet.l2_len.min(frame.len()) <= usize::from(mtu) && !joined
    }

    /// Makes a frame fit: afterwards its pieces, whose IP packets are no longer than `mtu`, are
    /// in `state.pieces`; none, when it was dropped.
    pub(super) fn fit(&mut self, mut frame: Frame, packet: &Packet, mtu: u16, origin: Origin) {
        if let Some(ip) = &packet.ip {
            // What follows the IP packet is padding, and needs no room.
            frame.truncate(ip.end);
        }
        if Self::fits(&frame, packet, mtu) {
            self.state.pieces.push(frame);
            return;
        }
        match &packet.ip {
            Some(ip) => self.cut(frame, packet, ip, mtu, origin),
            None => self.drop(frame, DropReason::MtuExceeded),
        }
    }

    fn way(&self, frame: &Frame, packet: &Packet, ip: &Ip, origin: Origin) -> Cut {
        let received = match origin {
            Origin::Port(port)
            | Origin::Lan(port, _)
            | Origin::Function(_, Circuit { port, .. }) => self.port_mtu(port),
            // Carried by one outer packet: what is longer came through a UDP tunnel offload of the
            // sender's kernel, over a link that never put it on a wire.
            Origin::Tunnel(_) => self.tables.underlay_mtu(),
        };
        // No link delivers a packet longer than its MTU: the sender's kernel left it to be cut. ICMP
        // is never left so; other links to SFFs may take more than the one that tables speak of.
        let is_super =
            frame.len() - packet.l2_len > usize::from(received) && !matches!(ip.protocol, 1 | 58);
        match frame.offload.gso {
            Some(Gso {
                kind: GsoKind::Tcp,
                size,
            }) => Cut::Tcp(Some(size)),
            Some(Gso {
                kind: GsoKind::Udp,
                size,
            }) => Cut::Udp(size),
            Some(Gso {
                kind: GsoKind::Other,
                ..
            }) => Cut::Refuse(DropReason::GsoRefused),
            None if is_super && ip.protocol == 6 => Cut::Tcp(None),
            None if is_super => Cut::Refuse(DropReason::GsoRefused),
            None if !ip.v6 && !ip.dont_fragment => Cut::Fragments,
            None => Cut::Refuse(DropReason::MtuExceeded),
        }
    }

    /// Appends the pieces of a frame that does not fit to `state.pieces`.
    fn cut(&mut self, frame: Frame, packet: &Packet, ip: &Ip, mtu: u16, origin: Origin) {
        let way = self.way(&frame, packet, ip, origin);
        let (pool, pieces) = (&mut self.out.pool, &mut self.state.pieces);
        let (before, bytes) = (pieces.len(), frame.bytes());
        let (done, reason) = match way {
            Cut::Tcp(size) => {
                let done = segment::tcp(bytes, packet, ip, (mtu, size), pool, pieces);
                (done, DropReason::GsoRefused)
            }
            Cut::Udp(size) => {
                let done = segment::udp(bytes, packet, ip, size, pool, pieces);
                (done, DropReason::GsoRefused)
            }
            Cut::Fragments => {
                let done = fragment::fragment(bytes, packet, ip, mtu, pool, pieces);
                (done, DropReason::MtuExceeded)
            }
            Cut::Refuse(reason) => (None, reason),
        };
        let made = pieces.len() - before;
        if done.is_none() || made == 0 {
            for piece in pieces.drain(before..) {
                pool.give(piece);
            }
            if reason == DropReason::MtuExceeded {
                self.tell(&frame, packet, ip, mtu, origin);
            }
            return self.drop(frame, reason);
        }
        self.out.pool.give(frame);
        self.state.balance.segmented += made as u64 - 1;
        if matches!(way, Cut::Udp(_)) {
            self.cut_datagrams(before, packet, mtu, origin);
        }
    }

    /// Datagrams that were handed over together may be too long each for itself.
    fn cut_datagrams(&mut self, from: usize, like: &Packet, mtu: u16, origin: Origin) {
        let mut datagrams = std::mem::take(&mut self.state.datagrams);
        datagrams.extend(self.state.pieces.drain(from..));
        for datagram in datagrams.drain(..) {
            match like.like(datagram.bytes()) {
                Some(packet) if !Self::fits(&datagram, &packet, mtu) => match &packet.ip {
                    Some(ip) => self.cut(datagram, &packet, ip, mtu, origin),
                    None => self.drop(datagram, DropReason::MtuExceeded),
                },
                _ => self.state.pieces.push(datagram),
            }
        }
        self.state.datagrams = datagrams;
    }
}
