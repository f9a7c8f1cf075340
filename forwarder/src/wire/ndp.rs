//! Neighbour solicitation and advertisement of IPv6 (RFC 4861 sections 4.3 and 4.4), each as a
//! whole IPv6 packet, since what makes one valid is in both headers.
//!
//! ```text
//!  0        8        16                32
//! +--------+--------+------------------+
//! |type 135|  code  |     checksum     |    solicitation; 136 is an advertisement
//! +-+-+-+--+--------+------------------+
//! |R|S|O|            reserved          |    flags of an advertisement only
//! +-+-+-+------------------------------+
//! |     target address, 16 octets      |
//! +--------+--------+------------------+
//! | option | length |  link-layer address (option 1 source, option 2 target)
//! +--------+--------+------------------+
//! ```

use super::field::{array_at, put, u16_at};
use super::{Error, checksum, illegal, ipv6, require};
use std::net::Ipv6Addr;

/// Octets without options.
const FIXED_LEN: usize = 24;

/// Octets of a link-layer address option for Ethernet.
const OPTION_LEN: usize = 8;

/// Octets of the longest packet that [`Repr::emit`] writes.
pub const MAX_LEN: usize = ipv6::HEADER_LEN + FIXED_LEN + OPTION_LEN;

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
const ICMPV6: u8 = 58;
const SOURCE_ADDRESS: u8 = 1;
const TARGET_ADDRESS: u8 = 2;

/// Hop limit of every such packet, which no router lets through.
const HOP_LIMIT: u8 = 255;

mod flag {
    pub(super) const ROUTER: u8 = 0x80;
    pub(super) const SOLICITED: u8 = 0x40;
    pub(super) const OVERRIDE: u8 = 0x20;
}

/// All nodes of a link (RFC 4291 section 2.7.1).
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What the message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message {
    /// Who has the target?
    Solicitation {
        /// The asker's MAC address.
        source_mac: Option<[u8; 6]>,
    },
    /// I have the target.
    Advertisement {
        /// The sender is a router.
        router: bool,
        /// It answers a solicitation.
        solicited: bool,
        /// It replaces what is known.
        overrides: bool,
        /// The target's MAC address.
        target_mac: Option<[u8; 6]>,
    },
}

/// The packet's meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// IPv6 source; unspecified when the asker looks whether the target is free.
    pub source: Ipv6Addr,
    /// IPv6 destination.
    pub destination: Ipv6Addr,
    /// The address that is asked for or told.
    pub target: Ipv6Addr,
    /// What is said of it.
    pub message: Message,
}

impl Repr {
    /// Reads an IPv6 packet; refuses what RFC 4861 section 7.1 has silently discarded.
    pub fn parse(octets: &[u8]) -> Result<Self, Error> {
        let packet = ipv6::Packet::new_checked(octets)?;
        if packet.next_header() != ICMPV6 {
            return Err(wrong("next header", packet.next_header()));
        }
        // "The IP Hop Limit field has a value of 255, i.e., the packet could not possibly have
        // been forwarded by a router."
        if packet.hop_limit() != HOP_LIMIT {
            return Err(wrong("hop limit", packet.hop_limit()));
        }
        let message = packet.payload();
        // "ICMP length (derived from the IP length) is 24 or more octets."
        require("neighbour discovery", message, FIXED_LEN)?;
        // "ICMP Checksum is valid", "ICMP Code is 0".
        let (source, destination) = (packet.source(), packet.destination());
        if checksum::fold(pseudo(source, destination, message.len()) + checksum::sum(message))
            != 0xffff
        {
            return Err(illegal(
                "neighbour discovery",
                "checksum",
                u16_at(message, 2).into(),
            ));
        }
        if message[1] != 0 {
            return Err(wrong("code", message[1]));
        }
        let target = Ipv6Addr::from(array_at::<16>(message, 8));
        // "Target Address is not a multicast address."
        if target.is_multicast() {
            return Err(wrong("target address", 0xff));
        }
        let options = &message[FIXED_LEN..];
        let message = match message[0] {
            SOLICITATION => {
                let source_mac = option(options, SOURCE_ADDRESS)?;
                let to_group = destination.octets()[..13] == solicited_node(target).octets()[..13];
                // "If the IP source address is the unspecified address, the IP destination address
                // is a solicited-node multicast address", "there is no source link-layer address
                // option in the message".
                if source.is_unspecified() && (!to_group || source_mac.is_some()) {
                    return Err(wrong("source address", 0));
                }
                Message::Solicitation { source_mac }
            }
            ADVERTISEMENT => {
                let flags = message[4];
                // "If the IP Destination Address is a multicast address the Solicited flag is zero."
                if destination.is_multicast() && flags & flag::SOLICITED != 0 {
                    return Err(wrong("flags", flags));
                }
                Message::Advertisement {
                    router: flags & flag::ROUTER != 0,
                    solicited: flags & flag::SOLICITED != 0,
                    overrides: flags & flag::OVERRIDE != 0,
                    target_mac: option(options, TARGET_ADDRESS)?,
                }
            }
            other => return Err(wrong("type", other)),
        };
        Ok(Self {
            source,
            destination,
            target,
            message,
        })
    }

    const fn option(&self) -> Option<(u8, [u8; 6])> {
        match self.message {
            Message::Solicitation {
                source_mac: Some(mac),
            } => Some((SOURCE_ADDRESS, mac)),
            Message::Advertisement {
                target_mac: Some(mac),
                ..
            } => Some((TARGET_ADDRESS, mac)),
            _ => None,
        }
    }

    const fn message_len(&self) -> usize {
        if self.option().is_some() {
            FIXED_LEN + OPTION_LEN
        } else {
            FIXED_LEN
        }
    }

