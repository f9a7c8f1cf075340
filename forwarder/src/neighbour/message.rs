//! What stations on a LAN say to each other about their addresses: ARP packets (RFC 826) and
//! neighbour discovery (RFC 4861) read as one thing, and written.

use super::entry::{Heard, Question};
use crate::frame::Frame;
use crate::wire::ethernet::ethertype;
use crate::wire::{arp, ndp};
use std::net::{IpAddr, Ipv4Addr};

type Mac = [u8; 6];

/// Ethernet's broadcast address.
const BROADCAST: Mac = [0xff; 6];

/// One packet's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Said {
    /// Whom it speaks of, and what it says.
    pub(crate) news: Option<(IpAddr, Heard)>,
    /// What it asks.
    pub(crate) asked: Option<Asked>,
    /// To whom, unless to a group.
    pub(crate) to: IpAddr,
}

/// A question of another station.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Asked {
    /// The address asked for.
    pub(crate) target: IpAddr,
    /// Who asks; unspecified when it only looks whether the target is free.
    pub(crate) by: IpAddr,
    /// Its MAC address, if it says one.
    pub(crate) by_mac: Option<Mac>,
}

/// We on one LAN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Station {
    /// The port's MAC address.
    pub(crate) mac: Mac,
    /// The LAN's 802.1Q tag, 0 for none.
    pub(crate) vlan: u16,
}

impl Said {
    /// Reads what follows an Ethernet header; `None` when it is something else.
    pub(crate) fn read(kind: u16, payload: &[u8]) -> Option<Self> {
        match kind {
            ethertype::ARP => Some(Self::arp(&arp::Repr::parse(payload).ok()?)),
            ethertype::IPV6 => Some(Self::discovery(&ndp::Repr::parse(payload).ok()?)),
            _ => None,
        }
    }

    fn arp(packet: &arp::Repr) -> Self {
        let request = packet.operation == arp::Operation::Request;
        let (sender, target) = (packet.sender.into(), packet.target.into());
        // RFC 826: "Merge_flag": what the sender says of itself is taken whatever it wants.
        let heard = Heard {
            mac: Some(packet.sender_mac),
            solicited: !request,
            overrides: true,
        };
        Self {
            news: (!packet.sender.is_unspecified()).then_some((sender, heard)),
            asked: request.then_some(Asked {
                target,
                by: sender,
                by_mac: Some(packet.sender_mac),
            }),
            to: target,
        }
    }

    fn discovery(packet: &ndp::Repr) -> Self {
        let to = packet.destination.into();
        match packet.message {
            ndp::Message::Solicitation { source_mac } => Self {
                // RFC 4861 section 7.2.3: an existing entry of the source is updated, and stale.
                news: source_mac.map(|mac| {
                    let heard = Heard {
                        mac: Some(mac),
                        solicited: false,
                        overrides: true,
                    };
                    (packet.source.into(), heard)
                }),
                asked: Some(Asked {
                    target: packet.target.into(),
                    by: packet.source.into(),
                    by_mac: source_mac,
                }),
                to,
            },
            ndp::Message::Advertisement {
                solicited,
                overrides,
                target_mac,
                ..
            } => {
                let heard = Heard {
                    mac: target_mac,
                    solicited,
                    overrides,
                };
                Self {
                    news: Some((packet.target.into(), heard)),
                    asked: None,
                    to,
                }
            }
        }
    }
}

/// Writes a question for `target` into `frame`, which is empty. `None` when the addresses are not
/// of one family.
pub(crate) fn ask(
    frame: &mut Frame,
    station: Station,
    source: IpAddr,
    target: IpAddr,
    question: Question,
) -> Option<()> {
    match (source, target) {
        (IpAddr::V4(sender), IpAddr::V4(target)) => {
            let to = match question {
                Question::Everybody => BROADCAST,
                Question::Alone(mac) => mac,
            };
            let request = arp::Repr {
                operation: arp::Operation::Request,
                sender_mac: station.mac,
                sender,
                target_mac: [0; 6],
                target,
            };
            write_arp(frame, station, to, &request)
        }
        (IpAddr::V6(source), IpAddr::V6(target)) => {
            let group = ndp::solicited_node(target);
            let (destination, to) = match question {
                Question::Everybody => (group, ndp::group_mac(group)),
                Question::Alone(mac) => (target, mac),
            };
            let source_mac = Some(station.mac);
            let solicitation = ndp::Repr {
                source,
                destination,
                target,
                message: ndp::Message::Solicitation { source_mac },
            };
            write_discovery(frame, station, to, &solicitation)
        }
        _ => None,
    }
}

