//! MAC addresses of the machines that backends are reached by, learned from what they send.

use kc_forwarder::frame::{Checksum, Frame};
use kc_forwarder::wire::ethernet::{self, ethertype};
use kc_forwarder::wire::{arp, ndp};
use rustc_hash::FxHashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const BROADCAST: [u8; 6] = [0xff; 6];

/// The same question is asked again after this long.
const AGAIN_MS: u64 = 1000;

/// What is known about one machine.
#[derive(Debug, Clone, Copy, Default)]
struct Neighbour {
    mac: Option<[u8; 6]>,
    asked_ms: Option<u64>,
}

/// The machines of interest.
#[derive(Debug, Default)]
pub(super) struct Neighbours(FxHashMap<IpAddr, Neighbour>);

impl Neighbours {
    /// Knows that `address` will be asked for.
    pub(super) fn expect(&mut self, address: IpAddr) {
        self.0.entry(address).or_default();
    }

    /// `address` is at `mac`, if anybody cares.
    pub(super) fn learn(&mut self, address: IpAddr, mac: [u8; 6]) {
        let unicast = mac[0] & 1 == 0;
        if let Some(neighbour) = self.0.get_mut(&address).filter(|_| unicast) {
            neighbour.mac = Some(mac);
        }
    }

    /// The MAC address of `address`, once it has said anything.
    pub(super) fn find(&self, address: IpAddr) -> Option<[u8; 6]> {
        self.0.get(&address).and_then(|neighbour| neighbour.mac)
    }

    /// A question for `address`, unless its answer is known or it was asked just now.
    pub(super) fn ask(
        &mut self,
        now_ms: u64,
        address: IpAddr,
        own: (IpAddr, [u8; 6]),
    ) -> Option<Frame> {
        let neighbour = self
            .0
            .get_mut(&address)
            .filter(|neighbour| neighbour.mac.is_none())?;
        if neighbour
            .asked_ms
            .is_some_and(|asked| now_ms < asked + AGAIN_MS)
        {
            return None;
        }
        neighbour.asked_ms = Some(now_ms);
        match (own.0, address) {
            (IpAddr::V4(sender), IpAddr::V4(target)) => request(own.1, sender, target),
            (IpAddr::V6(sender), IpAddr::V6(target)) => solicit(own.1, sender, target),
            _ => None,
        }
    }
}

fn request(mac: [u8; 6], sender: Ipv4Addr, target: Ipv4Addr) -> Option<Frame> {
    let request = arp::Repr {
        operation: arp::Operation::Request,
        sender_mac: mac,
        sender,
        target_mac: [0; 6],
        target,
    };
    let mut frame = link(BROADCAST, mac, ethertype::ARP)?;
    frame.resize(ethernet::HEADER_LEN + request.buffer_len());
    request.emit(frame.bytes_mut().get_mut(ethernet::HEADER_LEN..)?);
    Some(frame)
}

fn solicit(mac: [u8; 6], source: Ipv6Addr, target: Ipv6Addr) -> Option<Frame> {
    let destination = ndp::solicited_node(target);
    let source_mac = Some(mac);
    let question = ndp::Repr {
        source,
        destination,
        target,
        message: ndp::Message::Solicitation { source_mac },
    };
    let mut frame = link(ndp::group_mac(destination), mac, ethertype::IPV6)?;
    frame.resize(ethernet::HEADER_LEN + question.buffer_len());
    question.emit(frame.bytes_mut().get_mut(ethernet::HEADER_LEN..)?);
    Some(frame)
}

fn link(destination: [u8; 6], source: [u8; 6], ethertype: u16) -> Option<Frame> {
    let mut frame = Frame::with_capacity(128);
    frame.resize(ethernet::HEADER_LEN);
    let header = ethernet::Repr {
        destination,
        source,
        ethertype,
    };
    header.emit(&mut ethernet::Packet::new_checked(frame.bytes_mut()).ok()?);
    frame.offload.checksum = Checksum::Complete;
    Some(frame)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packet::{Reading, asked};

    #[test]
    fn a_question_is_one_that_its_target_answers() {
        for (own, target) in [("10.0.0.5", "10.0.0.2"), ("fd00::5", "fd00::12:3456")] {
            let (own, target): (IpAddr, IpAddr) = (own.parse().unwrap(), target.parse().unwrap());
            let mut neighbours = Neighbours::default();
            neighbours.expect(target);
            let frame = neighbours
                .ask(0, target, (own, [2, 0, 0, 0, 0, 5]))
                .unwrap();
            let asked = asked(frame.bytes(), &Reading::of(&frame)).unwrap();
            assert_eq!((asked.by, asked.target), (own, target));
            assert!(neighbours.ask(999, target, (own, [2; 6])).is_none());
            neighbours.learn(target, [2; 6]);
            assert!(neighbours.ask(2000, target, (own, [2; 6])).is_none());
        }
    }
}