    /// Octets that `emit` writes.
    pub const fn buffer_len(&self) -> usize {
        ipv6::HEADER_LEN + self.message_len()
    }

    /// Writes the IPv6 packet into the first [`buffer_len`](Self::buffer_len) octets of `buffer`.
    pub fn emit(&self, buffer: &mut [u8]) {
        let length = self.message_len();
        ipv6::Repr {
            source: self.source,
            destination: self.destination,
            next_header: ICMPV6,
            payload_len: u16::try_from(length).unwrap_or(u16::MAX),
            hop_limit: HOP_LIMIT,
            traffic_class: 0,
            flow_label: 0,
        }
        .emit(buffer);
        let message = &mut buffer[ipv6::HEADER_LEN..ipv6::HEADER_LEN + length];
        message.fill(0);
        match self.message {
            Message::Solicitation { .. } => message[0] = SOLICITATION,
            Message::Advertisement {
                router,
                solicited,
                overrides,
                ..
            } => {
                message[0] = ADVERTISEMENT;
                let set = |on: bool, flag: u8| if on { flag } else { 0 };
                message[4] = set(router, flag::ROUTER)
                    | set(solicited, flag::SOLICITED)
                    | set(overrides, flag::OVERRIDE);
            }
        }
        put(message, 8, &self.target.octets());
        if let Some((kind, mac)) = self.option() {
            put(message, FIXED_LEN, &[kind, 1]);
            put(message, FIXED_LEN + 2, &mac);
        }
        let sum = pseudo(self.source, self.destination, length) + checksum::sum(message);
        put(message, 2, &(!checksum::fold(sum)).to_be_bytes());
    }
}

/// The group that a station with `address` listens to (RFC 4291 section 2.7.1).
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// The MAC address of a multicast group (RFC 2464 section 7).
pub fn group_mac(group: Ipv6Addr) -> [u8; 6] {
    let [.., a, b, c, d] = group.octets();
    [0x33, 0x33, a, b, c, d]
}

fn wrong(field: &'static str, value: u8) -> Error {
    illegal("neighbour discovery", field, value.into())
}

fn pseudo(source: Ipv6Addr, destination: Ipv6Addr, length: usize) -> u64 {
    checksum::pseudo_header(&source.octets(), &destination.octets(), ICMPV6, length)
}

/// The Ethernet address in the first option of `kind`.
fn option(mut options: &[u8], kind: u8) -> Result<Option<[u8; 6]>, Error> {
    let mut found = None;
    while let [own, length, ..] = *options {
        let octets = usize::from(length) * 8;
        // "All included options have a length that is greater than zero."
        if octets == 0 {
            return Err(wrong("option length", 0));
        }
        require("neighbour discovery option", options, octets)?;
        if own == kind && octets == OPTION_LEN && found.is_none() {
            found = Some(array_at(options, 2));
        }
        options = &options[octets..];
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn solicitation() -> Repr {
        let target = "fe80::12:3456".parse().unwrap();
        Repr {
            source: "fe80::1".parse().unwrap(),
            destination: solicited_node(target),
            target,
            message: Message::Solicitation {
                source_mac: Some([2, 0, 0, 0, 0, 1]),
            },
        }
    }

    fn octets(repr: &Repr) -> Vec<u8> {
        let mut octets = vec![0xaa; repr.buffer_len()];
        repr.emit(&mut octets);
        octets
    }

    #[test]
    fn groups_are_those_of_the_rfc() {
        let group = solicited_node("4037::01:800:200e:8c6c".parse().unwrap());
        assert_eq!(group, "ff02::1:ff0e:8c6c".parse::<Ipv6Addr>().unwrap());
        assert_eq!(group_mac(group), [0x33, 0x33, 0xff, 0x0e, 0x8c, 0x6c]);
    }

    #[test]
    fn what_the_rfc_has_discarded_is_refused() {
        let good = octets(&solicitation());
        assert_eq!(Repr::parse(&good), Ok(solicitation()));
        let refused = |place: usize, value: u8| {
            let mut bad = good.clone();
            bad[place] = value;
            Repr::parse(&bad).unwrap_err().to_string()
        };
        assert!(refused(7, 254).contains("hop limit"));
        assert!(refused(6, 17).contains("next header"));
        assert!(refused(40 + 23, 0).contains("checksum"));
        for length in 0..good.len() {
            assert!(Repr::parse(&good[..length]).is_err());
        }
        let unspecified = Repr {
            source: Ipv6Addr::UNSPECIFIED,
            ..solicitation()
        };
        assert!(Repr::parse(&octets(&unspecified)).is_err());
        let free = Repr {
            message: Message::Solicitation { source_mac: None },
            ..unspecified
        };
        assert_eq!(Repr::parse(&octets(&free)), Ok(free));
        let group = Repr {
            target: ALL_NODES,
            ..solicitation()
        };
        assert!(Repr::parse(&octets(&group)).is_err());
        let shouted = Repr {
            destination: ALL_NODES,
            message: Message::Advertisement {
                router: false,
                solicited: true,
                overrides: true,
                target_mac: None,
            },
            ..solicitation()
        };
        assert!(Repr::parse(&octets(&shouted)).is_err());
    }

    #[test]
    fn an_option_without_length_does_not_hang_anybody() {
        assert!(option(&[1, 0, 0, 0, 0, 0, 0, 0], SOURCE_ADDRESS).is_err());
        assert!(option(&[1, 2, 0, 0, 0, 0, 0, 0], SOURCE_ADDRESS).is_err());
        let behind = [14, 1, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7];
        assert_eq!(
            option(&behind, SOURCE_ADDRESS),
            Ok(Some([2, 3, 4, 5, 6, 7]))
        );
    }
}