/// Writes the answer to `asked`, whose target is us, into `frame`, which is empty. `by_mac` is
/// where the question came from.
pub(crate) fn answer(
    frame: &mut Frame,
    station: Station,
    asked: &Asked,
    by_mac: Mac,
) -> Option<()> {
    let to = asked.by_mac.unwrap_or(by_mac);
    match (asked.by, asked.target) {
        (IpAddr::V4(by), IpAddr::V4(target)) => {
            let reply = arp::Repr {
                operation: arp::Operation::Reply,
                sender_mac: station.mac,
                sender: target,
                target_mac: to,
                target: by,
            };
            write_arp(frame, station, to, &reply)
        }
        (IpAddr::V6(by), IpAddr::V6(target)) => {
            // RFC 4861 section 7.2.4: "If the source of the solicitation is the unspecified
            // address, the node MUST set the Solicited flag to zero and multicast the
            // advertisement to the all-nodes address."
            let alone = !by.is_unspecified();
            let (destination, to) = if alone {
                (by, to)
            } else {
                (ndp::ALL_NODES, ndp::group_mac(ndp::ALL_NODES))
            };
            let advertisement = ndp::Repr {
                source: target,
                destination,
                target,
                message: ndp::Message::Advertisement {
                    router: false,
                    solicited: alone,
                    overrides: true,
                    target_mac: Some(station.mac),
                },
            };
            write_discovery(frame, station, to, &advertisement)
        }
        _ => None,
    }
}

/// Writes news for everybody into `frame`, which is empty: `own` is with us. For IPv4 a request for
/// itself (RFC 5227 section 2.3), for IPv6 an advertisement (RFC 4861 section 7.2.6).
pub(crate) fn announce(frame: &mut Frame, station: Station, own: IpAddr) -> Option<()> {
    match own {
        IpAddr::V4(_) => ask(frame, station, own, own, Question::Everybody),
        IpAddr::V6(own) => {
            let advertisement = ndp::Repr {
                source: own,
                destination: ndp::ALL_NODES,
                target: own,
                message: ndp::Message::Advertisement {
                    router: false,
                    solicited: false,
                    overrides: true,
                    target_mac: Some(station.mac),
                },
            };
            let to = ndp::group_mac(ndp::ALL_NODES);
            write_discovery(frame, station, to, &advertisement)
        }
    }
}

/// Ethernet, and the tag where the LAN has one.
fn head(frame: &mut Frame, station: Station, to: Mac, kind: u16) {
    frame.extend(&to);
    frame.extend(&station.mac);
    if station.vlan != 0 {
        frame.extend(&ethertype::VLAN.to_be_bytes());
        frame.extend(&station.vlan.to_be_bytes());
    }
    frame.extend(&kind.to_be_bytes());
}

fn write_arp(frame: &mut Frame, station: Station, to: Mac, packet: &arp::Repr) -> Option<()> {
    head(frame, station, to, ethertype::ARP);
    let at = frame.len();
    frame.resize(at + packet.buffer_len());
    packet.emit(frame.bytes_mut().get_mut(at..)?);
    Some(())
}

fn write_discovery(frame: &mut Frame, station: Station, to: Mac, packet: &ndp::Repr) -> Option<()> {
    head(frame, station, to, ethertype::IPV6);
    let at = frame.len();
    frame.resize(at + packet.buffer_len());
    packet.emit(frame.bytes_mut().get_mut(at..)?);
    Some(())
}

/// Of `own` the address to ask for `target` with: of its family, and nearest to it.
pub(crate) fn nearest(own: &[IpAddr], target: IpAddr) -> Option<IpAddr> {
    let common = |address: &IpAddr| match (*address, target) {
        (IpAddr::V4(a), IpAddr::V4(b)) => Some(bits(a) ^ bits(b)),
        (IpAddr::V6(a), IpAddr::V6(b)) => Some(a.to_bits() ^ b.to_bits()),
        _ => None,
    };
    let same = own.iter().filter(|address| common(address).is_some());
    same.min_by_key(|address| common(address)).copied()
}

fn bits(address: Ipv4Addr) -> u128 {
    u128::from(address.to_bits())
}

#[cfg(test)]
mod tests {
    use super::*;

    const US: Mac = [2, 0, 0, 0, 0, 1];
    const THEM: Mac = [2, 0, 0, 0, 0, 2];

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn read(frame: &Frame, station: Station) -> (Mac, Said) {
        let bytes = frame.bytes();
        let tag = if station.vlan == 0 { 0 } else { 4 };
        if tag == 4 {
            assert_eq!(bytes[12..14], [0x81, 0]);
            assert_eq!(bytes[14..16], station.vlan.to_be_bytes());
        }
        assert_eq!(bytes[6..12], station.mac);
        let kind = u16::from_be_bytes([bytes[12 + tag], bytes[13 + tag]]);
        let said = Said::read(kind, &bytes[14 + tag..]).unwrap();
        (bytes[..6].try_into().unwrap(), said)
    }

    #[test]
    fn a_question_and_its_answer_in_both_families() {
        for (own, target, group) in [
            ("10.0.0.1", "10.0.0.2", BROADCAST),
            ("fe80::1", "fe80::2", [0x33, 0x33, 0xff, 0, 0, 2]),
        ] {
            let (own, target) = (ip(own), ip(target));
            let us = Station { mac: US, vlan: 0 };
            let them = Station { mac: THEM, vlan: 7 };
            let mut frame = Frame::with_capacity(128);
            ask(&mut frame, us, own, target, Question::Everybody).unwrap();
            let (to, question) = read(&frame, us);
            let asked = question.asked.unwrap();
            assert_eq!((to, asked.target, asked.by), (group, target, own));
            assert_eq!(question.news.unwrap().0, own);

            frame.clear();
            ask(&mut frame, us, own, target, Question::Alone(THEM)).unwrap();
            let (to, alone) = read(&frame, us);
            assert_eq!((to, alone.asked), (THEM, question.asked));

            frame.clear();
            answer(&mut frame, them, &asked, US).unwrap();
            let (to, reply) = read(&frame, them);
            assert_eq!((to, reply.to, reply.asked), (US, own, None));
            let heard = Heard {
                mac: Some(THEM),
                solicited: true,
                overrides: true,
            };
            assert_eq!(reply.news, Some((target, heard)));
        }
    }

    #[test]
    fn who_looks_whether_an_address_is_free_is_told_before_everybody() {
        let asked = Asked {
            target: ip("fe80::1"),
            by: ip("::"),
            by_mac: None,
        };
        let us = Station { mac: US, vlan: 0 };
        let mut frame = Frame::with_capacity(128);
        answer(&mut frame, us, &asked, THEM).unwrap();
        let (to, said) = read(&frame, us);
        assert_eq!((to, said.to), ([0x33, 0x33, 0, 0, 0, 1], ip("ff02::1")));
        assert!(!said.news.unwrap().1.solicited);
    }

    #[test]
    fn the_nearest_own_address_asks() {
        let own = [
            ip("10.0.0.1"),
            ip("192.168.7.1"),
            ip("fd00::1"),
            ip("fe80::1"),
        ];
        assert_eq!(nearest(&own, ip("192.168.7.9")), Some(own[1]));
        assert_eq!(nearest(&own, ip("fe80::9")), Some(own[3]));
        assert_eq!(nearest(&own[..2], ip("fe80::9")), None);
    }
}
